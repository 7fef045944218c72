"""export(): a target, translated, to where other tools can run it; read(): files, and what such tools left."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from boltzspike import diagnostics, files
from boltzspike.calibration import Calibration
from boltzspike.errors import ValidationError, require, suggestion
from boltzspike.export.hardware import BRAINSCALES_2, map_network, n_bit, write_netlist
from boltzspike.export.losses import Loss, check_losses
from boltzspike.export.simulators import SIMULATORS, write_simulator
from boltzspike.model.boltzmann import Machine, clamp_indices
from boltzspike.model.network import SpikingNetwork
from boltzspike.model.synapse import Synapse
from boltzspike.pipeline.responses import default_calibration
from boltzspike.pipeline.running_networks import check_dt, run_network, whole
from boltzspike.pipeline.translations import check_made_for, translation_of
from boltzspike.program import compile_program, steps_of
from boltzspike.samples import Record
from boltzspike.theory.exact import exact_joint
from boltzspike.translation import Translation

TARGETS = (*SIMULATORS, "nir", "brainscales", "n-bit")
_PREDICTED_UNITS = 12
"""Up to which D_KL is predicted: 64 chains of 20 s see all states of as many units."""
_PREDICTED_MS = 2e4


@dataclass(frozen=True, kw_only=True, slots=True)
class Exported:
    """What was written, and what was lost on the way."""

    folder: Path
    files: tuple[str, ...]
    losses: tuple[Loss, ...]
    """Empty where the target holds all of the network."""
    next: str
    """What to do with it."""


def read(path: str | os.PathLike[str], *, beta: float | None = None) -> Any:
    """Read a file of any format that boltzspike knows, or what ``run.py`` of an exported folder left in it.

    Parameters
    ----------
    beta
        Inverse temperature of the machine of an Ising, QUBO or graph file; ``None``: 1. Other files take none.

    Returns
    -------
    A machine, network, calibration or response curve (JSON, or npz for machines), a result (netCDF, zarr, or an
    exported folder that was run), or what ``docs/models.md`` and ``docs/interop.md`` name.

    Raises
    ------
    ValidationError
        Naming the file, and the field or position at which it is at fault.
    """
    if Path(path).is_dir() and not files.is_zarr(Path(path)):
        from boltzspike.export.reading import read_run

        require(beta is None, f"{path}: beta", "left out: only Ising, QUBO and graph files take one", beta)
        return read_run(path)
    return files.read(path, beta=beta)


def export(
    machine: Machine,
    folder: str | os.PathLike[str],
    *,
    to: str,
    calibration: Calibration | None = None,
    rule: str | Translation | None = None,
    synapse: Synapse | None = None,
    clamp: Mapping[int | str, int] | None = None,
    dt: float = 0.1,
    duration: float = 1e5,
    burn_in: float = 1000.0,
    chains: int = 64,
    seed: int = 1,
    threads: int = 1,
    bits: int = 4,
    allow_loss: bool = False,
    force: bool = False,
) -> Exported:
    """Translate a machine and write the network for another tool (``docs/interop.md``).

    Parameters
    ----------
    machine
        The target.
    folder
        Where to; it appears when it is complete.
    to
        ``"nest"``, ``"brian2"``, ``"pynn"``: a script and its data; ``bs.read(folder)`` after it was run gives a
        ``Result``. ``"nir"``: a graph. ``"brainscales"``, ``"n-bit"``: a netlist within the limits of the
        hardware, and what these cost, by a simulation of both networks.
    calibration, rule, synapse, dt
        As in ``sample``.
    clamp
        Evidence, ``{unit name or index: 0 or 1}``: absorbed into the biases of the others.
    duration, burn_in, chains, seed, threads
        With which the script runs unless it is told otherwise; ms.
    bits
        Of weights without their sign, for ``"n-bit"``.
    allow_loss
        Write also what the target can't hold all of; ``losses`` says what is lost.
    force
        Replace a folder that was exported before.

    Raises
    ------
    UnsupportedFeature
        Naming what the target can't hold.
    """
    if to not in TARGETS:
        raise ValidationError(f"to: no target named {to!r}{suggestion(to, TARGETS)}")
    if not hasattr(machine, "to_boltzmann"):
        kind = type(machine).__name__
        raise ValidationError(
            f"export: takes a machine, not a {kind}; compile_bayes(network, evidence).machine is one"
        )
    for name, value in (("chains", chains), ("threads", threads)):
        require(whole(value) and value >= 1, name, "an integer, at least 1", value)
    require(whole(seed) and seed >= 0, "seed", "an integer, at least 0", seed)
    for name, time, least in (("duration", duration, dt), ("burn_in", burn_in, 0.0)):
        require(bool(np.isfinite(time)) and time >= least, name, f">= {least:g} ms", time)
    if isinstance(rule, Translation):
        check_made_for("rule", rule, calibration, synapse)
        calibration = rule.calibration
    calibration = calibration or default_calibration()
    check_dt(calibration, dt)
    clamped = clamp_indices(machine, clamp or {})
    conditioned, free = machine.given(clamped)
    translation = translation_of(conditioned.to_boltzmann(), rule, calibration, synapse, {})
    documents = {
        name: files.as_json(what) for name, what in (("machine.json", machine), ("translation.json", translation))
    }
    about = {"clamp": {str(unit): value for unit, value in clamped.items()}, "simulated": free.tolist()}
    losses: list[Loss] = []
    if to in SIMULATORS:
        settings = {
            "duration": duration,
            "burn_in": burn_in,
            "chains": chains,
            "seed": int(seed),
            "threads": threads,
        }
        written = write_simulator(
            SIMULATORS[to], compile_program(translation.network, dt=dt), folder, settings=settings, about=about,
            documents=documents, force=force,
        )  # fmt: skip
        backend = " nest" if to == "pynn" else ""
        what = f"python {Path(folder) / 'run.py'}{backend} ({SIMULATORS[to].needs}); then bs.read({str(folder)!r})"
    elif to == "nir":
        from boltzspike.export.nir import write_nir

        losses, written = write_nir(
            translation, folder, about=about, documents=documents, allow_loss=allow_loss, force=force
        )
        what = f"nir.read({str(Path(folder) / 'network.nir')!r}); boltzspike.export.nir.from_nir reads it back"
    else:
        hardware = BRAINSCALES_2 if to == "brainscales" else n_bit(bits)
        mapped = map_network(translation.network, hardware)
        losses = [*mapped.losses]
        if losses:
            losses.append(_predicted_loss(translation, mapped.network, dt, int(seed)))
        documents["network.json"] = files.as_json(mapped.network)
        check_losses(hardware.name, losses, allow_loss)
        written = write_netlist(mapped, losses, folder, about=about, documents=documents, force=force)
        what = f"bs.read({str(Path(folder) / 'network.json')!r}) is the network as {hardware.name} holds it"
    return Exported(folder=Path(folder), files=tuple(written), losses=tuple(losses), next=what)


def _predicted_loss(translation: Translation, held: SpikingNetwork, dt: float, seed: int) -> Loss:
    """Return what the limits of a target cost, by simulating the network with and without them."""
    machine, states = translation.machine, []
    for network in (translation.network, held):
        every = steps_of(max(neuron.tau_refrac for neuron in network.neurons), dt, "tau_refrac")
        samples, _ = run_network(
            network, _PREDICTED_MS, 64, dt, seed, "numba", None, Record(states_every=every), burn_in=1000.0
        )
        assert samples.states is not None
        states.append(samples.states)
    marginals = [z.mean(axis=(0, 1)) for z in states]
    error = np.sqrt(sum(z.mean(axis=1).var(axis=0, ddof=1) / len(z) for z in states))
    rms = np.sqrt(np.mean((marginals[1] - marginals[0]) ** 2))
    text = f"marginals move by {rms:.2g} (RMS, noise {np.sqrt(np.mean(error**2)):.1g})"
    if machine.n_units <= _PREDICTED_UNITS:
        without, within = (diagnostics.kl_divergence(z, exact_joint(machine)) for z in states)
        text = (
            f"D_KL from the target {within.bias:.3g} +- {within.error:.1g} within the limits, {without.bias:.3g} "
            f"+- {without.error:.1g} without; {text}"
        )
    return Loss(feature="predicted", text=text)
