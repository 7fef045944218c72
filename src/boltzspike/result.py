"""What ``sample`` returns: the samples, the target, how they were made; diagnostics on demand."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from boltzspike import diagnostics, plots, summary
from boltzspike.calibration import Calibration
from boltzspike.draws import Draws
from boltzspike.errors import ValidationError, require
from boltzspike.gathered import MAX_JOINT_UNITS, correlations
from boltzspike.model.boltzmann import Machine
from boltzspike.model.description import Array
from boltzspike.model.network import SpikingNetwork
from boltzspike.piecewise import energies
from boltzspike.samples import Samples
from boltzspike.theory import exact
from boltzspike.theory.exact import Exact
from boltzspike.translation import Translation

if TYPE_CHECKING:
    from os import PathLike

    import xarray
    from matplotlib.axes import Axes

    from boltzspike.translation.budget import Budget

NO_TARGET = "no target: this is a run of a network as it is; sample(network, target=machine) names one"
MAX_PLOTTED_UNITS = 10
MAX_JUDGED_UNITS = 12
"""Free units up to which a verdict looks at the joint distribution."""


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
    """Samples of a machine or of a network, and everything needed to judge and repeat them.

    There is no target where a ``SpikingNetwork`` was sampled without ``target=``: what compares with one raises a
    ``ValidationError`` that begins with "no target", and ``exact()`` is ``None``.
    """

    machine: Machine | None
    """The target, all units; ``None``: there is none."""
    clamp: Mapping[int, int]
    """Evidence, by unit index."""
    calibration: Calibration | None
    network: SpikingNetwork | None
    """The spiking network that was simulated; ``None``, as the calibration, for samplers without membranes."""
    translation: Translation | None
    """What the neurons were handed for the target; ``None``, as the calibration, of a network given as it is."""
    samples: Samples
    """As recorded: the simulated units alone, in the order of ``simulated``."""
    simulated: Array
    """Index among all units of each simulated one."""
    configuration: Mapping[str, Any]
    """Engine, dt, duration, seed, rule, versions, wall time."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all units."""
        named = self.network if self.machine is None else self.machine
        assert named is not None
        return tuple(named.names or ())

    @property
    def n_units(self) -> int:
        """Number of all units, clamped ones included."""
        return len(self.names)

    @cached_property
    def z(self) -> Array:
        """All states as an array, int8 (chains, draws, units), clamped units at their values."""
        return self.draws[:, :]

    @property
    def draws(self) -> Draws:
        """The same, unpacked as far as they are selected, ``[chain, draw, unit]`` by numbers and slices."""
        packed = self.samples.packed
        if packed is None:
            raise ValidationError('states: were not recorded; sample(..., record="states") keeps them')
        return Draws.of(packed.bits, self.simulated, self.n_units, self.clamp)

    @property
    def _free_draws(self) -> Draws:
        return self.draws.only(self.free)

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
        return np.array([k for k in range(self.n_units) if k not in self.clamp])

    def target(self) -> Machine:
        """Return the target of the free units under the evidence."""
        return self._target_of_all().given(self.clamp)[0]

    def _target_of_all(self) -> Machine:
        if self.machine is None:
            raise ValidationError(NO_TARGET)
        return self.machine

    def marginals(self) -> Array:
        """Return p(z=1) as sampled, shape (units,)."""
        occupancy = self.samples.gathered.occupancy
        if occupancy is None:
            return diagnostics.marginals(self.draws)
        share = occupancy.on.sum(axis=(0, 1)) / (len(occupancy.on) * occupancy.steps.sum())
        return self._with_clamped(share)

    def marginals_error(self) -> Array:
        """Return the standard errors of ``marginals``, shape (units,)."""
        occupancy = self.samples.gathered.occupancy
        if occupancy is None:
            return diagnostics.marginals_error(self.draws)
        chains, parts, units = occupancy.on.shape
        wanted = -(-diagnostics.MIN_BLOCKS // chains)
        if parts < wanted:
            raise ValidationError(
                f"marginals_error: {chains} chain(s) in {parts} part(s) are too few for a standard error; "
                "run longer, or more chains"
            )
        shares = occupancy.shares(wanted)
        error = diagnostics.standard_error(shares.reshape(-1, units))
        return self._with_clamped(error, clamped=dict.fromkeys(self.clamp, 0))

    def _with_clamped(self, of_simulated: Array, clamped: Mapping[int, int] | None = None) -> Array:
        """Return values of the simulated units, and of those that were not, by index in the machine."""
        values = np.zeros(self.n_units)
        for unit, value in (self.clamp if clamped is None else clamped).items():
            values[unit] = value
        values[self.simulated] = of_simulated
        return values

    def pairs(self) -> Array:
        """Return p(z_k = z_j = 1) as sampled, shape (units, units)."""
        counted = self.samples.gathered.pairs
        if counted is None:
            self._need_states("pairs", "moments")
            return diagnostics.pairs(self.draws)
        second = counted.probabilities()
        mean = self._with_clamped(np.diagonal(second))
        all_units = np.outer(mean, mean)
        all_units[np.ix_(self.simulated, self.simulated)] = second
        return all_units

    def pairs_error(self) -> Array:
        """Return the standard errors of ``pairs``; they need recorded states."""
        self._need_states("pairs_error")
        return diagnostics.pairs_error(self.draws)

    def correlations(self) -> Array:
        """Return the correlation coefficients of the units; NaN with a unit that never changed."""
        return correlations(self.pairs())

    def effective_samples(self) -> Array:
        """Return the effective sample size of each unit; NaN for a unit that never changed."""
        if self.samples.gathered.occupancy is None:
            return diagnostics.effective_samples(self.draws)
        p, error = self.marginals(), self.marginals_error()
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.where(error > 0, p * (1 - p) / error**2, np.nan))

    def joint(self) -> Array:
        """Return the sampled probabilities of the 2^n states, unit 0 the most significant bit."""
        if self.samples.gathered.joint is None:
            self._need_states("joint", "joint")
            return diagnostics.joint(self.draws)
        n = self.n_units
        require(n <= MAX_JOINT_UNITS, "joint", f"of at most {MAX_JOINT_UNITS} units", n)
        shares = self._recorded_joint(self.simulated).mean(axis=0)
        bit = 1 << np.arange(n - 1, -1, -1, dtype=np.int64)
        held = sum(int(bit[unit]) * value for unit, value in self.clamp.items() if unit not in self.simulated)
        codes = np.arange(len(shares))
        m = len(self.simulated)
        at = held + sum((codes >> (m - 1 - k) & 1) * bit[unit] for k, unit in enumerate(self.simulated))
        probabilities = np.zeros(2**n)
        probabilities[at] = shares
        return probabilities

    def _recorded_joint(self, units: Array) -> Array:
        """Return the recorded share of time in each joint state of ``units`` in each chain, (chains, 2^n)."""
        counted = self.samples.gathered.joint
        assert counted is not None
        recorded = [int(self.simulated[k]) for k in counted.units]
        missing = [self.names[k] for k in units if k not in recorded]
        require(not missing, "joint", "of units whose joint states were recorded", f"also {missing[:5]}")
        shares = counted.shares().reshape(-1, *[2] * len(recorded))
        others = tuple(k + 1 for k, unit in enumerate(recorded) if unit not in units)
        kept = [unit for unit in recorded if unit in units]
        shares = shares.sum(axis=others).transpose(0, *(1 + kept.index(unit) for unit in units))
        return shares.reshape(len(shares), -1)

    def _joint_of_blocks(self, method: str) -> Array:
        """Return the joint distribution of the free units in independent blocks, (blocks, 2^n)."""
        if self.samples.gathered.joint is None:
            self._need_states(method, "joint")
            return diagnostics.block_joint(self._free_draws)
        chains = len(self.samples.gathered.joint.steps)
        least = diagnostics.MIN_BLOCKS
        require(chains >= least, method, f'of at least {least} chains with record="joint"', f"{chains}")
        return self._recorded_joint(self.free)

    @property
    def has_joint(self) -> bool:
        """Whether what was recorded gives the joint distribution, and D_KL, with an error."""
        counted = self.samples.gathered.joint
        counts = counted is not None and len(counted.steps) >= diagnostics.MIN_BLOCKS
        return self.samples.packed is not None or counts

    def _need_states(self, method: str, *instead: str) -> None:
        """Raise, naming what to record, if there are no states."""
        if self.samples.packed is None:
            ways = " or ".join(f'sample(..., record="{name}")' for name in ("states", *instead))
            raise ValidationError(f"{method}: needs what was not recorded; {ways} records it")

    def exact(self) -> Exact | None:
        """Return the target's exact moments under the evidence, of all units; ``None`` where they can't be had."""
        return self._moments

    @cached_property
    def _moments(self) -> Exact | None:
        return None if self.machine is None else exact.exact_given(self.machine, self.clamp)

    def reference(self) -> Reference:
        """Return what to compare the marginals with: exact, or else by long Gibbs sampling with errors."""
        return self._reference

    @cached_property
    def _reference(self) -> Reference:
        from boltzspike.pipeline import reference  # it samples: a listed exception, as ``save``

        clamp: dict[int | str, int] = dict(self.clamp.items())
        return reference(self._target_of_all(), clamp, known=self._moments)

    def energies(self) -> Array:
        """Return the energy of each draw, shape (chains, draws): of all units, clamped ones included."""
        machine = self._target_of_all()
        self._need_states("energies")
        chains, draws, _ = self.draws.shape
        return energies(machine, self.draws, slice(0, chains), slice(0, draws))

    def convergence(self) -> diagnostics.Convergence:
        """Return R-hat, ESS and MCSE of the free units, and of the energy of the target, which comes last."""
        return self._convergence

    @cached_property
    def _convergence(self) -> diagnostics.Convergence:
        self._need_states("convergence")
        units = diagnostics.convergence(self._free_draws, tuple(self.names[k] for k in self.free))
        if self.machine is None:
            return units
        return units.beside(diagnostics.convergence(self.energies()[..., None], ("energy",)))

    def efficiency(self) -> diagnostics.Efficiency:
        """Return what an effective sample costs: wall time, biological time, spikes (NaN without neurons)."""
        biological = (self.samples.stop - self.samples.start) * self.samples.dt
        return diagnostics.efficiency(
            self.convergence(),
            wall_seconds=self.configuration["wall_seconds"],
            biological_ms=biological,
            spikes=self._spikes(biological),
        )

    def _spikes(self, biological: float) -> float:
        """Return the number of spikes of all chains, counted or from the time at z = 1, tau_refrac for each."""
        if self.samples.spikes is not None:
            return float(len(self.samples.spikes.step))
        if self.network is None:
            return np.nan
        tau = np.array([neuron.tau_refrac for neuron in self.network.neurons])
        chains = self.configuration["chains"]
        return float(np.sum(self.marginals()[self.simulated] / tau) * chains * biological)

    def block_marginals(self) -> Array:
        """Return the marginals of the free units in independent blocks, (blocks, free units)."""
        return self._block_marginals("block_marginals")

    def _block_marginals(self, method: str) -> Array:
        occupancy = self.samples.gathered.occupancy
        if occupancy is None:
            self._need_states(method, "moments")
            return diagnostics.block_marginals(self._free_draws)
        shares = occupancy.shares(-(-diagnostics.MIN_BLOCKS // len(occupancy.on)))
        of_free = np.searchsorted(self.simulated, self.free)
        return shares.reshape(-1, shares.shape[-1])[:, of_free]

    def _exact_or_refuse(self, method: str) -> Exact:
        self._target_of_all()
        moments = self.exact()
        if moments is None:
            raise ValidationError(
                f"{method}: this machine has no exact moments in reach; reference() samples some"
            )
        return moments

    def test_marginals(self) -> diagnostics.TargetTest:
        """Test whether the marginals of the free units are the target's, where these are exact."""
        truth = self._exact_or_refuse("test_marginals").marginals[self.free]
        return diagnostics.mean_test(self._block_marginals("test_marginals"), truth)

    def test_pairs(self) -> diagnostics.TargetTest:
        """Test whether p(z_k = z_j = 1) of the free units are the target's, where these are exact."""
        free = self.free
        exact_pairs = self._exact_or_refuse("test_pairs").pairs[np.ix_(free, free)]
        self._need_states("test_pairs")
        truth = exact_pairs[np.triu_indices(len(free), 1)]
        known = np.isfinite(truth)  # elimination leaves out units that are not coupled
        per_block = diagnostics.block_pairs(self._free_draws)
        return diagnostics.mean_test(per_block[:, known], truth[known], of="pairs")

    def test_joint(self) -> diagnostics.TargetTest:
        """Test whether the joint distribution of the free units (at most 25) is the target's."""
        target = exact.exact_joint(self.target())
        return diagnostics.joint_test(self._joint_of_blocks("test_joint"), target)

    def compared_with(self, other: Result) -> tuple[diagnostics.TargetTest, ...]:
        """Test whether two runs of the same units under the same evidence have the same distribution.

        Of the free units the marginals; the pairs, where both recorded states; the joint distribution, where both
        recorded it and the units are at most 12. Of several tests, one p-value below .01 is no surprise: divide by
        their number (Bonferroni).
        """
        same = self.names == other.names and dict(self.clamp) == dict(other.clamp)
        require(same, "compared_with", "a result of the same units under the same evidence", other.names[:5])
        both, test = (self, other), diagnostics.two_sample_test
        found = [test(*(one.block_marginals() for one in both))]
        if len(self.free) > 1 and all(one.samples.packed is not None for one in both):
            found.append(test(*(diagnostics.block_pairs(one._free_draws) for one in both), of="pairs"))
        if 1 < len(self.free) <= MAX_JUDGED_UNITS and all(one.has_joint for one in both):
            found.append(test(*(one._joint_of_blocks("compared_with") for one in both), of="joint"))
        return tuple(found)

    def bias_bound(self, confidence: float = 0.99) -> diagnostics.BiasBound:
        """Return a bound on the largest bias of a marginal of the free units, against ``reference``."""
        known = self.reference()
        per_block = self._block_marginals("bias_bound")
        return diagnostics.bias_bound(
            per_block, known.marginals[self.free], confidence=confidence, truth_error=known.error[self.free]
        )

    def marginals_bias(self) -> diagnostics.Distance:
        """Return the RMS bias of the marginals of the free units, floor apart, where the target's are exact."""
        truth = self._exact_or_refuse("marginals_bias").marginals[self.free]
        return diagnostics.moment_error(self._block_marginals("marginals_bias"), truth)

    def distances(self, confidence: float = 0.95) -> diagnostics.Distances:
        """Return D_KL both ways, total variation and Hellinger distance of the free units, with intervals."""
        target = exact.exact_joint(self.target())
        return diagnostics.distances_of_blocks(self._joint_of_blocks("distances"), target, confidence=confidence)

    def extrapolation(self) -> diagnostics.Extrapolation:
        """Return D_KL extrapolated to a run without end."""
        self._need_states("extrapolation")
        return diagnostics.extrapolation(self._free_draws, exact.exact_joint(self.target()))

    def temperature(self) -> diagnostics.Temperature:
        """Return the beta that fits the samples best, by the likelihood where exact, else by pseudo-likelihood."""
        return self._temperature

    @cached_property
    def _temperature(self) -> diagnostics.Temperature:
        self._need_states("temperature")
        target, states = self.target(), self._free_draws
        if self.exact() is None:
            return diagnostics.pseudo_temperature(states, target)
        of_draws = energies(target, states, slice(0, states.shape[0]), slice(0, states.shape[1]))
        return diagnostics.likely_temperature(diagnostics.blocks(of_draws).mean(axis=1), target)

    def modes(self, patterns: Array | None = None) -> diagnostics.Mixing:
        """Return how chains travel between modes: given patterns of the free units, or basins of the energy."""
        self._need_states("modes")
        states = self._free_draws[:, :]
        if patterns is None:
            return diagnostics.mixing(*diagnostics.basins(states, self.target()))
        return diagnostics.mixing(*diagnostics.nearest(states, patterns))

    def verdict(self) -> diagnostics.Verdict:
        """Return in words whether the error bars can be trusted, and what they say about the bias."""
        free, found = self.free, self.convergence()
        moments, names = self.exact(), tuple(self.names[k] for k in free)
        if moments is None or set(names) <= set(found.constant):
            return diagnostics.judge(found)
        small = len(free) <= MAX_JUDGED_UNITS
        try:
            temperature = self.temperature()
        except ValidationError:  # no beta fits, or every one
            temperature = None
        return diagnostics.judge(
            found,
            target=moments.marginals[free],
            tests=[self.test_marginals(), self.test_pairs(), *([self.test_joint()] if small else [])],
            bound=self.bias_bound(),
            divergence=self.distances().kl if small else None,
            temperature=temperature,
        )

    def kl_divergence(self) -> diagnostics.KLDivergence:
        """Return D_KL of the free units from the target, with floor, bias and error."""
        target = exact.exact_joint(self.target())
        return diagnostics.kl_of_blocks(self._joint_of_blocks("kl_divergence"), target)

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
        """Draw the sampled joint distribution of the free units (at most 10) with errors, and the target's."""
        n = len(self.free)
        require(n <= MAX_PLOTTED_UNITS, "plot_joint", f"of at most {MAX_PLOTTED_UNITS} free units", n)
        per_block = self._joint_of_blocks("plot_joint")
        labels = [f"{code:0{n}b}" for code in range(2**n)]
        exact_joint = None if self.machine is None else exact.exact_joint(self.target())
        return plots.plot_probabilities(
            labels, per_block.mean(axis=0), diagnostics.standard_error(per_block), exact_joint, log=True, ax=ax
        )

    def during(self, start: float, stop: float) -> Self:
        """Return the draws between two times in ms from the beginning of the recording, as a result of their own.

        Of a result with recorded states; what else was recorded stays behind.
        """
        self._need_states("during")
        assert self.samples.packed is not None
        first, dt = self.samples.start, self.samples.dt
        recorded = (self.samples.stop - first) * dt
        inside = 0 <= start < stop <= recorded * (1 + 1e-12)
        require(inside, "during", f"within 0 .. {recorded:g} ms", (start, stop))
        steps = first + round(start / dt), first + round(stop / dt)
        every = round(self.configuration["draw_every_ms"] / dt)
        # draw k is the state after step (first // every + 1 + k) every - 1
        draws = slice(*(step // every - first // every for step in steps))
        bits = self.samples.packed.bits[:, draws]
        require(bits.shape[1] > 0, "during", f"long enough for a draw ({every * dt:g} ms)", (start, stop))
        packed = dataclasses.replace(self.samples.packed, bits=bits)
        share = (stop - start) / recorded
        configuration = {
            **self.configuration,
            "stretch_ms": [start, stop],
            "sampled_ms": stop - start,
            "wall_seconds": self.configuration["wall_seconds"] * share,
        }
        samples = Samples(start=steps[0], stop=steps[1], dt=dt, packed=packed)
        return dataclasses.replace(self, samples=samples, configuration=configuration)

    def episodes(self, *, settle: float = 0.0) -> list[tuple[float, float, Self]]:
        """Return (start, stop, result) for each stretch of constant evidence of ``sample(evidence_course=...)``.

        Parameters
        ----------
        settle
            Time in ms after each change whose draws are left out, while the network forgets the evidence before.

        Returns
        -------
        Each result has the evidence of its stretch, so that its exact posterior is the one to compare with. Times
        in ms from the beginning of the recording; ``start`` is that of the change, ``settle`` not yet added.
        """
        course = self.configuration.get("evidence_course")
        if course is None:
            raise ValidationError("episodes: the evidence did not change; sample(evidence_course=...) changes it")
        require(settle >= 0, "settle", ">= 0 ms", settle)
        recorded = (self.samples.stop - self.samples.start) * self.samples.dt
        changes = [(time, evidence, {int(k): v for k, v in clamp}) for time, evidence, clamp in course]
        if changes[0][0] > 0:
            changes.insert(0, (0.0, {}, {}))
        ends = [*(min(time, recorded) for time, _, _ in changes[1:]), recorded]
        return [
            (time, end, self.during(time + settle, end)._given(evidence, {**self.clamp, **clamp}))
            for (time, evidence, clamp), end in zip(changes, ends)
            if time < recorded  # a run that was interrupted ends before its later changes
        ]

    def _given(self, evidence: Mapping[Any, Any], clamp: Mapping[int, int]) -> Self:
        """Return the result with this evidence, as given and by units."""
        return dataclasses.replace(self, clamp=dict(clamp))

    @property
    def speed(self) -> float:
        """Biological time sampled, over all chains, per wall-clock time; without compilation and burn-in."""
        biological = (self.samples.stop - self.samples.start) * self.samples.dt * self.configuration["chains"]
        return float(biological / (self.configuration["wall_seconds"] * 1e3))

    def summary(self) -> dict[str, Any]:
        """Return marginals, D_KL, verdict and how it was made in JSON's types."""
        return summary.summary(self)

    def _repr_html_(self) -> str:
        """Show how it was made and the marginals in a notebook."""
        return summary.as_html(self)

    def to_datatree(self) -> xarray.DataTree:
        """Return everything as a tree of datasets, the layout of the file (``archive``)."""
        from boltzspike.archive import to_tree  # a listed exception, as ``save``

        return to_tree(self)

    def save(self, path: str | PathLike[str], *, force: bool = False) -> None:
        """Write to a netCDF file, or to a zarr folder where the name ends in .zarr."""
        from boltzspike.files import save

        save(self, path, force=force)

    def report(self, path: str | PathLike[str], *, title: str | None = None, force: bool = False) -> None:
        """Write one self-contained HTML page: the question, the answer, whether to trust it, how it was made."""
        from boltzspike.report import write_report  # a listed exception, as ``save``

        write_report(self, path, title=title, force=force)
