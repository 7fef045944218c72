"""What every engine gathers on the way, against what follows from the states and spikes of the same run."""

import dataclasses
import itertools

import numpy as np
import pytest

import boltzspike as bs
from boltzspike.engines import REGISTRY, get_engine
from boltzspike.gathered import Bins
from boltzspike.program import compile_program
from boltzspike.samples import Energy, Record, Samples

ENGINES = list(REGISTRY)
UNITS = [5, 60]
"""Chains as lanes and units as lanes, in the numba engine."""
DRAWN = bs.RandomRefractory(sd=0.8)
"""Refractory periods drawn anew after each spike."""
CHAINS, STEPS, BURN_IN = 18, 1503, 211
BINS = Bins(width=7, number=40, gap=3, longest=4)
EVERYTHING = Record(states_every=10, spikes=True, occupancy=True, pairs_every=15, joint=(4, 0, 2), intervals=BINS)


def network_of(n, refractory=None):
    weights = np.random.default_rng(n).normal(size=(n, n)) * 0.003 / np.sqrt(n)
    np.fill_diagonal(weights, 0)
    # units that fire at every chance, seldom, and in between
    v_rest = np.linspace(-54, -44, n)
    neurons = [dataclasses.replace(bs.presets.S1.neuron, v_rest=v, tau_refrac=(2.0, 3.5)[k % 2],
                                    refractory=refractory)
               for k, v in enumerate(v_rest)]  # fmt: skip
    return bs.SpikingNetwork(neurons=neurons, backgrounds=bs.presets.S1.background, weights=weights)


def energy_of(n):
    rng = np.random.default_rng(3)
    weights = rng.normal(size=(n, n))
    return Energy(every=6, weights=np.triu(weights, 1) + np.triu(weights, 1).T, biases=rng.normal(size=n))


CASES = [
    *(
        # a state of NEST's is reached by simulating anew, so short passes take minutes
        pytest.param(
            case,
            marks=[pytest.mark.gpu] * (case[0] == "cuda")
            + [pytest.mark.slow] * (case[0] == "nest" and case[1] > 5),
        )
        for case in itertools.product(ENGINES, UNITS, [None])
    ),
    ("reference", 5, DRAWN),
    ("numba-exact", 5, DRAWN),
]


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case[0]}-{case[1]}{'-drawn' if case[2] else ''}")
def started(request):
    """Return a runner, a state after some steps, and the full raster of the run that follows."""
    engine, n, refractory = request.param
    runner = get_engine(engine, threads=2).prepare(compile_program(network_of(n, refractory)))
    _, state = runner.run(runner.init(seed=4, chains=CHAINS), BURN_IN, Record())
    raster, _ = runner.run(state, STEPS, Record(states_every=1, spikes=True))
    return runner, state, raster


def record_of(raster, **more):
    return dataclasses.replace(EVERYTHING, energy=energy_of(raster.packed.n_units), **more)


def draws(raster, every):
    after = np.arange(raster.start, raster.stop) + 1
    return raster.states[:, after % every == 0]


@pytest.fixture(scope="module")
def gathered(started):
    runner, state, raster = started
    return runner.run(state, STEPS, record_of(raster))[0]


def test_states_are_those_of_the_raster_a_bit_each(started, gathered):
    raster = started[2]
    assert np.array_equal(gathered.states, draws(raster, 10))
    assert gathered.packed.bits.shape[-1] == -(-raster.packed.n_units // 8)


def test_occupancy_counts_every_step(started, gathered):
    assert 0.1 < started[2].states.mean() < 0.9
    occupancy = gathered.gathered.occupancy
    assert np.array_equal(occupancy.on[:, 0], started[2].states.sum(axis=1, dtype=np.int64))
    assert list(occupancy.steps) == [STEPS]


def test_pairs_count_draws_of_all_chains(started, gathered):
    z = draws(started[2], 15).reshape(-1, started[2].packed.n_units).astype(np.int64)
    pairs = gathered.gathered.pairs
    assert np.array_equal(pairs.counts, z.T @ z)
    assert pairs.draws == len(z)


def test_joint_counts_every_step_of_each_chain(started, gathered):
    codes = started[2].states[..., [4, 0, 2]] @ np.array([4, 2, 1])
    expected = np.stack([np.bincount(chain, minlength=8) for chain in codes])
    assert np.array_equal(gathered.gathered.joint.steps, expected)


def test_energies_are_those_of_the_draws(started, gathered):
    raster = started[2]
    energy = energy_of(raster.packed.n_units)
    z = draws(raster, 6).astype(float)
    expected = -(np.einsum("cdi,ij,cdj->cd", z, energy.weights, z) / 2 + z @ energy.biases)
    assert gathered.energies == pytest.approx(expected, rel=1e-12, abs=1e-10)


def test_intervals_and_bursts_count_every_spike(started, gathered):
    spikes = started[2].spikes
    n = started[2].packed.n_units
    intervals, bursts = np.zeros((n, BINS.number)), np.zeros((n, BINS.longest))
    for c, k in np.ndindex(CHAINS, n):
        of_neuron = (spikes.chain == c) & (spikes.unit == k)
        times = [spikes.before[c, k], *spikes.step[of_neuron]]
        lasting = [spikes.lasting_before[c, k], *spikes.lasting[of_neuron]]
        length = None  # until the first burst begins
        for earlier, later, held in zip(times, times[1:], lasting):
            interval = later - earlier
            never = earlier < -1e9
            if not never:
                intervals[k, min(interval // 7, 39)] += 1
            if never or interval > held + 3:
                if length is not None:
                    bursts[k, min(length, 4) - 1] += 1
                length = 1
            elif length is not None:
                length += 1
    assert np.array_equal(gathered.gathered.intervals.intervals, intervals)
    assert np.array_equal(gathered.gathered.intervals.bursts, bursts)
    assert bursts[:, 0].sum() > 0
    assert bursts[:, 3].sum() > 0


def test_voltages_are_those_of_the_chosen_units(started):
    runner, state, raster = started
    chosen = runner.run(state, 150, record_of(raster, voltages=(3, 1)))[0]
    whole = runner.run(state, 150, Record(voltages=True))[0].voltages
    assert np.array_equal(chosen.voltages, whole[..., [3, 1]])
    assert np.array_equal(chosen.states, draws(raster, 10)[:, : chosen.states.shape[1]])


def test_a_run_that_keeps_nothing_else_gathers_the_same(started, gathered):
    runner, state, raster = started
    record = record_of(raster, spikes=False, states_every=None)
    alone = runner.run(state, STEPS, record)[0]
    assert alone.states is None
    assert alone.spikes is None
    assert_same(alone.gathered, gathered.gathered)
    assert np.array_equal(alone.energies, gathered.energies)


def test_parts_add_up_to_the_whole(started, gathered):
    runner, state, raster = started
    parts = []
    for steps in (1, 700, 0, 13, 789):
        part, state = runner.run(state, steps, record_of(raster))
        parts.append(part)
    joined = Samples.join(parts)
    assert_same(joined.gathered, gathered.gathered)
    assert np.array_equal(joined.energies, gathered.energies)
    assert np.array_equal(joined.packed.bits, gathered.packed.bits)


def test_short_passes_change_no_count(started, gathered, monkeypatch):
    runner, state, raster = started
    monkeypatch.setattr("boltzspike.samples.PASS_BYTES", 2**14)
    record = record_of(raster)
    assert record.steps_a_pass(CHAINS, raster.packed.n_units, 20) < STEPS / 2
    pieces = runner.run(state, STEPS, record)[0]
    assert_same(pieces.gathered, gathered.gathered)
    assert np.array_equal(pieces.energies, gathered.energies)
    assert np.array_equal(pieces.states, gathered.states)


def assert_same(got, expected):
    for name, fields in (
        ("occupancy", ("on", "steps")),
        ("pairs", ("counts", "draws")),
        ("joint", ("steps",)),
        ("intervals", ("intervals", "bursts", "carried_on", "last_burst")),
    ):
        for field in fields:
            a, b = getattr(getattr(got, name), field), getattr(getattr(expected, name), field)
            assert np.array_equal(a, b), f"{name}.{field}"
