import dataclasses
import json

import numpy as np
import pytest

import boltzspike as bs
from boltzspike.cli.reading import parse_clamp, parse_time, read_synapse
from boltzspike.errors import ValidationError


@pytest.fixture
def model(tmp_path):
    machine = bs.BoltzmannMachine(weights=[[0, 0.5], [0.5, 0]], biases=[-0.3, 0.2], names=["smoke", "lung"])
    machine.save(tmp_path / "m.json")
    return tmp_path / "m.json"


def test_sample_prints_the_table_and_writes_the_result(model, tmp_path, boltzspike):
    output = tmp_path / "r.nc"
    done = boltzspike("sample", model, "--duration", "500ms", "--chains", 16, "-o", output)
    assert done.returncode == 0, done.stderr
    for word in ("smoke", "lung", "exact", "floor", "effective samples", "x real time"):
        assert word in done.stdout
    assert bs.read(output).z.shape == (16, 50, 2)
    again = boltzspike("sample", model, "--duration", "500ms", "--chains", 16, "-o", output)
    assert again.returncode == 2
    assert again.stderr == f"error: {output}: exists already; --force (force=True) overwrites it\n"
    assert boltzspike("sample", model, "--duration", "500ms", "-o", output, "--force").returncode == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--record", "moments"), "needs the states of every draw"),
        (("--clamping", "spikes"), "needs exponential synapses of one time constant"),
        (("--engine", "gibbs"), "needs a result of LIF neurons"),
        (("--duration", "20ms"), "take at least"),
    ],
)
def test_what_a_budget_cannot_explain_is_refused_before_the_run(arguments, message, model, tmp_path, boltzspike):
    output = tmp_path / "r.nc"
    done = boltzspike("sample", model, "--budget", "-o", output, "--chains", 16, "--duration", "5s", *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("error: error_budget: ")
    assert message in done.stderr
    assert done.stdout == ""
    assert not output.exists()


def test_a_tuned_file_brings_its_neuron_and_synapse_and_no_other_is_taken(model, tmp_path, boltzspike):
    additive = bs.Synapse(plasticity="additive")
    s2 = bs.presets.S2
    calibration = bs.calibrate(s2.neuron, s2.background, control=s2.control)
    made = bs.translate(bs.read(model), calibration, rule="psp", synapse=additive)
    made.save(tmp_path / "t.json")
    sample = ("sample", model, "--rule", tmp_path / "t.json", "--duration", "500ms", "--chains", 16)
    done = boltzspike(*sample)
    assert done.returncode == 0, done.stderr
    assert f"neuron of {tmp_path / 't.json'}" in done.stdout
    assert boltzspike(*sample, "--neuron", "S2", "--plasticity", "additive").returncode == 0
    for other, message in (
        (("--neuron", "S1"), "made for another neuron or background"),
        (("--plasticity", "renewing"), "not for Synapse(plasticity='renewing'"),
    ):
        refused = boltzspike(*sample, *other)
        assert refused.returncode == 2
        assert message in refused.stderr
        tuned = boltzspike("tune", model, "--start", tmp_path / "t.json", "-o", tmp_path / "u.json", *other)
        assert message in tuned.stderr


def test_a_bayesian_network_is_tuned_for_its_evidence(tmp_path, boltzspike):
    bs.networks.sprinkler().save(tmp_path / "n.json")
    given = ("--evidence", "wet=yes", "--likelihood", "cloudy=yes:0.9,no:0.2", "--route", "monomials")
    short = ("--duration", "2s", "--chains", 16)
    tune = ("tune", tmp_path / "n.json", "-o", tmp_path / "t.json")
    done = boltzspike(*tune, *given, *short, "--to", "conditionals", "--steps", 1)
    assert done.returncode == 0, done.stderr
    assert "(monomials)" in done.stdout
    sampled = boltzspike("sample", tmp_path / "n.json", "--rule", tmp_path / "t.json", *given, *short)
    assert sampled.returncode == 0, sampled.stderr
    assert "rule: tuned" in sampled.stdout
    other = boltzspike("sample", tmp_path / "n.json", "--rule", tmp_path / "t.json", "--evidence", "wet=no")
    assert other.returncode == 2
    assert "made for another machine, or for other evidence" in other.stderr
    for wrong, message in (
        (("--clamp", "wet=1"), "clamp: is for machines; a Bayesian network takes --evidence"),
        (("--evidence", "wet=maybe"), "evidence['wet']: no state named 'maybe'"),
    ):
        refused = boltzspike(*tune, "--force", *wrong)
        assert refused.returncode == 2
        assert message in refused.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--record", "moments"), "record: must be 'states': the posterior of a Bayesian network"),
        (("--record", "joint"), "record: must be 'states': the posterior of a Bayesian network"),
        (
            ("--evidence", "wet=yes", "--evidence-at", "0s:wet=no"),
            "evidence_course[0]: evidence['wet']: must be of a variable not observed all the time, got 'no'",
        ),
    ],
)
def test_what_a_posterior_cannot_be_read_from_is_refused_before_the_run(arguments, message, tmp_path, boltzspike):
    bs.networks.sprinkler().save(tmp_path / "n.json")
    output = tmp_path / "r.nc"
    done = boltzspike("sample", tmp_path / "n.json", "-o", output, "--duration", "1s", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert not output.exists()


def test_evidence_that_changes_may_be_about_what_follows_from_others(tmp_path, boltzspike):
    bs.networks.asia().save(tmp_path / "n.json")
    course = ("--evidence-at", "0s:either=yes", "--evidence-at", "10s:either=no,xray=yes")
    run = ("sample", tmp_path / "n.json", "--engine", "gibbs", "--duration", "20s", "--json")
    done = boltzspike(*run, *course)
    assert done.returncode == 0, done.stderr
    episodes = json.loads(done.stdout)["episodes"]
    exact = [
        bs.theory.elimination.posterior(bs.networks.asia(), {"either": s}).marginals[3][0] for s in ("yes", "no")
    ]
    assert exact[1] == 0.0
    for episode, p in zip(episodes, exact, strict=True):
        assert abs(episode["posterior"]["lung"]["yes"] - p) < 0.05  # standard error .01
    wrong = boltzspike(*run, "--evidence-at", "0s:eithr=yes")
    assert wrong.returncode == 2
    assert "no variable named 'eithr'; did you mean 'either'?" in wrong.stderr


def test_the_budget_is_in_the_json(model, boltzspike):
    done = boltzspike("sample", model, "--budget", "--json", "--chains", 16, "--duration", "5s")
    found = json.loads(done.stdout)["budget"]
    whole = sum(share["value"] for share in found["shares"]) + found["remainder"]
    assert whole == pytest.approx(found["bias"])
    assert found["remainder_error"] > 0


def test_sample_takes_evidence_by_name(model, boltzspike):
    done = boltzspike("sample", model, "--clamp", "smoke=1", "--duration", "500ms", "--chains", 16)
    assert done.returncode == 0
    assert "smoke" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--clamp", "smok=1"), "clamp: no unit named 'smok'; did you mean 'smoke'?"),
        (("--clamp", "smoke=2"), "clamp: must be NAME=0 or NAME=1, got 'smoke=2'"),
        (("--duration", "5"), "duration: must be a number with a unit (ms, s, min or h), such as 100s, got '5'"),
        (("--duration=-5s",), "duration: must be > 0 ms, got -5000.0"),
        (("--duration", "0s"), "duration: must be > 0 ms, got 0.0"),
        (("--duration", "1e300h"), "duration: must be at most 7.04e+12 ms (2^46 steps)"),
        (("--duration", "1e9s"), "of memory, got one that takes"),
        (("--duration", "nans"), "duration: must be > 0 ms, got nan"),
        (("--seed", "-1"), "seed: must be an integer in 0 .. 2^64 - 1, got -1"),
        (("--seed", str(2**64)), "seed: must be an integer in 0 .. 2^64 - 1"),
        (("--threads", "0"), "threads: must be in 1 .. "),
        (("--threads", "1000000"), "threads: must be in 1 .. "),
        (("--chains", "0"), "chains: must be an integer in 1 .. 2^20, got 0"),
        (("--chains", "10000000"), "chains: must be an integer in 1 .. 2^20, got 10000000"),
        (("--dt", "0"), "dt: must be > 0 ms, got 0.0"),
        (("--dt", "nan"), "dt: must be > 0 ms, got nan"),
        (("--burn-in=-1s",), "burn_in: must be >= 0 ms, got -1000.0"),
        (("--record", "raster"), "record: must be 'states', 'moments', 'joint' or a Record, got 'raster'"),
        (("--resume", "none.npz"), "none.npz: can't be read: No such file or directory"),
        (("--neuron", "S9"), "preset: no set named 'S9'; known: S1, S2"),
        (("--dt", "0.3"), "dt: must be a whole part of tau_refrac = 10 ms, got 0.3"),
        (("--route", "fitted"), "route: is for Bayesian networks, which are compiled"),
        (("--encoding", "bits"), "encoding: is for Bayesian networks, which are compiled"),
        (("-o", "r.txt"), "r.txt: must end in .nc or .nc4 or .h5 or .zarr"),
        (
            ("--engine", "foo"),
            "engine: no engine named 'foo'; known: reference, numba, numba-exact, cuda, nest, gibbs",
        ),
        (("--engine", "gibbs", "--plasticity", "additive"), "synapse: must be left out with the engine 'gibbs'"),
        (("--engine", "gibbs", "--dt", "0.3"), "dt: must be left out with the engine 'gibbs'"),
        (("--rule", "magic"), "rule: no translation rule named 'magic'"),
        (("-o", "/nonexistent/folder/r.nc"), "the folder '/nonexistent/folder' does not exist"),
    ],
)
def test_a_bad_argument_is_one_line_on_stderr_and_exit_code_2(model, arguments, message, boltzspike):
    done = boltzspike("sample", model, *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


def test_a_missing_model_is_one_line(tmp_path, boltzspike):
    done = boltzspike("sample", tmp_path / "none.json")
    assert done.returncode == 2
    assert done.stderr == f"error: {tmp_path / 'none.json'}: can't be read: No such file or directory\n"


def test_calibrate_prints_and_writes_a_calibration_that_sample_takes(model, tmp_path, boltzspike):
    path = tmp_path / "c.json"
    done = boltzspike("calibrate", "--neuron", "thesis", "-o", path)
    assert done.returncode == 0
    assert "nA" in done.stdout
    assert bs.read(path).control == "i_offset"
    assert boltzspike("sample", model, "--neuron", path, "--duration", "100ms", "--chains", 4).returncode == 0
    not_a_calibration = boltzspike("sample", model, "--neuron", model)
    assert "must be a calibration, got a BoltzmannMachine" in not_a_calibration.stderr


def test_response_prints_theory_and_simulation_side_by_side(tmp_path, boltzspike):
    path = tmp_path / "curve.json"
    methods = ("--method", "burst", "--method", "simulation")
    done = boltzspike("response", *methods, "--duration", "500ms", "--points", 5, "-o", path)
    assert done.returncode == 0
    assert "simulation" in done.stdout
    assert np.all(np.diff(bs.read(path).p) > 0)


@pytest.mark.parametrize("command", ["calibrate", "response"])
def test_a_curve_can_be_drawn(command, tmp_path, boltzspike):
    done = boltzspike(command, "--neuron", "S2", "--plot", tmp_path / "curve.png")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "curve.png").read_bytes().startswith(b"\x89PNG")
    again = boltzspike(command, "--neuron", "S2", "--plot", tmp_path / "curve.png")
    assert "exists already" in again.stderr
    foreign = boltzspike(command, "--neuron", "S2", "--plot", tmp_path / "curve.xyz")
    assert foreign.returncode == 2
    assert "curve.xyz" in foreign.stderr


def test_a_warning_is_one_line_on_stderr(tmp_path, boltzspike):
    neuron = dataclasses.replace(bs.presets.S1.neuron, tau_syn_exc=5.0)
    bs.calibrate(neuron, bs.presets.S1.background).save(tmp_path / "c.json")
    done = boltzspike("response", "--neuron", tmp_path / "c.json", "--method", "burst", "--points", 5)
    assert done.returncode == 0
    assert done.stderr.startswith("warning: the burst theory knows one tau_syn")
    assert done.stderr.count("\n") == 1


def test_doctor_passes_its_self_test(boltzspike):
    done = boltzspike("doctor")
    assert done.returncode == 0
    assert "self-test: passed" in done.stdout


@pytest.mark.parametrize(
    ("text", "ms"), [("100s", 1e5), ("5e4ms", 5e4), ("2min", 1.2e5), ("1h", 3.6e6), ("0.5s", 500)]
)
def test_times_have_units(text, ms):
    assert parse_time(text, "duration") == ms


@pytest.mark.parametrize("text", ["", "s", "fast", "1e3", "1 0s"])
def test_a_time_without_sense_is_refused(text):
    with pytest.raises(ValidationError, match="duration: must be a number with a unit"):
        parse_time(text, "duration")


def test_evidence_may_be_repeated_or_listed():
    assert parse_clamp(["a=1", "b=0,c=1"]) == {"a": 1, "b": 0, "c": 1}
    assert parse_clamp(["x=y=1"]) == {"x=y": 1}
    with pytest.raises(ValidationError, match=r"clamp\['a'\]: must be given once"):
        parse_clamp(["a=1", "a=0"])


@pytest.mark.parametrize("record", ["moments", "joint"])
def test_a_run_can_be_recorded_without_states_and_resumed(model, tmp_path, record, boltzspike):
    run = ("sample", model, "--chains", 16, "--record", record, "--duration", "500ms")
    first = boltzspike(*run, "--checkpoint", tmp_path / "c.npz", "-o", tmp_path / "first.nc")
    assert first.returncode == 0, first.stderr
    assert ("D_KL" in first.stdout) == (record == "joint")
    then = boltzspike(*run, "--resume", tmp_path / "c.npz", "-o", tmp_path / "then.nc")
    assert then.returncode == 0, then.stderr
    parts = [bs.read(tmp_path / name).samples for name in ("first.nc", "then.nc")]
    assert parts[0].stop == parts[1].start
    other = boltzspike(*run, "--resume", tmp_path / "c.npz", "--seed", 2)
    assert other.returncode == 2
    assert "seed: must be that of the run, 2, got 1" in other.stderr


def test_a_response_of_no_points_is_refused(boltzspike, tmp_path):
    done = boltzspike("response", "--points", 0)
    assert (done.returncode, done.stderr) == (2, "error: points: must be at least 2, got 0\n")
    done = boltzspike("calibrate", "-o", tmp_path / "c.txt")
    assert (done.returncode, done.stderr[:7]) == (2, "error: ")
    assert "c.txt: must end in .json" in done.stderr


def test_show_of_a_bayesian_network_fits_a_terminal(boltzspike, tmp_path):
    bs.networks.asia().save(tmp_path / "asia.json")
    done = boltzspike("show", tmp_path / "asia.json")
    assert "(yes, no), (yes, no)" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_a_synapse_is_named_by_its_plasticity_recovery_or_teeth_and_delay():
    assert read_synapse("renewing,delay=2ms") == bs.Synapse(delay=2.0)
    assert read_synapse("teeth=5") == bs.Synapse(plasticity="additive", teeth=5)
    depressing = bs.Synapse(plasticity="tsodyks-markram", U=1.0, tau_rec=13.0, delay=1.0)
    assert read_synapse("tau_rec=13,delay=1") == depressing
    general = bs.Synapse(plasticity="tsodyks-markram", U=0.5, tau_rec=10.0, tau_fac=5.0, delay=2.0)
    assert read_synapse("U=0.5,tau_rec=10,tau_fac=5ms,delay=2") == general
    assert read_synapse("delay=2") == bs.Synapse(delay=2.0)
    for text, message in (
        ("teeth=two", "teeth must be a number of synapses, got 'two'"),
        ("teeth=1.5", "Synapse.teeth: must be None, or an integer of at least 1, got 1.5"),
        ("teeth=2,dely=1", "expected U=NUMBER, .*, delay=NUMBER, got 'dely=1'"),
        ("renewed=1", "expected a name .* or U=NUMBER, .*, got 'renewed=1'"),
        ("U=0.5,U=0.6", "U must be given once, got twice"),
        ("U=0.5,tau_fac=5", "Synapse.tau_rec: must be"),
        ("renewing,U=0.5", "Synapse.U: must be None unless"),
    ):
        with pytest.raises(ValidationError, match=message):
            read_synapse(text)
