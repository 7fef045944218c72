import numpy as np
import pytest

from boltzspike.plots import plot_bursts, plot_intervals, plot_response


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
    assert [line.get_linestyle() for line in upper.lines[:2]] == ["-", "-"]


def test_theories_differ_by_their_lines_not_by_colour_alone(render):
    x = np.linspace(-3, 3, 7)
    p = 1 / (1 + np.exp(-x))
    ax = plot_response({"density": (x, p, None), "burst": (x, p + 0.01, None)}, (x, p), xlabel="v_rest (mV)")
    assert [line.get_linestyle() for line in ax.lines] == ["-", "-", "--"]
    render(ax)


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
