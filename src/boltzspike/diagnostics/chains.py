"""Have the chains forgotten where they began, and how much do their draws say? R-hat, ESS, MCSE by arviz-stats."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from boltzspike.diagnostics.estimates import States
from boltzspike.errors import require

Array = np.ndarray
GOOD_R_HAT = 1.01
"""Vehtari et al., Bayesian Analysis 16 (2021) 667: above it, the chains can't be taken for one distribution."""
GOOD_ESS = 400.0
"""The same: below it, errors are themselves not well known."""
LEAST_DRAWS = 4


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Convergence:
    """R-hat, effective sample size and Monte Carlo standard error of quantities, from several chains.

    For states 0 and 1, R-hat after rank normalisation is R-hat (ranks of two values are an affine map of them), so
    plain split R-hat is what is computed. All are NaN where ``constant``: a value that never changed says nothing
    about how well its chain mixes.
    """

    names: tuple[str, ...]
    r_hat: Array
    """Split R-hat, shape (quantities,)."""
    ess: Array
    """Effective sample size of the mean over all chains (Geyer's initial monotone sequence), (quantities,)."""
    mcse: Array
    """Standard error of the mean, sd / sqrt(ess), (quantities,)."""
    draws: int
    """Over all chains."""
    chains: int

    def beside(self, other: Convergence) -> Convergence:
        """Return these quantities and others of the same draws."""
        both = {field: np.concatenate([getattr(self, field), getattr(other, field)]) for field in _ARRAYS}
        return Convergence(names=self.names + other.names, draws=self.draws, chains=self.chains, **both)

    @property
    def constant(self) -> tuple[str, ...]:
        """Names of what never changed in any chain."""
        return tuple(name for name, size in zip(self.names, self.ess) if np.isnan(size))

    @property
    def autocorrelation_time(self) -> Array:
        """Integrated autocorrelation time in draws, 1 + 2 sum_t rho(t), shape (quantities,)."""
        return self.draws / self.ess

    @property
    def worst_r_hat(self) -> float:
        """Largest R-hat of what changed; NaN if nothing did."""
        return _extreme(np.nanmax, self.r_hat)

    @property
    def least_ess(self) -> float:
        """Smallest ESS of what changed; NaN if nothing did."""
        return _extreme(np.nanmin, self.ess)

    @property
    def slowest(self) -> str | None:
        """Name of what has the smallest ESS."""
        return None if np.isnan(self.ess).all() else self.names[int(np.nanargmin(self.ess))]

    @property
    def largest_mcse(self) -> float:
        """Largest standard error of what changed; NaN if nothing did."""
        return _extreme(np.nanmax, self.mcse)

    def __str__(self) -> str:
        """Return the worst of each."""
        said = f", never changed: {', '.join(self.constant)}" if self.constant else ""
        return f"R-hat <= {self.worst_r_hat:.4g}, ESS >= {self.least_ess:.0f} of {self.draws} draws{said}"


_ARRAYS = ("r_hat", "ess", "mcse")


def convergence(values: States, names: tuple[str, ...] | None = None) -> Convergence:
    """Return R-hat, ESS and MCSE.

    Parameters
    ----------
    values
        Shape (chains, draws, quantities): states (int8), energies, or anything else.
    names
        Of the quantities; ``None``: their numbers.

    Raises
    ------
    ValidationError
        With fewer than four draws a chain, which have no halves to compare.
    """
    stats = _array_stats()
    chains, draws, number = values.shape
    require(draws >= LEAST_DRAWS, "convergence", f"of at least {LEAST_DRAWS} draws a chain", draws)
    r_hats, ess, mcse = (np.full(number, np.nan) for _ in range(3))
    for k in range(number):
        one = np.array(values[..., k], dtype=np.float64, order="C")
        if one.min() == one.max():
            continue
        if chains > 1:
            r_hats[k] = _split_r_hat(one)
        with np.errstate(divide="ignore", invalid="ignore"):
            ess[k] = stats.ess(one, chain_axis=0, draw_axis=1, method="mean")
        off = (one - one.mean()).ravel()
        mcse[k] = np.sqrt(off @ off / (off.size - 1) / ess[k])
    return Convergence(
        names=names or tuple(map(str, range(number))),
        r_hat=r_hats,
        ess=ess,
        mcse=mcse,
        draws=chains * draws,
        chains=chains,
    )


def r_hat(values: States) -> float:
    """Return the largest split R-hat of quantities, shape (chains, draws, quantities).

    NaN of a single chain, of too few draws to halve, and where nothing changed.
    """
    chains, draws, number = values.shape
    if chains == 1 or draws < LEAST_DRAWS:
        return float("nan")
    each = (np.array(values[..., k], dtype=np.float64, order="C") for k in range(number))
    return _extreme(np.nanmax, np.array([_split_r_hat(one) for one in each if one.min() < one.max()]))


def _split_r_hat(one: Array) -> float:
    with np.errstate(divide="ignore", invalid="ignore"):
        # chains each constant at their own value: R-hat is infinite
        return float(_array_stats().rhat(one, chain_axis=0, draw_axis=1, method="split"))


@functools.cache
def _array_stats() -> Any:
    """Return arviz-stats' array functions with Fourier transforms in single precision, more than twice as fast."""
    from arviz_stats.base import array_stats
    from scipy import fft

    class Single(type(array_stats)):  # type: ignore[misc]
        def rfft(self, ary: Array, n: int, axis: int = -1) -> Array:
            return np.asarray(fft.rfft(ary.astype(np.float32), n=n, axis=axis))

        def irfft(self, ary: Array, n: int, axis: int = -1) -> Array:
            return np.asarray(fft.irfft(ary, n=n, axis=axis))

    return Single()


@dataclass(frozen=True, kw_only=True, slots=True)
class Efficiency:
    """What an effective sample of the slowest quantity costs; NaN where that is not known."""

    ess: float
    """Of the slowest quantity, over all chains."""
    per_wall_second: float
    """Of sampling, without compilation and burn-in, as this machine ran it."""
    per_biological_second: float
    """Of one chain: time goes on in all of them at once."""
    per_spike: float
    """Of the neurons sampled; neuromorphic hardware pays energy for each."""
    biological_autocorrelation_time: float
    """Of the slowest quantity, ms."""

    def __str__(self) -> str:
        """Return the three rates."""
        return (
            f"ESS {self.ess:.0f}: {self.per_wall_second:.3g} a second of wall time, "
            f"{self.per_biological_second:.3g} a biological second of a chain, {self.per_spike:.2g} a spike"
        )


def efficiency(
    found: Convergence, *, wall_seconds: float, biological_ms: float, spikes: float = np.nan
) -> Efficiency:
    """Return what an effective sample costs.

    Parameters
    ----------
    found
        Of the quantities of interest; the slowest counts.
    wall_seconds
        Of sampling.
    biological_ms
        Of each chain.
    spikes
        Of all neurons and chains.
    """
    ess = found.least_ess
    return Efficiency(
        ess=ess,
        per_wall_second=ess / wall_seconds,
        per_biological_second=ess / (found.chains * biological_ms * 1e-3),
        per_spike=ess / spikes if spikes > 0 else np.nan,
        biological_autocorrelation_time=found.chains * biological_ms / ess,
    )


def _extreme(of: Callable[[Array], Any], values: Array) -> float:
    return float("nan") if np.isnan(values).all() else float(of(values))
