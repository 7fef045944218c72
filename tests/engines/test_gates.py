"""The gates that engines must pass can fail: each mutation here is a mistake that an engine could make.

The gate is the comparison of joint distributions that the conformance of the fast path rests on: means over
independent chains within 4.5 standard errors, for each joint state and each marginal.
"""

import dataclasses

import numpy as np
import pytest

import boltzspike as bs
from boltzspike.engines import get_engine
from boltzspike.program import compile_program
from boltzspike.samples import Record
from boltzspike.theory.exact import all_states

S1 = bs.presets.S1
CHAINS = 64
STANDARD_ERRORS = 4.5


def coupled_program(*, plasticity="renewing"):
    weights = np.array([
        [0, 2, -1, 0, 1], [2, 0, 0, -2, 0], [-1, 0, 0, 2, 2], [0, -2, 2, 0, -1], [1, 0, 2, -1, 0],
    ]) * 1e-3  # fmt: skip
    neurons = [dataclasses.replace(S1.neuron, v_rest=v) for v in (-50.5, -47.5, -51.0, -50.0, -40.0)]
    network = bs.SpikingNetwork(
        neurons=neurons, backgrounds=S1.background, weights=weights, synapse=bs.Synapse(plasticity=plasticity)
    )
    return compile_program(network)


def occupancy(program, *, seed, steps=100_000, engine="numba", held_apart=None):
    """Return the share of time in each joint state, (chains, 2^n); ``held_apart``: steps for which z is 1."""
    runner = get_engine(engine, threads=1).prepare(program)
    _, state = runner.run(runner.init(seed=seed, chains=CHAINS), 2000, Record())
    spikes = runner.run(state, steps, Record(spikes=True))[0].spikes
    if held_apart is not None:
        spikes = dataclasses.replace(spikes, refractory_steps=np.full(program.n_units, held_apart))
    return spikes.joint()


def passes(a, b):
    """Return whether two samples agree, in the joint states and in the marginals."""
    found = []
    for x, y in (
        (a, b),
        (a @ all_states(a.shape[1].bit_length() - 1), b @ all_states(b.shape[1].bit_length() - 1)),
    ):
        error = np.sqrt((x.var(axis=0, ddof=1) + y.var(axis=0, ddof=1)) / CHAINS)
        found.append(bool(np.all(np.abs(x.mean(axis=0) - y.mean(axis=0)) <= STANDARD_ERRORS * error)))
    return tuple(found)


@pytest.fixture(scope="module")
def right():
    return occupancy(coupled_program(), seed=1)


@pytest.fixture(scope="module")
def reference_steps():
    runner = get_engine("reference").prepare(coupled_program())
    return runner.run(runner.init(seed=5, chains=3), 5000, Record(spikes=True))[0].spikes.step


def test_the_gate_lets_the_same_program_pass(right):
    assert passes(right, occupancy(coupled_program(), seed=2)) == (True, True)
    assert passes(right, occupancy(coupled_program(), seed=3, steps=10_000, engine="numba-exact")) == (True, True)


def test_it_catches_one_step_more_of_refractoriness():
    """With z on for as long as the neuron is held, a step more raises p(z=1) by .0013 at .68: 48 units show it."""
    neuron = dataclasses.replace(S1.neuron, v_rest=-50.0)
    program = compile_program(
        bs.SpikingNetwork(neurons=neuron, backgrounds=S1.background, weights=np.zeros((48, 48)))
    )
    longer = dataclasses.replace(program, refractory_steps=program.refractory_steps + 1)
    on = []
    for seed, p in enumerate((program, program, longer)):
        runner = get_engine("numba", threads=1).prepare(p)
        _, state = runner.run(runner.init(seed=seed, chains=CHAINS), 2000, Record())
        z = runner.run(state, 800_000, Record(states_every=100))[0].states.mean(axis=(1, 2))
        on.append(np.stack([1 - z, z], axis=1))
    assert passes(on[0], on[1]) == (True, True)
    assert passes(on[0], on[2]) == (False, False)


def test_it_catches_a_neuron_held_one_step_longer_than_z(right):
    """As in NEST: 1 % of p where a neuron fires at every chance."""
    program = coupled_program()
    longer = dataclasses.replace(program, refractory_steps=program.refractory_steps + 1)
    assert passes(right, occupancy(longer, seed=2, held_apart=100)) == (False, False)


def test_it_catches_additive_synapses_for_renewing_ones(right):
    assert passes(right, occupancy(coupled_program(plasticity="additive"), seed=2)) == (False, False)


def test_it_catches_noise_that_two_units_share():
    """In the joint states alone: each unit for itself is as it should be."""
    two = {"neurons": dataclasses.replace(S1.neuron, v_rest=-50.0), "weights": np.zeros((2, 2))}
    private = compile_program(bs.SpikingNetwork(backgrounds=S1.background, **two))
    pool = bs.SharedBackground(rates=S1.background.rates, weights=np.tile(S1.background.weights, (2, 1)))
    silent = bs.PoissonBackground(rates=[], weights=[])
    shared = compile_program(bs.SpikingNetwork(backgrounds=silent, shared=pool, **two))
    a, b = (occupancy(program, seed=k, steps=10_000) for k, program in enumerate((private, shared)))
    assert passes(a, b) == (False, True)


@pytest.mark.parametrize(
    "mutation",
    [
        lambda p: {"refractory_steps": p.refractory_steps + 1},
        lambda p: {"delay_steps": p.delay_steps + 1},
        lambda p: {"features": p.features - {"renewing"} | {"additive"}},
        lambda p: {"tau_syn_exc": p.tau_syn_exc * 1.0001},
        lambda p: {"v_thresh": p.v_thresh + 1e-4},
    ],
    ids=["refractory", "delay", "additive", "tau_syn", "threshold"],
)
def test_the_comparison_of_spikes_catches_what_statistics_would_not(mutation, reference_steps):
    program = coupled_program()
    mutated = dataclasses.replace(program, **mutation(program))
    found = []
    for p in (program, mutated):
        runner = get_engine("numba-exact", threads=1).prepare(p)
        found.append(runner.run(runner.init(seed=5, chains=3), 5000, Record(spikes=True))[0].spikes.step)
    assert np.array_equal(found[0], reference_steps)
    assert not np.array_equal(found[1], reference_steps)
