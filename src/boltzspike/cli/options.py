"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[
    Path,
    typer.Argument(
        help="Boltzmann machine, RBM, Bayesian network or spiking network: any format of docs/models.md.",
        show_default=False,
    ),
]
Target = Annotated[
    Path,
    typer.Argument(
        help="Boltzmann machine, RBM or Bayesian network: any format of docs/models.md.", show_default=False
    ),
]
Machine = Annotated[
    Path, typer.Argument(help="Boltzmann machine or RBM: any format of docs/models.md.", show_default=False)
]
ClassRBM = Annotated[Path, typer.Argument(help="RBM with label units, as train writes it.", show_default=False)]
NeuronOption = Annotated[str, typer.Option(help="Preset (S1, S2, S5a, thesis, dodo) or a calibration file.")]
Beta = Annotated[
    float | None,
    typer.Option(help="Inverse temperature of an Ising, QUBO or graph file; default: 1.", show_default=False),
]
NeuronOrRules = Annotated[
    str | None,
    typer.Option(
        "--neuron", help="Preset (S1, S2, S5a, thesis, dodo) or a calibration file.",
        show_default="S1, or that of the tuned file",
    ),
]  # fmt: skip
Clamp = Annotated[list[str], typer.Option(help="Evidence NAME=0 or NAME=1; may be repeated.", show_default=False)]
Evidence = Annotated[
    list[str],
    typer.Option(
        help="Evidence about a Bayesian network, VARIABLE=STATE,...; may be repeated.", show_default=False
    ),
]
Likelihood = Annotated[
    list[str],
    typer.Option(
        help="Soft evidence about a Bayesian network, VARIABLE=STATE:NUMBER,...: p(observation | state); "
        "repeatable.",
        show_default=False,
    ),
]
Route = Annotated[
    str | None,
    typer.Option(
        help="How a Bayesian network is compiled: fitted (the default), monomials, assignments.",
        show_default=False,
    ),
]
Encoding = Annotated[
    str | None,
    typer.Option(
        help="Of variables of many states: one-hot (the default), domain-wall, bits.", show_default=False
    ),
]
Joint = Annotated[
    str | None,
    typer.Option(help="Variables whose joint posterior is shown too, VARIABLE,VARIABLE,...", show_default=False),
]
Duration = Annotated[str, typer.Option(help="Biological time per chain: 100s, 5e4ms or 2min.")]
Chains = Annotated[int, typer.Option(help="Independent copies of the network.")]
Seed = Annotated[int, typer.Option(help="The same seed gives the same samples on any number of threads.")]
Dt = Annotated[float, typer.Option(help="Time step in ms.")]
Rule = Annotated[
    str | None,
    typer.Option(
        help="Translation rule: psp, matched, learned; conditionals or moments, which tune the network to these "
        "first; or a tuned file. Default: the best without a simulation of the target.",
        show_default=False,
    ),
]
EngineOption = Annotated[str, typer.Option(help="numba, cuda; slower: numba-exact, reference, nest.")]
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

Settle = Annotated[str, typer.Option(help="Time left out after each change of the evidence.")]
Report = Annotated[
    Path | None,
    typer.Option(help="HTML page to write: answer, trust, how it was made; with pictures.", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on stdout and nothing else; for machines.")]
_PLASTICITY = (
    "Recurrent synapse: renewing; additive; depressing: tau_rec=MS (see design --synapse); general: "
    "U=0.5,tau_rec=MS,tau_fac=MS; teeth=N: N+1 in parallel, the PSP a cut exponential (1) or "
    "nearly a rectangle (5). Any with ,delay=MS."
)
Plasticity = Annotated[str, typer.Option(help=_PLASTICITY)]
PlasticityOrRules = Annotated[
    str | None,
    typer.Option("--plasticity", help=_PLASTICITY, show_default="renewing, or that of the tuned file"),
]
Cluster = Annotated[
    str | None,
    typer.Option(help="Dask scheduler, tcp://host:8786, whose workers do the runs.", show_default=False),
]
