import dataclasses

import numpy as np
import pytest

import boltzspike as bs
from boltzspike.errors import ValidationError
from boltzspike.program import compile_program

S1 = bs.presets.S1


def network(neuron=S1.neuron, background=S1.background, **values):
    return bs.SpikingNetwork(neurons=neuron, backgrounds=background, weights=np.zeros((2, 2)), **values)


@pytest.mark.parametrize("dt", [0.0, -0.1, np.nan, np.inf, "fast"])
def test_dt_must_be_positive(dt):
    with pytest.raises(ValidationError, match="dt: must be > 0 ms"):
        compile_program(network(), dt=dt)


@pytest.mark.parametrize(
    ("values", "dt", "message"),
    [
        ({}, 0.3, "tau_refrac: must be a multiple of dt = 0.3 ms, at least dt, got 10.0"),
        ({"neuron": dataclasses.replace(S1.neuron, tau_refrac=0.05)}, 0.1, "tau_refrac: must be a multiple of dt"),
        ({"synapse": bs.Synapse(delay=0.25)}, 0.1, "Synapse.delay: must be a multiple of dt = 0.1 ms"),
        (
            {"synapse": bs.Synapse(delay=0.01)},
            0.1,
            "Synapse.delay: must be a multiple of dt = 0.1 ms, at least dt",
        ),
        ({}, 2.0, "dt: must be at most the effective membrane time constant tau_eff = 0.769 ms, got 2.0"),
        (
            {"neuron": dataclasses.replace(S1.neuron, tau_syn_exc=0.15)},
            0.1,
            "dt: must be at most half of the shortest tau_syn = 0.15 ms",
        ),
        (
            {"background": bs.PoissonBackground(rates=[1e9], weights=[1e-9])},
            0.1,
            "PoissonBackground.rates: must be at most 10000 events a step of 0.1 ms, got '100000 events'",
        ),
    ],
)
def test_a_grid_that_does_not_fit_is_refused(values, dt, message):
    with pytest.raises(ValidationError, match=message):
        compile_program(network(**values), dt=dt)


def test_a_program_is_read_only_and_in_fixed_units():
    program = compile_program(network())
    assert program.background_rates[0] == pytest.approx([3.0, 3.0])
    assert list(program.refractory_steps) == [100, 100]
    assert program.features == {"conductance", "renewing"}
    for field in dataclasses.fields(program):
        value = getattr(program, field.name)
        if isinstance(value, np.ndarray):
            with pytest.raises(ValueError, match="read-only"):
                value[...] = 0


def test_values_can_be_replaced_and_structure_can_not():
    program = compile_program(network())
    assert program.with_values(v_rest=np.array([1.0, 2.0])).v_rest[1] == 2.0
    with pytest.raises(ValidationError, match="Program.v_rest: must be of shape"):
        program.with_values(v_rest=np.zeros(3))
    with pytest.raises(ValidationError, match=r"Program.refractory_steps: must be one of the values"):
        program.with_values(refractory_steps=np.zeros(2))


def test_units_with_fewer_sources_are_padded_with_silent_ones():
    one = bs.PoissonBackground(rates=[10.0], weights=[0.1])
    program = compile_program(network(background=[one, S1.background]))
    assert list(program.background_rates[0]) == [0.01, 0.0]
