"""Every format in and out. Nothing is ever unpickled; a file is written whole or not at all."""

from __future__ import annotations

import codecs
import contextlib
import errno
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from boltzspike.archive import from_tree, write_netcdf, write_zarr
from boltzspike.documents import check_schema, document, from_document
from boltzspike.errors import MissingDependency, ValidationError, require
from boltzspike.formats import bayes, ising, sbs
from boltzspike.model.boltzmann import BoltzmannMachine, RestrictedBoltzmannMachine
from boltzspike.result import Result

_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"
_ZIP_SIGNATURE = b"PK\x03\x04"
_GZIP_SIGNATURE = b"\x1f\x8b"
_ZARR_FILES = (".zgroup", "zarr.json")


def read(path: str | os.PathLike[str], *, beta: float | None = None) -> Any:
    """Read a file of any format that boltzspike knows; the content decides, not the name.

    Parameters
    ----------
    beta
        Inverse temperature of the machine of an Ising, QUBO or graph file; ``None``: 1. Other files take none.

    Returns
    -------
    A machine, network, calibration or response curve (JSON, or npz for machines), or a result (netCDF or zarr).

    Raises
    ------
    ValidationError
        Naming the file, and the field or position at which it is at fault.
    """
    path = Path(path)
    if is_zarr(path):
        _refuse_beta(path, beta)
        return _read_result(path, "zarr")
    if path.exists() and not path.is_dir() and not path.is_file():
        raise ValidationError(f"{path}: must be a regular file: a pipe or device can be read only once")
    try:
        with path.open("rb") as file:
            head = file.read(8)
    except OSError as error:
        raise ValidationError(f"{path}: can't be read: {error.strerror}") from None
    if not head:
        raise ValidationError(f"{path}: is empty")
    if head.startswith(_GZIP_SIGNATURE):
        raise ValidationError(f"{path}: is compressed; gunzip it first")
    is_json = head.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"{")
    if is_json or head == _HDF5_SIGNATURE or head.startswith(_ZIP_SIGNATURE):
        _refuse_beta(path, beta)
    if head == _HDF5_SIGNATURE:
        return _read_result(path, "h5netcdf")
    if head.startswith(_ZIP_SIGNATURE):
        return _read_npz(path)
    return _read_json(path) if is_json else _read_text(path, beta)


def _refuse_beta(path: Path, beta: float | None) -> None:
    require(beta is None, f"{path}: beta", "left out: only Ising, QUBO and graph files take one", beta)


def is_zarr(path: Path) -> bool:
    """Tell whether this is a zarr folder."""
    return any((path / name).is_file() for name in _ZARR_FILES)


MAX_TEXT = 2**25
"""Largest text file of another tool that is read, bytes."""


def read_text(path: Path) -> str:
    """Return the UTF-8 text in a file of at most ``MAX_TEXT`` bytes, its lines ended by newlines."""
    try:
        size = path.stat().st_size
        require(
            size <= MAX_TEXT, f"{path}", f"a text of at most {MAX_TEXT // 2**20} MiB", f"{size / 2**20:.0f} MiB"
        )
        data = path.read_bytes()
    except OSError as error:
        raise ValidationError(f"{path}: can't be read: {error.strerror}") from None
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise ValidationError(
            f"{path}: not a UTF-8 text: line {line} holds the byte 0x{data[error.start]:02x}"
        ) from None


def _read_text(path: Path, beta: float | None) -> Any:
    text = read_text(path)
    for known, parse in _ENERGY_FORMATS:
        if known.match(text):
            return parse(text, str(path), beta=1.0 if beta is None else beta)
    _refuse_beta(path, beta)
    for known, parse in _TEXT_FORMATS:
        if known.match(text):
            return parse(text, str(path))
    first = text.lstrip()[:40].partition("\n")[0]
    raise ValidationError(
        f"{path}: not a format that boltzspike knows (JSON, npz, netCDF, BIF, XMLBIF, UAI, COO, qubo, rud); "
        f"it begins with {first!r}"
    )


_COMMENTS = r"(?>\s+|//[^\n]*\n|/\*.*?\*/)*+"
"""Atomic, for a file that begins with many blanks or comments and then is something else."""
_TEXT_FORMATS: tuple[tuple[re.Pattern[str], Callable[[str, str], Any]], ...] = (
    (re.compile(_COMMENTS + r"network\b", re.DOTALL), bayes.parse_bif),
    (re.compile(r"\s*<"), bayes.parse_xmlbif),
    (re.compile(r"\s*(BAYES|MARKOV)\b"), bayes.parse_uai),
)
_ENERGY_FORMATS: tuple[tuple[re.Pattern[str], Callable[..., Any]], ...] = (
    (re.compile(r"\s*#.*?vartype", re.IGNORECASE), ising.parse_coo),
    (re.compile(r"(?>c.*\n|\s+)*+p\s+qubo\b"), ising.parse_qubo),
    (re.compile(r"\s*\d+[ \t]+\d+[ \t]*\r?\n"), ising.parse_rud),
)


def save(what: Any, path: str | os.PathLike[str], *, force: bool = False) -> None:
    """Write a description to JSON (a machine also to ``.npz``), or a result to netCDF (or a ``.zarr`` folder).

    The file appears under its name when it is complete. An existing one is refused unless ``force``.
    """
    path = Path(path)
    if isinstance(what, Result):
        check_writable(path, force=True, suffixes=RESULT_SUFFIXES)
        _save_result(what, path, force=force)
    elif path.suffix == ".npz":
        _save_npz(what, path, force=force)
    else:
        check_writable(path, force=True, suffixes=(".json",))
        with writing(path, force=force) as partial:
            partial.write_bytes(as_json(what))


RESULT_SUFFIXES = (".nc", ".nc4", ".h5", ".zarr")
"""What a result's name may end in; all but the last are netCDF."""


def as_json(what: Any) -> bytes:
    """Return a description as the text of its JSON file."""
    return bytes(msgspec.json.format(msgspec.json.encode(document(what, top=True)), indent=1) + b"\n")


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
        if force:
            partial.replace(path)
        else:
            _name(partial, path)
    except OSError as error:
        raise ValidationError(f"{path}: can't be written: {error.strerror or error}") from None
    finally:
        partial.unlink(missing_ok=True)


def _name(partial: Path, path: Path) -> None:
    """Give a file its name unless another writer was faster."""
    try:
        os.link(partial, path)
    except FileExistsError:
        raise ValidationError(f"{path}: another process has written it meanwhile; --force (force=True)") from None
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
        # a file system without hard links: nothing there tells a name that is taken, but to look
        check_writable(path, force=False)
        partial.replace(path)


def check_writable(path: Path, *, force: bool, folder: bool = False, suffixes: tuple[str, ...] = ()) -> None:
    """Raise, before any work is done, if an output (a file, or a folder) can't go there under this name."""
    if not path.parent.is_dir():
        raise ValidationError(f"{path}: the folder {str(path.parent)!r} does not exist")
    if path.is_dir() and not folder and path.suffix != ".zarr":
        raise ValidationError(f"{path}: is a folder")
    if suffixes and path.suffix not in suffixes:
        raise ValidationError(f"{path}: must end in {' or '.join(suffixes)}, which says what is written")
    if path.exists() and not force:
        raise ValidationError(f"{path}: exists already; --force (force=True) overwrites it")
    if not os.access(path.parent, os.W_OK):
        raise ValidationError(f"{path}: the folder {str(path.parent)!r} can't be written to")


def _read_json(path: Path) -> Any:
    try:
        data = msgspec.json.decode(path.read_bytes().removeprefix(codecs.BOM_UTF8))
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise ValidationError(f"{path}: not a valid JSON file ({error})") from None
    if sbs.is_sbs(data):
        return sbs.from_json(data, str(path))
    if not isinstance(data, dict) or data.get("format") != "boltzspike":
        raise ValidationError(f'{path}: not a boltzspike file: it lacks "format": "boltzspike"')
    check_schema(data.get("schema"), str(path))
    return from_document(data, str(path))


_NPZ_FIELDS: dict[type, tuple[str, ...]] = {
    BoltzmannMachine: ("weights", "biases", "names"),
    RestrictedBoltzmannMachine: ("weights", "visible_biases", "hidden_biases", "names"),
}


def _save_npz(what: Any, path: Path, *, force: bool) -> None:
    if type(what) not in _NPZ_FIELDS:
        raise ValidationError(f"{path}: npz holds machines only, not {type(what).__name__}; use .json")
    arrays = {field: np.asarray(getattr(what, field)) for field in _NPZ_FIELDS[type(what)]}
    write_arrays(path, arrays, force=force)


def write_arrays(path: str | os.PathLike[str], arrays: Mapping[str, Any], *, force: bool) -> None:
    """Write arrays to an npz, whole or not at all."""
    with writing(Path(path), force=force) as partial, partial.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def read_arrays(path: str | os.PathLike[str], *, damaged: str = "can't be read as npz") -> dict[str, Any]:
    """Return the arrays of an npz, or raise a ``ValidationError``, with ``damaged`` where it is no whole one."""
    try:
        with Path(path).open("rb") as file:
            if file.read(len(_ZIP_SIGNATURE)) != _ZIP_SIGNATURE:
                raise ValidationError(f"{path}: {damaged} (an npz is a zip archive)")
            file.seek(0)
            archive = np.load(file, allow_pickle=False)
            return {name: archive[name] for name in archive.files}
    except OSError as error:
        raise ValidationError(f"{path}: can't be read: {error.strerror or error}") from None
    except ValidationError:
        raise
    except Exception as error:  # a damaged zip raises whatever its member readers raise
        raise ValidationError(f"{path}: {damaged} ({str(error)[:200]})") from None


def _read_npz(path: Path) -> Any:
    arrays = read_arrays(path)
    for cls, fields in _NPZ_FIELDS.items():
        if set(fields) - {"names"} <= set(arrays) <= set(fields):
            names = [str(name) for name in arrays.pop("names")] if "names" in arrays else None
            try:
                return cls(names=names, **arrays)
            except ValidationError as error:
                raise ValidationError(f"{path}: {error}") from None
    raise ValidationError(f"{path}: holds arrays {sorted(arrays)}; a machine needs weights and biases")


def _save_result(result: Result, path: Path, *, force: bool) -> None:
    if path.suffix == ".zarr":
        _save_zarr(result, path, force=force)
        return
    with writing(path, force=force) as partial:
        write_netcdf(result, partial)


def _save_zarr(result: Result, path: Path, *, force: bool) -> None:
    """Write a folder: complete, it takes the place of the earlier one, which is then removed."""
    try:
        import zarr  # noqa: F401  # xarray's own message does not say what to install
    except ImportError:
        raise MissingDependency('a .zarr result needs zarr: pip install "boltzspike[zarr]"') from None
    if path.exists() and not is_zarr(path):
        raise ValidationError(f"{path}: exists already and is no zarr folder; it is not replaced")
    check_writable(path, force=force, folder=True)
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.", suffix=".partial") as room:
            new, old = Path(room) / "new", Path(room) / "old"
            write_zarr(result, new)
            if path.exists():
                path.rename(old)
            new.rename(path)
    except OSError as error:
        raise ValidationError(f"{path}: can't be written: {error.strerror or error}") from None


def _read_result(path: Path, engine: Literal["h5netcdf", "zarr"]) -> Result:
    import h5py
    import xarray

    try:
        if engine == "h5netcdf":
            # where h5py can't, h5netcdf leaves a half-made file that complains when it is collected
            with h5py.File(path, "r") as file:
                dict(file.attrs)
        return from_tree(xarray.open_datatree(path, engine=engine), str(path))
    except ValidationError:
        raise
    except Exception as error:  # h5py, h5netcdf, zarr and xarray each raise their own kinds on a damaged file
        raise ValidationError(f"{path}: can't be read as a boltzspike result ({error})") from None
