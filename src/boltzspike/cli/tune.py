"""boltzspike tune."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from boltzspike.cli.options import (
    Beta,
    Chains,
    Clamp,
    Cluster,
    Dt,
    Duration,
    Encoding,
    EngineOption,
    Evidence,
    Force,
    Likelihood,
    NeuronOrRules,
    PlasticityOrRules,
    Route,
    Seed,
    Target,
    Threads,
)
from boltzspike.cli.reading import (
    engine_at,
    neuron_and_synapse,
    parse_clamp,
    parse_time,
    read_machine_of,
)
from boltzspike.progress import terminal_bar


def tune(
    model: Target,
    output: Annotated[Path, typer.Option("-o", "--output", help="Translation file to write.", show_default=False)],
    to: Annotated[
        str,
        typer.Option(
            help="moments: those of the target; conditionals, sweeps: from its weights and biases alone, sweeps "
            "where they are strong."
        ),
    ] = "moments",
    start: Annotated[
        Path | None, typer.Option(help="Translation to go on from; default: the best rule.", show_default=False)
    ] = None,
    beta: Beta = None,
    clamp: Clamp = [],  # noqa: B006  # Typer copies it
    evidence: Evidence = [],  # noqa: B006
    likelihood: Likelihood = [],  # noqa: B006
    route: Route = None,
    encoding: Encoding = None,
    fill: Annotated[
        bool | None,
        typer.Option(
            help="Couple units that share a neighbour; default: yes, but not in an RBM or a large machine.",
            show_default=False,
        ),
    ] = None,
    steps: Annotated[int, typer.Option(help="Runs at most.")] = 16,
    tolerance: Annotated[float, typer.Option(help="D_KL at which to stop.")] = 1e-3,
    duration: Duration = "100s",
    chains: Chains = 64,
    seed: Seed = 1,
    neuron: NeuronOrRules = None,
    plasticity: PlasticityOrRules = None,
    engine: EngineOption = "numba",
    dt: Dt = 0.1,
    threads: Threads = None,
    cluster: Cluster = None,
    force: Force = False,
) -> None:
    """Tune a network in the loop until its moments or conditionals are the target's; use it by sample --rule FILE.

    Of a Bayesian network it is tuned for the evidence, which sample must then be given too.
    The best parameters so far are written after every run, so that an interrupted tuning goes on with --start.
    """
    from boltzspike import pipeline
    from boltzspike.errors import ValidationError
    from boltzspike.files import check_writable
    from boltzspike.translation import Translation
    from boltzspike.translation.tuned import Step

    check_writable(output, force=force, suffixes=(".json",))
    machine = read_machine_of(
        model, clamp=clamp, evidence=evidence, likelihood=likelihood, route=route, encoding=encoding, beta=beta
    )
    begin = None
    if start is not None:
        begin = pipeline.read(start)
        if not isinstance(begin, Translation):
            raise ValidationError(f"{start}: must be a translation, got a {type(begin).__name__}")
    calibration, synapse = neuron_and_synapse(begin, neuron, plasticity)
    with terminal_bar("tuning") as progress, engine_at(cluster, engine, threads) as runs_on:

        def show(number: int, best: Step) -> None:
            progress(number, steps)
            print(f"run {number}: D_KL {best.error:.2g} +- {best.standard_error:.1g}", flush=True)
            best.translation.save(output, force=True)

        tuned = pipeline.tune(
            machine,
            to=to,
            calibration=calibration,
            start=begin,
            synapse=synapse,
            clamp=parse_clamp(clamp),
            fill=fill,
            steps=steps,
            tolerance=tolerance,
            duration=parse_time(duration, "duration"),
            chains=chains,
            dt=dt,
            seed=seed,
            engine=runs_on,
            threads=threads,
            on_step=show,
        )
    tuned.save(output, force=True)
    print(tuned.notes[-1])
    print(f"wrote {output}")
