"""Measure what the recurrent synapse gains: D_KL bias by rule, recovery, delay and shape of the PSP; preset S1.

Five units with weights and biases uniform in +-.6 or N(0, 1), a clique of five with W = 1.5, a chain of seven with
W = +-4. Depressing synapses have U = 1; tau_rec = 10 ms are renewing ones. Teeth are parallel synapses: 1 cuts the
exponential, 100 (one a step) are the rectangle, the ideal. Each line also says how long sampling took against
renewing synapses. What ``design_synapse`` finds for each delay is named first.

python benchmarks/synapses.py [--shapes] [--seed N] [--targets N] [--duration MS] [--rules psp matched]
"""

import argparse

import numpy as np

import boltzspike as bs

CASES = ((10.0, 0.1), (13.0, 0.1), (15.0, 0.1), (17.0, 0.1), (20.0, 0.1), (13.0, 1.0), (15.0, 1.0))
SHAPES = ((1, 0.1), (2, 0.1), (5, 0.1), (100, 0.1), (1, 1.5), (2, 1.5), (5, 1.5), (100, 1.5))


def depressing():
    """Yield names and synapses by recovery and delay."""
    for tau_rec, delay in CASES:
        synapse = bs.Synapse(plasticity="tsodyks-markram", U=1.0, tau_rec=tau_rec, delay=delay)
        yield f"tau_rec {tau_rec:g}, delay {delay:g}", synapse


def shaped():
    """Yield names and synapses by the shape of the PSP and the delay."""
    yield "renewing", bs.Synapse()
    yield "additive", bs.Synapse(plasticity="additive")
    for teeth, delay in SHAPES:
        name = f"teeth {teeth}, delay {delay:g}"
        yield name, bs.Synapse(plasticity="additive", teeth=teeth, delay=delay)


def targets(law, number, seed):
    rng = np.random.default_rng(seed)
    if law == "clique":
        return [bs.BoltzmannMachine(weights=1.5 * (1 - np.eye(5)), biases=np.full(5, -3.0))]
    if law == "chain":
        weights = np.diag(rng.choice([-4.0, 4.0], size=6), 1)
        weights += weights.T
        return [bs.BoltzmannMachine(weights=weights, biases=-weights.sum(axis=1) / 2)]
    draw = {"uniform": lambda size: rng.uniform(-0.6, 0.6, size), "normal": lambda size: rng.normal(0, 1, size)}[
        law
    ]
    found = []
    for _ in range(number):
        weights = np.triu(draw((5, 5)), 1)
        found.append(bs.BoltzmannMachine(weights=weights + weights.T, biases=draw(5)))
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=2)
    parser.add_argument("--targets", type=int, default=6)
    parser.add_argument("--duration", type=float, default=4e4)
    parser.add_argument("--rules", nargs="+", default=["psp"])
    parser.add_argument("--laws", nargs="+", default=["uniform", "normal", "clique", "chain"])
    parser.add_argument("--shapes", action="store_true", help="of the PSP, instead of recovery times")
    arguments = parser.parse_args()
    calibration = bs.calibrate(bs.presets.S1.neuron, bs.presets.S1.background)
    for delay in sorted({delay for _, delay in CASES}) if not arguments.shapes else []:
        found = bs.design_synapse(calibration, delay=delay)
        print(f"delay {delay:g} ms: design_synapse finds tau_rec = {found.tau_rec:g} ms")
    print(f"{'rule':8} {'synapse':24}" + "".join(f"{law:>20}" for law in arguments.laws) + f"{'time':>7}")
    synapses = list(shaped() if arguments.shapes else depressing())
    unit = None
    for rule in arguments.rules:
        for name, synapse in synapses:
            line, seconds = f"{rule:8} {name:24}", 0.0
            for law in arguments.laws:
                results = [
                    bs.sample(
                        machine, calibration=calibration, rule=rule, synapse=synapse, duration=arguments.duration,
                        seed=k, threads=1,
                    )
                    for k, machine in enumerate(targets(law, arguments.targets, arguments.seed))
                ]  # fmt: skip
                divergences = [result.kl_divergence() for result in results]
                seconds += sum(result.configuration["wall_seconds"] for result in results)
                error = np.sqrt(sum(d.error**2 for d in divergences)) / len(divergences)
                line += f"{np.mean([d.bias for d in divergences]):11.5f} +-{error:7.5f}"
            unit = unit or seconds
            print(f"{line}{seconds / unit:7.1f}", flush=True)


if __name__ == "__main__":
    main()
