"""A network made ready for an engine: read-only arrays in fixed units (ms, mV, nF, uS, nA), and the time grid.

The grid defines what every engine must do in step i, which leads from time i dt to (i + 1) dt:

1. *Arrivals.* Background events of the step, and the spikes emitted d + 1 steps before, d the delay of their
   synapse in steps, raise the synaptic variables at time i dt. A spike is stamped with the end of its step, so a
   target feels it d steps after its stamp; with jitter each spike is late by a number of steps more, drawn when
   it is emitted. How much it adds was settled when it was emitted, by the intervals
   between the spikes of its source (``boltzspike.model.synapse``).
2. *Membrane.* A free neuron's potential follows its equation exactly for one step, with the synaptic
   variables at their mean over the step (they follow their own equation exactly within it).
3. *Threshold.* A free neuron at or above threshold emits a spike stamped (i + 1) dt and goes to v_reset.
   After a spike in step s it is held for ``refractory_steps`` - 1 steps and is free again in step
   s + ``refractory_steps``: the shortest interval between two spikes is exactly ``refractory_steps`` steps.
   Where refractory periods are drawn, ``refractory_steps`` is that of this spike, drawn with it.
4. *Decay.* The synaptic variables advance by one step.

Inputs that change in time (``boltzspike.inputs.Courses``) have in step i their value at i dt where they are
piecewise constant, at (i + 1/2) dt where they swing. Events of the background that units share are counted once
a step and source, and go to every unit that has a weight from it.

The *state* recorded after step i (at time (i + 1) dt) is z = 1 for every unit that spiked in the last
``refractory_steps`` steps, step i included. So z is 1 for exactly ``refractory_steps`` steps a spike, and a
neuron that fires at every chance has p(z=1) = 1 without gaps.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np

from boltzspike.errors import require
from boltzspike.inputs import (
    FREE,
    Courses,
    Pool,
    RefractoryLaw,
    compile_courses,
    compile_pool,
    frozen,
    refractory_law,
)
from boltzspike.model.background import PoissonBackground, SharedBackground
from boltzspike.model.boltzmann import Array
from boltzspike.model.description import frozen_matrix, is_sparse, parts
from boltzspike.model.network import SpikingNetwork
from boltzspike.model.neuron import LIF
from boltzspike.theory.membrane import membrane_statistics
from boltzspike.theory.psp import arrivals
from boltzspike.units import hz, per_ms

__all__ = ["FREE", "Program", "compile_program", "steps_of"]

MAX_EVENTS_PER_STEP = 1e4


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Program:
    """A compiled network; all arrays are read-only. Shapes: n units, s background sources."""

    names: tuple[str, ...]
    dt: float
    features: frozenset[str]
    refractory_steps: Array
    """Shape (n,), int64; the mean where ``refractory_law`` draws them."""
    delay_steps: int
    """The longest delay, jitter aside."""
    c_m: Array
    g_l: Array
    v_rest: Array
    v_reset: Array
    v_thresh: Array
    i_offset: Array
    e_rev_exc: Array
    """Shape (n,), mV; NaN for current-based synapses."""
    e_rev_inh: Array
    tau_syn_exc: Array
    tau_syn_inh: Array
    weights: Any
    """Shape (n, n), [target, source], uS or nA, the sign says which synapse; dense or CSR."""
    background_rates: Array
    """Shape (n, s), 1/ms; units with fewer sources are padded with rate 0."""
    background_weights: Array
    """Shape (n, s), uS or nA, the sign says which synapse."""
    clamp: Array
    """Shape (n,), int8: 0 never spikes, 1 spikes at every chance, -1 free; ``courses`` may change it."""
    jitter_steps: int = 0
    """The longest that a spike is late by chance."""
    delays: Array | None = None
    """Delay of each synapse in steps, int64: (n, n), for CSR weights (entries,). None: all ``delay_steps``."""
    U: float = 1.0
    """Tsodyks-Markram synapses: utilization at rest."""
    tau_rec: float = 0.0
    """Their time constant of recovery, ms."""
    tau_fac: float = 0.0
    """Their time constant of facilitation, ms."""
    teeth: int | None = None
    """Of each coupling, teeth + 1 synapses in parallel (``boltzspike.model.synapse``); ``None``: one."""
    refractory_law: RefractoryLaw | None = None
    """How refractory periods are drawn; None: they are all ``refractory_steps``."""
    pool: Pool | None = None
    """Background that units share; None: there is none."""
    courses: Courses | None = None
    """Inputs that change in time; None: there are none."""

    @property
    def n_units(self) -> int:
        """Number of units."""
        return len(self.refractory_steps)

    @property
    def conductance_based(self) -> bool:
        """Whether the synapses are conductances (else currents)."""
        return "conductance" in self.features

    @property
    def alpha(self) -> bool:
        """Whether the synaptic kernel is an alpha function (else exponential)."""
        return "alpha" in self.features

    @property
    def renewing(self) -> bool:
        """Whether a spike renews the trace of its synapse (else adds to it)."""
        return "renewing" in self.features

    @property
    def slots(self) -> int:
        """Number of steps whose spikes are kept until the last of them has arrived."""
        return self.delay_steps + self.jitter_steps + 1

    @property
    def recovers_from_one_spike(self) -> bool:
        """Whether synapses are Tsodyks-Markram ones whose spikes use up all: only the last interval counts."""
        return self.tsodyks_markram and self.U == 1 and self.tau_fac == 0

    @property
    def tsodyks_markram(self) -> bool:
        """Whether the synapses have general short-term plasticity."""
        return "tsodyks-markram" in self.features

    @property
    def shortest_refractory(self) -> int:
        """Steps of the shortest refractory period: no unit has more than one spike in so many steps."""
        law = self.refractory_law
        return int((self.refractory_steps if law is None else law.shortest).min())

    def synapses(self) -> tuple[Array, Array, Array, Array]:
        """Return target, source, weight and delay (steps) of each synapse, (synapses,) each, ordered by target.

        These are the stored entries of CSR weights, and the entries of dense ones that are not 0; where there are
        ``teeth``, all synapses of each of these couplings.
        """
        if is_sparse(self.weights):
            data, source, first = parts(self.weights)
            target = np.repeat(np.arange(self.n_units), np.diff(first))
            source, weight, delay = source.astype(np.int64), data, self.delays
        else:
            target, source = np.nonzero(self.weights)
            weight = self.weights[target, source]
            delay = None if self.delays is None else self.delays[target, source]
        if delay is None:
            delay = np.full(len(weight), self.delay_steps)
        return (
            (target, source, weight, delay)
            if self.teeth is None
            else self._parallel(target, source, weight, delay)
        )

    def _parallel(
        self, target: Array, source: Array, weight: Array, delay: Array
    ) -> tuple[Array, Array, Array, Array]:
        """Return all synapses of couplings that have ``teeth``, given the first of each."""
        assert self.teeth is not None
        steps = self.refractory_steps[source]
        _, share = arrivals(self.teeth, tau_syn=self.tau_syn_exc[target], tau_refrac=steps * self.dt)
        later = steps[:, None] * np.arange(self.teeth + 1) // self.teeth
        # a synapse of the opposite sign weighs the same at threshold
        drive = np.ones((2, self.n_units))
        if self.conductance_based:
            drive = np.abs(np.stack([self.e_rev_exc, self.e_rev_inh]) - self.v_thresh)
        own, other = drive[np.where(weight > 0, [[0], [1]], [[1], [0]]), target]
        each = np.where(share < 0, (own / other)[:, None], 1.0) * share * weight[:, None]
        repeated = (np.repeat(ends, self.teeth + 1) for ends in (target, source))
        return *repeated, each.ravel(), (delay[:, None] + later).ravel()

    def mean_input(self) -> tuple[Array, Array]:
        """Return what the background feeds into excitation and inhibition on average, (n,) each, uS or nA.

        It is the mean of an exponential synapse, and e times it that of an alpha synapse. Of rates that change it
        takes those of the first segment.
        """
        changed = self.courses is not None and self.courses.change_rates
        rates = (
            self.background_rates + self.courses.rates[0] if self.courses and changed else self.background_rates
        )
        drive = rates * self.background_weights
        exciting, inhibiting = np.maximum(drive, 0).sum(axis=1), np.maximum(-drive, 0).sum(axis=1)
        if self.pool is not None:
            exciting += positive(self.pool.weights) @ self.pool.rates
            inhibiting += positive(-self.pool.weights) @ self.pool.rates
        return self.tau_syn_exc * exciting, self.tau_syn_inh * inhibiting

    def with_values(self, **values: Any) -> Program:
        """Return the program with some of its values replaced; structure (features, steps) can't be."""
        allowed = {"v_rest", "i_offset", "weights", "background_rates", "background_weights"}
        for name, value in values.items():
            require(name in allowed, f"Program.{name}", f"one of the values {sorted(allowed)}", name)
            shape = getattr(self, name).shape
            given = value.shape if is_sparse(value) else np.shape(value)
            require(given == shape, f"Program.{name}", f"of shape {shape}", given)
        replaced: dict[str, Any] = {name: frozen(value) for name, value in values.items() if name != "weights"}
        if "weights" in values:
            weights = replaced["weights"] = frozen_matrix(values["weights"], "Program.weights")
            ok = is_sparse(weights) == is_sparse(self.weights)
            if ok and is_sparse(weights) and self.delays is not None:
                ok = all(map(np.array_equal, parts(weights)[1:], parts(self.weights)[1:]))
            require(ok, "Program.weights", "stored as those it replaces", type(weights).__name__)
        return dataclasses.replace(self, **replaced)


def positive(weights: Any) -> Any:
    """Return the positive part of a dense or sparse matrix, in its kind."""
    return weights.maximum(0) if is_sparse(weights) else np.maximum(weights, 0)


def compile_program(network: SpikingNetwork, *, dt: float = 0.1, clamp: dict[int, int] | None = None) -> Program:
    """Compile a network on a time grid.

    Parameters
    ----------
    network
        The network.
    dt
        Time step in ms. It must divide every ``tau_refrac``, the delays and the times of the schedule, and must
        not exceed the smallest mean effective membrane time constant: beyond it a step no longer resolves the
        membrane.
    clamp
        Units that are held: ``{unit: 0 or 1}``. A unit held at 1 spikes at every chance, one at 0 never.

    Raises
    ------
    ValidationError
        Where dt does not fit the network.
    """
    require(isinstance(dt, int | float) and np.isfinite(dt) and dt > 0, "dt", "> 0 ms", dt)
    neurons, backgrounds, n = network.neurons, network.backgrounds, network.n_units
    conductance = isinstance(neurons[0], LIF)

    def gather(field: str, default: float = np.nan) -> Array:
        return frozen([getattr(neuron, field, default) for neuron in neurons])

    refractory = np.array([steps_of(neuron.tau_refrac, dt, "tau_refrac") for neuron in neurons], dtype=np.int64)
    grid = lambda time, name: steps_of(time, dt, name)
    sources = max(len(background.rates) for background in backgrounds)
    rates, source_weights = np.zeros((n, sources)), np.zeros((n, sources))
    for k, background in enumerate(backgrounds):
        rates[k, : len(background.rates)] = per_ms(np.asarray(background.rates))
        source_weights[k, : len(background.weights)] = background.weights
    busiest = float(rates.max(initial=0.0)) * dt
    require(
        busiest <= MAX_EVENTS_PER_STEP,
        "PoissonBackground.rates",
        f"at most {MAX_EVENTS_PER_STEP:g} events a step of {dt:g} ms",
        f"{busiest:g} events",
    )

    held = np.full(n, FREE, dtype=np.int8)
    for unit, value in (clamp or {}).items():
        held[unit] = value

    courses = compile_courses(network, dt, held, rates, grid)
    pool = compile_pool(network, grid, dt)
    _check_resolution(network, dt, rates, courses)
    synapse = network.synapse
    delays, longest = _delays(network, dt)
    if synapse.teeth is not None:
        _check_teeth(network, dt)
        longest += int(refractory.max(initial=0))
    jitter = _jitter(synapse.jitter, dt)
    law = refractory_law(neurons, refractory, dt)
    used = {
        "conductance": conductance,
        "current": not conductance,
        synapse.plasticity: True,
        "alpha": neurons[0].kernel != "exponential",
        "clamp": bool(clamp),
        "sparse": is_sparse(network.weights),
        "delays": delays is not None,
        "jitter": jitter > 0,
        "parallel-synapses": synapse.teeth is not None,
        "random-refractory": law is not None,
        "shared-background": pool is not None and pool.drawn > 0,
        "replay": pool is not None and pool.drawn < len(pool.rates),
        "waves": courses is not None and len(courses.frequency) > 0,
        "varying-rates": courses is not None and courses.change_rates,
        "varying-bias": courses is not None and bool(courses.current.any()),
        "varying-clamp": courses is not None and bool(np.any(courses.clamp != held)),
    }
    program = Program(
        names=tuple(network.names or ()),
        dt=float(dt),
        features=frozenset(name for name, use in used.items() if use),
        refractory_steps=frozen(refractory),
        delay_steps=longest,
        jitter_steps=jitter,
        c_m=gather("c_m"),
        g_l=gather("g_l"),
        v_rest=gather("v_rest"),
        v_reset=gather("v_reset"),
        v_thresh=gather("v_thresh"),
        i_offset=gather("i_offset"),
        e_rev_exc=gather("e_rev_exc"),
        e_rev_inh=gather("e_rev_inh"),
        tau_syn_exc=gather("tau_syn_exc"),
        tau_syn_inh=gather("tau_syn_inh"),
        weights=network.weights,
        background_rates=frozen(rates),
        background_weights=frozen(source_weights),
        clamp=frozen(held),
        delays=delays,
        U=1.0 if synapse.U is None else synapse.U,
        tau_rec=synapse.tau_rec or 0.0,
        tau_fac=synapse.tau_fac or 0.0,
        teeth=synapse.teeth,
        refractory_law=law,
        pool=pool,
        courses=courses,
    )
    allowed = f"shorter than the shortest refractory period, {program.shortest_refractory * dt:g} ms"
    require(jitter < program.shortest_refractory, "Synapse.jitter", allowed, synapse.jitter)
    return program


def _jitter(time: float, dt: float) -> int:
    return steps_of(time, dt, "Synapse.jitter") if time > 0 else 0


def _check_resolution(network: SpikingNetwork, dt: float, rates: Array, courses: Courses | None) -> None:
    """Raise if a step doesn't resolve a membrane or a synapse, the background at its strongest."""
    backgrounds = network.backgrounds
    if courses is not None and courses.change_rates:
        strongest = hz(rates + courses.rates.max(axis=0) + np.abs(courses.rates_wave).sum(axis=0))
        backgrounds = tuple(
            PoissonBackground(rates=row[: len(background.rates)], weights=background.weights)
            for row, background in zip(strongest, backgrounds)
        )
    for shared in network.shared:
        if isinstance(shared, SharedBackground):
            of_source = shared.rates
        else:
            of_source = hz(np.bincount(shared.sources, minlength=shared.weights.shape[1]) / shared.duration)
        drive = [positive(sign * shared.weights) @ of_source for sign in (1, -1)]
        # one source of 1 uS (nA) for each synapse has the same mean
        backgrounds = tuple(
            PoissonBackground(rates=[*own.rates, exc, inh], weights=[*own.weights, 1.0, -1.0])
            for own, exc, inh in zip(backgrounds, *drive)
        )
    for neuron, background in {(id(a), id(b)): (a, b) for a, b in zip(network.neurons, backgrounds)}.values():
        tau_eff = membrane_statistics(neuron, background).tau_eff
        allowed = f"at most the effective membrane time constant tau_eff = {tau_eff:.3g} ms"
        require(dt <= tau_eff * (1 + 1e-9), "dt", allowed, dt)
        tau_syn = min(neuron.tau_syn_exc, neuron.tau_syn_inh)
        require(dt <= tau_syn / 2, "dt", f"at most half of the shortest tau_syn = {tau_syn:g} ms", dt)


def _delays(network: SpikingNetwork, dt: float) -> tuple[Array | None, int]:
    """Return the delays in steps in the form of ``Program.delays``, and the longest."""
    weights, delays = network.weights, network.delays
    if delays is None:
        one = steps_of(dt if network.synapse.delay is None else network.synapse.delay, dt, "Synapse.delay")
        if network.synapse.teeth is None:
            return None, one
        return frozen(np.full(len(parts(weights)[0]) if is_sparse(weights) else weights.shape, one)), one
    given = delays.data if is_sparse(delays) else np.where(weights != 0, delays, dt)
    times, which = np.unique(given, return_inverse=True)
    steps = np.array([steps_of(float(time), dt, "SpikingNetwork.delays") for time in times], dtype=np.int64)
    return frozen(steps[which].reshape(given.shape)), int(steps.max(initial=1))


def _check_teeth(network: SpikingNetwork, dt: float) -> None:
    """Raise if synapses in parallel can't shape the PSP of these neurons."""
    teeth = network.synapse.teeth
    assert teeth is not None
    neurons = {id(neuron): neuron for neuron in network.neurons}.values()
    for neuron in neurons:
        allowed = "None for neurons whose kernel is no exponential: their tail is not cancelled by one spike"
        require(neuron.kernel == "exponential", "Synapse.teeth", allowed, teeth)
        allowed = (
            f"None where tau_syn_exc = {neuron.tau_syn_exc:g} and tau_syn_inh = {neuron.tau_syn_inh:g} ms differ"
        )
        require(neuron.tau_syn_exc == neuron.tau_syn_inh, "Synapse.teeth", allowed, teeth)
        require(
            neuron.refractory is None,
            "Synapse.teeth",
            "None with refractory periods drawn after each spike",
            teeth,
        )
        whole = round(neuron.tau_refrac / dt) % teeth == 0
        allowed = f"such that tau_refrac/teeth = {neuron.tau_refrac:g}/{teeth} ms is a multiple of dt = {dt:g} ms"
        require(whole, "Synapse.teeth", allowed, teeth)


def steps_of(time: float, dt: float, name: str) -> int:
    """Return how many steps of dt make ``time``, or raise: it must be a whole number of at least one."""
    steps = round(time / dt)
    allowed = f"a multiple of dt = {dt:g} ms, at least dt"
    require(steps >= 1 and abs(steps * dt - time) <= 1e-6 * dt * max(steps, 1), name, allowed, time)
    return steps
