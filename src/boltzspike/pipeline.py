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
from typing import Any

import numpy as np

from boltzspike import files
from boltzspike.calibration import Calibration, ResponseCurve, calibration_from_curve
from boltzspike.diagnostics import joint, pairs
from boltzspike.engines import get_engine
from boltzspike.errors import (
    BoltzspikeError,
    BoltzspikeWarning,
    CalibrationError,
    UnsupportedFeature,
    ValidationError,
    require,
)
from boltzspike.model import presets
from boltzspike.model.background import PoissonBackground
from boltzspike.model.boltzmann import BoltzmannMachine, Machine, RestrictedBoltzmannMachine, clamp_indices
from boltzspike.model.description import Array
from boltzspike.model.network import SpikingNetwork
from boltzspike.model.neuron import LIF, Control, CurrentLIF, Neuron, with_control
from boltzspike.model.synapse import Synapse
from boltzspike.program import compile_program, steps_of
from boltzspike.result import Reference, Result
from boltzspike.samples import Record, Samples
from boltzspike.streams import check_seed
from boltzspike.theory.design import design_background
from boltzspike.theory.exact import Exact, all_states, exact_given
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
    method: str = "density",
    duration: float = 1e5,
    chains: int = 16,
    dt: float = 0.1,
    seed: int = 1,
    engine: str = "numba",
    threads: int | None = None,
) -> ResponseCurve:
    """Return p(z=1) against the control variable.

    Parameters
    ----------
    neuron, background
        The neuron and its bombardment.
    v_rest, i_offset
        Values of the control variable, shape (m,), mV or nA; exactly one of the two.
    method
        ``"density"``: numerically exact; ``"burst"``: the paper's theory; another of ``theory.predict``;
        ``"simulation"``: one uncoupled neuron a point.
    duration, chains, dt, seed, engine, threads
        Of the simulation: biological ms per chain, number of chains, time step in ms.

    Returns
    -------
    A ``ResponseCurve`` with fields x, mu, p, error and rate (Hz), each of shape (m,).
    """
    require(
        (v_rest is None) != (i_offset is None), "response", "given either v_rest or i_offset", "both or neither"
    )
    control: Control = "v_rest" if v_rest is not None else "i_offset"
    x = np.atleast_1d(np.asarray(v_rest if v_rest is not None else i_offset, dtype=float))
    require(bool(np.isfinite(x).all()) and x.ndim == 1, control, "an array of finite numbers", x)
    statistics = membrane_statistics(neuron, background)
    mu = statistics.mu + (x - getattr(neuron, control)) * leverage(neuron, background, control)
    step = None
    if method == "simulation":
        neurons = [with_control(neuron, control, value) for value in x]
        network = SpikingNetwork(neurons=neurons, backgrounds=background, weights=np.zeros((len(x), len(x))))
        samples, _ = _run(network, duration, chains, dt, seed, engine, threads, Record(spikes=True), burn_in=500.0)
        assert samples.spikes is not None
        on = samples.spikes.marginals()
        require(chains >= 2, "chains", "at least 2, for a standard error", chains)
        # a point that never spiked is known to within one spike
        least = neuron.tau_refrac / (duration * chains)
        p, error, step = on.mean(axis=0), np.maximum(on.std(axis=0, ddof=1) / np.sqrt(chains), least), dt
    else:
        p, error = predict(neuron, background, mu, method=method)
    return ResponseCurve(
        mu=mu, p=p, error=error, tau_refrac=neuron.tau_refrac, method=method, dt=step, control=control, x=x
    )


def calibrate(
    neuron: Neuron,
    background: PoissonBackground,
    *,
    control: Control = "v_rest",
    method: str = "density",
    points: int = 21,
    duration: float = 1e5,
    chains: int = 16,
    dt: float = 0.1,
    seed: int = 1,
    engine: str = "numba",
    threads: int | None = None,
) -> Calibration:
    """Return the logistic of a neuron under a background.

    The neuron's own v_rest or i_offset need not lie near the working point: the range of the control
    variable is where the adiabatic theory finds p between .005 and .995.

    Parameters
    ----------
    neuron, background
        The neuron and its bombardment.
    control
        The variable that is to carry the bias.
    method
        As in ``response``: from theory without any simulation, or ``"simulation"``.
    points
        Number of points of the curve.
    duration, chains, dt, seed, engine, threads
        Of the simulation.

    Raises
    ------
    CalibrationError
        Where no logistic can be had, with the reason.
    """
    if control not in ("v_rest", "i_offset"):
        raise ValidationError(f"control: must be 'v_rest' or 'i_offset', got {control!r}")
    require(points >= 5, "points", "at least 5", points)
    statistics = membrane_statistics(neuron, background)
    if not statistics.sigma > 0:
        raise CalibrationError(
            "calibrate: the background gives no noise (all rates or weights are 0), so the neuron is deterministic"
        )
    mu = _working_range(neuron, background, points)
    x = getattr(neuron, control) + (mu - statistics.mu) / leverage(neuron, background, control)
    values: dict[str, Any] = {control: x}
    curve = response(
        neuron, background, method=method, duration=duration, chains=chains, dt=dt, seed=seed, engine=engine,
        threads=threads, **values,
    )  # fmt: skip
    return calibration_from_curve(curve, neuron, background, control=control, version=version("boltzspike"))


def calibrate_many(
    neurons: Sequence[Neuron],
    background: PoissonBackground | Sequence[PoissonBackground],
    *,
    control: Control = "v_rest",
    method: str = "density",
    points: int = 21,
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
    control, method, points
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
        one = functools.partial(calibrate, control=control, method=method, points=points)
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

    def memoryless(response: Callable[[Array], Array]) -> Array:
        runner = abstract.Neural(
            weights, biases, tau=tau, response=response, trace=synapse.plasticity, tau_syn=neuron.tau_syn_exc / dt,
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


def reference(
    machine: Machine,
    clamp: Mapping[int | str, int] | None = None,
    *,
    error: float = 2e-3,
    updates: float = 3e8,
    seed: int = 1,
    threads: int | None = None,
    known: Exact | None = None,
) -> Reference:
    """Return the marginals under evidence: exact where that is in reach, else by long Gibbs sampling.

    The chains of the Gibbs samples begin at random states and double their length, the first half discarded, until
    the largest standard error is below ``error``. The errors come from the spread of the chains, so chains that
    don't mix show; a mode that none of them found does not.

    Parameters
    ----------
    machine
        The machine.
    clamp
        Evidence, ``{unit name or index: 0 or 1}``.
    error
        Largest standard error of a marginal that is wanted of the Gibbs samples.
    updates
        Updates of units to stop before all the same, 1000 sweeps at least; a warning then says what was reached.
    seed, threads
        Of the Gibbs samples.
    known
        The exact moments, where they have been computed already.
    """
    from boltzspike import abstract

    evidence = clamp_indices(machine, clamp or {})
    moments = known or exact_given(machine, evidence)
    if moments is not None:
        return Reference(
            marginals=moments.marginals, error=np.zeros(machine.n_units), exact=True, method=moments.method
        )
    require(error > 0, "error", "> 0", error)
    conditioned, free = machine.given(evidence)
    plain = _plain(conditioned)
    runner = abstract.Gibbs(plain.weights, plain.biases, threads=threads or os.cpu_count() or 1)
    state = runner.init(seed=seed, chains=_REFERENCE_CHAINS)
    z = np.random.default_rng(seed).integers(0, 2, state.z.shape, dtype=np.int8)
    state = dataclasses.replace(state, z=z)
    _, state = runner.run(state, _REFERENCE_SWEEPS, Record())
    sweeps, worst, per_chain = _REFERENCE_SWEEPS, np.inf, np.zeros(z.shape)
    while sweeps == _REFERENCE_SWEEPS or (worst > error and 2 * sweeps * z.size <= updates):
        per_chain[:] = 0
        passes = sweeps // _REFERENCE_SWEEPS
        for _ in range(passes):
            samples, state = runner.run(state, _REFERENCE_SWEEPS, Record(states_every=1))
            assert samples.states is not None
            per_chain += samples.states.mean(axis=1) / passes
        sweeps *= 2
        worst = float(per_chain.std(axis=0, ddof=1).max() / np.sqrt(_REFERENCE_CHAINS))
    if worst > error:
        warnings.warn(
            f"reference: the marginals by Gibbs sampling are known to {worst:.2g} only, not to {error:.2g}; the "
            "chains mix slowly, or more updates are needed (updates=)",
            BoltzspikeWarning,
            stacklevel=2,
        )
    marginals, errors = np.zeros(machine.n_units), np.zeros(machine.n_units)
    marginals[list(evidence)] = list(evidence.values())
    marginals[free] = per_chain.mean(axis=0)
    errors[free] = per_chain.std(axis=0, ddof=1) / np.sqrt(_REFERENCE_CHAINS)
    method = f"Gibbs sampling, {_REFERENCE_CHAINS} chains of {sweeps} sweeps"
    return Reference(marginals=marginals, error=errors, exact=False, method=method)


_REFERENCE_CHAINS, _REFERENCE_SWEEPS = 64, 500


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
    machine: Machine,
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
    clamping: str = "bias",
    burn_in: float = 1000.0,
    draw_every: float | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Result:
    """Sample a Boltzmann machine with a network of LIF neurons.

    Parameters
    ----------
    machine
        The target.
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
        Translation rule, ``"psp"`` or ``"learned"``, or a ``Translation`` made before (of the machine under the
        evidence); ``None``: the best that the calibration, or one that ships with this version, allows.
    synapse
        Recurrent synapse; ``None``: renewing, delay of one dt.
    engine
        ``"numba"``; ``"numba-exact"`` and ``"reference"``, which agree spike by spike, are slower. Without
        membranes, and without a translation: ``"gibbs"``, ``"gibbs-random"`` (order of the updates) and
        ``"buesing"`` (``abstract``); a sweep, or 20 steps of Buesing's neurons, count as one tau_refrac.
    dt
        Time step in ms.
    clamp
        Evidence, ``{unit name or index: 0 or 1}``.
    clamping
        ``"bias"``: clamped units are not simulated, they act through the biases of their neighbours (exact for
        the target). ``"spikes"``: their neurons are held, firing at every chance or never.
    draw_every
        Time between recorded states in ms; ``None``: tau_refrac.
    threads
        ``None``: all cores.
    progress
        Called now and then with (steps done, steps in all).
    """
    if calibration is None:
        calibration = _default_calibration()
    _check_dt(calibration, dt)
    require(clamping in ("bias", "spikes"), "clamping", "'bias' or 'spikes'", clamping)
    evidence = clamp_indices(machine, clamp or {})
    conditioned, free = machine.given(evidence)
    if clamping == "spikes":
        conditioned, free = machine, np.arange(machine.n_units)
    plain = _plain(conditioned)
    translation = None
    if engine in ABSTRACT:
        require(rule is None, "rule", f"None with the engine {engine!r}, which samples the machine itself", rule)
        plain, free = _plain(machine.given(evidence)[0]), machine.given(evidence)[1]
        tau = calibration.neuron.tau_refrac
        samples, how = _sample_abstract(
            plain, engine, tau, duration, chains, seed, threads, burn_in=burn_in, progress=progress
        )
        dt, draw_every = samples.dt, tau
    else:
        translation = _translation(plain, rule, calibration, synapse, evidence if clamping == "spikes" else {})
        every = steps_of(draw_every if draw_every is not None else calibration.neuron.tau_refrac, dt, "draw_every")
        samples, how = _run(
            translation.network, duration, chains, dt, seed, engine, threads, Record(states_every=every),
            burn_in=burn_in, clamp=evidence if clamping == "spikes" else None, progress=progress,
        )  # fmt: skip
        draw_every = every * dt
        how["rule"] = translation.rule
        how["predicted_d_kl"] = translation.predicted_error
        how["translation"] = [*translation.notes, *translation.warnings]
    configuration = {
        "duration_ms": duration,
        "burn_in_ms": burn_in,
        "chains": chains,
        "seed": int(seed),
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
    return Result(
        machine=machine,
        clamp=evidence,
        calibration=None if translation is None else calibration,
        network=None if translation is None else translation.network,
        translation=translation,
        samples=samples,
        simulated=free,
        configuration=configuration,
    )


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
    if calibration.dt is not None and abs(calibration.dt - dt) > 1e-9:
        raise ValidationError(
            f"dt: must be {calibration.dt:g} ms, that of the simulated calibration, got {dt:g}; "
            "calibrate at this dt, or from theory"
        )


@functools.cache
def _default_calibration() -> Calibration:
    return calibrate(presets.S1.neuron, presets.S1.background, control=presets.S1.control)


def _working_range(neuron: Neuron, background: PoissonBackground, points: int) -> Array:
    """Return mean potentials that span the response, found on a coarse grid of 50 sigma to either side."""
    sigma = membrane_statistics(neuron, background).sigma
    probe = neuron.v_thresh + sigma * 50 * np.linspace(-1, 1, 201) ** 3
    p, _ = predict(neuron, background, probe, method="adiabatic")
    low, high = np.interp([0.005, 0.995], p, probe)
    return np.linspace(low, high, points)


_PASSES = 50
"""Parts that a run is cut into, for progress; the samples don't depend on it."""


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
) -> tuple[Samples, dict[str, Any]]:
    """Return the samples, and how they came: what was approximated, seconds of sampling and of all before it."""
    program = compile_program(network, dt=dt, clamp=clamp)
    return _advance(
        lambda: get_engine(engine, threads=threads).prepare(program), program.n_units, duration, chains, dt, seed,
        threads, record, burn_in=burn_in, longest=int(program.refractory_steps.max()),
        shortest=int(program.refractory_steps.min()), progress=progress,
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
) -> tuple[Samples, dict[str, Any]]:
    """Run what ``prepare`` returns; ``longest`` and ``shortest`` are refractory periods in steps."""
    check_seed(seed)
    require(_whole(chains) and 1 <= chains <= 2**20, "chains", "an integer in 1 .. 2^20", chains)
    most = 4 * (os.cpu_count() or 1)
    require(threads is None or (_whole(threads) and 1 <= threads <= most), "threads", f"in 1 .. {most}", threads)
    require(np.isfinite(burn_in) and burn_in >= 0, "burn_in", ">= 0 ms", burn_in)
    require(np.isfinite(duration) and duration > 0, "duration", "> 0 ms", duration)
    least = max(record.states_every or 1, longest)
    steps = round(duration / dt)
    require(steps >= least, "duration", f"at least {least * dt:g} ms (one draw)", duration)
    _check_memory(record, steps, chains, units, shortest)
    started = time.perf_counter()
    runner = prepare()
    state = runner.init(seed=seed, chains=chains)
    discarded = round(burn_in / dt / least) * least
    # a first pass of no steps compiles what is to be recorded
    _, state = runner.run(state, 0, record)
    if discarded:
        _, state = runner.run(state, discarded, Record())
    sampling = time.perf_counter()
    parts, done = [], 0
    for end in np.linspace(0, steps, min(_PASSES, steps) + 1).round().astype(int)[1:]:
        part, state = runner.run(state, int(end) - done, record)
        parts.append(part)
        done = int(end)
        if progress:
            progress(done, steps)
    how = {
        "approximation": runner.approximation,
        "wall_seconds": time.perf_counter() - sampling,
        "setup_seconds": sampling - started,
    }
    return Samples.join(parts), how


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
        longest=per_draw, shortest=per_draw, progress=progress,
    )  # fmt: skip


def _check_memory(record: Record, steps: int, chains: int, units: int, shortest: int) -> None:
    """Raise, before anything is allocated, if what is to be recorded does not fit into memory."""
    states = steps // record.states_every if record.states_every else 0
    # a spike takes a chain, a unit and a step, eight bytes each; no neuron has more than one a refractory period
    spikes = 24 * (steps // shortest) if record.spikes else 0
    needed = chains * units * (states + spikes)
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    # parts are joined at the end: for a moment it is there twice
    allowed = (
        f"short enough for this machine's {memory / 2**30:.0f} GiB of memory; record less often, or fewer chains"
    )
    require(2 * needed < memory, "duration", allowed, f"one whose samples take {needed / 2**30:.3g} GiB")


def _whole(number: object) -> bool:
    return isinstance(number, int | np.integer) and not isinstance(number, bool)
