import numpy as np
import pytest

import boltzspike as bs
from boltzspike.errors import ValidationError
from boltzspike.plots import plot_agreement, plot_divergence, plot_probabilities
from boltzspike.plots.style import new_figure


@pytest.fixture(scope="module")
def result():
    machine = bs.BoltzmannMachine(weights=[[0, 0.5, 0], [0.5, 0, -0.4], [0, -0.4, 0]], biases=[0.1, -0.2, 0.3])
    return bs.sample(machine, duration=1000, chains=16, burn_in=100)


def test_bars_are_the_marginals_and_marks_the_exact_ones(result, render):
    ax = result.plot_marginals()
    assert [bar.get_height() for bar in ax.patches] == pytest.approx(result.marginals())
    assert ax.lines[-1].get_ydata() == pytest.approx(result.exact().marginals)
    assert ax.get_ylabel() == "probability"
    render(ax)


def test_error_bars_reach_one_standard_error_up_and_down(result):
    ax = result.plot_marginals()
    (bars,) = [container for container in ax.containers if hasattr(container, "errorbar")]
    segments = bars.errorbar.lines[2][0].get_segments()
    half = [(segment[1, 1] - segment[0, 1]) / 2 for segment in segments]
    assert half == pytest.approx(result.marginals_error())


def test_the_joint_shows_every_state_in_order(result, render):
    ax = result.plot_joint()
    (points,) = ax.containers
    place, height = points.lines[0].get_data()
    seen = np.flatnonzero(result.joint() > 0)
    assert list(place) == list(seen)
    assert height == pytest.approx(result.joint()[seen])
    assert ax.get_yscale() == "log"
    assert not ax.patches, "bars have no foot on a logarithmic axis"
    upper = [segment[1, 1] for segment in points.lines[2][0].get_segments()]
    error = bs.diagnostics.joint_error(result.z)[seen]
    assert upper == pytest.approx(result.joint()[seen] + error)
    assert [label.get_text() for label in ax.get_xticklabels()] == [f"{k:03b}" for k in range(8)]
    render(ax)


def test_a_picture_can_be_drawn_into_axes_of_the_callers(result, tmp_path):
    figure = new_figure()
    ax = figure.subplots()
    assert result.plot_marginals(ax=ax) is ax
    figure.savefig(tmp_path / "marginals.png")
    assert (tmp_path / "marginals.png").stat().st_size > 5000


def test_a_joint_of_too_many_units_is_not_drawn():
    machine = bs.BoltzmannMachine(weights=np.zeros((11, 11)), biases=np.zeros(11))
    with pytest.raises(ValidationError, match="plot_joint: must be of at most 10 free units, got 11"):
        bs.sample(machine, duration=100, chains=16, burn_in=100).plot_joint()


def test_names_that_look_like_mathematics_are_shown_as_they_are(render):
    names = ["$\\frac{$", "a$b$c", "x_{1}^2"]
    ax = plot_probabilities(names, np.array([0.2, 0.3, 0.5]))
    render(ax)  # as mathematics the first one could not be drawn
    assert [label.get_text().replace("\\$", "$") for label in ax.get_xticklabels()] == names


def test_agreement_has_the_diagonal_the_points_and_their_differences(render):
    exact, sampled, error = np.array([0.1, 0.5, 0.9]), np.array([0.12, 0.49, 0.9]), np.full(3, 0.01)
    figure = new_figure(figsize=(4, 4))
    upper, lower = figure.subplots(2, 1)
    plot_agreement(exact, sampled, error, quantity="p(z = 1)", ax=upper, residual_ax=lower)
    assert upper.lines[0].get_ydata().tolist() == [0, 1]
    assert upper.containers[0].lines[0].get_ydata() == pytest.approx(sampled)
    assert lower.containers[0].lines[0].get_ydata() == pytest.approx([0.02, -0.01, 0.0])
    assert (upper.get_ylabel(), lower.get_xlabel()) == ("p(z = 1), sampled", "p(z = 1), exact")
    render(figure)


def test_the_divergence_is_drawn_over_its_floor_beside_others(render):
    time, value, floor = np.array([1.0, 10.0, 100.0]), np.array([0.1, 0.02, 0.01]), np.array([0.1, 0.01, 0.001])
    ax = plot_divergence(time, value, floor, others={"Gibbs": (time, floor * 1.1)}, level=(0.009, 0.001))
    assert [line.get_ydata().tolist() for line in ax.lines] == [
        value.tolist(),
        floor.tolist(),
        (floor * 1.1).tolist(),
    ]
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["spiking neurons", "floor: its sampling noise", "Gibbs", "bias +- 1 s.e."]
    band = ax.patches[0].get_extents().transformed(ax.transData.inverted())
    assert (band.y0, band.y1) == pytest.approx((0.008, 0.010))
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert ax.get_xlabel().endswith("(s)")
    render(ax)


def test_a_divergence_below_zero_leaves_the_axis_to_what_can_be_shown(render):
    time = np.array([1.0, 10.0])
    ax = plot_divergence(time, np.array([0.01, 0.001]), np.array([0.01, 0.001]), level=(-0.0001, 0.0002))
    low, high = ax.get_ylim()
    assert (low, high) == pytest.approx((0.0005, 0.02))
    render(ax)
