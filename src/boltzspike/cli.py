"""The command line: parse, call the pipeline, write. Heavy imports happen inside the commands."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from boltzspike.calibration import Calibration, ResponseCurve
    from boltzspike.compilation import Compiled
    from boltzspike.diagnostics import BurstStatistics
    from boltzspike.model.boltzmann import Machine
    from boltzspike.pipeline import Progress
    from boltzspike.posterior import PosteriorResult
    from boltzspike.result import Result
    from boltzspike.translation import Translation
    from boltzspike.translation.budget import Budget

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Neural sampling with leaky integrate-and-fire neurons in the high-conductance state.",
)

Model = Annotated[
    Path,
    typer.Argument(
        help="Boltzmann machine, RBM or Bayesian network: any format of docs/models.md.", show_default=False
    ),
]
NeuronOption = Annotated[str, typer.Option(help="Preset (S1, S2, S5a, thesis, dodo) or a calibration file.")]
Clamp = Annotated[list[str], typer.Option(help="Evidence NAME=0 or NAME=1; may be repeated.", show_default=False)]
Evidence = Annotated[
    list[str],
    typer.Option(
        help="Evidence about a Bayesian network, VARIABLE=STATE,...; may be repeated.", show_default=False
    ),
]
Duration = Annotated[str, typer.Option(help="Biological time per chain: 100s, 5e4ms or 2min.")]
Chains = Annotated[int, typer.Option(help="Independent copies of the network.")]
Seed = Annotated[int, typer.Option(help="The same seed gives the same samples on any number of threads.")]
Dt = Annotated[float, typer.Option(help="Time step in ms.")]
EngineOption = Annotated[str, typer.Option(help="numba, numba-exact, reference; sample: gibbs, buesing.")]
Threads = Annotated[int | None, typer.Option(help="Threads; default: all cores.", show_default=False)]
Output = Annotated[Path | None, typer.Option("-o", "--output", help="File to write.", show_default=False)]
Force = Annotated[bool, typer.Option("--force", help="Overwrite an existing output.")]
Plot = Annotated[Path | None, typer.Option(help="Picture to draw (.png, .svg, .pdf).", show_default=False)]
ControlOption = Annotated[
    str | None,
    typer.Option(
        help="Bias variable: v_rest, i_offset, or balance (of excitation and inhibition in the background); "
        "default: the preset's.",
        show_default=False,
    ),
]
GridDt = Annotated[
    float | None,
    typer.Option(
        "--dt",
        help="Time step in ms, of a simulation (default 0.1) or for which the density is to hold (default: "
        "continuous time).",
        show_default=False,
    ),
]

SHOWN_UNITS = 20


@app.command()
def sample(
    model: Model,
    clamp: Clamp = [],  # noqa: B006  # Typer copies it
    evidence: Evidence = [],  # noqa: B006
    route: Annotated[
        str, typer.Option(help="How a Bayesian network is compiled: fitted, monomials, assignments.")
    ] = "fitted",
    encoding: Annotated[
        str, typer.Option(help="Of variables of many states: one-hot, domain-wall, bits.")
    ] = "one-hot",
    duration: Duration = "100s",
    chains: Chains = 64,
    seed: Seed = 1,
    neuron: NeuronOption = "S1",
    rule: Annotated[
        str | None,
        typer.Option(help="Translation rule, psp or learned, or a tuned file.", show_default=False),
    ] = None,
    plasticity: Annotated[str, typer.Option(help="Recurrent synapse: renewing or additive.")] = "renewing",
    clamping: Annotated[str, typer.Option(help="bias: absorb the evidence; spikes: hold the neurons.")] = "bias",
    engine: EngineOption = "numba",
    dt: Dt = 0.1,
    burn_in: Annotated[str, typer.Option(help="Biological time discarded at the start.")] = "1s",
    threads: Threads = None,
    record: Annotated[
        str, typer.Option(help="states: of every draw; moments or joint: counts, in memory that does not grow.")
    ] = "states",
    checkpoint: Annotated[
        Path | None, typer.Option(help="File for the state at the end, to resume from.", show_default=False)
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Checkpoint of the same run to go on from.", show_default=False)
    ] = None,
    all_units: Annotated[bool, typer.Option("--all", help=f"List every unit, not {SHOWN_UNITS}.")] = False,
    budget: Annotated[bool, typer.Option("--budget", help="Say where the bias comes from; more runs.")] = False,
    output: Output = None,
    force: Force = False,
) -> None:
    """Sample a Boltzmann machine or a Bayesian network with spiking neurons and compare with the exact answer.

    Ctrl-C or SIGTERM ends the run early: what was sampled is shown, and written to the output marked as partial;
    the exit code is then 130 or 143. A second Ctrl-C stops at once and writes nothing.
    """
    from boltzspike import pipeline
    from boltzspike.compilation import Compiled
    from boltzspike.errors import Interrupted, ValidationError
    from boltzspike.files import check_writable
    from boltzspike.model.synapse import Synapse
    from boltzspike.posterior import PosteriorResult

    if output is not None:
        check_writable(output, force=force)
    machine = _read_target(model, parse_evidence(evidence), route=route, encoding=encoding)
    biological, discarded = parse_time(duration, "duration"), parse_time(burn_in, "burn-in")
    calibration = _calibration(neuron)
    regime = calibration.verdict.regime
    by = f"neuron {neuron}: {regime}" if engine not in pipeline.ABSTRACT else "no membranes"
    n_units = machine.machine.n_units if isinstance(machine, Compiled) else machine.n_units
    print(f"{n_units} units, {chains} chains of {biological / 1e3:g} s; {by}")
    stopped = None
    with _progress_bar("sampling") as progress:
        try:
            result = pipeline.sample(
                machine,
                calibration=calibration,
                duration=biological,
                chains=chains,
                seed=seed,
                rule=_read_rule(rule),
                synapse=Synapse(plasticity=plasticity),  # type: ignore[arg-type]  # validated there
                engine=engine,
                dt=dt,
                clamp=parse_clamp(clamp),
                clamping=clamping,
                burn_in=discarded,
                record=record,
                checkpoint=checkpoint,
                resume=resume,
                threads=threads,
                progress=progress,
            )
        except Interrupted as stop:
            result, stopped = stop.result, stop
    if output is not None:
        result.save(output, force=force)
    if stopped is not None:
        done, asked = result.configuration["sampled_ms"], result.configuration["duration_ms"]
        print(f"interrupted after {done / 1e3:g} of {asked / 1e3:g} s: the result is partial", file=sys.stderr)
    try:
        if isinstance(result, PosteriorResult):
            _print_posterior(result, all_units=all_units)
        else:
            _print_result(result, all_units=all_units)
    except ValidationError as error:
        if stopped is None:
            raise
        print(f"too short for a table ({error})")
    if budget and stopped is None:
        _print_budget(result.error_budget(threads=threads))
    if output is not None:
        print(f"wrote {output}")
    if stopped is not None:
        raise typer.Exit(128 + stopped.signal)


@app.command()
def tune(
    model: Model,
    output: Annotated[Path, typer.Option("-o", "--output", help="Translation file to write.", show_default=False)],
    start: Annotated[
        Path | None, typer.Option(help="Translation to go on from; default: the best rule.", show_default=False)
    ] = None,
    clamp: Clamp = [],  # noqa: B006  # Typer copies it
    fill: Annotated[
        bool | None,
        typer.Option(
            help="Couple units that share a neighbour; default: yes, but not in an RBM.", show_default=False
        ),
    ] = None,
    steps: Annotated[int, typer.Option(help="Runs at most.")] = 12,
    tolerance: Annotated[float, typer.Option(help="D_KL at which to stop.")] = 1e-3,
    duration: Duration = "100s",
    chains: Chains = 64,
    seed: Seed = 1,
    neuron: NeuronOption = "S1",
    plasticity: Annotated[str, typer.Option(help="Recurrent synapse: renewing or additive.")] = "renewing",
    engine: EngineOption = "numba",
    dt: Dt = 0.1,
    threads: Threads = None,
    force: Force = False,
) -> None:
    """Tune a network in the loop until its moments are the target's; use it by sample --rule FILE.

    The best parameters so far are written after every run, so that an interrupted tuning goes on with --start.
    """
    from boltzspike import pipeline
    from boltzspike.errors import ValidationError
    from boltzspike.files import check_writable
    from boltzspike.model.synapse import Synapse
    from boltzspike.translation import Translation
    from boltzspike.translation.tuned import Step

    check_writable(output, force=force)
    machine = _read_machine(model)
    begin = None
    if start is not None:
        begin = pipeline.read(start)
        if not isinstance(begin, Translation):
            raise ValidationError(f"{start}: must be a translation, got a {type(begin).__name__}")
    with _progress_bar("tuning") as progress:

        def show(number: int, best: Step) -> None:
            progress(number, steps)
            print(f"run {number}: D_KL {best.error:.2g} +- {best.standard_error:.1g}", flush=True)
            best.translation.save(output, force=True)

        tuned = pipeline.tune(
            machine,
            calibration=None if begin is not None else _calibration(neuron),
            start=begin,
            synapse=Synapse(plasticity=plasticity),  # type: ignore[arg-type]  # validated there
            clamp=parse_clamp(clamp),
            fill=fill,
            steps=steps,
            tolerance=tolerance,
            duration=parse_time(duration, "duration"),
            chains=chains,
            dt=dt,
            seed=seed,
            engine=engine,
            threads=threads,
            on_step=show,
        )
    tuned.save(output, force=True)
    print(tuned.notes[-1])
    print(f"wrote {output}")


@app.command()
def calibrate(
    neuron: NeuronOption = "S1",
    control: ControlOption = None,
    method: Annotated[str, typer.Option(help="density, burst (theories) or simulation.")] = "density",
    points: Annotated[int, typer.Option(help="Points of the response curve.")] = 21,
    network: Annotated[
        bool, typer.Option("--network", help="Learn the translation rule from small networks.")
    ] = False,
    networks: Annotated[int, typer.Option(help="Number of networks to learn from.")] = 250,
    plasticity: Annotated[str, typer.Option(help="Recurrent synapse: renewing or additive.")] = "renewing",
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
    from boltzspike.model.synapse import Synapse

    if output is not None:
        check_writable(output, force=force)
    _check_picture(plot, force=force)
    cell, background, chosen = _neuron(neuron, control)
    calibration = pipeline.calibrate(
        cell, background, control=chosen, method=method, points=points, duration=parse_time(duration, "duration"),
        chains=chains, seed=seed, dt=dt, engine=engine, threads=threads,
    )  # fmt: skip
    if network:
        with _progress_bar("learning from networks") as progress:
            calibration = pipeline.calibrate_network(
                calibration, synapse=Synapse(plasticity=plasticity),  # type: ignore[arg-type]  # validated there
                networks=networks, dt=dt or 0.1, seed=seed, engine=engine, threads=threads, progress=progress,
            )  # fmt: skip
    _report_calibration(calibration, output, force=force)
    if plot is not None:
        low, high = calibration.bias_range
        x: Any = [
            calibration.control_at(bias)
            for bias in np.linspace(-6, 6, 13 if method == "simulation" else 37)
            if low <= bias <= high
        ]
        length = parse_time(duration, "duration")
        curve = pipeline.response(
            cell, background, method=method, duration=length, chains=chains, seed=seed, dt=dt, engine=engine,
            threads=threads, **{chosen: x},
        )  # fmt: skip
        measured = pipeline.burst_statistics(
            calibration.biased(0.0), calibration.background_at(0.0), duration=length, chains=chains, seed=seed,
            dt=dt or 0.1, engine=engine, threads=threads,
        )  # fmt: skip
        _draw_response([curve], calibration, measured, plot, force=force)
        print(f"wrote {plot}")


@app.command()
def design(
    neuron: NeuronOption = "S1",
    control: ControlOption = None,
    alpha: Annotated[float | None, typer.Option(help="Wanted alpha, mV.", show_default=False)] = None,
    sigma: Annotated[float | None, typer.Option(help="Wanted sigma, mV.", show_default=False)] = None,
    tau_eff: Annotated[float | None, typer.Option(help="Wanted tau_eff, ms.", show_default=False)] = None,
    rate: Annotated[float, typer.Option(help="Rate of each source of a current-based neuron, Hz.")] = 3000.0,
    output: Output = None,
    force: Force = False,
) -> None:
    """Find the background that gives a neuron the wanted slope or noise, speed, and p = 1/2 without bias."""
    from boltzspike import pipeline
    from boltzspike.files import check_writable

    if output is not None:
        check_writable(output, force=force)
    cell, _, chosen = _neuron(neuron, control)
    calibration = pipeline.design(cell, alpha=alpha, sigma=sigma, tau_eff=tau_eff, rate=rate, control=chosen)
    weight_unit = "uS" if hasattr(cell, "e_rev_exc") else "nA"
    for source_rate, weight in zip(calibration.background.rates, calibration.background.weights):
        print(f"source {source_rate:.1f} Hz, weight {weight:+.6g} {weight_unit}")
    _report_calibration(calibration, output, force=force)


def _report_calibration(calibration: Calibration, output: Path | None, *, force: bool) -> None:
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
    _print_table(["", "mean potential (mV)", "+-", f"{calibration.control} ({unit})", "+-"], rows)
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


@app.command()
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
    from boltzspike.files import check_writable, save
    from boltzspike.model.neuron import CONTROL_UNITS

    if output is not None:
        check_writable(output, force=force)
    _check_picture(plot, force=force)
    cell, background, chosen = _neuron(neuron, control)
    calibration = pipeline.calibrate(cell, background, control=chosen)
    biases = np.linspace(-5, 5, points)
    x: Any = np.array([calibration.control_at(b) for b in biases])
    curves: list[ResponseCurve] = [
        pipeline.response(
            cell, background, method=name, duration=parse_time(duration, "duration"), chains=chains, seed=seed,
            dt=dt, engine=engine, threads=threads, **{chosen: x},
        )
        for name in method
    ]  # fmt: skip
    header = [f"{chosen} ({CONTROL_UNITS[calibration.control]})", "mean (mV)", "logistic"]
    for curve in curves:
        header += [curve.method, "+-"]
    rows = []
    for k, value in enumerate(x):
        row = [f"{value:.4f}", f"{curves[0].mu[k]:.3f}", f"{expit(biases[k]):.4f}"]
        for curve in curves:
            row += [f"{curve.p[k]:.4f}", f"{curve.error[k]:.4f}"]
        rows.append(row)
    _print_table(header, rows)
    if output is not None:
        save(curves[0], output, force=force)
        print(f"wrote {output}")
    if plot is not None:
        measured = pipeline.burst_statistics(
            calibration.biased(0.0), calibration.background_at(0.0), duration=parse_time(duration, "duration"),
            chains=chains, seed=seed, dt=dt or 0.1, engine=engine, threads=threads,
        )  # fmt: skip
        _draw_response(curves, calibration, measured, plot, force=force)
        print(f"wrote {plot}")


@app.command()
def doctor() -> None:
    """Show versions and engines, and run a short self-test."""
    import importlib
    import platform
    from importlib.metadata import PackageNotFoundError, version

    import numpy as np

    from boltzspike import pipeline
    from boltzspike.engines import REGISTRY
    from boltzspike.model.boltzmann import BoltzmannMachine

    print(f"python {platform.python_version()} on {platform.machine()}")
    for package in ("boltzspike", "numpy", "scipy", "numba", "xarray", "h5netcdf", "matplotlib", "scikit-learn"):
        try:
            print(f"{package} {version(package)}")
        except PackageNotFoundError:
            print(f"{package} is not installed")
    for name, target in REGISTRY.items():
        try:
            importlib.import_module(target.partition(":")[0])
            print(f"engine {name}: available")
        except ImportError as error:
            print(f"engine {name}: not available ({error})")
    machine = BoltzmannMachine(weights=[[0.0, 0.5], [0.5, 0.0]], biases=[-0.3, 0.2])
    result = pipeline.sample(machine, duration=1e4, chains=16)
    truth = result.exact()
    assert truth is not None
    worst = float(np.max(np.abs(result.marginals() - truth.marginals)))
    # the psp rule is off by up to .02 here, and the sampling noise at this length is .005
    ok = worst < 0.05
    outcome = "passed" if ok else "FAILED"
    print(f"self-test: {outcome} (largest marginal error {worst:.3f}, {result.speed:.0f} x real time)")
    if not ok:
        raise typer.Exit(1)


def parse_time(text: str, where: str) -> float:
    """Return a time in ms from ``100s``, ``5e4ms``, ``2min`` or ``1h``."""
    from boltzspike.errors import ValidationError

    for suffix, factor in (("ms", 1.0), ("min", 6e4), ("s", 1e3), ("h", 3.6e6)):
        if text.strip().endswith(suffix):
            try:
                return float(text.strip().removesuffix(suffix)) * factor
            except ValueError:
                break
    raise ValidationError(f"{where}: must be a number with a unit (ms, s, min or h), such as 100s, got {text!r}")


def parse_clamp(items: list[str]) -> dict[int | str, int]:
    """Return ``{name: value}`` from ``NAME=0`` and ``NAME=1``; several may share an item, parted by commas."""
    from boltzspike.errors import ValidationError

    clamp: dict[int | str, int] = {}
    for item in (part for text in items for part in text.split(",")):
        name, equals, value = item.rpartition("=")
        if not equals or value not in ("0", "1") or not name:
            raise ValidationError(f"clamp: must be NAME=0 or NAME=1, got {item!r}")
        if name in clamp:
            raise ValidationError(f"clamp[{name!r}]: must be given once, got twice")
        clamp[name] = int(value)
    return clamp


def parse_evidence(items: list[str]) -> dict[str, str]:
    """Return ``{variable: state}`` from ``VARIABLE=STATE``; several may share an item, parted by commas.

    A comma belongs to a state's name where no ``=`` follows it before the next one.

    Examples
    --------
    >>> parse_evidence(["dysp=yes,xray=no", "age=[0,5)"])
    {'dysp': 'yes', 'xray': 'no', 'age': '[0,5)'}
    """
    from boltzspike.errors import ValidationError

    parts: list[str] = []
    for text in items:
        first = True
        for part in text.split(","):
            if "=" in part or first:
                parts.append(part)
            else:
                parts[-1] += f",{part}"
            first = False
    evidence: dict[str, str] = {}
    for part in parts:
        variable, equals, state = part.partition("=")
        if not (variable and equals and state):
            raise ValidationError(f"evidence: must be VARIABLE=STATE, got {part!r}")
        if variable in evidence:
            raise ValidationError(f"evidence[{variable!r}]: must be given once, got twice")
        evidence[variable] = state
    return evidence


def _neuron(name: str, control: str | None) -> tuple[Any, Any, Any]:
    """Return the neuron, background and bias variable of a preset or of a calibration file."""
    from boltzspike.model import presets

    source = presets.preset(name) if _is_preset(name) else _read_calibration(name)
    return source.neuron, source.background, control or source.control


def _calibration(name: str) -> Calibration:
    from boltzspike.pipeline import calibrate

    if not _is_preset(name):
        return _read_calibration(name)
    cell, background, control = _neuron(name, None)
    return calibrate(cell, background, control=control)


def _is_preset(name: str) -> bool:
    """Tell a preset's name, or what can be no file either and is best answered with the presets' names."""
    from boltzspike.model import presets

    return name in presets.ALL or not Path(name).is_file()


def _read_machine(path: Path) -> Machine:
    from boltzspike.errors import ValidationError
    from boltzspike.model.boltzmann import BoltzmannMachine, RestrictedBoltzmannMachine
    from boltzspike.pipeline import read

    machine = read(path)
    if not isinstance(machine, BoltzmannMachine | RestrictedBoltzmannMachine):
        raise ValidationError(f"{path}: must be a Boltzmann machine or RBM, got a {type(machine).__name__}")
    return machine


def _read_target(path: Path, evidence: dict[str, str], *, route: str, encoding: str) -> Machine | Compiled:
    """Return the machine in a file, or the Bayesian network in it compiled under the evidence."""
    from boltzspike.compilation import compile_bayes
    from boltzspike.errors import ValidationError
    from boltzspike.model.bayesnet import BayesianNetwork
    from boltzspike.pipeline import read

    if isinstance(network := read(path), BayesianNetwork):
        compiled = compile_bayes(network, evidence, route=route, encoding=encoding)
        print(compiled.report)
        return compiled
    if evidence:
        raise ValidationError("evidence: is for Bayesian networks; a machine takes --clamp NAME=0 or NAME=1")
    return _read_machine(path)


def _read_rule(rule: str | None) -> str | Translation | None:
    """Return a rule's name as it is, and the translation in a file of that name."""
    from boltzspike.errors import ValidationError
    from boltzspike.pipeline import read
    from boltzspike.translation import RULES, Translation

    if rule is None or rule in RULES or not Path(rule).exists():
        return rule
    translation = read(rule)
    if not isinstance(translation, Translation):
        raise ValidationError(f"{rule}: must be a translation, got a {type(translation).__name__}")
    return translation


def _read_calibration(path: str) -> Calibration:
    from boltzspike.calibration import Calibration
    from boltzspike.errors import ValidationError
    from boltzspike.pipeline import read

    calibration = read(path)
    if not isinstance(calibration, Calibration):
        raise ValidationError(f"{path}: must be a calibration, got a {type(calibration).__name__}")
    return calibration


def _check_picture(path: Path | None, *, force: bool) -> None:
    """Raise before any work is done if the picture can't be drawn there."""
    from boltzspike.errors import require
    from boltzspike.files import check_writable

    if path is not None:
        require(path.suffix in (".png", ".svg", ".pdf"), "plot", "a file ending in .png, .svg or .pdf", str(path))
        check_writable(path, force=force)


def _draw_response(
    curves: list[ResponseCurve], calibration: Calibration, measured: BurstStatistics, path: Path, *, force: bool
) -> None:
    """Draw the curves with their residuals, and beside them bursts, pauses and intervals at p = 1/2."""
    import numpy as np
    from scipy.special import expit

    from boltzspike import plots
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


def _print_result(result: Result, *, all_units: bool) -> None:
    import numpy as np

    p, error, effective = result.marginals(), result.marginals_error(), result.effective_samples()
    truth = result.reference()
    order = result.free
    name = "exact" if truth.exact else "Gibbs"
    header = ["unit", "sampled", "+-", name, *([] if truth.exact else ["+-"]), "difference"]
    shown = order
    if len(order) > SHOWN_UNITS and not all_units:
        distance = np.abs(p - truth.marginals)
        shown = np.sort(order[np.argsort(-distance[order], kind="stable")[:SHOWN_UNITS]])
    rows = []
    for k in shown:
        row = [result.names[k], f"{p[k]:.4f}", f"{error[k]:.4f}", f"{truth.marginals[k]:.4f}"]
        row += [] if truth.exact else [f"{truth.error[k]:.4f}"]
        rows.append([*row, f"{p[k] - truth.marginals[k]:+.4f}"])
    _print_table(header, rows)
    if len(shown) < len(order):
        print(f"({len(shown)} of {len(order)} free units, those farthest from {name}; --all shows every one)")
    noise = np.sqrt(np.mean(error[order] ** 2 + truth.error[order] ** 2))
    difference = np.sqrt(np.mean((p[order] - truth.marginals[order]) ** 2))
    print(
        f"marginals: RMS difference from {name} {difference:.4f}, of which sampling noise {noise:.4f} "
        f"({'exact' if truth.exact else 'reference'} by {truth.method})"
    )
    if len(order) <= SHOWN_UNITS and _has_joint(result):
        d = result.kl_divergence()
        print(
            f"D_KL(sampled || exact) = {d.value:.3g}: floor {d.floor:.2g} (sampling noise), "
            f"bias {d.bias:.3g} +- {d.error:.1g}; D_KL(exact || sampled) = {d.reverse:.3g}; "
            f"{d.unseen} of {2 ** len(order)} states never seen (probability {d.unseen_probability:.2g})"
        )
    moving = effective[order][np.isfinite(effective[order])]
    constant = len(order) - len(moving)
    if len(moving):
        print(f"effective samples: {moving.min():.0f} (least) .. {np.median(moving):.0f} (median)", end="")
        print(f"; {constant} unit(s) never changed" if constant else "")
    _print_speed(result)


def _print_speed(result: Result) -> None:
    how = result.configuration
    print(f"speed: {result.speed:.0f} x real time (all chains together: {how['wall_seconds']:.2f} s, ", end="")
    print(f"after {how['setup_seconds']:.2f} s of compilation and burn-in)")
    print(f"engine: {how['engine']}, {how['approximation']}")


def _has_joint(result: Result) -> bool:
    """Tell whether what was recorded gives D_KL with an error."""
    from boltzspike.diagnostics import MIN_BLOCKS

    counted = result.samples.gathered.joint
    return result.samples.packed is not None or (counted is not None and len(counted.steps) >= MIN_BLOCKS)


def _print_budget(budget: Budget) -> None:
    rows = [[share.cause, f"{share.value:+.5f}", f"{share.error:.5f}"] for share in budget.shares]
    rows.append(["left over (no Boltzmann machine)", f"{budget.remainder:+.5f}", ""])
    rows.append(["bias of D_KL, as measured", f"{budget.bias:+.5f}", f"{budget.bias_error:.5f}"])
    rows.append(["sampling noise (floor)", f"{budget.floor:+.5f}", ""])
    _print_table(["where D_KL comes from", "share", "+-"], rows)


def _print_posterior(result: PosteriorResult, *, all_units: bool) -> None:
    import numpy as np

    sampled, error, truth = result.posterior(), result.posterior_error(), result.exact_posterior()
    off = {v: max(abs(sampled[v][s] - truth[v][s]) for s in sampled[v]) if truth else 0.0 for v in sampled}
    shown = list(sampled)
    if len(shown) > SHOWN_UNITS and not all_units:
        kept = sorted(shown, key=lambda v: -off[v])[:SHOWN_UNITS]
        shown = [v for v in shown if v in kept]
    rows = []
    for v in shown:
        for s, p in sampled[v].items():
            row = [v, s, f"{p:.4f}", f"{error[v][s]:.4f}"]
            rows.append([*row, f"{truth[v][s]:.4f}", f"{p - truth[v][s]:+.4f}"] if truth else row)
    _print_table(
        ["variable", "state", "sampled", "+-", *(["exact", "difference"] if truth else [])], rows, words=2
    )
    if len(shown) < len(sampled):
        which = "farthest from exact" if truth else "first"
        print(f"({len(shown)} of {len(sampled)} variables, those {which}; --all shows every one)")
    if truth:
        differences = [abs(sampled[v][s] - truth[v][s]) for v in sampled for s in sampled[v]]
        print(
            f"posterior: mean difference from exact {np.mean(differences):.4f}, largest {max(differences):.4f}; "
            f"log p(evidence) = {result.log_evidence:.4f}"
        )
    else:
        print("exact posterior: out of reach of elimination for this network")
    invalid = max(result.invalid().values(), default=0.0)
    if invalid:
        print(f"draws in which a variable showed no state: at most {invalid:.2g} (left out)")
    print(f"mixing: {result.mixing()}")
    _print_speed(result)


def _print_table(header: list[str], rows: list[list[str]], *, words: int = 1) -> None:
    """Print columns, the first ``words`` of them left-justified."""
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for k, title in enumerate(header):
        table.add_column(title, justify="left" if k < words else "right", no_wrap=True)
    for row in rows:
        table.add_row(*row)
    needed = sum(max(len(cell) for cell in column) + 2 for column in zip(header, *rows))
    Console(highlight=False, width=max(Console().width, needed)).print(table)


@contextmanager
def _progress_bar(title: str) -> Iterator[Progress]:
    """Show a bar on a terminal's stderr, nothing where it is none."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def main() -> None:
    """Run the command line; an error of ours is one line on stderr and exit code 2, a warning one line."""
    from boltzspike.errors import BoltzspikeError

    warnings.showwarning = lambda message, *_: print(f"warning: {message}", file=sys.stderr)
    try:
        app(standalone_mode=True)
    except BoltzspikeError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
