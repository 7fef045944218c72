"""From a Bayesian network under evidence to a Boltzmann machine, and back from its states to the variables'."""

from __future__ import annotations

import bisect
import functools
import math
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from boltzspike.compilation.auxiliary import Auxiliary, by_assignments, by_monomials
from boltzspike.compilation.check import invalid_share, machine_errors, machine_logs, pair_shares
from boltzspike.compilation.encoding import Encoding, Polynomial, add, encode, polynomial
from boltzspike.compilation.reduction import fitted, settings_of
from boltzspike.compilation.simplify import Simplified, simplify
from boltzspike.errors import UnsupportedFeature, ValidationError, require, suggestion
from boltzspike.model.bayesnet import BayesianNetwork, Evidence
from boltzspike.model.boltzmann import BoltzmannMachine
from boltzspike.model.description import Array
from boltzspike.theory.elimination import Beliefs, Factor, aligned, beliefs

ROUTES = {
    "fitted": "few auxiliary units of moderate weights, fitted to each factor",
    "monomials": "one auxiliary unit for each term of order >= 3; exact",
    "assignments": "one auxiliary unit for each setting of a factor (Pecevski et al. 2011, Probst et al. 2015)",
}
DEPTHS = {"fitted": 9.0, "monomials": 18.0, "assignments": 9.0}
"""Probabilities of zero become exp(-depth) of their factor's largest entry; depth takes strong weights."""
INVALID = 0.0002
"""Share of draws in which a variable's fitted units may show no state."""
MAX_UNITS = 4096
REACH = 6.0
"""Largest weight that is asked for in sampling: beyond, spiking posteriors get worse (docs/models.md)."""
SHALLOWEST, DEEPEST, DEPTH_STEP = 3.5, 6.5, 0.5
REACHED_INVALID = 0.003
"""Depths, and share of draws without a state, where a largest weight is asked for: what they cost the machine is
less than spiking neurons lose by the weights that they save."""
STRONG = 12.0
"""Networks with weights up to 10 were measured to be fine, those from 16 on are not (docs/models.md)."""
_PENALTY_ROUNDS = 8
_PENALTY_TOLERANCE = 0.2
_LEAST_SHARE = 1e-30
_MOST_INVALID = 1.5
"""Times the share asked for."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Report:
    """What the Boltzmann machine costs and how far it is from the exact posterior, before any spike."""

    route: str
    encoding: str
    depth: float
    """Impossible combinations got about exp(-depth)."""
    n_variables: int
    """Variables that are sampled."""
    n_units: int
    n_auxiliary: int
    """Auxiliary units among them."""
    largest_weight: float
    largest_sum: float
    """Largest sum of a unit's |weights|."""
    largest_bias: float
    clipped: int
    """Impossible combinations, whose probability the bounded weights leave above zero."""
    residual: float
    """Largest root mean squared error of a log factor that its auxiliary units leave."""
    seconds: float
    marginal_error: float | None
    """Largest |p_machine - p_exact| over all states of all variables; ``None``: out of reach of elimination."""
    kl_divergence: float | None
    """D_KL(exact || machine) of the joint distribution of the sampled variables."""
    invalid: float | None
    """Largest probability, under the machine, that a variable's units show no state."""
    why_unknown: str = ""
    """Why the machine's own error could not be computed, if so."""

    @property
    def outlook(self) -> str:
        """What spiking neurons will make of it, where that is little; else empty."""
        if self.largest_weight <= STRONG:
            return ""
        return (
            f"weights of up to {self.largest_weight:.3g} ({self.largest_sum:.3g} in sum at one unit) are too "
            "strong for the rules that do not simulate the network: marginals were off by .05 to .15 on average, "
            ".3 to .65 at most; the rules 'conditionals' and 'sweeps' tune the network first, in seconds at 60 "
            "units, about a minute at 200 to 350, and mend what is not slow mixing (docs/models.md)"
        )

    def __str__(self) -> str:
        """Return one line, and the outlook."""
        error = f"not computed ({self.why_unknown})"
        if self.marginal_error is not None:
            error = f"{self.marginal_error:.2g} (D_KL {self.kl_divergence:.2g})"
        return (
            f"{self.n_variables} variables as {self.n_units} units, {self.n_auxiliary} of them auxiliary "
            f"({self.route}); "
            f"largest |weight| {self.largest_weight:.3g}; largest error of the machine's marginals {error}"
            f"{self.outlook and '; ' + self.outlook}"
        )


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Compiled:
    """A Bayesian network under evidence as a Boltzmann machine."""

    network: BayesianNetwork
    evidence: Mapping[int, int]
    """Observed variables and their states, by index."""
    likelihoods: Mapping[int, Array]
    """Soft evidence, by variable index."""
    simplified: Simplified
    encodings: Mapping[int, Encoding]
    """By variable; the states that an encoding numbers are the variable's possible ones."""
    machine: BoltzmannMachine
    auxiliaries: tuple[Auxiliary, ...]
    report: Report

    def clamp_of(self, evidence: Evidence) -> dict[int, int]:
        """Return what further evidence says about the units, ``{index in the machine: 0 or 1}``.

        For evidence that comes and goes in one run: ``compile_bayes`` absorbs what holds all the time. Given rare
        evidence, what is impossible is less rare beside it: its share of exp(-depth) grows by 1/p(evidence).
        """
        clamp: dict[int, int] = {}
        for v, state in self.network.evidence_indices(evidence).items():
            name, possible = self.network.names[v], self.simplified.allowed[v]
            label = self.network.states[v][state]
            require(
                v not in self.evidence, f"evidence[{name!r}]", "of a variable not observed all the time", label
            )
            if v not in self.encodings:
                raise ValidationError(
                    f"evidence[{name!r}]: the variable has no units: it follows from others, or from the evidence "
                    f"that holds all the time; compile_bayes(kept=[{name!r}]) gives it units in the first case"
                )
            at = np.flatnonzero(possible == state)
            require(len(at) == 1, f"evidence[{name!r}]", "a state that is possible here", label)
            encoding = self.encodings[v]
            clamp |= zip(encoding.units, map(int, encoding.patterns()[at[0]]))
        return clamp

    def decode(self, z: Array) -> Array:
        """Return the variables' states from the units', shape (..., variables) from (..., units).

        -1 where a variable's units show no state, where a variable is barren, or where one follows from such.
        """
        states = np.full((*z.shape[:-1], self.network.n_variables), -1, dtype=np.int16)
        for k, possible in enumerate(self.simplified.allowed):
            if len(possible) == 1 and k not in self.simplified.barren:
                states[..., k] = possible[0]
        for k, encoding in self.encodings.items():
            shown = encoding.decode(z[..., list(encoding.units)])
            states[..., k] = np.where(shown >= 0, self.simplified.allowed[k][shown], -1)
        for k, parents, table in self.simplified.functions:
            known = (states[..., list(parents)] >= 0).all(axis=-1)
            looked_up = table[tuple(states[..., v] for v in parents)]
            states[..., k] = np.where(known, looked_up, -1)
        return states


def compile_bayes(
    network: BayesianNetwork,
    evidence: Evidence | None = None,
    *,
    likelihoods: Mapping[str, object] | None = None,
    variables: Sequence[str] | None = None,
    kept: Collection[str] = (),
    route: str = "fitted",
    encoding: str = "one-hot",
    depth: float | None = None,
    bound: float = 3.0,
    strength: float = 10.0,
    tolerance: float = 5e-4,
    reach: float | None = None,
    invalid: float | None = None,
    check: bool = True,
    progress: Callable[[int, int], None] | None = None,
) -> Compiled:
    """Compile a Bayesian network under evidence to a Boltzmann machine over units and auxiliary units.

    Evidence is absorbed into the tables, impossible states drop out, deterministic variables are substituted into
    their children and decoded on read-out. Terms of the log-probability of order <= 2 in the units are exact;
    those of higher order take auxiliary units.

    Parameters
    ----------
    network
        The network.
    evidence
        ``{variable: state}``.
    likelihoods
        Soft evidence, ``{variable: {state: likelihood}}``.
    variables
        Those whose posterior is wanted: barren ones are then left out. ``None``: all.
    kept
        Those that get units though they follow from their parents: evidence that comes and goes needs them.
    route
        ``"fitted"``, ``"monomials"`` or ``"assignments"``: see ``ROUTES``.
    encoding
        Of variables of more than two states: ``"one-hot"``, ``"domain-wall"`` or ``"bits"``.
    depth
        Impossible combinations get about exp(-depth); ``None``: by route, ``DEPTHS``, or as ``reach`` says.
    bound
        Soft bound on the couplings of factors of order >= 3 (``"fitted"``).
    strength
        M, the auxiliary units' weights (``"assignments"``).
    tolerance
        Root mean squared error of a log factor at which no further auxiliary unit is added (``"fitted"``).
    reach
        Largest weight that is wanted (``"fitted"``), as ``sample`` wants ``REACH``: strong weights cost spiking
        neurons more than impossible combinations that show now and then. The depth is 6.5, or as much less, down
        to 3.5, as brings all weights within reach, and ``invalid`` is .003; where no depth does, 6.5 and .0002.
        ``None``: the machine is as close to the posterior as ``DEPTHS`` allows, marginals within .002.
    invalid
        Share of draws in which a variable of more than two states may show none: the penalties are the weakest
        that do, by elimination over the units. Left out on read-out, such draws cost the other variables a little
        too: ``report.marginal_error`` counts it. ``None``: .0002, or as ``reach`` says (``"fitted"``), else
        exp(-depth).
    check
        Compare the machine with the exact posterior; ``False`` saves the time.
    progress
        Called with (tables done, tables in all), from the start again for each depth that is tried.

    Raises
    ------
    ValidationError
        If names are unknown or the evidence is impossible.
    UnsupportedFeature
        If a factor is over too many units.
    """
    if route not in ROUTES:
        raise ValidationError(f"route: none named {route!r}{suggestion(route, ROUTES)}")
    require(depth is None or (math.isfinite(depth) and depth > 0), "depth", "> 0", depth)
    require(math.isfinite(bound) and bound > 0, "bound", "> 0", bound)
    require(math.isfinite(strength) and strength > 0, "strength", "> 0", strength)
    require(math.isfinite(tolerance) and tolerance > 0, "tolerance", "> 0", tolerance)
    require(reach is None or reach > 0, "reach", "> 0, or None", reach)
    require(invalid is None or 0 < invalid < 1, "invalid", "in 0 .. 1", invalid)
    started = time.perf_counter()
    fixed = network.evidence_indices(evidence or {})
    wanted = None if variables is None else [network.index(name) for name in variables]
    soft = network.likelihood_arrays(likelihoods or {})
    simple = simplify(network, fixed, soft, wanted, [network.index(name) for name in kept])
    if not simple.sampled:
        raise ValidationError("evidence: must leave something to sample, but every variable follows from it")
    options: dict[str, Any] = {
        "route": route, "encoding": encoding, "bound": bound, "strength": strength, "tolerance": tolerance,
        "progress": progress,
    }  # fmt: skip
    at = lambda depth, most_invalid: _compile(
        network, simple, fixed, soft, depth=depth, invalid=most_invalid if invalid is None else invalid,
        started=started, check=check, **options,
    )  # fmt: skip
    if route != "fitted":
        depth = DEPTHS[route] if depth is None else depth
        return at(depth, math.exp(-depth))
    if depth is not None:
        return at(depth, INVALID if reach is None else REACHED_INVALID)
    if reach is None:
        return at(DEPTHS[route], INVALID)
    found = None
    # a table without auxiliary units can't do with less at any depth
    if _strongest_pair(network, simple, encoding, SHALLOWEST) <= reach:
        found = _within_reach(lambda depth: at(depth, REACHED_INVALID), reach)
    return found or at(DEEPEST, INVALID)


def _within_reach(at: Callable[[float], Compiled], reach: float) -> Compiled | None:
    """Return what is compiled at the greatest depth whose weights are within reach, if there is one."""
    at = functools.cache(at)
    weight = lambda depth: at(depth).report.largest_weight
    if weight(DEEPEST) <= reach:
        return at(DEEPEST)
    # a depth less by one takes at most two from a weight: what is further off is not the depth's doing
    if weight(DEEPEST) > reach + 2 * (DEEPEST - SHALLOWEST):
        return None
    depths = [float(depth) for depth in np.arange(SHALLOWEST, DEEPEST, DEPTH_STEP)]
    fitting = bisect.bisect(depths, reach, key=weight)
    return at(depths[fitting - 1]) if fitting else None


def _strongest_pair(network: BayesianNetwork, simple: Simplified, encoding: str, depth: float) -> float:
    """Return the largest weight that the tables ask for which need no auxiliary unit."""
    encodings, _ = _encodings(network, simple, encoding)
    terms: Polynomial = {}
    for scope, table in _clusters(simple.factors):
        exact = polynomial(scope, _log_table(table, depth, "fitted"), encodings)
        if max(map(len, exact), default=0) <= 2:
            add(terms, exact)
    return max((abs(value) for monomial, value in terms.items() if len(monomial) == 2), default=0.0)


def _log_table(table: Array, depth: float, route: str) -> Array:
    """Return the logarithms of a table relative to its largest, those of zeros -depth.

    What is possible but rarer than any zero need be would only cost weight (``"fitted"``).
    """
    with np.errstate(divide="ignore"):
        log_table = np.log(table / table.max())
    rarest = -2 * depth if route == "fitted" else -math.inf
    return np.where(table > 0, np.maximum(log_table, rarest), -depth)


def _compile(
    network: BayesianNetwork,
    simple: Simplified,
    fixed: Mapping[int, int],
    soft: Mapping[int, Array],
    *,
    route: str,
    encoding: str,
    depth: float,
    bound: float,
    strength: float,
    tolerance: float,
    invalid: float,
    check: bool,
    progress: Callable[[int, int], None] | None,
    started: float,
) -> Compiled:
    """Return the network compiled at one depth."""
    encodings, names = _encodings(network, simple, encoding)
    require(len(names) <= MAX_UNITS, "network", f"of at most {MAX_UNITS} units", len(names))
    # a state that several patterns show shares its probability among them
    shared = [((v,), 1.0 / e.multiplicity) for v, e in encodings.items()]
    clusters = _clusters([*simple.factors, *shared])
    terms: Polynomial = {}
    auxiliaries: list[Auxiliary] = []
    residual, clipped = 0.0, 0
    logs: list[Factor] = []
    for done, (scope, table) in enumerate(clusters):
        if progress is not None:
            progress(done, len(clusters))
        log_table = _log_table(table, depth, route)
        clipped += int(np.sum(table == 0))
        logs.append((scope, log_table))
        exact = polynomial(scope, log_table, encodings)
        if max((len(m) for m in exact), default=0) <= 2:
            add(terms, exact)
            continue
        over = ", ".join(network.names[v] for v in scope)
        if route == "monomials":
            _check_size(len(names) + len(auxiliaries) + sum(len(m) > 2 for m in exact), over, route)
            fit = by_monomials(exact)
        else:
            try:
                factor = settings_of(scope, log_table, table > 0, encodings)
            except UnsupportedFeature as error:
                raise UnsupportedFeature(f"{over}: {error}") from None
            if route == "assignments":
                _check_size(len(names) + len(auxiliaries) + len(factor.z) - 1, over, route)
                fit = by_assignments(factor, strength=strength)
            else:
                fit = fitted(factor, exact, encodings, tolerance=tolerance, bound=bound)
        add(terms, fit.terms)
        auxiliaries += fit.auxiliaries
        residual = max(residual, fit.residual)
    strengths = {
        v: _penalty_strength(v, e, logs, math.log(len(e.exclusions) / invalid))
        for v, e in encodings.items()
        if e.exclusions
    }
    penalised = lambda strengths: _machine(_with_penalties(terms, encodings, strengths), auxiliaries, names)
    why, got = "not asked for", None
    try:
        for lowering in (True, False):
            machine, got = _settle(penalised, strengths, auxiliaries, encodings, invalid, check, lowering=lowering)
            # where many variables fail together the weakest can't be found one by one: bounds, raised, stand
            if got is None or all(invalid_share(got, encodings[v]) < _MOST_INVALID * invalid for v in strengths):
                break
    except UnsupportedFeature as error:
        machine, why = penalised(strengths), str(error)
    seconds = time.perf_counter() - started
    magnitude = np.abs(machine.weights)
    marginal_error = divergence = None
    if check and got is not None:
        try:
            marginal_error, divergence = machine_errors(
                machine_logs(machine, auxiliaries, encodings), got, simple, encodings
            )
            why = ""
        except UnsupportedFeature as error:
            why = str(error)
    report = Report(
        route=route,
        encoding=encoding,
        depth=depth,
        n_variables=len(encodings),
        n_units=machine.n_units,
        n_auxiliary=len(auxiliaries),
        largest_weight=float(magnitude.max(initial=0.0)),
        largest_sum=float(magnitude.sum(axis=1).max(initial=0.0)),
        largest_bias=float(np.abs(machine.biases).max()),
        clipped=clipped,
        residual=residual,
        seconds=seconds,
        marginal_error=marginal_error,
        kl_divergence=divergence,
        invalid=None if got is None else max((invalid_share(got, e) for e in encodings.values()), default=0.0),
        why_unknown=why,
    )
    return Compiled(
        network=network,
        evidence=fixed,
        likelihoods=soft,
        simplified=simple,
        encodings=encodings,
        machine=machine,
        auxiliaries=tuple(auxiliaries),
        report=report,
    )


def _check_size(units: int, over: str, route: str) -> None:
    if units > MAX_UNITS:
        raise UnsupportedFeature(
            f"{over}: with their factor the network takes about {units} units by the route {route!r}, more than "
            f"{MAX_UNITS}"
        )


def _with_penalties(
    terms: Polynomial, encodings: Mapping[int, Encoding], strengths: Mapping[int, Array]
) -> Polynomial:
    penalised = dict(terms)
    for v, needed in strengths.items():
        add(penalised, encodings[v].penalty(needed))
    return penalised


def _settle(
    penalised: Callable[[Mapping[int, Array]], BoltzmannMachine],
    bounds: Mapping[int, Array],
    auxiliaries: Sequence[Auxiliary],
    encodings: Mapping[int, Encoding],
    invalid: float,
    check: bool,
    *,
    lowering: bool,
) -> tuple[BoltzmannMachine, Beliefs | None]:
    """Return the machine whose penalties leave the share ``invalid``, and its beliefs.

    A pair's share is about proportional to exp(-strength), so a few steps get there. Without ``lowering``
    penalties only rise above the bounds, which hold for one variable at a time.
    """
    strengths = dict(bounds)
    for _ in range(_PENALTY_ROUNDS):
        machine = penalised(strengths)
        if not (check or strengths):
            return machine, None
        got = beliefs([2] * (machine.n_units - len(auxiliaries)), machine_logs(machine, auxiliaries, encodings))
        changes = {}
        for v, strength in strengths.items():
            share = pair_shares(got, encodings[v]) * len(encodings[v].exclusions) / invalid
            change = np.log(np.maximum(share, _LEAST_SHARE))
            changes[v] = np.maximum(change, -strength if lowering else 0.0)
        if all(np.abs(change).max() < _PENALTY_TOLERANCE for change in changes.values()):
            break
        for v, change in changes.items():
            strengths[v] = strengths[v] + change
    return machine, got


def _encodings(network: BayesianNetwork, simple: Simplified, kind: str) -> tuple[dict[int, Encoding], list[str]]:
    guess = _prior_guess(network)
    encodings: dict[int, Encoding] = {}
    names: list[str] = []
    for v in simple.sampled:
        possible = simple.allowed[v]
        found = encode(len(names), guess[v][possible], kind)
        encodings[v] = found
        patterns = found.patterns()
        for u in range(len(found.units)):
            shown = np.flatnonzero(patterns[:, u])
            label = (
                network.states[v][possible[shown[0]]] if patterns.sum() == 1 or found.kind == "one-hot" else u + 1
            )
            names.append(
                f"{network.names[v]}={label}" if found.kind == "one-hot" else f"{network.names[v]}[{label}]"
            )
    return encodings, names


def _prior_guess(network: BayesianNetwork) -> list[Array]:
    """Return about the prior marginals, parents taken as independent: it only decides which state is all off."""
    guess: list[Array] = [np.zeros(0)] * network.n_variables
    for k in network.order():
        table = network.tables[k]
        for parent in network.scope(k)[:-1]:
            table = np.tensordot(guess[parent], table, axes=(0, 0))
        guess[k] = table
    return guess


def _clusters(factors: Sequence[Factor]) -> list[Factor]:
    """Return the product of the factors as few of them: each is merged into a larger one that holds its scope."""
    merged: list[Factor] = []
    for factor in sorted(factors, key=lambda f: -len(f[0])):
        for k, (scope, table) in enumerate(merged):
            if set(factor[0]) <= set(scope):
                merged[k] = (scope, table * aligned(scope, factor))
                break
        else:
            merged.append(factor)
    return [factor for factor in merged if factor[0]]


def _penalty_strength(v: int, encoding: Encoding, logs: Sequence[Factor], margin: float) -> Array:
    """Return for pairs of units what keeps them from being on together, shape (m, m).

    Beyond ``margin`` it takes the most that the factors may gain by the second unit.
    """
    gain = np.zeros(encoding.n_states)
    reference = int(encoding.state_of[0])
    for scope, table in logs:
        if v in scope:
            moved = np.moveaxis(table, scope.index(v), 0).reshape(encoding.n_states, -1)
            gain += (moved - moved[reference]).max(axis=1)
    m = len(encoding.units)
    patterns = encoding.patterns()
    of_unit = np.array([max(gain[patterns[:, u] == 1].max(initial=0.0), 0.0) for u in range(m)])
    return margin + np.minimum.outer(of_unit, of_unit)


def _machine(terms: Polynomial, auxiliaries: Sequence[Auxiliary], names: Sequence[str]) -> BoltzmannMachine:
    n = len(names) + len(auxiliaries)
    weights, biases = np.zeros((n, n)), np.zeros(n)
    for monomial, value in terms.items():
        if len(monomial) == 1:
            biases[monomial[0]] += value
        elif len(monomial) == 2:
            weights[monomial] += value
            weights[monomial[::-1]] += value
    for k, unit in enumerate(auxiliaries, len(names)):
        biases[k] = unit.bias
        weights[k, list(unit.units)] = weights[list(unit.units), k] = unit.weights
    return BoltzmannMachine(
        weights=weights, biases=biases, names=[*names, *(f"auxiliary {k + 1}" for k in range(len(auxiliaries)))]
    )
