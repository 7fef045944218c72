"""A program in the kernel's units and layout: everything that is computed once, before the first step.

The units stand in ``row.py``. ``unsupported`` says which programs the fast path leaves to the exact one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from boltzspike.engines.numba.noise import Noise, background_noise
from boltzspike.engines.numba.row import FIELDS, G_EXC, G_INH, MAX_DEGREE, PARAMETERS, PICKED, ROW, Tables, V
from boltzspike.program import FREE, Program

Array = np.ndarray
Layout = Literal["chains", "units"]

CHAIN_LANES_UP_TO = 48
"""Units: above, the lanes are units. Measured: docs/engines.md."""
_KNOWN = {
    "conductance", "current", "renewing", "additive", "clamp", "sparse", "delays", "parallel-synapses",
    "varying-bias", "varying-clamp",
}  # fmt: skip
_LINE = 64
"""Bytes of a cache line."""
_CLAMP_DRIVE = 1e6
"""mV: the constant drive that stands for a clamp."""
_RELAXATION_ERROR = 1e-5
"""Relative error allowed to (1 - exp(-x))/x: it stretches tau_eff by as much."""
_LONGEST_INTERVAL = 17.0
"""Time constants after which a trace counts as empty (e^-17 < 2^-24)."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class ScaledProgram:
    """What a kernel needs to know of a program."""

    layout: Layout
    rows: int
    traces: int
    """Distinct synaptic time constants; 1 for additive synapses, whose spikes all add the same, and for depressing
    ones, which recover with one time constant of their source."""
    degree: int
    """Of the membrane's polynomial."""
    noise: Noise
    start: Array
    """float32 (rows, FIELDS, 16): state before the first step."""
    unit: Array
    """(2, n): a conductance of 1 uS, or a current of 1 nA, in the kernel's units."""
    offset: Array
    """(2, n): what of the background lies in leak and bias, less the mean arrivals of a step, in these units: a
    state in the kernel is that before the arrivals, less this. So the first step gets its mean background."""
    tables: Tables
    biases: Array
    """float32 (segments, ...): ``Tables.bias`` in each segment of the program's courses."""


def unsupported(program: Program) -> str | None:
    """Return what the fast path can't do of this program, None if it can do all. It records no voltages."""
    p = program
    known = _KNOWN | {"tsodyks-markram"} if p.recovers_from_one_spike else _KNOWN
    if p.features - known:
        return ", ".join(sorted(p.features - known))
    if layout_of(p) == "units" and p.renewing:
        for name in ("tau_syn_exc", "tau_syn_inh"):
            if np.ptp(getattr(p, name)) > 0:
                return f"renewing synapses with {name} that differs among more than {CHAIN_LANES_UP_TO} units"
    if p.conductance_based:
        low, high = exponent_range(p)
        if relaxation(low, high)[1] > _RELAXATION_ERROR:
            return f"g_tot dt / c_m from {low:.2g} to {high:.2g}: too wide for the membrane's polynomial"
    return None


def layout_of(program: Program) -> Layout:
    """Return what the lanes are; only chain lanes deliver one by one: sparse weights, delays that differ."""
    chains = program.n_units <= CHAIN_LANES_UP_TO or bool(program.features & {"sparse", "delays"})
    return "chains" if chains else "units"


def scale(program: Program, layout: Layout, law: str | None) -> ScaledProgram:
    """Scale a program; ``law`` names the background's law, ``None`` chooses it (``noise.py``)."""
    p = program
    n = p.n_units
    # lanes that are units would need a table each
    noise = background_noise(p, law, tables=layout == "chains" or _one_background(p))

    leak = p.g_l * p.dt / p.c_m
    gain = p.dt / p.c_m
    if not p.conductance_based:
        # a whole step of the membrane is linear: v = exp(-leak) v + gain (currents)
        gain = gain * -np.expm1(-leak) / leak
    tau_syn = np.stack([p.tau_syn_exc, p.tau_syn_inh])
    decay = np.exp(-p.dt / tau_syn)
    unit = gain * tau_syn / p.dt * -np.expm1(-p.dt / tau_syn)
    constant = noise.base.T * unit / (1 - decay)

    drive = gain * (p.g_l * (p.v_rest - p.v_thresh) + p.i_offset)
    if p.conductance_based:
        reversal = np.stack([p.e_rev_exc, p.e_rev_inh]) - p.v_thresh
        polynomial, _ = relaxation(*exponent_range(p))
        leak = leak + constant.sum(axis=0)
    else:
        reversal = np.stack([np.ones(n), -np.ones(n)])
        polynomial = np.array([1.0, 0.0])
        leak = np.exp(-leak)
    drive = drive + (reversal * constant).sum(axis=0)
    current, clamp = (
        (np.zeros((1, n)), p.clamp[None]) if p.courses is None else (p.courses.current, p.courses.clamp)
    )
    drive = np.where(clamp == FREE, drive + gain * current, np.where(clamp == 1, _CLAMP_DRIVE, -_CLAMP_DRIVE))

    # as in the reference engine before the arrivals of step 0, which the kernel holds after them
    source = np.stack([np.maximum(p.background_weights, 0), np.maximum(-p.background_weights, 0)])
    arrivals = (p.background_rates * source).sum(axis=2)
    offset = constant - p.dt * arrivals * unit
    mean = tau_syn * arrivals
    start = np.empty((FIELDS, n))
    start[[G_EXC, G_INH]] = mean * unit - offset
    start[V] = p.v_reset - p.v_thresh

    biases = aligned(np.stack([_by_row(values, layout).ravel() for values in drive]).astype(np.float32))
    rows = n if layout == "chains" else -(-n // ROW)
    parameters = np.concatenate([reversal, leak[None], (p.v_reset - p.v_thresh)[None], decay])
    assert len(parameters) == PARAMETERS
    parameters_by_row, parameter_stride = _shared(_by_row(parameters, layout))
    thresholds, jumps, noise_stride = _drawn(noise, unit, layout)
    renewal, trace_of = _renewal(p, tau_syn)
    return ScaledProgram(
        layout=layout,
        rows=rows,
        traces=len(renewal),
        degree=len(polynomial) - 1,
        noise=noise,
        unit=unit,
        offset=offset,
        biases=biases,
        start=np.ascontiguousarray(np.broadcast_to(_by_row(start, layout), (rows, FIELDS, ROW)), np.float32),
        tables=Tables(
            parameters=_flat(parameters_by_row, np.float32),
            parameter_stride=parameter_stride,
            bias=biases[0],
            thresholds=thresholds,
            jumps=jumps,
            noise_stride=noise_stride,
            relaxation=np.pad(polynomial, (0, MAX_DEGREE + 1 - len(polynomial))).astype(np.float32),
            refractory=p.refractory_steps.astype(np.int32),
            renewal=_flat(renewal, np.float32),
            renewal_length=renewal.shape[1],
            **_connections(p, layout, unit, trace_of, rows),
        ),
    )


def _one_background(program: Program) -> bool:
    """Tell whether the background is the same for all units, in the kernel's units too."""
    p = program
    shared = (p.background_rates, p.background_weights, p.tau_syn_exc, p.tau_syn_inh, p.c_m, p.g_l)
    return all(np.all(values == values[:1]) for values in shared)


def _drawn(noise: Noise, unit: Array, layout: Layout) -> tuple[Array, Array, int]:
    """Return ``thresholds``, ``jumps`` and their stride: they are alike where both are."""
    jumps = (noise.jumps.transpose(1, 2, 0) * unit[:, None, :]).reshape(-1, len(noise.jumps))
    if noise.levels == PICKED:
        alike = np.all(jumps == jumps[:, :1])
        assert alike or layout == "chains", "a table of values is that of all lanes"
        tables = jumps.T[:1] if alike else jumps.T
        return np.zeros(0, np.int32), _flat(tables, np.float32), 0 if alike else tables.shape[1]
    thresholds = noise.thresholds().transpose(1, 2, 0).reshape(-1, len(noise.jumps))
    drawn, stride = _shared(_by_row(np.stack([thresholds.astype(float), jumps]), layout))
    return _flat(drawn[:, 0], np.int32), _flat(drawn[:, 1], np.float32), stride // 2


def _by_row(values: Array, layout: Layout) -> Array:
    """Lay out (..., units) as (rows, ..., 16)."""
    if layout == "chains":
        return np.repeat(np.moveaxis(values, -1, 0)[..., None], ROW, axis=-1)
    spare = -values.shape[-1] % ROW
    padded = np.pad(values, [(0, 0)] * (values.ndim - 1) + [(0, spare)], mode="edge")
    return np.moveaxis(padded.reshape(*values.shape[:-1], -1, ROW), -2, 0)


def _shared(rows: Array) -> tuple[Array, int]:
    """Return rows and the stride between them: one row and stride 0 where all units are alike."""
    if np.all(rows == rows[:1, ..., :1]):
        return rows[:1], 0
    return rows, int(np.prod(rows.shape[1:]))


def _flat(values: Array, dtype: type) -> Array:
    return aligned(np.asarray(values, dtype=dtype).reshape(1, -1))[0, : values.size]


def aligned(rows: Array) -> Array:
    """Copy (rows, length) so that each row begins with a cache line; what is longer then is behind its end.

    A vector that lies across two lines costs two loads; a line that two threads write to, far more.
    """
    number, length = rows.shape
    padded = -(-length * rows.itemsize // _LINE) * _LINE
    spare = np.zeros(number * padded + _LINE, dtype=np.uint8)
    start = -spare.ctypes.data % _LINE
    copy = spare[start : start + number * padded].view(rows.dtype).reshape(number, -1)
    copy[:, :length] = rows
    return copy


def _renewal(program: Program, tau_syn: Array) -> tuple[Array, Array]:
    """Return the increments of each trace after each interval, (traces, intervals), and each synapse's trace.

    Traces are numbered in the order of their synapses: where units share their time constants, the first is
    that of g_exc and the last that of g_inh, which the unit lanes rely on.
    """
    one_trace = np.zeros(tau_syn.shape, dtype=np.int64)
    if program.recovers_from_one_spike and program.tau_rec > 0:
        kinds, trace_of = np.array([program.tau_rec]), one_trace
    elif not program.renewing:
        return np.ones((1, 1)), one_trace
    else:
        kinds = np.array(list(dict.fromkeys(tau_syn.ravel())))
        trace_of = np.argmax(tau_syn[..., None] == kinds, axis=-1)
    longest = int(np.ceil(_LONGEST_INTERVAL * kinds.max() / program.dt)) + 1
    return -np.expm1(-np.arange(longest) * program.dt / kinds[:, None]), trace_of


def _connections(program: Program, layout: Layout, unit: Array, trace_of: Array, rows: int) -> dict[str, Array]:
    """Return ``targets``, ``weights``, ``connections``, ``delays`` and ``scales`` of ``Tables``."""
    p, n = program, program.n_units
    if layout == "units":
        weight = np.where(p.weights < 0, unit[1][:, None], unit[0][:, None])
        weight *= p.weights
        largest = np.maximum(weight.max(axis=0), -weight.min(axis=0))
        scales = np.where(largest > 0, largest, 1.0) / np.iinfo(np.int16).max
        dense = np.zeros((n, rows * ROW), dtype=np.int16)
        weight /= scales
        dense[:, :n] = np.round(weight, out=weight).T
        none = np.zeros(1, dtype=np.int32)
        return {
            "targets": none,
            "weights": _flat(dense, np.int16),
            "connections": none,
            "delays": none,
            "scales": scales.astype(np.float32),
        }
    traces = int(trace_of.max()) + 1
    target, source, weight, delay = p.synapses()
    synapse = (weight < 0).astype(np.int64)
    delays, which = np.unique(np.append(delay, p.delay_steps), return_inverse=True)
    key = (which[:-1] * n + source) * traces + trace_of[synapse, target]
    order = np.lexsort((target, key))
    address = (target * FIELDS + np.where(synapse, G_INH, G_EXC)) * ROW
    return {
        "targets": address[order].astype(np.int32),
        "weights": np.abs(weight * unit[synapse, target])[order].astype(np.float32),
        "connections": np.searchsorted(key[order], np.arange(len(delays) * n * traces + 1)).astype(np.int32),
        "delays": delays.astype(np.int32),
        "scales": np.zeros(1, dtype=np.float32),
    }


def exponent_range(program: Program) -> tuple[float, float]:
    """Return the range of g_tot dt/c_m: six standard deviations of the background, the synapses all on or off."""
    p = program
    low = high = p.g_l
    for sign, tau_syn in ((1, p.tau_syn_exc), (-1, p.tau_syn_inh)):
        source = np.maximum(sign * p.background_weights, 0)
        mean = tau_syn * (p.background_rates * source).sum(axis=1)
        sd = np.sqrt(tau_syn / 2 * (p.background_rates * source**2).sum(axis=1))
        # a renewing trace peaks at 1, an additive one at the sum of a geometric series
        peak = 1.0 if p.renewing else 1 / -np.expm1(-p.refractory_steps.min() * p.dt / tau_syn)
        recurrent = peak * _all_weights(p, sign)
        low = low + np.maximum(mean - 6 * sd, 0)
        high = high + mean + 6 * sd + recurrent
    return float((low * p.dt / p.c_m).min()), float((high * p.dt / p.c_m).max())


def _all_weights(program: Program, sign: int) -> Array:
    """Return the sum of the weights, as positive numbers, of the synapses of one sign of each unit, (n,)."""
    p = program
    if p.teeth is None and "sparse" not in p.features:
        # without a copy: a dense matrix may be the largest thing there is
        return sign * p.weights.sum(axis=1, where=p.weights > 0 if sign > 0 else p.weights < 0)
    target, _, weight, _ = p.synapses()
    return np.bincount(target, np.maximum(sign * weight, 0), p.n_units)


def relaxation(low: float, high: float) -> tuple[Array, float]:
    """Return a polynomial for (1 - exp(-x))/x on a range, constant first, and its largest relative error.

    Its degree is the lowest that keeps the error within ``_RELAXATION_ERROR``, else ``MAX_DEGREE``.
    """
    x = np.linspace(low, high, 201)
    exact = -np.expm1(-x) / x
    for degree in range(1, MAX_DEGREE + 1):
        fit = np.polynomial.Chebyshev.interpolate(lambda t: -np.expm1(-t) / t, degree, [low, high + 1e-9])
        polynomial = fit.convert(kind=np.polynomial.Polynomial).coef
        polynomial = np.pad(polynomial, (0, degree + 1 - len(polynomial)))
        error = float(np.max(np.abs(np.polynomial.polynomial.polyval(x, polynomial) / exact - 1)))
        if error <= _RELAXATION_ERROR:
            break
    return polynomial, error
