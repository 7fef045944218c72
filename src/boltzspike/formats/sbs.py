"""JSON files of sbs (spike-based sampling, PyNN and NEST): calibrations, neuron parameters, sources.

sbs writes an object as its attributes with ``_type``, the name of its class, arrays as lists. Parameters are
PyNN's (``cm``, ``tau_syn_E``, ...) in ms, mV, nF, uS, nA and Hz; ``fit`` holds ``alpha`` and ``v_p05`` in mV of
v_rest, where ours are mV of mean potential. docs/from-sbs.md says what else differs.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from boltzspike.calibration import Calibration, ResponseCurve, calibration_from_curve
from boltzspike.errors import BoltzspikeWarning, ValidationError
from boltzspike.formats.machines import PYNN
from boltzspike.model.background import PoissonBackground
from boltzspike.model.neuron import LIF, CurrentLIF, Neuron, with_control
from boltzspike.theory.membrane import leverage, membrane_statistics

_NEURONS: dict[str, tuple[type, str]] = {
    "NeuronParametersConductanceExponential": (LIF, "exponential"),
    "NeuronParametersConductanceAlpha": (LIF, "alpha"),
    "NeuronParametersCurrentExponential": (CurrentLIF, "exponential"),
    "NeuronParametersCurrentAlpha": (CurrentLIF, "alpha"),
}
CONTINUOUS = 0.01
"""Time step (ms) up to which a calibration is taken for one in continuous time: the grid moves p by 1e-3 there."""


def is_sbs(data: object) -> bool:
    """Tell whether a JSON object is one of sbs's."""
    return isinstance(data, Mapping) and isinstance(data.get("_type"), str)


def from_json(data: Mapping[str, Any], where: str) -> Calibration | Neuron | PoissonBackground:
    """Return what an object of sbs stands for; errors begin with ``where``.

    A ``SamplerConfiguration`` is a calibration, ``NeuronParameters...`` a neuron, ``PoissonSourceConfiguration`` a
    background.
    """
    kind = data["_type"]
    if kind in _NEURONS:
        return _neuron(data, where)
    if kind == "PoissonSourceConfiguration":
        return _background(data, where)
    if kind == "SamplerConfiguration":
        try:
            return _calibration(data, where)
        except ValidationError as error:  # of what its numbers make
            raise error if str(error).startswith(where) else ValidationError(f"{where}: {error}") from None
    known = ["SamplerConfiguration", "PoissonSourceConfiguration", *_NEURONS]
    hint = "; it lies in a SamplerConfiguration with its neuron" if kind == "Calibration" else ""
    raise ValidationError(f"{where}: _type: must be one of {', '.join(known)}, got {kind!r}{hint}")


def _neuron(data: Mapping[str, Any], where: str) -> Neuron:
    cls, kernel = _NEURONS[data["_type"]]
    names = [name for name in PYNN if cls is LIF or not name.startswith("e_rev")]
    values = {PYNN[name]: _get(data, name, where) for name in names}
    try:
        neuron: Neuron = cls(**values, kernel=kernel)
    except ValidationError as error:
        raise ValidationError(f"{where}: neuron_parameters: {error}") from None
    return neuron


def _background(data: Mapping[str, Any], where: str) -> PoissonBackground:
    if data.get("_type") != "PoissonSourceConfiguration":
        raise ValidationError(
            f"{where}: source_config: must be a PoissonSourceConfiguration, got {data.get('_type')!r}; shared and "
            "recorded sources belong to a network here (SharedBackground, ReplayedBackground)"
        )
    rates, weights = (np.atleast_1d(_get(data, name, where)) for name in ("rates", "weights"))
    if len(rates) == 1:  # one number stands for all sources there
        rates = np.repeat(rates, len(weights))
    try:
        return PoissonBackground(rates=rates, weights=weights)
    except ValidationError as error:
        raise ValidationError(f"{where}: source_config: {error}") from None


def _calibration(data: Mapping[str, Any], where: str) -> Calibration:
    neuron = _part(data, "neuron_parameters", where)
    if neuron.get("_type") not in _NEURONS:
        raise ValidationError(f"{where}: neuron_parameters: unknown _type {neuron.get('_type')!r}")
    cell = _neuron(neuron, where)
    given = _part(data, "calibration", where)
    background = _background(_part(given, "source_config", where), where)
    own = data.get("source_config")
    if isinstance(own, Mapping) and _background(own, where) != background:
        raise ValidationError(
            f"{where}: source_config: differs from that of the calibration, which then holds for other noise; "
            "calibrate anew: boltzspike.calibrate(neuron, background)"
        )
    fit = _part(given, "fit", where)
    alpha, middle = float(_get(fit, "alpha", where)), float(_get(fit, "v_p05", where))
    p = np.asarray(_get(given, "samples_p_on", where), dtype=np.float64)
    lowest, highest = (float(_get(given, name, where)) for name in ("V_rest_min", "V_rest_max"))
    v_rest = np.linspace(lowest, highest, len(p))
    lever = leverage(cell, background, "v_rest")
    mu_at = lambda v: (
        membrane_statistics(with_control(cell, "v_rest", middle), background).mu + lever * (v - middle)
    )
    mu, duration = np.asarray(mu_at(v_rest)), float(_get(given, "duration", where))
    # as if the states of different refractory periods were independent
    error = np.sqrt(np.maximum(p * (1 - p), 1e-4) / (duration / cell.tau_refrac))
    dt = float(_get(given, "dt", where))
    curve = ResponseCurve(
        mu=mu, p=np.clip(p, 0, 1), error=error, tau_refrac=cell.tau_refrac, method="simulation",
        dt=None if dt <= CONTINUOUS else dt, control="v_rest", x=v_rest,
    )  # fmt: skip
    ours = calibration_from_curve(
        curve, cell, background, control="v_rest", version="sbs", simulated=duration * len(p)
    )
    short_term = data.get("tso_parameters")
    if isinstance(short_term, Mapping) and not _renewing(short_term, cell):
        warnings.warn(
            f"{where}: tso_parameters other than those of renewing synapses are no part of a calibration: pass "
            'synapse=Synapse(plasticity="tsodyks-markram", ...)',
            BoltzspikeWarning,
            stacklevel=2,
        )
    u0, alpha = float(mu_at(middle)), alpha * lever
    deviation = p - 1 / (1 + np.exp(-(mu - u0) / alpha))
    inside = (p > 0.01) & (p < 0.99)
    return Calibration(
        neuron=cell, background=background, control="v_rest", u0=u0, alpha=alpha, u0_error=ours.u0_error,
        alpha_error=ours.alpha_error, rms=float(np.sqrt(np.mean(deviation[inside] ** 2))),
        max_deviation=float(np.abs(deviation[inside]).max()), method="sbs", dt=curve.dt, points=len(p),
        simulated=ours.simulated, version="sbs",
    )  # fmt: skip


def _renewing(data: Mapping[str, Any], neuron: Neuron) -> bool:
    unset = lambda name, *values: data.get(name) is None or data[name] in values
    return (
        unset("U", 1.0)
        and unset("tau_rec", neuron.tau_syn_exc)
        and unset("tau_fac", 0.0)
        and unset("weight_rescale", 1.0)
    )


def _part(data: Mapping[str, Any], name: str, where: str) -> Mapping[str, Any]:
    part = _get(data, name, where)
    if not isinstance(part, Mapping):
        raise ValidationError(f"{where}: {name}: must be an object, got {part!r}")
    return part


def _get(data: Mapping[str, Any], name: str, where: str) -> Any:
    value = data.get(name)
    if value is None:
        raise ValidationError(f"{where}: {data.get('_type', 'object')}: needs {name}")
    return value
