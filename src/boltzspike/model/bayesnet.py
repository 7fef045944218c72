"""The target in the user's words: a Bayesian network over discrete variables, and evidence about it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from boltzspike.errors import ValidationError, require, suggestion
from boltzspike.model.description import Array, Given, Saved, description, frozen_array, set_field, unit_names

MAX_TABLE = 2**22
"""Largest number of entries of one conditional probability table (32 MB): 21 binary parents."""
_ROUNDING = 1e-3
"""Files carry rounded numbers: rows may miss one by this much, and are then made to sum to one."""

Evidence = Mapping[str, "str | int"]
"""``{variable: state}``, a state by its name or index."""


@description
class BayesianNetwork(Saved):
    """Distribution over discrete variables: ``p(x) = prod_v p(x_v | x_parents(v))``.

    Examples
    --------
    >>> network = BayesianNetwork(
    ...     states={"rain": ["yes", "no"], "wet": ["yes", "no"]},
    ...     parents={"wet": ["rain"]},
    ...     tables={"rain": [0.2, 0.8], "wet": [[0.9, 0.1], [0.1, 0.9]]},
    ... )
    >>> network.names, network.cardinalities
    (('rain', 'wet'), (2, 2))
    """

    states: Given
    """Names of the states: ``{variable: [state, ...]}``, or one sequence a variable in the order of ``names``."""
    parents: Given
    """Parents: ``{variable: [parent, ...]}`` (variables without parents may be left out), or one sequence each."""
    tables: Given
    """Conditional probabilities, one array a variable, shape (states of parent 1, ..., states of the variable):
    the last axis sums to one."""
    names: Given = None
    """Names of the variables; ``None``: the keys of ``states``."""

    def __post_init__(self) -> None:
        """Validate."""
        where = "BayesianNetwork"
        given = self.names
        if given is None and isinstance(self.states, Mapping):
            given = tuple(self.states)
        states = _per_variable(self.states, given, f"{where}.states")
        require(len(states) > 0, f"{where}.states", "of at least one variable", "none")
        names = unit_names(given, len(states), where, "x")
        parents = _per_variable(self.parents, names, f"{where}.parents", missing=())
        tables = _per_variable(self.tables, names, f"{where}.tables")
        set_field(self, "names", names)
        set_field(self, "states", tuple(_states(s, f"{where}.states[{n!r}]") for n, s in zip(names, states)))
        set_field(self, "parents", tuple(_parents(n, p, names, where) for n, p in zip(names, parents)))
        _check_acyclic(names, self.parents, where)
        set_field(self, "tables", tuple(self._table(k, t) for k, t in enumerate(tables)))

    def _table(self, k: int, table: object) -> Array:
        name, parents = self.names[k], self.parents[k]
        where = f"BayesianNetwork.tables[{name!r}]"
        shape = tuple(len(self.states[self.names.index(v)]) for v in (*parents, name))
        require(
            math.prod(shape) <= MAX_TABLE, where, f"of at most {MAX_TABLE} entries",
            f"{len(parents)} parents",
        )  # fmt: skip
        array = frozen_array(table, where, ndim=len(shape))
        require(array.shape == shape, where, f"of shape {shape}: {', '.join((*parents, name))}", array.shape)
        for position in np.argwhere((array < 0) | (array > 1)):
            entry = tuple(int(i) for i in position)
            require(False, f"{where}{list(entry)}", "a probability in 0 .. 1", float(array[entry]))
        sums = array.sum(axis=-1)
        for position in np.argwhere(np.abs(sums - 1) > _ROUNDING):
            row = tuple(int(i) for i in position)
            given = ", ".join(f"{p}={self.states[self.names.index(p)][i]}" for p, i in zip(parents, row))
            place = f"{where}, row {given}" if given else where
            require(False, place, "a row that sums to one", float(sums[row]))
        array = array / sums[..., None]
        array.setflags(write=False)
        return array

    @property
    def n_variables(self) -> int:
        """Number of variables."""
        return len(self.names)

    @property
    def cardinalities(self) -> tuple[int, ...]:
        """Number of states of each variable."""
        return tuple(len(states) for states in self.states)

    def index(self, variable: str) -> int:
        """Return the index of a variable, or raise ``ValidationError`` naming the closest."""
        if variable not in self.names:
            raise ValidationError(f"no variable named {variable!r}{suggestion(str(variable), self.names)}")
        return self.names.index(variable)

    def require_variables(self, names: Sequence[str], where: str) -> None:
        """Raise unless these are names of variables, each once."""
        for k, name in enumerate(names):
            if name not in self.names:
                raise ValidationError(f"{where}: no variable named {name!r}{suggestion(str(name), self.names)}")
            require(name not in names[:k], where, "of different variables", list(names))

    def scope(self, k: int) -> tuple[int, ...]:
        """Return the variables that table ``k`` is over, in the order of its axes."""
        return (*(self.names.index(p) for p in self.parents[k]), k)

    def order(self) -> list[int]:
        """Return the variables' indices, parents before children."""
        done: list[int] = []
        waiting = list(range(self.n_variables))
        while waiting:
            ready = [k for k in waiting if all(j in done for j in self.scope(k)[:-1])]
            done += ready
            waiting = [k for k in waiting if k not in ready]
        return done

    def evidence_indices(self, evidence: Evidence) -> dict[int, int]:
        """Return evidence as ``{variable index: state index}``, every name checked."""
        require(isinstance(evidence, Mapping), "evidence", "{variable: state}", evidence)
        found: dict[int, int] = {}
        for variable, state in evidence.items():
            try:
                k = self.index(variable)
            except ValidationError as error:
                raise ValidationError(f"evidence: {error}") from None
            states, where = self.states[k], f"evidence[{variable!r}]"
            if isinstance(state, str):
                if state not in states:
                    raise ValidationError(f"{where}: no state named {state!r}{suggestion(state, states)}")
                found[k] = states.index(state)
            else:
                whole = isinstance(state, int | np.integer) and not isinstance(state, bool)
                require(
                    whole and 0 <= int(state) < len(states), where, f"one of {list(states)} or its index", state
                )
                found[k] = int(state)
        return found

    def likelihood_arrays(self, likelihoods: Mapping[str, object]) -> dict[int, Array]:
        """Return soft evidence ``{variable: {state: likelihood}}`` (or one array) as arrays by variable index."""
        require(isinstance(likelihoods, Mapping), "likelihoods", "{variable: {state: likelihood}}", likelihoods)
        found: dict[int, Array] = {}
        for variable, given in likelihoods.items():
            try:
                k = self.index(variable)
            except ValidationError as error:
                raise ValidationError(f"likelihoods: {error}") from None
            where = f"likelihoods[{variable!r}]"
            if isinstance(given, Mapping):
                for state in given:
                    known = suggestion(str(state), self.states[k])
                    require(state in self.states[k], where, f"by states of the variable{known}", state)
                given = [given.get(state, 1.0) for state in self.states[k]]
            array = frozen_array(given, where, ndim=1)
            require(array.shape == (len(self.states[k]),), where, f"{len(self.states[k])} numbers", array.shape)
            require(bool((array >= 0).all() and array.max() > 0), where, ">= 0, and > 0 somewhere", array.tolist())
            found[k] = array
        return found


def _per_variable(given: object, names: Sequence[str] | None, where: str, missing: object = None) -> list[object]:
    """Return one entry a variable from a mapping by names or a sequence in their order."""
    if isinstance(given, Mapping):
        known = list(names or given)
        for name in given:
            if name not in known:
                raise ValidationError(f"{where}: no variable named {name!r}{suggestion(str(name), known)}")
        for name in known:
            require(name in given or missing is not None, where, "given for every variable", f"none for {name!r}")
        return [given.get(name, missing) for name in known]
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise ValidationError(f"{where}: must be a mapping by variable or a sequence, got {given!r}")
    if names is not None:
        require(len(given) == len(names), where, f"one a variable ({len(names)})", f"{len(given)}")
    return list(given)


def _states(given: object, where: str) -> tuple[str, ...]:
    ok = isinstance(given, Sequence) and not isinstance(given, str)
    require(ok and all(isinstance(s, str) and s for s in given), where, "a sequence of names", given)  # type: ignore[attr-defined]
    states: tuple[str, ...] = tuple(given)  # type: ignore[arg-type]  # a sequence, just checked
    require(len(states) >= 1, where, "at least one state", "none")
    require(len(set(states)) == len(states), where, "distinct", states)
    return states


def _parents(name: str, given: object, names: Sequence[str], where: str) -> tuple[str, ...]:
    place = f"{where}.parents[{name!r}]"
    require(isinstance(given, Sequence) and not isinstance(given, str), place, "a sequence of names", given)
    parents: tuple[str, ...] = tuple(given)  # type: ignore[arg-type]  # a sequence, just checked
    for parent in parents:
        if parent not in names:
            raise ValidationError(f"{place}: no variable named {parent!r}{suggestion(str(parent), names)}")
    require(len(set(parents)) == len(parents), place, "distinct", parents)
    return parents


def _check_acyclic(names: Sequence[str], parents: Sequence[Sequence[str]], where: str) -> None:
    waiting = {name: set(p) for name, p in zip(names, parents)}
    while waiting:
        free = [name for name, p in waiting.items() if not p & waiting.keys()]
        if not free:
            # every variable left has a parent left: following parents must come round
            path = [next(iter(waiting))]
            while path[-1] not in path[:-1]:
                path.append(next(p for p in waiting[path[-1]] if p in waiting))
            cycle = path[path.index(path[-1]) :]
            raise ValidationError(f"{where}.parents: must be free of cycles, got {' <- '.join(cycle)}")
        for name in free:
            del waiting[name]
