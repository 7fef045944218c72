"""Couplings: post-synaptic potentials, weights in both units, and where a bias comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from boltzspike.plots.style import EXACT, FAINT, INK, SAMPLED, SMALL, THIRD, Array, finish, new_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot_psp(
    time: Array, shapes: Mapping[str, Array], *, tau_refrac: float, unit: str = "alpha W", ax: Axes | None = None
) -> Axes:
    """Draw post-synaptic potentials over the rectangle that a Boltzmann machine would want.

    Parameters
    ----------
    time
        Since the spike, (m,), ms.
    shapes
        Potentials by name, (m,), in units of the rectangle's height.
    tau_refrac
        Length of the rectangle, ms.
    unit
        Name of that height.
    """
    ax = ax or new_axes(4.6, 3.0)
    ideal = np.array([0.0, 0.0, 1.0, 1.0, 0.0, 0.0])
    edges = np.array([time[0], 0.0, 0.0, tau_refrac, tau_refrac, time[-1]])
    ax.fill_between(edges, ideal, color=FAINT, alpha=0.25, lw=0)
    ax.plot(edges, ideal, color=FAINT, lw=1.2, label="Boltzmann machine")
    for (name, values), style, colour in zip(shapes.items(), ("-", "--", ":"), (SAMPLED, EXACT, THIRD)):
        ax.plot(time, values, style, color=colour, lw=1.6, label=name)
    ax.set_xlabel("time since the spike (ms)")
    ax.set_ylabel(f"PSP ({unit})")
    ax.set_ylim(0, None)
    ax.set_xlim(time[0], time[-1])
    return finish(ax)


def plot_weights(
    line: tuple[Array, Array], used: tuple[Array, Array], *, unit: str, ax: Axes | None = None
) -> Axes:
    """Draw synaptic weights against Boltzmann weights: the PSP rule's line, the network's points.

    Parameters
    ----------
    line
        Boltzmann weights and the synaptic weights of the PSP rule, (m,) each.
    used
        Boltzmann weights of the target and the synaptic weights of the network, (synapses,) each.
    unit
        Of synaptic weights.
    """
    ax = ax or new_axes(4.0, 3.2)
    ax.axhline(0, color=FAINT, lw=0.6)
    ax.axvline(0, color=FAINT, lw=0.6)
    ax.plot(*line, color=EXACT, lw=1.5, label="PSP rule")
    ax.plot(*used, "o", color=SAMPLED, ms=2.6, alpha=0.6, mew=0, label="network", rasterized=len(used[0]) > 1000)
    ax.set_xlabel("Boltzmann weight W of the target")
    ax.set_ylabel(f"synaptic weight ({unit})")
    return finish(ax)


def plot_budget(
    causes: Sequence[str], shares: Array, error: Array, *, bias: tuple[float, float], ax: Axes | None = None
) -> Axes:
    """Draw the shares of a bias, those that undo others to the left of zero.

    Parameters
    ----------
    causes
        Names, (n,).
    shares, error
        D_KL and standard error, (n,) each.
    bias
        The whole, and its standard error.
    """
    ax = ax or new_axes(4.8, 0.8 + 0.32 * (len(causes) + 1))
    where = np.arange(len(causes) + 1)
    values, errors = np.append(shares, bias[0]), np.append(error, bias[1])
    colours = [SAMPLED if value >= 0 else EXACT for value in shares] + [INK]
    bars = ax.barh(where, values, xerr=errors, color=colours, height=0.7, error_kw={"lw": 0.9, "ecolor": FAINT})
    for bar, value in zip(bars, values):
        bar.set_hatch("//" if value < 0 else "")
    ax.axvline(0, color=INK, lw=0.8)
    ax.set_yticks(where, [*causes, "bias, as measured"], fontsize=SMALL)
    ax.invert_yaxis()
    ax.set_xlabel("share of D_KL (nat)")
    return finish(ax)
