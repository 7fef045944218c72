"""The gates of the fast engine: its bias on p(z=1) and on a joint distribution, against the exact path.

The exact path emits the reference engine's spikes (test_numba_exact.py), so it stands for both. Bounds: 5e-4 where
the background has 3000 Hz, 1e-3 at lower rates, plus two standard errors of the difference, from chains.
"""

import dataclasses

import numpy as np
import pytest

import boltzspike as bs
from boltzspike.engines.numba.exact import ExactRunner
from boltzspike.engines.numba.fast import FastRunner
from boltzspike.program import compile_program
from boltzspike.samples import Record
from boltzspike.theory.membrane import leverage, membrane_statistics

pytestmark = pytest.mark.slow

S1, S5A = bs.presets.S1, bs.presets.S5a
DEVIATIONS = np.array([-2.6, -1.8, -1.2, -0.6, 0.0, 0.6, 1.2, 1.9])
"""Of the mean potential from threshold, in sigma: p from .01 to .99."""
CHAINS, EXACT_STEPS, FAST_STEPS, BURN_IN = 32, 400_000, 1_000_000, 3000


def with_background(preset, rates, weights):
    return dataclasses.replace(preset, background=bs.PoissonBackground(rates=rates, weights=weights))


MODES = {
    "eight-point": (S1, 5e-4),
    "eight-point, currents": (with_background(S5A, [3000.0, 3000.0], [0.12, -0.12]), 5e-4),
    "three-point": (with_background(S1, [1000.0, 1000.0], [0.00173, -0.00173]), 1e-3),
    "exact Poisson": (with_background(S1, [400.0, 400.0], [0.002, -0.0025]), 1e-3),
    "fine three-point": (with_background(S1, [400.0, 1600.0, 400.0], [0.002, 0.0007, -0.0035]), 1e-3),
}
"""Background and bound by the law that is chosen for it."""


def uncoupled(preset, tau_refrac=10.0):
    """Return two copies of a unit at each of the potentials."""
    statistics = membrane_statistics(preset.neuron, preset.background)
    shift = preset.neuron.v_thresh + DEVIATIONS * statistics.sigma - statistics.mu
    v_rest = preset.neuron.v_rest + shift / leverage(preset.neuron, preset.background, "v_rest")
    neurons = [dataclasses.replace(preset.neuron, v_rest=v, tau_refrac=tau_refrac) for v in np.tile(v_rest, 2)]
    return compile_program(
        bs.SpikingNetwork(neurons=neurons, backgrounds=preset.background, weights=np.zeros((16, 16)))
    )


def coupled(plasticity="renewing"):
    weights = np.random.default_rng(8).normal(0, 0.0015, (5, 5))
    weights = np.triu(weights, 1) + np.triu(weights, 1).T
    neuron = dataclasses.replace(S1.neuron, v_rest=-50.7)
    synapse = bs.Synapse(plasticity=plasticity)
    return compile_program(
        bs.SpikingNetwork(neurons=neuron, backgrounds=S1.background, weights=weights, synapse=synapse)
    )


def response(runner, steps, seed):
    """Return spikes a step times 100 (10 ms), (chains, potentials): less than p if neurons are held too long."""
    _, state = runner.run(runner.init(seed=seed, chains=CHAINS), BURN_IN, Record())
    samples, _ = runner.run(state, steps, Record(spikes=True))
    return samples.spikes.rates(0.1).reshape(CHAINS, 2, -1).mean(axis=1) * 0.01


def joint(runner, steps, seed, *, state=None):
    """Return the share of time in each of 32 joint states, (chains, 32)."""
    start = runner.init(seed=seed, chains=CHAINS) if state is None else state
    _, state = runner.run(start, BURN_IN, Record())
    samples, _ = runner.run(state, steps, Record(states_every=50))
    codes = samples.states @ (1 << np.arange(4, -1, -1))
    return np.stack([np.bincount(chain, minlength=32) / len(chain) for chain in codes])


def excess(a, b, errors):
    """Return by how much means over chains differ beyond so many standard errors; at most 0: they don't."""
    error = np.sqrt(a.var(axis=0, ddof=1) / len(a) + b.var(axis=0, ddof=1) / len(b))
    return np.abs(a.mean(axis=0) - b.mean(axis=0)) - errors * error


@pytest.fixture(scope="module")
def exact_response():
    """Return the exact path's response in a mode; it is simulated once."""
    found = {}

    def of(mode):
        if mode not in found:
            found[mode] = response(ExactRunner(uncoupled(MODES[mode][0]), threads=2), EXACT_STEPS, seed=21)
            p = found[mode].mean(axis=0)
            assert 0.003 < p[0] < 0.03
            assert 0.97 < p[-1] < 0.998
        return found[mode]

    return of


@pytest.fixture(scope="module")
def exact_joint():
    return joint(ExactRunner(coupled(), threads=2), EXACT_STEPS, seed=22)


@pytest.mark.parametrize("layout", ["chains", "units"])
@pytest.mark.parametrize("mode", MODES)
def test_the_response_is_the_exact_one_within_the_stated_bias(mode, layout, exact_response):
    preset, bound = MODES[mode]
    runner = FastRunner(uncoupled(preset), threads=2, layout=layout)
    assert f"noise: {mode.split(',')[0]}," in runner.approximation
    fast = response(runner, FAST_STEPS, seed=23)
    assert excess(exact_response(mode), fast, 2.0).max() <= bound


@pytest.mark.parametrize("mode", ["eight-point", "eight-point, currents", "three-point", "fine three-point"])
def test_the_law_of_the_background_moves_the_response_by_no_more_than_is_stated(mode):
    """Both on the fast path: so long runs are cheap, and standard errors below half the bound."""
    preset, bound = MODES[mode]
    program = uncoupled(preset)
    law, exact = (
        response(FastRunner(program, threads=2, law=name), 10 * FAST_STEPS, seed=seed)
        for name, seed in ((None, 25), ("exact Poisson", 26))
    )
    error = np.sqrt(law.var(axis=0, ddof=1) / CHAINS + exact.var(axis=0, ddof=1) / CHAINS)
    assert error.max() < bound
    assert excess(law, exact, 2.0).max() <= bound


@pytest.mark.parametrize("layout", ["chains", "units"])
def test_the_joint_distribution_of_five_units_is_the_exact_one(layout, exact_joint):
    fast = joint(FastRunner(coupled(), threads=2, layout=layout), FAST_STEPS, seed=24)
    # of 32 states one may lie outside of two standard errors; 3.5 is a false alarm in 70
    assert excess(exact_joint, fast, 3.5).max() <= 0


@pytest.mark.parametrize("layout", ["chains", "units"])
def test_the_gate_sees_one_step_more_of_refractory_time(layout, exact_response):
    longer = FastRunner(uncoupled(S1, tau_refrac=10.1), threads=2, layout=layout)
    assert excess(exact_response("eight-point"), response(longer, FAST_STEPS, seed=23), 2.0).max() > 5e-4


@pytest.mark.parametrize("layout", ["chains", "units"])
def test_the_gate_sees_additive_synapses_in_place_of_renewing_ones(layout, exact_joint):
    additive = FastRunner(coupled("additive"), threads=2, layout=layout)
    assert excess(exact_joint, joint(additive, FAST_STEPS, seed=24), 3.5).max() > 0


def test_the_gate_sees_noise_that_two_units_share(exact_joint):
    runner = FastRunner(coupled(), threads=2, layout="units")
    state = runner.init(seed=24, chains=CHAINS)
    generator = state.generator.reshape(CHAINS, 4, 8).copy()
    generator[:, :, 1] = generator[:, :, 0]
    shared = dataclasses.replace(state, generator=generator.reshape(CHAINS, 32))
    assert excess(exact_joint, joint(runner, FAST_STEPS, seed=24, state=shared), 3.5).max() > 0
