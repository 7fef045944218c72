"""What all pictures share: figures without windows, colours, and text that is shown as it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from boltzspike.errors import MissingDependency

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Array = np.ndarray
SAMPLED, EXACT, FAINT, INK = "#2a6f97", "#e07a1f", "#8a9099", "#111111"
"""Blue and orange are told apart in every common form of colour blindness, and in grey."""
THIRD = "#2b8a3e"
"""A green, for a third curve; never told from the others by its colour alone."""
METHOD_COLOURS = {"simulation": SAMPLED, "density": EXACT, "burst": THIRD}
OTHER_COLOURS = ("#7b4ea3", "#c0392b", INK, "#b08d00")
ABOVE: dict[str, Any] = {"loc": "lower right", "bbox_to_anchor": (1.0, 1.0), "ncols": 4, "borderaxespad": 0.0}
"""Where a legend goes that may hide nothing: above the axes."""
SMALL = 8
"""Font size of legends and crowded labels, points."""


def new_figure(**options: Any) -> Figure:
    """Return a figure that opens no window and that pyplot does not keep."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingDependency('plots need matplotlib: pip install "boltzspike[plot]"') from None
    return Figure(layout="constrained", **options)


def new_axes(width: float, height: float) -> Axes:
    """Return the only axes of a new figure of that size in inches."""
    return new_figure(figsize=(width, height)).subplots()


LONGEST = 24
"""Characters of a name that a picture shows; of a longer one, its beginning and end."""


def literal(names: Sequence[str]) -> list[str]:
    r"""Return names for matplotlib: between two ``$`` it would look for mathematics; long ones shortened.

    Examples
    --------
    >>> literal(["a$b$", "a-name-that-would-leave-no-room-12"])
    ['a\\$b\\$', 'a-name-that-...e-no-room-12']
    """
    half = (LONGEST + 1) // 2
    short = [name if len(name) <= LONGEST else f"{name[:half]}...{name[-half:]}" for name in map(str, names)]
    return [name.replace("$", r"\$") for name in short]


def finish(ax: Axes, *, legend: bool = True, **options: Any) -> Axes:
    """Take the box away, and put a legend where something is labelled."""
    ax.spines[["top", "right"]].set_visible(False)
    if legend and ax.get_legend_handles_labels()[0]:
        ax.legend(frameon=False, fontsize=SMALL, **options)
    return ax
