"""What a page is made of, and how it becomes HTML: Jinja2 and matplotlib, imported here when first used."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from boltzspike.errors import MissingDependency

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


@dataclass(frozen=True, slots=True)
class Text:
    """A paragraph."""

    text: str
    kind: str = "text"


@dataclass(frozen=True, slots=True)
class Code:
    """A command to copy."""

    text: str
    label: str
    kind: str = "code"


@dataclass(frozen=True, slots=True)
class Items:
    """A list of sentences."""

    items_: Sequence[str]
    kind: str = "list"


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of text under a header; the first ``words`` columns are words, the others numbers."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    words: int = 1
    folded: str = ""
    """Title under which it is folded away; empty: it is open."""
    kind: str = "table"


@dataclass(frozen=True, slots=True)
class Picture:
    """A drawing as a data URI."""

    source: str
    alt: str
    caption: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class Pictures:
    """Pictures side by side where there is room."""

    pictures: Sequence[Picture]
    kind: str = "pictures"


Block = Text | Code | Items | Table | Pictures


@dataclass(frozen=True, slots=True)
class Verdict:
    """A judgement: ``"yes"``, ``"care"`` or ``"no"``, in a headline, and why."""

    level: str
    headline: str
    reasons: Sequence[str]


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page."""

    name: str
    title: str
    blocks: Sequence[Block]
    verdict: Verdict | None = None


@dataclass(frozen=True, slots=True)
class Page:
    """All of it."""

    title: str
    summary: str
    sections: Sequence[Section]
    colophon: str


def require_packages() -> None:
    """Raise, before any work is done, if a page can't be made here."""
    try:
        import jinja2  # noqa: F401
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise MissingDependency(f'a report needs {error.name}: pip install "boltzspike[report]"') from None


def picture(drawn: Axes | Figure, alt: str, caption: str) -> Picture:
    """Return a figure, or that of axes, as SVG in a data URI; the same figure gives the same bytes."""
    import matplotlib

    figure: Any = drawn.figure
    written = io.BytesIO()
    # text stays text: the browser has fonts for names that matplotlib has none for, so its warning is void
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "boltzspike"}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        figure.savefig(written, format="svg", metadata={"Date": None}, dpi=144)
    width, height = figure.get_size_inches() * 96
    source = "data:image/svg+xml;base64," + base64.b64encode(written.getvalue()).decode()
    return Picture(source=source, alt=alt, caption=caption, width=round(width), height=round(height))


def html(page: Page) -> str:
    """Return the page as HTML; every value is escaped."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("boltzspike.report", "."), autoescape=True, undefined=jinja2.StrictUndefined
    )
    fields = {name: getattr(page, name) for name in ("title", "summary", "sections", "colophon")}
    return environment.get_template("page.html").render(fields) + "\n"
