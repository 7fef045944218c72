"""boltzspike sample."""

from __future__ import annotations

import contextlib
import functools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from boltzspike.cli.options import (
    Beta,
    Chains,
    Clamp,
    Cluster,
    Dt,
    Duration,
    Encoding,
    Evidence,
    Force,
    Joint,
    Json,
    Likelihood,
    Model,
    NeuronOrRules,
    Output,
    PlasticityOrRules,
    Report,
    Route,
    Rule,
    Seed,
    Settle,
    Threads,
)
from boltzspike.cli.queries import answer_queries
from boltzspike.cli.reading import (
    engine_at,
    names_in_course,
    neuron_and_synapse,
    parse_clamp,
    parse_evidence,
    parse_evidence_course,
    parse_joint,
    parse_likelihoods,
    parse_time,
    read_machine,
    read_rule,
    read_target,
)
from boltzspike.cli.showing import SHOWN_UNITS, check_report, print_answer, print_budget, print_json
from boltzspike.progress import terminal_bar

if TYPE_CHECKING:
    from boltzspike.result import Result
    from boltzspike.translation.budget import Budget

NOT_REACHED = 3
"""Exit code where what --until asks for was not reached."""


def sample(
    context: typer.Context,
    model: Model,
    beta: Beta = None,
    target: Annotated[
        Path | None,
        typer.Option(help="Of a spiking network: the machine to compare with.", show_default=False),
    ] = None,
    clamp: Clamp = [],  # noqa: B006  # Typer copies it
    evidence: Evidence = [],  # noqa: B006
    likelihood: Likelihood = [],  # noqa: B006
    evidence_at: Annotated[
        list[str],
        typer.Option(
            help="Evidence that holds from a time on, 20s:NAME=VALUE,... (20s: alone lifts it); repeatable.",
            show_default=False,
        ),
    ] = [],  # noqa: B006  # Typer copies it
    settle: Settle = "200ms",
    evidence_file: Annotated[
        Path | None,
        typer.Option(
            help="Many queries, one table: CSV (header: variables; a row a query; empty: not observed) or a JSON "
            "list of objects.",
            show_default=False,
        ),
    ] = None,
    route: Route = None,
    encoding: Encoding = None,
    duration: Duration = "100s",
    chains: Chains = 64,
    seed: Seed = 1,
    neuron: NeuronOrRules = None,
    rule: Rule = None,
    plasticity: PlasticityOrRules = None,
    clamping: Annotated[str, typer.Option(help="bias: absorb the evidence; spikes: hold the neurons.")] = "bias",
    engine: Annotated[
        str,
        typer.Option(
            help="numba, cuda; slower: numba-exact, reference, nest; "
            "without membranes: gibbs, gibbs-random, buesing."
        ),
    ] = "numba",
    dt: Dt = 0.1,
    burn_in: Annotated[str, typer.Option(help="Biological time discarded at the start.")] = "1s",
    threads: Threads = None,
    cluster: Cluster = None,
    record: Annotated[
        str, typer.Option(help="states: of every draw; moments or joint: counts, in memory that does not grow.")
    ] = "states",
    checkpoint: Annotated[
        Path | None, typer.Option(help="File for the state at the end, to resume from.", show_default=False)
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Checkpoint of the same run to go on from.", show_default=False)
    ] = None,
    until: Annotated[
        str | None,
        typer.Option(
            help="Stop when this is reached: mcse<X (largest error of a marginal), rhat<X, ess>X or dkl<X; "
            "--duration is the longest.",
            show_default=False,
        ),
    ] = None,
    joint: Joint = None,
    all_units: Annotated[bool, typer.Option("--all", help=f"List every unit, not {SHOWN_UNITS}.")] = False,
    budget: Annotated[bool, typer.Option("--budget", help="Say where the bias comes from; more runs.")] = False,
    report: Report = None,
    output: Output = None,
    force: Force = False,
    as_json: Json = False,
) -> None:
    """Sample a Boltzmann machine or a Bayesian network with spiking neurons and compare with the exact answer.

    A spiking network is sampled as it is, and compared with what --target names.

    Ctrl-C or SIGTERM ends the run early: what was sampled is shown, and written to the output marked as partial;
    the exit code is then 130 or 143. A second Ctrl-C stops at once and writes nothing. The exit code is 3 where
    the duration was over before what --until asks for was reached.
    """
    if evidence_file is not None:
        about_one = {
            "evidence": evidence, "likelihood": likelihood, "joint": joint, "clamp": clamp,
            "evidence-at": evidence_at, "checkpoint": checkpoint, "resume": resume, "until": until,
            "budget": budget, "report": report, "output": output, "record": record != "states",
            "target": target,
        }  # fmt: skip
        answer_queries(
            model, evidence_file, about_one, route=route, encoding=encoding, neuron=neuron, rule=rule,
            plasticity=plasticity, cluster=cluster, engine=engine, threads=threads,
            duration=duration, burn_in=burn_in, all_variables=all_units, as_json=as_json, beta=beta,
            chains=chains, seed=seed, dt=dt, clamping=clamping,
        )  # fmt: skip
        return
    from boltzspike import pipeline
    from boltzspike.compilation import Compiled
    from boltzspike.errors import Interrupted, ValidationError
    from boltzspike.files import RESULT_SUFFIXES, check_writable
    from boltzspike.model.network import SpikingNetwork
    from boltzspike.summary import plain, summary

    with contextlib.redirect_stdout(sys.stderr) if as_json else contextlib.nullcontext():
        if output is not None:
            check_writable(output, force=force, suffixes=RESULT_SUFFIXES)
        if report is not None:
            check_report(report, force=force)
            if evidence_at:
                raise ValidationError("report: is about one question; leave it out, or --evidence-at")
        machine = read_target(
            model,
            parse_evidence(evidence),
            route=route,
            encoding=encoding,
            likelihoods=parse_likelihoods(likelihood),
            beta=beta,
            kept=names_in_course(evidence_at),
        )
        if isinstance(machine, Compiled) and record != "states":
            of_draws = "'states': the posterior of a Bayesian network is read from draws"
            raise ValidationError(f"record: must be {of_draws}, got {record!r}")
        asked_for = parse_joint(joint, machine)
        clamped = parse_clamp(clamp)
        settling = parse_time(settle, "settle")
        biological, discarded = parse_time(duration, "duration"), parse_time(burn_in, "burn-in")
        of_model: dict[str, Any]
        if isinstance(machine, SpikingNetwork):
            _refuse_what_is_for_targets(context)
            of_model = {"target": None if target is None else read_machine(target)}
            by = "as it is"
        elif target is not None:
            raise ValidationError("target: is for a spiking network; a model that is sampled is the target itself")
        else:
            named = read_rule(rule)
            calibration, synapse = neuron_and_synapse(named, neuron, plasticity)
            of_model = {
                "calibration": calibration, "rule": named, "synapse": synapse, "clamping": clamping,
                "evidence_course": parse_evidence_course(evidence_at, machine),
            }  # fmt: skip
            regime = calibration.verdict.regime
            whose = neuron or ("S1" if isinstance(named, str | None) else f"of {rule}")
            by = f"neuron {whose}: {regime}" if engine not in pipeline.ABSTRACT else "no membranes"
            if budget:
                pipeline.check_budget(
                    machine.machine if isinstance(machine, Compiled) else machine,
                    clamp=clamped, calibration=None if engine in pipeline.ABSTRACT else calibration,
                    synapse=synapse, states=record == "states", clamping=clamping, plain=not evidence_at,
                    chains=chains, draws=biological / calibration.neuron.tau_refrac,
                )  # fmt: skip
        n_units = machine.machine.n_units if isinstance(machine, Compiled) else machine.n_units
        print(f"{n_units} units, {chains} chains of {biological / 1e3:g} s; {by}")
        stopped = None
        run: Any = pipeline.sample if until is None else functools.partial(pipeline.sample_until, until=until)
        with terminal_bar("sampling") as progress, engine_at(cluster, engine, threads) as runs_on:
            try:
                result = run(
                    machine,
                    **of_model,
                    duration=biological,
                    chains=chains,
                    seed=seed,
                    engine=runs_on,
                    dt=dt,
                    clamp=clamped,
                    burn_in=discarded,
                    record=record,
                    checkpoint=checkpoint,
                    resume=resume,
                    spool=None if output is None else output.parent,
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
        if until is not None:
            how = result.configuration
            word = "reached" if how["reached"] else "not reached"
            print(f"{word}: {how['until']} after {how['sampled_ms'] / 1e3:g} s")
        try:
            print_answer(result, all_units=all_units, settle=settling, joint=asked_for)
        except ValidationError as error:
            if stopped is None:
                raise
            print(f"too short for a table ({error})")
        shares = None
        if budget and stopped is None:
            try:
                shares = result.error_budget(threads=threads)
            except ValidationError as error:  # what only the samples could tell
                print(f"no budget ({error})")
            else:
                print_budget(shares)
        if output is not None:
            print(f"wrote {output}")
        if report is not None:
            _write_report(result, report, shares, force=force)
    if as_json:
        of_budget = {"budget": plain(shares)} if budget else {}
        print_json(summary(result, settle=settling, joint=asked_for) | of_budget)
    if stopped is not None:
        raise typer.Exit(128 + stopped.signal)
    if until is not None and not result.configuration["reached"]:
        raise typer.Exit(NOT_REACHED)


def _refuse_what_is_for_targets(context: typer.Context) -> None:
    """Raise where an option was given that makes a network of a target: this is one already."""
    from boltzspike.errors import ValidationError

    for name in ("neuron", "rule", "plasticity", "clamping", "evidence_at", "settle", "budget"):
        source = context.get_parameter_source(name)
        if source is not None and source.name != "DEFAULT":
            option = name.replace("_", "-")
            raise ValidationError(f"{option}: left out for a spiking network, which runs as it is")


def _write_report(result: Result, path: Path, budget: Budget | None, *, force: bool) -> None:
    from boltzspike.errors import ValidationError
    from boltzspike.report import write_report

    try:
        write_report(result, path, command=["boltzspike", *sys.argv[1:]], budget=budget, force=force)
    except ValidationError as error:
        if not result.configuration["partial"]:
            raise
        print(f"too short for a report ({error})")
    else:
        print(f"wrote {path}")
