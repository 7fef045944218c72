import dataclasses

import numpy as np
import pytest
from scipy.integrate import trapezoid

import boltzspike as bs
from boltzspike import pictures
from boltzspike.errors import UnsupportedFeature, ValidationError
from boltzspike.translation.psp import synaptic_weights


@pytest.fixture(scope="module")
def result(s1_calibration):
    weights = np.array([[0, 0.8, -0.5, 0], [0.8, 0, 0.4, 0.3], [-0.5, 0.4, 0, 0], [0, 0.3, 0, 0]])
    machine = bs.BoltzmannMachine(weights=weights, biases=[0.1, -0.2, 0.3, -0.4], names=list("abcd"))
    return bs.sample(
        machine, calibration=s1_calibration, duration=2000, chains=16, clamp={"d": 1}, rule="psp", burn_in=200
    )


@pytest.fixture(scope="module")
def with_images(s1_calibration):
    rng = np.random.default_rng(2)
    names = [f"pixel-{r}-{c}" for r in range(2) for c in range(3)] + ["label-0", "label-1", "h0", "h1"]
    machine = bs.RestrictedBoltzmannMachine(
        weights=rng.normal(0, 0.6, (8, 2)), visible_biases=np.r_[np.zeros(6), -1, -1], hidden_biases=[0, 0],
        names=names,
    )  # fmt: skip
    return bs.sample(machine, calibration=s1_calibration, duration=2000, chains=16, rule="psp", burn_in=200)


def test_the_response_is_the_densitys_and_its_residual_stays_within_the_largest_deviation(s1_calibration, render):
    figure = pictures.response(s1_calibration, methods=["density"])
    upper, lower = figure.axes
    at_half = np.interp(s1_calibration.u0_control, *upper.lines[0].get_data())
    assert at_half == pytest.approx(0.5, abs=1e-3)
    residual = lower.lines[0].get_ydata()
    assert np.abs(residual).max() == pytest.approx(s1_calibration.max_deviation, rel=0.1)
    assert lower.get_xlabel() == "v_rest (mV)"
    render(figure)


def test_the_free_membrane_agrees_with_theory(s1_calibration, render):
    figure = pictures.free_membrane(s1_calibration, duration=1000, chains=32)
    histogram, correlation = figure.axes
    x, density = histogram.lines[0].get_data()
    height = np.array([bar.get_height() for bar in histogram.patches])
    middle = np.array([bar.get_x() + bar.get_width() / 2 for bar in histogram.patches])
    width = histogram.patches[0].get_width()
    mean, predicted_mean = np.sum(height * middle) * width, trapezoid(x * density, x)
    sd = np.sqrt(np.sum(height * (middle - mean) ** 2) * width)
    # a membrane remembers for about 10 ms: 32 chains of a second are 32 * 1000/20 independent values
    independent = 32 * 1000 / 20
    assert mean == pytest.approx(predicted_mean, abs=4 * sd / np.sqrt(independent))
    assert sd == pytest.approx(1.0150, rel=4 / np.sqrt(2 * independent))
    (points,) = correlation.containers
    value = points.lines[0].get_ydata()
    error = np.array([(s[1, 1] - s[0, 1]) / 2 for s in points.lines[2][0].get_segments()])
    predicted = correlation.lines[-1].get_ydata()
    assert np.all(np.abs(value - predicted)[1:] < 5 * error[1:] + 0.005)
    render(figure)


def test_a_membrane_that_reaches_every_threshold_is_refused(s1_calibration):
    wild = dataclasses.replace(
        s1_calibration, background=bs.PoissonBackground(rates=[3.0, 3000.0], weights=[1.0, -0.001])
    )
    with pytest.raises(UnsupportedFeature, match="free_membrane: no threshold is out of reach"):
        pictures.free_membrane(wild, duration=500, chains=4)


def test_the_opening_repeats_the_first_chain_of_the_run(result):
    samples = pictures.opening(result, duration=500).samples
    every = round(result.configuration["draw_every_ms"] / result.configuration["dt_ms"])
    first = samples.start + np.arange(samples.stop - samples.start) + 1
    draws = samples.states[0][first % every == 0]
    assert np.array_equal(draws, result.samples.states[0, : len(draws)])
    assert samples.voltages.shape == (1, 5000, 3)


def test_trace_and_raster_show_the_units_that_were_simulated(result, render):
    opened = pictures.opening(result, duration=200)
    figure = pictures.trace(opened, units=[1, 0])
    potentials, states = figure.axes
    assert [label.get_text() for label in states.get_yticklabels()] == ["b", "a"]
    assert potentials.lines[0].get_ydata() == pytest.approx(opened.samples.voltages[0, :, 1])
    assert potentials.lines[1].get_ydata() == pytest.approx([-50, -50])
    render(figure)
    ax = pictures.raster(opened)
    assert len(ax.lines[0].get_xdata()) == len(opened.samples.spikes.step) > 5
    assert ax.lines[0].get_xdata().max() <= 200
    assert [label.get_text() for label in ax.get_yticklabels()] == ["a", "b", "c"]
    render(ax)


def test_marginals_and_pairs_are_compared_with_exact_ones(result, render):
    truth = result.exact()
    upper, _ = pictures.agreement(result).axes
    assert upper.containers[0].lines[0].get_xdata() == pytest.approx(truth.marginals[:3])
    figure = pictures.pair_agreement(result)
    x, y = figure.axes[0].containers[0].lines[0].get_data()
    assert x == pytest.approx([truth.pairs[0, 1], truth.pairs[0, 2], truth.pairs[1, 2]])
    assert y == pytest.approx([result.pairs()[0, 1], result.pairs()[0, 2], result.pairs()[1, 2]])
    render(figure)


def test_the_course_of_the_divergence_ends_where_the_result_stands(result, render):
    ax = pictures.divergence(result, points=5)
    d = result.kl_divergence()
    own, floor, gibbs = (line.get_ydata() for line in ax.lines)
    assert own[-1] == pytest.approx(d.value)
    assert floor[-1] == pytest.approx(d.floor)
    assert ax.lines[0].get_xdata()[-1] == pytest.approx(16 * 2.0)  # chains times seconds
    # the value of an unbiased sampler is its floor, give or take: chi^2 of 7 degrees of freedom
    assert gibbs[-1] < 7 / (2 * 16 * 200) * 4
    render(ax)


def test_a_divergence_of_too_many_units_is_refused(s1_calibration):
    machine = bs.BoltzmannMachine(weights=np.zeros((15, 15)), biases=np.zeros(15))
    found = bs.sample(machine, calibration=s1_calibration, duration=100, chains=16, burn_in=0)
    with pytest.raises(ValidationError, match="divergence: must be of at most 14 free units, got 15"):
        pictures.divergence(found)


@pytest.mark.parametrize(("plasticity", "second"), [("renewing", 1 - np.exp(-1)), ("additive", 1.0)])
def test_the_psp_has_mean_one_over_the_refractory_period_and_the_next_comes_on_top(
    s1_calibration, plasticity, second, render
):
    ax = pictures.psp(s1_calibration, bs.Synapse(plasticity=plasticity))
    time, one = ax.lines[1].get_data()
    inside = (time >= 0) & (time <= 10)
    assert trapezoid(one[inside], time[inside]) / 10 == pytest.approx(1, abs=2e-3)
    both = ax.lines[2].get_ydata()
    assert both - one == pytest.approx(second * np.interp(time - 10, time, one), abs=2e-3)
    render(ax)


def test_the_psp_of_synapses_with_teeth_has_the_area_of_the_state_and_nothing_comes_on_top(s1_calibration, render):
    ax = pictures.psp(s1_calibration, bs.Synapse(plasticity="additive", teeth=5))
    time, one = ax.lines[1].get_data()
    assert trapezoid(one, time) / 10 == pytest.approx(1, abs=2e-3)
    both = ax.lines[2].get_ydata()
    assert both.max() < 1.02 * one.max()
    render(ax)


def test_the_weights_of_the_psp_rule_lie_on_its_line(result, render):
    ax = pictures.weights(result)
    wanted, used = ax.lines[3].get_data()
    assert sorted(wanted) == sorted([0.8, 0.8, -0.5, -0.5, 0.4, 0.4])
    assert used == pytest.approx(synaptic_weights(wanted, result.calibration) * 1e3)
    assert ax.get_ylabel() == "synaptic weight (nS)"
    render(ax)


def test_images_are_laid_out_by_the_units_names(with_images, render):
    layout = pictures.image_layout(with_images.names)
    assert layout.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert pictures.image_layout(["pixel-0-0", "pixel-1-1"]) is None
    assert pictures.image_layout(["a", "b"]) is None
    figure = pictures.images(with_images, draws=4)
    shown = [np.asarray(ax.images[0].get_array()) for ax in figure.axes if ax.images]
    assert shown[0] == pytest.approx(with_images.marginals()[:6].reshape(2, 3))
    assert shown[1] == pytest.approx(with_images.exact().marginals[:6].reshape(2, 3))
    assert np.array_equal(shown[2], with_images.z[0, 0, :6].reshape(2, 3))
    render(figure)


def test_a_receptive_field_holds_the_weights_of_a_hidden_unit(with_images, result, render):
    figure = pictures.receptive_fields(with_images.machine)
    shown = [np.asarray(ax.images[0].get_array()) for ax in figure.axes if ax.images]
    for k in range(2):
        assert shown[k] == pytest.approx(np.asarray(with_images.machine.weights)[:6, k].reshape(2, 3))
    render(figure)
    with pytest.raises(ValidationError, match="receptive_fields: needs an RBM, got a BoltzmannMachine"):
        pictures.receptive_fields(result.machine)
    with pytest.raises(ValidationError, match="images: no units make up an image; name them NAME-ROW-COLUMN"):
        pictures.images(result)


def test_modes_are_the_principal_components_of_the_visible_units(with_images, render):
    ax = pictures.modes(with_images, longest_path=50)
    states = with_images.z[..., :8].reshape(-1, 8).astype(float)
    variance = np.linalg.eigvalsh(np.cov(states.T))[::-1]
    assert f"({variance[0] / variance.sum():.0%} of variance)" in ax.get_xlabel()
    path = ax.lines[0].get_xydata()
    assert len(path) == 50
    centred = states - states.mean(axis=0)
    _, vectors = np.linalg.eigh(centred.T @ centred)
    assert np.abs(path[:, 0]) == pytest.approx(np.abs(centred[:50] @ vectors[:, -1]), abs=1e-4)
    assert {text.get_text() for text in ax.texts} == {"0", "1"}
    render(ax)


def test_a_result_without_membranes_has_no_spikes_to_show(result):
    ideal = bs.sample(result.machine, engine="gibbs", duration=1000, chains=16)
    for picture in pictures.opening, pictures.weights:
        with pytest.raises(ValidationError, match="this one has no membranes"):
            picture(ideal)
    ax = pictures.divergence(ideal)
    assert len(ax.lines) == 2  # itself and its floor: Gibbs sampling needs no Gibbs sampling beside it
