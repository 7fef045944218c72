"""Chains advanced elsewhere are the chains of a local run."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import Future, ProcessPoolExecutor

import numpy as np
import pytest
from distributed import LocalCluster

import boltzspike as bs
from boltzspike.executors import ClusterError, Distributed, dask_executor
from boltzspike.gathered import Bins
from boltzspike.program import compile_program
from boltzspike.samples import Energy, Record


class AtOnce:
    """An executor that runs what it is given when it is given it, and counts."""

    def __init__(self):
        self.submitted = 0

    def submit(self, function, *arguments):
        self.submitted += 1
        future = Future()
        try:
            future.set_result(function(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future


def machine(n=5, seed=4):
    rng = np.random.default_rng(seed)
    weights = np.triu(rng.normal(0, 0.8, (n, n)), 1)
    return bs.BoltzmannMachine(weights=weights + weights.T, biases=rng.normal(0, 0.5, n))


def everything(n):
    return Record(
        states_every=50, spikes=True, occupancy=True, pairs_every=100, joint=(0, 2), intervals=Bins(),
        energy=Energy(every=100, weights=np.zeros((n, n)), biases=np.arange(n, dtype=float)),
    )  # fmt: skip


def assert_same(ours, theirs):
    """Compare all that was recorded, bit for bit."""
    assert np.array_equal(ours.packed.bits, theirs.packed.bits)
    for name in ("chain", "unit", "step", "before"):
        assert np.array_equal(getattr(ours.spikes, name), getattr(theirs.spikes, name)), name
    assert np.array_equal(ours.energies, theirs.energies)
    assert np.array_equal(ours.gathered.occupancy.on, theirs.gathered.occupancy.on)
    assert np.array_equal(ours.gathered.pairs.counts, theirs.gathered.pairs.counts)
    assert ours.gathered.pairs.draws == theirs.gathered.pairs.draws
    assert np.array_equal(ours.gathered.joint.steps, theirs.gathered.joint.steps)
    for name in ("intervals", "bursts", "carried_on", "last_burst"):
        assert np.array_equal(getattr(ours.gathered.intervals, name), getattr(theirs.gathered.intervals, name)), (
            name
        )


@pytest.mark.parametrize("chains", [16, 40])
@pytest.mark.parametrize(("engine", "units"), [("numba", 5), ("numba", 120), ("numba-exact", 3)])
def test_chains_taken_apart_are_those_of_one_run(engine, units, chains):
    from boltzspike.engines import get_engine

    S1 = bs.presets.S1
    rng = np.random.default_rng(1)
    weights = rng.normal(0, 0.0005, (units, units)) * (1 - np.eye(units))
    network = bs.SpikingNetwork(neurons=S1.neuron, backgrounds=S1.background, weights=weights)
    program, record = compile_program(network), everything(units)
    executor = AtOnce()
    runs = []
    for way in (get_engine(engine), Distributed(executor, engine=engine)):
        runner = way.prepare(program)
        state = runner.init(seed=3, chains=chains)
        first, state = runner.run(state, 700, record)
        second, state = runner.run(state, 550, record)
        runs.append((first, second, state))
    assert executor.submitted == 2 * -(-chains // 16)
    (ours_1, ours_2, ours), (theirs_1, theirs_2, theirs) = runs
    assert_same(ours_1, theirs_1)
    assert_same(ours_2, theirs_2)
    for field in ours.__dataclass_fields__:
        assert np.array_equal(getattr(ours, field), getattr(theirs, field)), field


def test_drawn_refractory_periods_and_shared_sources_know_their_chains():
    S1 = bs.presets.S1
    import dataclasses

    neuron = dataclasses.replace(S1.neuron, refractory=bs.RandomRefractory(law="uniform", sd=1.0))
    pool = bs.SharedBackground(rates=[500.0], weights=[[0.001], [0.001]])
    network = bs.SpikingNetwork(
        neurons=neuron, backgrounds=S1.background, weights=[[0, 0.001], [0.001, 0]], shared=pool
    )
    from boltzspike.engines import get_engine

    program = compile_program(network)
    found = []
    for way in (get_engine("numba"), Distributed(AtOnce())):
        runner = way.prepare(program)
        found.append(runner.run(runner.init(seed=1, chains=20), 800, Record(spikes=True))[0].spikes)
    for name in ("chain", "unit", "step", "before", "drawn", "drawn_before"):
        assert np.array_equal(getattr(found[0], name), getattr(found[1], name)), name


def test_what_samples_locally_samples_on_processes(tmp_path):
    options = {"duration": 3e3, "chains": 32, "seed": 7, "burn_in": 200.0}
    local = bs.sample(machine(), **options)
    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
        engine = Distributed(pool)
        elsewhere = bs.sample(machine(), engine=engine, checkpoint=tmp_path / "half", **options)
        further = bs.sample(machine(), engine=engine, resume=tmp_path / "half", **options)
    assert np.array_equal(elsewhere.z, local.z)
    assert elsewhere.configuration["engine"] == "numba"
    # the checkpoint of a run elsewhere goes on here
    assert np.array_equal(further.z, bs.sample(machine(), resume=tmp_path / "half", **options).z)


def test_calibration_and_tuning_take_an_engine_too(s1_calibration):
    S1 = bs.presets.S1
    options = {"method": "simulation", "duration": 2e3, "chains": 32, "points": 5}
    executor = AtOnce()
    assert bs.calibrate(S1.neuron, S1.background, engine=Distributed(executor), **options) == bs.calibrate(
        S1.neuron, S1.background, **options
    )
    options = {"calibration": s1_calibration, "duration": 2e3, "chains": 32, "steps": 2}
    assert bs.tune(machine(3), engine=Distributed(executor), **options) == bs.tune(machine(3), **options)
    assert executor.submitted > 8


@pytest.fixture(scope="module")
def cluster():
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None, worker_dashboard_address=None,
        silence_logs=50,
    ) as cluster:  # fmt: skip
        yield cluster


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_a_worker_killed_in_the_middle_of_a_run_changes_nothing(cluster):
    options = {"duration": 2e5, "chains": 64, "seed": 2, "record": "moments"}
    killed = []

    def kill(done, total):
        # once, a little later: the next parts are then under way
        if not killed and done > 0.3 * total:
            killed.append(next(iter(cluster.workers.values())).pid)
            threading.Timer(0.05, os.kill, (killed[0], signal.SIGKILL)).start()

    with dask_executor(cluster.scheduler_address) as executor:
        result = bs.sample(machine(), engine=Distributed(executor), progress=kill, **options)
    assert killed
    local = bs.sample(machine(), **options)
    assert np.array_equal(result.marginals(), local.marginals())
    assert np.array_equal(result.pairs(), local.pairs())


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_the_command_line_samples_on_a_cluster(cluster, tmp_path):
    machine().save(tmp_path / "m.json")
    arguments = ["sample", "m.json", "--duration", "1s", "--chains", "32"]
    tables = []
    for where in ([], ["--cluster", cluster.scheduler_address]):
        run = subprocess.run(
            [sys.executable, "-c", "from boltzspike.cli import main; main()", *arguments, *where],
            capture_output=True, text=True, cwd=tmp_path,
        )  # fmt: skip
        assert run.returncode == 0, run.stderr
        tables.append([line for line in run.stdout.splitlines() if not line.startswith("speed")])
    assert tables[0] == tables[1]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_a_cluster_that_is_not_there_is_named():
    missing = pytest.raises(ClusterError, match="no Dask scheduler answers at 'tcp://127.0.0.1:9'")
    with missing, dask_executor("tcp://127.0.0.1:9", timeout=1.0):
        pass


def test_a_worker_that_fails_says_why():
    class Failing(AtOnce):
        def submit(self, function, *arguments):
            future = Future()
            future.set_exception(MemoryError("no room"))
            return future

    with pytest.raises(ClusterError, match="failed on its worker: MemoryError: no room"):
        bs.sample(machine(), engine=Distributed(Failing()), duration=100.0, chains=16)


def test_engines_whose_states_are_whole_are_refused():
    with pytest.raises(bs.UnsupportedFeature, match="executors run numba and numba-exact"):
        Distributed(AtOnce(), engine="reference")
    with pytest.raises(bs.ValidationError, match="chains_a_task: must be a multiple of 16"):
        Distributed(AtOnce(), chains_a_task=8)
