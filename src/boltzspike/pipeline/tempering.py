"""Tempering by the background: the rate of the bombardment is a temperature, and swings.

More noise flattens the response, and shortens the membrane's reach: weights and biases act as divided by a
temperature. So a network whose background swells now and then leaves its modes, and is read while the rate is back
(A. Korcsak-Gorzo, M. G. Mueller, A. Baumbach, L. Leng, O. J. Breitwieser, S. J. van Albada, W. Senn, K. Meier, R.
Legenstein and M. A. Petrovici, "Cortical oscillations support sampling-based computations in spiking neural
networks", PLoS Comput. Biol. 18 (2022) e1009753).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from boltzspike.calibration import Calibration
from boltzspike.engines import get_engine
from boltzspike.errors import UnsupportedFeature, require
from boltzspike.model.background import PoissonBackground
from boltzspike.model.boltzmann import Machine, clamp_indices
from boltzspike.model.description import Array, Given, description, frozen_array, set_field
from boltzspike.model.network import SpikingNetwork
from boltzspike.model.schedule import Piecewise
from boltzspike.pipeline.responses import calibrate
from boltzspike.pipeline.translations import translation_of
from boltzspike.program import compile_program
from boltzspike.samples import Record
from boltzspike.translation.psp import synaptic_weights

FACTORS = (1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0)


@description
class TemperatureMap:
    """What a factor on all background rates does to a network that was translated at factor 1.

    The neurons sample with weights ``W / weight_temperature`` and biases ``b / bias_temperature + shift``.
    """

    calibration: Calibration
    factors: Given
    """Shape (m,), rising from 1."""
    weight_temperature: Given
    """Shape (m,)."""
    bias_temperature: Given
    """Shape (m,)."""
    shift: Given
    """Shape (m,), in units of bias."""

    def __post_init__(self) -> None:
        """Validate."""
        for name in ("factors", "weight_temperature", "bias_temperature", "shift"):
            set_field(self, name, frozen_array(getattr(self, name), f"TemperatureMap.{name}", ndim=1))
        rising = self.factors[0] == 1 and bool((np.diff(self.factors) > 0).all())
        require(rising, "TemperatureMap.factors", "rising from 1", self.factors.tolist())

    def factor(self, temperature: float) -> float:
        """Return the factor on the rates that gives the weights this temperature."""
        low, high = float(self.weight_temperature[0]), float(self.weight_temperature[-1])
        require(low <= temperature <= high, "temperature", f"in {low:.3g} .. {high:.3g}", temperature)
        return float(np.interp(temperature, self.weight_temperature, self.factors))

    def shift_at(self, factor: float) -> float:
        """Return the shift of the bias at a factor."""
        return float(np.interp(factor, self.factors, self.shift))

    def bias_temperature_at(self, factor: float) -> float:
        """Return the temperature of the biases at a factor."""
        return float(np.interp(factor, self.factors, self.bias_temperature))


def temperature_map(calibration: Calibration, factors: tuple[float, ...] = FACTORS) -> TemperatureMap:
    """Calibrate the neuron at each factor on its background's rates, by theory; about a second a factor.

    Raises
    ------
    UnsupportedFeature
        For the balance as bias variable, which the rates themselves carry.
    """
    if calibration.control == "balance":
        raise UnsupportedFeature("temperature_map: needs v_rest or i_offset as the bias variable, not 'balance'")
    background = calibration.background
    at = [
        calibrate(
            calibration.neuron,
            PoissonBackground(rates=np.asarray(background.rates) * factor, weights=background.weights),
            control=calibration.control,
        )
        for factor in factors
    ]
    unit = np.array([[0.0, 1.0], [1.0, 0.0]])
    strength = np.array([synaptic_weights(unit, c)[0, 1] for c in at])
    step = np.array([c.alpha_control for c in at])
    middle = np.array([c.u0_control for c in at])
    return TemperatureMap(
        calibration=calibration,
        factors=factors,
        weight_temperature=strength / strength[0],
        bias_temperature=step / step[0],
        shift=(middle[0] - middle) / step,
    )


def run_tempered(
    network: SpikingNetwork,
    temperatures: TemperatureMap,
    *,
    hottest: float,
    period: float,
    periods: int,
    chains: int,
    share: float = 0.5,
    dt: float = 0.1,
    seed: int = 1,
    threads: int | None = None,
    draws: int = 1,
) -> Array:
    """Return the states (chains, periods * draws, n) of networks whose background swells once a period.

    The same swelling as that of ``tempered``, but the network is exchanged where the rate changes, which the fast
    path of the engine can do: the conductances jump with the rate, where with ``tempered`` they follow within
    tau_syn.

    Parameters
    ----------
    periods
        How many, each of ``period`` ms.
    draws
        States read at the end of each period, a refractory period apart; their time must lie in the cold part.
    """
    require(periods >= 1, "periods", "at least 1", periods)
    tau = network.neurons[0].tau_refrac
    cold = period * (1 - share) / 2
    require(draws >= 1 and draws * tau <= cold, "draws", f"1 .. {cold // tau:g}: the colder half", draws)
    levels, edges = _course(hottest, period, share)
    edges = np.append(edges, period)
    program = compile_program(network, dt=dt)
    engine = get_engine("numba", threads=threads)
    runners = {}
    for level in {*levels, 1.0}:
        factor = temperatures.factor(float(level))
        control = temperatures.calibration.control
        values = {
            "background_rates": program.background_rates * factor,
            control: getattr(program, control) - _compensation(temperatures, factor),
        }
        runners[float(level)] = engine.prepare(program.with_values(**values))
    every = round(tau / dt)
    state = runners[1.0].init(seed=seed, chains=chains)
    kept = []
    for _ in range(periods):
        for level, begin, end in zip(levels, edges, edges[1:]):
            steps = round(end / dt) - round(begin / dt)
            _, state = runners[float(level)].run(state, steps - draws * every * (end == period), Record())
        for _ in range(draws):
            samples, state = runners[1.0].run(state, every, Record(states_every=1))
            assert samples.states is not None
            kept.append(samples.states[:, -1])
    return np.stack(kept, axis=1)


def last_cold_states(
    machine: Machine,
    calibration: Calibration,
    *,
    hottest: float,
    period: float,
    periods: int,
    chains: int,
    clamp: Mapping[int | str, int] | None = None,
    seed: int = 1,
    threads: int | None = None,
) -> Array:
    """Return the states (chains, 1, n) of LIF networks of a machine after the last of ``periods`` swellings.

    Units in ``clamp`` are held at these values. The others as in ``run_tempered``.
    """
    _course(hottest, period, 0.5)  # says what is wrong before the work
    temperatures = temperature_map(calibration)
    temperatures.factor(hottest)
    clamped = clamp_indices(machine, clamp or {})
    conditioned, free = machine.given(clamped)
    translation = translation_of(conditioned.to_boltzmann(), None, calibration, None, {})
    z = np.zeros((chains, 1, machine.n_units), dtype=np.int8)
    z[..., list(clamped)] = list(clamped.values())
    z[..., free] = run_tempered(
        translation.network, temperatures, hottest=hottest, period=period, periods=periods,
        chains=chains, seed=seed, threads=threads,
    )[:, -1:]  # fmt: skip
    return z


def _course(hottest: float, period: float, share: float) -> tuple[Array, Array]:
    """Return the temperatures of a period and the times (ms) at which they begin."""
    require(np.isfinite(period) and period > 0, "period", "> 0 ms", period)
    require(0 < share < 1, "share", "in (0, 1)", share)
    require(np.isfinite(hottest) and hottest > 1, "hottest", "> 1", hottest)
    edges = np.array([0.0, share / 4, share * 3 / 4, share]) * period
    return 1 + (hottest - 1) * np.array([0.5, 1.0, 0.5, 0.0]), np.round(edges / _GRID) * _GRID


_GRID = 0.1
"""ms: times of a course are multiples of it."""


def _compensation(temperatures: TemperatureMap, factor: float) -> float:
    """Return by how much the bias variable must fall to take back the shift of a factor on the rates."""
    temperature = temperatures.bias_temperature_at(factor)
    return float(temperatures.shift_at(factor) * temperature * temperatures.calibration.alpha_control)


def tempered(
    network: SpikingNetwork,
    temperatures: TemperatureMap,
    *,
    hottest: float,
    period: float,
    duration: float,
    share: float = 0.5,
    compensate: bool = True,
) -> tuple[SpikingNetwork, Array]:
    """Return the network under a background that swells once a period, and the times at which to read it.

    Parameters
    ----------
    network
        Translated at the rates as they are.
    hottest
        Highest temperature of the weights.
    period
        ms; in the first ``share`` of it the rates are raised, in two steps up and two down.
    duration
        Of the run, ms: a whole number of periods.
    compensate
        Whether the bias variable takes back the shift that the higher rates bring.

    Returns
    -------
    The network with its schedule, and the ends of the periods in ms, at which it is as cold as it gets.
    """
    levels, edges = _course(hottest, period, share)
    periods = round(duration / period)
    require(periods >= 1 and abs(periods * period - duration) < 1e-6, "duration", "whole periods", duration)
    rates = np.asarray(network.backgrounds[0].rates)
    same = all(np.array_equal(b.rates, rates) for b in network.backgrounds) and bool(np.ptp(rates) == 0)
    if not same:
        raise UnsupportedFeature("tempered: needs one rate for all background sources")
    factors = np.array([temperatures.factor(float(level)) for level in levels])
    times = (np.arange(periods)[:, None] * period + edges).ravel()
    course = [Piecewise(quantity="rate", times=times, values=np.tile(rates[0] * (factors - 1), periods))]
    if compensate:
        shifts = [-_compensation(temperatures, factor) for factor in factors]
        control: Any = temperatures.calibration.control
        course.append(Piecewise(quantity=control, times=times, values=np.tile(shifts, periods)))
    schedule = (*network.schedule, *course)
    return dataclasses.replace(network, schedule=schedule), (1 + np.arange(periods)) * period
