"""What ``sample`` returns for a Bayesian network: the posterior of its variables, sampled and exact."""

from __future__ import annotations

import dataclasses
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from boltzspike import diagnostics
from boltzspike.compilation import Compiled
from boltzspike.errors import BoltzspikeWarning, UnsupportedFeature, require
from boltzspike.model.bayesnet import BayesianNetwork
from boltzspike.model.description import Array
from boltzspike.result import Result
from boltzspike.theory import elimination

FEW_SAMPLES = 100.0
"""Effective samples below which an estimate and its own error are not to be trusted."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PosteriorResult(Result):
    """Samples of a compiled Bayesian network: ``machine`` and ``states`` are its units, ``compiled`` decodes."""

    compiled: Compiled
    """The network under its evidence, its Boltzmann machine, and the report on it."""

    @property
    def bayesian_network(self) -> BayesianNetwork:
        """The network that was asked about."""
        return self.compiled.network

    @cached_property
    def variables(self) -> tuple[str, ...]:
        """Names of the variables that have a sampled posterior: all but observed and barren ones."""
        skipped = {*self.compiled.evidence, *self.compiled.simplified.barren}
        names = self.bayesian_network.names
        return tuple(name for k, name in enumerate(names) if k not in skipped)

    @cached_property
    def decoded(self) -> Array:
        """States of all variables, int16 (chains, draws, variables); -1 where the units show none."""
        return self.compiled.decode(self.z)

    def _given(self, evidence: Mapping[Any, Any], clamp: Mapping[int, int]) -> PosteriorResult:
        observed = {**self.compiled.evidence, **self.bayesian_network.evidence_indices(evidence)}
        compiled = dataclasses.replace(self.compiled, evidence=observed)
        return dataclasses.replace(self, compiled=compiled, clamp=dict(clamp))

    def posterior(self) -> dict[str, dict[str, float]]:
        """Return the sampled posterior, ``[variable][state]``, over the draws in which the variable has one.

        NaN, with a warning, for variables that showed no state in any draw: ``unsampled`` says why.
        """
        if missing := self.unsampled:
            text = "; ".join(f"posterior[{name!r}]: {why}" for name, why in missing.items())
            warnings.warn(text, BoltzspikeWarning, stacklevel=2)
        return self._named(lambda k: self._estimate((k,))[0])

    @cached_property
    def unsampled(self) -> dict[str, str]:
        """Variables that showed no state in any draw, and why, ``{variable: sentence}``."""
        draws = self.decoded.shape[0] * self.decoded.shape[1]
        return {
            name: f"not sampled: {self._why_no_state(name)} in any of {draws} draws"
            for name, share in self.invalid().items()
            if share == 1
        }

    def _why_no_state(self, name: str) -> str:
        k = self.bayesian_network.index(name)
        if k in self.compiled.encodings:
            of_unit = self.z[..., list(self.compiled.encodings[k].units)].mean(axis=(0, 1))
            return f"its units, on for {of_unit.min():.2g} to {of_unit.max():.2g} of the time, showed no state"
        return "a variable that it follows from showed no state"

    def posterior_error(self) -> dict[str, dict[str, float]]:
        """Return the standard errors of ``posterior``, from independent blocks; NaN as there."""
        return self._named(lambda k: self._estimate((k,))[1])

    def joint_posterior(self, variables: Sequence[str]) -> tuple[Array, Array]:
        """Return the sampled joint posterior of some variables, one axis each, and its standard errors.

        NaN, with a warning, if in no draw all of them showed a state.
        """
        self.bayesian_network.require_variables(variables, "joint_posterior")
        indices = [self.bayesian_network.index(name) for name in variables]
        shape = [self.bayesian_network.cardinalities[k] for k in indices]
        require(math.prod(shape) <= 2**20, "joint_posterior", "of at most 2^20 states", shape)
        p, error = self._estimate(indices)
        if np.isnan(p).any():
            why = "not sampled: no draw shows a state of each of them"
            warnings.warn(f"joint_posterior({', '.join(variables)}): {why}", BoltzspikeWarning, stacklevel=2)
        return p.reshape(shape), error.reshape(shape)

    def exact_joint_posterior(self, variables: Sequence[str]) -> Array | None:
        """Return the exact joint posterior of some variables, one axis each; ``None`` where it is out of reach."""
        exact = self._eliminated(variables)
        return None if exact is None else exact.joint

    def joint_rows(self, variables: Sequence[str]) -> list[dict[str, Any]]:
        """Return the joint posterior as a table, a row for each joint state: ``pandas.DataFrame(rows)``.

        Columns: the variables; sampled, error, exact, difference (sampled - exact); NaN where there is none.
        """
        p, error = self.joint_posterior(variables)
        exact = self.exact_joint_posterior(variables)
        exact = np.full(p.shape, np.nan) if exact is None else exact
        states = [self.bayesian_network.states[self.bayesian_network.index(name)] for name in variables]
        return [
            {
                **{name: of[s] for name, of, s in zip(variables, states, at)},
                "sampled": float(p[at]), "error": float(error[at]), "exact": float(exact[at]),
                "difference": float(p[at] - exact[at]),
            }
            for at in np.ndindex(*p.shape)
        ]  # fmt: skip

    @cached_property
    def _exact(self) -> elimination.Posterior | None:
        return self._eliminated(())

    def _eliminated(self, joint: Sequence[str]) -> elimination.Posterior | None:
        compiled = self.compiled
        evidence = {compiled.network.names[k]: s for k, s in compiled.evidence.items()}
        likelihoods = {compiled.network.names[k]: table for k, table in compiled.likelihoods.items()}
        try:
            return elimination.posterior(compiled.network, evidence, likelihoods=likelihoods, joint=joint)
        except UnsupportedFeature:
            return None

    def exact_posterior(self) -> dict[str, dict[str, float]] | None:
        """Return the exact posterior by elimination, ``None`` where it is out of reach."""
        exact = self._exact
        return None if exact is None else self._named(lambda k: exact.marginals[k])

    @property
    def log_evidence(self) -> float | None:
        """Exact log p(evidence)."""
        return None if self._exact is None else self._exact.log_evidence

    def invalid(self) -> dict[str, float]:
        """Return the share of draws in which each variable shows no state."""
        shares = (self.decoded < 0).mean(axis=(0, 1))
        return {name: float(shares[self.bayesian_network.index(name)]) for name in self.variables}

    def effective_draws(self) -> dict[str, float]:
        """Return for each variable the least effective sample size of its states.

        0 if it never changed or showed no state.
        """
        found = {}
        for name in self.variables:
            p, error = self._estimate((self.bayesian_network.index(name),))
            moving = error > 0
            sizes = p[moving] * (1 - p[moving]) / error[moving] ** 2
            found[name] = float(sizes.min(initial=np.inf)) if moving.any() else 0.0
        return found

    def mixing(self) -> str:
        """Return a sentence on whether the chains moved enough for the errors to be believed."""
        sizes = {v: n for v, n in self.effective_draws().items() if len(self._possible(v)) > 1}
        if not sizes:
            return "every variable follows from the evidence"
        if missing := [name for name in sizes if name in self.unsampled]:
            return f"poor: {', '.join(missing)} showed no state in any draw"
        return mixing_of(sizes, self._r_hat(tuple(sizes)))

    def _r_hat(self, variables: Sequence[str]) -> dict[str, float]:
        """Return for each variable the largest split R-hat of its states; NaN of single chains."""
        found = {}
        for name in variables:
            k = self.bayesian_network.index(name)
            shown = self.decoded[..., k, None] == self._possible(name)
            found[name] = diagnostics.r_hat(shown)
        return found

    def _possible(self, name: str) -> Array:
        return self.compiled.simplified.allowed[self.bayesian_network.index(name)]

    def _named(self, values_of: Callable[[int], Array]) -> dict[str, dict[str, float]]:
        network = self.bayesian_network
        return {
            name: dict(zip(network.states[network.index(name)], map(float, values_of(network.index(name)))))
            for name in self.variables
        }

    def _estimate(self, indices: Sequence[int]) -> tuple[Array, Array]:
        """Return the probabilities of the joint states of some variables, flat, and their standard errors.

        Both are ratios of counts, of a state and of all draws that show one; the error is that of a ratio. NaN
        where no draw shows one.
        """
        shape = [self.bayesian_network.cardinalities[k] for k in indices]
        draws = diagnostics.blocks(self.decoded[..., list(indices)])
        number = int(np.prod(shape))
        counts = np.zeros((len(draws), number))
        for block, states in zip(counts, draws):
            shown = states[(states >= 0).all(axis=-1)].astype(np.int64)
            block += np.bincount(np.ravel_multi_index(tuple(shown.T), shape), minlength=number)
        total = counts.sum()
        if total == 0:
            return np.full(number, np.nan), np.full(number, np.nan)
        p = counts.sum(axis=0) / total
        residual = counts - counts.sum(axis=1, keepdims=True) * p
        blocks = len(counts)
        return p, np.sqrt(blocks / (blocks - 1) * np.sum(residual**2, axis=0)) / total


def mixing_of(sizes: Mapping[str, float], r_hat: Mapping[str, float]) -> str:
    """Return a sentence on whether chains moved enough for errors to be believed.

    Parameters
    ----------
    sizes
        Effective sample sizes by name; 0 and NaN are those of what never changed.
    r_hat
        Split R-hat by name; NaN where a single chain tells nothing.
    """
    if stuck := [name for name, size in sizes.items() if not size > 0]:
        return f"poor: {', '.join(stuck)} never changed; sample longer, or take more chains"
    worst = min(sizes, key=lambda name: sizes[name])
    if sizes[worst] < FEW_SAMPLES:
        return (
            f"poor: {worst} has only {sizes[worst]:.0f} effective samples; "
            "its posterior may be off by more than its error; sample longer, or take more chains"
        )
    apart = max(r_hat, key=lambda name: np.nan_to_num(r_hat[name]))
    if r_hat[apart] > diagnostics.GOOD_R_HAT:
        level = "poor" if r_hat[apart] > diagnostics.POOR_R_HAT else "doubtful"
        return (
            f"{level}: the chains do not agree on {apart} (R-hat {r_hat[apart]:.3g}); "
            "its posterior may be off by more than its error; sample longer"
        )
    return f"good: at least {sizes[worst]:.0f} effective samples ({worst})"
