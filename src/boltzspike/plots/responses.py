"""Single neurons: response functions over their logistic, bursts, intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from boltzspike.plots.style import (
    EXACT,
    FAINT,
    INK,
    METHOD_COLOURS,
    OTHER_COLOURS,
    SAMPLED,
    Array,
    finish,
    new_axes,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_response(
    curves: dict[str, tuple[Array, Array, Array | None]],
    logistic: tuple[Array, Array],
    *,
    xlabel: str,
    ax: Axes | None = None,
    residual_ax: Axes | None = None,
) -> Axes:
    """Draw response curves over their logistic and, on ``residual_ax``, what they differ from it by.

    Parameters
    ----------
    curves
        By name: (x, p, standard error); with an error they are drawn as points with bars, else as lines.
    logistic
        x, (m,), and the logistic there, (m,).
    xlabel
        Name and unit of x.
    """
    ax = ax or new_axes(5.0, 3.6)
    ax.plot(*logistic, color=FAINT, lw=3, alpha=0.6, label="logistic")
    for k, (name, (x, p, error)) in enumerate(curves.items()):
        colour = METHOD_COLOURS.get(name, OTHER_COLOURS[k % len(OTHER_COLOURS)])
        difference = p - np.interp(x, *logistic)
        for panel, values in ((ax, p), (residual_ax, difference)):
            if panel is None:
                continue
            if error is None:
                panel.plot(x, values, ("-", "--", "-.", ":")[k % 4], color=colour, lw=1.4, label=name)
            else:
                panel.errorbar(x, values, yerr=error, fmt="o", ms=3.5, lw=1, color=colour, label=name)
    ax.set_ylabel("p(z = 1)")
    lowest = ax if residual_ax is None else residual_ax
    lowest.set_xlabel(xlabel)
    if residual_ax is not None:
        residual_ax.axhline(0, color=FAINT, lw=3, alpha=0.6)
        residual_ax.set_ylabel("p - logistic")
        finish(residual_ax, legend=False)
    return finish(ax)


def plot_bursts(
    measured: tuple[Array, Array],
    theory: Array | None = None,
    *,
    ylabel: str,
    log: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """Draw a statistic of the bursts of n = 1, 2, ... spikes: points with standard errors, the theory as a line.

    Parameters
    ----------
    measured
        Value and standard error, (N,) each; NaN is left out.
    theory
        The same by the burst theory, (N,).
    log
        Logarithmic axis.
    """
    ax = ax or new_axes(4.0, 2.4)
    value, error = measured
    n = np.arange(1, len(value) + 1)
    shown = np.isfinite(error) & (error < value / 2)  # two standard errors above zero
    if theory is not None:
        last = int(n[shown].max()) if shown.any() else len(n)
        ax.plot(n[:last], theory[:last], color=METHOD_COLOURS["burst"], lw=1.4, label="burst theory")
    ax.errorbar(
        n[shown], value[shown], yerr=error[shown], fmt="o", ms=3, lw=0.9, color=SAMPLED, label="simulation"
    )
    if log:
        ax.set_yscale("log")
    else:
        ax.set_ylim(0, None)
    ax.set_xlabel("spikes in the burst")
    ax.set_ylabel(ylabel)
    return finish(ax)


def plot_intervals(intervals: Array, mean: float | None = None, *, ax: Axes | None = None) -> Axes:
    """Draw the histogram of inter-spike intervals (ms) on logarithmic bins, and mark its mean and the theory's.

    Parameters
    ----------
    intervals
        Inter-spike intervals, ms, (n,).
    mean
        The theory's mean, ms.
    """
    ax = ax or new_axes(4.0, 2.4)
    shortest = float(np.min(intervals))
    edges = (shortest * np.geomspace(0.999, max(1.01 * float(np.max(intervals)) / shortest, 1.1), 41)).tolist()
    ax.hist(intervals, edges, weights=np.full(len(intervals), 1 / len(intervals)), color=SAMPLED)
    ax.axvline(float(np.mean(intervals)), color=INK, lw=1, ls=":", label="mean, simulation")
    if mean is not None:
        ax.axvline(mean, color=EXACT, lw=1.4, label="mean, density")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("inter-spike interval (ms)")
    ax.set_ylabel("share")
    return finish(ax)
