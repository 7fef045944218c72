"""The state before the first step, as the engines in float64 keep it; what is not given starts at rest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from boltzspike.errors import require
from boltzspike.inputs import Initial
from boltzspike.program import Program

Array = np.ndarray
LONG_AGO = -(2**40)


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Start:
    """The state before step 0: arrays (chains, units), float64 and int64."""

    v: Array
    excitation: Array
    inhibition: Array
    rising_exc: Array
    rising_inh: Array
    last_spike: Array
    under_way: Array
    """(slots, chains, units) at index step % slots: what a spike under way carries (``carries``), 0
    where none was emitted."""


def carried_from_rest(program: Program, last_spike: Array) -> Array:
    """Return what first spikes carry to their targets: an interval (renewing), or an amplitude."""
    return (last_spike - LONG_AGO).astype(np.float64) if program.renewing else np.ones(last_spike.shape)


def start(program: Program, chains: int, initial: Initial | None) -> Start:
    """Return the state before step 0; the synaptic variables at their stationary means but for given spikes.

    Given spikes come without jitter.
    """
    p = program
    shape = (chains, p.n_units)
    initial = initial or Initial()
    v = _given(initial.v, p.v_reset, shape, "v", np.float64)
    last_spike = _given(initial.last_spike, LONG_AGO, shape, "last_spike", np.int64)
    latest = int(last_spike.max(initial=-1))
    require(latest < 0, "Initial.last_spike", "-1 or less: steps before the first", latest)

    means = p.mean_input()
    levels = [np.broadcast_to((np.e if p.alpha else 1.0) * mean, shape).copy() for mean in means]
    rising = [np.broadcast_to(mean if p.alpha else 0.0, shape).copy() for mean in means]
    under_way = np.zeros((p.slots, *shape))
    if initial.last_spike is not None:
        target, source, weight, delay = p.synapses()
        into = lambda amounts: np.bincount(target, amounts, p.n_units)
        # steps since the arrival at step 0's beginning; a spike that arrives later, or just now, is under way
        since = -(last_spike[:, source] + 1 + delay)
        for level, rise, sign, tau_syn in zip(levels, rising, (1, -1), (p.tau_syn_exc, p.tau_syn_inh)):
            strength = np.maximum(sign * weight, 0)
            left = np.where(since > 0, strength * np.exp(-np.maximum(since, 0) * p.dt / tau_syn[target]), 0.0)
            age = since * p.dt / tau_syn[target]
            for c in range(chains):
                if p.alpha:
                    rise[c] += into(left[c])
                    level[c] += into(np.e * age[c] * left[c])
                else:
                    level[c] += into(left[c])
        recent = last_spike >= -(p.delay_steps + 1)
        chain, unit = np.nonzero(recent)
        slots = last_spike[recent] % p.slots
        under_way[slots, chain, unit] = carried_from_rest(p, last_spike[recent])
    return Start(
        v=v,
        excitation=levels[0],
        inhibition=levels[1],
        rising_exc=rising[0],
        rising_inh=rising[1],
        last_spike=last_spike,
        under_way=under_way,
    )


def _given(values: Any, default: Any, shape: tuple[int, int], name: str, dtype: type) -> Array:
    if values is None:
        return np.broadcast_to(np.asarray(default, dtype=dtype), shape).copy()
    array = np.asarray(values)
    allowed = f"of shape {shape[1:]} or {shape}"
    require(array.shape in (shape[1:], shape), f"Initial.{name}", allowed, array.shape)
    exact = bool(np.isfinite(array.astype(np.float64)).all()) and bool(np.all(array.astype(dtype) == array))
    require(exact, f"Initial.{name}", "finite" if dtype is np.float64 else "integers", values)
    return np.broadcast_to(array.astype(dtype), shape).copy()
