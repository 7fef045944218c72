"""boltzspike calibrate, design and response."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from boltzspike.cli.options import (
    Chains,
    ControlOption,
    Duration,
    EngineOption,
    Force,
    GridDt,
    NeuronOption,
    Output,
    Plasticity,
    Plot,
    Seed,
    Threads,
)
from boltzspike.cli.reading import parse_time, read_calibration, read_neuron, read_synapse
from boltzspike.cli.showing import print_table
from boltzspike.progress import terminal_bar

if TYPE_CHECKING:
    from boltzspike.calibration import Calibration, ResponseCurve


def calibrate(
    neuron: NeuronOption = "S1",
    control: ControlOption = None,
    method: Annotated[str, typer.Option(help="density, burst (theories) or simulation.")] = "density",
    points: Annotated[int, typer.Option(help="Points of the response curve.")] = 21,
    currents: Annotated[
        bool, typer.Option("--effective-currents", help="Of the current-based neuron with the mean conductance.")
    ] = False,
    network: Annotated[
        bool, typer.Option("--network", help="Learn the translation rule from small networks.")
    ] = False,
    networks: Annotated[int, typer.Option(help="Number of networks to learn from.")] = 440,
    plasticity: Plasticity = "renewing",
    duration: Duration = "100s",
    chains: Chains = 16,
    seed: Seed = 1,
    dt: GridDt = None,
    engine: EngineOption = "numba",
    threads: Threads = None,
    plot: Plot = None,
    output: Output = None,
    force: Force = False,
) -> None:
    """Find the logistic of a neuron under its background: u0 and alpha, with errors and a verdict."""
    import numpy as np

    from boltzspike import pipeline
    from boltzspike.files import check_writable
    from boltzspike.theory.membrane import effective_currents

    if output is not None:
        check_writable(output, force=force, suffixes=(".json",))
    check_picture(plot, force=force)
    cell, background, chosen = read_neuron(neuron, control)
    if currents:
        cell, background = effective_currents(cell, background)
    calibration = pipeline.calibrate(
        cell, background, control=chosen, method=method, points=points, duration=parse_time(duration, "duration"),
        chains=chains, seed=seed, dt=dt, engine=engine, threads=threads,
    )  # fmt: skip
    if network:
        with terminal_bar("learning from networks") as progress:
            calibration = pipeline.calibrate_network(
                calibration, synapse=read_synapse(plasticity),
                networks=networks, dt=dt or 0.1, seed=seed, engine=engine, threads=threads, progress=progress,
            )  # fmt: skip
    print_calibration(calibration, output, force=force)
    if plot is not None:
        low, high = calibration.bias_range
        x: Any = [
            calibration.control_at(bias)
            for bias in np.linspace(-6, 6, 13 if method == "simulation" else 37)
            if low <= bias <= high
        ]
        how: dict[str, Any] = {
            "duration": parse_time(duration, "duration"), "chains": chains, "seed": seed, "engine": engine,
            "threads": threads,
        }  # fmt: skip
        curve = pipeline.response(cell, background, method=method, dt=dt, **how, **{chosen: x})
        _draw_response([curve], calibration, plot, force=force, dt=dt or 0.1, **how)
        print(f"wrote {plot}")


def design(
    neuron: NeuronOption = "S1",
    control: ControlOption = None,
    alpha: Annotated[float | None, typer.Option(help="Wanted alpha, mV.", show_default=False)] = None,
    sigma: Annotated[float | None, typer.Option(help="Wanted sigma, mV.", show_default=False)] = None,
    tau_eff: Annotated[float | None, typer.Option(help="Wanted tau_eff, ms.", show_default=False)] = None,
    rate: Annotated[float, typer.Option(help="Rate of each source of a current-based neuron, Hz.")] = 3000.0,
    synapse: Annotated[
        bool, typer.Option("--synapse", help="Find the depressing synapse for the background as it is.")
    ] = False,
    output: Output = None,
    force: Force = False,
) -> None:
    """Find the background that gives a neuron the wanted slope or noise, speed, and p = 1/2 without bias.

    With --synapse: the recurrent synapse with which its networks need the least correction.
    """
    from boltzspike import pipeline
    from boltzspike.errors import require
    from boltzspike.files import check_writable

    if output is not None:
        check_writable(output, force=force, suffixes=(".json",))
    cell, _, chosen = read_neuron(neuron, control)
    if synapse:
        given = [name for name, value in (("alpha", alpha), ("sigma", sigma), ("tau_eff", tau_eff)) if value]
        require(not given and output is None, "design --synapse", "given the neuron alone", given or output)
        calibration = read_calibration(neuron)
        found = pipeline.design_synapse(calibration)
        print(f"depressing synapse (Tsodyks-Markram, U = 1): tau_rec = {found.tau_rec:g} ms; use it by")
        print(f"  boltzspike sample MODEL --neuron {neuron} --plasticity tau_rec={found.tau_rec:g} --rule matched")
        return
    calibration = pipeline.design(cell, alpha=alpha, sigma=sigma, tau_eff=tau_eff, rate=rate, control=chosen)
    weight_unit = "uS" if hasattr(cell, "e_rev_exc") else "nA"
    for source_rate, weight in zip(calibration.background.rates, calibration.background.weights):
        print(f"source {source_rate:.1f} Hz, weight {weight:+.6g} {weight_unit}")
    print_calibration(calibration, output, force=force)


def response(
    neuron: NeuronOption = "S1",
    control: ControlOption = None,
    method: Annotated[
        list[str],
        typer.Option(
            help="density, burst, burst-paper, siegert, siegert-coloured, adiabatic, erf, simulation; repeatable.",
        ),
    ] = ["density"],  # noqa: B006  # Typer copies it
    points: Annotated[int, typer.Option(help="Points of the curve.")] = 13,
    duration: Duration = "10s",
    chains: Chains = 16,
    seed: Seed = 1,
    dt: GridDt = None,
    engine: EngineOption = "numba",
    threads: Threads = None,
    plot: Plot = None,
    output: Output = None,
    force: Force = False,
) -> None:
    """Print p(z=1) against the control variable, by theories and simulation, beside the fitted logistic."""
    import numpy as np
    from scipy.special import expit

    from boltzspike import pipeline
    from boltzspike.errors import require
    from boltzspike.files import check_writable, save
    from boltzspike.model.neuron import CONTROL_UNITS

    if output is not None:
        check_writable(output, force=force, suffixes=(".json",))
    check_picture(plot, force=force)
    cell, background, chosen = read_neuron(neuron, control)
    calibration = pipeline.calibrate(cell, background, control=chosen)
    require(points >= 2, "points", "at least 2", points)
    biases = np.linspace(-5, 5, points)
    x: Any = np.array([calibration.control_at(b) for b in biases])
    how: dict[str, Any] = {
        "duration": parse_time(duration, "duration"), "chains": chains, "seed": seed, "engine": engine,
        "threads": threads,
    }  # fmt: skip
    curves: list[ResponseCurve] = [
        pipeline.response(cell, background, method=name, dt=dt, **how, **{chosen: x}) for name in method
    ]
    header = [f"{chosen} ({CONTROL_UNITS[calibration.control]})", "mean (mV)", "logistic"]
    for curve in curves:
        header += [curve.method, "+-"]
    rows = []
    for k, value in enumerate(x):
        row = [f"{value:.4f}", f"{curves[0].mu[k]:.3f}", f"{expit(biases[k]):.4f}"]
        for curve in curves:
            row += [f"{curve.p[k]:.4f}", f"{curve.error[k]:.4f}"]
        rows.append(row)
    print_table(header, rows)
    if output is not None:
        save(curves[0], output, force=force)
        print(f"wrote {output}")
    if plot is not None:
        _draw_response(curves, calibration, plot, force=force, dt=dt or 0.1, **how)
        print(f"wrote {plot}")


def print_calibration(calibration: Calibration, output: Path | None, *, force: bool) -> None:
    """Print u0 and alpha with errors and the verdict; write them to the output."""
    from boltzspike.model.neuron import CONTROL_UNITS

    ratio = calibration.alpha_control / calibration.alpha
    errors = calibration.u0_error, calibration.alpha_error
    unit = CONTROL_UNITS[calibration.control]
    rows = [
        [name, f"{value:.4f}", f"{error:.2g}", f"{at:.5g}", f"{error * ratio:.2g}"]
        for name, value, at, error in (
            ("u0", calibration.u0, calibration.u0_control, errors[0]),
            ("alpha", calibration.alpha, calibration.alpha_control, errors[1]),
        )
    ]
    print_table(["", "mean potential (mV)", "+-", f"{calibration.control} ({unit})", "+-"], rows)
    grid = f", dt {calibration.dt:g} ms" if calibration.dt else ""
    spent = f", {calibration.simulated / 1e3:g} s simulated" if calibration.simulated else ""
    print(f"method {calibration.method}{grid}, {calibration.points} points{spent}")
    print(f"regime {calibration.verdict}")
    if (learned := calibration.network) is not None:
        print(f"network rule learned from {learned.networks} networks; D_KL expected on a family not among them:")
        print("; ".join(f"{family} {error:.2g}" for family, error in zip(learned.families, learned.family_errors)))
    if output is not None:
        calibration.save(output, force=force)
        print(f"wrote {output}")


def check_picture(path: Path | None, *, force: bool) -> None:
    """Raise before any work is done if the picture can't be drawn there."""
    from boltzspike.errors import require
    from boltzspike.files import check_writable

    if path is not None:
        require(path.suffix in (".png", ".svg", ".pdf"), "plot", "a file ending in .png, .svg or .pdf", str(path))
        check_writable(path, force=force)


def _draw_response(
    curves: list[ResponseCurve], calibration: Calibration, path: Path, *, force: bool, **how: Any
) -> None:
    """Draw the curves with their residuals, and beside them bursts, pauses and intervals at p = 1/2.

    The latter are simulated, as ``how`` says.
    """
    import numpy as np
    from scipy.special import expit

    from boltzspike import pipeline, plots
    from boltzspike.files import writing
    from boltzspike.model.neuron import CONTROL_UNITS
    from boltzspike.theory.predict import predict_bursts, predict_interval

    low, high = calibration.bias_range
    biases = np.linspace(max(low, -6), min(high, 6), 300)
    logistic = np.array([calibration.control_at(b) for b in biases]), expit(biases)
    xlabel = f"{calibration.control} ({CONTROL_UNITS[calibration.control]})"
    figure = plots.new_figure(figsize=(9.6, 5.6))
    left, right = figure.subfigures(1, 2, width_ratios=[1.35, 1], squeeze=False)[0]
    upper, lower = left.subplots(2, 1, sharex=True, height_ratios=[2.2, 1])
    drawn = {c.method: (c.x, c.p, c.error if c.method == "simulation" else None) for c in curves}
    plots.plot_response(drawn, logistic, xlabel=xlabel, ax=upper, residual_ax=lower)
    neuron, background = calibration.biased(0.0), calibration.background_at(0.0)
    measured = pipeline.burst_statistics(neuron, background, **how)
    lengths, pauses, intervals = right.subplots(3, 1)
    terms = predict_bursts(neuron, background, calibration.u0, len(measured.probability))
    plots.plot_bursts(
        (measured.probability, measured.probability_error), terms.probability[0] if terms else None,
        ylabel="probability", log=True, ax=lengths,
    )  # fmt: skip
    plots.plot_bursts(
        (measured.pause, measured.pause_error),
        terms.quiescence[0] if terms else None,
        ylabel="mean pause (ms)",
        ax=pauses,
    )
    plots.plot_intervals(measured.intervals, predict_interval(neuron, background, calibration.u0), ax=intervals)
    lengths.set_title(
        f"bursts, pauses and intervals at {calibration.control} = {calibration.u0_control:.4g}", size=9
    )
    with writing(path, force=force) as partial:
        figure.savefig(partial, format=path.suffix.lstrip("."), dpi=130)
