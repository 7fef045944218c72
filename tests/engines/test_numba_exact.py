"""The exact path of the numba engine emits the reference engine's spikes."""

import dataclasses

import numpy as np
import pytest
from scipy.sparse import csr_array

import boltzspike as bs
from boltzspike.engines.numba.exact import ExactRunner
from boltzspike.engines.reference import ReferenceRunner
from boltzspike.inputs import Initial
from boltzspike.program import compile_program
from boltzspike.samples import Record


@pytest.mark.parametrize("preset", [bs.presets.S1, bs.presets.S5a], ids=["conductance", "current"])
@pytest.mark.parametrize(("plasticity", "delay"), [("renewing", 0.1), ("additive", 0.4)])
@pytest.mark.parametrize(
    ("clamp", "kernel"), [(None, "exponential"), ({1: 1, 2: 0}, "exponential"), (None, "alpha")]
)
def test_the_exact_path_emits_the_reference_spikes(preset, plasticity, delay, clamp, kernel):
    scale = 0.002 if preset is bs.presets.S1 else 0.2
    weights = np.random.default_rng(5).normal(size=(5, 5)) * scale
    np.fill_diagonal(weights, 0)
    backgrounds = [preset.background] * 4 + [
        bs.PoissonBackground(rates=[900.0] * 5 + [20_000.0], weights=[scale / 2, -scale / 2] * 3)
    ]
    network = bs.SpikingNetwork(
        neurons=dataclasses.replace(preset.neuron, kernel=kernel), backgrounds=backgrounds, weights=weights,
        synapse=bs.Synapse(plasticity=plasticity, delay=delay),
    )  # fmt: skip
    program = compile_program(network, clamp=clamp)
    assert_same_spikes(program)


def assert_same_spikes(program, *, steps=3000, initial=None):
    record = Record(spikes=True, states_every=9, voltages=True)
    reference, exact = ReferenceRunner(program), ExactRunner(program, threads=2)
    expected, _ = reference.run(reference.init(seed=2**40 + 3, chains=3, initial=initial), steps, record)
    got, _ = exact.run(exact.init(seed=2**40 + 3, chains=3, initial=initial), steps, record)
    assert len(expected.spikes.step) > 100
    for field in ("chain", "unit", "step", "before", "lasting", "lasting_before"):
        assert np.array_equal(getattr(got.spikes, field), getattr(expected.spikes, field))
    assert np.array_equal(got.states, expected.states)
    assert np.array_equal(got.spikes.states(9), got.states)
    assert got.voltages == pytest.approx(expected.voltages, abs=1e-9)


S1 = bs.presets.S1
SHORT_TERM = bs.Synapse(plasticity="tsodyks-markram", U=0.3, tau_rec=80.0, tau_fac=40.0, delay=0.5)
POOL = bs.SharedBackground(rates=[700.0] * 5, weights=np.random.default_rng(8).normal(0, 0.001, (5, 5)))
REPLAY = bs.ReplayedBackground(
    times=np.sort(np.random.default_rng(9).uniform(0, 50, 60)), sources=[0, 1, 2] * 20, duration=50.0,
    weights=csr_array(np.random.default_rng(10).normal(0, 0.002, (5, 3))), chain_shift=7.0,
)  # fmt: skip
SCHEDULE = [
    bs.Piecewise(quantity="v_rest", times=[20.0, 100.0, 200.0], values=[0.5, -0.5, 0.0], units=[0, 2]),
    bs.Piecewise(quantity="clamp", times=[0.0, 50.0, 130.0], values=[[1, -1], [-1, 0], [0, -1]], units=[1, 3]),
    bs.Piecewise(quantity="rate", times=[80.0], values=[1500.0], sources=[0]),
    bs.Wave(quantity="i_offset", amplitude=[0.1, 0.2, 0.0, 0.0, -0.1], frequency=7.0, phase=1.0),
    bs.Wave(quantity="rate", amplitude=2000.0, frequency=11.0, units=["z4"]),
]
RANDOM_PERIODS = [
    dataclasses.replace(S1.neuron, refractory=law)
    for law in (
        bs.RandomRefractory(sd=3.0), None, bs.RandomRefractory(law="uniform", sd=5.0),
        bs.RandomRefractory(sd=10.0), None,
    )
]  # fmt: skip
DELAYS = 0.1 * np.random.default_rng(4).integers(1, 40, (5, 5))


@pytest.mark.parametrize(
    "changes",
    [
        {"synapse": SHORT_TERM},
        {"synapse": bs.Synapse(plasticity="tsodyks-markram", U=0.7, tau_rec=30.0)},
        {"synapse": bs.Synapse(jitter=3.0, delay=0.5)},
        {"delays": DELAYS, "synapse": dataclasses.replace(SHORT_TERM, jitter=1.0)},
        {"sparse": True},
        {"delays": DELAYS},
        {"delays": DELAYS, "sparse": True, "synapse": SHORT_TERM},
        {"shared": POOL},
        {"shared": [REPLAY, POOL, dataclasses.replace(REPLAY, duration=70.0, chain_shift=0.0)]},
        {"neurons": RANDOM_PERIODS},
        {"neurons": dataclasses.replace(S1.neuron, tau_syn_exc=5.0, i_offset=3.0)},
        *({"schedule": course} for course in SCHEDULE),
        {"schedule": SCHEDULE, "shared": POOL, "neurons": RANDOM_PERIODS, "delays": DELAYS, "synapse": SHORT_TERM},
    ],
)
def test_the_exact_path_emits_the_reference_spikes_whatever_the_network_has(changes):
    weights = np.random.default_rng(5).normal(size=(5, 5)) * 0.003
    np.fill_diagonal(weights, 0)
    changes = dict(changes)
    if changes.pop("sparse", False):
        weights[2] = 0
        weights = csr_array(weights)
        if "delays" in changes:
            delays = weights.copy()
            delays.data = changes["delays"][weights.nonzero()]
            changes["delays"] = delays
    values = {"neurons": S1.neuron, "backgrounds": S1.background, "weights": weights}
    assert_same_spikes(compile_program(bs.SpikingNetwork(**(values | changes))))


@pytest.mark.parametrize("synapse", [bs.Synapse(), bs.Synapse(delay=2.0), bs.Synapse(jitter=2.0), SHORT_TERM])
@pytest.mark.parametrize("kernel", ["exponential", "alpha"])
def test_the_exact_path_starts_where_the_reference_does(synapse, kernel):
    weights = np.random.default_rng(5).normal(size=(5, 5)) * 0.01
    np.fill_diagonal(weights, 0)
    neuron = dataclasses.replace(S1.neuron, kernel=kernel)
    network = bs.SpikingNetwork(neurons=neuron, backgrounds=S1.background, weights=weights, synapse=synapse)
    initial = Initial(v=np.linspace(-60, -49, 5), last_spike=-np.arange(1, 16).reshape(3, 5))
    assert_same_spikes(compile_program(network), steps=2000, initial=initial)
