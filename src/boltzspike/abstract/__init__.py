"""Samplers without membranes: Gibbs, and the abstract spiking neurons of Buesing et al.

They sample the machine itself, so they need no calibration and no translation: the yardstick of what LIF neurons
cost, the reference where nothing can be enumerated, and, with traces and another response function, the
idealisations that an error budget exchanges one by one.

Both share the engines' runner: ``init`` gives a state, ``run`` advances it. A step of ``Gibbs`` is one sweep, a
step of ``Neural`` one time step, in which every unit is updated once in order.

Chains share nothing but the order of a random scan; given the order each keeps the distribution, so their averages
are uncorrelated. Random words are a function of (seed, chain, step, unit) (``streams``): neither threads nor
splits of a run nor other chains change a bit.

J. Buesing, J. Bill, B. Nessler, W. Maass, "Neural dynamics as sampling", PLoS Comput. Biol. 7 (2011) e1002211.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import expit

from boltzspike import streams
from boltzspike.abstract.lanes import ROW, TILE, UNROLL, random_kernel, sequential_kernel
from boltzspike.abstract.serial import run_chain
from boltzspike.errors import require
from boltzspike.samples import Joining, PackedStates, Record, Samples
from boltzspike.simd import instruction_set

Array = np.ndarray
Scan = Literal["sequential", "random"]
Trace = Literal["rectangular", "renewing", "additive"]
TRACES = ("rectangular", "renewing", "additive")

_RESPONSE_GRID = np.linspace(-12.0, 12.0, 4801)


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """State before a step; arrays are (chains, units)."""

    seed: int
    step: int
    z: Array
    age: Array
    """Steps that a unit stays refractory, 0 if it is not (``Neural``)."""
    trace: Array
    """What is left of the last spikes (``Neural`` with traces)."""


class _Runner:
    """What the samplers share: the machine, and passes over blocks of chains."""

    approximation = "exact updates of the machine"
    tau: int = 1
    dt: float

    def __init__(self, weights: Array, biases: Array, *, threads: int = 1) -> None:
        """``biases`` (n,) are shared; with (chains, n) each chain samples a machine of its own."""
        self.weights, self.biases = np.asarray(weights, dtype=np.float64), np.array(biases, dtype=np.float64)
        self.threads, self.cpu = threads, instruction_set()

    @property
    def n_units(self) -> int:
        """Number of units."""
        return self.biases.shape[-1]

    def init(self, *, seed: int, chains: int) -> State:
        """Start with every unit 0."""
        own = len(self.biases) if self.biases.ndim == 2 else chains
        require(chains == own, "chains", f"{own}, as many as there are biases", chains)
        shape = (chains, self.n_units)
        return State(
            seed=streams.check_seed(seed),
            step=0,
            z=np.zeros(shape, dtype=np.int8),
            age=np.zeros(shape, dtype=np.int32),
            trace=np.zeros(shape),
        )

    def run(self, state: State, steps: int, record: Record) -> tuple[Samples, State]:
        """Advance by ``steps``; ``state`` is left as it was. run(a) then run(b) is run(a + b), bit for bit."""
        every = record.states_every or 0
        after = State(
            seed=state.seed,
            step=state.step + steps,
            z=state.z.copy(),
            age=state.age.copy(),
            trace=state.trace.copy(),
        )
        chains, n = state.z.shape
        draws = after.step // every - state.step // every if every else 0
        states = np.zeros((chains, draws, n), dtype=np.int8)
        key = np.array([state.seed & 0xFFFFFFFF, state.seed >> 32], dtype=np.uint64)
        blocks = [slice(first, min(first + ROW, chains)) for first in range(0, chains, ROW)]

        def run_block(block: slice) -> None:
            self._run_block(block, state.step, steps, key, after, every, states[block])

        if len(blocks) > 1 and self.threads > 1:
            with ThreadPoolExecutor(self.threads) as pool:
                list(pool.map(run_block, blocks))
        else:
            for block in blocks:
                run_block(block)
        packed = PackedStates.of(states) if every else None
        samples = Samples(start=state.step, stop=after.step, dt=self.dt, packed=packed)
        return samples, after

    def _run_block(
        self, block: slice, start: int, steps: int, key: Array, after: State, every: int, states: Array
    ) -> None:
        """Advance the chains of a block; each kind of sampler has its own way."""
        raise NotImplementedError


class _Lanes(_Runner):
    """The exact samplers: sixteen chains a block (``lanes``)."""

    def _prepare(self, order: Array, *, random: bool) -> None:
        """Lay the machine out in the order of updates, filled up to whole tiles with units that couple to none."""
        n, shift = self.n_units, np.log(self.tau)
        padded = -(-n // TILE) * TILE
        self._order, self._random = order, random
        self._tables: tuple[Array, ...]
        self._places = (np.argsort(order) * ROW).astype(np.int32)
        self._biases = np.zeros((len(np.atleast_2d(self.biases)), padded))
        self._biases[:, :n] = np.atleast_2d(self.biases)[:, order] - shift
        weights = np.zeros((padded, padded), dtype=np.float32)
        weights[:n, :n] = self.weights[np.ix_(order, order)]
        if random:
            self._tables = _neighbour_lists(weights[:, None], multiple=UNROLL)
            self._kernel = random_kernel()
            return
        tiles = weights.reshape(-1, TILE, padded)
        within = np.stack([tile[:, TILE * t : TILE * (t + 1)] for t, tile in enumerate(tiles)])
        self._tables = *_neighbour_lists(tiles), within.ravel()
        self._kernel = sequential_kernel(refractory=self.tau > 1)

    def _run_block(
        self, block: slice, start: int, steps: int, key: Array, after: State, every: int, states: Array
    ) -> None:
        chains = np.arange(block.start, block.start + ROW, dtype=np.int32)
        biases = _by_lane(self._biases if len(self._biases) == 1 else self._biases[block])
        z = self._ordered(after.z[block])
        age = self._ordered(after.age[block]).astype(np.int32)
        run = (chains, key, biases, self._places, *self._tables, every, states)
        if self._random:
            self._kernel(start, steps, z, *run)
        else:
            self._kernel(start, steps, self.tau, z, age, *run)
        for values, lanes in ((after.z, z), (after.age, age)):
            values[block] = lanes.reshape(-1, ROW)[self._places // ROW, : block.stop - block.start].T

    def _ordered(self, values: Array) -> Array:
        ordered = np.zeros((len(values), self._biases.shape[1]))
        ordered[:, : self.n_units] = values[:, self._order]
        return _by_lane(ordered)


def _by_lane(values: Array) -> Array:
    """Return up to sixteen chains' values (chains, units) as float32 [unit][16]; the last fills spare lanes."""
    lanes = np.minimum(np.arange(ROW), len(values) - 1)
    return np.ascontiguousarray(values[lanes].T, dtype=np.float32).ravel()


def _neighbour_lists(weights: Array, multiple: int = 1) -> tuple[Array, Array, Array]:
    """Return starts, neighbours (where in z) and weights [neighbour][t] of tiles of t units, (tiles, t, units)."""
    coupled = (weights != 0).any(axis=1)
    degree = coupled.sum(axis=1)
    room = -(-degree // multiple) * multiple
    starts = np.concatenate([[0], np.cumsum(room)])
    tile, neighbour = np.nonzero(coupled)
    at = np.arange(len(tile)) + np.repeat(starts[:-1] - (np.cumsum(degree) - degree), degree)
    neighbours = np.zeros(starts[-1], dtype=np.int32)
    neighbours[at] = neighbour * ROW
    entries = np.zeros((starts[-1], weights.shape[1]), dtype=np.float32)
    entries[at] = weights[tile, :, neighbour]
    return starts, neighbours, entries.ravel()


class Gibbs(_Lanes):
    """Gibbs sampling; a step is one sweep of n updates."""

    def __init__(
        self, weights: Array, biases: Array, *, scan: Scan = "sequential", dt: float = 1.0, threads: int = 1
    ) -> None:
        """Prepare; in a sequential scan units of one colour, which are not coupled, follow each other.

        So the scan is block Gibbs sampling: of the layers of an RBM, of the colours of a sparse graph.

        Parameters
        ----------
        weights, biases
            Of the machine, shapes (n, n) and (n,); biases (chains, n) give each chain a machine of its own. A bias
            of +inf or -inf holds its unit at 1 or 0: see ``held``.
        scan
            ``"sequential"``, or ``"random"``: each update is of a unit drawn anew.
        dt
            Length of a sweep in ms, for the samples.
        threads
            How many may be used.
        """
        super().__init__(weights, biases, threads=threads)
        require(scan in ("sequential", "random"), "scan", "'sequential' or 'random'", scan)
        self.dt = dt
        self._prepare(np.argsort(colours(weights), kind="stable"), random=scan == "random")


class Neural(_Lanes):
    """Neural sampling: a unit spikes with a chance f(u), is then 1 for ``tau`` steps.

    With absolute refractoriness, rectangular PSPs and the logistic response, p(z) is that of the machine for every
    ``tau``: f(u) = sigma(u - ln tau), and a unit may spike again in the last step of its refractory period.

    ``recovery`` makes it relative: g(i) scales the chance with i steps of the refractory period left, and f is
    such that a single unit keeps its response; a network then samples the machine only nearly (Buesing et al.).
    """

    def __init__(
        self,
        weights: Array,
        biases: Array,
        *,
        tau: int = 20,
        recovery: Array | None = None,
        response: Callable[[Array], Array] = expit,
        trace: Trace = "rectangular",
        tau_syn: float | None = None,
        dt: float = 1.0,
        threads: int = 1,
    ) -> None:
        """Prepare.

        Parameters
        ----------
        weights, biases
            Of the machine, shapes (n, n) and (n,); biases (chains, n) give each chain a machine of its own. With
            absolute refractoriness a bias of +-inf holds its unit: see ``held``.
        tau
            Refractory period in steps.
        recovery
            g(1) .. g(tau), each in [0, 1], g(1) the last step; ``None``: absolute, (1, 0, ..., 0).
        response
            p(z=1) against the drive u; beyond +-12 it is taken as constant.
        trace
            What a spike does to the drive: W while the unit is 1 (``"rectangular"``), or an exponential of time
            constant ``tau_syn`` steps, of mean W over the refractory period, that spikes renew or add to.
        dt
            Length of a step in ms, for the samples.
        """
        super().__init__(weights, biases, threads=threads)
        require(tau >= 1, "tau", "at least 1 step", tau)
        require(trace in TRACES, "trace", f"one of {', '.join(TRACES)}", trace)
        require(trace == "rectangular" or (tau_syn or 0) > 0, "tau_syn", "> 0 steps with such a trace", tau_syn)
        g = np.zeros(tau) if recovery is None else np.array(recovery, dtype=float)
        if recovery is None:
            g[0] = 1.0
        require(
            g.shape == (tau,) and g.min() >= 0 and g.max() <= 1, "recovery", f"{tau} numbers in [0, 1]", recovery
        )
        self.tau, self.recovery, self.dt = tau, np.concatenate([[1.0], g]), dt
        self.decay = np.exp(-1 / tau_syn) if tau_syn else 0.0
        self.trace: int = TRACES.index(trace)
        self.height = 1.0 if not self.trace else tau * (1 - self.decay) / (1 - self.decay**tau)
        self.exact = recovery is None and response is expit and not self.trace
        if self.exact:
            self._prepare(np.arange(self.n_units), random=False)
        else:
            require(bool(np.isfinite(self.biases).all()), "biases", "finite in such a network", "an infinite one")
            coupled = self.weights != 0
            self._starts = np.concatenate([[0], np.cumsum(coupled.sum(axis=1))])
            self._neighbours, self._couplings = np.nonzero(coupled)[1], self.weights[coupled]
            self.approximation = "spiking without membranes; not exactly the machine"
            self.chance = spike_chance(response(_RESPONSE_GRID), self.recovery)

    def _run_block(
        self, block: slice, start: int, steps: int, key: Array, after: State, every: int, states: Array
    ) -> None:
        if self.exact:
            return super()._run_block(block, start, steps, key, after, every, states)
        for c in range(block.start, block.stop):
            run_chain(
                start, steps, np.uint64(c), key, after.age[c], after.trace[c],
                self.biases[c] if self.biases.ndim == 2 else self.biases, self.tau, self.recovery, self.chance,
                self.trace, self.decay, self.height, self._starts, self._neighbours, self._couplings, every,
                states[c - block.start],
            )  # fmt: skip
        after.z[block] = after.age[block] > 0
        return None


class Changing:
    """Runners of one machine that take turns, each from a step on: evidence that changes (``held``)."""

    def __init__(self, runners: Sequence[_Runner], starts: Sequence[int]) -> None:
        """Take the steps from which each runner goes on, rising from 0; of equal ones the last does."""
        require(len(runners) == len(starts) and starts[0] == 0, "starts", "0 first, one a runner", list(starts))
        self._runners, self._starts = runners, list(starts)
        self.approximation, self.dt, self.cpu = runners[0].approximation, runners[0].dt, runners[0].cpu

    def init(self, *, seed: int, chains: int) -> State:
        """Start with every unit 0."""
        return self._runners[0].init(seed=seed, chains=chains)

    def run(self, state: State, steps: int, record: Record) -> tuple[Samples, State]:
        """Advance by ``steps``, as a runner does."""
        stop, joining = state.step + steps, Joining()
        while True:
            now = bisect.bisect_right(self._starts, state.step)
            end = min([stop, *self._starts[now : now + 1]])
            part, state = self._runners[now - 1].run(state, end - state.step, record)
            joining.add(part)
            if state.step == stop:
                return joining.joined(), state


def held(biases: Array, evidence: Sequence[dict[int, int]] | Array) -> Array:
    """Return biases (chains, n) that hold units at evidence of each chain's own.

    Parameters
    ----------
    biases
        Of the machine, shape (n,).
    evidence
        A chain's ``{unit: 0 or 1}`` each, or int8 (chains, n) with -1 for a free unit.

    Examples
    --------
    >>> held(np.array([0.5, -0.5]), [{0: 1}, {1: 0}])
    array([[ inf, -0.5],
           [ 0.5, -inf]])
    """
    biases = np.asarray(biases, dtype=np.float64)
    values = np.full((len(evidence), len(biases)), -1, dtype=np.int8)
    for chain, given in enumerate(evidence):
        if isinstance(given, dict):
            values[chain, list(given)] = list(given.values())
        else:
            values[chain] = given
    return np.select([values == 1, values == 0], [np.inf, -np.inf], default=np.broadcast_to(biases, values.shape))


def colours(weights: Array) -> Array:
    """Return a colour of each unit, (n,), such that coupled units differ (greedy, by falling degree)."""
    coupled = np.asarray(weights) != 0
    colour = np.full(len(coupled), -1)
    for k in np.argsort(-coupled.sum(axis=1), kind="stable"):
        taken = set(colour[coupled[k]].tolist())
        colour[k] = next(c for c in range(len(coupled)) if c not in taken)
    return colour


def spike_chance(p: Array, recovery: Array) -> Array:
    """Return the chance f per step at which a unit of recovery g(0), ..., g(tau) has p(z=1) = p, by bisection.

    In the stationary state p/(1 - p) = f g(0) sum_i prod_(j > i) (1 - f g(j)) / prod_(j >= 1) (1 - f g(j)), with
    i and j from 1 to tau. It rises with f.
    """
    wanted = np.clip(p, 1e-12, 1 - 1e-9)
    wanted = np.log(wanted / (1 - wanted))

    def log_odds(f: Array) -> Array:
        stay = 1 - np.minimum(f[:, None] * recovery[1:], 1 - 1e-15)
        later = np.cumsum(np.log(stay)[:, ::-1], axis=1)[:, ::-1]
        after = np.concatenate([later[:, 1:], np.zeros((len(f), 1))], axis=1)
        return np.log(f * recovery[0]) + np.log(np.exp(after).sum(axis=1)) - later[:, 0]

    low, high = np.full(len(wanted), 1e-15), np.ones(len(wanted))
    for _ in range(60):
        middle = (low + high) / 2
        above = log_odds(middle) > wanted
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return (low + high) / 2
