"""From a spiking network, as it is, to samples: what ``sample`` does with a ``SpikingNetwork``."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from boltzspike.engines import Engine
from boltzspike.errors import is_number, require
from boltzspike.inputs import Initial
from boltzspike.model.boltzmann import Machine, clamp_indices
from boltzspike.model.network import SpikingNetwork
from boltzspike.pipeline.running_networks import ABSTRACT, Progress, run_network
from boltzspike.pipeline.runs import (
    MAX_SHOWN_JOINT,
    configuration_of,
    finished,
    record_named,
    run_shown,
    warn_of_mixing,
)
from boltzspike.pipeline.translations import relaxation_time
from boltzspike.program import steps_of
from boltzspike.result import Result
from boltzspike.samples import Record
from boltzspike.theory.exact import exact_joint


def sample_network(
    network: SpikingNetwork,
    *,
    target: Machine | None,
    duration: float,
    chains: int,
    seed: int,
    engine: str | Engine,
    dt: float,
    clamp: Mapping[int | str, int] | None,
    burn_in: float,
    draw_every: float | None,
    record: str | Record,
    initial: Initial | None,
    checkpoint: str | os.PathLike[str] | None,
    resume: str | os.PathLike[str] | None,
    spool: Path | None,
    threads: int | None,
    progress: Progress | None,
) -> Result:
    """Return samples of a network; arguments as in ``sample``."""
    require(engine not in ABSTRACT, "engine", "one with neurons, for a SpikingNetwork", engine)
    require(is_number(dt) and dt > 0, "dt", "> 0 ms", dt)
    if target is not None:
        check_target(network, target)
    clamped = clamp_indices(network, clamp or {})
    fewer = f"of fewer than all {network.n_units} units"
    require(len(clamped) < network.n_units, "clamp", fewer, len(clamped))
    longest = max(neuron.tau_refrac for neuron in network.neurons)
    # whether dt divides every tau_refrac is for compile_program to say
    every = max(round(longest / dt), 1) if draw_every is None else steps_of(draw_every, dt, "draw_every")
    run = functools.partial(
        run_network, network, duration, chains, dt, seed, engine, threads,
        record_named(record, every, network.n_units), burn_in=burn_in, clamp=clamped, initial=initial,
        checkpoint=checkpoint, resume=resume, spool=spool,
    )  # fmt: skip
    joint = None
    if target is not None and not clamped and network.n_units <= MAX_SHOWN_JOINT and isinstance(record, str):
        joint = functools.partial(exact_joint, target)
    relaxation = None if target is None else relaxation_time(target.given(clamped)[0].to_boltzmann())
    if relaxation is not None:
        relaxation *= longest
        if resume is None:
            warn_of_mixing(relaxation, burn_in + duration, stacklevel=4)
    samples, how, stopped = run_shown(run, progress, joint)
    configuration = configuration_of(
        samples, stopped, duration_ms=duration, burn_in_ms=burn_in, chains=chains, seed=seed, record=record,
        engine=engine, draw_every_ms=every * dt, clamping="spikes",
        relaxation_ms=relaxation, **how,
    )  # fmt: skip
    result = Result(
        machine=target, clamp=clamped, calibration=None, network=network, translation=None, samples=samples,
        simulated=np.arange(network.n_units), configuration=configuration,
    )  # fmt: skip
    return finished(result, stopped)


def check_target(network: SpikingNetwork, target: Any) -> None:
    """Raise where this is no machine of the network's units."""
    kind = type(target).__name__
    require(hasattr(target, "to_boltzmann"), "target", "a Boltzmann machine or RBM", kind)
    units, others = list(network.names), list(target.names or ())
    allowed = f"of the network's {len(units)} units in their order, {', '.join(units[:4])}, ..."
    require(units == others, "target", allowed, f"{len(others)}: {', '.join(others[:4])}, ...")
