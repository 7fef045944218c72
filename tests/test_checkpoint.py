import dataclasses
import json
import zipfile

import numpy as np
import pytest

import boltzspike as bs
from boltzspike.checkpoint import fingerprint, read_state, save_state
from boltzspike.engines import REGISTRY, get_engine
from boltzspike.errors import BoltzspikeWarning, ValidationError
from boltzspike.program import compile_program
from boltzspike.samples import Record, Samples

ENGINES = [pytest.param(name, marks=[pytest.mark.gpu] * (name == "cuda")) for name in REGISTRY]


def program_of(n, scale=0.003, **options):
    weights = np.random.default_rng(n).normal(size=(n, n)) * scale / np.sqrt(n)
    np.fill_diagonal(weights, 0)
    network = bs.SpikingNetwork(
        neurons=bs.presets.S1.neuron, backgrounds=bs.presets.S1.background, weights=weights,
        synapse=bs.Synapse(delay=0.3),
    )  # fmt: skip
    return compile_program(network, **options)


@pytest.fixture
def saved(tmp_path):
    """Return a function that saves a state after 300 steps and gives path, runner, program and state."""

    def save(engine="numba", n=4, seed=2**64 - 1, chains=3, **options):
        program = program_of(n, **options)
        runner = get_engine(engine, threads=1).prepare(program)
        _, state = runner.run(runner.init(seed=seed, chains=chains), 300, Record())
        path = tmp_path / "state.npz"
        save_state(path, state, runner, engine, program)
        return path, runner, program, state

    return save


def read(path, runner, program, engine="numba", seed=2**64 - 1, chains=3):
    return read_state(path, runner, engine, program, like=runner.init(seed=seed, chains=chains))


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("n", [4, 60])
def test_a_run_from_a_saved_state_is_the_run_in_one_piece(saved, engine, n):
    path, runner, program, state = saved(engine, n)
    record = Record(states_every=3, spikes=True)
    whole, after = runner.run(runner.init(seed=2**64 - 1, chains=3), 700, record)
    before, _ = runner.run(runner.init(seed=2**64 - 1, chains=3), 300, record)
    loaded = read(path, runner, program, engine)
    for field in dataclasses.fields(state):
        assert np.array_equal(getattr(loaded, field.name), getattr(state, field.name)), field.name
    rest, end = get_engine(engine, threads=2).prepare(program_of(n)).run(loaded, 400, record)
    joined = Samples.join([before, rest])
    assert np.array_equal(joined.states, whole.states)
    for field in ("chain", "unit", "step"):
        assert np.array_equal(getattr(joined.spikes, field), getattr(whole.spikes, field))
    for field in dataclasses.fields(end):
        assert np.array_equal(getattr(end, field.name), getattr(after, field.name)), field.name


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda: {"program": program_of(4, scale=0.004)}, "program: must be the one that is run"),
        (lambda: {"program": program_of(4, dt=0.05)}, "program: must be the one that is run"),
        (lambda: {"program": program_of(4, clamp={0: 1})}, "program: must be the one that is run"),
        (
            lambda: {"engine": "numba-exact"},
            r"engine: must be 'numba-exact' \(FastState\), got a state of 'numba'",
        ),
        (lambda: {"seed": 1}, "seed: must be that of the run, 1, got 18446744073709551615"),
        (lambda: {"chains": 4}, r"last_spike: must be of shape \(4, 4\), got \(3, 4\): resume with the number of"),
    ],
)
def test_the_state_of_another_run_is_refused(saved, other, message):
    path, runner, program, _ = saved()
    with pytest.raises(ValidationError, match=message):
        read(**({"path": path, "runner": runner, "program": program} | other()))


def test_the_exact_engine_refuses_a_state_of_the_fast_one(saved):
    path, _, program, _ = saved()
    exact = get_engine("numba-exact").prepare(program)
    with pytest.raises(
        ValidationError, match=r"engine: must be 'numba-exact' \(ExactState\), got a state of 'numba'"
    ):
        read(path, exact, program, "numba-exact")


def test_a_damaged_file_is_refused_wherever_it_is_cut(saved):
    path, runner, program, _ = saved()
    whole = path.read_bytes()
    for length in (0, 1, 100, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ValidationError, match="state.npz: damaged, or no state"):
            read(path, runner, program)
    middle = bytearray(whole)
    middle[len(whole) // 2] ^= 1
    path.write_bytes(middle)
    with pytest.raises(ValidationError, match="state.npz: damaged, or no state"):
        read(path, runner, program)


def changed(path, **values):
    with np.load(path) as archive:
        arrays = {name: archive[name] for name in archive.files}
    about = json.loads(str(arrays["about"])) | values
    np.savez(path, **(arrays | {"about": np.array(json.dumps(about))}))


def test_a_state_of_a_newer_version_is_refused(saved):
    path, runner, program, _ = saved()
    changed(path, schema=2)
    with pytest.raises(
        ValidationError, match=r"schema: must be an integer in 1..1, got 2; a newer boltzspike may"
    ):
        read(path, runner, program)


def test_a_machine_is_no_state(saved, tmp_path):
    path, runner, program, _ = saved()
    bs.BoltzmannMachine(weights=np.zeros((2, 2)), biases=[0, 0]).save(tmp_path / "m.npz")
    with pytest.raises(ValidationError, match="m.npz: not a state that boltzspike saved"):
        read(tmp_path / "m.npz", runner, program)
    bs.BoltzmannMachine(weights=np.zeros((2, 2)), biases=[0, 0]).save(tmp_path / "m.json")
    with pytest.raises(ValidationError, match="m.json: damaged, or no state .an npz is a zip archive.$"):
        read(tmp_path / "m.json", runner, program)
    with pytest.raises(ValidationError, match="state.npz: holds arrays"):
        bs.read(path)


def test_nothing_in_the_file_is_pickled(saved):
    path = saved()[0]
    with zipfile.ZipFile(path) as archive:
        for name in archive.namelist():
            head = archive.read(name)[:128]
            assert b"'O'" not in head
            assert head.startswith(b"\x93NUMPY")


def test_another_instruction_set_is_warned_about(saved):
    path, runner, program, state = saved()
    changed(path, cpu="z80-0")
    with pytest.warns(BoltzspikeWarning, match="saved on a CPU with other instructions .z80-0, here"):
        loaded = read(path, runner, program)
    assert np.array_equal(loaded.dynamics, state.dynamics)


def test_the_fingerprint_sees_every_field():
    program = program_of(4)
    assert fingerprint(program) == fingerprint(program_of(4))
    changes = {"dt": 0.2, "names": ("a", "b", "c", "d"), "delay_steps": 4, "features": frozenset({"current"})}
    for field in dataclasses.fields(program):
        value = getattr(program, field.name)
        other = changes.get(field.name, value + 1 if isinstance(value, np.ndarray) else "other")
        assert fingerprint(dataclasses.replace(program, **{field.name: other})) != fingerprint(program), field.name


@pytest.mark.parametrize("engine", ["numba", "gibbs", "buesing"])
def test_sample_goes_on_where_it_ended(engine, random_machine, s1_calibration, tmp_path):
    machine, path = random_machine(3), tmp_path / "c.npz"
    options = {"calibration": s1_calibration, "chains": 5, "engine": engine}
    whole = bs.sample(machine, duration=3000, **options)
    first = bs.sample(machine, duration=1000, checkpoint=path, **options)
    then = bs.sample(machine, duration=1500, checkpoint=path, resume=path, **options)
    last = bs.sample(machine, duration=500, resume=path, **options)
    assert np.array_equal(np.concatenate([first.z, then.z, last.z], axis=1), whole.z)
