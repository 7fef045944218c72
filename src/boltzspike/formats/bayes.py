"""Bayesian networks as text: BIF, XMLBIF 0.3 and UAI.

The parsers are strict: pgmpy's, which could do this, fills rows that are missing or not numbers with zeros and
skips what it does not understand. The tests hold them against pgmpy's on its bundled networks.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator
from typing import Any, NoReturn
from xml.etree import ElementTree

import numpy as np

from boltzspike.errors import ValidationError, shown, suggestion
from boltzspike.model.bayesnet import MAX_TABLE, BayesianNetwork
from boltzspike.model.description import Array

_TOKEN = re.compile(
    r'\s+|//[^\n]*|/\*.*?(?:\*/|\Z)|"([^"\n]*)"|([{}\[\]()|;,])|([^\s{}\[\]()|;,"]+)|(.)', re.DOTALL
)
_PUNCTUATION = frozenset("{}[]()|;,")


def parse_bif(text: str, where: str) -> BayesianNetwork:
    """Return the network of a BIF text (interchange format 0.15, as the Bayesian network repositories use it)."""
    return _Bif(text, where).network()


class _Bif:
    """A recursive-descent parser, one token ahead."""

    def __init__(self, text: str, where: str) -> None:
        self.where = where
        self.tokens = self._tokens(text)
        self.line = 1
        self.token, self.quoted = "", False
        self.states: dict[str, list[str]] = {}
        self.parents: dict[str, list[str]] = {}
        self.tables: dict[str, Array] = {}
        self.advance()

    def _tokens(self, text: str) -> Iterator[tuple[str, bool, int]]:
        line, counted = 1, 0
        for match in _TOKEN.finditer(text):
            quoted, punctuation, word, stray = match.groups()
            if match.lastindex is None:
                continue
            line += text.count("\n", counted, match.start())
            counted = match.start()
            if stray is not None:
                raise ValidationError(f"{self.where}: line {line}: a quotation mark is never closed")
            token = quoted if quoted is not None else punctuation or word
            yield token, quoted is not None, line
        yield "", False, line

    def fail(self, expected: str) -> NoReturn:
        got = repr(self.token) if self.token or self.quoted else "the end of the file"
        raise ValidationError(f"{self.where}: line {self.line}: must be {expected}, got {got}")

    def advance(self) -> str:
        """Step to the next token; return the one left behind."""
        left = self.token
        self.token, self.quoted, self.line = next(self.tokens)
        return left

    def at(self, *words: str) -> bool:
        return self.token in words and not self.quoted

    def expect(self, word: str) -> None:
        if not self.at(word):
            self.fail(repr(word))
        self.advance()

    def name(self, what: str) -> str:
        if not self.token or (self.token in _PUNCTUATION and not self.quoted):
            self.fail(what)
        return self.advance()

    def known(self, name: str, known: Any, what: str) -> str:
        if name not in known:
            raise ValidationError(
                f"{self.where}: line {self.line}: no {what} named {name!r}{suggestion(name, known)}"
            )
        return name

    def skip_statement(self) -> None:
        """Skip a ``property ...;``."""
        while not self.at(";"):
            if self.at("}") or not self.token:
                self.fail("';' after a property")
            self.advance()
        self.advance()

    def network(self) -> BayesianNetwork:
        self.expect("network")
        while not self.at("{"):
            self.name("the network's name or '{'")
        self.advance()
        while self.at("property"):
            self.skip_statement()
        self.expect("}")
        while self.token:
            if self.at("variable"):
                self.variable()
            elif self.at("probability"):
                self.probability()
            else:
                self.fail("'variable' or 'probability'")
        for variable in self.states:
            if variable not in self.tables:
                raise ValidationError(f"{self.where}: variable {variable!r} has no probability block")
        return _network(self.where, states=self.states, parents=self.parents, tables=self.tables)

    def variable(self) -> None:
        self.advance()
        name = self.name("a variable's name")
        if name in self.states:
            raise ValidationError(f"{self.where}: line {self.line}: variable {name!r} is defined twice")
        self.expect("{")
        while not self.at("}"):
            if self.at("property"):
                self.skip_statement()
                continue
            self.expect("type")
            self.expect("discrete")
            self.expect("[")
            count = self.name("the number of states")
            self.expect("]")
            self.expect("{")
            states = [self.name("a state")]
            while not self.at("}"):
                if self.at(","):
                    self.advance()
                states.append(self.name("a state"))
            self.advance()
            if count != str(len(states)):
                raise ValidationError(
                    f"{self.where}: line {self.line}: variable {name!r} must have {count} states, got {states}"
                )
            self.expect(";")
            self.states[name] = states
        self.advance()
        if name not in self.states:
            raise ValidationError(f"{self.where}: line {self.line}: variable {name!r} has no type")

    def probability(self) -> None:
        self.advance()
        self.expect("(")
        name = self.known(self.name("a variable's name"), self.states, "variable")
        line = self.line
        if name in self.tables:
            raise ValidationError(f"{self.where}: line {line}: the probabilities of {name!r} are given twice")
        parents: list[str] = []
        if self.at("|", ","):
            self.advance()
            while not self.at(")"):
                parents.append(self.known(self.name("a parent's name"), self.states, "variable"))
                if self.at(","):
                    self.advance()
        self.expect(")")
        self.expect("{")
        shape = [len(self.states[v]) for v in (*parents, name)]
        if math.prod(shape) > MAX_TABLE:
            raise ValidationError(
                f"{self.where}: line {line}: {name!r} must have a table of at most {MAX_TABLE} entries, "
                f"got {len(parents)} parents"
            )
        table = np.full(shape, np.nan)
        default = None
        while not self.at("}"):
            if self.at("property"):
                self.skip_statement()
            elif self.at("table"):
                self.advance()
                # the variable itself is the slowest index, its last parent the fastest
                values = self.numbers(table.size, name)
                table = np.moveaxis(np.reshape(values, [shape[-1], *shape[:-1]]), 0, -1).copy()
            elif self.at("default"):
                self.advance()
                default = self.numbers(shape[-1], name)
            elif not self.at("("):
                self.fail("a row '(...)', 'table', 'default', 'property' or '}'")
            else:
                self.advance()
                row = []
                for k, parent in enumerate(parents):
                    if k and self.at(","):
                        self.advance()
                    state = self.known(
                        self.name(f"a state of {parent!r}"), self.states[parent], f"state of {parent!r}"
                    )
                    row.append(self.states[parent].index(state))
                self.expect(")")
                if not np.isnan(table[tuple(row)]).all():
                    raise ValidationError(f"{self.where}: line {self.line}: this row of {name!r} is given twice")
                table[tuple(row)] = self.numbers(shape[-1], name)
        self.advance()
        if default is not None:
            table[np.isnan(table).all(axis=-1)] = default
        for position in np.argwhere(np.isnan(table).any(axis=-1)):
            given = ", ".join(f"{p}={self.states[p][i]}" for p, i in zip(parents, position))
            raise ValidationError(f"{self.where}: line {line}: the probabilities of {name!r} lack the row {given}")
        self.parents[name], self.tables[name] = parents, table

    def numbers(self, count: int, name: str) -> list[float]:
        values: list[float] = []
        word = self.token
        while not self.at(";"):
            if values and self.at(","):
                self.advance()
            word = self.name(f"a number or ';' (probabilities of {name!r})")
            values.append(_number(word, f"{self.where}: line {self.line}"))
            if len(values) > count:
                break
        if len(values) != count or not self.at(";"):
            raise ValidationError(
                f"{self.where}: line {self.line}: must be {count} probabilities of {name!r}, got "
                f"{'more' if len(values) > count else len(values)} (near {word!r})"
            )
        self.advance()
        return values


def parse_xmlbif(text: str, where: str) -> BayesianNetwork:
    """Return the network of an XMLBIF text (version 0.3); the table's fastest index is the variable itself."""
    # a document type may describe elements, but entities are how a small file becomes a large one
    entity = text.find("<!ENTITY")
    if entity >= 0:
        line = text.count("\n", 0, entity) + 1
        raise ValidationError(f"{where}: line {line}: XML entities are not read")
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise ValidationError(f"{where}: not well-formed XML: {error}") from None
    if root.tag != "BIF":
        raise ValidationError(f"{where}: must be XMLBIF with root element BIF, got {root.tag!r}")
    texts: Callable[[ElementTree.Element, str], list[str]] = lambda element, tag: [
        (found.text or "").strip() for found in element.iter(tag)
    ]
    states: dict[str, list[str]] = {}
    parents: dict[str, list[str]] = {}
    tables: dict[str, Array] = {}
    for element in root.iter("VARIABLE"):
        names = texts(element, "NAME")
        if len(names) != 1 or not names[0]:
            raise ValidationError(f"{where}: a VARIABLE must have one NAME, got {names}")
        (name,) = names
        if (kind := element.get("TYPE", "nature")) != "nature":
            raise ValidationError(f"{where}: variable {name!r} must be of TYPE 'nature', got {kind!r}")
        if name in states:
            raise ValidationError(f"{where}: variable {name!r} is defined twice")
        states[name] = texts(element, "OUTCOME") or texts(element, "VALUE")
    for element in root.iter("DEFINITION"):
        names = texts(element, "FOR")
        if len(names) != 1:
            raise ValidationError(f"{where}: a DEFINITION must be FOR one variable, got {names}")
        name, given = names[0], texts(element, "GIVEN")
        for v in (name, *given):
            if v not in states:
                raise ValidationError(f"{where}: DEFINITION of {name!r}: no variable {v!r}{suggestion(v, states)}")
        if name in tables:
            raise ValidationError(f"{where}: the probabilities of {name!r} are given twice")
        shape = [len(states[v]) for v in (*given, name)]
        numbers = " ".join(texts(element, "TABLE")).split()
        values = [_number(word, f"{where}: TABLE of {name!r}") for word in numbers]
        if len(values) != math.prod(shape):
            raise ValidationError(
                f"{where}: TABLE of {name!r}: must be {math.prod(shape)} probabilities, got {len(values)}"
            )
        parents[name], tables[name] = given, np.reshape(values, shape)
    for name in states:
        if name not in tables:
            raise ValidationError(f"{where}: variable {name!r} has no DEFINITION")
    return _network(where, states=states, parents=parents, tables=tables)


def parse_uai(text: str, where: str) -> BayesianNetwork:
    """Return the network of a UAI text of type BAYES; variables are x0, x1, ..., their states 0, 1, ...

    Each function's scope names the parents and, last, the variable; the last index is the fastest.
    """
    words = ((word, line) for line, row in enumerate(text.split("\n"), 1) for word in row.split())
    place = where

    def word(what: str) -> str:
        nonlocal place
        found = next(words, None)
        if found is None:
            raise ValidationError(f"{where}: the file ends where {what} must follow")
        place = f"{where}: line {found[1]}"
        return found[0]

    def count(what: str, most: int) -> int:
        given = word(what)
        if not (given.isascii() and given.isdigit() and int(given) <= most):
            raise ValidationError(f"{place}: {what} must be an integer in 0 .. {most}, got {given!r}")
        return int(given)

    kind = word("BAYES")
    if kind != "BAYES":
        raise ValidationError(f"{where}: must be a UAI file of type BAYES, got {kind!r}")
    n = count("the number of variables", 10**6)
    cardinalities = [count(f"the number of states of variable {k}", MAX_TABLE) for k in range(n)]
    functions = count("the number of functions", 10**6)
    if functions != n:
        raise ValidationError(f"{place}: the number of functions must be {n}, one a variable, got {functions}")
    names = [f"x{k}" for k in range(n)]
    scopes = []
    for f in range(n):
        size = count(f"the number of variables of function {f}", n)
        scopes.append([count(f"a variable of function {f}", n - 1) for _ in range(size)])
    if sorted(scope[-1] if scope else -1 for scope in scopes) != list(range(n)):
        raise ValidationError(f"{where}: each variable must be the last one of one function's scope")
    parents: dict[str, list[str]] = {}
    tables: dict[str, Array] = {}
    for f, scope in enumerate(scopes):
        name = names[scope[-1]]
        shape = [cardinalities[v] for v in scope]
        entries = count(f"the number of entries of function {f}", MAX_TABLE)
        if entries != math.prod(shape):
            raise ValidationError(
                f"{place}: the number of entries of function {f} must be {math.prod(shape)}, got {entries}"
            )
        values = []
        for _ in range(entries):
            given = word(f"an entry of function {f} ({name})")
            values.append(_number(given, place))
        tables[name] = np.reshape(values, shape)
        parents[name] = [names[v] for v in scope[:-1]]
        _check_order(np.array(values), shape[-1], f"{place}: function {f} ({name})")
    left = next(words, None)
    if left is not None:
        raise ValidationError(f"{where}: line {left[1]}: must be the end of the file, got {left[0]!r}")
    states = {name: [str(s) for s in range(c)] for name, c in zip(names, cardinalities)}
    return _network(where, states=states, parents=parents, tables=tables)


def _check_order(values: Array, states: int, where: str) -> None:
    """Raise where a table sums to one over its slowest index, as pgmpy's writer has it, and not its fastest."""
    sums_to_one = lambda sums: bool(np.allclose(sums, 1, atol=1e-3))
    slowest, fastest = values.reshape(states, -1).sum(axis=0), values.reshape(-1, states).sum(axis=1)
    if sums_to_one(slowest) and not sums_to_one(fastest):
        raise ValidationError(
            f"{where} must have the variable itself as the fastest index of its table, got it as the slowest: "
            "pgmpy's UAIWriter does so; write BIF, or take formats.bayes.from_pgmpy"
        )


def from_pgmpy(model: Any) -> BayesianNetwork:
    """Return the network of a pgmpy ``DiscreteBayesianNetwork``.

    Raises
    ------
    ValidationError
        Naming the variable at fault.
    """
    tables = {str(cpd.variable): cpd for cpd in model.get_cpds()}
    for node in model.nodes():
        if str(node) not in tables:
            raise ValidationError(f"pgmpy model: variable {str(node)!r} has no table")
    return BayesianNetwork(
        states={name: [str(s) for s in cpd.state_names[cpd.variable]] for name, cpd in tables.items()},
        parents={name: [str(p) for p in cpd.variables[1:]] for name, cpd in tables.items()},
        tables={name: np.moveaxis(np.asarray(cpd.values, dtype=float), 0, -1) for name, cpd in tables.items()},
    )


def _network(where: str, **fields: Any) -> BayesianNetwork:
    try:
        return BayesianNetwork(**fields)
    except ValidationError as error:
        raise ValidationError(f"{where}: {error}") from None


def _number(word: str, where: str) -> float:
    try:
        value = float(word)
    except ValueError:
        raise ValidationError(f"{where}: must be a number, got {shown(word)}") from None
    if not math.isfinite(value):
        raise ValidationError(f"{where}: must be a finite number, got {shown(word)}")
    return value
