"""Membranes and spikes in time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from boltzspike.plots.style import (
    ABOVE,
    EXACT,
    FAINT,
    INK,
    SAMPLED,
    SMALL,
    Array,
    finish,
    literal,
    new_axes,
    new_figure,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_potentials(
    potentials: Array,
    density: tuple[Array, Array],
    *,
    threshold: float | None = None,
    bins: int = 60,
    ax: Axes | None = None,
) -> Axes:
    """Draw the histogram of a free membrane's potentials, and the density that theory gives them.

    Parameters
    ----------
    potentials
        Potentials of a neuron that can't spike, any shape, mV.
    density
        Potentials (m,), mV, and the predicted density there, 1/mV.
    threshold
        Where the threshold would be, mV.
    """
    ax = ax or new_axes(4.6, 3.0)
    ax.hist(np.ravel(potentials), bins, density=True, color=SAMPLED, alpha=0.75, label="simulation")
    ax.plot(*density, color=EXACT, lw=1.8, label="theory")
    if threshold is not None:
        ax.axvline(threshold, color=INK, lw=1, ls=":", label="threshold (taken away)")
    ax.set_xlabel("free membrane potential (mV)")
    ax.set_ylabel("density (1/mV)")
    return finish(ax)


def plot_autocorrelation(
    lag: Array, measured: tuple[Array, Array], predicted: Array | None = None, *, ax: Axes | None = None
) -> Axes:
    """Draw an autocorrelation function with its standard errors, and the predicted one.

    Parameters
    ----------
    lag
        Time lag, (m,), ms.
    measured
        Correlation coefficients and their standard errors, (m,) each.
    predicted
        The same by theory, (m,).
    """
    ax = ax or new_axes(4.6, 3.0)
    value, error = measured
    ax.axhline(0, color=FAINT, lw=0.8)
    ax.errorbar(lag, value, error, fmt="o", ms=3, lw=0, elinewidth=0.9, color=SAMPLED, label="simulation")
    if predicted is not None:
        ax.plot(lag, predicted, color=EXACT, lw=1.6, label="theory")
    ax.set_xlabel("lag (ms)")
    ax.set_ylabel("autocorrelation")
    return finish(ax)


def plot_trace(
    time: Array,
    potentials: Array,
    states: Array,
    *,
    threshold: float,
    names: Sequence[str],
    ax: Axes | None = None,
    states_ax: Axes | None = None,
) -> Axes:
    """Draw the membrane potential of the first neuron with its threshold, and the states of all under it.

    Parameters
    ----------
    time
        End of each step, (steps,), ms.
    potentials
        Of one neuron, (steps,), mV.
    states
        z of the neurons, (steps, units); the first is the one above.
    threshold
        Spike threshold, mV.
    names
        Of the units, (units,).
    states_ax
        Axes for the states; ``None``: none are drawn, unless ``ax`` is not given either.
    """
    if ax is None:
        figure = new_figure(figsize=(4.8, 2.1 + 0.22 * len(names)))
        ax, states_ax = figure.subplots(2, 1, sharex=True, height_ratios=[2.0, 0.3 + 0.22 * len(names)])
    ax.plot(time, potentials, color=SAMPLED, lw=0.8, label=literal(names[:1])[0])
    ax.axhline(threshold, color=INK, lw=1, ls=":", label="threshold")
    low, high = float(np.min(potentials)), float(max(np.max(potentials), threshold))
    look: dict[str, Any] = {"transform": ax.get_xaxis_transform(), "color": EXACT, "alpha": 0.18, "lw": 0}
    ax.broken_barh(_spans(time, states[:, 0]), (0, 1), label="z = 1", **look)
    margin = 0.08 * (high - low)
    ax.set_ylim(low - margin, high + margin)
    ax.set_ylabel("potential (mV)")
    finish(ax, **ABOVE)
    lowest = ax
    if states_ax is not None:
        _states(states_ax, time, states, names)
        lowest = states_ax
    lowest.set_xlabel("time (ms)")
    ax.set_xlim(time[0], time[-1])
    return ax


def _states(ax: Axes, time: Array, states: Array, names: Sequence[str]) -> None:
    """Draw a band a unit, dark while z = 1."""
    for row, of_unit in enumerate(states.T):
        ax.broken_barh(_spans(time, of_unit), (row + 0.12, 0.76), color=SAMPLED, lw=0)
    ax.set_yticks(np.arange(len(names)) + 0.5, literal(names), fontsize=SMALL)
    ax.set_ylim(len(names), 0)
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)


def _spans(time: Array, state: Array) -> list[tuple[float, float]]:
    """Return begin and length of the stretches of steps, which end at ``time``, with state 1."""
    step = time[1] - time[0]
    change = np.flatnonzero(np.diff(np.concatenate([[0], state.astype(np.int8), [0]])))
    begin, end = change[::2], change[1::2]
    return [(float(time[b] - step), float((e - b) * step)) for b, e in zip(begin, end)]


def plot_raster(
    time: Array,
    unit: Array,
    *,
    names: Sequence[str],
    duration: tuple[float, float],
    most_labels: int = 40,
    ax: Axes | None = None,
) -> Axes:
    """Draw a mark for every spike, a row a neuron, the first on top.

    Parameters
    ----------
    time
        Of each spike, (spikes,), ms.
    unit
        Row of each spike, (spikes,).
    names
        Of the rows.
    duration
        From when to when, ms.
    most_labels
        With more rows than these, they are numbered instead of named.
    """
    rows = len(names)
    ax = ax or new_axes(4.8, float(np.clip(0.11 * rows + 0.8, 1.8, 7.0)))
    height = ax.get_window_extent().height * 72 / ax.figure.dpi
    length = float(np.clip(0.75 * height / rows, 1.2, 10.0))
    ax.plot(time, unit, "|", color=INK, ms=length, mew=0.7, rasterized=len(time) > 3000)
    ax.set_ylim(rows - 0.5, -0.5)
    ax.set_xlim(*duration)
    if rows <= most_labels:
        ax.set_yticks(np.arange(rows), literal(names), fontsize=SMALL if rows <= 20 else 6)
    else:
        ax.set_ylabel("neuron")
    ax.set_xlabel("time (ms)")
    return finish(ax)
