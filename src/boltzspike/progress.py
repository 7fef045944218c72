"""A bar while a run goes on: how fast, how long still, and how well the chains agree so far."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from scipy.special import rel_entr

from boltzspike.samples import Samples, joint_counts

Array = np.ndarray
Show = Callable[[int, int, str], None]
"""Called with what is done, what there is to do, and a note."""


class Shares:
    """Share of time at z = 1 of each chain and unit so far, from parts of a run as they come."""

    def __init__(self) -> None:
        self._on: Array | float = 0.0
        self._of = 0.0

    def add(self, part: Samples) -> None:
        """Count a part: every step where they were counted, else its draws."""
        occupancy = part.gathered.occupancy
        if occupancy is not None:
            self._on = self._on + occupancy.on.sum(axis=1)
            self._of += float(occupancy.steps.sum())
        elif (states := part.states) is not None:
            self._on = self._on + states.sum(axis=1, dtype=np.int64)
            self._of += states.shape[1]

    def r_hat(self) -> float | None:
        """Return the largest R-hat of the units that changed; ``None`` where there is none yet.

        R-hat^2 = 1 - 1/n + Var_c(p_c) / W with n draws a chain, p_c the share of chain c at z = 1, and
        W = n/(n - 1) mean_c p_c (1 - p_c) the variance within chains, known from the shares as states are 0 or 1.
        """
        n = self._of
        if n < 2 or not isinstance(self._on, np.ndarray) or len(self._on) < 2:
            return None
        p = self._on / n
        within = n / (n - 1) * np.mean(p * (1 - p), axis=0)
        between = np.var(p, axis=0, ddof=1)
        moving = within > 0
        if not moving.any():
            return None
        return float(np.sqrt(1 - 1 / n + np.max(between[moving] / within[moving])))


class Bar:
    """A progress that also sees each part of the run, and so knows the rate and the agreement of chains."""

    def __init__(self, show: Show) -> None:
        self._show, self._shares = show, Shares()
        self._begun: tuple[float, int] | None = None
        self._note = ""
        self._target: Array | None = None
        self._counts: Array | float = 0.0

    def compare(self, target: Array) -> None:
        """Show D_KL from these probabilities of the joint states, unit 0 first, instead of R-hat."""
        self._target = target

    def __call__(self, done: int, total: int) -> None:
        """Show how far it is."""
        self._show(done, total, self._note)

    def stage(self, what: str) -> None:
        """Say what is done before there is anything to count."""
        self._show(0, 1, what)

    def part(self, k: int, number: int, note: str = "") -> Bar:
        """Return the bar of run ``k`` of so many, which shows how far all are; ``note`` until it knows more."""
        of_all = f"{k + 1} of {number}"
        show = lambda done, total, said: self._show(
            k * total + done, number * total, f"{of_all}, {said}" if said else of_all
        )
        bar = Bar(show)
        bar._note = note
        return bar

    def watch(self, part: Samples) -> None:
        """Take a part of the run: biological time per wall time since the first one, and R-hat so far."""
        self._shares.add(part)
        now, notes = time.perf_counter(), []
        if self._begun is None:
            self._begun = now, part.stop
        elif (seconds := now - self._begun[0]) > 0:
            biological = (part.stop - self._begun[1]) * part.dt * 1e-3
            notes.append(f"{_chains(part) * biological / seconds:.3g} x real time")
        if self._target is not None and (divergence := self._divergence(part, self._target)) is not None:
            notes.append(f"D_KL {divergence:.2g}")
        elif (r_hat := self._shares.r_hat()) is not None:
            notes.append(f"R-hat {r_hat:.3f}")
        self._note = ", ".join(notes)

    def _divergence(self, part: Samples, target: Array) -> float | None:
        """Return D_KL(sampled so far || target), floor included; ``None`` where joint states are not recorded."""
        joint, states = part.gathered.joint, part.states
        if joint is not None:
            self._counts = self._counts + joint.steps.sum(axis=0)
        elif states is not None:
            self._counts = self._counts + joint_counts(states).sum(axis=0)
        if not isinstance(self._counts, np.ndarray) or not self._counts.any():
            return None
        return float(rel_entr(self._counts / self._counts.sum(), target).sum())


def _chains(part: Samples) -> int:
    if part.packed is not None:
        return len(part.packed.bits)
    return 1 if part.gathered.occupancy is None else len(part.gathered.occupancy.on)


def in_notebook() -> bool:
    """Tell whether this runs in a notebook's kernel; imports nothing."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return shell is not None and type(shell).__name__ == "ZMQInteractiveShell"


@contextmanager
def terminal_bar(title: str, console: Any = None) -> Iterator[Bar]:
    """Show a bar on a terminal's stderr, nothing where it is none."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = console or Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(title, total=None, note="")
        yield Bar(lambda done, total, note: bar.update(task, completed=done, total=total, note=note))


@contextmanager
def notebook_bar(title: str) -> Iterator[Bar | None]:
    """Show a bar of tqdm in a notebook; ``None`` where it is no notebook, or where tqdm is not installed."""
    tqdm = _tqdm() if in_notebook() else None
    if tqdm is None:
        yield None
        return
    with tqdm(desc=title, unit="step", unit_scale=True, leave=False) as bar:

        def show(done: int, total: int, note: str) -> None:
            bar.total = total
            bar.n = done
            bar.set_postfix_str(note)

        yield Bar(show)


def _tqdm() -> Any:
    """Return tqdm with widgets where ipywidgets are there, else as text."""
    try:
        import tqdm
    except ImportError:
        return None
    try:
        import ipywidgets  # noqa: F401
        from tqdm.notebook import tqdm as with_widgets
    except ImportError:
        return tqdm.tqdm
    return with_widgets
