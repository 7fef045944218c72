"""What a target can't hold of a network, in words and numbers: refused, or allowed and reported."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from boltzspike.errors import UnsupportedFeature


@dataclass(frozen=True, kw_only=True, slots=True)
class Loss:
    """One thing that is lost on the way."""

    feature: str
    """Its name, as in docs/interop.md."""
    text: str
    """What becomes of it, with numbers where there are any."""

    def __str__(self) -> str:
        """Return it as a line."""
        return f"{self.feature}: {self.text}"


def refuse(target: str, features: Iterable[str], reason: str = "") -> None:
    """Raise naming the features that a target lacks, if there are any."""
    missing = sorted(features)
    if missing:
        raise UnsupportedFeature(f"{target} can't hold: {', '.join(missing)}" + (f" ({reason})" if reason else ""))


def check_losses(target: str, losses: list[Loss], allow_loss: bool) -> None:
    """Raise with the report if something is lost that was not allowed to be."""
    if losses and not allow_loss:
        lines = "\n".join(f"  {loss}" for loss in losses)
        raise UnsupportedFeature(
            f"{target} can't hold all of this network; --allow-loss (allow_loss=True) writes it without:\n{lines}"
        )
