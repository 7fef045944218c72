import dataclasses

import numpy as np
import pytest
from scipy.sparse import csr_array, random_array

import boltzspike as bs
from boltzspike.engines import get_engine
from boltzspike.errors import ValidationError
from boltzspike.program import compile_program
from boltzspike.samples import Record

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


RATE = {"quantity": "rate", "times": [1.0]}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"delays": np.full((2, 2), 0.25), "weights": [[0, 1e-3], [0, 0]]},
            "SpikingNetwork.delays: must be a mult",
        ),
        (
            {"schedule": bs.Piecewise(quantity="v_rest", times=[0.25], values=[1.0])},
            "Piecewise.times: must be a mult",
        ),
        ({"schedule": bs.Piecewise(values=[-3500.0], **RATE)}, "no rate ever falls below 0 Hz, got '-500 Hz'"),
        (
            {"schedule": bs.Piecewise(values=[9e6], **RATE)},
            "no source has more than 500 events a step, got '900.3'",
        ),
        (
            {"schedule": bs.Piecewise(values=[1.0], sources=[2], **RATE)},
            "Piecewise.sources: must be a source of unit",
        ),
        ({"schedule": bs.Wave(quantity="rate", amplitude=3001.0, frequency=3.0)}, "below 0 Hz, got '-1 Hz'"),
        # the background at its strongest shortens tau_eff to less than dt
        (
            {"schedule": bs.Piecewise(values=[2e5], **RATE)},
            "dt: must be at most the effective membrane time constant",
        ),
        (
            {"shared": bs.SharedBackground(rates=[1e6], weights=[[0.0], [1e-3]])},
            "dt: must be at most the effective",
        ),
        (
            {"shared": bs.ReplayedBackground(times=[1], sources=[0], duration=5.05, weights=[[1.0], [1.0]])},
            "ReplayedBackground.duration: must be a multiple of dt",
        ),
    ],
)
def test_what_changes_or_is_shared_must_fit_the_grid(values, message):
    network = {"neurons": S1.neuron, "backgrounds": S1.background, "weights": np.zeros((2, 2))} | values
    with pytest.raises(ValidationError, match=message):
        compile_program(bs.SpikingNetwork(**network))


def test_sparse_weights_stay_sparse_through_the_program():
    """20,000 units: dense weights would take 3.2 GB."""
    n = 20_000
    weights = csr_array(random_array((n, n), density=1e-4, rng=np.random.default_rng(1)) * 1e-3)
    weights.setdiag(0)
    network = bs.SpikingNetwork(neurons=S1.neuron, backgrounds=S1.background, weights=weights)
    program = compile_program(network)
    assert program.weights.format == "csr"
    target, source, weight, delay = program.synapses()
    assert len(target) == len(source) == len(weight) == len(delay) == weights.nnz
    runner = get_engine("numba", threads=1).prepare(program)
    samples, _ = runner.run(runner.init(seed=1, chains=1), 20, Record(states_every=10))
    assert samples.states.shape == (1, 2, n)
    replaced = program.with_values(weights=2 * program.weights)
    assert replaced.weights.format == "csr"
    assert replaced.weights.data == pytest.approx(2 * program.weights.data)
    dense = compile_program(
        bs.SpikingNetwork(neurons=S1.neuron, backgrounds=S1.background, weights=np.zeros((3, 3)))
    )
    with pytest.raises(ValidationError, match="Program.weights: must be stored as those it replaces"):
        dense.with_values(weights=csr_array((3, 3)))


def test_the_synaptic_variables_start_at_the_mean_of_all_background():
    pool = bs.SharedBackground(rates=[100.0, 200.0], weights=[[0.001, -0.002], [0.0, 0.0]])
    replay = bs.ReplayedBackground(
        times=[1.0, 2.0], sources=[0, 0], duration=10.0, weights=csr_array([[0.003], [0.0]])
    )
    alone, shared = (compile_program(network(shared=what)) for what in ((), [replay, pool]))
    difference = np.subtract(shared.mean_input(), alone.mean_input())
    assert difference == pytest.approx(np.array([[10 * (0.1e-3 + 0.2 * 0.003), 0], [10 * 0.4e-3, 0]]))
