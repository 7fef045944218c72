"""How far a compiled Boltzmann machine is from the exact posterior, by elimination over its units: no sampling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from boltzspike.compilation.auxiliary import Auxiliary, settings
from boltzspike.compilation.encoding import Encoding
from boltzspike.compilation.simplify import Simplified
from boltzspike.model.boltzmann import BoltzmannMachine
from boltzspike.model.description import Array
from boltzspike.theory.elimination import Beliefs, Factor, beliefs, logarithms


def machine_logs(
    machine: BoltzmannMachine, auxiliaries: Sequence[Auxiliary], encodings: Mapping[int, Encoding]
) -> list[Factor]:
    """Return the machine as log tables over its units, the auxiliary ones summed out."""
    n = machine.n_units - len(auxiliaries)
    logs: list[Factor] = [((k,), np.array([0.0, machine.biases[k]])) for k in range(n)]
    for j, k in np.argwhere(np.triu(machine.weights[:n, :n])):
        logs.append(((int(j), int(k)), np.array([[0.0, 0.0], [0.0, machine.weights[j, k]]])))
    for unit in auxiliaries:
        m = len(unit.units)
        logs.append((unit.units, unit.value(settings(m)).reshape((2,) * m)))
    # zeros over the units of a variable keep them in one clique
    logs += [(e.units, np.zeros((2,) * len(e.units))) for e in encodings.values()]
    return logs


def invalid_share(got: Beliefs, encoding: Encoding) -> float:
    """Return the probability that a variable's units show no state."""
    return float(got.marginal(encoding.units).ravel()[encoding.state_of < 0].sum())


def pair_shares(got: Beliefs, encoding: Encoding) -> Array:
    """Return for each pair that excludes each other the probability that it shows, shape (m, m); 0 elsewhere."""
    m = len(encoding.units)
    table = got.marginal(encoding.units)
    shares = np.zeros((m, m))
    for u, v in encoding.exclusions:
        index: list[int | slice] = [slice(None)] * m
        index[u], index[v] = (0, 1) if encoding.kind == "domain-wall" else (1, 1)
        shares[u, v] = shares[v, u] = table[tuple(index)].sum()
    return shares


def machine_errors(
    logs: Sequence[Factor], got: Beliefs, simple: Simplified, encodings: Mapping[int, Encoding]
) -> tuple[float, float]:
    """Return the machine's largest marginal error and its D_KL from the exact posterior."""
    exact = beliefs(
        [len(possible) if v in encodings else 1 for v, possible in enumerate(simple.allowed)],
        logarithms(simple.factors),
    )
    error = 0.0
    for v, e in encodings.items():
        flat = got.marginal(e.units).ravel()
        shown = e.state_of >= 0
        p = np.bincount(e.state_of[shown], weights=flat[shown], minlength=e.n_states)
        error = max(error, float(np.abs(p / p.sum() - exact.marginal([v])).max()))
    return error, _divergence(logs, got.log_z, exact, simple, encodings)


def _divergence(
    logs: Sequence[Factor], log_z: float, exact: Beliefs, simple: Simplified, encodings: Mapping[int, Encoding]
) -> float:
    """Return D_KL(exact || machine) from the machine's log tables over units: both are sums over cliques.

    A state that several patterns show counts as its first one times their number.
    """
    owner = {u: v for v, e in encodings.items() for u in e.units}
    patterns = {v: e.patterns() for v, e in encodings.items()}
    expected = log_z - exact.log_z
    for scope, table in simple.factors:
        p = exact.marginal(scope)
        expected += float(np.sum(p[p > 0] * np.log(table[p > 0])))
    over_variables: dict[tuple[int, ...], Array] = {}
    for units, table in logs:
        variables = tuple(dict.fromkeys(owner[u] for u in units))
        shape = [encodings[v].n_states for v in variables]
        states = np.indices(shape)
        index = []
        for u in units:
            axis = variables.index(owner[u])
            position = encodings[owner[u]].units.index(u)
            index.append(patterns[owner[u]][states[axis], position])
        over_variables[variables] = over_variables.get(variables, np.zeros(shape)) + table[tuple(index)]
    for v, e in encodings.items():
        over_variables[(v,)] = over_variables[(v,)] + np.log(e.multiplicity)
    for variables, table in over_variables.items():
        expected -= float(np.sum(exact.marginal(variables) * table))
    return expected
