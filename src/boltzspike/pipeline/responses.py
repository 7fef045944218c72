"""From a neuron to its response and its calibration: response(), calibrate(), calibrate_many(), design()."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from boltzspike.calibration import Calibration, ResponseCurve, calibration_from_curve, control_value
from boltzspike.diagnostics import BurstStatistics, bursts
from boltzspike.engines import Engine
from boltzspike.errors import (
    BoltzspikeError,
    CalibrationError,
    require,
)
from boltzspike.model import presets
from boltzspike.model.background import PoissonBackground, at_control, synaptic_shares
from boltzspike.model.description import Array
from boltzspike.model.network import SpikingNetwork
from boltzspike.model.neuron import CONTROL_UNITS, Control, Neuron
from boltzspike.model.synapse import Synapse
from boltzspike.pipeline.running_networks import Progress, run_network
from boltzspike.samples import Record, Spikes
from boltzspike.streams import check_seed
from boltzspike.theory.design import design_background
from boltzspike.theory.gain import best_recovery
from boltzspike.theory.logistic import place_points
from boltzspike.theory.membrane import leverage, membrane_statistics
from boltzspike.theory.predict import predict


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
    engine: str | Engine = "numba",
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
    engine: str | Engine = "numba",
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
    engine: str | Engine,
    threads: int | None,
) -> Spikes:
    """Return the spikes of uncoupled neurons, each under its own background."""
    count = len(neurons)
    cells, backgrounds = zip(*neurons)
    network = SpikingNetwork(neurons=cells, backgrounds=backgrounds, weights=np.zeros((count, count)))
    samples, _ = run_network(
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
    engine: str | Engine = "numba",
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
    low, high = working_range(neuron, background)
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


def working_range(neuron: Neuron, background: PoissonBackground) -> tuple[float, float]:
    """Return mean potentials between which the response lies, found on a coarse grid of +- 50 sigma."""
    sigma = membrane_statistics(neuron, background).sigma
    probe = neuron.v_thresh + sigma * 50 * np.linspace(-1, 1, 201) ** 3
    p, _ = predict(neuron, background, probe, method="adiabatic")
    low, high = np.interp([0.005, 0.995], p, probe)
    return float(low), float(high)


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


def design_synapse(calibration: Calibration, *, delay: float | None = None) -> Synapse:
    """Return the depressing synapse with which networks of a neuron need the least correction.

    A Tsodyks-Markram synapse whose spikes use all (U = 1): ``theory.gain.best_recovery``. With the PSP rule, S1
    and weak weights it leaves 40 % of the bias of D_KL that renewing synapses leave, 20 % with a delay of 1 ms; of
    N(0, 1) weights three quarters. The matched rule takes it as any other.

    Parameters
    ----------
    calibration
        Of the neuron, with exponential kernels and one tau_syn.
    delay
        Of the synapses, ms; ``None``: one dt.
    """
    neuron, background = calibration.biased(0.0), calibration.background_at(0.0)
    tau_rec, _, _ = best_recovery(
        neuron, background, u0=calibration.u0, alpha=calibration.alpha, delay=0.1 if delay is None else delay
    )
    return Synapse(plasticity="tsodyks-markram", U=1.0, tau_rec=round(tau_rec, 3), delay=delay)


_DESIGN_PRECISION = 2e-3
"""Relative to alpha; the density's own error is about that."""


@functools.cache
def default_calibration() -> Calibration:
    """Return the calibration of preset S1, from theory."""
    return calibrate(presets.S1.neuron, presets.S1.background, control=presets.S1.control)
