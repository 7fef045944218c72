import dataclasses

import numpy as np
import pytest

import boltzspike as bs
from boltzspike.errors import ValidationError


def test_the_public_face_is_there():
    for name in bs.__all__:
        assert hasattr(bs, name)


def test_the_bias_of_five_unit_machines_is_at_the_level_of_the_psp_rule(rng, s1_calibration):
    """Beta-distributed weights within +-.6, as in the papers; measured beforehand: .0080 (8 targets)."""
    biases = []
    for seed in range(4):
        draw = 1.2 * (rng.beta(0.5, 0.5, size=(6, 5)) - 0.5)
        weights = np.triu(draw[:5], 1)
        machine = bs.BoltzmannMachine(weights=weights + weights.T, biases=draw[5])
        result = bs.sample(machine, calibration=s1_calibration, duration=1e4, chains=64, seed=seed, rule="psp")
        divergence = result.kl_divergence()
        assert divergence.error < 0.001
        biases.append(divergence.bias)
    assert 0.003 < np.mean(biases) < 0.015


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"duration": "5"}, "duration: must be > 0 ms, got '5'"),
        ({"dt": "a"}, "dt: must be > 0 ms, got 'a'"),
        ({"burn_in": None}, "burn_in: must be >= 0 ms, got None"),
        ({"draw_every": "1"}, "draw_every: must be > 0 ms, got '1'"),
        ({"engine": 3}, "engine: must be the name of an engine, or an Engine, got 3"),
        ({"initial": 5}, "initial: must be an Initial, got 5"),
        ({"duration": True}, "duration: must be > 0 ms, got True"),
    ],
)
def test_what_is_no_number_and_no_engine_is_named(options, message, random_machine, s1_calibration):
    with pytest.raises(ValidationError, match=message):
        bs.sample(random_machine(3), calibration=s1_calibration, **options)


def test_a_calibration_of_continuous_time_is_warned_of_at_long_steps(random_machine, s1_calibration):
    with pytest.warns(bs.BoltzspikeWarning, match="dt: 0.5 ms is longer than tau_syn/50 = 0.2 ms"):
        bs.sample(random_machine(3), calibration=s1_calibration, dt=0.5, duration=1e3, chains=16, rule="psp")
    bs.sample(random_machine(3), calibration=s1_calibration, dt=0.2, duration=1e3, chains=16, rule="psp")


def test_the_result_has_the_shapes_it_promises(random_machine, s1_calibration):
    result = bs.sample(random_machine(3), calibration=s1_calibration, duration=1000, chains=5, burn_in=100)
    assert result.states.dims == ("chain", "draw", "unit")
    assert result.states.shape == (5, 100, 3)
    assert result.marginals() == pytest.approx(result.z.mean(axis=(0, 1)))
    assert result.marginals_error().shape == (3,)
    assert result.joint().shape == (8,)
    assert result.joint().sum() == pytest.approx(1)
    assert result.pairs().shape == result.pairs_error().shape == (3, 3)
    assert result.speed > 0


def test_the_same_seed_gives_the_same_samples_in_any_number_of_passes(random_machine, s1_calibration):
    machine = random_machine(3)
    options = {"calibration": s1_calibration, "duration": 777.0, "burn_in": 100}
    steps = []
    first = bs.sample(
        machine, chains=4, threads=1, progress=lambda done, total: steps.append((done, total)), **options
    )
    second = bs.sample(machine, chains=6, threads=2, **options)
    assert np.array_equal(first.z, second.z[:4])
    assert steps[-1] == (7770, 7770)
    assert not np.array_equal(first.z, bs.sample(machine, chains=4, seed=2, **options).z)


@pytest.mark.parametrize("clamping", ["bias", "spikes"])
def test_evidence_is_seen_by_the_neighbours(clamping, s1_calibration):
    machine = bs.BoltzmannMachine(
        weights=[[0, 1.0, 0], [1.0, 0, -1.0], [0, -1.0, 0]], biases=[0, 0.2, 0], names=["a", "b", "c"]
    )
    result = bs.sample(
        machine, calibration=s1_calibration, clamp={"a": 1, 2: 0}, clamping=clamping, duration=5000, chains=32
    )
    expected = 1 / (1 + np.exp(-1.2))
    assert result.marginals()[0] == 1
    assert result.marginals()[2] == 0
    assert abs(result.marginals()[1] - expected) < 0.03 + 4 * result.marginals_error()[1]
    assert list(result.exact().marginals) == pytest.approx([1, expected, 0])
    assert len(result.network.neurons) == (1 if clamping == "bias" else 3)


def test_a_simulated_calibration_holds_for_its_own_dt_only(random_machine, s1_calibration):
    simulated = dataclasses.replace(s1_calibration, dt=0.2)
    with pytest.raises(ValidationError, match="dt: must be 0.2 ms, that of the calibration, got 0.1"):
        bs.sample(random_machine(2), calibration=simulated)


@pytest.mark.filterwarnings("ignore:dt. .* is longer than tau_syn")
@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"duration": 0.0}, "duration: must be > 0 ms"),
        ({"duration": np.nan}, "duration: must be > 0 ms"),
        ({"duration": 1.0}, r"duration: must be at least 10 ms \(one draw\), got 1.0"),
        ({"duration": -1.0}, "duration: must be > 0 ms"),
        ({"duration": 1e12}, "duration: must leave the run within this machine's .* GiB of memory.* for states"),
        ({"duration": 1e300}, r"duration: must be at most 7.04e\+12 ms \(2\^46 steps\), got 1e\+300"),
        ({"duration": 1e14, "record": "moments"}, "duration: must be at most 7.04e"),
        ({"burn_in": 1e300}, "burn_in: must be at most 7.04e"),
        ({"dt": 0.3}, "dt: must be a whole part of tau_refrac = 10 ms, got 0.3"),
        ({"dt": 0.3, "draw_every": 0.3}, "tau_refrac: must be a multiple of dt = 0.3 ms"),
        ({"dt": 0.0}, "dt: must be > 0 ms"),
        ({"dt": -0.1}, "dt: must be > 0 ms"),
        ({"dt": np.nan}, "dt: must be > 0 ms"),
        ({"dt": 5.0}, "dt: must be at most"),
        ({"seed": 2**64}, "seed: must be an integer in 0"),
        ({"seed": 1.5}, "seed: must be an integer in 0"),
        ({"chains": 2**21}, "chains: must be an integer in 1"),
        ({"record": "raster"}, "record: must be 'states', 'moments', 'joint' or a Record, got 'raster'"),
        ({"record": bs.Record(joint=(0, 2))}, r"Record.joint: must be different units in 0 .. 1, got \(0, 2\)"),
        ({"record": bs.Record(pairs_every=0)}, "Record.pairs_every: must be None or a number of steps"),
        ({"record": "moments", "engine": "gibbs"}, "record: must be 'states' with the engine 'gibbs'"),
        ({"resume": "/nonexistent.npz"}, "nonexistent.npz: can't be read: No such file"),
        ({"checkpoint": "/nonexistent/c.npz"}, "the folder '/nonexistent' does not exist"),
        ({"chains": 0}, "chains: must be an integer in 1"),
        ({"chains": 2.5}, "chains: must be an integer in 1"),
        ({"seed": -1}, "seed: must be an integer in 0"),
        ({"threads": 0}, "threads: must be in 1 .. "),
        ({"threads": 1_000_000}, "threads: must be in 1 .. "),
        ({"burn_in": -1.0}, "burn_in: must be >= 0 ms"),
        ({"engine": "nmuba"}, "no engine named 'nmuba'; did you mean 'numba'"),
        ({"clamping": "hard"}, "clamping: must be 'bias' or 'spikes'"),
        ({"draw_every": 0.05}, "draw_every: must be a multiple of dt"),
        ({"clamp": {"q": 1}}, "no unit named 'q'"),
    ],
)
def test_a_bad_argument_is_named(random_machine, s1_calibration, values, message):
    with pytest.raises(ValidationError, match=message):
        bs.sample(random_machine(2), calibration=s1_calibration, **({"duration": 100.0} | values))


def test_reference_and_numba_engines_agree_through_the_pipeline(random_machine, s1_calibration):
    machine = random_machine(3)
    results = [
        bs.sample(machine, calibration=s1_calibration, engine=engine, duration=500, chains=64, burn_in=100)
        for engine in ("reference", "numba")
    ]
    difference = results[0].marginals() - results[1].marginals()
    error = np.hypot(results[0].marginals_error(), results[1].marginals_error())
    assert np.all(np.abs(difference) < 4 * error)
