"""A result as a tree of datasets that xarray and ArviZ understand, and back; what is large is read when asked for.

| group | what it holds |
|---|---|
| posterior | states, int8 (chain, draw, unit), 0 or 1 |
| sample_stats | energy (chain, draw) of the target; rate in Hz (chain, unit) |
| recorded | what was counted or kept besides: occupancy, pairs, joint states, intervals, voltages, energies |
| spikes | ragged: chain, unit and step of each, in the order of (chain, step, unit) |
| target | the machine, and its exact marginals where they were asked for; none of a network given as it is |
| calibration, network, translation, compiled | what made the samples |
| configuration | seed, engine, durations, versions, machine |

Descriptions are JSON in the attribute ``document`` of their group, their arrays variables beside it.
"""

from __future__ import annotations

import functools
import hashlib
import io
import itertools
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from boltzspike import diagnostics
from boltzspike.documents import document, from_document
from boltzspike.errors import ValidationError
from boltzspike.piecewise import CHUNK, group_of, is_large, large_of
from boltzspike.posterior import PosteriorResult
from boltzspike.recorded import samples_from, variables_of
from boltzspike.result import Result
from boltzspike.samples import PackedStates, Samples, Spikes

if TYPE_CHECKING:
    from pathlib import Path

    import xarray

Array = np.ndarray
RESULT_SCHEMA = 2
"""Version of this layout. 1, a flat dataset, was never released and is refused, as a newer one is."""
_DESCRIBED = ("calibration", "network", "translation", "compiled")


def to_tree(result: Result, *, large: bool = True) -> xarray.DataTree:
    """Return a result as a tree of datasets; without what grows with the duration unless ``large``."""
    import xarray

    samples = result.samples
    groups: dict[str, Any] = {}
    if samples.packed is not None:
        of_chain_and_unit = {"chain": np.arange(result.draws.shape[0]), "unit": list(result.names)}
        groups["posterior"] = xarray.Dataset(coords=of_chain_and_unit, attrs=_ARVIZ)
        groups["sample_stats"] = xarray.Dataset(_rate(result), coords=of_chain_and_unit, attrs=_ARVIZ)
    variables = variables_of(samples)
    about = {"spikes": {"steps": "a spike ends its step", "dt_ms": samples.dt}}
    for name in variables:
        groups.setdefault(group_of(name), xarray.Dataset(attrs=about.get(group_of(name))))
    for name, (dimensions, array) in variables.items():
        if not is_large(dimensions, array):
            groups[group_of(name)][name] = dimensions, array
    if result.machine is not None:
        groups["target"] = _described(result.machine, _exact_marginals(result))
    for name in _DESCRIBED:
        what = getattr(result, name, None)
        if what is not None:
            groups[name] = _described(what)
    groups["configuration"] = _configuration(result)
    for one in large_of(result) if large else ():
        groups[one.group][one.name] = one.dimensions, one.whole(), one.attributes
    attributes = {"format": "boltzspike", "schema": RESULT_SCHEMA, "digest": _digest(groups)}
    return xarray.DataTree.from_dict({"/": xarray.Dataset(attrs=attributes)} | groups)


_ARVIZ = {"inference_library": "boltzspike"}


def _rate(result: Result) -> dict[str, Any]:
    if result.network is None:
        return {}
    tau = np.full(result.n_units, np.nan)
    tau[result.simulated] = [neuron.tau_refrac for neuron in result.network.neurons]
    rate = diagnostics.chain_marginals(result.draws) / tau * 1e3
    return {"rate": (("chain", "unit"), rate, {"units": "Hz", "long_name": "p(z = 1) / tau_refrac"})}


def _exact_marginals(result: Result) -> dict[str, Any]:
    # saving computes nothing: they are there if they were asked for
    moments = result.__dict__.get("_moments")
    return {} if moments is None else {"exact_marginals": ("unit", moments.marginals)}


def _described(what: Any, variables: Mapping[str, Any] | None = None) -> xarray.Dataset:
    import xarray

    arrays: dict[str, Array] = {}
    text = _json(document(what, arrays=arrays))
    found = dict(variables or {})
    for name, array in arrays.items():
        found[name] = [f"{name}_{k}" for k in range(array.ndim)], array
    return xarray.Dataset(found, attrs={"type": type(what).__name__, "document": text})


def _configuration(result: Result) -> xarray.Dataset:
    import xarray

    # netCDF has neither truth values nor nothing as attributes
    plain = {name: v for name, v in result.configuration.items() if type(v) in (str, int, float)}
    run = {
        "configuration": dict(result.configuration),
        "clamp": [[unit, value] for unit, value in result.clamp.items()],
        "simulated": np.asarray(result.simulated).tolist(),
        "start": result.samples.start,
        "stop": result.samples.stop,
        "dt": result.samples.dt,
    }
    return xarray.Dataset(attrs=plain | {"document": _json(run)})


def _json(what: Any) -> str:
    return msgspec.json.encode(what).decode()


def _digest(groups: Mapping[str, Any]) -> str:
    """Return a digest of the documents, which no checksum of the file's format covers."""
    found = hashlib.sha256()
    for name in sorted(groups):
        found.update(f"{name}:{groups[name].attrs.get('document', '')}\n".encode(errors="surrogateescape"))
    return found.hexdigest()


def write_netcdf(result: Result, partial: Path) -> None:
    """Write a netCDF file, what is large of it in pieces; each is compressed and has a checksum."""
    import h5netcdf

    tree = to_tree(result, large=False)
    partial.write_bytes(tree.to_netcdf(engine="h5netcdf", encoding=_encoding(tree)))
    with partial.open("r+b", buffering=0) as raw:
        file = _Careful(raw)
        with h5netcdf.File(file, "a") as stored:
            for large in large_of(result):
                group = stored[large.group]
                for dimension, size in zip(large.dimensions, large.shape):
                    if dimension not in group.dimensions:
                        group.dimensions[dimension] = size
                variable = group.create_variable(
                    large.name, large.dimensions, large.dtype, chunks=large.chunks, **_COMPRESSED
                )
                variable.attrs.update(large.attributes)
                for where, piece in large.pieces():
                    variable[where] = piece
                    if file.error is not None:
                        break
        if file.error is not None:
            raise file.error


_COMPRESSED: dict[str, Any] = {"compression": "gzip", "compression_opts": 1, "shuffle": True, "fletcher32": True}


class _Careful(io.RawIOBase):
    """A file for HDF5, which does not survive a full disk: it hears of no error, whoever asks here does."""

    def __init__(self, raw: io.RawIOBase) -> None:
        self._raw = raw
        self.error: OSError | None = None

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._raw.seek(offset, whence)

    def tell(self) -> int:
        return self._raw.tell()

    def readinto(self, buffer: Any) -> int:
        return self._raw.readinto(buffer)

    def write(self, data: Any) -> int:
        left = memoryview(data).cast("B")
        length = len(left)
        while left and self.error is None:
            try:
                left = left[self._raw.write(left) :]
            except OSError as error:
                self.error = error
        return length

    def truncate(self, size: int | None = None) -> int:
        if self.error is None:
            try:
                return self._raw.truncate(size)
            except OSError as error:
                self.error = error
        return 0 if size is None else size


def _encoding(tree: xarray.DataTree) -> dict[str, dict[str, Any]]:
    """Return how the variables that are not large are written: compressed, each with a checksum."""
    found: dict[str, dict[str, Any]] = {}
    for node in tree.subtree:
        of_group: dict[str, dict[str, Any]] = {}
        for name, variable in node.dataset.variables.items():
            if variable.ndim and variable.size and variable.dtype.kind in "biuf":
                of_group[str(name)] = {"zlib": True, "complevel": 1, "shuffle": True, "fletcher32": True}
        if of_group:
            found[node.path] = of_group
    return found


def write_zarr(result: Result, folder: Path) -> None:
    """Write a zarr folder, what is large of it in pieces."""
    import zarr

    # format 2: format 3 has no settled form of names
    to_tree(result, large=False).to_zarr(folder, zarr_format=2, consolidated=False)
    root = zarr.open_group(folder, mode="r+", zarr_format=2)
    for large in large_of(result):
        stored: Any = root.create_array(
            f"{large.group}/{large.name}",
            shape=large.shape,
            dtype=large.dtype,
            chunks=large.chunks,
            fill_value=None,  # else xarray takes what equals it for missing
        )
        stored.attrs.update({"_ARRAY_DIMENSIONS": list(large.dimensions), **large.attributes})
        for where, piece in large.pieces():
            stored[where] = piece
    zarr.consolidate_metadata(folder, zarr_format=2)


def from_tree(tree: xarray.DataTree, where: str) -> Result:
    """Return the result that a tree holds; states, spikes and records stay in the file until they are asked for.

    Raises
    ------
    ValidationError
        Where it is no result, of another layout, or damaged.
    """
    if tree.attrs.get("format") != "boltzspike":
        raise ValidationError(f"{where}: not a boltzspike result")
    _check_schema(tree.attrs.get("schema"), where)
    as_it_is = "network" in tree.children and "translation" not in tree.children
    for name in ("configuration",) if as_it_is else ("target", "configuration"):
        if name not in tree.children:
            raise ValidationError(f"{where}: the group {name!r} is missing")
    if _digest(tree.children) != tree.attrs.get("digest"):
        raise ValidationError(f"{where}: is damaged: its descriptions are not those that were written")

    def described(name: str) -> Any:
        if name not in tree.children:
            return None
        group = tree[name].to_dataset()
        names = [key for key in group.data_vars if key != "exact_marginals"]
        arrays = {str(key): _loaded(group[key], f"{where}: {name}") for key in names}
        return from_document(msgspec.json.decode(group.attrs["document"]), f"{where}: {name}", arrays)

    run = msgspec.json.decode(tree["configuration"].attrs["document"])
    fields = {name: described(name) for name in _DESCRIBED}
    compiled = fields.pop("compiled")
    fields |= {
        "machine": described("target"),
        "clamp": dict(map(tuple, run["clamp"])),
        "samples": StoredSamples(tree, where, start=run["start"], stop=run["stop"], dt=run["dt"]),
        "simulated": np.array(run["simulated"], dtype=np.int64),
        "configuration": run["configuration"],
    }
    if compiled is not None:
        return StoredPosteriorResult(compiled=compiled, **fields)
    return StoredResult(**fields)


def _check_schema(schema: Any, where: str) -> None:
    if isinstance(schema, int | np.integer) and schema == RESULT_SCHEMA:
        return
    why = "a newer boltzspike may read it"
    if schema == 1:
        why = "1 was a layout of before the first release; sample again, the seed gives the same samples"
    raise ValidationError(f"{where}: schema: must be {RESULT_SCHEMA}, got {schema}; {why}")


def _loaded(variable: xarray.DataArray, where: str) -> Array:
    try:
        return np.asarray(variable.to_numpy())
    except Exception as error:  # HDF5, its filters and zarr each raise their own kinds on a damaged chunk
        raise ValidationError(f"{where}: {variable.name}: can't be read ({error})") from None


class StoredSamples(Samples):
    """Samples in a file: each kind is read when it is asked for first."""

    def __new__(cls, *_: Any, **fields: Any) -> Any:
        """Return plain samples where all fields are given, as ``dataclasses.replace`` does."""
        return Samples(**fields) if "gathered" in fields else object.__new__(cls)

    def __init__(self, tree: xarray.DataTree, where: str, *, start: int, stop: int, dt: float) -> None:
        self.__dict__.update(tree=tree, where=where)
        for name, value in (("start", start), ("stop", stop), ("dt", dt)):
            object.__setattr__(self, name, value)

    @property
    def stored_states(self) -> xarray.DataArray | None:
        """The states of all units as they lie in the file: what is selected of them is what is read."""
        posterior = self.__dict__["tree"].children.get("posterior")
        return None if posterior is None else posterior["states"]

    @functools.cached_property
    def packed(self) -> PackedStates | None:
        """States of draws, a bit each, chain by chain."""
        stored = self.stored_states
        if stored is None:
            return None
        tree, where = self.__dict__["tree"], self.__dict__["where"]
        simulated = msgspec.json.decode(tree["configuration"].attrs["document"])["simulated"]
        chains, draws, units = stored.shape
        bits = np.empty((chains, draws, -(-len(simulated) // 8)), dtype=np.uint8)
        at_once = max(CHUNK // units, 1)  # as it was written
        for chain, first in itertools.product(range(chains), range(0, draws, at_once)):
            part = slice(first, first + at_once)
            z = _loaded(stored[chain, part], where)
            bits[chain, part] = np.packbits(z if len(simulated) == units else z[:, simulated], axis=-1)
        return PackedStates(bits=bits, n_units=len(simulated))

    @functools.cached_property
    def _rest(self) -> Samples:
        arrays = self._arrays("recorded")
        return samples_from(arrays, start=self.start, stop=self.stop, dt=self.dt)

    def _arrays(self, group: str) -> dict[str, Array]:
        node = self.__dict__["tree"].children.get(group)
        where = f"{self.__dict__['where']}: {group}"
        return {} if node is None else {str(name): _loaded(node[name], where) for name in node.data_vars}

    @functools.cached_property
    def spikes(self) -> Spikes | None:
        """All spikes."""
        return samples_from(self._arrays("spikes"), start=self.start, stop=self.stop, dt=self.dt).spikes

    @property
    def voltages(self) -> Array | None:
        """mV, (chains, steps, recorded units)."""
        return self._rest.voltages

    @property
    def energies(self) -> Array | None:
        """Energy of draws, as recorded."""
        return self._rest.energies

    @property
    def gathered(self) -> Any:
        """What was counted on the way."""
        return self._rest.gathered


class _Stored:
    """Of a result in a file: states that are read as far as they are selected."""

    @property
    def states(self) -> xarray.DataArray:
        """All states with their names, dimensions (chain, draw, unit); what is selected of them is read."""
        samples = self.samples  # type: ignore[attr-defined]
        stored = samples.stored_states if isinstance(samples, StoredSamples) else None
        return super().states if stored is None else stored  # type: ignore[misc]


class StoredResult(_Stored, Result):
    """A result in a file."""


class StoredPosteriorResult(_Stored, PosteriorResult):
    """The posterior of a Bayesian network in a file."""
