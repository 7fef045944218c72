"""Exported scripts are run, as a user would run them, and what they leave is compared with our own samples."""

import dataclasses
import json

import numpy as np
import pytest
from scipy.sparse import csr_array

import boltzspike as bs
from boltzspike.errors import UnsupportedFeature, ValidationError
from boltzspike.export.reading import read_spikes
from boltzspike.export.simulators import SIMULATORS, write_simulator
from boltzspike.portable import PORTABLE
from boltzspike.program import compile_program

from .conftest import run_script

S1, S5A = bs.presets.S1, bs.presets.S5a
SETTINGS = {"duration": 300.0, "burn_in": 100.0, "chains": 4, "seed": 1, "threads": 1}
QUICK = {"nest": ("nest", ()), "brian2": ("brian2", ("--target", "numpy")), "pynn-nest": ("pynn", ("nest",))}
ALL = QUICK | {"brian2": ("brian2", ()), "pynn-brian2": ("pynn", ("brian2",))}
DISTORTION = {"nest": 0.003, "brian2": 0.003, "pynn-nest": 0.003, "pynn-brian2": 0.02}
"""Of marginals, what docs/interop.md states."""


def compare(folder, machine, calibration, distortion, **options):
    """Compare the marginals of a folder that was run with ours, unit by unit."""
    found = bs.read(folder)
    ours = bs.sample(machine, calibration=calibration, duration=5e4, chains=64, threads=1, **options)
    difference = found.marginals() - ours.marginals()
    error = np.hypot(found.marginals_error(), ours.marginals_error())
    print(found.configuration["engine"], difference, error)
    assert np.all(np.abs(difference) < distortion + 4.5 * error)
    return found, error


@pytest.mark.parametrize("way", QUICK)
def test_a_short_run_comes_back_as_a_result(way, machine, s1_calibration, tmp_path):
    to, arguments = QUICK[way]
    target = machine(3)
    done = bs.export(
        target, tmp_path / "net", to=to, calibration=s1_calibration, rule="psp", duration=1000.0, burn_in=200.0,
        chains=16,
    )  # fmt: skip
    assert done.losses == ()
    assert {"run.py", "run.json", "network.npz", "machine.json", "translation.json"} <= set(done.files)
    assert "16 chains, 1000 ms each" in run_script(tmp_path / "net", *arguments)
    found, error = compare(tmp_path / "net", target, s1_calibration, DISTORTION[way], rule="psp")
    assert found.z.shape == (16, 100, 3)
    assert found.machine == target
    assert found.kl_divergence().value < 0.1
    assert error.max() < 0.03
    spikes = found.samples.spikes
    assert np.diff(np.sort(spikes.step[(spikes.chain == 0) & (spikes.unit == 0)])).min() >= 100


@pytest.mark.slow
@pytest.mark.parametrize("n", [3, 5])
@pytest.mark.parametrize("way", ALL)
def test_the_marginals_are_ours(way, n, machine, s1_calibration, tmp_path):
    to, arguments = ALL[way]
    target = machine(n)
    duration = 3000.0 if way == "pynn-brian2" else 20000.0
    bs.export(
        target, tmp_path / "net", to=to, calibration=s1_calibration, rule="psp", duration=duration, chains=32
    )
    run_script(tmp_path / "net", *arguments)
    _, error = compare(tmp_path / "net", target, s1_calibration, DISTORTION[way], rule="psp")
    assert error.max() < (0.012 if way == "pynn-brian2" else 0.005)


@pytest.mark.slow
@pytest.mark.parametrize("way", QUICK)
def test_current_based_neurons_are_ours(way, machine, tmp_path):
    to, arguments = QUICK[way]
    calibration = bs.calibrate(S5A.neuron, S5A.background)
    bs.export(machine(3), tmp_path / "net", to=to, calibration=calibration, rule="psp", duration=5000.0, chains=32)
    run_script(tmp_path / "net", *arguments)
    compare(tmp_path / "net", machine(3), calibration, DISTORTION[way], rule="psp")


def test_evidence_and_threads_are_kept(machine, s1_calibration, tmp_path):
    bs.export(
        machine(3), tmp_path / "net", to="nest", calibration=s1_calibration, rule="psp", clamp={1: 1},
        duration=1000.0, chains=16, threads=2,
    )  # fmt: skip
    run_script(tmp_path / "net")
    found = bs.read(tmp_path / "net")
    assert found.marginals()[1] == 1
    assert found.clamp == {1: 1}
    truth = found.exact().marginals
    assert np.all(np.abs(found.marginals() - truth) < 0.03 + 4.5 * found.marginals_error())


REGULAR = dataclasses.replace(S5A.neuron, v_rest=-49.9, v_reset=-53.0)
DRIVEN = dataclasses.replace(S5A.neuron, v_rest=-51.0, v_reset=-53.0, tau_refrac=3.0)
SILENT = bs.PoissonBackground(rates=[], weights=[])
PLASTICITIES = {
    "renewing": bs.Synapse(delay=0.5),
    "additive": bs.Synapse(plasticity="additive", delay=0.5),
    "tsodyks-markram": bs.Synapse(plasticity="tsodyks-markram", delay=0.5, U=0.4, tau_rec=60.0, tau_fac=30.0),
    "additive, teeth": bs.Synapse(plasticity="additive", teeth=5, delay=0.5),
    "renewing, unequal tau_syn": bs.Synapse(delay=0.5),
}


def noise_free(plasticity):
    """A regular neuron drives one that it makes irregular, and both a third."""
    neurons = [REGULAR, dataclasses.replace(DRIVEN, v_rest=-48.0), DRIVEN]
    if plasticity.endswith("unequal tau_syn"):
        neurons[2] = dataclasses.replace(DRIVEN, tau_syn_exc=5.0)
    weights = np.array([[0, 0, 0], [-0.3, 0, 0], [1.2, 0.4, 0]])
    return bs.SpikingNetwork(
        neurons=neurons, backgrounds=SILENT, weights=weights, synapse=PLASTICITIES[plasticity]
    )


def one_way(**values):
    """Units of which each drives the later ones; without noise, so that spikes can be compared."""
    neurons = [REGULAR, dataclasses.replace(DRIVEN, v_rest=-48.0), DRIVEN, DRIVEN]
    weights = np.array([[0, 0, 0, 0], [-0.3, 0, 0, 0], [1.2, 0.4, 0, 0], [1.3, 0, 0.2, 0]])
    delays = np.where(weights, np.array([[1.0], [0.3], [0.5], [1.7]]) + 0.2 * np.arange(4), 0.1)
    if values.pop("sparse", False):
        weights, delays = csr_array(weights), csr_array(np.where(weights, delays, 0))
    return bs.SpikingNetwork(neurons=neurons, backgrounds=SILENT, weights=weights, delays=delays)


def reference_spikes(program, steps):
    from boltzspike.engines import get_engine
    from boltzspike.samples import Record

    runner = get_engine("reference").prepare(program)
    return runner.run(runner.init(seed=1, chains=1), steps, Record(spikes=True))[0].spikes


@pytest.mark.parametrize("to", [pytest.param("brian2", marks=pytest.mark.slow), "pynn-nest"])
def test_delays_of_each_synapse_sparse_weights_and_clamps_arrive(to, tmp_path):
    """PyNN has no clamps; NEST integrates otherwise, so a threshold may be crossed a step off."""
    clamp = {0: 1} if to == "brian2" else {}
    program = compile_program(one_way(sparse=True), clamp=clamp)
    name, arguments = QUICK[to]
    settings = SETTINGS | {"burn_in": 0.0, "chains": 1, "duration": 60.0}
    write_simulator(SIMULATORS[name], program, tmp_path / "net", settings=settings, about={})
    run_script(tmp_path / "net", *arguments)
    ours, theirs = reference_spikes(program, 600), read_spikes(tmp_path / "net")[0].spikes
    for unit in range(4):
        a, b = (spikes.step[spikes.unit == unit] for spikes in (ours, theirs))
        assert len(a) == len(b) > 3
        assert np.abs(a - b).max() <= (0 if to == "brian2" else 1)


@pytest.mark.parametrize(
    "plasticity",
    [pytest.param(name, marks=[] if "unequal" in name else pytest.mark.slow) for name in PLASTICITIES],
)
def test_without_noise_brian2_spikes_as_the_reference_engine_does(plasticity, tmp_path):
    """The same scheme, spike by spike; NEST's script is held to its traces in tests/engines/test_nest.py."""
    program = compile_program(noise_free(plasticity))
    ours = reference_spikes(program, 3000)
    settings = SETTINGS | {"burn_in": 0.0, "chains": 1}
    write_simulator(SIMULATORS["brian2"], program, tmp_path / "net", settings=settings, about={})
    run_script(tmp_path / "net", "--target", "numpy")
    theirs = read_spikes(tmp_path / "net")[0].spikes
    assert len(np.unique(np.diff(ours.step[ours.unit == 2]))) > 2
    np.testing.assert_array_equal(theirs.unit, ours.unit)
    np.testing.assert_array_equal(theirs.step, ours.step)


LACKS = {
    "alpha": {"neurons": dataclasses.replace(S1.neuron, kernel="alpha")},
    "shared-background": {"shared": bs.SharedBackground(rates=[10.0], weights=np.ones((2, 1)))},
    "tsodyks-markram": {"synapse": PLASTICITIES["tsodyks-markram"]},
    "random-refractory": {"neurons": dataclasses.replace(S1.neuron, refractory=bs.RandomRefractory(sd=3.0))},
    "varying-bias": {"schedule": bs.Piecewise(quantity="v_rest", times=[3.0], values=[1.0])},
}


@pytest.mark.parametrize("to", SIMULATORS)
@pytest.mark.parametrize("feature", LACKS)
def test_what_a_script_does_not_build_is_refused_by_name(to, feature, tmp_path):
    base = {"neurons": S1.neuron, "backgrounds": S1.background, "weights": np.array([[0, 0.001], [0.001, 0]])}
    program = compile_program(bs.SpikingNetwork(**(base | LACKS[feature])))
    write = lambda: write_simulator(SIMULATORS[to], program, tmp_path / "net", settings=SETTINGS, about={})
    if feature in SIMULATORS[to].features:
        assert "run.py" in write()
        return
    with pytest.raises(UnsupportedFeature, match=f"{to} can't hold: {feature}"):
        write()
    assert not list(tmp_path.iterdir())


def test_only_features_that_the_arrays_hold_are_claimed():
    assert all(simulator.features <= PORTABLE for simulator in SIMULATORS.values())


def test_short_term_plasticity_with_long_delays_is_refused_for_brian2(tmp_path):
    base = {"neurons": S1.neuron, "backgrounds": S1.background, "weights": np.array([[0, 0.001], [0.001, 0]])}
    program = compile_program(bs.SpikingNetwork(**base, synapse=bs.Synapse(delay=10.1)))
    with pytest.raises(UnsupportedFeature, match="longer than the refractory period"):
        write_simulator(SIMULATORS["brian2"], program, tmp_path / "net", settings=SETTINGS, about={})


@pytest.fixture
def ran(tmp_path):
    """Return an exported folder with the spikes of two ranks."""
    network = bs.SpikingNetwork(neurons=S1.neuron, backgrounds=S1.background, weights=np.zeros((2, 2)))
    folder = tmp_path / "net"
    write_simulator(SIMULATORS["nest"], compile_program(network), folder, settings=SETTINGS, about={})
    for rank in (0, 1):
        leave_spikes(folder, rank)
    return folder


def leave_spikes(folder, rank, **values):
    arrays = {
        "chain": np.array([0, 1]), "unit": np.array([rank, rank]), "step": np.array([-5, 150]), "chains": 2,
        "steps": 300, "burn_in_steps": 100, "dt": 0.1, "seed": 1, "rank": rank, "ranks": 2, "seconds": 1.0,
        "simulator": "NEST 3.10", "threads": 1,
    }  # fmt: skip
    np.savez(folder / f"spikes-{rank}.npz", **(arrays | values))


def test_the_spikes_of_all_ranks_are_put_together(ran):
    samples, how = read_spikes(ran)
    assert how["chains"] == 2
    assert samples.spikes.step.tolist() == [150, 150]
    assert samples.spikes.before[0].tolist() == [-5, -5]
    # 95 steps are left of the spikes before the start, 100 of those at 150
    assert samples.spikes.marginals() == pytest.approx(np.array([[95, 95], [100, 100]]) / 300)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda f: (f / "spikes-1.npz").unlink(), r"must be those of the ranks \[0, 1\], got \[0\]"),
        (lambda f: leave_spikes(f, 1, seed=2), "spikes-1.npz: seed: must be 1, as in spikes-0.npz, got '2'"),
        (lambda f: leave_spikes(f, 1, unit=np.array([7, 7])), "must be of 2 chains and 2 units, got '2 others'"),
        (lambda f: (f / "spikes-0.npz").write_bytes(b"no zip"), "spikes-0.npz: can't be read as npz"),
        (lambda f: [g.unlink() for g in f.glob("spikes-*")], "holds no spikes yet; run it first: python"),
        (lambda f: (f / "network.npz").unlink(), "network.npz: can't be read: No such file"),
    ],
)
def test_spikes_that_are_not_of_one_run_are_refused(ran, damage, message):
    damage(ran)
    with pytest.raises(ValidationError, match=message):
        read_spikes(ran)


def test_a_folder_is_replaced_only_if_it_was_exported_and_on_request(ran, tmp_path):
    program = compile_program(bs.SpikingNetwork(neurons=S1.neuron, backgrounds=S1.background, weights=[[0.0]]))
    write = lambda folder, **how: write_simulator(
        SIMULATORS["nest"], program, folder, settings=SETTINGS, about={}, **how
    )
    with pytest.raises(ValidationError, match="exists already; --force"):
        write(ran)
    write(ran, force=True)
    assert not list(ran.glob("spikes-*"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("years of work")
    with pytest.raises(ValidationError, match="exists already; it holds other files"):
        write(tmp_path / "mine", force=True)
    with pytest.raises(ValidationError, match="a folder, but not one that boltzspike exported"):
        bs.read(tmp_path / "mine")
    with pytest.raises(ValidationError, match=r"exported without a target; export.reading.read_spikes"):
        bs.read(ran)
    with pytest.raises(ValidationError, match="does not exist"):
        write(tmp_path / "no" / "such")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["mine", "net"]


def test_a_failed_write_leaves_nothing(machine, s1_calibration, tmp_path, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez_compressed", full)
    with pytest.raises(ValidationError, match="can't be written: No space left on device"):
        bs.export(machine(2), tmp_path / "net", to="nest", calibration=s1_calibration, rule="psp")
    assert not list(tmp_path.iterdir())


def test_run_json_holds_the_settings(machine, s1_calibration, tmp_path):
    bs.export(machine(2), tmp_path / "n", to="pynn", calibration=s1_calibration, rule="psp", seed=7, threads=3)
    settings = json.loads((tmp_path / "n" / "run.json").read_text())
    assert settings == {"duration": 1e5, "burn_in": 1000.0, "chains": 64, "seed": 7, "threads": 3}
