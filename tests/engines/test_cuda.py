"""The cuda engine emits the reference engine's spikes; it runs in numba's CUDA simulator, in a process of its own.

The simulator runs the kernel as Python, a thread for each thread of a block: small networks, few steps. It is set
before numba is imported, hence the process. On a GPU, ``make test-gpu`` runs the conformance suite.
"""

import dataclasses
import importlib
import multiprocessing
import os
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from scipy.sparse import csr_array

import boltzspike as bs
from boltzspike.engines import get_engine
from boltzspike.errors import MissingDependency, MissingDevice, UnsupportedFeature, ValidationError
from boltzspike.gathered import Bins
from boltzspike.inputs import Initial
from boltzspike.program import compile_program
from boltzspike.samples import Energy, Record, Samples

S1, S5A = bs.presets.S1, bs.presets.S5a
STEPS, CHAINS, SEED = 200, 2, 2**40 + 3
SPIKES = ("chain", "unit", "step", "before")


@pytest.fixture(scope="module")
def simulated():
    """Return a caller of the functions of ``cuda_simulated`` in the simulator's process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(Path(__file__).parent)
        patch.setenv("NUMBA_ENABLE_CUDASIM", "1")
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            functions = importlib.import_module("cuda_simulated")
            yield lambda name, *args, **options: pool.submit(getattr(functions, name), *args, **options).result()


def busy(preset=S1, n=3, *, sparse=False, alike=True, offsets=(-0.5, 0.0, 0.5), **values):
    """A small network whose units spike often and irregularly: short refractory periods, means near threshold."""
    scale = 0.004 if preset is S1 else 0.4
    weights = np.random.default_rng(5).normal(size=(n, n)) * scale
    np.fill_diagonal(weights, 0)
    neurons = [
        dataclasses.replace(
            preset.neuron,
            tau_refrac=(2.0, 3.0)[k % 2],
            v_rest=preset.neuron.v_thresh + offsets[k],
            **({} if alike else {"tau_syn_exc": 5.0 + 2 * k, "tau_syn_inh": 8.0 - k, "c_m": 0.2 + 0.05 * k}),
        )
        for k in range(n)
    ]
    return bs.SpikingNetwork(
        **(
            {
                "neurons": neurons,
                "backgrounds": preset.background,
                "weights": csr_array(weights) if sparse else weights,
            }
            | values
        )
    )


def reference(program, steps, record, *, chains=CHAINS, seed=SEED, initial=None):
    runner = get_engine("numba-exact", threads=1).prepare(program)
    return runner.run(runner.init(seed=seed, chains=chains, initial=initial), steps, record)[0]


def assert_same_spikes(got, expected, *, least=15):
    assert len(expected.spikes.step) >= least
    for field in SPIKES:
        assert np.array_equal(getattr(got.spikes, field), getattr(expected.spikes, field)), field


MANY_SOURCES = bs.PoissonBackground(rates=[900.0] * 5 + [9_000.0], weights=[0.001, -0.001] * 3)
NETWORKS = {
    "conductance": busy(),
    "current": busy(S5A),
    "additive": busy(synapse=bs.Synapse(plasticity="additive", delay=0.4)),
    "late": busy(synapse=bs.Synapse(delay=2.5)),
    "unlike units": busy(alike=False),
    "sparse": busy(sparse=True, synapse=bs.Synapse(delay=0.3)),
    "sparse, unlike units": busy(sparse=True, alike=False),
    "six sources": busy(backgrounds=[S1.background, MANY_SOURCES, bs.PoissonBackground(rates=[], weights=[])]),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_in_float64_the_kernel_emits_the_reference_spikes(simulated, name):
    program = compile_program(NETWORKS[name])
    record = Record(spikes=True, states_every=9, voltages=True)
    (got,) = simulated("run", program, [STEPS], record)
    expected = reference(program, STEPS, record)
    assert_same_spikes(got, expected)
    assert np.array_equal(got.states, expected.states)
    assert got.voltages == pytest.approx(expected.voltages, abs=1e-9)
    without = dataclasses.replace(NETWORKS[name], weights=0 * NETWORKS[name].weights)
    assert not np.array_equal(reference(compile_program(without), STEPS, record).voltages, expected.voltages), (
        "the weights must matter"
    )


@pytest.mark.parametrize("preset", [S1, S5A], ids=["conductance", "current"])
def test_a_clamped_unit_is_held_as_in_the_reference(simulated, preset):
    program = compile_program(busy(preset), clamp={0: 1, 2: 0})
    record = Record(spikes=True, voltages=True)
    (got,) = simulated("run", program, [STEPS], record)
    expected = reference(program, STEPS, record)
    assert_same_spikes(got, expected)
    assert set(expected.spikes.unit) == {0, 1}
    assert got.voltages == pytest.approx(expected.voltages, abs=1e-9)


@pytest.mark.parametrize("synapse", [bs.Synapse(), bs.Synapse(delay=2.0), bs.Synapse(plasticity="additive")])
def test_a_run_starts_from_given_potentials_and_spikes(simulated, synapse):
    initial = Initial(v=np.linspace(-60, -49, 3), last_spike=-np.arange(1, 7).reshape(2, 3))
    program, record = compile_program(busy(synapse=synapse)), Record(spikes=True, voltages=True)
    (got,) = simulated("run", program, [120], record, initial=initial)
    expected = reference(program, 120, record, initial=initial)
    assert_same_spikes(got, expected, least=5)
    assert got.voltages == pytest.approx(expected.voltages, abs=1e-9)


def test_in_float32_without_noise_spikes_fall_within_one_step(simulated):
    silent = bs.PoissonBackground(rates=[], weights=[])
    for preset in (S1, S5A):
        network = busy(preset, offsets=(0.1, 2.0, 8.0), backgrounds=silent)
        program = compile_program(dataclasses.replace(network, weights=0 * network.weights))
        (got,) = simulated("run", program, [STEPS], Record(spikes=True), dtype="float32")
        expected = reference(program, STEPS, Record(spikes=True)).spikes
        assert len(expected.step) > 20
        for k in range(3):
            ours, theirs = (s.step[(s.unit == k) & (s.chain == 0)] for s in (got.spikes, expected))
            # each interval may be off by one: the k-th spike by k
            assert len(ours) == len(theirs)
            assert np.all(np.abs(np.diff(ours) - np.diff(theirs)) <= 1)
            assert np.all(np.abs(ours[:1] - theirs[:1]) <= 1)


def test_float32_stays_close_to_float64_under_noise(simulated):
    """A spike at the edge of threshold may move by a step; before the first that does, potentials agree."""
    program, record = compile_program(busy()), Record(spikes=True, voltages=True)
    (got,) = simulated("run", program, [STEPS], record, dtype="float32")
    expected = reference(program, STEPS, record)
    fired = [
        {*zip(s.spikes.step.tolist(), s.spikes.chain.tolist(), s.spikes.unit.tolist())} for s in (got, expected)
    ]
    until = min((step for step, _, _ in fired[0] ^ fired[1]), default=STEPS)
    assert until > 100
    # potentials of up to 50 mV from threshold: float32 has 4e-6 there, and a step forgets most of an error
    assert got.voltages[:, :until] == pytest.approx(expected.voltages[:, :until], abs=5e-5)


BINS = Bins(width=7, number=40, gap=3, longest=4)
ENERGY = Energy(
    every=6, weights=np.array([[0.0, 1.0, 0.5], [1.0, 0.0, -0.3], [0.5, -0.3, 0.0]]), biases=np.arange(3.0)
)
EVERYTHING = Record(
    states_every=10, spikes=True, occupancy=True, pairs_every=15, joint=(2, 1), intervals=BINS, energy=ENERGY
)


def assert_same_samples(got, expected):
    if expected.packed is not None:
        assert np.array_equal(got.packed.bits, expected.packed.bits)
    if expected.spikes is not None:
        assert_same_spikes(got, expected, least=5)
    if expected.energies is not None:
        assert np.array_equal(got.energies, expected.energies)
    for name, fields in (
        ("occupancy", ("on", "steps")),
        ("pairs", ("counts", "draws")),
        ("joint", ("steps",)),
        ("intervals", ("intervals", "bursts", "carried_on", "last_burst")),
    ):
        a, b = getattr(got.gathered, name), getattr(expected.gathered, name)
        assert (a is None) == (b is None), name
        for field in fields if a is not None else ():
            assert np.array_equal(getattr(a, field), getattr(b, field)), f"{name}.{field}"


@pytest.mark.parametrize("last", [0, 4])
def test_what_the_device_counts_is_what_follows_from_the_reference_raster(simulated, last):
    """Also after a first part whose end falls between draws, and a part of no steps."""
    program = compile_program(busy())
    parts = [STEPS - last] + [0, last] * (last > 0)
    got = Samples.join(simulated("run", program, parts, EVERYTHING))
    expected = reference(program, STEPS, EVERYTHING)
    assert np.all(expected.gathered.joint.steps.sum(axis=0) > 0), "every joint state must occur"
    assert_same_samples(got, expected)


@pytest.mark.parametrize(
    "record",
    [
        Record(occupancy=True),
        Record(joint=(0, 1, 2)),
        Record(pairs_every=7),
        Record(pairs_every=6, states_every=4),
        Record(),
    ],
)
def test_counts_need_nothing_else_to_be_kept(simulated, record):
    program = compile_program(busy())
    first, second = simulated("run", program, [101, 99], record)
    got = Samples.join([first, second])
    assert (got.spikes, got.energies) == (None, None)
    assert_same_samples(got, reference(program, 200, record))


def test_a_joint_state_too_large_for_the_device_is_counted_from_spikes(simulated):
    weights = np.zeros((13, 13))
    network = bs.SpikingNetwork(neurons=S1.neuron, backgrounds=S1.background, weights=weights)
    program, record = compile_program(network), Record(joint=tuple(range(13)))
    (got,) = simulated("run", program, [40], record, chains=1)
    assert got.spikes is None
    assert_same_samples(got, reference(program, 40, record, chains=1))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ["conductance", "late", "sparse"])
def test_a_run_in_parts_is_the_run_in_one_bit_for_bit(simulated, name, dtype):
    program = compile_program(NETWORKS[name])
    record = Record(spikes=True, states_every=7, voltages=True)
    (whole,) = simulated("run", program, [120], record, dtype=dtype)
    joined = Samples.join(simulated("run", program, [1, 42, 0, 77], record, dtype=dtype))
    assert_same_samples(joined, whole)
    assert np.array_equal(joined.voltages, whole.voltages)


@pytest.mark.parametrize(("n", "block", "in_warp"), [(13, 32, True), (12, 24, False)])
def test_chains_do_not_depend_on_how_many_there_are(simulated, n, block, in_warp):
    """Two chains a block, in a warp or across the block; three chains leave the second block filled in part."""
    from boltzspike.engines.cuda.kernel import Teams

    assert Teams.of(n, block=block, most=512) == Teams(threads=n, chains=2, in_warp=in_warp)
    program, record = compile_program(busy(n=n, offsets=np.linspace(-0.5, 0.5, n))), Record(voltages=True)
    options = {"dtype": "float32", "limits": {"THREADS_A_BLOCK": block}}
    (few,) = simulated("run", program, [40], record, chains=1, **options)
    (many,) = simulated("run", program, [40], record, chains=3, **options)
    assert np.array_equal(many.voltages[:1], few.voltages)
    assert not np.array_equal(many.voltages[0], many.voltages[2])
    record = Record(voltages=True, occupancy=True, spikes=True, states_every=7, joint=(0, n - 1))
    expected = reference(program, 40, record, chains=3)
    (counted,) = simulated("run", program, [40], record, chains=3, limits={"THREADS_A_BLOCK": block})
    assert counted.voltages == pytest.approx(expected.voltages, abs=1e-9)
    assert_same_samples(counted, expected)


@pytest.mark.parametrize("n", [1, 2, 5, 16, 20, 27, 32, 33, 100, 512, 513, 1000, 5000])
def test_teams_of_threads_leave_few_idle(n):
    from boltzspike.engines.cuda.kernel import Teams

    teams = Teams.of(n, block=128, most=512)
    block, units = teams.block(10**6), n * teams.chains
    assert -(-n // teams.threads) * block <= 1.25 * units or n > 512
    assert teams.threads * -(-n // teams.threads) < n + teams.threads
    assert block <= 512
    assert teams.block(1) in (teams.threads, 32)
    if teams.in_warp:
        assert block == 128


def test_units_beyond_the_threads_of_a_block_share_them(simulated):
    """Forty units on four threads, ten each: they fill more than one word of the spikes of a step."""
    n = 40
    neuron = dataclasses.replace(S1.neuron, tau_refrac=0.5, v_rest=-45.0)
    weights = np.random.default_rng(3).normal(size=(n, n)) * 0.002 * (1 - np.eye(n))
    for kind in (np.asarray, csr_array):
        network = bs.SpikingNetwork(neurons=neuron, backgrounds=S1.background, weights=kind(weights))
        program, record = compile_program(network), Record(spikes=True, pairs_every=5, occupancy=True)
        (got,) = simulated("run", program, [40], record, chains=1, limits={"MOST_THREADS": 4})
        expected = reference(program, 40, record, chains=1)
        assert_same_spikes(got, expected, least=200)
        assert_same_samples(got, expected)


def test_a_saved_state_goes_on(simulated, tmp_path):
    program = compile_program(busy())
    ours, theirs = simulated("saved_and_read", program, tmp_path / "state.npz", Record(spikes=True))
    assert_same_spikes(ours, theirs, least=5)


@pytest.mark.parametrize("mean", [0.0, 0.3, 4.0, 60.0])
def test_events_are_counted_as_the_thresholds_say(simulated, mean):
    """Also where the law has thresholds of 0, as at a mean of 60, and for a source that is silent."""
    from boltzspike.streams import poisson_thresholds

    table = poisson_thresholds(mean)
    table = table[table < 2**32]
    words = {0, 1, 2**24 - 1, 2**24, 2**32 - 1, 1234567890, *(int(t) + d for t in table for d in (-1, 0))}
    words = np.array(sorted(word for word in words if 0 <= word < 2**32), dtype=np.uint32)
    expected = [int(np.sum(np.uint64(word) >= table)) for word in words]
    assert simulated("count_events", [1.5, mean], words) == expected


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("alpha", {"neurons": dataclasses.replace(S1.neuron, kernel="alpha")}),
        ("tsodyks-markram", {"synapse": bs.Synapse(plasticity="tsodyks-markram", U=0.5, tau_rec=20.0)}),
        ("delays", {"delays": 0.1 * np.arange(1, 10).reshape(3, 3)}),
        ("random-refractory", {"neurons": dataclasses.replace(S1.neuron, refractory=bs.RandomRefractory(sd=1.0))}),
        ("shared-background", {"shared": bs.SharedBackground(rates=[100.0], weights=[[0.001]] * 3)}),
        ("varying-bias", {"schedule": bs.Piecewise(quantity="i_offset", times=[5.0], values=[1.0])}),
        ("varying-clamp", {"schedule": bs.Piecewise(quantity="clamp", times=[5.0], values=[1], units=[0])}),
        ("varying-rates", {"schedule": bs.Piecewise(quantity="rate", times=[5.0], values=[10.0])}),
        ("waves", {"schedule": bs.Wave(quantity="i_offset", amplitude=0.1, frequency=5.0)}),
    ],
)
def test_what_the_kernel_lacks_is_refused_by_its_name(simulated, name, change):
    with pytest.raises(UnsupportedFeature, match=f"the cuda engine does not support: .*{name}"):
        simulated("prepare", compile_program(busy(**change)))


def test_the_result_says_where_and_how_it_ran(simulated):
    program = compile_program(busy())
    assert simulated("prepare", program) == "noise: exact Poisson, float32 on the CUDA simulator"
    with pytest.raises(ValidationError, match=r"CudaEngine.dtype: must be float32 or float64"):
        simulated("prepare", program, dtype=np.float16)


def test_without_numba_cuda_the_pip_command_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "numba_cuda", None)
    with pytest.raises(
        MissingDependency, match=r'the cuda engine needs numba-cuda: pip install "boltzspike\[cuda\]"'
    ):
        get_engine("cuda")


def test_without_a_gpu_one_sentence_says_so():
    """Where CUDA_VISIBLE_DEVICES hides what there may be."""
    code = (
        "from boltzspike.engines import get_engine\nfrom boltzspike import MissingDevice\n"
        "try:\n    get_engine('cuda')\nexcept MissingDevice as error:\n    print(error)"
    )
    hidden = {k: v for k, v in os.environ.items() if k != "NUMBA_ENABLE_CUDASIM"} | {"CUDA_VISIBLE_DEVICES": ""}
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=hidden, check=True)
    assert run.stdout.startswith("the cuda engine found no NVIDIA GPU to run on (")
    assert "engine='numba' runs on the CPU" in run.stdout
    assert "NUMBA_ENABLE_CUDASIM=1" in run.stdout
    assert issubclass(MissingDevice, bs.BoltzspikeError)
