import numpy as np
import pytest

from boltzspike.plots import plot_budget, plot_psp, plot_weights


def test_the_psp_is_drawn_over_a_rectangle_of_height_one_and_length_tau_refrac(render):
    time = np.linspace(-3, 40, 44)
    ax = plot_psp(time, {"one spike": np.maximum(time, 0) / 20}, tau_refrac=10.0)
    corners = {tuple(corner) for corner in ax.lines[0].get_xydata()}
    assert {(0.0, 1.0), (10.0, 1.0), (10.0, 0.0)} <= corners
    assert ax.lines[1].get_ydata() == pytest.approx(np.maximum(time, 0) / 20)
    assert ax.get_xlabel().endswith("(ms)")
    render(ax)


def test_weights_are_points_beside_the_line_of_the_rule(render):
    line, used = (np.array([-1.0, 1.0]), np.array([-5.0, 5.0])), (np.array([0.5, -0.2]), np.array([2.0, -1.1]))
    ax = plot_weights(line, used, unit="nS")
    assert ax.lines[2].get_ydata().tolist() == [-5, 5]
    assert np.array_equal(ax.lines[3].get_xydata(), np.stack(used, axis=1))
    assert ax.get_ylabel() == "synaptic weight (nS)"
    render(ax)


def test_shares_of_a_budget_that_undo_others_are_hatched_and_the_whole_comes_last(render):
    ax = plot_budget(["rule", "delay"], np.array([0.02, -0.005]), np.array([0.001, 0.001]), bias=(0.015, 0.002))
    assert [bar.get_width() for bar in ax.patches] == pytest.approx([0.02, -0.005, 0.015])
    assert [bar.get_hatch() or "" for bar in ax.patches] == ["", "//", ""]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["rule", "delay", "bias, as measured"]
    assert ax.yaxis_inverted()
    render(ax)
