"""A result as a tree of datasets that xarray and ArviZ understand, and back; what is large is read when asked for.

| group | what it holds |
|---|---|
| posterior | states, int8 (chain, draw, unit), 0 or 1 |
| sample_stats | energy (chain, draw); rate in Hz (chain, unit) |
| recorded | what was counted or kept besides: occupancy, pairs, joint states, intervals, voltages, energies |
| spikes | ragged: chain, unit and step of each, in the order of (chain, step, unit) |
| target | the machine, and its exact marginals where they were asked for |
| calibration, network, translation, compiled | what made the samples |
| configuration | seed, engine, durations, versions, machine |

Descriptions are JSON in the attribute ``document`` of their group, their arrays variables beside it.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from boltzspike.documents import document, from_document
from boltzspike.errors import ValidationError
from boltzspike.posterior import PosteriorResult
from boltzspike.recorded import samples_from, variables_of
from boltzspike.result import Result
from boltzspike.samples import PackedStates, Samples, Spikes

if TYPE_CHECKING:
    import xarray

Array = np.ndarray
RESULT_SCHEMA = 2
"""Version of this layout. 1, a flat dataset, was never released and is refused, as a newer one is."""
_DESCRIBED = ("calibration", "network", "translation", "compiled")
_CHUNK = 2**20
"""Entries of states that are compressed, and read, together."""


def to_tree(result: Result) -> xarray.DataTree:
    """Return a result as a tree of datasets."""
    import xarray

    samples = result.samples
    groups: dict[str, Any] = {}
    if samples.packed is not None:
        states = result.states
        states.attrs["long_name"] = "z(t): 1 while the neuron is refractory"
        groups["posterior"] = xarray.Dataset({"states": states}, attrs=_ARVIZ)
        groups["sample_stats"] = _statistics(result, states)
    variables = variables_of(samples)
    spikes = {name: v for name, v in variables.items() if name.startswith("spike_")}
    others = {name: v for name, v in variables.items() if name not in spikes}
    if spikes:
        groups["spikes"] = xarray.Dataset(spikes, attrs={"steps": "a spike ends its step", "dt_ms": samples.dt})
    if others:
        groups["recorded"] = xarray.Dataset(others)
    groups["target"] = _described(result.machine, _exact_marginals(result))
    for name in _DESCRIBED:
        what = getattr(result, name, None)
        if what is not None:
            groups[name] = _described(what)
    groups["configuration"] = _configuration(result)
    attributes = {"format": "boltzspike", "schema": RESULT_SCHEMA, "digest": _digest(groups)}
    return xarray.DataTree.from_dict({"/": xarray.Dataset(attrs=attributes)} | groups)


_ARVIZ = {"inference_library": "boltzspike"}


def _statistics(result: Result, states: xarray.DataArray) -> xarray.Dataset:
    import xarray

    energy = xarray.Variable(("chain", "draw"), result.energies(), {"long_name": "-(z W z / 2 + b z)"})
    coordinates = {name: states.coords[name] for name in ("chain", "draw", "unit")}
    found: dict[str, Any] = {"energy": energy}
    if result.network is not None:
        tau = np.full(result.machine.n_units, np.nan)
        tau[result.simulated] = [neuron.tau_refrac for neuron in result.network.neurons]
        rate = result.z.mean(axis=1, dtype=np.float64) / tau * 1e3
        about = {"units": "Hz", "long_name": "p(z = 1) / tau_refrac"}
        found["rate"] = xarray.Variable(("chain", "unit"), rate, about)
    return xarray.Dataset(found, coords=coordinates, attrs=_ARVIZ)


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


def encoding(tree: xarray.DataTree) -> dict[str, dict[str, Any]]:
    """Return how the variables are written to netCDF: compressed, in pieces, each with a checksum."""
    found: dict[str, dict[str, Any]] = {}
    for node in tree.subtree:
        of_group: dict[str, dict[str, Any]] = {}
        for name, variable in node.dataset.variables.items():
            if variable.ndim and variable.size and variable.dtype.kind in "biuf":
                of_group[str(name)] = {"zlib": True, "complevel": 1, "shuffle": True, "fletcher32": True}
        if "states" in of_group:
            _, draws, units = node["states"].shape
            of_group["states"]["chunksizes"] = (1, min(draws, max(1, _CHUNK // units)), units)
        if of_group:
            found[node.path] = of_group
    return found


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
    for name in ("target", "configuration"):
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
        chains = (_loaded(stored[c], where)[:, simulated] for c in range(stored.shape[0]))
        return PackedStates(bits=np.stack([PackedStates.of(z).bits for z in chains]), n_units=len(simulated))

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
