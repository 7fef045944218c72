import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import boltzspike as bs
from boltzspike.errors import ValidationError
from boltzspike.gathered import Gathered, Occupancy
from boltzspike.running import CHUNK_SECONDS, StopRequests, bytes_of, check_memory, in_chunks, stop_requests
from boltzspike.samples import Record, Samples


class Clockwork:
    """A runner whose state is the step, that takes so many seconds a step."""

    def __init__(self, seconds=0.0):
        self.seconds, self.chunks = seconds, []

    def run(self, state, steps, record):
        time.sleep(self.seconds * steps)
        self.chunks.append(steps)
        occupancy = Occupancy(on=np.full((1, 1, 1), steps), steps=np.array([steps]))
        gathered = Gathered(occupancy=occupancy)
        return Samples(start=state, stop=state + steps, dt=0.1, gathered=gathered), state + steps


def test_chunks_take_about_a_quarter_of_a_second():
    runner = Clockwork(seconds=1e-3)
    joining, state = in_chunks(runner, 0, 1000, Record(), least=1, requests=StopRequests())
    assert (joining.steps, state) == (1000, 1000)
    # 1, 10, 100 and then 250 each
    assert max(runner.chunks) * 1e-3 < 1.5 * CHUNK_SECONDS
    assert len(runner.chunks) < 12


def test_a_chunk_never_exceeds_a_part_and_parts_are_kept_apart():
    joining, _ = in_chunks(Clockwork(), 7, 100, Record(), least=30, requests=StopRequests(), parts=3)
    occupancy = joining.joined().gathered.occupancy
    assert list(occupancy.steps) == [33, 33, 34]
    assert list(occupancy.on[0, :, 0]) == [33, 33, 34]


def test_progress_tells_steps_done_and_in_all():
    told = []
    in_chunks(
        Clockwork(), 0, 50, Record(), least=20, requests=StopRequests(), progress=lambda *call: told.append(call)
    )
    assert told[0] == (20, 50)
    assert told[-1] == (50, 50)


def interrupt_now():
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_asks_to_stop_and_the_second_breaks_in(number):
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    with stop_requests() as requests:
        assert requests.signal is None
        os.kill(os.getpid(), number)
        time.sleep(0.01)
        assert requests.signal == number
        assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before
        with pytest.raises(KeyboardInterrupt):
            interrupt_now()
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


def test_a_handler_of_the_caller_is_left_alone():
    calls = []
    found = signal.signal(signal.SIGINT, lambda *_: calls.append(1))
    try:
        with stop_requests() as requests:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)
        assert calls == [1]
        assert requests.signal is None
    finally:
        signal.signal(signal.SIGINT, found)


def test_sampling_off_the_main_thread_leaves_signals_alone(random_machine, s1_calibration):
    found = []
    run = lambda: found.append(bs.sample(random_machine(2), calibration=s1_calibration, duration=100, chains=2))
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert found[0].z.shape == (2, 10, 2)


def test_ctrl_c_gives_back_what_was_sampled(random_machine, s1_calibration, tmp_path):
    machine, path = random_machine(3), tmp_path / "state.npz"
    options = {"calibration": s1_calibration, "chains": 16, "burn_in": 100}

    def interrupt(done, total):
        if done > 5000:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(bs.Interrupted, match=r"SIGINT after \d+(\.\d+)? of 1e\+08 ms") as caught:
        bs.sample(machine, duration=1e8, progress=interrupt, record="moments", checkpoint=path, **options)
    part = caught.value.result
    assert caught.value.signal == signal.SIGINT
    assert part.configuration["partial"]
    sampled = part.configuration["sampled_ms"]
    assert 500 < sampled < 1e8
    # what is there is what a run of that length gives
    whole = bs.sample(machine, duration=sampled, record="moments", **options)
    assert not whole.configuration["partial"]
    assert np.array_equal(part.marginals(), whole.marginals())
    assert np.array_equal(part.pairs(), whole.pairs())
    # and it goes on from there
    rest = bs.sample(machine, duration=100, resume=path, **options)
    assert np.array_equal(rest.z, bs.sample(machine, duration=sampled + 100, **options).z[:, -10:])


def test_ctrl_c_before_the_first_draw_is_a_plain_keyboard_interrupt(random_machine, s1_calibration, monkeypatch):
    from boltzspike.engines.numba import fast

    run = fast.FastRunner.run

    def interrupted(self, state, steps, record):
        os.kill(os.getpid(), signal.SIGINT)
        return run(self, state, steps, record)

    monkeypatch.setattr(fast.FastRunner, "run", interrupted)
    with pytest.raises(KeyboardInterrupt) as caught:
        bs.sample(random_machine(2), calibration=s1_calibration, duration=1e4, chains=2)
    assert not isinstance(caught.value, bs.Interrupted)


def started(*arguments, chunk_seconds=0.25):
    """Start the command line, and wait until it has begun to sample."""
    code = f"""
import sys
from boltzspike import cli, pipeline, running
running.CHUNK_SECONDS = {chunk_seconds}
def told(*arguments, progress, **options):
    def tell(done, total):
        if done > 1000:
            print("under way", file=sys.stderr, flush=True)
    return sample(*arguments, progress=tell, **options)
sample, pipeline.sample = pipeline.sample, told
cli.main()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    line = process.stderr.readline()
    assert line == "under way\n", line + process.stderr.read()
    return process


@pytest.fixture
def model(tmp_path):
    bs.BoltzmannMachine(weights=[[0, 0.5], [0.5, 0]], biases=[-0.3, 0.2]).save(tmp_path / "m.json")
    return tmp_path / "m.json"


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_the_command_line_writes_the_partial_result_when_stopped(model, tmp_path, number, code):
    output = tmp_path / "r.nc"
    process = started("sample", model, "--duration", "1000h", "--record", "joint", "--chains", 16, "-o", output)
    asked = time.perf_counter()
    process.send_signal(number)
    stdout, stderr = process.communicate(timeout=60)
    assert process.returncode == code, stderr
    assert time.perf_counter() - asked < 20
    assert "the result is partial" in stderr
    assert f"wrote {output}" in stdout
    result = bs.read(output)
    assert result.configuration["partial"]
    assert 100 < result.configuration["sampled_ms"] < 3.6e9
    assert result.joint().sum() == pytest.approx(1)
    assert result.kl_divergence().error < 0.1


def test_a_second_ctrl_c_stops_the_command_line_without_a_file(model, tmp_path):
    output = tmp_path / "r.nc"
    # chunks so long that both signals fall into one
    process = started(
        "sample", model, "--duration", "1000h", "--record", "joint", "--chains", 16, "-o", output, chunk_seconds=5
    )
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "partial" not in stderr
    assert list(tmp_path.iterdir()) == [model]


RECORDS = {
    "states": Record(states_every=1),
    "spikes": Record(spikes=True),
    "voltages": Record(voltages=True),
    "pairs": Record(pairs_every=100),
    "joint states": Record(joint=tuple(range(24))),
}


@pytest.mark.parametrize("name", RECORDS)
def test_what_does_not_fit_into_memory_is_refused_before_it_begins(name):
    chains, units = (1, 100_000) if name == "pairs" else (64, 1000)
    record = RECORDS[name]
    needed = bytes_of(record, 10**7, chains, units, 100, delay=1)
    assert needed[name] > sum(needed.values()) / 3
    with pytest.raises(ValidationError, match=f"GiB of memory, got one that takes .* for {name}"):
        check_memory(record, 10**7, chains, units, 100, memory=int(needed[name]))
    check_memory(record, 10**7, chains, units, 100, memory=int(sum(needed.values())) + 1)


def test_moments_take_the_same_memory_whatever_the_duration():
    record = Record(occupancy=True, pairs_every=100)
    assert bytes_of(record, 10**3, 64, 1000, 100, delay=1) == bytes_of(record, 10**12, 64, 1000, 100, delay=1)


def test_more_chains_than_fit_are_refused():
    with pytest.raises(
        ValidationError, match="chains: must leave .* for the state of all chains; run fewer chains"
    ):
        check_memory(Record(), 1000, 2**20, 1000, 100, memory=2**34)


def test_a_network_that_does_not_fit_is_refused():
    with pytest.raises(ValidationError, match="network: must leave .* for the weights; take a smaller network"):
        check_memory(Record(), 1000, 1, 100_000, 100, memory=2**34)
    check_memory(Record(), 1000, 1, 100_000, 100, synapses=10**7, memory=2**34)
