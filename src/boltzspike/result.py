"""What ``sample`` returns: the samples, the target, how they were made; diagnostics on demand."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from boltzspike import diagnostics, plots
from boltzspike.calibration import Calibration
from boltzspike.errors import require
from boltzspike.model.boltzmann import Machine
from boltzspike.model.description import Array
from boltzspike.model.network import SpikingNetwork
from boltzspike.samples import Samples
from boltzspike.theory import exact
from boltzspike.theory.exact import Exact
from boltzspike.translation import Translation

if TYPE_CHECKING:
    from os import PathLike

    import xarray
    from matplotlib.axes import Axes

    from boltzspike.translation.budget import Budget

MAX_PLOTTED_UNITS = 10


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Reference:
    """What a machine's marginals are, and how well that is known."""

    marginals: Array
    """p(z_k = 1) of all units, clamped ones at their values, shape (n,)."""
    error: Array
    """Standard errors, shape (n,); 0 where exact."""
    exact: bool
    method: str
    """How it was had: an exact method, or ``"Gibbs sampling, 64 chains of ... sweeps"``."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Result:
    """Samples of a machine, and everything needed to judge and repeat them."""

    machine: Machine
    """The target, all units."""
    clamp: Mapping[int, int]
    """Evidence, by unit index."""
    calibration: Calibration | None
    network: SpikingNetwork | None
    """The spiking network that was simulated; ``None``, as the calibration, for samplers without membranes."""
    translation: Translation | None
    """What the neurons were handed for the target."""
    samples: Samples
    """As recorded: the simulated units alone, in the order of ``simulated``."""
    simulated: Array
    """Index in ``machine`` of each simulated unit."""
    configuration: Mapping[str, Any]
    """Engine, dt, duration, seed, rule, versions, wall time."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all units."""
        return tuple(self.machine.names or ())

    @cached_property
    def z(self) -> Array:
        """All states as an array, int8 (chains, draws, units), clamped units at their values."""
        recorded = self.samples.states
        assert recorded is not None
        if len(self.simulated) == self.machine.n_units:
            return recorded
        z = np.zeros((*recorded.shape[:2], self.machine.n_units), dtype=np.int8)
        for unit, value in self.clamp.items():
            z[..., unit] = value
        z[..., self.simulated] = recorded
        return z

    @property
    def states(self) -> xarray.DataArray:
        """All states with their names, dimensions (chain, draw, unit)."""
        import xarray

        chains, draws, _ = self.z.shape
        coordinates = {"chain": np.arange(chains), "draw": np.arange(draws), "unit": list(self.names)}
        return xarray.DataArray(self.z, dims=("chain", "draw", "unit"), coords=coordinates, name="states")

    @cached_property
    def free(self) -> Array:
        """Indices of the units that are not clamped."""
        return np.array([k for k in range(self.machine.n_units) if k not in self.clamp])

    def target(self) -> Machine:
        """Return the target of the free units under the evidence."""
        return self.machine.given(self.clamp)[0]

    def marginals(self) -> Array:
        """Return p(z=1) as sampled, shape (units,)."""
        return diagnostics.marginals(self.z)

    def marginals_error(self) -> Array:
        """Return the standard errors of ``marginals``, shape (units,)."""
        return diagnostics.marginals_error(self.z)

    def pairs(self) -> Array:
        """Return p(z_k = z_j = 1) as sampled, shape (units, units)."""
        return diagnostics.pairs(self.z)

    def pairs_error(self) -> Array:
        """Return the standard errors of ``pairs``."""
        return diagnostics.pairs_error(self.z)

    def effective_samples(self) -> Array:
        """Return the effective sample size of each unit; NaN for a unit that never changed."""
        return diagnostics.effective_samples(self.z)

    def joint(self) -> Array:
        """Return the sampled probabilities of the 2^n states, unit 0 the most significant bit."""
        return diagnostics.joint(self.z)

    def exact(self) -> Exact | None:
        """Return the exact moments of all units under the evidence, or ``None`` where they can't be had."""
        return self._exact

    @cached_property
    def _exact(self) -> Exact | None:
        return exact.exact_given(self.machine, self.clamp)

    def reference(self) -> Reference:
        """Return what to compare the marginals with: exact, or else by long Gibbs sampling with errors."""
        return self._reference

    @cached_property
    def _reference(self) -> Reference:
        from boltzspike.pipeline import reference  # it samples: a listed exception, as ``save``

        clamp: dict[int | str, int] = dict(self.clamp.items())
        return reference(self.machine, clamp, known=self.exact())

    def kl_divergence(self) -> diagnostics.KLDivergence:
        """Return D_KL of the free units from the target, with floor, bias and error."""
        return diagnostics.kl_divergence(self.z[..., self.free], exact.exact_joint(self.target()))

    def error_budget(self, *, duration: float | None = None, threads: int | None = None) -> Budget:
        """Return where the bias comes from; see ``pipeline.error_budget``."""
        from boltzspike.pipeline import error_budget  # it simulates: a listed exception, as ``save``

        return error_budget(self, duration=duration, threads=threads)

    def plot_marginals(self, ax: Axes | None = None) -> Axes:
        """Draw the sampled marginals with their errors, and the exact ones where they can be had."""
        truth = self.exact()
        free = self.free
        names = [self.names[k] for k in free]
        exact_marginals = None if truth is None else truth.marginals[free]
        error = self.marginals_error()[free]
        return plots.plot_probabilities(names, self.marginals()[free], error, exact_marginals, ax=ax)

    def plot_joint(self, ax: Axes | None = None) -> Axes:
        """Draw the sampled joint distribution of the free units (at most 10) with errors, and the exact one."""
        n = len(self.free)
        require(n <= MAX_PLOTTED_UNITS, "plot_joint", f"of at most {MAX_PLOTTED_UNITS} free units", n)
        z = self.z[..., self.free]
        labels = [f"{code:0{n}b}" for code in range(2**n)]
        exact_joint = exact.exact_joint(self.target())
        return plots.plot_probabilities(
            labels, diagnostics.joint(z), diagnostics.joint_error(z), exact_joint, log=True, ax=ax
        )

    @property
    def speed(self) -> float:
        """Biological time sampled, over all chains, per wall-clock time; without compilation and burn-in."""
        biological = (self.samples.stop - self.samples.start) * self.samples.dt * self.z.shape[0]
        return float(biological / (self.configuration["wall_seconds"] * 1e3))

    def save(self, path: str | PathLike[str], *, force: bool = False) -> None:
        """Write to a netCDF file."""
        from boltzspike.files import save

        save(self, path, force=force)
