"""Every format in and out. Nothing is ever unpickled; a file is written whole or not at all."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from boltzspike.calibration import Calibration, NetworkCalibration, ResponseCurve
from boltzspike.errors import ValidationError, require, suggestion
from boltzspike.formats import bayes, ising, sbs
from boltzspike.model.background import PoissonBackground, ReplayedBackground, SharedBackground
from boltzspike.model.bayesnet import BayesianNetwork
from boltzspike.model.boltzmann import BoltzmannMachine, RestrictedBoltzmannMachine
from boltzspike.model.description import is_sparse
from boltzspike.model.network import SpikingNetwork
from boltzspike.model.neuron import LIF, CurrentLIF, RandomRefractory
from boltzspike.model.schedule import Piecewise, Wave
from boltzspike.model.synapse import Synapse
from boltzspike.recorded import samples_from, variables_of
from boltzspike.result import Result
from boltzspike.samples import PackedStates
from boltzspike.translation import Translation

SCHEMA = 1
"""Version of the JSON and netCDF layouts; a file of a newer one is refused."""

_DESCRIPTIONS: dict[str, type] = {
    cls.__name__: cls
    for cls in (
        BoltzmannMachine,
        RestrictedBoltzmannMachine,
        BayesianNetwork,
        LIF,
        CurrentLIF,
        RandomRefractory,
        PoissonBackground,
        SharedBackground,
        ReplayedBackground,
        Piecewise,
        Wave,
        Synapse,
        SpikingNetwork,
        Calibration,
        NetworkCalibration,
        ResponseCurve,
        Translation,
    )
}
_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_ZIP_SIGNATURE = b"PK\x03\x04"


def read(path: str | os.PathLike[str]) -> Any:
    """Read a file of any format that boltzspike knows; the content decides, not the name.

    Returns
    -------
    A machine, network, calibration or response curve (JSON, or npz for machines), or a result (netCDF).

    Raises
    ------
    ValidationError
        Naming the file, and the field or position at which it is at fault.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except OSError as error:
        raise ValidationError(f"{path}: can't be read: {error.strerror}") from None
    if head == _HDF5_SIGNATURE:
        return _read_result(path)
    if head.startswith(_ZIP_SIGNATURE):
        return _read_npz(path)
    if head.lstrip().startswith(b"{"):
        return _read_json(path)
    return _read_text(path)


MAX_TEXT = 2**25
"""Largest text file of another tool that is read, bytes."""


def _read_text(path: Path) -> Any:
    size = path.stat().st_size
    require(size <= MAX_TEXT, f"{path}", f"a text of at most {MAX_TEXT // 2**20} MiB", f"{size / 2**20:.0f} MiB")
    data = path.read_bytes()
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValidationError(
            f"{path}: not a UTF-8 text: line {line} holds the byte 0x{data[error.start]:02x}"
        ) from None
    for known, parse in _TEXT_FORMATS:
        if known.match(text):
            return parse(text, str(path))
    first = text.lstrip()[:40].partition("\n")[0]
    raise ValidationError(
        f"{path}: not a format that boltzspike knows (JSON, npz, netCDF, BIF, XMLBIF, UAI, COO, qubo, rud); "
        f"it begins with {first!r}"
    )


_COMMENTS = r"(?:\s+|//[^\n]*\n|/\*.*?\*/)*"
_TEXT_FORMATS: tuple[tuple[re.Pattern[str], Callable[[str, str], Any]], ...] = (
    (re.compile(_COMMENTS + r"network\b", re.DOTALL), bayes.parse_bif),
    (re.compile(r"\s*<"), bayes.parse_xmlbif),
    (re.compile(r"\s*(BAYES|MARKOV)\b"), bayes.parse_uai),
    (re.compile(r"\s*#.*?vartype", re.IGNORECASE), ising.parse_coo),
    (re.compile(r"(?:c.*\n|\s*\n)*p\s+qubo\b"), ising.parse_qubo),
    (re.compile(r"\s*\d+[ \t]+\d+[ \t]*\r?\n"), ising.parse_rud),
)


def save(what: Any, path: str | os.PathLike[str], *, force: bool = False) -> None:
    """Write a description to JSON (a machine also to ``.npz``) or a result to netCDF.

    The file appears under its name when it is complete. An existing one is refused unless ``force``.
    """
    path = Path(path)
    if isinstance(what, Result):
        _save_result(what, path, force=force)
    elif path.suffix == ".npz":
        _save_npz(what, path, force=force)
    else:
        text = msgspec.json.format(msgspec.json.encode(document(what, top=True)), indent=1)
        with writing(path, force=force) as partial:
            partial.write_bytes(text + b"\n")


@contextlib.contextmanager
def writing(path: Path, *, force: bool) -> Iterator[Path]:
    """Give a temporary path beside ``path``; on success it takes its name, on failure it is removed."""
    check_writable(path, force=force)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".partial")
    os.close(handle)
    partial = Path(name)
    try:
        yield partial
        umask = os.umask(0)
        os.umask(umask)
        partial.chmod(0o666 & ~umask)
        partial.replace(path)
    except OSError as error:
        raise ValidationError(f"{path}: can't be written: {error.strerror or error}") from None
    finally:
        partial.unlink(missing_ok=True)


def check_writable(path: Path, *, force: bool) -> None:
    """Raise, before any work is done, if an output can't go there."""
    if not path.parent.is_dir():
        raise ValidationError(f"{path}: the folder {str(path.parent)!r} does not exist")
    if path.is_dir():
        raise ValidationError(f"{path}: is a folder")
    if path.exists() and not force:
        raise ValidationError(f"{path}: exists already; --force (force=True) overwrites it")
    if not os.access(path.parent, os.W_OK):
        raise ValidationError(f"{path}: the folder {str(path.parent)!r} can't be written to")


def document(what: Any, *, top: bool = False) -> Any:
    """Return a description as plain JSON types, each object tagged with its type."""
    if isinstance(what, np.ndarray):
        return what.tolist()
    if isinstance(what, np.generic):
        return what.item()
    if is_sparse(what):
        fields = {name: getattr(what, name).tolist() for name in _CSR_FIELDS}
        return {"type": _CSR, "shape": list(what.shape)} | fields
    if isinstance(what, tuple | list):
        return [document(item) for item in what]
    if dataclasses.is_dataclass(what) and type(what).__name__ in _DESCRIPTIONS:
        tags: dict[str, Any] = {"format": "boltzspike", "schema": SCHEMA} if top else {}
        tags["type"] = type(what).__name__
        return tags | {field.name: document(getattr(what, field.name)) for field in dataclasses.fields(what)}
    if what is None or isinstance(what, str | int | float):
        return what
    raise ValidationError(f"save: no file format for {type(what).__name__}")


def from_document(data: Any, where: str) -> Any:
    """Return the description that a JSON object stands for; errors begin with ``where``."""
    if isinstance(data, list):
        return [from_document(item, where) for item in data] if data and isinstance(data[0], dict) else data
    if not isinstance(data, dict):
        return data
    kind = data.get("type")
    if kind == _CSR:
        return _csr(data, where)
    if not isinstance(kind, str) or kind not in _DESCRIPTIONS:
        hint = suggestion(kind, _DESCRIPTIONS) if isinstance(kind, str) else ""
        raise ValidationError(f"{where}: type: must be one of boltzspike's, got {kind!r}{hint}")
    values = {name: from_document(value, where) for name, value in data.items() if name not in _TAGS}
    try:
        return _DESCRIPTIONS[kind](**values)
    except ValidationError as error:
        raise ValidationError(f"{where}: {error}") from None
    except (TypeError, AttributeError) as error:
        raise ValidationError(f"{where}: {kind}: a field holds the wrong kind of value ({error})") from None


_TAGS = ("format", "schema", "type")
_CSR = "CSR"
_CSR_FIELDS = ("data", "indices", "indptr")


def _csr(data: dict[str, Any], where: str) -> Any:
    from scipy.sparse import csr_array

    try:
        matrix = csr_array(tuple(data[name] for name in _CSR_FIELDS), shape=tuple(data["shape"]), dtype=np.float64)
        matrix.check_format()
    except KeyError as error:
        raise ValidationError(f"{where}: {_CSR}: needs {error}") from None
    except (TypeError, ValueError, IndexError) as error:
        raise ValidationError(f"{where}: {_CSR}: {error}") from None
    return matrix


def _read_json(path: Path) -> Any:
    try:
        data = msgspec.json.decode(path.read_bytes())
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValidationError(f"{path}: not a valid JSON file ({error})") from None
    if sbs.is_sbs(data):
        return sbs.from_json(data, str(path))
    if not isinstance(data, dict) or data.get("format") != "boltzspike":
        raise ValidationError(f'{path}: not a boltzspike file: it lacks "format": "boltzspike"')
    _check_schema(data.get("schema"), str(path))
    return from_document(data, str(path))


def _check_schema(schema: object, where: str) -> None:
    if not isinstance(schema, int) or not 1 <= schema <= SCHEMA:
        raise ValidationError(
            f"{where}: schema: must be an integer in 1..{SCHEMA}, got {schema!r}; a newer boltzspike may read it"
        )


_NPZ_FIELDS: dict[type, tuple[str, ...]] = {
    BoltzmannMachine: ("weights", "biases", "names"),
    RestrictedBoltzmannMachine: ("weights", "visible_biases", "hidden_biases", "names"),
}


def _save_npz(what: Any, path: Path, *, force: bool) -> None:
    if type(what) not in _NPZ_FIELDS:
        raise ValidationError(f"{path}: npz holds machines only, not {type(what).__name__}; use .json")
    arrays = {field: np.asarray(getattr(what, field)) for field in _NPZ_FIELDS[type(what)]}
    with writing(path, force=force) as partial, partial.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def _read_npz(path: Path) -> Any:
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except Exception as error:  # a damaged zip raises whatever its member readers raise
        raise ValidationError(f"{path}: can't be read as npz ({error})") from None
    for cls, fields in _NPZ_FIELDS.items():
        if set(fields) - {"names"} <= set(arrays) <= set(fields):
            names = [str(name) for name in arrays.pop("names")] if "names" in arrays else None
            try:
                return cls(names=names, **arrays)
            except ValidationError as error:
                raise ValidationError(f"{path}: {error}") from None
    raise ValidationError(f"{path}: holds arrays {sorted(arrays)}; a machine needs weights and biases")


def _save_result(result: Result, path: Path, *, force: bool) -> None:
    import xarray

    samples = result.samples
    encode = lambda what: msgspec.json.encode(what).decode()
    states = {} if samples.packed is None else {"states": result.states}
    dataset = xarray.Dataset(
        states | variables_of(samples),
        attrs={
            "format": "boltzspike",
            "schema": SCHEMA,
            "machine": encode(document(result.machine)),
            "calibration": encode(document(result.calibration)),
            "network": encode(document(result.network)),
            "translation": encode(document(result.translation)),
            "clamp": encode({str(unit): value for unit, value in result.clamp.items()}),
            "simulated": np.asarray(result.simulated, dtype=np.int64),
            "configuration": encode(dict(result.configuration)),
            "start_step": samples.start,
            "stop_step": samples.stop,
            "dt_ms": samples.dt,
        },
    )
    if states:
        dataset["states"].attrs["long_name"] = "z(t): 1 while the neuron is refractory"
    compressed = {"zlib": True, "complevel": 1, "shuffle": True}
    encoding = {name: compressed for name, variable in dataset.data_vars.items() if variable.ndim}
    with writing(path, force=force) as partial:
        dataset.to_netcdf(partial, engine="h5netcdf", encoding=encoding)


def _read_result(path: Path) -> Result:
    import xarray

    try:
        with xarray.open_dataset(path, engine="h5netcdf") as dataset:
            attributes = dict(dataset.attrs)
            states = None
            if "states" in dataset:
                states = dataset["states"].transpose("chain", "draw", "unit").to_numpy().astype(np.int8)
            arrays = {str(name): array.to_numpy() for name, array in dataset.data_vars.items() if name != "states"}
    except Exception as error:  # h5py, h5netcdf and xarray each raise their own kinds on a damaged file
        raise ValidationError(f"{path}: can't be read as a boltzspike result ({error})") from None
    if attributes.get("format") != "boltzspike":
        raise ValidationError(f"{path}: netCDF, but not a boltzspike result")
    schema = attributes.get("schema")
    _check_schema(int(schema) if schema is not None else None, str(path))

    def decoded(name: str) -> Any:
        if name not in attributes:
            raise ValidationError(f"{path}: attribute {name!r} is missing")
        try:
            return msgspec.json.decode(attributes[name])
        except msgspec.DecodeError as error:
            raise ValidationError(f"{path}: attribute {name!r}: {error}") from None

    simulated = np.atleast_1d(np.asarray(attributes["simulated"], dtype=np.int64))
    try:
        steps = {"start": int(attributes["start_step"]), "stop": int(attributes["stop_step"])}
        samples = samples_from(arrays, **steps, dt=float(attributes["dt_ms"]))
    except (KeyError, TypeError) as error:
        raise ValidationError(f"{path}: something is missing ({error})") from None
    if states is not None:
        packed = PackedStates.of(np.ascontiguousarray(states[..., simulated]))
        samples = dataclasses.replace(samples, packed=packed)
    return Result(
        machine=from_document(decoded("machine"), f"{path}: machine"),
        clamp={int(unit): value for unit, value in decoded("clamp").items()},
        calibration=from_document(decoded("calibration"), f"{path}: calibration"),
        network=from_document(decoded("network"), f"{path}: network"),
        translation=from_document(decoded("translation"), f"{path}: translation"),
        samples=samples,
        simulated=simulated,
        configuration=decoded("configuration"),
    )
