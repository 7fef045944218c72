"""Ising models, QUBOs and graphs: to Boltzmann machines and back.

With an inverse temperature beta, ``p(s) ~ exp(-beta E(s))``:

- Ising, s = +-1: ``E = sum_i h_i s_i + sum_{i<j} J_ij s_i s_j``; with ``s = 2 z - 1`` that is a machine with
  ``W_ij = -4 beta J_ij`` and ``b_i = 2 beta (sum_j J_ij - h_i)``.
- QUBO, z = 0/1: ``E = sum_i q_i z_i + sum_{i<j} q_ij z_i z_j``: ``W_ij = -beta q_ij``, ``b_i = -beta q_i``.

Constant offsets of the energy don't matter to the distribution and are dropped on the way in.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from boltzspike.errors import MissingDependency, ValidationError, is_number, require
from boltzspike.model.boltzmann import BoltzmannMachine
from boltzspike.model.description import Array, frozen_array

MAX_UNITS = 2**14
"""Units that a text may name: their dense weights take 2 GiB."""


def from_ising(h: Array, couplings: Array, *, beta: float = 1.0, names: Any = None) -> BoltzmannMachine:
    """Return the machine of an Ising model.

    Parameters
    ----------
    h
        Fields, shape (n,).
    couplings
        J, shape (n, n), symmetric, zero diagonal; each pair counts once.
    beta
        Inverse temperature.

    Examples
    --------
    >>> float(from_ising([0.5, 0.0], [[0, -1], [-1, 0]]).weights[0, 1])
    4.0
    """
    _check_beta(beta)
    h, j = frozen_array(h, "from_ising.h", ndim=1), frozen_array(couplings, "from_ising.couplings", ndim=2)
    require(j.shape == (len(h), len(h)), "from_ising.couplings", f"of shape {(len(h), len(h))}", j.shape)
    return BoltzmannMachine(weights=-4 * beta * j, biases=2 * beta * (j.sum(axis=1) - h), names=names)


def to_ising(machine: BoltzmannMachine, *, beta: float = 1.0) -> tuple[Array, Array, float]:
    """Return (h, J, offset) of the Ising model: ``beta (E_ising(s) + offset)`` is the machine's energy of z."""
    _check_beta(beta)
    w, b = np.asarray(machine.weights), np.asarray(machine.biases)
    h = -(b / 2 + w.sum(axis=1) / 4) / beta
    return h, -w / (4 * beta), float(-(b.sum() / 2 + w.sum() / 8) / beta)


def from_qubo(q: Array, *, beta: float = 1.0, names: Any = None) -> BoltzmannMachine:
    """Return the machine of a QUBO ``E = z^T Q z``, shape (n, n), triangular or not.

    Examples
    --------
    >>> from_qubo([[1.0, -2.0], [0.0, 0.5]]).biases.tolist()
    [-1.0, -0.5]
    """
    _check_beta(beta)
    q = frozen_array(q, "from_qubo.q", ndim=2)
    require(q.shape[0] == q.shape[1], "from_qubo.q", "square", q.shape)
    off = q - np.diag(np.diagonal(q))
    return BoltzmannMachine(weights=-beta * (off + off.T), biases=-beta * np.diagonal(q), names=names)


def to_qubo(machine: BoltzmannMachine, *, beta: float = 1.0) -> Array:
    """Return the upper triangular Q with ``beta z^T Q z`` the machine's energy, shape (n, n)."""
    _check_beta(beta)
    return -(np.triu(machine.weights, 1) + np.diag(machine.biases)) / beta


def from_bqm(bqm: Any, *, beta: float = 1.0) -> BoltzmannMachine:
    """Return the machine of a dimod ``BinaryQuadraticModel`` of either vartype, named by its labels."""
    labels = list(bqm.variables)
    require(len(labels) > 0, "bqm", "of at least one variable", "none")
    _check_beta(beta)
    position = {label: k for k, label in enumerate(labels)}
    entries = {(position[label], position[label]): value for label, value in bqm.linear.items()}
    entries |= {(position[u], position[v]): value for (u, v), value in bqm.quadratic.items()}
    return _of_entries(entries, spin=bqm.vartype.name == "SPIN", beta=beta, names=_names(labels))


def to_bqm(machine: BoltzmannMachine, *, beta: float = 1.0, vartype: Literal["SPIN", "BINARY"] = "SPIN") -> Any:
    """Return a dimod ``BinaryQuadraticModel`` over the machine's names: ``beta E`` is the machine's energy."""
    try:
        import dimod
    except ImportError:
        raise MissingDependency('to_bqm needs dimod: pip install "boltzspike[ising]"') from None
    require(vartype in ("SPIN", "BINARY"), "to_bqm.vartype", "'SPIN' or 'BINARY'", vartype)
    q = to_qubo(machine, beta=beta)
    names = list(machine.names or ())
    linear = dict(zip(names, np.diagonal(q).tolist()))
    quadratic = {(names[i], names[j]): float(q[i, j]) for i, j in np.argwhere(np.triu(q, 1))}
    bqm = dimod.BinaryQuadraticModel(linear, quadratic, 0.0, "BINARY")
    return bqm.change_vartype(dimod.as_vartype(vartype), inplace=False)


def from_networkx(graph: Any, *, beta: float = 1.0, coupling: str = "J", field: str = "h") -> BoltzmannMachine:
    """Return the Ising machine of a networkx graph: edges have ``coupling`` (else 1), nodes ``field`` (else 0).

    A graph whose edges have no ``coupling`` but networkx's ``weight`` is refused: name the one that is meant.
    """
    require(
        not graph.is_directed() and not graph.is_multigraph(), "graph", "undirected, without multiple edges", graph
    )
    labels = list(graph.nodes)
    require(len(labels) > 0, "graph", "of at least one node", "none")
    position = {label: k for k, label in enumerate(labels)}
    h = np.array([_real(graph.nodes[v].get(field, 0.0), f"graph node {v!r}, {field}") for v in labels])
    j = np.zeros((len(labels), len(labels)))
    coupled = any(coupling in data for _, _, data in graph.edges(data=True))
    for u, v, data in graph.edges(data=True):
        where = f"graph edge ({u!r}, {v!r})"
        require(u != v, where, "between two nodes", "a loop")
        if not coupled and "weight" in data:
            raise ValidationError(f"{where}: must have {coupling!r}, got 'weight': coupling='weight' takes that")
        j[position[u], position[v]] = j[position[v], position[u]] = _real(data.get(coupling, 1.0), where)
    return from_ising(h, j, beta=beta, names=_names(labels))


def to_networkx(machine: BoltzmannMachine, *, beta: float = 1.0, coupling: str = "J", field: str = "h") -> Any:
    """Return the machine as a networkx graph of its Ising form; zero couplings are no edges."""
    try:
        import networkx
    except ImportError:
        raise MissingDependency('to_networkx needs networkx: pip install "boltzspike[ising]"') from None
    h, j, _ = to_ising(machine, beta=beta)
    names = list(machine.names or ())
    graph = networkx.Graph()
    graph.add_nodes_from((name, {field: float(value)}) for name, value in zip(names, h))
    graph.add_edges_from((names[a], names[b], {coupling: float(j[a, b])}) for a, b in np.argwhere(np.triu(j)))
    return graph


def parse_coo(text: str, where: str, *, beta: float = 1.0) -> BoltzmannMachine:
    """Return the machine of a dimod COO text; its first line is ``# vartype=SPIN`` or ``BINARY``."""
    header = re.match(r"\s*#.*?vartype[:=]\s*(\w+)", text)
    spin = header is not None and header.group(1).upper() == "SPIN"
    if header is None or not (spin or header.group(1).upper() == "BINARY"):
        raise ValidationError(f"{where}: line 1: must be '# vartype=SPIN' or '# vartype=BINARY'")
    entries = _entries(text, where, skip=lambda line: line.startswith("#"))
    return _assembled({(i, j): v for i, j, v, _ in _once(entries, where)}, where, spin=spin, beta=beta)


def parse_qubo(text: str, where: str, *, beta: float = 1.0) -> BoltzmannMachine:
    """Return the machine of a ``.qubo`` text: ``p qubo 0 nodes diagonals couplers``, then entries."""
    header = next((line.split() for line in text.splitlines() if line.startswith("p")), [])
    if len(header) != 6 or header[1] != "qubo" or not all(word.isdigit() for word in header[3:]):
        raise ValidationError(
            f"{where}: must have a line 'p qubo 0 nodes diagonals couplers', got {' '.join(header)[:60]!r}"
        )
    nodes, diagonals, couplers = map(int, header[3:])
    entries = _once(_entries(text, where, skip=lambda line: line[0] in "cp"), where)
    own = sum(i == j for i, j, _, _ in entries)
    for i, j, _, line in entries:
        if max(i, j) >= nodes:
            raise ValidationError(f"{where}: line {line}: must name nodes below {nodes}, got {max(i, j)}")
    if (own, len(entries) - own) != (diagonals, couplers):
        raise ValidationError(
            f"{where}: must have {diagonals} diagonals and {couplers} couplers, got {own} and {len(entries) - own}"
        )
    return _assembled({(i, j): v for i, j, v, _ in entries}, where, spin=False, beta=beta, count=nodes)


def parse_rud(text: str, where: str, *, beta: float = 1.0) -> BoltzmannMachine:
    """Return the machine of a Gset, ``.mc`` or ``.rud`` text: ``nodes edges``, then ``i j weight``.

    Nodes count from 1. The graph's maximum cut is the ground state of the Ising model with J = weight, h = 0.
    """
    first = next((k for k, line in enumerate(text.splitlines()) if line.strip()), 0)
    lines = text.splitlines()
    header = lines[first].split()
    nodes, edges = int(header[0]), int(header[1])
    body = "\n".join(["", *lines[:first], *lines[first + 1 :]])
    entries = _once(_entries(body, where, skip=lambda line: False, weight=1.0), where)
    if len(entries) != edges:
        raise ValidationError(f"{where}: must have {edges} edges, got {len(entries)}")
    for i, j, _, line in entries:
        if not (1 <= i <= nodes and 1 <= j <= nodes and i != j):
            raise ValidationError(f"{where}: line {line}: must join two nodes of 1 .. {nodes}, got {i} {j}")
    return _assembled(
        {(i - 1, j - 1): v for i, j, v, _ in entries}, where, spin=True, beta=beta, count=nodes, first=1
    )


Entry = tuple[int, int, float, int]


def _entries(
    text: str, where: str, *, skip: Callable[[str], bool], weight: float | None = None
) -> Iterator[Entry]:
    """Yield (i, j, value, line) of the lines that hold entries; ``weight``: where the value may be left out."""
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split()
        if not words or skip(line.strip()):
            continue
        if len(words) == 2 and weight is not None:
            words.append(str(weight))
        try:
            i, j, value = int(words[0]), int(words[1]), float(words[2])
            ok = len(words) == 3 and min(i, j) >= 0 and math.isfinite(value)
        except (ValueError, IndexError):
            ok = False
        if not ok:
            raise ValidationError(f"{where}: line {number}: must be 'i j value', got {line.strip()[:60]!r}")
        if max(i, j) > MAX_UNITS:
            raise ValidationError(f"{where}: line {number}: must name at most {MAX_UNITS} units, got {max(i, j)}")
        yield i, j, value, number


def _once(entries: Iterator[Entry], where: str) -> list[Entry]:
    seen: dict[tuple[int, int], int] = {}
    kept = []
    for i, j, value, line in entries:
        before = seen.setdefault((min(i, j), max(i, j)), line)
        if before != line:
            raise ValidationError(f"{where}: line {line}: the pair {i} {j} is given twice, first in line {before}")
        kept.append((i, j, value, line))
    return kept


def _assembled(
    entries: Mapping[tuple[int, int], float],
    where: str,
    *,
    spin: bool,
    beta: float,
    count: int = 0,
    first: int = 0,
) -> BoltzmannMachine:
    n = max([count, *(max(pair) + 1 for pair in entries)])
    require(0 < n <= MAX_UNITS, where, f"of 1 .. {MAX_UNITS} units", n)
    _check_beta(beta)
    try:
        return _of_entries(entries, spin=spin, beta=beta, names=[str(k + first) for k in range(n)])
    except ValidationError as error:
        raise ValidationError(f"{where}: {error}") from None


def _of_entries(
    entries: Mapping[tuple[int, int], float], *, spin: bool, beta: float, names: Sequence[str]
) -> BoltzmannMachine:
    """Return the machine of fields (i, i) and couplings (i, j), each pair once, with one matrix in memory."""
    of_field, of_coupling = (-2 * beta, -4 * beta) if spin else (-beta, -beta)
    biases, weights = np.zeros(len(names)), np.zeros((len(names), len(names)))
    for (i, j), value in entries.items():
        if i == j:
            biases[i] = of_field * value
        else:
            weights[i, j] = weights[j, i] = of_coupling * value
    if spin:
        biases -= weights.sum(axis=1) / 2
    return BoltzmannMachine(weights=weights, biases=biases, names=names)


def _real(value: Any, where: str) -> float:
    require(is_number(value), where, "a finite number", value)
    return float(value)


def _names(labels: list[Hashable]) -> list[str]:
    """Return distinct names of labels that may be anything."""
    names = [str(label) for label in labels]
    return names if len(set(names)) == len(names) and all(names) else [repr(label) for label in labels]


def _check_beta(beta: float) -> None:
    require(math.isfinite(beta) and beta > 0, "beta", "> 0", beta)
