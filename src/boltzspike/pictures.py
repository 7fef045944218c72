"""Pictures of neurons, translations and results, each by one call: computes what ``plots`` draws.

Those of a neuron take its calibration, those of a run its result. Some simulate for a moment; they say so.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.special import expit
from scipy.stats import norm

from boltzspike import diagnostics, plots
from boltzspike.calibration import Calibration
from boltzspike.errors import UnsupportedFeature, ValidationError, require
from boltzspike.model.boltzmann import Machine, RestrictedBoltzmannMachine
from boltzspike.model.description import Array, is_sparse
from boltzspike.model.network import SpikingNetwork
from boltzspike.model.neuron import CONTROL_UNITS, LIF
from boltzspike.model.synapse import Synapse
from boltzspike.pipeline import ABSTRACT, sample
from boltzspike.pipeline.running_networks import run_network
from boltzspike.result import Result
from boltzspike.samples import Record, Samples
from boltzspike.theory import exact
from boltzspike.theory.membrane import free_autocorrelation, membrane_statistics
from boltzspike.theory.predict import predict
from boltzspike.theory.psp import arrivals, shaped_area
from boltzspike.theory.psp import psp as psp_of
from boltzspike.translation.budget import Budget
from boltzspike.translation.psp import synaptic_weights

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

__all__ = [
    "agreement",
    "budget",
    "divergence",
    "free_membrane",
    "images",
    "modes",
    "opening",
    "pair_agreement",
    "psp",
    "raster",
    "receptive_fields",
    "response",
    "trace",
    "weights",
]

MOST_JOINT_UNITS = 14
"""Free units up to which the joint distribution is compared as time goes on."""


def response(calibration: Calibration, *, methods: Sequence[str] = ("density",), points: int = 49) -> Figure:
    """Draw the response function by theories over the calibration's logistic, and the residual."""
    low, high = calibration.bias_range
    low, high = max(low, -6.0), min(high, 6.0)
    fine, biases = np.linspace(low, high, 300), np.linspace(low, high, points)
    curves: dict[str, tuple[Array, Array, Array | None]] = {}
    for method in methods:
        # the neuron that the bias makes: its mean potential is u0 + alpha b whatever carries the bias
        mu = calibration.u0 + calibration.alpha * biases
        p = predict(calibration.neuron, calibration.background, mu, method=method, dt=calibration.dt)[0]
        curves[method] = _control(calibration, biases), p, None
    figure = plots.new_figure(figsize=(4.6, 4.0))
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[2.2, 1])
    xlabel = f"{calibration.control} ({CONTROL_UNITS[calibration.control]})"
    logistic = _control(calibration, fine), expit(fine)
    plots.plot_response(curves, logistic, xlabel=xlabel, ax=upper, residual_ax=lower)
    return figure


def _control(calibration: Calibration, biases: Array) -> Array:
    return np.array([calibration.control_at(float(bias)) for bias in biases])


def free_membrane(
    calibration: Calibration,
    *,
    duration: float = 1000.0,
    chains: int = 64,
    dt: float = 0.1,
    seed: int = 1,
    engine: str = "numba-exact",
    threads: int | None = None,
) -> Figure:
    """Simulate the neuron at p = 1/2 with its threshold out of reach; draw potentials and autocorrelation.

    Theory: a Gaussian of the mean and variance of ``theory.membrane``, and the autocorrelation of its PSP.

    Raises
    ------
    UnsupportedFeature
        Where no threshold is out of reach: the excitatory reversal potential is too near.
    """
    neuron, background = calibration.biased(0.0), calibration.background_at(0.0)
    s = membrane_statistics(neuron, background)
    reach = s.mu + 30 * s.sigma_free
    if isinstance(neuron, LIF):
        reach = min(reach, (s.mu + neuron.e_rev_exc) / 2)
    free = replace(neuron, v_thresh=reach)
    network = SpikingNetwork(neurons=free, backgrounds=background, weights=np.zeros((1, 1)))
    record = Record(spikes=True, voltages=True)
    samples, _ = run_network(network, duration, chains, dt, seed, engine, threads, record, burn_in=200.0)
    assert samples.voltages is not None
    assert samples.spikes is not None
    if len(samples.spikes.step):
        raise UnsupportedFeature(
            f"free_membrane: no threshold is out of reach of this neuron: {len(samples.spikes.step)} spikes at "
            f"{reach:.4g} mV"
        )
    potentials = samples.voltages[:, :, 0]
    lag, value, error = _autocorrelation(potentials, dt, longest=5 * s.tau_syn)
    x = np.linspace(s.mu - 5 * s.sigma_free, s.mu + 5 * s.sigma_free, 300)
    figure = plots.new_figure(figsize=(4.6, 5.0))
    upper, lower = figure.subplots(2, 1)
    plots.plot_potentials(potentials, (x, norm.pdf(x, s.mu, s.sigma_free)), threshold=neuron.v_thresh, ax=upper)
    predicted = None
    if neuron.kernel == "exponential":
        predicted = free_autocorrelation(neuron, background, lag)
    plots.plot_autocorrelation(lag, (value, error), predicted, ax=lower)
    return figure


def _autocorrelation(values: Array, dt: float, *, longest: float, points: int = 26) -> tuple[Array, Array, Array]:
    """Return lags (ms), correlation coefficients and standard errors over chains, of values (chains, steps)."""
    steps = np.unique(np.round(np.linspace(0, min(longest / dt, values.shape[1] / 2), points)).astype(int))
    centred = values - values.mean()
    variance = np.mean(centred**2)
    length = values.shape[1]
    per_chain = np.stack([np.mean(centred[:, : length - k] * centred[:, k:], axis=1) for k in steps], axis=1)
    return steps * dt, per_chain.mean(axis=0) / variance, diagnostics.standard_error(per_chain / variance)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Opening:
    """How a run went on after its burn-in, in one chain, simulated anew."""

    samples: Samples
    """With states of every step, spikes, and voltages."""
    result: Result

    @property
    def duration(self) -> float:
        """Length, ms."""
        return (self.samples.stop - self.samples.start) * self.samples.dt

    @property
    def names(self) -> list[str]:
        """Names of the simulated units."""
        return [self.result.names[k] for k in self.result.simulated]


def opening(result: Result, *, duration: float = 300.0) -> Opening:
    """Simulate the first chain of a run once more, for a moment, and keep everything.

    Random numbers are a function of seed, chain, unit and step: these are the very spikes that began the run,
    where it was neither resumed from a checkpoint nor given a start of its own.
    """
    how = result.configuration
    if result.network is None:
        raise ValidationError("opening: needs a result of spiking neurons; this one has no membranes")
    record = Record(states_every=1, spikes=True, voltages=True)
    clamp = None
    if how["clamping"] == "spikes":
        # what changed on the way is in the network's schedule
        changing = {unit for _, _, pairs in how.get("evidence_course", ()) for unit, _ in pairs}
        clamp = {unit: value for unit, value in result.clamp.items() if unit not in changing}
    samples, _ = run_network(
        result.network, duration, 1, how["dt_ms"], how["seed"], how["engine"], None, record,
        burn_in=how["burn_in_ms"], clamp=clamp,
    )  # fmt: skip
    return Opening(samples=samples, result=result)


def trace(opened: Opening, *, units: Sequence[int] | None = None, most_units: int = 8) -> Figure:
    """Draw the membrane potential of a neuron with its threshold, and the states of some neurons under it.

    Parameters
    ----------
    units
        Which of the simulated units, the first on top; ``None``: those that changed most often, at most
        ``most_units``, on top the one whose state is most evenly 0 and 1.
    """
    samples = opened.samples
    states, voltages = samples.states, samples.voltages
    assert states is not None
    assert voltages is not None
    assert opened.result.network is not None
    if units is None:
        changes = np.abs(np.diff(states[0], axis=0)).sum(axis=0)
        busiest = np.sort(np.argsort(-changes, kind="stable")[:most_units])
        top = int(busiest[np.argmin(np.abs(states[0][:, busiest].mean(axis=0) - 0.5))])
        units = [top, *(int(k) for k in busiest if k != top)]
    first = units[0]
    neuron = opened.result.network.neurons[first]
    time = (np.arange(states.shape[1]) + 1) * samples.dt
    figure = plots.new_figure(figsize=(4.8, 2.1 + 0.22 * len(units)))
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[2.0, 0.3 + 0.22 * len(units)])
    plots.plot_trace(
        time, voltages[0, :, first], states[0][:, list(units)], threshold=neuron.v_thresh,
        names=[opened.names[k] for k in units], ax=upper, states_ax=lower,
    )  # fmt: skip
    return figure


def raster(opened: Opening, *, ax: Axes | None = None) -> Axes:
    """Draw every spike of every neuron."""
    spikes = opened.samples.spikes
    assert spikes is not None
    # a spike of step s is stamped (s + 1) dt
    time = (spikes.step - spikes.start + 1) * opened.samples.dt
    return plots.plot_raster(time, spikes.unit, names=opened.names, duration=(0.0, opened.duration), ax=ax)


def agreement(result: Result) -> Figure:
    """Draw the sampled marginals of the free units against exact ones, or the reference's, and the differences."""
    truth, free = result.reference(), result.free
    name = "exact" if truth.exact else "by Gibbs sampling"
    error = np.hypot(result.marginals_error(), truth.error)[free]
    return _agreement(truth.marginals[free], result.marginals()[free], error, quantity="p(z = 1)", exact_name=name)


def pair_agreement(result: Result) -> Figure:
    """Draw the sampled p(z_k = z_j = 1) of all pairs of free units against exact ones, and the differences.

    Raises
    ------
    ValidationError
        Where exact pairs are out of reach.
    """
    truth = result.exact()
    if truth is None:
        raise ValidationError("pair_agreement: exact pairs are out of reach for this machine")
    k, j = np.triu_indices(len(result.free), 1)
    pairs = result.free[k], result.free[j]
    known = np.isfinite(truth.pairs[pairs])  # elimination leaves some uncoupled ones open
    error = result.pairs_error()[pairs][known] if result.samples.packed is not None else None
    return _agreement(
        truth.pairs[pairs][known], result.pairs()[pairs][known], error, quantity="p(both = 1)", exact_name="exact"
    )


def _agreement(*values: Array | None, **names: str) -> Figure:
    figure = plots.new_figure(figsize=(4.2, 4.6))
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[2.2, 1])
    plots.plot_agreement(*values, **names, ax=upper, residual_ax=lower)  # type: ignore[arg-type]
    return figure


def divergence(result: Result, *, gibbs: bool = True, points: int = 10, ax: Axes | None = None) -> Axes:
    """Draw D_KL of what was sampled so far against time with its floor, and that of Gibbs sampling beside it.

    Gibbs sampling of the same target is run for it: as many chains, a sweep for each draw.
    """
    n = len(result.free)
    require(n <= MOST_JOINT_UNITS, "divergence", f"of at most {MOST_JOINT_UNITS} free units", n)
    target = exact.exact_joint(result.target())
    time, value, floor = _course(result.z[..., result.free], target, result.configuration["draw_every_ms"], points)
    others = {}
    how = result.configuration
    if gibbs and how["engine"] not in ABSTRACT:
        ideal = sample(
            result.target(), engine="gibbs", duration=how["sampled_ms"], chains=how["chains"], seed=how["seed"]
        )
        when, what, _ = _course(ideal.z, target, ideal.configuration["draw_every_ms"], points)
        others["Gibbs, a sweep a draw"] = when, what
    whole = result.kl_divergence()
    return plots.plot_divergence(time, value, floor, others=others, level=(whole.bias, whole.error), ax=ax)


def _course(states: Array, target: Array, every: float, points: int) -> tuple[Array, Array, Array]:
    """Return sampled time of all chains (s), D_KL and its floor, of the first so many draws."""
    chains, draws = states.shape[:2]
    least = -(-diagnostics.MIN_BLOCKS // chains)
    kept = np.unique(np.geomspace(max(least, 4), draws, points).astype(int))
    found = [diagnostics.kl_divergence(states[:, :d], target) for d in kept]
    return kept * chains * every / 1e3, np.array([d.value for d in found]), np.array([d.floor for d in found])


def psp(calibration: Calibration, synapse: Synapse | None = None, *, ax: Axes | None = None) -> Axes:
    """Draw the PSP of an excitatory synapse, its mean over the refractory period scaled to 1, and the ideal.

    One spike, and one that follows it as soon as it can: a renewing synapse starts anew, an additive one adds up,
    one with teeth goes on.
    """
    neuron, synapse = calibration.neuron, synapse or Synapse()
    kind = synapse.plasticity
    require(kind in ("renewing", "additive"), "psp", "of a renewing or additive synapse", kind)
    s = membrane_statistics(neuron, calibration.background)
    shape: dict[str, Any] = {"tau_syn": neuron.tau_syn_exc, "tau_eff": s.tau_eff, "kernel": neuron.kernel}
    tau = neuron.tau_refrac
    height = shaped_area(synapse.teeth, tau_refrac=tau, **shape) / tau
    time = np.linspace(-0.3 * tau, 4 * tau, 431)
    when, share = arrivals(synapse.teeth, tau_syn=neuron.tau_syn_exc, tau_refrac=tau)
    one, later = (psp_of(time[:, None] - start - when, **shape) @ share / height for start in (0.0, tau))
    size = 1 - np.exp(-tau / neuron.tau_syn_exc) if kind == "renewing" else 1.0
    shapes = {"one spike": one, f"two, {tau:g} ms apart ({kind})": one + size * later}
    return plots.plot_psp(time, shapes, tau_refrac=tau, ax=ax)


def weights(result: Result, *, ax: Axes | None = None) -> Axes:
    """Draw the network's synaptic weights against the target's, and the line of the PSP rule."""
    calibration, network, translation = result.calibration, result.network, result.translation
    if calibration is None or network is None or translation is None:
        why = "this one has no membranes" if network is None else "this network was given as it is"
        raise ValidationError(f"weights: needs a result of spiking neurons made for a target; {why}")
    wanted = np.asarray(translation.machine.weights)
    used = network.weights.toarray() if is_sparse(network.weights) else np.asarray(network.weights)
    coupled = (wanted != 0) | (used != 0)
    unit, factor = ("nS", 1e3) if isinstance(calibration.neuron, LIF) else ("nA", 1.0)
    top = float(np.abs(wanted[coupled]).max(initial=1.0))
    line = np.array([-top, 0.0, top])
    drawn = line, synaptic_weights(line, calibration, teeth=network.synapse.teeth) * factor
    return plots.plot_weights(drawn, (wanted[coupled], used[coupled] * factor), unit=unit, ax=ax)


def image_layout(names: Sequence[str]) -> Array | None:
    """Return the units that make up an image, int (rows, columns), by names such as ``pixel-3-0`` or ``v_3_0``.

    The two numbers are row and column, counted from 0; all names of one prefix must fill a rectangle. ``None``
    where there is none.

    Examples
    --------
    >>> image_layout(["pixel-0-0", "pixel-0-1", "label-3"])
    array([[0, 1]])
    """
    found: dict[str, dict[tuple[int, int], int]] = {}
    for unit, name in enumerate(names):
        if match := re.fullmatch(r"(.*?)[-_.,](\d+)[-_.,](\d+)", name):
            found.setdefault(match[1], {})[int(match[2]), int(match[3])] = unit
    for places in found.values():
        rows, columns = (1 + max(place[axis] for place in places) for axis in (0, 1))
        if len(places) == rows * columns >= 2:
            return np.array([[places[r, c] for c in range(columns)] for r in range(rows)])
    return None


def _layout(names: Sequence[str], where: str) -> Array:
    layout = image_layout(names)
    if layout is None:
        raise ValidationError(
            f"{where}: no units make up an image; name them NAME-ROW-COLUMN, such as pixel-0-0, pixel-0-1, ..."
        )
    return layout


def images(result: Result, *, draws: int = 9) -> Figure:
    """Draw the image of the sampled marginals, the target's, and some draws of different chains."""
    layout = _layout(result.names, "images")
    shown, titles = [result.marginals()[layout]], ["sampled"]
    if result.machine is not None:
        truth = result.reference()
        shown.append(truth.marginals[layout])
        titles.append("exact" if truth.exact else "Gibbs")
    if result.samples.packed is not None:
        z = result.z
        chain = np.linspace(0, len(z) - 1, draws).astype(int)
        draw = np.linspace(0, z.shape[1] - 1, draws).astype(int)
        shown += [z[c, d][layout].astype(float) for c, d in zip(chain, draw)]
        titles += [f"draw {d}" for d in draw]
    given = np.isin(layout, list(result.clamp))
    if given.any() and not given.all():
        shown.insert(0, np.where(given, result.marginals()[layout], np.nan))
        titles.insert(0, "given")
    return plots.plot_images(np.stack(shown), titles, columns=6)


def receptive_fields(machine: Machine, *, units: Sequence[int] | None = None) -> Figure:
    """Draw the weights from each hidden unit of an RBM to the units of its image.

    Parameters
    ----------
    units
        Which hidden units, from 0; ``None``: the 24 of the largest weights.
    """
    if not isinstance(machine, RestrictedBoltzmannMachine):
        raise ValidationError(f"receptive_fields: needs an RBM, got a {type(machine).__name__}")
    layout = _layout(list(machine.names)[: machine.n_visible], "receptive_fields")
    fields = np.asarray(machine.weights)[layout].transpose(2, 0, 1)
    if units is None:
        units = np.sort(np.argsort(-np.abs(fields).max(axis=(1, 2)), kind="stable")[:24]).tolist()
    titles = [machine.names[machine.n_visible + k] for k in units]
    return plots.plot_images(fields[list(units)], titles, columns=8, limits=None)


def modes(result: Result, *, chain: int = 0, longest_path: int = 400, ax: Axes | None = None) -> Axes:
    """Draw all draws in the plane of their first two principal components, and the way of one chain through it.

    Of an RBM the visible units are taken. Where the units make up an image, those that are no pixels (labels) are
    marks: each at the mean of the draws in which it alone is on.
    """
    free = result.free
    machine = result.machine
    if isinstance(machine, RestrictedBoltzmannMachine) and np.any(free < machine.n_visible):
        free = free[free < machine.n_visible]
    z = result.z[..., free].astype(np.float32)
    chains, draws, n = z.shape
    require(n >= 2, "modes", "of at least two free units", n)
    flat = z.reshape(-1, n)
    centred = flat - flat.mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred / len(centred))
    explained = values[::-1] / max(float(values.sum()), 1e-30)
    plane = (centred @ vectors[:, :-3:-1]).reshape(chains, draws, 2)
    marks = _labelled(result, free, flat, plane.reshape(-1, 2))
    return plots.plot_modes(
        plane.reshape(-1, 2), plane[chain, :longest_path], explained=(float(explained[0]), float(explained[1])),
        marks=marks, ax=ax,
    )  # fmt: skip


def _labelled(result: Result, units: Array, flat: Array, plane: Array) -> tuple[Array, list[str]] | None:
    layout = image_layout(result.names)
    if layout is None:
        return None
    labels = np.flatnonzero(~np.isin(units, layout))
    on = (flat[:, labels] > 0) & (flat[:, labels].sum(axis=1) == 1)[:, None]
    shown = [k for k in range(len(labels)) if on[:, k].sum() > 50]
    names = [result.names[units[labels[k]]].rpartition("-")[2] for k in shown]
    return (np.array([plane[on[:, k]].mean(axis=0) for k in shown]), names) if shown else None


def budget(found: Result | Budget, *, ax: Axes | None = None, **options: Any) -> Axes:
    """Draw where the bias of a result comes from.

    Of a result, its network is simulated again with one thing changed at a time; ``options`` are those of
    ``Result.error_budget``.
    """
    if isinstance(found, Result):
        found = found.error_budget(**options)
    shares = np.array([share.value for share in found.shares] + [found.remainder])
    errors = np.array([share.error for share in found.shares] + [0.0])
    causes = [*(share.cause for share in found.shares), "left over (no Boltzmann machine)"]
    return plots.plot_budget(causes, shares, errors, bias=(found.bias, found.bias_error), ax=ax)
