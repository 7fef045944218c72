"""The fast path against the exact one, against theory, and against itself."""

import dataclasses

import numpy as np
import pytest

from boltzspike.engines.numba.exact import ExactRunner
from boltzspike.engines.numba.fast import FastRunner, unsupported
from boltzspike.engines.numba.noise import LAWS, background_noise, cumulant, eight_point
from boltzspike.engines.numba.row import FIELDS, ROW, V
from boltzspike.engines.numba.scaled import aligned, relaxation
from boltzspike.model.background import PoissonBackground
from boltzspike.model.network import SpikingNetwork
from boltzspike.model.presets import S1, S2, S5a
from boltzspike.model.synapse import Synapse
from boltzspike.program import compile_program
from boltzspike.samples import Record
from boltzspike.theory.membrane import membrane_statistics

LAYOUTS = ["chains", "units"]
DEPRESSING = {"plasticity": "tsodyks-markram", "U": 1.0, "tau_rec": 30.0}
STANDARD_ERRORS = 4.5
NOISE_BIAS = 2e-4
"""Of p(z=1), by the law of the background: docs/engines.md."""


def symmetric(n, sd, seed=0):
    w = np.triu(np.random.default_rng(seed).normal(0, sd, (n, n)), 1)
    return w + w.T


def network(preset, weights, *, clamp=None, **synapse):
    return compile_program(
        SpikingNetwork(
            neurons=preset.neuron, backgrounds=preset.background, weights=weights, synapse=Synapse(**synapse)
        ),
        clamp=clamp,
    )


def diverse_program(n, *, conductance=True, tau_syn=None, seed=3, **synapse):
    """No two units alike, no background: every unit is driven over threshold by a current."""
    rng = np.random.default_rng(seed)
    neurons = []
    for _ in range(n):
        changes = {
            "c_m": rng.uniform(0.1, 0.3), "tau_m": rng.uniform(1, 5), "v_rest": rng.uniform(-55, -50),
            "v_thresh": rng.uniform(-50, -48), "v_reset": rng.uniform(-56, -51),
            "tau_refrac": 0.1 * rng.integers(1, 120),
        }  # fmt: skip
        exc, inh = tau_syn or (rng.choice([5.0, 10.0]), rng.choice([7.0, 12.0]))
        changes |= {"tau_syn_exc": exc, "tau_syn_inh": inh}
        neuron = dataclasses.replace((S1 if conductance else S5a).neuron, **changes)
        over = rng.uniform(1.05, 1.5) * (neuron.v_thresh - neuron.v_rest) * neuron.c_m / neuron.tau_m
        neurons.append(dataclasses.replace(neuron, i_offset=over))
    weights = rng.normal(0, 1e-4 if conductance else 2e-3, (n, n)) * (rng.random((n, n)) < 0.7)
    np.fill_diagonal(weights, 0)
    silent = PoissonBackground(rates=[], weights=[])
    return compile_program(
        SpikingNetwork(neurons=neurons, backgrounds=silent, weights=weights, synapse=Synapse(**synapse))
    )


def chain_means(runner, program, *, steps, seed, chains=32, burn_in=1000):
    """Return the share of time in each joint state, (chains, 2^n)."""
    state = runner.init(seed=seed, chains=chains)
    _, state = runner.run(state, burn_in, Record())
    samples, _ = runner.run(state, steps, Record(states_every=20))
    n = program.n_units
    codes = samples.states @ (1 << np.arange(n - 1, -1, -1))
    return np.stack([np.bincount(chain, minlength=2**n) / len(chain) for chain in codes])


def assert_same_means(a, b, *, bias=0.0):
    """Compare means over the first axis, whose entries are independent."""
    error = np.sqrt(a.var(axis=0, ddof=1) / len(a) + b.var(axis=0, ddof=1) / len(b))
    assert np.all(np.abs(a.mean(axis=0) - b.mean(axis=0)) <= STANDARD_ERRORS * error + bias)


def assert_same_run(a, b):
    assert np.array_equal(a.states, b.states)
    for field in ("chain", "unit", "step", "before"):
        assert np.array_equal(getattr(a.spikes, field), getattr(b.spikes, field)), field


def assert_same_state(a, b):
    for field in dataclasses.fields(a):
        assert np.array_equal(getattr(a, field.name), getattr(b, field.name)), field.name


# Without noise


@pytest.mark.parametrize(
    ("layout", "options"),
    [
        ("chains", {}),
        ("chains", {"delay": 1.5}),
        ("chains", {"plasticity": "additive"}),
        ("chains", DEPRESSING),
        ("units", DEPRESSING | {"delay": 1.5}),
        ("chains", {"conductance": False}),
        ("units", {"tau_syn": (10.0, 10.0)}),
        ("units", {"tau_syn": (20.0, 5.0)}),
        ("units", {"tau_syn": (5.0, 20.0), "delay": 1.5, "conductance": False}),
        ("units", {"plasticity": "additive"}),
    ],
)
def test_spikes_without_noise_come_within_a_step_of_the_exact_ones(layout, options):
    program = diverse_program(20, **options)
    assert_spikes_within_a_step(FastRunner(program, threads=1, layout=layout), program)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(("strength", "degree"), [(0.05, 4), (0.1, 5), (0.15, 6)])
def test_strong_synapses_take_a_polynomial_of_higher_degree(layout, strength, degree):
    program = program_with_a_hub(strength)
    runner = FastRunner(program, threads=1, layout=layout)
    assert runner.scaled.degree == degree
    assert_spikes_within_a_step(runner, program)


def program_with_a_hub(strength):
    """Unit 0 listens to all others, in uS, and they to none."""
    weights = np.zeros((20, 20))
    weights[0, 1:] = strength * np.resize([1, -1], 19)
    return diverse_program(20, tau_syn=(10.0, 10.0)).with_values(weights=weights)


def assert_spikes_within_a_step(fast, program):
    record = Record(spikes=True)
    spikes = []
    for runner in (ExactRunner(program, threads=1), fast):
        state = runner.init(seed=0, chains=2)
        samples, _ = runner.run(state, 3000, record)
        spikes.append(samples.spikes)
    assert len(spikes[0].step) > 1000
    for chain in range(2):
        for unit in range(20):
            times = [s.step[(s.chain == chain) & (s.unit == unit)] for s in spikes]
            together = min(len(times[0]), len(times[1]))
            assert abs(len(times[0]) - len(times[1])) <= 1
            assert np.all(np.abs(times[0][:together] - times[1][:together]) <= 1)


# Against theory


@pytest.mark.parametrize("layout", LAYOUTS)
def test_response_of_S1_is_the_published_one(layout):
    """Event-driven simulation, no time step: shared/science.md, section 4."""
    v_rest = np.array([-54.108, -52.739, -51.369, -50.685, -50.0, -49.315, -48.631, -47.946])
    p = np.array([0.00369, 0.05359, 0.28662, 0.48152, 0.68183, 0.83870, 0.93294, 0.97729])
    error = np.array([16, 35, 78, 81, 73, 54, 34, 17]) * 1e-5
    copies = 4
    program = network(S1, np.zeros((8 * copies, 8 * copies))).with_values(v_rest=np.tile(v_rest, copies))
    runner = FastRunner(program, threads=1, layout=layout)
    _, state = runner.run(runner.init(seed=2, chains=32), 1000, Record())
    samples, _ = runner.run(state, 40_000, Record(states_every=20))
    means = samples.states.mean(axis=1).reshape(32 * copies, 8)
    ours = means.std(axis=0, ddof=1) / np.sqrt(len(means))
    time_step = 1e-3
    difference = np.abs(means.mean(axis=0) - p)
    assert np.all(difference <= STANDARD_ERRORS * np.hypot(ours, error) + NOISE_BIAS + time_step)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("preset", [S1, S2, S5a], ids=lambda preset: preset.name)
def test_free_membrane_has_the_mean_and_variance_of_theory(preset, layout):
    statistics = membrane_statistics(preset.neuron, preset.background)
    below = statistics.g_tot * (preset.neuron.v_thresh - 8 * statistics.sigma_free - statistics.mu)
    neuron = dataclasses.replace(preset.neuron, i_offset=preset.neuron.i_offset + below)
    preset = dataclasses.replace(preset, neuron=neuron)
    statistics = membrane_statistics(neuron, preset.background)
    program = network(preset, np.zeros((16, 16)))
    runner = FastRunner(program, threads=1, layout=layout)
    state = runner.init(seed=6, chains=64)
    potentials = []
    for _ in range(60):  # 60 ms apart: independent
        samples, state = runner.run(state, 600, Record(spikes=True))
        assert len(samples.spikes.step) == 0
        v = state.dynamics.reshape(-1, runner.scaled.rows, FIELDS, ROW)[:, :, V]
        potentials.append(v.ravel().astype(float) + neuron.v_thresh)
    v = np.concatenate(potentials[2:])
    variance = v.var()
    assert abs(v.mean() - statistics.mu) <= STANDARD_ERRORS * np.sqrt(variance / len(v)) + 0.01 * np.sqrt(variance)
    # sigma_free is a linear theory: its error in a conductance-based neuron is that of theory/membrane.py
    assert abs(variance / statistics.sigma_free**2 - 1) <= STANDARD_ERRORS * np.sqrt(2 / len(v)) + 0.03


# Against the exact path


@pytest.mark.parametrize(
    "synapse",
    [{}, {"plasticity": "additive"}, DEPRESSING, {"plasticity": "additive", "teeth": 5}],
    ids=["renewing", "additive", "TM", "teeth"],
)
@pytest.mark.parametrize("preset", [S1, S5a], ids=lambda preset: preset.name)
def test_joint_distribution_of_three_units_is_that_of_the_exact_path(preset, synapse):
    scale = 1.0 if preset is S1 else 200.0
    weights = scale * np.array([[0, 0.002, -0.003], [0.002, 0, 0.001], [-0.003, 0.001, 0]])
    program = network(preset, weights, **synapse)
    exact = chain_means(ExactRunner(program, threads=1), program, steps=20_000, seed=11)
    for layout in LAYOUTS[:1] if "delays" in program.features else LAYOUTS:
        fast = chain_means(FastRunner(program, threads=1, layout=layout), program, steps=100_000, seed=12)
        assert_same_means(exact, fast, bias=NOISE_BIAS)


def test_renewing_synapses_with_delays_of_their_own_are_those_of_the_exact_path():
    rng = np.random.default_rng(8)
    delays = 0.1 * rng.integers(1, 80, (4, 4))
    described = SpikingNetwork(
        neurons=S1.neuron, backgrounds=S1.background, weights=symmetric(4, 0.003, seed=8), delays=delays
    )
    program = compile_program(described)
    exact = chain_means(ExactRunner(program, threads=1), program, steps=20_000, seed=11)
    fast = chain_means(FastRunner(program, threads=1), program, steps=100_000, seed=12)
    assert_same_means(exact, fast, bias=NOISE_BIAS)


def test_low_rates_use_the_exact_law_and_agree_with_the_exact_path():
    background = PoissonBackground(rates=[400.0, 400.0], weights=[0.002, -0.0025])
    preset = dataclasses.replace(S1, background=background)
    program = network(preset, 0.5 * np.array([[0, 0.002, -0.003], [0.002, 0, 0.001], [-0.003, 0.001, 0]]))
    exact = chain_means(ExactRunner(program, threads=1), program, steps=20_000, seed=11)
    runner = FastRunner(program, threads=1)
    assert "exact Poisson" in runner.approximation
    assert_same_means(exact, chain_means(runner, program, steps=100_000, seed=12))


def test_layouts_agree_on_a_network_larger_than_a_row():
    program = network(S1, symmetric(37, 0.0006))
    p = []
    for layout in LAYOUTS:
        runner = FastRunner(program, threads=1, layout=layout)
        _, state = runner.run(runner.init(seed=4, chains=32), 1000, Record())
        samples, _ = runner.run(state, 20_000, Record(states_every=20))
        p.append(samples.states.mean(axis=1))
    assert_same_means(*p)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_clamped_units_are_always_on_or_off_and_act_on_the_others(layout):
    weights = np.array([[0, 0.003, -0.003], [0.003, 0, 0], [-0.003, 0, 0]])
    program = network(S1, weights, clamp={1: 1, 2: 0})
    exact = chain_means(ExactRunner(program, threads=1), program, steps=20_000, seed=11)
    fast = chain_means(FastRunner(program, threads=1, layout=layout), program, steps=60_000, seed=12)
    assert np.array_equal(np.flatnonzero(fast.sum(axis=0)), [0b010, 0b110])
    assert_same_means(exact, fast, bias=NOISE_BIAS)


# Against itself


@pytest.mark.parametrize("delay", [0.1, 0.7])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_splits_threads_and_other_chains_change_no_bit(layout, delay):
    program = network(S1, symmetric(21, 0.002), delay=delay, clamp={2: 1, 5: 0})
    record = Record(states_every=7, spikes=True)
    runner = FastRunner(program, threads=1, layout=layout)
    start = runner.init(seed=9, chains=40)
    whole, end = runner.run(start, 1001, record)

    parallel, parallel_end = FastRunner(program, threads=3, layout=layout).run(start, 1001, record)
    assert_same_run(whole, parallel)
    assert_same_state(end, parallel_end)

    parts, state = [], start
    for steps in (1, 6, 0, 333, 661):
        part, state = runner.run(state, steps, record)
        parts.append(part)
    assert_same_run(whole, type(whole).join(parts))
    assert_same_state(end, state)

    few, _ = runner.run(runner.init(seed=9, chains=3), 1001, record)
    assert np.array_equal(few.states, whole.states[:3])
    among = whole.spikes.chain < 3
    for field in ("chain", "unit", "step"):
        assert np.array_equal(getattr(few.spikes, field), getattr(whole.spikes, field)[among])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_short_passes_change_no_bit(layout, monkeypatch):
    program = network(S1, symmetric(5, 0.002))
    runner = FastRunner(program, threads=1, layout=layout)
    start = runner.init(seed=9, chains=20)
    record = Record(states_every=10, spikes=True)
    whole, end = runner.run(start, 2345, record)
    monkeypatch.setattr("boltzspike.samples.PASS_BYTES", 10_000)
    pieces, pieces_end = runner.run(start, 2345, record)
    assert_same_run(whole, pieces)
    assert_same_state(end, pieces_end)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_states_are_those_of_the_spikes_and_spikes_are_ordered(layout):
    program = network(S1, symmetric(21, 0.002), clamp={2: 1, 5: 0})
    runner = FastRunner(program, threads=2, layout=layout)
    _, state = runner.run(runner.init(seed=9, chains=19), 333, Record())
    samples, _ = runner.run(state, 1500, Record(states_every=7, spikes=True))
    spikes = samples.spikes
    assert np.array_equal(samples.states, spikes.states(7))
    assert np.array_equal(np.lexsort((spikes.unit, spikes.step, spikes.chain)), np.arange(len(spikes.step)))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_seeds_and_chains_have_streams_of_their_own(layout):
    program = network(S1, np.zeros((40, 40)))
    runner = FastRunner(program, threads=1, layout=layout)
    runs = []
    for seed in (1, 2):
        _, state = runner.run(runner.init(seed=seed, chains=40), 1000, Record())
        runs.append(runner.run(state, 20_000, Record(states_every=200))[0].states.astype(float))
    columns = np.concatenate([run.transpose(1, 0, 2).reshape(100, -1) for run in runs], axis=1)
    correlation = np.corrcoef(columns.T)[np.triu_indices(columns.shape[1], 1)]
    # 5 million pairs: their largest is that of independent ones, 1 / sqrt(100) times 5.4
    assert np.abs(correlation).max() < 0.66
    assert abs(correlation.std() * np.sqrt(99) - 1) < 0.05


# Noise


@pytest.mark.parametrize("law", ["three-point", "fine three-point", "exact Poisson"])
@pytest.mark.parametrize(
    "group", [((0.3, 0.001),), ((0.02, 0.002),), ((0.3, 0.001), (0.05, 0.004)), ((2.0, 0.001), (0.001, 0.02))]
)
def test_laws_match_the_moments_that_they_promise(law, group):
    values, probabilities = LAWS[law](group)
    assert np.isclose(probabilities.sum(), 1)
    mean = probabilities @ values
    central = [probabilities @ (values - mean) ** k for k in range(2, 6)]
    k2, k3, k4, k5 = (cumulant(group, k) for k in range(2, 6))
    expected = [k2, k3, k4 + 3 * k2**2, k5 + 10 * k2 * k3]
    exact = {"three-point": 2, "fine three-point": 4, "exact Poisson": 4}[law]
    assert np.isclose(mean, cumulant(group, 1), rtol=1e-6)
    assert np.allclose(central[:exact], expected[:exact], rtol=1e-5)
    if law == "three-point":
        assert np.array_equal(probabilities * 256, np.round(probabilities * 256))


@pytest.mark.parametrize("rate", [0.28, 0.3, 0.4, 0.45, 0.6, 0.84, 0.86, 2.0, 10.0])
def test_eight_values_lack_no_more_of_the_fourth_moment_than_is_said(rate):
    values, probabilities = eight_point(((rate, 1.0),))
    assert np.all(probabilities == 1 / 8)
    standard = (values - rate) / np.sqrt(rate)
    moments = [probabilities @ standard**k for k in (1, 2, 3, 4)]
    assert np.allclose(moments[:3], [0, 1, rate**-0.5])
    lack = 3 + 1 / rate - moments[3]
    assert abs(lack) <= (0.4 if rate >= 0.45 else 1.17)
    if rate == 0.3:
        assert np.isclose(lack, 1.02, atol=0.005)


def test_law_follows_the_rates():
    def words(rates):
        background = PoissonBackground(rates=rates, weights=[0.001, -0.001][: len(rates)])
        return background_noise(network(dataclasses.replace(S1, background=background), np.zeros((2, 2)))).words

    assert words([3000.0, 3000.0]) == "noise: eight-point, 3000 Hz"
    assert words([1000.0, 5000.0]) == "noise: three-point, 1000 to 5000 Hz"
    assert words([2900.0, 2500.0]).startswith("noise: three-point")
    assert words([400.0, 300.0]).startswith("noise: exact Poisson")
    assert words([100.0, 1000.0]).startswith("noise: fine three-point")
    assert words([100.0, 5000.0]).startswith("noise: fine three-point")
    assert words([]) == "noise: none"


# What it does not do


def test_unsupported_says_what():
    assert unsupported(network(S1, np.zeros((3, 3)))) is None
    assert unsupported(diverse_program(20)) is None
    assert "tau_syn_exc that differs" in unsupported(diverse_program(60))
    assert unsupported(diverse_program(60, plasticity="additive")) is None
    alpha = dataclasses.replace(S1.neuron, kernel="alpha")
    program = compile_program(SpikingNetwork(neurons=alpha, backgrounds=S1.background, weights=np.zeros((2, 2))))
    assert unsupported(program) == "alpha"
    assert "too wide for the membrane's polynomial" in unsupported(program_with_a_hub(strength=1.0))


@pytest.mark.parametrize("interval", [(0.1, 0.2), (0.01, 0.3), (0.4, 0.7), (0.1, 1.2), (0.1, 3.0)])
def test_membrane_polynomial_keeps_its_error(interval):
    polynomial, error = relaxation(*interval)
    x = np.linspace(*interval, 77)
    exact = -np.expm1(-x) / x
    assert np.all(np.abs(np.polynomial.polynomial.polyval(x, polynomial) / exact - 1) <= error * 1.01)
    assert error <= 1e-5


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.float32, np.int64])
@pytest.mark.parametrize("shape", [(1, 1), (4, 2), (3, 16), (5, 33)])
def test_no_two_blocks_share_a_cache_line(shape, dtype):
    rows = np.arange(np.prod(shape), dtype=dtype).reshape(shape)
    copy = aligned(rows)
    assert np.array_equal(copy[:, : shape[1]], rows)
    assert copy.flags.c_contiguous
    assert copy.ctypes.data % 64 == 0
    assert copy.strides[0] % 64 == 0
