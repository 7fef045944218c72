"""boltzspike export."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from boltzspike.cli.options import (
    Beta,
    Chains,
    Clamp,
    Dt,
    Duration,
    Encoding,
    Evidence,
    Likelihood,
    NeuronOrRules,
    PlasticityOrRules,
    Route,
    Rule,
    Seed,
    Target,
)
from boltzspike.cli.reading import (
    neuron_and_synapse,
    parse_clamp,
    parse_time,
    read_machine_of,
    read_rule,
)


def export(
    model: Target,
    to: Annotated[str, typer.Option(help="nest, brian2, pynn, nir, brainscales or n-bit.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder to write.")],
    beta: Beta = None,
    clamp: Clamp = [],  # noqa: B006  # Typer copies it
    evidence: Evidence = [],  # noqa: B006
    likelihood: Likelihood = [],  # noqa: B006
    route: Route = None,
    encoding: Encoding = None,
    duration: Duration = "100s",
    chains: Chains = 64,
    seed: Seed = 1,
    neuron: NeuronOrRules = None,
    rule: Rule = None,
    plasticity: PlasticityOrRules = None,
    dt: Dt = 0.1,
    burn_in: Annotated[str, typer.Option(help="Biological time discarded at the start.")] = "1s",
    threads: Annotated[int, typer.Option(help="Threads of the simulator (NEST).")] = 1,
    bits: Annotated[int, typer.Option(help="Bits of weights without their sign, for n-bit.")] = 4,
    allow_loss: Annotated[
        bool, typer.Option("--allow-loss", help="Write also what the target can't hold all of, with a report.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace a folder that was exported before.")] = False,
) -> None:
    """Translate a machine and write the network for another simulator, format or chip.

    Of a Bayesian network that is the machine of its posterior under the evidence, whose units are named after
    variables and states.
    The folder's run.py stands alone; after it was run, bs.read(FOLDER) brings the samples back. docs/interop.md
    says what each target holds exactly, what approximately and what it refuses.
    """
    from boltzspike import pipeline

    machine = read_machine_of(
        model, clamp=clamp, evidence=evidence, likelihood=likelihood, route=route, encoding=encoding, beta=beta
    )
    named = read_rule(rule)
    calibration, synapse = neuron_and_synapse(named, neuron, plasticity)
    done = pipeline.export(
        machine, output, to=to, calibration=calibration, rule=named, synapse=synapse,
        clamp=parse_clamp(clamp), dt=dt,
        duration=parse_time(duration, "duration"), burn_in=parse_time(burn_in, "burn-in"),
        chains=chains, seed=seed, threads=threads, bits=bits, allow_loss=allow_loss,
        force=force,
    )  # fmt: skip
    print(f"wrote {done.folder}: {', '.join(done.files)}")
    for loss in done.losses:
        print(f"  lost: {loss}")
    print(f"next: {done.next}")
