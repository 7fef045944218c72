"""The spiking network: what a target becomes, in physical units."""

from __future__ import annotations

from dataclasses import field
from typing import Any

import numpy as np

from boltzspike.errors import require
from boltzspike.model.background import PoissonBackground, ReplayedBackground, SharedBackground
from boltzspike.model.description import (
    Array,
    Given,
    Saved,
    description,
    frozen_matrix,
    is_sparse,
    parts,
    set_field,
    unit_names,
)
from boltzspike.model.neuron import LIF, CurrentLIF
from boltzspike.model.schedule import Course, Piecewise, Wave
from boltzspike.model.synapse import Synapse


@description
class SpikingNetwork(Saved):
    """LIF neurons under private bombardment, coupled by recurrent synapses.

    Each neuron carries its own bias (``v_rest`` or ``i_offset``). ``weights[k, j]`` goes from neuron j to
    neuron k; its sign says which synapse of k it drives. Asymmetric weights are allowed.
    """

    neurons: Given
    """One neuron a unit, all of one type; a single one stands for all."""
    backgrounds: Given
    """One background a unit; a single one stands for all."""
    weights: Given
    """Recurrent weights, shape (units, units), [target, source], uS or nA, zero diagonal; dense, or one of scipy's
    sparse kinds, which is kept as CSR."""
    synapse: Synapse = field(default_factory=Synapse)
    """The recurrent synapse."""
    names: Given = None
    """Names of the units."""
    delays: Given = None
    """Delay of each synapse, ms, in the form of ``weights`` (CSR: the same entries); ``None``: the synapse's."""
    shared: Given = ()
    """``SharedBackground`` and ``ReplayedBackground`` that come on top of ``backgrounds``."""
    schedule: Given = ()
    """``Piecewise`` and ``Wave``: what changes in time."""

    def __post_init__(self) -> None:
        """Validate."""
        weights = frozen_matrix(self.weights, "SpikingNetwork.weights")
        n = weights.shape[0]
        require(weights.shape == (n, n), "SpikingNetwork.weights", "square", weights.shape)
        diagonal = weights.diagonal()
        for k in np.flatnonzero(diagonal):
            require(False, f"SpikingNetwork.weights[{k}, {k}]", "0 (no autapse)", float(diagonal[k]))
        neurons = (self.neurons,) * n if isinstance(self.neurons, LIF | CurrentLIF) else tuple(self.neurons)
        backgrounds = self.backgrounds
        backgrounds = (backgrounds,) * n if isinstance(backgrounds, PoissonBackground) else tuple(backgrounds)
        require(len(neurons) == n, "SpikingNetwork.neurons", f"one a unit ({n})", f"{len(neurons)} neurons")
        require(len(backgrounds) == n, "SpikingNetwork.backgrounds", f"one a unit ({n})", len(backgrounds))
        kinds = {(type(neuron).__name__, neuron.kernel) for neuron in neurons}
        require(len(kinds) <= 1, "SpikingNetwork.neurons", "of one type and one kernel", sorted(kinds))
        set_field(self, "weights", weights)
        set_field(self, "neurons", neurons)
        set_field(self, "backgrounds", backgrounds)
        set_field(self, "names", unit_names(self.names, n, "SpikingNetwork"))
        if self.delays is not None:
            set_field(self, "delays", _checked_delays(self.delays, weights))
        for name, kinds_of, one in (
            ("shared", (SharedBackground, ReplayedBackground), "a SharedBackground or ReplayedBackground"),
            ("schedule", (Piecewise, Wave), "a Piecewise or Wave"),
        ):
            given = getattr(self, name)
            given = tuple(given) if isinstance(given, list | tuple) else (given,)
            for item in given:
                require(isinstance(item, kinds_of), f"SpikingNetwork.{name}", f"each {one}", item)
            set_field(self, name, given)
        for k, pool in enumerate(self.shared):
            rows = pool.weights.shape[0]
            require(rows == n, f"SpikingNetwork.shared[{k}].weights", f"of {n} rows, one a unit", f"{rows} rows")
        for course in self.schedule:
            self.units_of(course)

    @property
    def n_units(self) -> int:
        """Number of neurons."""
        return int(self.weights.shape[0])

    def units_of(self, course: Course) -> Array:
        """Return the indices of the units that a course of the schedule concerns."""
        if course.units is None:
            indices = np.arange(self.n_units)
        else:
            where = f"{type(course).__name__}.units"
            known = {name: k for k, name in enumerate(self.names)}
            for unit in course.units:
                ok = unit in known if isinstance(unit, str) else 0 <= unit < self.n_units
                require(ok, where, f"names of units or in 0 .. {self.n_units - 1}", unit)
            indices = np.array([known.get(unit, unit) for unit in course.units], dtype=np.int64)
        columns = np.shape(course.values)[1:] if isinstance(course, Piecewise) else np.shape(course.amplitude)
        allowed = f"one value a unit ({len(indices)})"
        require(not columns or columns[0] == len(indices), f"{type(course).__name__}", allowed, f"{columns}")
        return indices


def _checked_delays(given: Any, weights: Any) -> Any:
    where = "SpikingNetwork.delays"
    delays = frozen_matrix(given, where)
    require(delays.shape == weights.shape, where, f"of shape {weights.shape}", delays.shape)
    kind = "sparse" if is_sparse(weights) else "dense"
    require(is_sparse(delays) == is_sparse(weights), where, f"{kind} as weights are", type(given).__name__)
    if is_sparse(weights):
        same = all(map(np.array_equal, parts(delays)[1:], parts(weights)[1:]))
        require(same, where, "stored at the same entries as weights", f"{delays.nnz} other entries")
        wrong = np.flatnonzero(delays.data <= 0)
        require(len(wrong) == 0, where, "> 0 ms", delays.data[wrong[:1]].tolist())
    else:
        for k, j in np.argwhere((weights != 0) & (delays <= 0))[:1]:
            require(False, f"{where}[{k}, {j}]", "> 0 ms", float(delays[k, j]))
    return delays
