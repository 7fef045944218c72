import numpy as np
import pytest

from boltzspike.errors import UnsupportedFeature, ValidationError
from boltzspike.pipeline.inference import classify, infer
from boltzspike.pipeline.training import SpikingChains, train
from boltzspike.theory.exact import exact_joint
from boltzspike.training import ExactSampler, Settings, class_rbm, full, restricted
from boltzspike.training.hardware import Hardware


def test_the_free_phase_in_spikes_has_the_models_statistics():
    model = restricted(6, 4, scale=0.6, seed=3)
    exact, _ = ExactSampler().free(model, {}, (0, 0, 1), steps=1)
    chains = SpikingChains()
    state = chains.start(model, chains=64, seed=1)
    found, _ = chains.free(model, state, (1, 0, 1), steps=300)
    # sampling noise is 0.5/sqrt(64 * 300 / 3) = .006; the learned rule leaves .01 on such machines
    np.testing.assert_allclose(found.units, exact.units, atol=0.03)
    np.testing.assert_allclose(found.couplings, exact.couplings, atol=0.03)


def test_the_data_phase_in_spikes_shows_each_sample_to_the_hidden_neurons():
    model = restricted(5, 4, scale=1.0, seed=2)
    visible = np.array([[1, 0, 1, 1, 0], [0, 1, 0, 0, 1], [1, 1, 1, 1, 1]], dtype=np.float32)
    exact = 1 / (1 + np.exp(-(visible @ model.weights + model.hidden_biases)))
    chains = SpikingChains(shown=600, data_phase="spikes")
    recent = np.concatenate([visible, np.round(exact)], axis=1).astype(np.int8)
    found = chains.hidden_given(model, visible, recent, (1, 0, 0))
    # 400 counted periods: 4 standard errors of .5/sqrt(400/2), and the rule's error under held neurons
    assert np.abs(found - exact).max() < 0.14 + 0.08
    assert np.corrcoef(found.ravel(), exact.ravel())[0, 1] > 0.9


@pytest.mark.parametrize("data_phase", ["exact", "spikes"])
def test_training_in_spikes_learns_and_goes_on_bit_for_bit(data_phase, tmp_path):
    data = np.repeat([[1, 1, 0, 0], [0, 0, 1, 1]], 8, axis=0)
    model = restricted(4, 3, scale=0.5, seed=1)
    spiking = {"sampler": "lif", "data_phase": data_phase, "threads": 1}
    run = lambda epochs, **files: train(
        model, data, settings=Settings(epochs=epochs, batch_size=8, steps=5, learning_rate=1.0), **spiking, **files
    )
    whole = run(40)
    run(4, checkpoint=tmp_path / "c.npz")
    rest = run(40, resume=tmp_path / "c.npz")
    np.testing.assert_array_equal(rest.model.weights, whole.model.weights)
    p = exact_joint(whole.model.machine()).reshape(16, -1).sum(axis=1)
    # chance is 1/8 for the two patterns together
    assert p[0b1100] + p[0b0011] > 0.35


def test_a_translation_trained_on_hardware_learns_away_the_fixed_pattern():
    """The moments of the network, not of the model, come to those of the data."""
    rng = np.random.default_rng(4)
    data = (rng.random((400, 3)) < [0.2, 0.5, 0.7]).astype(int)
    data[:, 1] = np.where(rng.random(400) < 0.8, data[:, 0], data[:, 1])
    wanted = data.T @ data / len(data)
    hardware = Hardware(bias_noise=1.0, weight_noise=0.3, seed=3)

    def gap(model):
        chains = SpikingChains(hardware=hardware)
        state = chains.start(model, chains=32, seed=9)
        found, _ = chains.free(model, state, (9, 0, 1), steps=300)
        np.fill_diagonal(moments := found.couplings.copy(), found.units)
        return np.abs(moments - wanted).max()

    settings = Settings(epochs=60, batch_size=100, steps=10, chains=64, learning_rate=(1.0, 0.05))
    unaware = train(full(3, 0, data=data), data, sampler="exact", settings=settings).model
    aware = train(full(3, 0, data=data), data, sampler="lif", settings=settings, hardware=hardware).model
    before = gap(unaware)
    assert before > 0.1
    assert gap(aware) < before / 2


def test_lost_spikes_weaken_the_coupling_by_their_share():
    model = full(2, 0).moved(np.array([[0, 2.0], [2.0, 0]]), np.array([-1.0, -1.0]))
    covariance = {}
    for loss in (0.0, 0.9):
        chains = SpikingChains(hardware=Hardware(spike_loss=loss))
        state = chains.start(model, chains=64, seed=2)
        z, _ = chains.draws(chains.translation(model, state["recent"]), state, 200, (2, 0, 1))
        covariance[loss] = np.cov(z.reshape(-1, 2).T)[0, 1]
    # E[zz] - E[z]E[z] of the pair is tanh(W/4)/4 = .116 at W = 2, and about .012 at W = .2
    assert covariance[0.0] == pytest.approx(0.1155, abs=0.02)
    assert covariance[0.9] < 0.03


def test_inference_agrees_with_the_exact_posterior():
    machine = class_rbm(5, 3, 4, scale=0.8, seed=1).machine()
    pixels = np.array([[1, 0, 0, 1, 1], [0, 0, 1, 0, 0]])
    exact = infer(machine, pixels, range(5), engine="exact")
    np.testing.assert_array_equal(exact[:, :5], pixels)
    by_gibbs = infer(machine, pixels, range(5), engine="gibbs", duration=1e5)
    # independent draws but for a short memory: 5 standard errors of .5/sqrt(16 * 10^4 / 4)
    np.testing.assert_allclose(by_gibbs, exact, atol=5 * 0.5 / np.sqrt(4e4))
    by_lif = infer(machine, pixels, range(5), engine="lif", duration=2e4)
    np.testing.assert_allclose(by_lif, exact, atol=0.03)
    np.testing.assert_allclose(classify(machine, pixels, engine="exact").sum(axis=1), 1)


def test_what_is_said_about_a_row_depends_on_nothing_but_itself():
    machine = class_rbm(5, 3, 12, scale=0.8, seed=1).machine()
    pixels = np.array([[1, 0, 0, 1, 1], [0, 0, 1, 0, 0], [1, 1, 1, 0, 0]])
    for engine in ("gibbs", "lif"):
        together = infer(machine, pixels, range(5), engine=engine, duration=200.0)
        alone = infer(machine, pixels[2:], range(5), engine=engine, duration=200.0)
        np.testing.assert_array_equal(together[2:], alone)


def test_inference_and_training_name_what_is_wrong():
    machine = class_rbm(5, 3, 4).machine()
    for arguments, message in (
        (([[0.5] * 5], range(5)), r"evidence\[0, 0\]"),
        (([[1, 1]], [0, 0]), "units: must be different"),
        (([[1]], [99]), "units: must be different"),
    ):
        with pytest.raises(ValidationError, match=message):
            infer(machine, *arguments)
    with pytest.raises(ValidationError, match="label-"):
        classify(restricted(3, 2).machine(), [[0, 1, 1]])
    with pytest.raises(ValidationError, match="sampler: must be one of"):
        train(restricted(3, 2), [[0, 1, 1]], sampler="nest")
    with pytest.raises(ValidationError, match="data_phase: must be left out"):
        train(restricted(3, 2), [[0, 1, 1]], data_phase="spikes")
    with pytest.raises(UnsupportedFeature, match="a running network can't be set to data"):
        train(restricted(3, 2), [[0, 1, 1]], sampler="lif", settings=Settings(method="cd"))


def test_parameters_that_need_another_path_of_the_engine_are_named():
    chains = SpikingChains(rule="psp", threads=1, burn_in=10.0)
    model = restricted(3, 2, seed=0)
    state = chains.start(model, chains=2, seed=0)
    with pytest.raises(ValidationError, match=r"too wide for the .* lower the rate"):
        chains.free(model.moved(np.full((3, 2), 900.0), np.zeros(5)), state, (0, 0, 1), steps=1)
