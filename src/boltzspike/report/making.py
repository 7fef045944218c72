"""How it was made: the neuron and its regime, the translation, the run, and how to repeat it."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

import numpy as np

from boltzspike import pictures
from boltzspike.calibration import Calibration
from boltzspike.model.description import is_sparse
from boltzspike.model.network import SpikingNetwork
from boltzspike.model.neuron import CONTROL_UNITS
from boltzspike.report.page import Block, Code, Items, Pictures, Section, Table, Text, Verdict, picture
from boltzspike.result import Result
from boltzspike.theory.membrane import membrane_statistics
from boltzspike.translation.budget import Budget

SHOWN_MS = 300.0
"""How much of the run is shown spike by spike."""
MOST_ROWS = 200
"""Neurons of the raster."""


def neuron(result: Result) -> Section:
    """Return the regime of the neuron and its calibration."""
    calibration = result.calibration
    if calibration is None:
        text = f"No membranes: the sampler {result.configuration['engine']!r} draws from the machine itself."
        if result.network is not None:
            text = _given(result.network)
        return Section("neuron", "The neurons", [Text(text)])
    word = calibration.verdict.regime
    level = {"sampling": "yes", "borderline": "care"}.get(word, "no")
    headline = {
        "sampling": "The neuron is in the regime of sampling.",
        "borderline": "The neuron is at the border of the regime of sampling.",
    }.get(word, "The neuron is not in the regime of sampling.")
    drawn = [
        picture(
            pictures.response(calibration),
            "Response function p(z = 1) against the bias variable, over its logistic; below, the difference, at "
            f"most {calibration.max_deviation:.3f}.",
            "Response function by the population density, the logistic that stands for it, and the difference.",
        )
    ]
    return Section(
        "neuron",
        "The neurons",
        [_parameters(calibration), Pictures([*drawn, *_membrane(calibration, result)])],
        verdict=Verdict(level, headline, list(calibration.verdict.reasons)),
    )


def _given(network: SpikingNetwork) -> str:
    """Return what a network is that was given as it is."""
    weights, alike = network.weights, all(neuron == network.neurons[0] for neuron in network.neurons)
    synapses = weights.nnz if is_sparse(weights) else np.count_nonzero(weights)
    kind = f"{type(network.neurons[0]).__name__} neurons{', all alike,' if alike else ''}"
    return (
        f"{network.n_units} {kind} and {synapses} "
        f"{network.synapse.plasticity} synapses, given as they are: nothing was calibrated or translated."
    )


def _membrane(calibration: Calibration, result: Result) -> list:
    s = membrane_statistics(calibration.biased(0.0), calibration.background_at(0.0))
    figure = pictures.free_membrane(calibration, dt=result.configuration["dt_ms"], duration=500.0)
    alt = (
        f"Histogram of the free membrane potential over a Gaussian of mean {s.mu:.2f} and standard deviation "
        f"{s.sigma_free:.2f} mV; below, its autocorrelation over the predicted one."
    )
    caption = "The same neuron, its threshold taken away, simulated for this page: potentials and autocorrelation."
    return [picture(figure, alt, caption)]


def _parameters(calibration: Calibration) -> Table:
    s = membrane_statistics(calibration.biased(0.0), calibration.background_at(0.0))
    unit = CONTROL_UNITS[calibration.control]
    rates = ", ".join(f"{rate:g} Hz" for rate in calibration.background.rates)
    rows = [
        ["u0: mean potential at p = 1/2", f"{calibration.u0:.4f} +- {calibration.u0_error:.1g} mV"],
        ["alpha: width of the logistic", f"{calibration.alpha:.4f} +- {calibration.alpha_error:.1g} mV"],
        [
            f"the same in {calibration.control}",
            f"{calibration.u0_control:.5g}, {calibration.alpha_control:.4g} {unit}",
        ],
        ["sigma of the effective potential", f"{s.sigma:.4g} mV"],
        ["tau_eff, tau_syn", f"{s.tau_eff:.3g} ms, {s.tau_syn:.3g} ms"],
        [
            "deviation from the logistic, RMS and largest",
            f"{calibration.rms:.2g}, {calibration.max_deviation:.2g}",
        ],
        ["calibrated by", f"{calibration.method}, {calibration.points} points"],
        ["bombardment", f"{rates} a neuron, Poisson"],
    ]
    name = type(calibration.neuron).__name__
    return Table(f"{name} neuron and its calibration", ["quantity", "value"], rows, words=2)


def network(result: Result, budget: Budget | None) -> Section | None:
    """Return how the target became a network, or ``None`` where there is none."""
    translation, calibration, how = result.translation, result.calibration, result.configuration
    if translation is None or calibration is None:
        return None
    blocks: list[Block] = [
        Text(
            f"Translation rule {translation.rule!r}: weights become post-synaptic potentials whose mean over the "
            "refractory period is alpha W, biases become shifts of the mean potential."
        )
    ]
    said, expected = list(how.get("translation", [])), translation.predicted_error
    if expected is not None and not any("expects D_KL" in sentence for sentence in said):
        said.insert(0, f"the rule expects D_KL = {expected:.2g} of this target")
    if said:
        blocks.append(Items(said))
    drawn = []
    if translation.synapse.plasticity in ("renewing", "additive"):
        drawn.append(
            picture(
                pictures.psp(calibration, translation.synapse),
                "A post-synaptic potential beside the rectangle that a Boltzmann machine would want.",
                "PSP of one spike and of two, scaled to W = 1, and the ideal rectangle of the same mean.",
            )
        )
    drawn.append(
        picture(
            pictures.weights(result),
            "Synaptic weights of the network against weights of the target, with the line of the PSP rule.",
            "Every synapse of the network; the line is the PSP rule, which the other rules correct.",
        )
    )
    if budget is not None:
        shares = [
            *((share.cause, f"{share.value:+.2g}") for share in budget.shares),
            ("left over (no Boltzmann machine)", f"{budget.remainder:+.2g} +- {budget.remainder_error:.1g}"),
        ]
        drawn.append(
            picture(
                pictures.budget(budget),
                f"Shares of the bias of D_KL, {budget.bias:.2g}: "
                + ", ".join(f"{cause} {share}" for cause, share in shares),
                "Where the bias comes from: one idealisation exchanged at a time. Hatched: it undoes others.",
            )
        )
    blocks.append(Pictures(drawn))
    return Section("network", "From weights to synapses", blocks)


def run(result: Result, command: Sequence[str] | None) -> Section:
    """Return the run: engine, speed, its first spikes, and how to repeat it."""
    how = result.configuration
    dt, sampled = how["dt_ms"], how["sampled_ms"]
    rows = [
        ["engine", how["engine"]],
        ["approximations", str(how["approximation"])],
        ["chains", f"{how['chains']} of {sampled / 1e3:g} s biological time, after {how['burn_in_ms'] / 1e3:g} s"],
        ["time step, draws every", f"{dt:g} ms, {how['draw_every_ms']:g} ms"],
        ["seed", str(how["seed"])],
        ["speed", f"{result.speed:.0f} x real time, all chains together ({how['wall_seconds']:.2f} s)"],
        ["compilation and burn-in", f"{how['setup_seconds']:.2f} s"],
        ["versions", ", ".join(f"{name} {number}" for name, number in how["versions"].items())],
        ["machine", how["machine"]],
    ]
    if "until" in how:
        rows.insert(0, ["sampled until", f"{how['until']}: {'reached' if how['reached'] else 'not reached'}"])
    if "stretch_ms" in how:
        begin, end = how["stretch_ms"]
        rows.insert(
            0, ["this page is about", f"{begin / 1e3:g} to {end / 1e3:g} s of {how['duration_ms'] / 1e3:g} s"]
        )
    blocks: list[Block] = [Table("The run", ["setting", "value"], rows, words=2)]
    if result.network is not None:
        blocks.append(Pictures(_spikes(result)))
    blocks.append(Text("To repeat it, bit for bit with the same versions on the same kind of machine:"))
    blocks.append(Code(_repeat(result, command), "how to repeat the run"))
    return Section("run", "The run, and how to repeat it", blocks)


def _spikes(result: Result) -> list:
    opened = pictures.opening(result, duration=SHOWN_MS)
    drawn = [
        picture(
            pictures.trace(opened),
            "Membrane potential of one neuron with its threshold; it is refractory, z = 1, after each spike. "
            "Below, the states of several neurons.",
            f"The first {SHOWN_MS:g} ms of chain 0: a potential, shaded while z = 1, and several states.",
        )
    ]
    if len(opened.names) <= MOST_ROWS:
        alt = f"Spikes of {len(opened.names)} neurons over {SHOWN_MS:g} ms."
        drawn.append(picture(pictures.raster(opened), alt, "Every spike of the same stretch of time."))
    return drawn


def _repeat(result: Result, command: Sequence[str] | None) -> str:
    if command is not None:
        return shlex.join(command)
    how = result.configuration
    options = {
        "duration": how["duration_ms"], "chains": how["chains"], "seed": how["seed"], "engine": how["engine"],
        "dt": how["dt_ms"], "burn_in": how["burn_in_ms"], "clamping": how["clamping"],
    }  # fmt: skip
    if result.translation is not None:
        options["rule"] = result.translation.rule
    if "evidence_course" in how:
        options["evidence_course"] = [(time, evidence) for time, evidence, _ in how["evidence_course"]]
    elif result.clamp:
        options["clamp"] = {result.names[k]: value for k, value in result.clamp.items()}
    given = ", ".join(f"{name}={value!r}" for name, value in options.items())
    what = "machine, calibration=calibration"
    if result.network is not None and result.calibration is None:
        what = "network" if result.machine is None else "network, target=machine"
    return f"boltzspike.sample({what}, {given})"
