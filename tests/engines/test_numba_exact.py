"""The exact path of the numba engine emits the reference engine's spikes."""

import dataclasses

import numpy as np
import pytest

import boltzspike as bs
from boltzspike.engines.numba.exact import ExactRunner
from boltzspike.engines.reference import ReferenceRunner
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
    record = Record(spikes=True, states_every=9, voltages=True)
    reference, exact = ReferenceRunner(program), ExactRunner(program, threads=2)
    expected, _ = reference.run(reference.init(seed=2**40 + 3, chains=3), 3000, record)
    got, _ = exact.run(exact.init(seed=2**40 + 3, chains=3), 3000, record)
    assert len(expected.spikes.step) > 100
    for field in ("chain", "unit", "step"):
        assert np.array_equal(getattr(got.spikes, field), getattr(expected.spikes, field))
    assert np.array_equal(got.states, expected.states)
    assert got.voltages == pytest.approx(expected.voltages, abs=1e-9)
