"""Units: one consistent set (ms, mV, nF, uS, nA) and the one converter for rates.

1 nF / 1 uS = 1 ms and 1 uS * 1 mV = 1 nA, so no formula inside the package needs a factor.
Rates are the exception: Hz at the surface, 1/ms inside.
"""

from __future__ import annotations

from typing import Annotated, TypeVar

import numpy as np

ms = Annotated[float, "ms"]
mV = Annotated[float, "mV"]
nF = Annotated[float, "nF"]
uS = Annotated[float, "uS"]
nA = Annotated[float, "nA"]
Hz = Annotated[float, "Hz"]

Quantity = TypeVar("Quantity", float, np.ndarray)


def per_ms(rate_hz: Quantity) -> Quantity:
    """Convert a rate from Hz to 1/ms."""
    return rate_hz * 1e-3


def hz(rate_per_ms: Quantity) -> Quantity:
    """Convert a rate from 1/ms to Hz."""
    return rate_per_ms * 1e3
