import os
import signal
import threading
import time

import numpy as np
import pytest
from scipy.special import logsumexp

from boltzspike.errors import Interrupted, UnsupportedFeature, ValidationError
from boltzspike.theory.exact import all_states, exact_joint
from boltzspike.training import (
    ExactSampler,
    LayerGibbs,
    Settings,
    Tempered,
    UnitSampler,
    class_rbm,
    full,
    layered,
    restricted,
    train,
)
from boltzspike.training.measures import pseudo_likelihood, pseudo_likelihoods
from boltzspike.training.models import model_of, one_hot
from boltzspike.training.samplers import DATA, FREE


def bars_and_stripes(n):
    states = all_states(n).astype(int)
    bars = np.repeat(states[:, None, :], n, axis=1).reshape(-1, n * n)
    stripes = np.repeat(states[:, :, None], n, axis=2).reshape(-1, n * n)
    return np.unique(np.concatenate([bars, stripes]), axis=0)


def log_likelihood(model, visible):
    """By enumeration of all units."""
    log_p = np.log(exact_joint(model.machine())).reshape(2**model.n_visible, -1)
    of_visible = logsumexp(log_p, axis=1)
    codes = visible.astype(int) @ (1 << np.arange(model.n_visible)[::-1])
    return of_visible[codes].mean()


def models():
    return {
        "restricted": restricted(4, 3, scale=0.7, seed=3),
        "layered": layered((4, 3, 2), scale=0.7, seed=3),
        "full": full(4, 3, scale=0.7, seed=3),
        "full, all visible": full(4, 0, scale=0.7, seed=3),
    }


@pytest.mark.parametrize("kind", models())
def test_the_exact_gradient_is_the_slope_of_the_log_likelihood(kind):
    model, data = models()[kind], np.array([[1, 0, 0, 1], [1, 1, 0, 0], [0, 0, 0, 1]], dtype=np.float32)
    sampler = ExactSampler()
    positive, _ = sampler.given(model, data, {}, (0, 0, DATA))
    negative, _ = sampler.free(model, {}, (0, 0, FREE), steps=1)
    gradient = positive.couplings - negative.couplings
    h = 1e-5
    zero = np.zeros_like(model.biases)
    for entry in [(0, 1), (1, 0), (2, 2) if model.restricted else (1, 3)]:
        nudge = np.zeros_like(model.weights)
        nudge[entry] = h
        if not model.restricted:
            nudge[entry[::-1]] = h
        if not model.restricted and not model.coupled[entry]:
            assert gradient[entry] == 0
            continue
        slope = log_likelihood(model.moved(nudge, zero), data) - log_likelihood(model.moved(-nudge, zero), data)
        assert gradient[entry] == pytest.approx(slope / (2 * h), abs=1e-6)
    nudge = np.where(np.arange(model.n_units) == model.n_units - 1, h, 0.0)
    none = np.zeros_like(model.weights)
    slope = log_likelihood(model.moved(none, nudge), data) - log_likelihood(model.moved(none, -nudge), data)
    assert (positive.units - negative.units)[-1] == pytest.approx(slope / (2 * h), abs=1e-6)


@pytest.mark.parametrize(
    ("sampler", "kind", "steps"),
    [
        (LayerGibbs(), "restricted", 200),
        (Tempered(4), "restricted", 200),
        (UnitSampler("gibbs"), "full", 200),
        (UnitSampler("gibbs"), "layered", 200),
        (UnitSampler("buesing", tau=10), "restricted", 200),
    ],
)
def test_a_samplers_free_phase_has_the_exact_statistics(sampler, kind, steps):
    model, chains = models()[kind], 4000
    exact, _ = ExactSampler().free(model, {}, (0, 0, FREE), steps=1)
    state = sampler.start(model, chains=chains, seed=5)
    _, state = sampler.free(model, state, (5, 0, FREE), steps=steps)
    found, _ = sampler.free(model, state, (5, 1, FREE), steps=1)
    # after the burn-in the chains are independent: k = 4.5 standard errors of a mean over them
    tolerance = 4.5 * 0.5 / np.sqrt(chains)
    np.testing.assert_allclose(found.couplings, exact.couplings, atol=tolerance)
    np.testing.assert_allclose(found.units, exact.units, atol=tolerance)


@pytest.mark.parametrize("kind", ["restricted", "layered", "full"])
def test_a_samplers_data_phase_has_the_exact_statistics_given_the_data(kind):
    model = models()[kind]
    data = np.tile(np.array([[1, 0, 0, 1], [0, 1, 1, 1]], dtype=np.float32), (2000, 1))
    exact, _ = ExactSampler().given(model, data[:2], {}, (0, 0, DATA))
    found, _ = UnitSampler(given_sweeps=40).given(model, data, {}, (1, 0, DATA))
    np.testing.assert_allclose(found.couplings, exact.couplings, atol=4.5 * 0.5 / np.sqrt(2000))
    # the visible units hold the data themselves
    np.testing.assert_allclose(found.units[: model.n_visible], data.mean(axis=0), atol=1e-6)


def test_exact_training_learns_bars_and_stripes():
    data = bars_and_stripes(3)
    model = restricted(9, 8, data=data, scale=0.1, seed=1)
    done = train(
        model, data, ExactSampler(), Settings(epochs=1000, batch_size=14, learning_rate=0.03, optimizer="adam")
    )
    # D_KL(data || model) = -ln 14 - <log p>; the same by persistent chains is measured in benchmarks/learning.py
    assert -np.log(14) - log_likelihood(done.model, data) < 0.05
    assert done.stopped == "1000 epochs done"


@pytest.mark.parametrize("method", ["cd", "pcd", "fast-pcd"])
def test_training_by_chains_raises_the_likelihood(method):
    data = np.repeat(bars_and_stripes(2), 20, axis=0)
    model = restricted(4, 6, data=data, scale=0.1, seed=1)
    settings = Settings(epochs=400, batch_size=20, method=method, learning_rate=(0.8, 0.05), average=0.9)
    done = train(model, data, LayerGibbs(), settings)
    before, after = log_likelihood(model, data), log_likelihood(done.model, data)
    # six patterns of sixteen: ln 6 nats at best, 4 ln 2 for independent units
    assert before == pytest.approx(-4 * np.log(2), abs=0.1)
    assert after > -np.log(6) - 0.25
    assert done.history[-1].pseudo_likelihood > done.history[0].pseudo_likelihood


def test_training_never_moves_couplings_that_the_model_lacks():
    data = bars_and_stripes(2)
    model = layered((4, 3, 2), scale=0.1)
    done = train(model, data, UnitSampler(), Settings(epochs=3, batch_size=6, learning_rate=0.3))
    assert np.abs(done.model.weights[~model.coupled]).max() == 0
    assert np.abs(done.model.weights - model.weights)[model.coupled].min() > 0
    np.testing.assert_array_equal(done.model.weights, done.model.weights.T)


@pytest.mark.parametrize("settings", [
    Settings(epochs=4, batch_size=7, momentum=0.5, method="fast-pcd", average=0.9),
    Settings(epochs=4, batch_size=7, optimizer="adam", weight_decay=1e-3, sparsity=0.2),
])  # fmt: skip
def test_a_resumed_training_goes_on_bit_for_bit(settings, tmp_path):
    data = bars_and_stripes(3)
    model = restricted(9, 5, data=data)
    whole = train(model, data, LayerGibbs(), settings)
    shorter = Settings(**{name: getattr(settings, name) for name in settings.__slots__} | {"epochs": 2})
    train(model, data, LayerGibbs(), shorter, checkpoint=tmp_path / "c.npz")
    rest = train(model, data, LayerGibbs(), settings, resume=tmp_path / "c.npz")
    np.testing.assert_array_equal(rest.model.weights, whole.model.weights)
    np.testing.assert_array_equal(rest.model.biases, whole.model.biases)
    for name, values in whole.sampler_state.items():
        np.testing.assert_array_equal(rest.sampler_state[name], values)
    assert [e.pseudo_likelihood for e in rest.history] == [e.pseudo_likelihood for e in whole.history]


def test_an_interrupted_training_loses_nothing_and_goes_on_bit_for_bit(tmp_path):
    data = np.repeat(bars_and_stripes(3), 30, axis=0)
    model, settings = restricted(9, 5, data=data), Settings(epochs=10**6, batch_size=7)

    def interrupt():
        time.sleep(0.3)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises(Interrupted, match="SIGINT in epoch") as caught:
        train(model, data, LayerGibbs(), settings, checkpoint=tmp_path / "c.npz")
    part = caught.value.result
    done = len(part.history)
    settings = Settings(epochs=done + 2, batch_size=7)
    rest = train(model, data, LayerGibbs(), settings, resume=tmp_path / "c.npz")
    whole = train(model, data, LayerGibbs(), settings)
    np.testing.assert_array_equal(rest.model.weights, whole.model.weights)


def test_a_checkpoint_of_another_training_is_refused(tmp_path):
    data, path = bars_and_stripes(2), tmp_path / "c.npz"
    model, settings = restricted(4, 3), Settings(epochs=1, batch_size=6)
    train(model, data, LayerGibbs(), settings, checkpoint=path)
    for name, arguments in {
        "model": (restricted(4, 3, seed=1), data, LayerGibbs(), settings),
        "data": (model, data[:5], LayerGibbs(), settings),
        "sampler": (model, data, Tempered(), settings),
        "settings": (model, data, LayerGibbs(), Settings(epochs=1, batch_size=6, learning_rate=0.1)),
    }.items():
        with pytest.raises(ValidationError, match=f"{name}: must be that of this training"):
            train(*arguments, resume=path)
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ValidationError, match="damaged"):
        train(model, data, LayerGibbs(), settings, resume=path)
    np.savez(path, a=np.zeros(2))
    with pytest.raises(ValidationError, match="not a checkpoint"):
        train(model, data, LayerGibbs(), settings, resume=path)


def test_a_diverging_learning_rate_stops_with_the_update_and_the_value():
    data = np.repeat(bars_and_stripes(3), 4, axis=0)
    with pytest.raises(ValidationError, match=r"diverges at 500: after update \d+ \(epoch 1\).*largest parameter"):
        train(restricted(9, 5), data, LayerGibbs(), Settings(learning_rate=500.0, batch_size=10))


def test_early_stopping_returns_the_best_model():
    data = bars_and_stripes(2)
    values = iter([1.0, 3.0, 2.0, 2.5, 9.0])
    seen = []

    def monitor(model):
        seen.append(model)
        return next(values)

    settings = Settings(epochs=9, batch_size=6, patience=2)
    done = train(restricted(4, 3), data, LayerGibbs(), settings, monitor=monitor)
    assert len(done.history) == 4
    np.testing.assert_array_equal(done.model.weights, seen[1].weights)
    assert "no better value" in done.stopped


def test_training_on_few_digits_stops_before_it_learns_them_by_heart():
    """On scikit-learn's images: held-out pseudo-likelihood ends above that of training to the end."""
    from sklearn.datasets import load_digits

    pixels = (load_digits().data >= 8).astype(int)
    few, held_out, other = pixels[:60], pixels[600:900], pixels[900:1700]
    run = lambda **options: train(
        restricted(64, 64, data=few), few, LayerGibbs(),
        Settings(epochs=400, batch_size=20, learning_rate=0.2, measure_every=400, **options),
        monitor=lambda model: pseudo_likelihood(model, held_out),
    )  # fmt: skip
    stopped, to_the_end = run(patience=20), run()
    values = [epoch.monitor for epoch in stopped.history]
    assert len(values) < 400
    assert len(values) - 1 - np.argmax(values) == 20
    assert pseudo_likelihood(stopped.model, held_out) == pytest.approx(max(values))
    # on images that neither training nor the monitor saw: more than 5 standard errors of the paired difference
    gain = pseudo_likelihoods(stopped.model, other) - pseudo_likelihoods(to_the_end.model, other)
    assert gain.mean() > 5 * gain.std(ddof=1) / np.sqrt(len(other))


def test_sparsity_draws_the_hidden_units_to_the_wanted_activity():
    data = np.repeat(bars_and_stripes(3), 5, axis=0)
    mean = {}
    for cost in (0.0, 2.0):
        settings = Settings(epochs=60, batch_size=14, learning_rate=0.2, sparsity=0.1, sparsity_cost=cost)
        model = train(restricted(9, 6, data=data), data, LayerGibbs(), settings).model
        mean[cost] = LayerGibbs().given(model, data.astype(np.float32), {}, (0, 0, 0))[0].units[9:].mean()
    assert abs(mean[2.0] - 0.1) < 0.05 < abs(mean[0.0] - 0.1)


def test_hybrid_training_has_the_gradient_of_the_conditional_likelihood():
    from boltzspike.training.measures import class_log_odds, class_statistics

    model = class_rbm(4, 3, 5, scale=0.6, seed=2)
    pixels, labels = np.array([[0, 1, 1, 0], [1, 1, 0, 1]]), np.array([2, 0])
    visible = np.hstack([pixels, one_hot(labels, 3)])

    def conditional(of):
        scores = class_log_odds(of, pixels, 3)
        return (scores[[0, 1], labels] - logsumexp(scores, axis=1)).mean()

    given, _ = LayerGibbs().given(model, visible.astype(np.float32), {}, (0, 0, 0))
    drawn = class_statistics(model, visible, 3)
    h, zero = 1e-5, np.zeros_like(model.biases)
    for entry in [(0, 0), (3, 2), (6, 4)]:
        nudge = np.zeros_like(model.weights)
        nudge[entry] = h
        slope = (conditional(model.moved(nudge, zero)) - conditional(model.moved(-nudge, zero))) / (2 * h)
        assert (given.couplings - drawn.couplings)[entry] == pytest.approx(slope, abs=1e-6)


def test_the_pseudo_likelihood_is_that_of_the_conditionals():
    model, data = models()["restricted"], all_states(4)[[3, 9, 14]]
    p = exact_joint(model.machine()).reshape(16, -1).sum(axis=1)
    expected = 0.0
    for v in data:
        code = int(v @ (1 << np.arange(4)[::-1]))
        expected += sum(np.log(p[code] / (p[code] + p[code ^ (1 << bit)])) for bit in range(4))
    assert pseudo_likelihood(model, data) == pytest.approx(expected / 3, abs=1e-5)


@pytest.mark.parametrize(("data", "message"), [
    ([[0.5, 1, 0, 0]], r"data\[0, 0\]: must be 0 or 1 .binarise.*got 0.5"),
    ([[0, np.nan, 0, 0]], r"data\[0, 1\]: must be 0 or 1"),
    (np.empty((0, 4)), "data: must be of at least one sample"),
    ([[0, 1, 0]], "data: must be of 4 columns"),
    ([0, 1, 0, 1], "data: must be an array of numbers of shape"),
])  # fmt: skip
def test_data_that_are_not_binary_are_named(data, message):
    with pytest.raises(ValidationError, match=message):
        train(restricted(4, 2), data, LayerGibbs())


@pytest.mark.parametrize(("values", "message"), [
    ({"epochs": 0}, "Settings.epochs"), ({"batch_size": 0}, "Settings.batch_size"),
    ({"learning_rate": np.nan}, "Settings.learning_rate"), ({"learning_rate": (0.1, -1)}, "learning_rate"),
    ({"learning_rate": "fast"}, "Settings.learning_rate: must be an array of numbers"),
    ({"method": "bp"}, "Settings.method"), ({"momentum": 1.0}, "Settings.momentum"),
    ({"sparsity": 2.0}, "Settings.sparsity"), ({"patience": 0}, "Settings.patience"),
    ({"discriminative": 1.0}, "Settings.labels"), ({"seed": -1}, "seed"),
])  # fmt: skip
def test_settings_name_what_is_wrong(values, message):
    with pytest.raises(ValidationError, match=message):
        Settings(**values)


def test_labels_out_of_range_are_named():
    with pytest.raises(ValidationError, match=r"labels\[1\]: must be in 0 .. 9, got 10"):
        one_hot([3, 10], 10)
    with pytest.raises(ValidationError, match="labels: must be a row of integers"):
        one_hot([0.5], 10)
    with pytest.raises(ValidationError, match=r"data\[0\]: must be one hot in its last 3 units, got \[1, 1, 0\]"):
        train(class_rbm(2, 3, 2), [[0, 1, 1, 1, 0]], LayerGibbs(), Settings(discriminative=1.0, labels=3))


def test_samplers_say_what_they_can_not_do():
    data = bars_and_stripes(2)
    with pytest.raises(UnsupportedFeature, match="LayerGibbs: samples the two layers"):
        train(full(4, 2), data, LayerGibbs())
    with pytest.raises(UnsupportedFeature, match="Tempered"):
        train(restricted(4, 2), data, Tempered(), Settings(method="cd"))
    with pytest.raises(ValidationError, match="Settings.patience"):
        train(restricted(4, 2), data, LayerGibbs(), Settings(patience=3))


def test_a_machine_becomes_a_model_and_back():
    for model in models().values():
        again = model_of(model.machine(), model.n_visible)
        np.testing.assert_array_equal(again.weights, model.weights)
        assert again.machine() == model.machine()
    with pytest.raises(ValidationError, match="n_visible"):
        model_of(models()["full"].machine())
