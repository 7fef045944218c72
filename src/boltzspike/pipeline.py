"""The one module that knows every room: response(), calibrate(), sample(), read()."""

from __future__ import annotations

import dataclasses
import functools
import importlib.resources
import os
import platform
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from boltzspike import checkpoint as checkpoints
from boltzspike import files
from boltzspike.calibration import Calibration, ResponseCurve, calibration_from_curve, control_value
from boltzspike.compilation import Compiled, compile_bayes
from boltzspike.diagnostics import MIN_BLOCKS, BurstStatistics, bursts, joint, pairs
from boltzspike.engines import get_engine
from boltzspike.errors import (
    BoltzspikeError,
    BoltzspikeWarning,
    CalibrationError,
    Interrupted,
    UnsupportedFeature,
    ValidationError,
    require,
)
from boltzspike.gathered import MAX_JOINT_UNITS
from boltzspike.model import presets
from boltzspike.model.background import PoissonBackground, at_control, synaptic_shares
from boltzspike.model.bayesnet import BayesianNetwork, Evidence
from boltzspike.model.boltzmann import BoltzmannMachine, Machine, RestrictedBoltzmannMachine, clamp_indices
from boltzspike.model.description import Array, is_sparse
from boltzspike.model.network import SpikingNetwork
from boltzspike.model.neuron import CONTROL_UNITS, LIF, Control, CurrentLIF, Neuron
from boltzspike.model.synapse import Synapse
from boltzspike.posterior import PosteriorResult
from boltzspike.program import compile_program, steps_of
from boltzspike.result import Result
from boltzspike.running import MOST_STEPS, check_memory, in_chunks, stop_requests
from boltzspike.samples import Record, Samples, Spikes
from boltzspike.streams import check_seed
from boltzspike.theory.design import design_background
from boltzspike.theory.exact import all_states
from boltzspike.theory.logistic import place_points
from boltzspike.theory.membrane import leverage, membrane_statistics
from boltzspike.theory.predict import predict
from boltzspike.translation import Translation, translate
from boltzspike.translation.budget import Budget, mean_trace
from boltzspike.translation.budget import error_budget as compute_budget
from boltzspike.translation.psp import network_of
from boltzspike.translation.teaching import network_calibration, teach
from boltzspike.translation.tuned import GROUPS, Moments, Step
from boltzspike.translation.tuned import tune as tune_in_the_loop
from boltzspike.translation.working_point import ENUMERATED_UNITS, WorkingPoint, enumerated

Progress = Callable[[int, int], None]
"""Called with (steps done, steps in all)."""

read = files.read


def response(
    neuron: Neuron,
    background: PoissonBackground,
    *,
    v_rest: Sequence[float] | Array | None = None,
    i_offset: Sequence[float] | Array | None = None,
    balance: Sequence[float] | Array | None = None,
    method: str = "density",
    duration: float = 1e5,
    chains: int = 16,
    dt: float | None = None,
    seed: int = 1,
    engine: str = "numba",
    threads: int | None = None,
) -> ResponseCurve:
    """Return p(z=1) against the control variable.

    Parameters
    ----------
    neuron, background
        The neuron and its bombardment.
    v_rest, i_offset, balance
        Values of the control variable, shape (m,): mV, nA, or the share of the synaptic input that is moved from
        inhibition to excitation (``model.background.with_balance``); exactly one of the three.
    method
        ``"density"``: numerically exact; ``"burst"``: the paper's theory; another of ``theory.predict``;
        ``"simulation"``: one uncoupled neuron a point.
    dt
        Time step in ms: of the simulation (``None``: 0.1), or of the engine for which the density is to hold
        (``None``: continuous time). The other theories hold for continuous time.
    duration, chains, seed, engine, threads
        Of the simulation: biological ms per chain, number of chains.

    Returns
    -------
    A ``ResponseCurve`` with fields x, mu, p, error and rate (Hz), each of shape (m,).
    """
    given = {"v_rest": v_rest, "i_offset": i_offset, "balance": balance}
    chosen = [name for name, values in given.items() if values is not None]
    require(len(chosen) == 1, "response", "given one of v_rest, i_offset and balance", ", ".join(chosen) or "none")
    control: Control = chosen[0]  # type: ignore[assignment]
    x = np.atleast_1d(np.asarray(given[control], dtype=float))
    require(bool(np.isfinite(x).all()) and x.ndim == 1, control, "an array of finite numbers", x)
    mean = membrane_statistics(neuron, background).mu
    mu = mean + (x - control_value(neuron, control)) * leverage(neuron, background, control)
    at = [at_control(neuron, background, control, value) for value in x]
    if method == "simulation":
        dt = 0.1 if dt is None else dt
        require(chains >= 2, "chains", "at least 2, for a standard error", chains)
        spikes = _uncoupled(at, duration, chains, dt, seed, engine, threads)
        on = spikes.marginals()
        # a point that never spiked is known to within one spike
        least = neuron.tau_refrac / (duration * chains)
        p, error = on.mean(axis=0), np.maximum(on.std(axis=0, ddof=1) / np.sqrt(chains), least)
    elif control == "balance":  # every point has a background of its own
        found = [predict(n, b, mu[k : k + 1], method=method, dt=dt) for k, (n, b) in enumerate(at)]
        p, error = (np.concatenate(parts) for parts in zip(*found))
    else:
        p, error = predict(neuron, background, mu, method=method, dt=dt)
    holds_for = dt if method in ("simulation", "density") else None
    return ResponseCurve(
        mu=mu, p=p, error=error, tau_refrac=neuron.tau_refrac, method=method, dt=holds_for, control=control, x=x
    )


def burst_statistics(
    neuron: Neuron,
    background: PoissonBackground,
    *,
    duration: float = 1e5,
    chains: int = 16,
    dt: float = 0.1,
    seed: int = 1,
    engine: str = "numba",
    threads: int | None = None,
) -> BurstStatistics:
    """Simulate one neuron and return the statistics of its inter-spike intervals, bursts and pauses.

    A burst goes on as long as a spike follows within ``tau_refrac + tau_eff``: the neuron fires again at its first
    chance, but for the climb from the reset. Arguments: ``response``.
    """
    spikes = _uncoupled([(neuron, background)], duration, chains, dt, seed, engine, threads)
    longest = neuron.tau_refrac + membrane_statistics(neuron, background).tau_eff
    return bursts(spikes, dt=dt, longest_interval=longest)


def _uncoupled(
    neurons: Sequence[tuple[Neuron, PoissonBackground]],
    duration: float,
    chains: int,
    dt: float,
    seed: int,
    engine: str,
    threads: int | None,
) -> Spikes:
    """Return the spikes of uncoupled neurons, each under its own background."""
    count = len(neurons)
    cells, backgrounds = zip(*neurons)
    network = SpikingNetwork(neurons=cells, backgrounds=backgrounds, weights=np.zeros((count, count)))
    samples, _ = _run(
        network, duration, chains, dt, seed, engine, threads, Record(spikes=True), burn_in=_SWEEP_BURN_IN
    )
    assert samples.spikes is not None
    return samples.spikes


_SWEEP_BURN_IN = 500.0
"""Biological ms discarded at the start of each neuron of a sweep."""


def calibrate(
    neuron: Neuron,
    background: PoissonBackground,
    *,
    control: Control = "v_rest",
    method: str = "density",
    points: int = 21,
    duration: float = 1e5,
    chains: int = 16,
    dt: float | None = None,
    seed: int = 1,
    engine: str = "numba",
    threads: int | None = None,
) -> Calibration:
    """Return the logistic of a neuron under a background.

    The neuron's own v_rest or i_offset need not lie near the working point: the range of the control
    variable is where the adiabatic theory finds p between .005 and .995. From theory the points are spaced
    evenly over it. A simulated sweep spends a third of them there, and places the others by the logistic that
    these have shown, where they tell most about u0 and alpha (``theory.logistic.place_points``).

    Parameters
    ----------
    neuron, background
        The neuron and its bombardment.
    control
        The variable that is to carry the bias: ``"v_rest"``, ``"i_offset"``, or ``"balance"``, the share of the
        background's input that is moved from inhibition to excitation. With the balance sigma changes along the
        curve; u0 and alpha include that.
    method
        As in ``response``: from theory without any simulation, or ``"simulation"``.
    points
        Number of points of the curve.
    duration, chains, dt, seed, engine, threads
        As in ``response``; the sweep simulates ``points * chains * duration``.

    Raises
    ------
    CalibrationError
        Where no logistic can be had, with the reason.
    """
    require(control in CONTROL_UNITS, "control", f"one of {', '.join(CONTROL_UNITS)}", control)
    require(points >= 5, "points", "at least 5", points)
    if not membrane_statistics(neuron, background).sigma > 0:
        raise CalibrationError(
            "calibrate: the background gives no noise (all rates or weights are 0), so the neuron is deterministic"
        )

    def curve_at(mu: Array, of_seed: int) -> ResponseCurve:
        values: dict[str, Any] = {control: _control_values(neuron, background, control, mu)}
        return response(
            neuron, background, method=method, duration=duration, chains=chains, dt=dt, seed=of_seed,
            engine=engine, threads=threads, **values,
        )  # fmt: skip

    fitted = functools.partial(
        calibration_from_curve,
        neuron=neuron,
        background=background,
        control=control,
        version=version("boltzspike"),
    )
    low, high = _working_range(neuron, background)
    if method != "simulation":
        return fitted(curve_at(np.linspace(low, high, points), seed))
    check_seed(seed)
    seeds = [int(s) for s in np.random.SeedSequence(int(seed)).generate_state(2, np.uint64)]
    first = max(points // 3, 5)
    curve = curve_at(np.linspace(low, high, first), seeds[0])
    if points > first:
        rough = fitted(curve)
        curve = _joined(curve, curve_at(place_points(rough.u0, rough.alpha, points - first), seeds[1]))
    return fitted(curve, simulated=points * chains * (duration + _SWEEP_BURN_IN))


def _control_values(neuron: Neuron, background: PoissonBackground, control: Control, mu: Array) -> Array:
    """Return the values of the control variable that bring the mean potential to ``mu``."""
    statistics, step = membrane_statistics(neuron, background), leverage(neuron, background, control)
    x = control_value(neuron, control) + (mu - statistics.mu) / step
    if control == "balance":
        excitatory, inhibitory = synaptic_shares(neuron, background)
        low, high = statistics.mu - excitatory * step, statistics.mu + inhibitory * step
        if mu.min() < low or mu.max() > high:
            raise CalibrationError(
                f"calibrate: the balance moves the mean potential from {low:.4g} to {high:.4g} mV, the response "
                f"needs {mu.min():.4g} to {mu.max():.4g} mV: move v_rest or i_offset, raise the rates, or use "
                "control='i_offset'"
            )
    return x


def _joined(one: ResponseCurve, other: ResponseCurve) -> ResponseCurve:
    """Return the points of both curves, in the order of mu."""
    order = np.argsort(np.concatenate([one.mu, other.mu]))
    fields = {
        name: np.concatenate([getattr(one, name), getattr(other, name)])[order]
        for name in ("mu", "p", "error", "x")
    }
    return dataclasses.replace(one, **fields)


def calibrate_many(
    neurons: Sequence[Neuron],
    background: PoissonBackground | Sequence[PoissonBackground],
    *,
    control: Control = "v_rest",
    method: str = "density",
    points: int = 21,
    dt: float | None = None,
    processes: int | None = None,
    progress: Progress | None = None,
) -> list[Calibration]:
    """Calibrate many neurons by theory, on all cores: ``[calibrate(neuron, background) for neuron in neurons]``.

    Parameters
    ----------
    neurons
        The neurons.
    background
        One for all, or one a neuron.
    control, method, points, dt
        As in ``calibrate``; for ``method="simulation"`` call ``calibrate``, which has threads of its own.
    processes
        Number of worker processes; ``None``: as many as there are cores.
    progress
        Called with (neurons done, neurons in all).

    Raises
    ------
    CalibrationError
        Naming the first neuron that can't be calibrated; the others are then given up.
    """
    import concurrent.futures
    import multiprocessing

    require(method != "simulation", "method", "a theory (calibrate simulates on all cores itself)", method)
    backgrounds = [background] * len(neurons) if isinstance(background, PoissonBackground) else list(background)
    require(len(backgrounds) == len(neurons), "background", f"one, or {len(neurons)}", f"{len(backgrounds)}")
    # spawned, not forked: a fork would copy the threads of NumPy's and Numba's pools half-way
    context = multiprocessing.get_context("spawn")
    found: list[Calibration] = []
    with concurrent.futures.ProcessPoolExecutor(processes, mp_context=context) as pool:
        one = functools.partial(calibrate, control=control, method=method, points=points, dt=dt)
        pending = [pool.submit(one, *pair) for pair in zip(neurons, backgrounds)]
        for k, future in enumerate(pending):
            try:
                found.append(future.result())
            except BoltzspikeError as error:
                pool.shutdown(cancel_futures=True)
                raise type(error)(f"calibrate_many: neuron {k}: {error}") from None
            if progress:
                progress(k + 1, len(neurons))
    return found


def calibrate_network(
    calibration: Calibration,
    *,
    synapse: Synapse | None = None,
    networks: int = 250,
    duration: float = 3.2e6,
    chains: int = 64,
    dt: float = 0.1,
    seed: int = 1,
    engine: str = "numba",
    threads: int | None = None,
    progress: Progress | None = None,
) -> Calibration:
    """Return the calibration with the learned translation rule for networks of its neuron.

    Small random networks of several families are simulated, and the parameters that were handed to them are
    regressed on the machines that they turned out to be (``translation.learned``). It is done once for a neuron,
    background and synapse.

    Parameters
    ----------
    calibration
        Of the neuron.
    synapse
        The recurrent synapse; ``None``: renewing.
    networks
        Number of networks.
    duration
        Biological time of each network in ms, all chains together.
    chains, dt, seed, engine, threads
        Of the simulation.
    progress
        Called with (networks done, networks in all).

    Raises
    ------
    CalibrationError
        Where the networks that can be learned from are too few.
    """
    _check_dt(calibration, dt)
    require(_whole(networks) and networks >= 1, "networks", "an integer, at least 1", networks)
    synapse = synapse or Synapse()
    half = max(round(calibration.neuron.tau_refrac / 2 / dt), 1)

    def joint_of(weights: Array, biases: Array, number: int) -> Array:
        network = network_of(weights, biases, calibration, synapse)
        of_network = int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0])
        samples, _ = _run(
            network, duration / chains, chains, dt, of_network, engine, threads, Record(states_every=half),
            burn_in=500.0,
        )  # fmt: skip
        assert samples.states is not None
        return joint(samples.states)

    examples = teach(joint_of, networks=networks, seed=seed, progress=progress)
    learned = network_calibration(
        examples, calibration, synapse, duration=duration, dt=dt, seed=seed, version=version("boltzspike")
    )
    return dataclasses.replace(calibration, network=learned)


def tune(
    machine: Machine,
    *,
    calibration: Calibration | None = None,
    start: Translation | None = None,
    synapse: Synapse | None = None,
    clamp: Mapping[int | str, int] | None = None,
    fill: bool | None = None,
    steps: int = 12,
    tolerance: float = 1e-3,
    duration: float = 1e5,
    chains: int = 64,
    dt: float = 0.1,
    seed: int = 1,
    engine: str = "numba",
    threads: int | None = None,
    on_step: Callable[[int, Step], None] | None = None,
) -> Translation:
    """Return a translation tuned in the loop: the network's moments are brought to those of the target.

    Give it to ``sample`` as ``rule``, with the same evidence.

    Parameters
    ----------
    machine
        The target.
    calibration, synapse
        As in ``sample``.
    start
        Where to begin, for example a translation tuned before; ``None``: the best rule without tuning.
    clamp
        Evidence: the machine of the other units given it is tuned.
    fill
        Whether units that share a neighbour may become coupled, which sparse machines with strong weights need;
        ``False`` keeps the couplings of the target. ``None``: yes, but not for an RBM, which stays bipartite.
    steps
        Runs of the network at most.
    tolerance
        D_KL at which it stops.
    duration
        Biological time per chain of the longest runs, in ms.
    chains, dt, seed, engine, threads
        Of the runs.
    on_step
        Called after each run with its number and the best step so far, whose ``translation`` may be saved.
    """
    calibration = calibration or (start.calibration if start is not None else _default_calibration())
    _check_dt(calibration, dt)
    require(_whole(chains) and chains >= GROUPS, "chains", f"an integer, at least {GROUPS} for an error", chains)
    plain = _plain(machine.given(clamp_indices(machine, clamp or {}))[0])
    if start is None:
        start = translate(plain, with_network(calibration), synapse=synapse, states_of=working_point)
    _check_target("start", start, plain)
    if fill is None:
        fill = not isinstance(machine, RestrictedBoltzmannMachine)
    half = max(round(calibration.neuron.tau_refrac / 2 / dt), 1)

    def sampler(translation: Translation, number: int, share: float) -> Moments:
        of_run = int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0])
        samples, _ = _run(
            translation.network, share * duration, chains, dt, of_run, engine, threads, Record(states_every=half),
            burn_in=1000.0,
        )  # fmt: skip
        assert samples.states is not None
        group = np.array_split(samples.states, GROUPS)
        pairs_of_group = np.stack([pairs(states) for states in group])
        return Moments(marginals=np.diagonal(pairs_of_group, axis1=1, axis2=2), pairs=pairs_of_group)

    return tune_in_the_loop(
        start, working_point(plain), sampler, fill=fill, steps=steps, tolerance=tolerance, on_step=on_step
    )


def error_budget(result: Result, *, duration: float | None = None, threads: int | None = None) -> Budget:
    """Return how much of the bias of a result comes from which idealisation that the network gives up.

    The network is simulated again with one thing changed: memoryless units with its PSPs, and with its response;
    current-based neurons of the same mean membrane and noise; the delay longer by
    a step; half the step.

    Parameters
    ----------
    result
        Of ``sample`` with LIF neurons, exponential synapses of one time constant, and at most 12 free units.
    duration
        Biological time per chain of each variant in ms; ``None``: that of the result.
    """
    from boltzspike import abstract

    calibration, network, translation = result.calibration, result.network, result.translation
    if calibration is None or network is None or translation is None:
        raise ValidationError("error_budget: needs a result of LIF neurons, made by this version")
    neuron, synapse, how = calibration.neuron, network.synapse, result.configuration
    one_time = neuron.tau_syn_exc == neuron.tau_syn_inh and neuron.kernel == "exponential"
    if not one_time or how["clamping"] != "bias" or synapse.plasticity not in ("renewing", "additive"):
        raise UnsupportedFeature(
            "error_budget: needs exponential synapses of one time constant, renewing or additive, clamping='bias'"
        )
    dt, chains, target = how["dt_ms"], how["chains"], _plain(result.target())
    duration = how["duration_ms"] if duration is None else duration
    tau, n = round(neuron.tau_refrac / dt), target.n_units
    weights, biases = np.asarray(translation.effective_weights), np.asarray(translation.effective_biases)
    groups = min(chains, 16)

    def grouped(samples: Samples) -> Array:
        assert samples.states is not None
        return np.stack([joint(states) for states in np.array_split(samples.states, groups)])

    def simulated(of: SpikingNetwork, step: float = dt) -> Array:
        every = Record(states_every=round(neuron.tau_refrac / step))
        seed = how["seed"] + 1
        return grouped(_run(of, duration, chains, step, seed, how["engine"], threads, every, burn_in=1000.0)[0])

    curve_at = np.linspace(-9, 9, 37)
    mu = calibration.u0 + calibration.alpha * curve_at
    p_of_u, _ = predict(neuron, calibration.background, mu, method="density")

    trace: Any = synapse.plasticity

    def memoryless(response: Callable[[Array], Array]) -> Array:
        runner = abstract.Neural(
            weights, biases, tau=tau, response=response, trace=trace, tau_syn=neuron.tau_syn_exc / dt,
            dt=dt, threads=threads or os.cpu_count() or 1,
        )  # fmt: skip
        _, state = runner.run(runner.init(seed=how["seed"], chains=chains), 100 * tau, Record())
        return grouped(runner.run(state, round(duration / dt), Record(states_every=tau))[0])

    delay = dt if synapse.delay is None else synapse.delay
    late = dataclasses.replace(synapse, delay=delay + dt)
    fine = dataclasses.replace(synapse, delay=delay)
    with_currents = translation
    if isinstance(neuron, LIF):
        with_currents = dataclasses.replace(translation, calibration=_current_based(calibration))
    variants = {
        "traces": memoryless(lambda u: 1 / (1 + np.exp(-u))),
        "response": memoryless(lambda u: np.interp(u, curve_at, p_of_u)),
        "currents": simulated(with_currents.network),
        "delay": simulated(dataclasses.replace(network, synapse=late)),
        "step": simulated(dataclasses.replace(network, synapse=fine), dt / 2),
        "network": grouped(result.samples),
    }
    marginals = variants["network"].mean(axis=0) @ all_states(n)
    traces = mean_trace(marginals, tau, neuron.tau_syn_exc / dt, synapse.plasticity == "renewing")
    divergence = result.kl_divergence()
    return compute_budget(
        target, variants, weights @ (traces - marginals), (weights, biases), bias=divergence.bias,
        bias_error=divergence.error, floor=divergence.floor,
    )  # fmt: skip


def _current_based(calibration: Calibration) -> Calibration:
    """Return the calibration of a current-based neuron of the same mean membrane and the same noise."""
    neuron, background = calibration.neuron, calibration.background
    assert isinstance(neuron, LIF)
    rates, weights = np.asarray(background.rates), np.asarray(background.weights)
    reversal = np.where(weights > 0, neuron.e_rev_exc, neuron.e_rev_inh)
    same = CurrentLIF(
        c_m=neuron.c_m,
        tau_m=membrane_statistics(neuron, background).tau_eff,
        v_rest=neuron.v_rest,
        v_reset=neuron.v_reset,
        v_thresh=neuron.v_thresh,
        tau_refrac=neuron.tau_refrac,
        tau_syn_exc=neuron.tau_syn_exc,
        tau_syn_inh=neuron.tau_syn_inh,
    )
    currents = PoissonBackground(rates=rates, weights=np.abs(weights) * (reversal - neuron.v_thresh))
    return calibrate(same, currents, control="v_rest")


def working_point(machine: BoltzmannMachine, clamp: Mapping[int, int] | None = None) -> WorkingPoint:
    """Return the states over which the rules average: all of a small machine, else samples by Gibbs' method.

    With ``clamp`` they are those under this evidence, the clamped units at their values.
    """
    conditioned, free = machine.given(clamp or {})
    if conditioned.n_units <= ENUMERATED_UNITS:
        point = enumerated(conditioned)
    else:
        samples, _ = _sample_abstract(
            conditioned, "gibbs", 1.0, _POINT_SWEEPS, _POINT_CHAINS, 0, None, burn_in=_POINT_SWEEPS, progress=None
        )
        assert samples.states is not None
        states = samples.states.reshape(-1, conditioned.n_units)
        point = WorkingPoint(
            states=states,
            probabilities=np.full(len(states), 1 / len(states)),
            source=f"{len(states)} states by Gibbs sampling",
        )
    if not clamp:
        return point
    states = np.zeros((len(point.states), machine.n_units), dtype=np.int8)
    states[:, list(clamp)] = list(clamp.values())
    states[:, free] = point.states
    return dataclasses.replace(point, states=states)


_POINT_CHAINS, _POINT_SWEEPS = 256, 60.0
"""Of the Gibbs samples: the chains are many, as modes may be left seldom."""


def _plain(machine: Machine) -> BoltzmannMachine:
    return machine.to_boltzmann() if isinstance(machine, RestrictedBoltzmannMachine) else machine


def design(
    neuron: Neuron,
    *,
    alpha: float | None = None,
    sigma: float | None = None,
    tau_eff: float | None = None,
    rate: float = 3000.0,
    control: Control = "v_rest",
) -> Calibration:
    """Return a background for a neuron, calibrated: with the wanted slope or noise, speed, and p = 1/2 unbiased.

    Parameters
    ----------
    neuron
        The neuron; its v_rest and i_offset stand for bias 0.
    alpha, sigma
        Wanted slope of the logistic, or wanted standard deviation of the effective potential, mV; one of the two.
    tau_eff
        Wanted effective membrane time constant, ms (conductance-based neurons).
    rate
        Rate of each of the two sources of a current-based neuron, Hz; otherwise the rates follow.
    control
        The variable that is to carry the bias.

    Returns
    -------
    A calibration whose ``background`` is the one designed.

    Raises
    ------
    ValidationError
        Naming what can't be reached and the range that can.
    """
    require((alpha is None) != (sigma is None), "design", "given either alpha or sigma", "both or neither")
    for name, value in (("alpha", alpha), ("sigma", sigma)):
        require(value is None or (np.isfinite(value) and value > 0), f"design.{name}", "> 0 mV", value)
    spread = sigma if sigma is not None else alpha / 0.57  # type: ignore[operator]  # one of them is given
    mu = neuron.v_thresh
    for _ in range(_DESIGN_STEPS):
        background = design_background(neuron, sigma=spread, tau_eff=tau_eff, mu=mu, rate=rate)
        calibration = calibrate(neuron, background, control=control)
        misfit = 0.0 if alpha is None else abs(calibration.alpha / alpha - 1)
        if misfit < _DESIGN_PRECISION and abs(calibration.u0 - mu) < _DESIGN_PRECISION * calibration.alpha:
            return calibration
        mu = calibration.u0
        if alpha is not None:
            spread *= alpha / calibration.alpha
    raise CalibrationError(
        f"design: no background found in {_DESIGN_STEPS} steps: alpha = {calibration.alpha:.4g} mV, "
        f"u0 - mu = {calibration.u0 - mu:.3g} mV are left; ask for a larger alpha or a shorter tau_eff"
    )


_DESIGN_STEPS = 12
_DESIGN_PRECISION = 2e-3
"""Relative to alpha; the density's own error is about that."""


def sample(
    machine: Machine | BayesianNetwork | Compiled,
    *,
    calibration: Calibration | None = None,
    duration: float = 1e5,
    chains: int = 64,
    seed: int = 1,
    rule: str | Translation | None = None,
    synapse: Synapse | None = None,
    engine: str = "numba",
    dt: float = 0.1,
    clamp: Mapping[int | str, int] | None = None,
    evidence: Evidence | None = None,
    likelihoods: Mapping[str, object] | None = None,
    clamping: str = "bias",
    burn_in: float = 1000.0,
    draw_every: float | None = None,
    record: str | Record = "states",
    checkpoint: str | os.PathLike[str] | None = None,
    resume: str | os.PathLike[str] | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Result:
    """Sample a Boltzmann machine, or the posterior of a Bayesian network, with a network of LIF neurons.

    Parameters
    ----------
    machine
        The target. A Bayesian network is compiled to a Boltzmann machine by ``compile_bayes`` with its defaults;
        for other ways pass what that function returns.
    calibration
        Of the neuron; ``None``: preset S1, from theory.
    duration
        Biological time per chain in ms, after ``burn_in`` ms that are discarded.
    chains
        Number of independent copies of the network.
    seed
        The same seed gives the same samples: on any number of threads, and for chain k whatever the number of
        chains. Another engine, dt or version may give others.
    rule
        Translation rule, ``"psp"``, ``"matched"`` or ``"learned"``, or a ``Translation`` made before (of the
        machine under the evidence); ``None``: the best that the calibration, or one that ships with this version,
        allows. synapse
        Recurrent synapse; ``None``: renewing, delay of one dt.
    engine
        ``"numba"``; ``"numba-exact"`` and ``"reference"``, which agree spike by spike, are slower. Without
        membranes, and without a translation: ``"gibbs"``, ``"gibbs-random"`` (order of the updates) and
        ``"buesing"`` (``abstract``); a sweep, or 20 steps of Buesing's neurons, count as one tau_refrac.
    dt
        Time step in ms.
    clamp
        Evidence about a machine, ``{unit name or index: 0 or 1}``.
    evidence
        Evidence about a Bayesian network, ``{variable: state}``.
    likelihoods
        Soft evidence about a Bayesian network, ``{variable: {state: likelihood}}``.
    clamping
        ``"bias"``: clamped units are not simulated, they act through the biases of their neighbours (exact for
        the target). ``"spikes"``: their neurons are held, firing at every chance or never.
    draw_every
        Time between draws in ms; ``None``: tau_refrac.
    record
        What to keep. ``"states"``: those of every draw. Without a raster, in memory that does not grow with the
        duration: ``"moments"``, for ``marginals`` (of each chain, every step counts) and ``pairs`` (draws of all
        chains); ``"joint"``, also for ``joint`` and ``kl_divergence`` (of each chain, every step counts; at most
        24 simulated units). Or a ``Record``, in steps, with all that can be asked for.
    checkpoint
        File for the state at the end of the run, also of one that was interrupted.
    resume
        Such a file: go on where that run of the same network ended, without burn-in. Seed and chains must be the
        same; the samples are those that a longer run would have given.
    threads
        ``None``: all cores.
    progress
        Called now and then with (steps done, steps in all).

    Returns
    -------
    A ``Result``; for a Bayesian network a ``PosteriorResult``, which has ``posterior()`` and the like.

    Raises
    ------
    Interrupted
        At the first Ctrl-C or SIGTERM, within about a quarter of a second; its ``result`` holds what was sampled
        until then, and is marked in ``configuration["partial"]``. A second Ctrl-C is a ``KeyboardInterrupt``. A
        handler that the caller has set is left alone.
    """
    if checkpoint is not None:
        files.check_writable(Path(checkpoint), force=True)
    compiled = None
    if isinstance(machine, BayesianNetwork):
        compiled = compile_bayes(machine, evidence, likelihoods=likelihoods)
    elif isinstance(machine, Compiled):
        compiled = machine
    if compiled is machine or compiled is None:
        given = [
            name for name, value in (("evidence", evidence), ("likelihoods", likelihoods)) if value is not None
        ]
        hint = "clamp={unit: 0 or 1}" if compiled is None else "what was given to compile_bayes"
        require(not given, ", ".join(given), f"left out here: this target takes {hint}", "values")
    if compiled is not None:
        require(not clamp, "clamp", "left out: a Bayesian network takes evidence={variable: state}", clamp)
        machine = compiled.machine
    assert not isinstance(machine, BayesianNetwork | Compiled)
    if calibration is None:
        calibration = _default_calibration()
    _check_dt(calibration, dt)
    require(clamping in ("bias", "spikes"), "clamping", "'bias' or 'spikes'", clamping)
    clamped = clamp_indices(machine, clamp or {})
    conditioned, free = machine.given(clamped)
    if clamping == "spikes":
        conditioned, free = machine, np.arange(machine.n_units)
    plain = _plain(conditioned)
    every, translation, stopped = None, None, None
    if engine in ABSTRACT:
        require(rule is None, "rule", f"None with the engine {engine!r}, which samples the machine itself", rule)
        require(record == "states", "record", f"'states' with the engine {engine!r}", record)
        conditioned, free = machine.given(clamped)
        plain = _plain(conditioned)
        tau = calibration.neuron.tau_refrac
        run = functools.partial(_sample_abstract, plain, engine, tau, duration, chains, seed, threads)
    else:
        translation = _translation(plain, rule, calibration, synapse, clamped if clamping == "spikes" else {})
        every = steps_of(draw_every if draw_every is not None else calibration.neuron.tau_refrac, dt, "draw_every")
        kept = _record(record, every, plain.n_units)
        run = functools.partial(
            _run, translation.network, duration, chains, dt, seed, engine, threads, kept,
            clamp=clamped if clamping == "spikes" else None,
        )  # fmt: skip
    try:
        samples, how = run(burn_in=burn_in, progress=progress, checkpoint=checkpoint, resume=resume)
    except _Stopped as stop:
        samples, how, stopped = stop.samples, stop.how, stop
    if translation is None:
        dt, draw_every = samples.dt, calibration.neuron.tau_refrac
    else:
        assert every is not None
        draw_every = every * dt
        how["rule"] = translation.rule
        how["predicted_d_kl"] = translation.predicted_error
        how["translation"] = [*translation.notes, *translation.warnings]
    configuration = {
        "duration_ms": duration,
        "sampled_ms": (samples.stop - samples.start) * dt,
        "partial": stopped is not None,
        "burn_in_ms": burn_in,
        "chains": chains,
        "seed": int(seed),
        "record": record if isinstance(record, str) else "chosen",
        "engine": engine,
        "dt_ms": dt,
        "draw_every_ms": draw_every,
        "clamping": clamping,
        **how,
        "versions": {
            "boltzspike": version("boltzspike"),
            "numpy": np.__version__,
            "python": platform.python_version(),
        },
        "machine": platform.machine(),
    }
    fields: dict[str, Any] = {
        "machine": machine, "clamp": clamped, "calibration": None if translation is None else calibration,
        "network": None if translation is None else translation.network, "translation": translation,
        "samples": samples, "simulated": free, "configuration": configuration,
    }  # fmt: skip
    result = Result(**fields) if compiled is None else PosteriorResult(compiled=compiled, **fields)
    if stopped is not None:
        message = f"{stopped}; this exception's .result holds what was sampled"
        raise Interrupted(message, signal=stopped.signal, result=result) from None
    return result


def _record(record: str | Record, every: int, units: int) -> Record:
    """Return the record of that name for draws ``every`` so many steps, or the one given."""
    if isinstance(record, Record):
        return record
    require(record in ("states", "moments", "joint"), "record", "'states', 'moments', 'joint' or a Record", record)
    if record == "states":
        return Record(states_every=every)
    if record == "moments":
        return Record(occupancy=True, pairs_every=every)
    allowed = f"'states' or 'moments' with more than {MAX_JOINT_UNITS} simulated units, here {units}"
    require(units <= MAX_JOINT_UNITS, "record", allowed, record)
    return Record(occupancy=True, pairs_every=every, joint=tuple(range(units)))


def _translation(
    machine: BoltzmannMachine,
    rule: str | Translation | None,
    calibration: Calibration,
    synapse: Synapse | None,
    held: Mapping[int, int],
) -> Translation:
    """Return the translation that ``rule`` gives or is; units in ``held`` are simulated at these values."""
    if isinstance(rule, Translation):
        _check_target("rule", rule, machine)
        translation = rule
    else:
        states_of = functools.partial(working_point, clamp=held)
        known = with_network(calibration)
        translation = translate(machine, known, synapse=synapse, rule=rule, states_of=states_of)
    for text in translation.warnings:
        warnings.warn(text, BoltzspikeWarning, stacklevel=3)
    return translation


def with_network(calibration: Calibration) -> Calibration:
    """Return the calibration with the learned rule of the preset of the same neuron, if it holds none."""
    if calibration.network is not None:
        return calibration
    for name in presets.ALL:
        shipped = _shipped(name)
        if shipped is not None and shipped.same_neuron(calibration):
            return dataclasses.replace(calibration, network=shipped.network)
    return calibration


@functools.cache
def _shipped(preset: str) -> Calibration | None:
    """Return the calibration, with its learned rule, that ships for a preset."""
    file = importlib.resources.files("boltzspike") / "calibrations" / f"{preset}.json"
    if not file.is_file():
        return None
    with importlib.resources.as_file(file) as path:
        calibration: Calibration = files.read(path)
    return calibration


def _check_target(where: str, translation: Translation, machine: BoltzmannMachine) -> None:
    if translation.machine != machine:
        raise ValidationError(
            f"{where}: the translation was made for another machine, or for other evidence "
            f"({translation.machine.n_units} free units, here {machine.n_units}); make one for this"
        )


def _check_dt(calibration: Calibration, dt: float) -> None:
    require(bool(np.isfinite(dt)) and dt > 0, "dt", "> 0 ms", dt)
    if calibration.dt is not None and abs(calibration.dt - dt) > 1e-9:
        raise ValidationError(
            f"dt: must be {calibration.dt:g} ms, that of the calibration, got {dt:g}; "
            "calibrate at this dt, or from theory without one"
        )


@functools.cache
def _default_calibration() -> Calibration:
    return calibrate(presets.S1.neuron, presets.S1.background, control=presets.S1.control)


def _working_range(neuron: Neuron, background: PoissonBackground) -> tuple[float, float]:
    """Return mean potentials between which the response lies, found on a coarse grid of +- 50 sigma."""
    sigma = membrane_statistics(neuron, background).sigma
    probe = neuron.v_thresh + sigma * 50 * np.linspace(-1, 1, 201) ** 3
    p, _ = predict(neuron, background, probe, method="adiabatic")
    low, high = np.interp([0.005, 0.995], p, probe)
    return float(low), float(high)


class _Stopped(Interrupted):
    """A run that was stopped, with what it left."""

    def __init__(self, message: str, *, signal: int, samples: Samples, how: dict[str, Any]) -> None:
        super().__init__(message, signal=signal)
        self.samples, self.how = samples, how


def _run(
    network: SpikingNetwork,
    duration: float,
    chains: int,
    dt: float,
    seed: int,
    engine: str,
    threads: int | None,
    record: Record,
    *,
    burn_in: float,
    clamp: dict[int, int] | None = None,
    progress: Progress | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: str | os.PathLike[str] | None = None,
) -> tuple[Samples, dict[str, Any]]:
    """Return the samples, and how they came: what was approximated, seconds of sampling and of all before it."""
    program = compile_program(network, dt=dt, clamp=clamp)
    return _advance(
        lambda: get_engine(engine, threads=threads).prepare(program), program.n_units, duration, chains, dt, seed,
        threads, record, burn_in=burn_in, longest=int(program.refractory_steps.max()),
        shortest=program.shortest_refractory, delay=program.delay_steps,
        synapses=program.weights.nnz if is_sparse(program.weights) else None, progress=progress,
        identity=(engine, program), checkpoint=checkpoint, resume=resume,
    )  # fmt: skip


def _advance(
    prepare: Callable[[], Any],
    units: int,
    duration: float,
    chains: int,
    dt: float,
    seed: int,
    threads: int | None,
    record: Record,
    *,
    burn_in: float,
    longest: int,
    shortest: int,
    progress: Progress | None,
    identity: tuple[str, Any],
    delay: int = 1,
    synapses: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: str | os.PathLike[str] | None = None,
) -> tuple[Samples, dict[str, Any]]:
    """Run what ``prepare`` returns; ``longest`` and ``shortest`` are refractory periods in steps.

    ``identity`` names the engine and holds all that the run depends on, for checkpoints.
    """
    check_seed(seed)
    require(_whole(chains) and 1 <= chains <= 2**20, "chains", "an integer in 1 .. 2^20", chains)
    most = 4 * (os.cpu_count() or 1)
    require(threads is None or (_whole(threads) and 1 <= threads <= most), "threads", f"in 1 .. {most}", threads)
    require(np.isfinite(burn_in) and burn_in >= 0, "burn_in", ">= 0 ms", burn_in)
    require(np.isfinite(duration) and duration > 0, "duration", "> 0 ms", duration)
    for name, time_given in (("duration", duration), ("burn_in", burn_in)):
        require(time_given / dt <= MOST_STEPS, name, f"at most {MOST_STEPS * dt:.3g} ms (2^46 steps)", time_given)
    record.check(units)
    least = max(record.draws_every, longest)
    steps = round(duration / dt)
    require(steps >= least, "duration", f"at least {least * dt:g} ms (one draw)", duration)
    check_memory(record, steps, chains, units, shortest, delay=delay, synapses=synapses)
    started = time.perf_counter()
    runner = prepare()
    with stop_requests() as requests:
        # a first pass of no steps compiles what is to be recorded
        fresh = runner.init(seed=seed, chains=chains)
        runner.run(fresh, 0, record)
        if resume is None:
            discarded = round(burn_in / dt / least) * least
            _, state = in_chunks(runner, fresh, discarded, Record(), least=least, requests=requests)
        else:
            state = checkpoints.read_state(resume, runner, *identity, like=fresh)
        sampling = time.perf_counter()
        parts = 1 if chains >= MIN_BLOCKS else min(-(-MIN_BLOCKS // chains), steps)
        joining, state = in_chunks(
            runner, state, steps, record, least=least, requests=requests, parts=parts, progress=progress
        )
    stopped = requests.signal if joining.steps < steps else None
    if stopped is not None and not joining.draws(max(record.draws_every, 1)):
        raise KeyboardInterrupt
    if checkpoint is not None:
        checkpoints.save_state(checkpoint, state, runner, *identity)
    samples = joining.joined()
    how = {
        "approximation": runner.approximation,
        "wall_seconds": time.perf_counter() - sampling,
        "setup_seconds": sampling - started,
    }
    if stopped is not None:
        message = f"{stopped.name} after {joining.steps * dt:g} of {steps * dt:g} ms"
        raise _Stopped(message, signal=int(stopped), samples=samples, how=how)
    return samples, how


ABSTRACT = ("gibbs", "gibbs-random", "buesing")
"""Samplers without membranes, named like engines."""
_BUESING_TAU = 20


def _sample_abstract(
    machine: BoltzmannMachine,
    engine: str,
    tau_refrac: float,
    duration: float,
    chains: int,
    seed: int,
    threads: int | None,
    *,
    burn_in: float,
    progress: Progress | None,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: str | os.PathLike[str] | None = None,
) -> tuple[Samples, dict[str, Any]]:
    """Sample without membranes: a sweep of Gibbs' method, or tau steps of Buesing's, last a refractory period."""
    from boltzspike import abstract

    per_draw = 1 if engine.startswith("gibbs") else _BUESING_TAU
    dt, cores = tau_refrac / per_draw, threads or os.cpu_count() or 1
    weights, biases = np.asarray(machine.weights), np.asarray(machine.biases)

    def prepare() -> Any:
        if engine == "buesing":
            return abstract.Neural(weights, biases, tau=_BUESING_TAU, dt=dt, threads=cores)
        scan: Any = "random" if engine == "gibbs-random" else "sequential"
        return abstract.Gibbs(weights, biases, scan=scan, dt=dt, threads=cores)

    return _advance(
        prepare, len(biases), duration, chains, dt, seed, threads, Record(states_every=per_draw), burn_in=burn_in,
        longest=per_draw, shortest=per_draw, progress=progress, identity=(engine, (weights, biases)),
        checkpoint=checkpoint, resume=resume,
    )  # fmt: skip


def _whole(number: object) -> bool:
    return isinstance(number, int | np.integer) and not isinstance(number, bool)
