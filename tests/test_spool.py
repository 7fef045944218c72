"""Rasters that are kept on disk during a run: the same samples, bounded memory, and nothing left behind."""

import errno
import mmap
import os
import resource
import signal
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import boltzspike as bs
from boltzspike.engines import get_engine
from boltzspike.errors import ValidationError
from boltzspike.program import compile_program
from boltzspike.running import check_memory
from boltzspike.samples import Joining, PackedStates, Record, Samples
from boltzspike.spool import Spool

EVERYTHING = Record(
    states_every=100,
    spikes=True,
    voltages=(0, 2),
    occupancy=True,
    pairs_every=100,
    energy=bs.samples.Energy(every=50, weights=np.zeros((4, 4)), biases=np.arange(4.0)),
)


@pytest.fixture(scope="module")
def options(s1_calibration):
    rng = np.random.default_rng(3)
    weights = np.triu(rng.normal(0, 0.5, (5, 5)), 1)
    machine = bs.BoltzmannMachine(weights=weights + weights.T, biases=rng.normal(0, 0.5, 5))
    return {"machine": machine, "calibration": s1_calibration, "chains": 6, "burn_in": 50, "clamp": {1: 1}}


@pytest.fixture(scope="module")
def runner(options):
    """Of the reference engine, which has nothing to compile."""
    program = compile_program(bs.sample(duration=100, **options).network, dt=0.1)
    return get_engine("reference").prepare(program)


def arrays_of(samples):
    found = {"bits": samples.packed.bits, "voltages": samples.voltages, "energies": samples.energies}
    spikes = {name: getattr(samples.spikes, name) for name in ("chain", "unit", "step", "before")}
    return found | spikes | {"on": samples.gathered.occupancy.on, "pairs": samples.gathered.pairs.counts}


def is_mapped(array):
    while isinstance(array, np.ndarray):
        array = array.base
    return isinstance(getattr(array, "obj", array), mmap.mmap)


def test_a_spooled_run_is_the_run_bit_for_bit_and_so_is_its_file(options, tmp_path):
    run = {"duration": 300, "record": EVERYTHING, "engine": "reference", **options}
    in_memory, spooled = bs.sample(**run), bs.sample(spool=tmp_path, **run)
    assert all(map(is_mapped, (spooled.samples.packed.bits, spooled.samples.spikes.step)))
    spooled.save(tmp_path / "r.nc")
    spooled.save(tmp_path / "r.zarr")
    wanted = arrays_of(in_memory.samples)
    for result in (spooled, bs.read(tmp_path / "r.nc"), bs.read(tmp_path / "r.zarr")):
        for name, array in arrays_of(result.samples).items():
            assert np.array_equal(array, wanted[name]), name
        assert np.array_equal(result.z, in_memory.z)
    assert sorted(os.listdir(tmp_path)) == ["r.nc", "r.zarr"]


def test_parts_of_any_length_are_joined_as_in_memory(runner, tmp_path):
    plain, spool = Joining(), Spool(tmp_path, EVERYTHING, 4000)
    state = runner.init(seed=1, chains=6)
    for steps in (0, 130, 1, 70, 2799, 1000):
        part, state = runner.run(state, steps, EVERYTHING)
        plain.add(part)
        spool.add(part)
        if steps == 70:
            # what there is so far can be had in between
            early = spool.joined()
    a, b = arrays_of(plain.joined()), arrays_of(spool.joined())
    for name, array in a.items():
        assert np.array_equal(array, b[name]), name
    assert np.array_equal(early.packed.bits, a["bits"][:, :2])
    assert np.array_equal(early.voltages, a["voltages"][:, :201])


def test_until_puts_its_runs_together_on_the_disk(options, tmp_path):
    run = {"until": "mcse<0.02", "duration": 16_000, "engine": "gibbs"}
    in_memory = bs.sample_until(**run, **options)
    spooled = bs.sample_until(**run, spool=tmp_path, **options)
    assert 1000 < spooled.configuration["sampled_ms"] < 16_000
    assert is_mapped(spooled.samples.packed.bits)
    assert np.array_equal(spooled.z, in_memory.z)
    assert os.listdir(tmp_path) == []


def own_memory(work):
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def parts_of(number, rng):
    for k in range(number):
        z = rng.integers(0, 2, (4, 2000, 20), dtype=np.int8)
        yield Samples(start=2000 * k, stop=2000 * (k + 1), dt=0.1, packed=PackedStates.of(z))


def test_memory_of_keeping_writing_and_judging_does_not_grow_with_the_duration(tmp_path, rng, monkeypatch):
    # a piece is to be shorter than either run
    monkeypatch.setattr("boltzspike.diagnostics.estimates._ENTRIES", 2**16)
    monkeypatch.setattr("boltzspike.piecewise.CHUNK", 2**16)
    machine = bs.BoltzmannMachine(weights=np.zeros((20, 20)), biases=np.zeros(20))
    short = bs.sample(machine, engine="gibbs", duration=100, chains=4)
    peaks = []
    for number in (25, 100):
        spool = Spool(tmp_path, Record(states_every=1), 2000 * number)

        def work(spool=spool, number=number):
            for part in parts_of(number, rng):
                spool.add(part)
            result = bs.result.Result(**{**vars_of(short), "samples": spool.joined()})
            result.save(tmp_path / "r.nc", force=True)
            result.marginals(), result.marginals_error(), result.pairs_error(), result.test_pairs()
            assert result.draws.shape == (4, 2000 * number, 20)

        peaks.append(own_memory(work))
    # 100 parts are 16 MB unpacked
    assert peaks[1] < peaks[0] + 1e6


def vars_of(result):
    names = ("machine", "clamp", "calibration", "network", "translation", "simulated", "configuration")
    return {name: getattr(result, name) for name in names}


def test_a_disk_without_room_is_refused_before_the_run(tmp_path):
    record = Record(states_every=1)
    check_memory(record, 10**6, 64, 1000, 100, spool=tmp_path, memory=2**33)
    with pytest.raises(ValidationError, match="GiB of memory"):
        check_memory(record, 10**6, 64, 1000, 100, memory=2**33)
    with pytest.raises(ValidationError, match=f"GiB that are left on the disk of {tmp_path}, got .* for states"):
        check_memory(record, 10**10, 64, 1000, 100, spool=tmp_path)


def test_a_disk_that_fills_during_the_run_is_one_error(options, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(ValidationError, match="can't be kept here during the run: No space left on device"):
        bs.sample(duration=500, spool=tmp_path, **options)
    assert os.listdir(tmp_path) == []


def test_a_folder_that_is_not_there_is_named(options, tmp_path):
    with pytest.raises(ValidationError, match="the folder .*nowhere.* does not exist"):
        bs.sample(duration=500, spool=tmp_path / "nowhere", **options)


def test_a_full_disk_while_the_large_arrays_are_written_is_one_error(tmp_path, rng):
    """Files of this process may not grow beyond 64 kB: the descriptions fit, the states don't."""
    machine = bs.BoltzmannMachine(weights=np.zeros((20, 20)), biases=np.zeros(20))
    result = bs.sample(machine, engine="gibbs", duration=1e5, chains=8)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**16, limits[1]))
    try:
        with pytest.raises(ValidationError, match="r.nc: can't be written"):
            result.save(tmp_path / "r.nc")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert os.listdir(tmp_path) == []


def started(tmp_path):
    """Return a run of half a minute that writes to r.nc, once it is under way."""
    machine = bs.BoltzmannMachine(weights=[[0, 0.5], [0.5, 0]], biases=[-0.3, 0.2])
    machine.save(tmp_path / "m.json")
    bs.sample(machine, engine="gibbs", duration=1e3, chains=2).save(tmp_path / "r.nc")
    run = ["-m", "boltzspike.cli", "sample", "m.json", "-o", "r.nc", "--force"]
    run[:2] = ["-c", "from boltzspike.cli import main; main()"]
    run += ["--engine", "buesing", "--chains", "16"]
    process = subprocess.Popen(
        [sys.executable, *run, "--duration", "50h"], cwd=tmp_path, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    folder = Path(f"/proc/{process.pid}/fd")

    def spooling():
        opened = [os.readlink(entry) for entry in folder.iterdir() if entry.exists() or entry.is_symlink()]
        return any(str(tmp_path) in name and "(deleted)" in name for name in opened)

    for _ in range(300):
        if process.poll() is None and spooling():
            return process
        time.sleep(0.1)
    raise AssertionError(process.communicate())


def test_kill_9_in_the_middle_of_a_run_leaves_the_earlier_file_and_nothing_else(tmp_path):
    process = started(tmp_path)
    process.kill()
    process.communicate()
    assert sorted(os.listdir(tmp_path)) == ["m.json", "r.nc"]
    assert bs.read(tmp_path / "r.nc").z.shape == (2, 100, 2)


def test_ctrl_c_in_the_middle_of_a_spooled_run_writes_what_there_is(tmp_path):
    process = started(tmp_path)
    time.sleep(0.7)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    result = bs.read(tmp_path / "r.nc")
    assert result.configuration["partial"]
    assert result.draws.shape[0] == 16
    assert result.marginals() == pytest.approx(result.exact().marginals, abs=6 * result.marginals_error().max())
    assert sorted(os.listdir(tmp_path)) == ["m.json", "r.nc"]
