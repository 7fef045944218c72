"""Back from another simulator: the spikes that ``run.py`` left, as our samples and our result."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from boltzspike.errors import ValidationError, require
from boltzspike.export.folder import MARK
from boltzspike.files import read as read_file
from boltzspike.files import read_arrays
from boltzspike.program import steps_of
from boltzspike.result import Result
from boltzspike.samples import PackedStates, Record, Samples, Spikes, gather

Array = np.ndarray
_EVENTS = ("chain", "unit", "step")
_ALIKE = ("chains", "steps", "burn_in_steps", "dt", "seed", "ranks")


def read_spikes(folder: str | os.PathLike[str]) -> tuple[Samples, dict[str, Any]]:
    """Return the samples in ``spikes-*.npz`` of an exported folder, and how they came.

    Spikes, states every tau_refrac (of the longest), and the time of each unit at z = 1 are in the samples.

    Raises
    ------
    ValidationError
        If nothing was run, files of ranks are missing or belong to different runs, or one is damaged.
    """
    folder = Path(folder)
    network = read_arrays(folder / "network.npz")
    files = sorted(folder.glob("spikes-*.npz"))
    files = [file for file in files if not file.name.endswith(".partial.npz")]
    if not files:
        raise ValidationError(f"{folder}: holds no spikes yet; run it first: python {folder / 'run.py'}")
    parts = [read_arrays(file) for file in files]
    for file, part in zip(files, parts):
        missing = [name for name in (*_EVENTS, *_ALIKE, "rank", "simulator", "seconds") if name not in part]
        require(not missing, f"{file}", f"with the arrays {', '.join(_EVENTS)} and others", f"none of {missing}")
        for name in _ALIKE:
            same = part[name] == parts[0][name]
            require(bool(same), f"{file}: {name}", f"{parts[0][name]}, as in {files[0].name}", str(part[name]))
    ranks = sorted(int(part["rank"]) for part in parts)
    wanted = list(range(int(parts[0]["ranks"])))
    require(ranks == wanted, f"{folder}: spikes-*.npz", f"those of the ranks {wanted}", ranks)
    chain, unit, step = (np.concatenate([part[name] for part in parts]).astype(np.int64) for name in _EVENTS)
    chains, steps, burn_in = (int(parts[0][name]) for name in ("chains", "steps", "burn_in_steps"))
    n, dt = len(network["c_m"]), float(network["dt"])
    inside = (chain >= 0) & (chain < chains) & (unit >= 0) & (unit < n) & (step >= -burn_in) & (step <= steps)
    require(
        bool(inside.all()), f"{folder}: spikes", f"of {chains} chains and {n} units", f"{(~inside).sum()} others"
    )

    refractory = np.rint(network["tau_refrac"] / dt).astype(np.int64)
    before = np.full((chains, n), -(2**40))
    early = step < 0
    np.maximum.at(before, (chain[early], unit[early]), step[early])
    kept = np.flatnonzero((step >= 0) & (step < steps))
    order = kept[np.lexsort((unit[kept], step[kept], chain[kept]))]
    spikes = Spikes(
        chain=chain[order], unit=unit[order], step=step[order], before=before, refractory_steps=refractory,
        start=0, stop=steps,
    )  # fmt: skip
    every = int(refractory.max())
    raw = Samples(start=0, stop=steps, dt=dt, spikes=spikes, packed=PackedStates.of(spikes.states(every)))
    samples = gather(raw, Record(spikes=True, states_every=every, occupancy=True))
    how = {
        "engine": str(parts[0]["simulator"]),
        "approximation": f"{parts[0]['simulator']}, a run of its own",
        "chains": chains,
        "seed": int(parts[0]["seed"]),
        "dt_ms": dt,
        "duration_ms": steps * dt,
        "burn_in_ms": burn_in * dt,
        "wall_seconds": max(float(part["seconds"]) for part in parts),
    }
    return samples, how


def read_run(folder: str | os.PathLike[str]) -> Result:
    """Return what another simulator sampled of an exported machine, as ``sample`` would have."""
    folder = Path(folder)
    mark = exported(folder)
    if "clamp" not in mark:
        raise ValidationError(f"{folder}: exported without a target; export.reading.read_spikes reads its spikes")
    samples, how = read_spikes(folder)
    translation, machine = (read_file(folder / name) for name in ("translation.json", "machine.json"))
    simulated = np.asarray(mark["simulated"], dtype=np.int64)
    units = samples.spikes.n_units if samples.spikes is not None else 0
    require(units == len(simulated), f"{folder}: spikes", f"of {len(simulated)} units", units)
    configuration = {
        **how,
        "sampled_ms": how["duration_ms"],
        "partial": False,
        "record": "spikes",
        "draw_every_ms": steps_of(float(np.max([n.tau_refrac for n in translation.network.neurons])), how["dt_ms"],
                                  "tau_refrac") * how["dt_ms"],
        "clamping": "bias",
        "rule": translation.rule,
        "predicted_d_kl": translation.predicted_error,
        "translation": [*translation.notes, *translation.warnings],
        "setup_seconds": 0.0,
        "versions": {"boltzspike": mark.get("boltzspike", "")},
    }  # fmt: skip
    return Result(
        machine=machine, clamp={int(unit): int(value) for unit, value in mark["clamp"].items()},
        calibration=translation.calibration, network=translation.network, translation=translation, samples=samples,
        simulated=simulated, configuration=configuration,
    )  # fmt: skip


def exported(folder: Path) -> Mapping[str, Any]:
    """Return what ``export.json`` of a folder says, or raise."""
    try:
        mark = json.loads((folder / MARK).read_text())
    except OSError:
        raise ValidationError(
            f"{folder}: a folder, but not one that boltzspike exported: it lacks {MARK}"
        ) from None
    except ValueError as error:
        raise ValidationError(f"{folder / MARK}: not a valid JSON file ({error})") from None
    known = isinstance(mark, dict) and mark.get("format") == "boltzspike-export" and mark.get("schema") == 1
    require(known, f"{folder / MARK}", "of this version of boltzspike", mark if isinstance(mark, dict) else "")
    return dict(mark)
