import numpy as np
import pytest

from boltzspike.plots import plot_autocorrelation, plot_potentials, plot_raster, plot_trace
from boltzspike.plots.style import new_figure


def test_the_histogram_of_potentials_has_unit_area_under_the_theorys_density(rng, render):
    x = np.linspace(-54, -46, 50)
    ax = plot_potentials(rng.normal(-50, 1, (4, 500)), (x, x * 0), threshold=-49.5)
    assert sum(bar.get_height() * bar.get_width() for bar in ax.patches) == pytest.approx(1)
    assert ax.lines[1].get_xdata() == pytest.approx([-49.5, -49.5])
    assert ax.get_xlabel().endswith("(mV)")
    render(ax)


def test_the_autocorrelation_has_points_with_errors_and_a_line(render):
    lag = np.arange(5.0)
    ax = plot_autocorrelation(lag, (np.exp(-lag), lag * 0 + 0.02), np.exp(-lag / 1.1))
    points = ax.containers[0]
    assert points.lines[0].get_ydata() == pytest.approx(np.exp(-lag))
    assert ax.lines[-1].get_ydata() == pytest.approx(np.exp(-lag / 1.1))
    assert ax.get_xlabel() == "lag (ms)"
    render(ax)


def spans(collection):
    return [
        (float(path.vertices[:, 0].min()), float(path.vertices[:, 0].max())) for path in collection.get_paths()
    ]


def test_states_are_bands_over_exactly_the_steps_at_one(render):
    time = np.arange(1, 11) * 0.1
    states = np.zeros((10, 2), dtype=np.int8)
    states[2:5, 0] = 1  # from .2 to .5 ms
    states[0:3, 1] = states[7:, 1] = 1
    figure = new_figure()
    upper, lower = figure.subplots(2, 1)
    potentials = np.linspace(-52, -50, 10)
    assert (
        plot_trace(time, potentials, states, threshold=-50.0, names=["a", "b"], ax=upper, states_ax=lower) is upper
    )
    assert spans(upper.collections[0]) == [pytest.approx((0.2, 0.5))]
    assert spans(lower.collections[1]) == [pytest.approx((0.0, 0.3)), pytest.approx((0.7, 1.0))]
    assert upper.lines[0].get_ydata() == pytest.approx(potentials)
    assert [label.get_text() for label in lower.get_yticklabels()] == ["a", "b"]
    assert lower.get_ylim() == (2, 0)  # the first unit is on top
    render(figure)


def test_a_trace_makes_axes_of_its_own(render):
    time = np.arange(1, 11) * 0.1
    ax = plot_trace(time, time - 51, np.ones((10, 1), dtype=np.int8), threshold=-50.0, names=["a"])
    assert len(ax.figure.axes) == 2
    render(ax)


@pytest.mark.parametrize("rows", [3, 100])
def test_a_raster_has_a_mark_for_every_spike_and_the_first_neuron_on_top(rows, render):
    time, unit = np.array([1.0, 5.0, 5.0]), np.array([0, 2, 1])
    ax = plot_raster(time, unit, names=[f"u{k}" for k in range(rows)], duration=(0.0, 10.0))
    assert np.array_equal(ax.lines[0].get_xydata(), np.stack([time, unit], axis=1))
    assert ax.get_ylim() == (rows - 0.5, -0.5)
    assert ax.get_ylabel() == ("neuron" if rows > 40 else "")
    render(ax)
