"""Learning, measured: speed, bars and stripes, digits, in the loop, ground states, mixing, hardware.

    python benchmarks/learning.py speed | bars | folds | digits | loop | ground-state | mixing | hardware [--quick]

Each prints its table: the mean over seeds, and the standard deviation over seeds behind +-.
"""

import argparse
import dataclasses
import functools
import itertools
import time

import numpy as np

import boltzspike as bs
from boltzspike import abstract
from boltzspike.pipeline import tempering
from boltzspike.pipeline.inference import classify, infer
from boltzspike.pipeline.running_networks import run_network
from boltzspike.pipeline.training import SpikingChains, train
from boltzspike.pipeline.translations import in_states
from boltzspike.samples import Record
from boltzspike.theory.exact import all_states, exact_joint
from boltzspike.theory.sampling_likelihood import best_beta, sampling_likelihood
from boltzspike.training import ExactSampler, LayerGibbs, Model, Settings, Tempered, class_rbm, full, restricted
from boltzspike.training.ground_state import (
    TransverseIsing,
    law_of,
    law_of_states,
    minimise,
    symmetric_start,
)
from boltzspike.training.hardware import Hardware
from boltzspike.training.likelihood import (
    base_of,
    independent_log_likelihood,
    log_likelihood,
    log_partition,
)
from boltzspike.training.measures import class_log_odds, log_weights
from boltzspike.training.models import one_hot

CLASS_RBM = Settings(
    epochs=300, batch_size=20, method="fast-pcd", learning_rate=(0.2, 0.003), weight_decay=2e-3, average=0.999,
    labels=10, discriminative=3.0,
)  # fmt: skip
"""Chosen by five folds of the training images: ``folds``."""


def digits():
    """Return binary pixels of training and test images, their digits: every third image is for the test."""
    from sklearn.datasets import load_digits

    images, names = load_digits(return_X_y=True)
    pixels, test = (images >= 8).astype(int), np.arange(len(names)) % 3 == 2
    return pixels[~test], names[~test], pixels[test], names[test]


def table(rows):
    """Print rows of dictionaries; a list of numbers becomes mean +- standard deviation."""
    columns = list(rows[0])
    shown = [[_cell(row[name]) for name in columns] for row in rows]
    widths = [max(len(name), *(len(line[k]) for line in shown)) for k, name in enumerate(columns)]
    for line in [columns, *shown]:
        print("  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip(), flush=True)


def _cell(value):
    if isinstance(value, list):
        spread = f" +- {np.std(value, ddof=1):.2g}" if len(value) > 1 else ""
        return f"{np.mean(value):.4g}{spread}"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def speed(seeds, quick):
    """CPU seconds of an epoch of PCD on digits, 74 x 64 units, minibatches of 50, one core, by turns."""
    import sklearn
    from sklearn.neural_network import BernoulliRBM

    pixels, names, *_ = digits()
    data = np.hstack([pixels, one_hot(names, 10)])
    model, epochs = class_rbm(64, 10, 64, data=data), 2 if quick else 20
    chains = SpikingChains(threads=1)
    train(model, data, sampler=chains, settings=Settings(epochs=1, steps=10))
    seconds = {"scikit-learn": [], "gibbs": [], "lif, 100 ms an update": []}
    for _ in seeds:
        with sklearn.config_context(assume_finite=True, skip_parameter_validation=True):
            begun = time.process_time()
            BernoulliRBM(64, batch_size=50, n_iter=epochs, random_state=0).fit(data)
            seconds["scikit-learn"].append((time.process_time() - begun) / epochs)
        begun = time.process_time()
        train(model, data, settings=Settings(epochs=epochs, measure_every=epochs))
        seconds["gibbs"].append((time.process_time() - begun) / epochs)
        begun = time.process_time()
        train(model, data, sampler=chains, settings=Settings(epochs=1, steps=10))
        seconds["lif, 100 ms an update"].append(time.process_time() - begun)
    table([{"trainer": name, "CPU s/epoch": values} for name, values in seconds.items()])


def bars_and_stripes(n):
    """Return the 2^(n + 1) - 2 patterns of n x n."""
    rows = all_states(n).astype(int)
    bars, stripes = np.repeat(rows[:, None, :], n, axis=1), np.repeat(rows[:, :, None], n, axis=2)
    return np.unique(np.concatenate([bars, stripes]).reshape(-1, n * n), axis=0)


def divergence(model, patterns):
    """Return D_KL(patterns || model), exact."""
    return -np.log(len(patterns)) - float(log_weights(model, patterns).mean()) + log_partition(model).value


def law_found(z, patterns):
    """Return D_KL(patterns || sampled law) less its floor, the floor, the share of time on patterns, and switches.

    The law is the plain share of time of each pattern in z (chains, draws, units); D_KL is infinite where one was
    never seen. Chains are independent, so the floor, ``mean_v var(q_v) / (2 q_v^2)``, follows from how they
    differ. Switches are those from a pattern to another, per chain and draw.
    """
    places = 1 << np.arange(patterns.shape[1])[::-1]
    codes, seen = patterns @ places, z[..., : patterns.shape[1]].astype(np.int64) @ places
    shares = np.stack([(seen == code).mean(axis=1) for code in codes], axis=1)
    on = [chain[np.isin(chain, codes)] for chain in seen]
    switches = sum(int((path[1:] != path[:-1]).sum()) for path in on) / seen.size
    law = shares.mean(axis=0)
    if not law.all():
        return np.inf, np.nan, float(law.sum()), switches
    floor = float(np.mean(shares.var(axis=0, ddof=1) / len(shares) / law**2) / 2)
    return -np.log(len(patterns)) - float(np.log(law).mean()) - floor, floor, float(law.sum()), switches


BARS = {
    3: dict(hidden=32, epochs=2000, learning_rate=(0.05, 0.0025), weight_decay=0.1, optimizer="adam"),
    4: dict(hidden=48, epochs=80, learning_rate=(0.5, 0.2), weight_decay=5e-5, optimizer="natural"),
}
"""Exact gradients; an epoch is one update. The decay is as large as D_KL allows: what mixes has small weights."""
BARS_RUNS = {
    3: dict(burn_in=1000, periods=4000, tuned=dict(steps=20, duration=4e4, burn_in=1e4, tolerance=5e-3)),
    4: dict(
        burn_in=20_000, periods=20_000,
        tuned=dict(steps=6, duration=6e4, burn_in=5e3, tolerance=5e-3, averaged=12),
        softer=dict(steps=8, duration=4e4, burn_in=5e3, tolerance=0.05),
    ),
}  # fmt: skip
"""Refractory periods of the runs whose law is that of long times, and how ``tune`` gets there; ``softer``: by way
of the machine with its parameters at ``SOFTER``, whose modes are left more often."""
SOFTER = (0.7, 0.85)
QUICK = dict(steps=2, duration=1e3)


def bars(seeds, quick):
    """D_KL(data || model) on bars and stripes: exact, by neural sampling, and by LIF networks."""
    calibration = bs.pipeline.with_network(bs.calibrate(bs.presets.S1.neuron, bs.presets.S1.background))
    columns = ("D_KL less floor", "floor", "share of time on patterns", "switches / 1000 periods")
    for n, how in BARS.items():
        patterns, found = bars_and_stripes(n), {}
        for seed in seeds:
            model = bars_model(n, how, patterns, seed, quick)
            found.setdefault("exact law", {}).setdefault(columns[0], []).append(divergence(model, patterns))
            quickly = dict(burn_in=100, periods=100, tuned=QUICK, softer=QUICK)
            runs = quickly if quick else BARS_RUNS[n]
            turned = with_bars_as_stripes(n, how["hidden"])
            for name, z in _laws_of_bars(model, calibration, turned, seed, 16 if quick else 256, **runs):
                for column, value in zip(columns, law_found(z, patterns)):
                    value = value * 1000 if "switches" in column else value
                    found.setdefault(name, {}).setdefault(column, []).append(value)
        empty = dict.fromkeys(columns, "-")
        table([{"patterns": f"{n} x {n}", "law": name} | empty | values for name, values in found.items()])


def bars_model(n, how, patterns, seed, quick):
    """Return the RBM of bars and stripes, the same when they change places."""
    turned = with_bars_as_stripes(n, how["hidden"])
    model = restricted(n * n, how["hidden"], data=patterns, scale=0.15, seed=seed)
    twin = model.weights[turned[: n * n]][:, turned[n * n :] - n * n]
    model = dataclasses.replace(model, weights=(model.weights + twin) / 2)
    epochs = how["epochs"] if not quick else 50 if n == 3 else 3
    settings = {name: value for name, value in how.items() if name != "hidden"} | {"epochs": epochs}
    return train(
        model, patterns, sampler=Mirrored(turned, 4096 if how["optimizer"] == "natural" else 0),
        settings=Settings(**settings, batch_size=len(patterns), seed=seed, measure_every=epochs),
    ).model  # fmt: skip


def with_bars_as_stripes(n, hidden):
    """Return the order of the units in which pictures are transposed and hidden units take their twins' places."""
    return np.concatenate(
        [np.arange(n * n).reshape(n, n).T.ravel(), n * n + np.roll(np.arange(hidden), hidden // 2)]
    )


def mirrored(made, turned):
    """Return a translation of a machine with a symmetry that has it too: what differs is noise of the tuning."""
    weights, biases = np.asarray(made.effective_weights), np.asarray(made.effective_biases)
    return dataclasses.replace(
        made, effective_weights=(weights + weights[np.ix_(turned, turned)]) / 2,
        effective_biases=(biases + biases[turned]) / 2,
    )  # fmt: skip


class Mirrored(ExactSampler):
    """The exact statistics; the states drawn for the natural gradient come with their mirror images.

    So a machine that begins with the symmetry keeps it.
    """

    def __init__(self, turned, samples):
        super().__init__(samples)
        self.turned = turned

    def free(self, model, state, key, *, steps, initial=None):
        """Return the exact moments."""
        found, state = super().free(model, state, key, steps=steps, initial=initial)
        if found.states is not None:
            both = np.concatenate([found.states, found.states[:, self.turned]])
            found = dataclasses.replace(found, states=both)
        return found, state


def _laws_of_bars(model, calibration, turned, seed, chains, burn_in, periods, tuned, softer=None):
    """Yield names and visible states, a refractory period apart."""
    at, plain = model.n_visible, model.machine().to_boltzmann()

    def spiking(made, burn_in, periods, initial=None):
        return run_network(
            made.network, periods * 10.0, chains, 0.1, seed + 1, "numba", 1, Record(states_every=100),
            burn_in=burn_in * 10.0, initial=initial,
        )[0].states[..., :at]  # fmt: skip

    point = bs.pipeline.working_point(plain)
    for rule in ("psp", "learned"):
        made = bs.translate(plain, calibration, rule=rule, states_of=lambda _: point)
        # they are so far off that long runs would tell no more
        yield f"LIF, {rule}", spiking(made, min(burn_in, 1000), min(periods, 4000))
    made, how = None, dict(calibration=calibration, chains=chains, seed=seed, threads=1)
    for share in SOFTER if softer else ():
        made = bs.tune(scaled(model, share).machine(), start=scaled_start(made, model, share), **how, **softer)
    made = bs.tune(model.machine(), start=scaled_start(made, model, 1.0), **how, **tuned)
    print(made.notes[-1], flush=True)
    made = mirrored(made, turned)
    yield "LIF, tuned", spiking(made, burn_in, periods)
    rng = np.random.default_rng([seed, 1])
    begun = point.states[rng.integers(len(point.states), size=chains)]
    yield "LIF, tuned, begun in the law", spiking(made, burn_in, periods, in_states(begun, 100, rng))
    run = abstract.Neural(*model.plain(), tau=20, threads=1)
    _, state = run.run(run.init(seed=seed, chains=chains), burn_in * 20, Record())
    yield "neural sampling (Buesing)", run.run(state, periods * 20, Record(states_every=20))[0].states[..., :at]


def scaled(model, share):
    """Return the model at a higher temperature: its parameters times ``share``."""
    return dataclasses.replace(model, weights=model.weights * share, biases=model.biases * share)


def scaled_start(made, model, share):
    """Return a translation tuned for the model at another share as a start at this one; none: ``None``."""
    if made is None:
        return None
    machine = scaled(model, share).machine().to_boltzmann()
    ratio = np.abs(machine.weights).max() / np.abs(made.machine.weights).max()
    return dataclasses.replace(
        made, machine=machine, effective_weights=np.asarray(made.effective_weights) * ratio,
        effective_biases=np.asarray(made.effective_biases) * ratio,
    )  # fmt: skip


@functools.cache
def digit_model(seed, quick=False, hidden=64):
    """Return the class RBM of the digits."""
    pixels, names, *_ = digits()
    data = np.hstack([pixels, one_hot(names, 10)])
    settings = dataclasses.replace(CLASS_RBM, seed=seed, epochs=5 if quick else CLASS_RBM.epochs)
    return train(class_rbm(64, 10, hidden, data=data, seed=seed), data, settings=settings).model


def digits_table(seeds, quick):
    """Class RBM, 64 hidden units: likelihood beside scikit-learn's, accuracy, completion, generated digits."""
    from sklearn.neural_network import BernoulliRBM
    from sklearn.svm import SVC

    pixels, names, test, answers = digits()
    if quick:
        test, answers = test[:20], answers[:20]
    data, held_out = (np.hstack([x, one_hot(y, 10)]) for x, y in ((pixels, names), (test, answers)))
    judge = SVC().fit(pixels, names)
    found: dict[str, list] = {}
    keep = lambda name, value: found.setdefault(name, []).append(float(value))
    for seed in seeds:
        keep("log-likelihood of independent units", independent_log_likelihood(data, held_out))
        peer = BernoulliRBM(64, batch_size=50, n_iter=2 if quick else 60, learning_rate=0.05, random_state=seed)
        peer = _model_of_sklearn(peer.fit(data))
        model = digit_model(seed, quick)
        for name, of in (("scikit-learn", peer), ("ours", model)):
            z = log_partition(of, base=base_of(data), runs=300, betas=100 if quick else 3000)
            keep(f"log-likelihood, {name}", log_likelihood(of, held_out, z).value)
            keep(f"standard error of its AIS, {name}", z.error)
        machine = model.machine()
        keep("accuracy, closed form", np.mean(class_log_odds(model, test, 10).argmax(axis=1) == answers))
        votes = {e: classify(machine, test, engine=e, duration=600.0, threads=1) for e in ("gibbs", "lif")}
        for engine, share in votes.items():
            keep(f"accuracy, {engine}", np.mean(share.argmax(axis=1) == answers))
        keep("same name, lif and gibbs", np.mean(votes["gibbs"].argmax(axis=1) == votes["lif"].argmax(axis=1)))
        some = slice(0, 10 if quick else 150)
        upper = test[some, :32]
        reference = infer(machine, upper, range(32), engine="gibbs", duration=2e4)
        completed = infer(machine, upper, range(32), engine="lif", duration=2000.0, threads=1)
        for engine, p in (("long gibbs", reference), ("lif", completed)):
            keep(f"completion: pixel error, {engine}", np.abs(p[:, 32:64] - test[some, 32:]).mean())
            keep(f"completion: accuracy, {engine}", np.mean(p[:, 64:74].argmax(axis=1) == answers[some]))
        keep("completion: lif - long gibbs, pixels", np.abs(completed - reference)[:, 32:64].mean())
        drawn, wanted = generated(machine, seed, 2 if quick else 30)
        said = judge.predict(drawn)
        keep("generated: judged as the label held", np.mean(said == wanted))
        shares = np.bincount(judge.predict(unlabelled(machine, seed)), minlength=10)
        keep("generated freely: entropy of classes / ln 10", _entropy(shares / shares.sum()) / np.log(10))
    table([{"quantity": name, "value": values} for name, values in found.items()])


def folds(seeds, quick):
    """Choose the weight of naming by five folds of the training images, a seed each fold; the test has no say."""
    pixels, names, *_ = digits()
    fold = np.random.default_rng(7).permutation(len(names)) % 5
    rows = []
    for weight in (0.3, 3.0, 10.0, 30.0):
        right, likelihood = [], []
        for seed, k in itertools.product(seeds, range(1 if quick else 5)):
            data = np.hstack([pixels, one_hot(names, 10)])
            inside, held = data[fold != k], data[fold == k]
            settings = dataclasses.replace(
                CLASS_RBM, discriminative=weight, seed=seed, epochs=2 if quick else CLASS_RBM.epochs
            )
            model = train(class_rbm(64, 10, 64, data=inside, seed=seed), inside, settings=settings).model
            named = class_log_odds(model, held[:, :64], 10).argmax(axis=1)
            right.append(float(np.mean(named == names[fold == k])))
            z = log_partition(model, base=base_of(inside), runs=60, betas=300)
            likelihood.append(log_likelihood(model, held, z).value)
        rows.append({"discriminative": weight, "accuracy": right, "log-likelihood": likelihood})
    table(rows)


def _entropy(p):
    return float(-(p[p > 0] * np.log(p[p > 0])).sum())


def _model_of_sklearn(rbm):
    biases = np.concatenate([rbm.intercept_visible_, rbm.intercept_hidden_]).astype(float)
    names = tuple(f"z{k}" for k in range(len(biases)))
    weights = rbm.components_.T.astype(float)
    return Model(weights=weights, biases=biases, n_visible=len(weights), coupled=None, names=names)


def generated(machine, seed, each):
    """Return digits that LIF neurons draw with the label neurons held, and the labels."""
    drawn = []
    for label in range(10):
        clamp = {64 + k: int(k == label) for k in range(10)}
        result = bs.sample(machine, clamp=clamp, chains=each, duration=1000.0, burn_in=1000.0, seed=seed + 1)
        drawn.append(result.z[:, -1, :64])
    return np.concatenate(drawn), np.repeat(np.arange(10), each)


def unlabelled(machine, seed):
    """Return digits that LIF neurons draw freely."""
    result = bs.sample(machine, chains=128, duration=2000.0, burn_in=3000.0, seed=seed + 1)
    return result.z[:, -1, :64]


def loop(seeds, quick):
    """D_KL of LIF networks from targets of 5 units, N(0, 1): the rule, tuned, and trained in the loop."""
    calibration = bs.pipeline.with_network(bs.calibrate(bs.presets.S1.neuron, bs.presets.S1.background))
    found = {"learned rule": [], "tuned": [], "trained in the loop": []}
    duration = 2e3 if quick else 1e5
    for seed in seeds:
        rng = np.random.default_rng(seed)
        weights = np.triu(rng.normal(0, 1, (5, 5)), 1)
        target = bs.BoltzmannMachine(weights=weights + weights.T, biases=rng.normal(0, 1, 5))
        p = exact_joint(target)
        # the data of 20,000 samples, rounded from the exact law
        data = np.repeat(all_states(5), np.round(p * 20000).astype(int), axis=0)
        model = dataclasses.replace(full(5, 0), weights=np.array(target.weights), biases=np.array(target.biases))
        settings = Settings(
            epochs=5 if quick else 40, batch_size=len(data), chains=64, steps=2000, learning_rate=(0.75, 0.1),
            average=0.95, optimizer="natural", seed=seed,
        )  # fmt: skip
        chains = SpikingChains(calibration=calibration, threads=1)
        trained = train(model, data, sampler=chains, settings=settings)
        recent = trained.sampler_state["recent"]
        made = dataclasses.replace(chains.translation(trained.model, recent), machine=target)
        rules = {
            "learned rule": "learned",
            "tuned": bs.tune(target, calibration=calibration, seed=seed, steps=4 if quick else 12, threads=1),
            "trained in the loop": made,
        }
        for name, rule in rules.items():
            result = bs.sample(
                target, calibration=calibration, rule=rule, duration=duration, seed=seed + 7, threads=1
            )
            found[name].append(float(result.kl_divergence().bias))
    table([{"network": name, "D_KL less floor": values} for name, values in found.items()])


def ground_state(seeds, quick):
    """Relative error of the ground state's energy: 8 spins, periodic, at the critical field."""
    chain = TransverseIsing(spins=8, field=1.0)
    exact = chain.exact_energy()
    found = {"summed exactly": [], "LIF, those parameters": [], "LIF, learned in spikes": [], "standard error": []}
    for seed in seeds:
        start = symmetric_start(8, 16, seed=seed)
        summed = minimise(start, chain, steps=100 if quick else 1500)
        found["summed exactly"].append(1 - chain.energy(law_of(summed)) / exact)
        network = SpikingChains(threads=1)
        state = network.start(start, chains=64, seed=seed)

        def draw(model, step, draws=150, network=network, seed=seed):
            nonlocal state
            translation = network.translation(model, state["recent"])
            z, state = network.draws(translation, state, draws, (seed, step, 1))
            return z.reshape(-1, model.n_units)

        def error(states):
            return 1 - chain.energy(chain.symmetrised(law_of_states(states, 8))) / exact

        draw(summed, 0, 200)
        found["LIF, those parameters"].append(error(draw(summed, 0, 8000)))
        learned = minimise(start, chain, steps=10 if quick else 400, draw=draw, learning_rate=(0.05, 0.003))
        draw(learned, 0, 200)
        parts = [error(draw(learned, 10**6 + k, 2000)) for k in range(5)]
        found["LIF, learned in spikes"].append(float(np.mean(parts)))
        found["standard error"].append(float(np.std(parts, ddof=1) / np.sqrt(5)))
    print(f"exact energy {exact:.6f}")
    table([{"law": name, "relative error": values} for name, values in found.items()])


IMBALANCED = {0: 0.8, 1: 0.15, 4: 0.05}
"""Shares of three digits in the data for mixing."""

SHORT_TERM = (
    dict(U=1.0, tau_rec=13.0), dict(U=1.0, tau_rec=30.0), dict(U=0.3, tau_rec=24.0), dict(U=0.1, tau_rec=63.0),
    dict(U=0.3, tau_rec=24.0, tau_fac=20.0),
)  # fmt: skip
"""Synapses of the mixing networks, ms. Those with U < 1 and no facilitation end at a renewing one's efficacy,
1 - 1/e, in a long burst, and are above it before."""


def mixing(seeds, quick):
    """How chains leave modes: Gibbs, parallel tempering, LIF, with depression, with a swelling background."""
    pixels, names, test, answers = digits()
    calibration = bs.pipeline.with_network(bs.calibrate(bs.presets.S1.neuron, bs.presets.S1.background))
    temperatures = tempering.temperature_map(calibration)
    classes = list(IMBALANCED)
    seconds, chains = (2, 4) if quick else (20, 16)
    found: dict[str, dict[str, list]] = {}
    for seed in seeds:
        rng = np.random.default_rng(seed)
        chosen = np.concatenate(
            [rng.choice(np.flatnonzero(names == digit), int(share * 400)) for digit, share in IMBALANCED.items()]
        )
        data = pixels[chosen]
        settings = Settings(
            epochs=5 if quick else 300, batch_size=20, learning_rate=(0.3, 0.01), average=0.99, seed=seed,
            weight_decay=1e-3,
        )  # fmt: skip
        model = train(restricted(64, 32, data=data, seed=seed), data, sampler=Tempered(8), settings=settings).model
        judge = _judge(pixels, names, classes)
        in_test = np.isin(answers, classes)
        rows = test[in_test]
        weight = np.array([IMBALANCED[digit] / np.sum(answers == digit) for digit in answers[in_test]])
        truth = _tempered_gibbs(model, 64, 4000 if not quick else 100, seed + 99)[:, 200 if not quick else 0 :]
        wanted = np.bincount(judge(truth).ravel(), minlength=len(classes)) / judge(truth).size
        for name, z in _mixers(model, calibration, temperatures, seconds * 1000.0, chains, seed):
            where = judge(z)
            per_second = z.shape[1] / seconds
            switches = (where[:, 1:] != where[:, :-1]).sum(axis=1)
            shares = np.bincount(where.ravel(), minlength=len(classes)) / where.size
            flat = z.reshape(-1, 64)
            beta = best_beta(flat[:: max(len(flat) // 2000, 1)], data[:200])
            likelihood = sampling_likelihood(flat[:: max(len(flat) // 2000, 1)], rows, beta=beta)
            for quantity, value in {
                "draws/s": per_second,
                "switches/s": switches.mean() / seconds,
                "mean dwell time, s": seconds / (switches.mean() + 1),
                "error of class shares": np.abs(shares - wanted).sum() / 2,
                "ISL, nats": np.sum(weight * likelihood) / weight.sum(),
            }.items():
                found.setdefault(name, {}).setdefault(quantity, []).append(float(value))
    table([{"sampler": name} | values for name, values in found.items()])


def _judge(pixels, names, classes):
    from sklearn.svm import SVC

    inside = np.isin(names, classes)
    svc = SVC().fit(pixels[inside], np.searchsorted(classes, names[inside]))
    return lambda z: svc.predict(z.reshape(-1, 64)).reshape(z.shape[:2])


def _tempered_gibbs(model, chains, sweeps, seed):
    sampler = Tempered(8)
    v, kept = sampler.start(model, chains=chains, seed=seed)["visible"], []
    rng = np.random.default_rng(seed)
    for _ in range(sweeps):
        v, _ = sampler.advance(model, v, rng, 1)
        kept.append(v[0].astype(np.int8))
    return np.stack(kept, axis=1)


def _gibbs(model, chains, sweeps, seed):
    state, kept = LayerGibbs().start(model, chains=chains, seed=seed), []
    for sweep in range(sweeps):
        _, state = LayerGibbs().free(model, state, (seed, sweep, 1), steps=1)
        kept.append(state["visible"].astype(np.int8))
    return np.stack(kept, axis=1)


def _mixers(model, calibration, temperatures, duration, chains, seed):
    """Yield names and visible states; a Gibbs sweep counts as a refractory period, a tempered one as eight."""
    sweeps = round(duration / 10)
    yield "Gibbs", _gibbs(model, chains, sweeps, seed)
    yield "parallel tempering (8)", _tempered_gibbs(model, chains, sweeps // 8, seed)
    machine = model.machine().to_boltzmann()
    point = bs.pipeline.working_point(machine)
    at = {"states_of": lambda _: point}

    def states(network, every):
        samples, _ = run_network(
            network, duration, chains, 0.1, seed, "numba", 1, Record(states_every=every), burn_in=0.0
        )
        return samples.states[:, :, :64]

    plain = bs.translate(machine, calibration, **at).network
    yield "LIF", states(plain, 100)
    for numbers in SHORT_TERM:
        synapse = bs.Synapse(plasticity="tsodyks-markram", **numbers)
        rule = "matched" if synapse.U == 1 else "psp"
        made = bs.translate(machine, calibration, synapse=synapse, rule=rule, **at)
        name = ", ".join(f"{name} = {value:g}" for name, value in numbers.items())
        yield f"LIF, {name}", states(made.network, 100)
    for hottest, period in ((1.7, 200.0), (2.4, 500.0)):
        z = tempering.run_tempered(
            plain, temperatures, hottest=hottest, period=period, periods=round(duration / period), chains=chains,
            seed=seed, threads=1, draws=5,
        )  # fmt: skip
        yield f"LIF, T to {hottest:g}, {period:g} ms", z[:, :, :64]


def hardware(seeds, quick):
    """Accuracy of LIF networks on imperfect hardware, and after training in the loop on it."""
    pixels, names, test, answers = digits()
    data = np.hstack([pixels, one_hot(names, 10)])
    some = slice(0, 10 if quick else 100)
    sweep = {
        "perfect": Hardware(),
        "4 bits up to 2": Hardware(weight_bits=4, weight_range=2.0),
        "2 bits up to 2": Hardware(weight_bits=2, weight_range=2.0),
        "weights +-20 %": Hardware(weight_noise=0.2),
        "weights +-50 %": Hardware(weight_noise=0.5),
        "biases +-1": Hardware(bias_noise=1.0),
        "one sign a row": Hardware(signs="row"),
        "one sign a row, relays": Hardware(signs="relay"),
    }
    if quick:
        sweep = dict(list(sweep.items())[:2])
    rows = []
    for name, chip in sweep.items():
        before, after = [], []
        for seed in seeds:
            model, chip = digit_model(seed, quick), dataclasses.replace(chip, seed=seed)
            before.append(_accuracy(model, test[some], answers[some], chip))
            if name != "perfect":
                settings = Settings(
                    epochs=1 if quick else 3, steps=10, learning_rate=(0.02, 0.004), seed=seed, average=0.9,
                    labels=10, discriminative=CLASS_RBM.discriminative,
                )  # fmt: skip
                trained = train(
                    model, data, sampler="lif", data_phase="spikes", hardware=chip, threads=1, settings=settings
                )
                after.append(_accuracy(trained.model, test[some], answers[some], chip))
        rows.append({"hardware": name, "accuracy": before, "trained on it": after or "-"})
        print(name, before, after, flush=True)
    table(rows)


def _accuracy(model, pixels, names, chip):
    share = classify(model.machine(), pixels, engine="lif", duration=500.0, threads=1, hardware=chip)
    return float(np.mean(share.argmax(axis=1) == names))


COMMANDS = {
    "speed": speed, "bars": bars, "folds": folds, "digits": digits_table, "loop": loop,
    "ground-state": ground_state, "mixing": mixing, "hardware": hardware,
}  # fmt: skip


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("command", choices=COMMANDS)
    parser.add_argument("--seeds", type=int, default=3, help="how many")
    parser.add_argument("--quick", action="store_true", help="see that it runs; the numbers mean nothing")
    arguments = parser.parse_args()
    begun = time.perf_counter()
    COMMANDS[arguments.command](range(arguments.seeds), arguments.quick)
    print(f"{arguments.seeds} seeds, {time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    main()
