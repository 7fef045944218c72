"""What LIF networks learn: a sheet of digits they draw, bars and stripes, the ground state of a chain of spins.

    python examples/learning.py digits | bars | chain | hardware  -o FOLDER [--quick]

Each writes a picture and its numbers, ``digits.png`` and ``digits.json`` and so on. ``digits`` trains a class RBM
of 64 hidden units on two thirds of scikit-learn's images of 8 x 8 pixels. LIF neurons then draw ten of each kind,
the label neurons held, and a classifier that was trained on real images says what it takes them for.
"""

import argparse
import dataclasses
import json
import warnings
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import boltzspike as bs
from boltzspike.pipeline.training import SpikingChains
from boltzspike.theory.exact import all_states, exact_joint
from boltzspike.training import ExactSampler, Settings, class_rbm, full, restricted
from boltzspike.training.ground_state import TransverseIsing, law_of, law_of_states, minimise, symmetric_start
from boltzspike.training.hardware import Hardware
from boltzspike.training.likelihood import log_partition
from boltzspike.training.measures import log_weights
from boltzspike.training.models import one_hot

BLUE, ORANGE, RED = "#2a6f97", "#e07a1f", "#c0392b"
SETTINGS = Settings(
    epochs=300, batch_size=20, method="fast-pcd", learning_rate=(0.2, 0.003), weight_decay=2e-3, average=0.999,
    labels=10, discriminative=3.0,
)  # fmt: skip


def digits(folder, quick):
    """Draw a sheet of digits by LIF neurons; return what a classifier of real digits says about them."""
    from sklearn.datasets import load_digits
    from sklearn.svm import SVC

    images, names = load_digits(return_X_y=True)
    train = np.arange(len(names)) % 3 != 2
    pixels, names = (images >= 8).astype(int)[train], names[train]
    data = np.hstack([pixels, one_hot(names, 10)])
    settings = Settings(epochs=5, labels=10) if quick else SETTINGS
    machine = bs.train(class_rbm(64, 10, 64, data=data), data, settings=settings).model.machine()
    judge = SVC().fit(pixels, names)
    duration = 500.0 if quick else 3000.0
    shown, said = [], []
    for label in range(10):
        clamp = {f"label-{k}": int(k == label) for k in range(10)}
        result = bs.sample(machine, clamp=clamp, chains=10, burn_in=duration, duration=200.0, seed=label)
        shown.append(result.z[..., :64].mean(axis=1))
        said.append(judge.predict(result.z[:, -1, :64]))
    figure = Figure(figsize=(7.2, 7.6), dpi=110, facecolor="white")
    for label, row in enumerate(figure.subplots(10, 10, gridspec_kw={"hspace": 0.12, "wspace": 0.12})):
        for axis, image, name in zip(row, shown[label], said[label]):
            axis.imshow(image.reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
            axis.set(xticks=[], yticks=[])
            axis.spines[:].set_color("#c5c9cf" if name == label else RED)
        row[0].set_ylabel(label, rotation=0, labelpad=12, va="center", fontsize=12)
    right = np.mean(np.array(said) == np.arange(10)[:, None])
    figure.suptitle(
        f"Digits that LIF neurons draw, a chain each, mean of 200 ms. A classifier of real digits\n"
        f"takes {right:.0%} of them for what was asked (the others are framed in red).",
        fontsize=10, y=0.955,
    )  # fmt: skip
    figure.savefig(folder / "digits.png", bbox_inches="tight")
    return {"judged as asked": float(right)}


def bars(folder, quick):
    """Learn bars and stripes of 3 x 3 exactly; draw what the machine and LIF networks make of the patterns."""
    n, rows = 3, np.array([[i >> k & 1 for k in range(3)] for i in range(8)])
    both = [np.repeat(rows[:, None], n, axis=1), np.repeat(rows[:, :, None], n, axis=2)]
    patterns = np.unique(np.concatenate(both).reshape(-1, n * n), axis=0)
    settings = Settings(
        epochs=100 if quick else 2000, batch_size=14, learning_rate=(0.05, 0.0025), optimizer="adam",
        weight_decay=0.1,
    )  # fmt: skip
    start = restricted(n * n, 32, data=patterns, scale=0.1, seed=0)
    model = bs.train(start, patterns, sampler=ExactSampler(), settings=settings).model
    exact = np.exp(log_weights(model, patterns) - log_partition(model).value)
    chains, duration = (16, 2e3) if quick else (256, 4e4)
    tuned = bs.tune(
        model.machine(), chains=chains, duration=duration, burn_in=duration / 4, steps=2 if quick else 20,
        tolerance=5e-3, threads=1,
    )  # fmt: skip
    laws = {}
    for name, rule in (("translated", "learned"), ("tuned in the loop", tuned)):
        with warnings.catch_warnings():
            # the sums of these weights are beyond what the rule has seen: that is what the picture shows
            warnings.simplefilter("ignore", bs.BoltzspikeWarning)
            result = bs.sample(
                model.machine(), rule=rule, chains=chains, duration=duration, burn_in=duration / 4, seed=2
            )
        law = law_of_states(result.z.reshape(-1, model.n_units), model.n_visible)
        laws[name] = law[patterns @ (1 << np.arange(model.n_visible)[::-1])]
    figure = Figure(figsize=(9.5, 3.6), dpi=110, facecolor="white")
    axis = figure.subplots()
    at = np.arange(len(patterns))
    axis.axhline(1 / len(patterns), color="#888888", lw=1, label="data")
    axis.bar(at - 0.27, exact, 0.26, color=ORANGE, label="machine, exact")
    axis.bar(at, laws["translated"], 0.26, color="#9ecae1", label="LIF, translated")
    axis.bar(at + 0.27, laws["tuned in the loop"], 0.26, color=BLUE, label="LIF, tuned in the loop")
    axis.set(ylabel="probability", xticks=[], xlim=(-0.6, len(patterns) - 0.4))
    axis.legend(frameon=False, fontsize=8)
    for k, pattern in enumerate(patterns):
        inset = axis.inset_axes([k - 0.35, -0.2, 0.7, 0.17], transform=axis.get_xaxis_transform())
        inset.imshow(pattern.reshape(n, n), cmap="gray_r", vmin=0, vmax=1)
        inset.set(xticks=[], yticks=[])
    figure.savefig(folder / "bars.png", bbox_inches="tight")
    divergence = lambda p: float(-np.log(len(patterns)) - np.log(p).mean()) if (p > 0).all() else float("inf")
    return {"D_KL, exact": divergence(exact)} | {f"D_KL, LIF, {name}": divergence(p) for name, p in laws.items()}


def chain(folder, quick):
    """Find the ground state of eight spins in a critical transverse field, by LIF networks alone."""
    spins, fields = 8, (1.0,) if quick else (0.4, 0.7, 1.0, 1.3, 1.6)
    table, curves = [], {}
    for field in fields:
        of = TransverseIsing(spins=spins, field=field)
        exact, energies = of.exact_energy(), []
        start = symmetric_start(spins, 16, seed=1)
        network = SpikingChains()
        state = network.start(start, chains=64, seed=1)

        def draw(model, step, draws=150, network=network):
            nonlocal state
            z, state = network.draws(network.translation(model, state["recent"]), state, draws, (1, step, 1))
            return z.reshape(-1, model.n_units)

        learned = minimise(
            start, of, steps=20 if quick else 300, draw=draw, learning_rate=(0.05, 0.003),
            on_step=lambda _, energy, energies=energies: energies.append(energy),
        )  # fmt: skip
        states = draw(learned, 10**6, 500 if quick else 8000)
        energy = of.energy(of.symmetrised(law_of_states(states, spins)))
        summed = minimise(start, of, steps=50 if quick else 1000)
        line = {"field": field, "exact": exact, "LIF": energy, "relative error": 1 - energy / exact}
        table.append(line | {"relative error, summed exactly": 1 - of.energy(law_of(summed)) / exact})
        curves[field] = 1 - np.array(energies) / exact
    figure = Figure(figsize=(9.5, 3.6), dpi=110, facecolor="white")
    left, right = figure.subplots(1, 2, gridspec_kw={"wspace": 0.28})
    left.plot(fields, [line["exact"] / spins for line in table], "-", color=ORANGE, label="exact")
    left.plot(fields, [line["LIF"] / spins for line in table], "o", color=BLUE, label="LIF neurons")
    left.set(xlabel="field / coupling", ylabel="energy a spin / coupling")
    left.legend(frameon=False)
    for field, curve in curves.items():
        right.semilogy(np.maximum(curve, 1e-5), lw=1, label=f"field {field:g}")
    right.axhline(0.002, color="#888888", lw=0.8, ls="--")
    right.set(xlabel="step", ylabel="relative error of the energy")
    right.legend(frameon=False, fontsize=8, loc="upper right", bbox_to_anchor=(1, 0.86), ncols=2)
    figure.savefig(folder / "chain.png", bbox_inches="tight")
    return {"table": table}


CHIPS = {
    "bits of a weight": ("weight_bits", (1, 2, 3, 4, 6)),
    "fixed pattern on the weights": ("weight_noise", (0.1, 0.2, 0.4, 0.8)),
    "fixed pattern on the biases": ("bias_noise", (0.1, 0.3, 0.6, 1.2)),
    "share of spikes lost": ("spike_loss", (0.05, 0.1, 0.2, 0.4)),
    "jitter of spikes, ms": ("spike_jitter", (1.0, 2.0, 4.0, 8.0)),
}
WAYS = {"as written": ORANGE, "trained on the chip": BLUE, "its biases alone": "#7a7f87"}


def hardware(folder, quick):
    """Sweep imperfections of a chip: D_KL of LIF networks from machines of 5 units, written and trained on it."""
    calibration = bs.pipeline.with_network(bs.calibrate(bs.presets.S1.neuron, bs.presets.S1.background))
    found, figure = {}, Figure(figsize=(14, 3.6), dpi=110, facecolor="white")
    chips = dict(list(CHIPS.items())[:1]) if quick else CHIPS
    for axis, (title, (name, values)) in zip(figure.subplots(1, len(CHIPS), sharey=True), chips.items()):
        rows = []
        for value in values[:1] if quick else values:
            both = [on_chip(calibration, seed, name, value, quick) for seed in range(1 if quick else 3)]
            rows.append(np.array(both))
            found[f"{title}, {value:g}"] = {
                way: [float(np.mean(d)), float(np.std(d))] for way, d in zip(WAYS, rows[-1].T)
            }
        rows = np.array(rows)  # values, seeds, ways
        for way, (label, colour) in enumerate(WAYS.items()):
            axis.plot(values[: len(rows)], rows[:, :, way], "o", ms=3, color=colour, alpha=0.5)
            axis.plot(values[: len(rows)], rows[:, :, way].mean(axis=1), "-", color=colour, label=label)
        axis.set(xlabel=title, yscale="log")
    figure.axes[0].set(ylabel="D_KL from the target")
    figure.axes[0].legend(frameon=False, fontsize=8)
    figure.savefig(folder / "hardware.png", bbox_inches="tight")
    return {"D_KL, mean and SD over targets": found}


def on_chip(calibration, seed, name, value, quick):
    """Return D_KL, less its floor, of a random target written to a chip, trained on it, and its biases alone."""
    rng = np.random.default_rng(seed)
    upper = np.triu(rng.normal(0, 1, (5, 5)), 1)
    target = bs.BoltzmannMachine(weights=upper + upper.T, biases=rng.normal(0, 1, 5))
    p = exact_joint(target)
    data = np.repeat(all_states(5), np.round(p * 20000).astype(int), axis=0)
    chip = Hardware(**{name: value}, seed=seed)
    chains = SpikingChains(calibration=calibration, hardware=chip, threads=1)
    model = full(5, 0)
    model = dataclasses.replace(model, weights=np.array(target.weights), biases=np.array(target.biases))
    settings = Settings(
        epochs=2 if quick else 40, batch_size=len(data), chains=64, steps=100, learning_rate=(0.75, 0.1),
        average=0.9, optimizer="natural", measure_every=40, seed=seed,
    )  # fmt: skip
    both = [
        bs.train(model, data, sampler=chains, settings=dataclasses.replace(settings, parameters=parameters))
        for parameters in ("all", "biases")
    ]
    fresh = chains.start(model, chains=64, seed=seed)
    laws = []
    for of, state in ((model, fresh), *((trained.model, trained.sampler_state) for trained in both)):
        for key in range(2):  # the first finds the working point
            translation = chains.translation(of, state["recent"])
            z, state = chains.draws(translation, state, 100 if quick else 2000, (seed, 10**6 + key, 1))
        laws.append(spiking_divergence(z, p))
    return laws


def spiking_divergence(z, p):
    """Return D_KL(states z (chains, draws, n) || p) less its floor, which the chains' differences tell."""
    codes = z @ (1 << np.arange(z.shape[-1])[::-1])
    shares = np.stack([np.bincount(chain, minlength=len(p)) / len(chain) for chain in codes])
    q = shares.mean(axis=0)
    floor = np.sum(shares.var(axis=0, ddof=1) / len(shares) / p) / 2
    return float(np.sum(q[q > 0] * np.log(q[q > 0] / p[q > 0])) - floor)


TASKS = {"digits": digits, "bars": bars, "chain": chain, "hardware": hardware}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=TASKS)
    parser.add_argument("-o", "--output", type=Path, default=Path("learning-output"), metavar="FOLDER")
    parser.add_argument("--quick", action="store_true", help="see that it runs; the numbers mean nothing")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    numbers = TASKS[arguments.task](arguments.output, arguments.quick)
    path = arguments.output / f"{arguments.task}.json"
    path.write_text(json.dumps(numbers, indent=2) + "\n")
    print(json.dumps(numbers, indent=2))
    print(f"wrote {path} and {path.with_suffix('.png')}")


if __name__ == "__main__":
    main()
