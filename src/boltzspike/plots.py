"""Draws what it is given and computes nothing: matplotlib, one function a picture, on the axes it is given."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from boltzspike.errors import MissingDependency

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = np.ndarray
SAMPLED, EXACT, FAINT = "#2a6f97", "#e07a1f", "#8a9099"
"""Blue and orange: told apart in every common form of colour blindness."""
METHOD_COLOURS = {"simulation": SAMPLED, "density": EXACT, "burst": "#2b8a3e"}
OTHER_COLOURS = ("#7b4ea3", "#c0392b", "#111111", "#b08d00")


def new_figure(**options: Any) -> Figure:
    """Return a figure that opens no window and that pyplot does not keep."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingDependency('plots need matplotlib: pip install "boltzspike[plot]"') from None
    return Figure(layout="constrained", **options)


def plot_probabilities(
    labels: list[str],
    sampled: Array,
    error: Array | None = None,
    exact: Array | None = None,
    *,
    log: bool = False,
    ax: Axes | None = None,
) -> Axes:
    """Draw sampled probabilities as bars with standard errors, the exact ones as marks over them.

    Parameters
    ----------
    labels
        Names of the bars, (n,).
    sampled, error, exact
        Probabilities and standard errors, (n,).
    log
        Logarithmic axis, for joint distributions.
    """
    ax = ax or new_figure(figsize=(max(4.0, 1.5 + 0.3 * len(labels)), 3.2)).subplots()
    where = np.arange(len(labels))
    ax.bar(where, sampled, width=0.8, color=SAMPLED, yerr=error, error_kw={"lw": 0.9}, label="sampled")
    if exact is not None:
        ax.plot(where, exact, "_", color=EXACT, ms=9, mew=2.2, label="exact")
    ax.set_xticks(where, labels, rotation=90 if max(map(len, labels), default=0) > 2 else 0, fontsize=8)
    ax.set_ylabel("probability")
    if log:
        ax.set_yscale("log")
    else:
        ax.set_ylim(0, None)
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, fontsize=8)
    return ax


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
    ax = ax or new_figure(figsize=(5.0, 3.6)).subplots()
    ax.plot(*logistic, color=FAINT, lw=3, alpha=0.6, label="logistic")
    for k, (name, (x, p, error)) in enumerate(curves.items()):
        colour = METHOD_COLOURS.get(name, OTHER_COLOURS[k % len(OTHER_COLOURS)])
        difference = p - np.interp(x, *logistic)
        for panel, values in ((ax, p), (residual_ax, difference)):
            if panel is None:
                continue
            if error is None:
                panel.plot(x, values, color=colour, lw=1.4, label=name)
            else:
                panel.errorbar(x, values, yerr=error, fmt="o", ms=3.5, lw=1, color=colour, label=name)
    ax.set_ylabel("p(z = 1)")
    ax.legend(frameon=False, fontsize=8)
    lowest = ax if residual_ax is None else residual_ax
    lowest.set_xlabel(xlabel)
    if residual_ax is not None:
        residual_ax.axhline(0, color=FAINT, lw=3, alpha=0.6)
        residual_ax.set_ylabel("p - logistic")
    for panel in (ax, lowest):
        panel.spines[["top", "right"]].set_visible(False)
    return ax


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
    ax = ax or new_figure(figsize=(4.0, 2.4)).subplots()
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
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, fontsize=8)
    return ax


def plot_intervals(intervals: Array, mean: float | None = None, *, ax: Axes | None = None) -> Axes:
    """Draw the histogram of inter-spike intervals (ms) on logarithmic bins, and mark its mean and the theory's.

    Parameters
    ----------
    intervals
        Inter-spike intervals, ms, (n,).
    mean
        The theory's mean, ms.
    """
    ax = ax or new_figure(figsize=(4.0, 2.4)).subplots()
    shortest = float(np.min(intervals))
    edges = (shortest * np.geomspace(0.999, max(1.01 * float(np.max(intervals)) / shortest, 1.1), 41)).tolist()
    ax.hist(intervals, edges, weights=np.full(len(intervals), 1 / len(intervals)), color=SAMPLED)
    ax.axvline(float(np.mean(intervals)), color="#111111", lw=1, ls=":", label="mean, simulation")
    if mean is not None:
        ax.axvline(mean, color=EXACT, lw=1.4, label="mean, density")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("inter-spike interval (ms)")
    ax.set_ylabel("share")
    ax.spines[["top", "right"]].set_visible(False)
    ax.legend(frameon=False, fontsize=8)
    return ax
