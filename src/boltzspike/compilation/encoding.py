"""Discrete variables as binary units, and tables over variables as polynomials in the units."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from boltzspike.errors import ValidationError, suggestion
from boltzspike.model.description import Array

Monomial = tuple[int, ...]
Polynomial = dict[Monomial, float]
"""``sum_S theta_S prod_{u in S} z_u``, units of a monomial in rising order."""

ENCODINGS = {
    "one-hot": "a unit for each state but the commonest, which is all units off; two units on is no state",
    "domain-wall": "state k is the first k units on; a unit on after one that is off is no state",
    "bits": "the state's number in binary, spare patterns double states; no pattern is invalid",
}


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Encoding:
    """How the states of one variable appear in its units."""

    units: tuple[int, ...]
    """Indices of its units in the machine."""
    state_of: Array
    """State shown by each of the 2^m patterns, unit 0 the most significant bit; -1: none."""
    monomials: tuple[Monomial, ...]
    """Products of the variable's own units (by position) in which the states' indicators are linear."""
    indicators: Array
    """Coefficients, shape (states, monomials): ``1[x = s] = sum_m indicators[s, m] prod z`` on valid patterns."""
    exclusions: tuple[tuple[int, int], ...]
    """Pairs (u, v) of positions for which u on, v as in the pattern below, is invalid; see ``kind``."""
    kind: str

    @property
    def n_states(self) -> int:
        """Number of states."""
        return len(self.indicators)

    @property
    def multiplicity(self) -> Array:
        """Number of patterns that show each state."""
        return np.bincount(self.state_of[self.state_of >= 0])

    def patterns(self) -> Array:
        """Return the pattern that stands for each state, shape (states, m); doubled states by their first one."""
        m = len(self.units)
        codes = np.array([int(np.flatnonzero(self.state_of == s)[0]) for s in range(self.n_states)])
        return (codes[:, None] >> np.arange(m - 1, -1, -1)) & 1

    def decode(self, z: Array) -> Array:
        """Return the states shown by the variable's units, shape (...,) from (..., m); -1 where there is none."""
        m = len(self.units)
        return np.asarray(self.state_of[z.astype(np.int64) @ (1 << np.arange(m - 1, -1, -1))])

    def penalty(self, strength: Array) -> Polynomial:
        """Return the terms that make invalid patterns improbable; ``strength[u, v]`` in log-probability."""
        terms: Polynomial = {}
        for u, v in self.exclusions:
            pair = tuple(sorted((self.units[u], self.units[v])))
            if self.kind == "domain-wall":
                # v is the later unit: on while u is off
                add(terms, {(self.units[v],): -strength[u, v], pair: strength[u, v]})
            else:
                add(terms, {pair: -strength[u, v]})
        return terms


def encode(first_unit: int, weights: Array, kind: str) -> Encoding:
    """Return the encoding of a variable whose states have about these probabilities.

    Two states take one unit, on for the rarer one, whatever ``kind`` says.
    """
    if kind not in ENCODINGS:
        raise ValidationError(f"encoding: none named {kind!r}{suggestion(kind, ENCODINGS)}")
    states = len(weights)
    if kind == "bits" and states > 2:
        m = int(np.ceil(np.log2(states)))
        monomials = tuple(tuple(np.flatnonzero(pattern)) for pattern in itertools.product((0, 1), repeat=m))
        # spare patterns double the commonest states
        spare = np.argsort(-weights, kind="stable")[: 2**m - states]
        state_of = np.concatenate([np.arange(states), spare])
        # Moebius inversion: the coefficient of S in the indicator of one pattern T is (-1)^(|S|-|T|) for T in S
        sets = [set(monomial) for monomial in monomials]
        sign = np.array([[(-1.0) ** (len(s) - len(t)) if t <= s else 0.0 for s in sets] for t in sets])
        # a state shown by two patterns has its probability shared between them, by the energy's being equal
        indicators = np.stack([sign[state_of == s].sum(axis=0) for s in range(states)])
        return Encoding(
            units=tuple(range(first_unit, first_unit + m)), state_of=state_of, monomials=monomials,
            indicators=indicators, exclusions=(), kind=kind,
        )  # fmt: skip
    m = states - 1
    monomials = ((), *((u,) for u in range(m)))
    indicators = np.zeros((states, m + 1))
    state_of = np.full(2**m, -1)
    if kind == "domain-wall" and states > 2:
        for s in range(states):
            if s == 0:
                indicators[s, 0] = 1.0
            else:
                indicators[s, s] = 1.0
            if s < m:
                indicators[s, s + 1] = -1.0
            state_of[sum(1 << (m - 1 - u) for u in range(s))] = s
        exclusions = tuple((u, u + 1) for u in range(m - 1))
    else:
        reference = int(np.argmax(weights))
        others = [s for s in range(states) if s != reference]
        indicators[reference] = [1.0, *[-1.0] * m]
        state_of[0] = reference
        for u, s in enumerate(others):
            indicators[s, u + 1] = 1.0
            state_of[1 << (m - 1 - u)] = s
        exclusions = tuple(itertools.combinations(range(m), 2))
        kind = "one-hot"
    return Encoding(
        units=tuple(range(first_unit, first_unit + m)), state_of=state_of, monomials=monomials,
        indicators=indicators, exclusions=exclusions, kind=kind,
    )  # fmt: skip


def polynomial(scope: Sequence[int], log_table: Array, encodings: Mapping[int, Encoding]) -> Polynomial:
    """Return the polynomial in the units that equals a log table over variables, on valid patterns."""
    coefficients = log_table
    for axis, v in enumerate(scope):
        coefficients = np.moveaxis(np.tensordot(coefficients, encodings[v].indicators, axes=(axis, 0)), -1, axis)
    terms: Polynomial = {}
    scale = max(1.0, float(np.abs(log_table).max(initial=0.0)))
    for position in np.argwhere(np.abs(coefficients) > 1e-13 * scale):
        units = [encodings[v].units[u] for v, index in zip(scope, position) for u in encodings[v].monomials[index]]
        add(terms, {tuple(sorted(units)): float(coefficients[tuple(position)])})
    return terms


def add(terms: Polynomial, more: Mapping[Monomial, float]) -> None:
    """Add polynomials in place."""
    for monomial, value in more.items():
        terms[monomial] = terms.get(monomial, 0.0) + value
