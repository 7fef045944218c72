"""What was sampled beside what should have been: probabilities with errors, and the divergence as time goes on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from boltzspike.plots.style import ABOVE, EXACT, FAINT, SAMPLED, SMALL, THIRD, Array, finish, literal, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_VECTORS = 300
"""Points with error bars beyond which a vector drawing would be larger than pixels."""


def plot_probabilities(
    labels: Sequence[str],
    sampled: Array,
    error: Array | None = None,
    exact: Array | None = None,
    *,
    log: bool = False,
    exact_name: str = "exact",
    ax: Axes | None = None,
) -> Axes:
    """Draw sampled probabilities with standard errors, as bars or points, the exact ones as marks over them.

    Parameters
    ----------
    labels
        Names of the bars, (n,).
    sampled, error, exact
        Probabilities and standard errors, (n,).
    log
        Logarithmic axis and points, for joint distributions: a bar has no foot there. The unseen has none.
    exact_name
        What the marks are.
    """
    ax = ax or new_axes(max(4.0, 1.5 + 0.3 * len(labels)), 3.2)
    where = np.arange(len(labels))
    if log:
        seen = np.asarray(sampled) > 0
        bars = None if error is None else _above_zero(np.asarray(sampled)[seen], np.asarray(error)[seen])
        ax.errorbar(where[seen], np.asarray(sampled)[seen], bars, fmt="o", color=SAMPLED, ms=4, elinewidth=1.1,
                    label="sampled")  # fmt: skip
    else:
        ax.bar(where, sampled, width=0.8, color=SAMPLED, yerr=error, error_kw={"lw": 0.9}, label="sampled")
    if exact is not None:
        ax.plot(where, exact, "_", color=EXACT, ms=9, mew=2.2, label=exact_name, zorder=1.5 if log else None)
    ax.set_xticks(
        where, literal(labels), rotation=90 if max(map(len, labels), default=0) > 2 else 0, fontsize=SMALL
    )
    ax.set_ylabel("probability")
    if log:
        ax.set_yscale("log")
        ax.set_xlim(-0.7, len(labels) - 0.3)
        ax.grid(axis="y", color=FAINT, lw=0.5, alpha=0.6)
    else:
        ax.set_ylim(0, None)
    return finish(ax, **ABOVE)


def _above_zero(value: Array, error: Array) -> Array:
    """Return errors downward and upward, (2, n), that a logarithmic axis can show."""
    return np.stack([np.minimum(error, value * 0.95), error])


def plot_agreement(
    exact: Array,
    sampled: Array,
    error: Array | None = None,
    *,
    quantity: str,
    exact_name: str = "exact",
    ax: Axes | None = None,
    residual_ax: Axes | None = None,
) -> Axes:
    """Draw sampled probabilities against exact ones: a perfect sampler's lie on the diagonal within their errors.

    Parameters
    ----------
    exact, sampled, error
        Probabilities and standard errors, (n,).
    quantity
        What is compared, such as ``"p(z = 1)"``.
    exact_name
        What the sampled ones are compared with.
    residual_ax
        Axes for the differences with their errors; ``None``: none are drawn.
    """
    ax = ax or new_axes(3.8, 3.6)
    look: dict[str, Any] = {"fmt": "o", "color": SAMPLED, "ms": 3, "lw": 0, "elinewidth": 0.9, "alpha": 0.75}
    look["rasterized"] = len(exact) > MOST_VECTORS
    ax.plot([0, 1], [0, 1], color=FAINT, lw=1, zorder=0)
    ax.errorbar(exact, sampled, error, **look)
    ax.set_ylabel(f"{quantity}, sampled")
    lowest = ax
    if residual_ax is not None:
        residual_ax.axhline(0, color=FAINT, lw=1, zorder=0)
        residual_ax.errorbar(exact, sampled - exact, error, **look)
        residual_ax.set_ylabel("difference")
        lowest = finish(residual_ax)
    lowest.set_xlabel(f"{quantity}, {exact_name}")
    return finish(ax)


def plot_divergence(
    time: Array,
    value: Array,
    floor: Array,
    *,
    others: Mapping[str, tuple[Array, Array]] | None = None,
    level: tuple[float, float] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw D_KL of what was sampled so far against time, the floor that noise alone would give, and others.

    Parameters
    ----------
    time
        Sampled time, all chains together, (m,), s.
    value, floor
        D_KL(sampled || target) and its expected value for an unbiased sampler, (m,).
    others
        Other samplers by name: (time, D_KL).
    level
        The bias that remains and its standard error, as a band.
    """
    ax = ax or new_axes(4.6, 3.4)
    ax.plot(time, value, "o-", color=SAMPLED, ms=3.5, lw=1.4, label="spiking neurons")
    ax.plot(time, floor, ":", color=SAMPLED, lw=1.4, label="floor: its sampling noise")
    for (name, (when, what)), marker in zip((others or {}).items(), "sv^"):
        ax.plot(when, what, f"{marker}--", color=EXACT, ms=3.5, lw=1.2, label=name)
    if level is not None:
        bias, error = level
        ax.axhspan(max(bias - error, 1e-12), bias + error, color=THIRD, alpha=0.25, lw=0, label="bias +- 1 s.e.")
    ax.set_xscale("log")
    ax.set_yscale("log")
    shown = np.concatenate(
        [values[values > 0] for values in (value, floor, *(w for _, w in (others or {}).values()))]
    )
    if len(shown):
        ax.set_ylim(shown.min() / 2, shown.max() * 2)
    ax.set_xlabel("sampled time, all chains (s)")
    ax.set_ylabel("D_KL (nat)")
    return finish(ax)
