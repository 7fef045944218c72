"""States as images, and as a cloud of points in the plane."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from boltzspike.plots.style import EXACT, INK, SMALL, Array, finish, literal, new_axes, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def plot_images(
    images: Array,
    titles: Sequence[str] = (),
    *,
    columns: int = 10,
    limits: tuple[float, float] | None = (0.0, 1.0),
    figure: Figure | None = None,
) -> Figure:
    """Draw images in a grid: probabilities in grey, or weights in two colours about zero.

    Parameters
    ----------
    images
        Shape (n, rows, columns); NaN is left blank.
    titles
        One an image.
    columns
        Images a row.
    limits
        Values shown white and black; ``None``: the images are signed, and drawn from blue (negative) over white to
        orange, on one symmetric scale, with a bar.
    """
    from matplotlib.colors import LinearSegmentedColormap

    n = len(images)
    columns = min(columns, n)
    rows = -(-n // columns)
    if figure is None:
        figure = new_figure(
            figsize=(0.8 * columns + (0.8 if limits is None else 0.0), (1.0 if titles else 0.85) * rows)
        )
    axes = figure.subplots(rows, columns, squeeze=False)
    top = float(np.nanmax(np.abs(images))) or 1.0
    signed = LinearSegmentedColormap.from_list("blue to orange", ["#1d5478", "#ffffff", "#c9620b"])
    look = {"cmap": signed, "vmin": -top, "vmax": top}
    if limits is not None:
        look = {"cmap": "gray_r", "vmin": limits[0], "vmax": limits[1]}
    for k, ax in enumerate(axes.flat):
        ax.set_xticks([])
        ax.set_yticks([])
        if k >= n:
            ax.set_axis_off()
            continue
        shown = ax.imshow(images[k], interpolation="nearest", **look)
        ax.spines[:].set_color("#c5c9cf")
        ax.set_facecolor("#e3e6ea")
        if k < len(titles):
            ax.set_title(literal(titles[k : k + 1])[0], fontsize=SMALL, pad=2)
    if limits is None:
        bar = figure.colorbar(shown, ax=list(axes.flat), shrink=0.8, label="weight W", aspect=14)
        bar.ax.tick_params(labelsize=SMALL)
    return figure


def plot_modes(
    cloud: Array,
    path: Array,
    *,
    explained: tuple[float, float],
    marks: tuple[Array, Sequence[str]] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw where states lie in a plane, and the way that one chain takes between them.

    Parameters
    ----------
    cloud
        Draws of all chains, (draws, 2).
    path
        Consecutive draws of one chain, (draws, 2).
    explained
        Share of the variance along the two axes.
    marks
        Points to be named, (marks, 2), and their names.
    """
    ax = ax or new_axes(4.4, 4.0)
    ax.hexbin(cloud[:, 0], cloud[:, 1], gridsize=36, cmap="Greys", bins="log", mincnt=1, linewidths=0.1)
    ax.plot(path[:, 0], path[:, 1], color=EXACT, lw=0.7, alpha=0.85, label=f"one chain, {len(path)} draws")
    ax.plot(*path[0], "o", color=EXACT, ms=6, mec=INK, label="where it begins")
    if marks is not None:
        for position, name in zip(marks[0], literal(marks[1])):
            ax.annotate(
                name, position, ha="center", va="center", fontsize=SMALL, color=INK,
                bbox={"boxstyle": "round,pad=0.2", "fc": "white", "ec": INK, "lw": 0.5, "alpha": 0.85},
            )  # fmt: skip
    ax.set_xlabel(f"1st principal component ({explained[0]:.0%} of variance)")
    ax.set_ylabel(f"2nd principal component ({explained[1]:.0%} of variance)")
    return finish(ax, loc="upper center", bbox_to_anchor=(0.5, 1.12), ncols=2)
