import numpy as np
import pytest

import boltzspike as bs
from boltzspike.errors import ValidationError
from boltzspike.plots import plot_bursts, plot_intervals, plot_probabilities, plot_response


@pytest.fixture(scope="module")
def result():
    machine = bs.BoltzmannMachine(weights=[[0, 0.5, 0], [0.5, 0, -0.4], [0, -0.4, 0]], biases=[0.1, -0.2, 0.3])
    return bs.sample(machine, duration=1000, chains=16, burn_in=100)


def test_bars_are_the_marginals_and_marks_the_exact_ones(result):
    ax = result.plot_marginals()
    assert [bar.get_height() for bar in ax.patches] == pytest.approx(result.marginals())
    assert ax.lines[-1].get_ydata() == pytest.approx(result.exact().marginals)
    assert ax.get_ylabel() == "probability"


def test_the_joint_shows_every_state_in_order(result):
    ax = result.plot_joint()
    assert [bar.get_height() for bar in ax.patches] == pytest.approx(result.joint())
    assert [label.get_text() for label in ax.get_xticklabels()] == [f"{k:03b}" for k in range(8)]


def test_a_picture_can_be_drawn_into_axes_of_the_callers(result, tmp_path):
    from matplotlib.figure import Figure

    figure = Figure()
    ax = figure.subplots()
    assert result.plot_marginals(ax=ax) is ax
    figure.savefig(tmp_path / "marginals.png")
    assert (tmp_path / "marginals.png").stat().st_size > 5000


def test_a_joint_of_too_many_units_is_not_drawn():
    machine = bs.BoltzmannMachine(weights=np.zeros((11, 11)), biases=np.zeros(11))
    with pytest.raises(ValidationError, match="plot_joint: must be of at most 10 free units, got 11"):
        bs.sample(machine, duration=100, chains=16, burn_in=100).plot_joint()


def test_the_residual_panel_holds_the_distance_from_the_logistic():
    from matplotlib.figure import Figure

    upper, lower = Figure().subplots(2, 1)
    x = np.linspace(-3, 3, 7)
    logistic = np.linspace(-4, 4, 400), 1 / (1 + np.exp(-np.linspace(-4, 4, 400)))
    p = 1 / (1 + np.exp(-x)) + 0.01
    plot_response({"density": (x, p, None), "simulation": (x, p, 0 * x + 0.002)}, logistic, xlabel="v_rest (mV)",
                  ax=upper, residual_ax=lower)  # fmt: skip
    assert lower.lines[0].get_ydata() == pytest.approx(np.full(7, 0.01), abs=1e-3)
    assert lower.get_xlabel() == "v_rest (mV)"
    assert plot_probabilities(["a"], np.array([0.5])).get_legend() is not None


def test_bursts_and_intervals_are_drawn_as_given():
    value, error = np.array([0.6, 0.3, 0.1]), np.array([0.01, 0.01, np.nan])
    ax = plot_bursts((value, error), np.array([0.5, 0.3, 0.2]), ylabel="probability", log=True)
    points = ax.containers[0].lines[0]
    assert points.get_xdata().tolist() == [1, 2]  # the third has no standard error
    assert ax.lines[0].get_ydata().tolist() == [0.5, 0.3]
    assert ax.get_yscale() == "log"
    intervals = np.array([10.0, 10.0, 20.0, 40.0])
    ax = plot_intervals(intervals, 21.0)
    assert sum(bar.get_height() for bar in ax.patches) == pytest.approx(1)
    assert [line.get_xdata()[0] for line in ax.lines] == [20.0, 21.0]
