"""Samplers without membranes: Gibbs, and the abstract spiking neurons of Buesing et al.

They sample the machine itself, so they need no calibration and no translation: the yardstick of what LIF neurons
cost, the reference where nothing can be enumerated, and, with traces and another response function, the
idealisations that an error budget exchanges one by one.

Both share the engines' runner: ``init`` gives a state, ``run`` advances it. A step of ``Gibbs`` is one sweep, a
step of ``Neural`` one time step, in which every unit is updated once in order.

J. Buesing, J. Bill, B. Nessler, W. Maass, "Neural dynamics as sampling", PLoS Comput. Biol. 7 (2011) e1002211.
"""

from __future__ import annotations

import platform
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Literal

import numba
import numpy as np
from scipy.special import expit

from boltzspike import streams
from boltzspike.errors import require
from boltzspike.samples import PackedStates, Record, Samples

Array = np.ndarray
Scan = Literal["sequential", "random"]
Trace = Literal["rectangular", "renewing", "additive"]
TRACES = ("rectangular", "renewing", "additive")

_philox4x32 = numba.njit(inline="always")(streams.philox4x32)
_BRACKETS = 4096
with np.errstate(divide="ignore"):
    _LOGIT = np.log(np.arange(_BRACKETS + 1)) - np.log(_BRACKETS - np.arange(_BRACKETS + 1))
"""logit(i/4096): between which of them a random word lies decides nearly always, without an exponential."""
_RESPONSE_GRID = np.linspace(-12.0, 12.0, 4801)
_DENSE_ABOVE = 0.25
"""Share of coupled pairs above which a row of W is added whole."""


@dataclass(frozen=True, slots=True, eq=False)
class State:
    """State before a step; arrays are (chains, units)."""

    seed: int
    step: int
    z: Array
    field: Array
    """b_k + sum_j W_kj z_j."""
    age: Array
    """Steps that a unit stays refractory, 0 if it is not (``Neural``)."""
    trace: Array
    """What is left of the last spikes (``Neural`` with traces)."""


class _Runner:
    cpu = platform.machine()

    def __init__(self, weights: Array, biases: Array, *, threads: int = 1) -> None:
        self.weights, self.biases = (
            np.ascontiguousarray(weights, dtype=np.float64),
            np.array(biases, dtype=np.float64),
        )
        self.threads = threads
        n = len(self.biases)
        coupled = self.weights.T != 0
        self.dense = coupled.sum() > _DENSE_ABOVE * n * (n - 1)
        # of unit j: the targets k and W_kj
        self.starts = np.concatenate([[0], np.cumsum(coupled.sum(axis=1))]).astype(np.int64)
        self.targets = np.nonzero(coupled)[1].astype(np.int64)
        self.couplings = self.weights.T[coupled]
        self.rows = np.ascontiguousarray(self.weights.T)

    def init(self, *, seed: int, chains: int) -> State:
        """Start with every unit 0."""
        shape = (chains, len(self.biases))
        return State(
            seed=streams.check_seed(seed),
            step=0,
            z=np.zeros(shape, dtype=np.int8),
            field=np.broadcast_to(self.biases, shape).copy(),
            age=np.zeros(shape, dtype=np.int64),
            trace=np.zeros(shape),
        )

    def _advance(self, state: State, steps: int, record: Record, dt: float, run_chain: Callable) -> tuple:
        every = record.states_every or 0
        after = State(
            seed=state.seed,
            step=state.step + steps,
            z=state.z.copy(),
            field=state.field.copy(),
            age=state.age.copy(),
            trace=state.trace.copy(),
        )
        chains, n = state.z.shape
        draws = after.step // every - state.step // every if every else 0
        states = np.zeros((chains, draws, n), dtype=np.int8)
        low, high = np.uint64(state.seed & 0xFFFFFFFF), np.uint64(state.seed >> 32)

        def run_block(block: Array) -> None:
            for c in block:
                run_chain(c, low, high, after, every, states[c])

        blocks = np.array_split(np.arange(chains), max(min(self.threads, chains), 1))
        if len(blocks) > 1:
            with ThreadPoolExecutor(len(blocks)) as pool:
                list(pool.map(run_block, blocks))
        else:
            run_block(blocks[0])
        samples = Samples(
            start=state.step, stop=after.step, dt=dt, packed=PackedStates.of(states) if every else None
        )
        return samples, after


class Gibbs(_Runner):
    """Gibbs sampling; a step is one sweep of n updates."""

    approximation = "exact updates of the machine"

    def __init__(
        self, weights: Array, biases: Array, *, scan: Scan = "sequential", dt: float = 1.0, threads: int = 1
    ) -> None:
        """Prepare; in a sequential scan units of one colour, which are not coupled, follow each other.

        So the scan is block Gibbs sampling: of the layers of an RBM, of the colours of a sparse graph.
        """
        super().__init__(weights, biases, threads=threads)
        require(scan in ("sequential", "random"), "scan", "'sequential' or 'random'", scan)
        self.random, self.dt = scan == "random", dt
        self.order = np.argsort(colours(self.weights), kind="stable")

    def run(self, state: State, steps: int, record: Record) -> tuple[Samples, State]:
        """Advance by so many sweeps."""

        def run_chain(c: int, low: np.uint64, high: np.uint64, after: State, every: int, states: Array) -> None:
            _gibbs_chain(
                np.uint64(c), low, high, state.step, steps, after.z[c], after.field[c], self.order, self.random,
                self.starts, self.targets, self.couplings, self.rows, self.dense, _LOGIT, every, states,
            )  # fmt: skip

        return self._advance(state, steps, record, self.dt, run_chain)


class Neural(_Runner):
    """Neural sampling: a unit spikes with a chance f(u), is then 1 for ``tau`` steps.

    With absolute refractoriness, rectangular PSPs and the logistic response, p(z) is that of the machine for every
    ``tau``: f(u) = sigma(u - ln tau), and a unit may spike again in the last step of its refractory period.

    ``recovery`` makes it relative: g(i) scales the chance with i steps of the refractory period left, and f is
    such that a single unit keeps its response; a network then samples the machine only nearly (Buesing et al.).
    """

    approximation = "exact updates of the machine"

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
            Of the machine, shapes (n, n) and (n,).
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
        self.plain = recovery is None and response is expit
        self.chance = spike_chance(response(_RESPONSE_GRID), self.recovery)
        self.decay = np.exp(-1 / tau_syn) if tau_syn else 0.0
        self.trace: int = TRACES.index(trace)
        self.height = 1.0
        if self.trace:
            self.height = tau * (1 - self.decay) / (1 - self.decay**tau)

    def run(self, state: State, steps: int, record: Record) -> tuple[Samples, State]:
        """Advance by so many time steps."""

        def run_chain(c: int, low: np.uint64, high: np.uint64, after: State, every: int, states: Array) -> None:
            _neural_chain(
                np.uint64(c), low, high, state.step, steps, after.z[c], after.field[c], after.age[c],
                after.trace[c], self.biases, self.weights, self.tau, np.log(self.tau), self.recovery, self.plain,
                self.chance, self.trace, self.decay, self.height, self.starts, self.targets, self.couplings,
                self.rows, self.dense, _LOGIT, every, states,
            )  # fmt: skip

        return self._advance(state, steps, record, self.dt, run_chain)


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


@numba.njit(inline="always")
def _below_logistic(word, u, logit):
    """Whether a uniform word is below sigma(u); the exponential is needed in one case of 4096."""
    i = word >> np.uint64(20)
    if u >= logit[i + np.uint64(1)]:
        return True
    if u < logit[i]:
        return False
    return (float(word) + 0.5) * 2.0**-32 * (1.0 + np.exp(-u)) < 1.0


@numba.njit(inline="always")
def _flip(field, j, change, starts, targets, couplings, rows, dense):
    """Add what a change of z_j by +-1 does to the fields."""
    if dense:
        for k in range(len(field)):
            field[k] += change * rows[j, k]
    else:
        for i in range(starts[j], starts[j + 1]):
            field[targets[i]] += change * couplings[i]


@numba.njit(nogil=True, cache=True)
def _gibbs_chain(
    chain, seed_low, seed_high, start, sweeps, z, field, order, random,
    starts, targets, couplings, rows, dense, logit, every, states,
):  # fmt: skip
    n = len(z)
    per_call = 2 if random else 4
    draw = 0
    for sweep in range(start, start + sweeps):
        low, high = np.uint64(sweep & 0xFFFFFFFF), np.uint64(sweep >> 32)
        for first in range(0, n, per_call):
            words = _philox4x32(low, high, np.uint64(first), chain, seed_low, seed_high)
            for i in range(min(per_call, n - first)):
                k = np.int64((words[2 + i] * np.uint64(n)) >> np.uint64(32)) if random else order[first + i]
                new = 1 if _below_logistic(words[i], field[k], logit) else 0
                if new != z[k]:
                    _flip(field, k, float(new) - float(z[k]), starts, targets, couplings, rows, dense)
                    z[k] = new
        if every and (sweep + 1) % every == 0:
            states[draw] = z
            draw += 1


@numba.njit(nogil=True, cache=True)
def _neural_chain(
    chain, seed_low, seed_high, start, steps, z, field, age, traces,
    biases, weights, tau, log_tau, recovery, plain, chance, trace, decay, height,
    starts, targets, couplings, rows, dense, logit, every, states,
):  # fmt: skip
    n = len(z)
    draw = 0
    words = (np.uint64(0), np.uint64(0), np.uint64(0), np.uint64(0))
    for step in range(start, start + steps):
        low, high = np.uint64(step & 0xFFFFFFFF), np.uint64(step >> 32)
        for k in range(n):
            if k % 4 == 0:
                words = _philox4x32(low, high, np.uint64(k), chain, seed_low, seed_high)
            word = words[k % 4]
            u = field[k]
            if trace:
                u = biases[k]
                for j in range(n):
                    u += weights[k, j] * traces[j]
            if plain:
                spikes = age[k] <= 1 and _below_logistic(word, u - log_tau, logit)
            else:
                place = (min(max(u, -11.999), 11.999) + 12.0) * 200.0
                i = int(place)
                f = chance[i] + (place - i) * (chance[i + 1] - chance[i])
                spikes = (float(word) + 0.5) * 2.0**-32 < f * recovery[age[k]]
            if spikes:
                age[k] = tau
                if trace == 1:
                    traces[k] = height
                elif trace == 2:
                    traces[k] += height
            elif age[k] > 0:
                age[k] -= 1
            new = 1 if age[k] > 0 else 0
            if new != z[k]:
                if not trace:
                    _flip(field, k, float(new) - float(z[k]), starts, targets, couplings, rows, dense)
                z[k] = new
            if trace:
                traces[k] *= decay
        if every and (step + 1) % every == 0:
            states[draw] = z
            draw += 1
