"""show, compare, --json and --until: what is printed, and the exit codes of docs/cli.md."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

import boltzspike as bs
from boltzspike.cli import app
from boltzspike.errors import ValidationError


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    machine = bs.BoltzmannMachine(weights=[[0, 0.5], [0.5, 0]], biases=[-0.3, 0.2], names=["smoke", "lung"])
    machine.save(folder / "m.json")
    for name, seed, biases in (("a", 1, [-0.3, 0.2]), ("b", 2, [-0.3, 0.2]), ("c", 3, [0.0, 0.2])):
        other = bs.BoltzmannMachine(weights=machine.weights, biases=biases, names=machine.names)
        bs.sample(other, engine="gibbs", duration=2e4, chains=16, seed=seed).save(folder / f"{name}.nc")
    return folder


def test_show_prints_the_answer_and_the_verdict(files, run):
    done = run("show", files / "a.nc")
    assert done.exit_code == 0
    for word in ("engine gibbs", "seed 1", "smoke", "exact", "verdict: The chains agree", "No bias shows"):
        assert word in done.stdout


def test_show_as_json_is_json_alone(files, run):
    found = json.loads(run("show", files / "a.nc", "--json").stdout)
    result = bs.read(files / "a.nc")
    assert found["units"] == ["smoke", "lung"]
    assert found["marginals"] == pytest.approx(list(result.marginals()))
    assert found["verdict"]["level"] == "good"
    assert found["d_kl"]["bias"] == pytest.approx(result.kl_divergence().bias)
    assert found["configuration"]["seed"] == 1
    assert found["missing"] == {}


def test_what_is_missing_is_null_and_says_why(tmp_path, files, run):
    machine = bs.read(files / "m.json")
    bs.sample(machine, duration=2e3, chains=16, record="moments").save(tmp_path / "r.nc")
    found = json.loads(run("show", tmp_path / "r.nc", "--json").stdout)
    assert found["verdict"] is None
    assert "needs what was not recorded" in found["missing"]["verdict"]
    assert found["marginals"] is not None


def test_show_takes_any_file(files, run):
    done = run("show", files / "m.json")
    assert "BoltzmannMachine" in done.stdout
    assert "smoke, lung" in done.stdout
    assert json.loads(run("show", files / "m.json", "--json").stdout)["type"] == "BoltzmannMachine"


def test_compare_tells_noise_from_a_difference(files, run):
    same = run("compare", files / "a.nc", files / "b.nc")
    assert same.exit_code == 0
    assert "no difference shows" in same.stdout
    different = run("compare", files / "a.nc", files / "c.nc")
    assert different.exit_code == 1
    assert "the targets differ" in different.stdout
    assert "differ:\n  marginals: p = 0.0001" in different.stdout
    for of in ("pairs", "joint"):
        assert f"\n  {of}: p = " in same.stdout
    found = json.loads(run("compare", files / "a.nc", files / "c.nc", "--json").stdout)
    assert found["different"] is True
    assert found["same_target"] is False
    assert found["first"][0] < found["second"][0]


def test_what_can_not_be_compared_is_refused(files, tmp_path, run):
    with pytest.raises(ValidationError, match="m.json: must be a result, got a BoltzmannMachine"):
        run("compare", files / "a.nc", files / "m.json")
    machine = bs.read(files / "m.json")
    bs.sample(machine, engine="gibbs", duration=1e3, chains=16, clamp={0: 1}).save(tmp_path / "r.nc")
    with pytest.raises(ValidationError, match="compare: must be of the same evidence"):
        run("compare", files / "a.nc", tmp_path / "r.nc")


def test_sample_as_json_says_everything_else_on_stderr(files, tmp_path, run):
    arguments = ("--engine", "gibbs", "--duration", "2s", "--chains", 16, "--json", "-o", tmp_path / "r.nc")
    done = run("sample", files / "m.json", *arguments)
    assert json.loads(done.stdout)["marginals"] == pytest.approx(list(bs.read(tmp_path / "r.nc").marginals()))
    assert "wrote" in done.stderr
    assert "smoke" in done.stderr


def test_sample_stops_when_the_precision_is_reached(files, run):
    arguments = ("--engine", "gibbs", "--duration", "64s", "--chains", 16)
    done = run("sample", files / "m.json", *arguments, "--until", "mcse<0.01")
    assert done.exit_code == 0
    assert "reached: mcse<0.01 after" in done.stdout
    missed = run("sample", files / "m.json", *arguments, "--until", "mcse<1e-6")
    assert missed.exit_code == 3
    assert "not reached: mcse<1e-06 after 64 s" in missed.stdout
    with pytest.raises(ValidationError, match="until: must be mcse<X"):
        run("sample", files / "m.json", "--until", "fast")


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completions_can_be_had(shell, monkeypatch):
    # else Typer takes the shell that runs the tests, which need not be one that completes
    monkeypatch.setenv("_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION", "1")
    done = CliRunner().invoke(app, ["--show-completion", shell], prog_name="boltzspike")
    assert done.exit_code == 0, done.output
    assert "_BOLTZSPIKE_COMPLETE=" in done.output


def test_show_writes_the_page_of_a_result(files, tmp_path, run):
    page = tmp_path / "a.html"
    done = run("show", files / "a.nc", "--report", page)
    assert f"wrote {page}" in done.stdout
    assert "smoke" in page.read_text()
    with pytest.raises(ValidationError, match="exists already"):
        run("show", files / "a.nc", "--report", page)
    json.loads(run("show", files / "a.nc", "--report", page, "--force", "--json").stdout)
    with pytest.raises(ValidationError, match="must be a result, got a BoltzmannMachine"):
        run("show", files / "m.json", "--report", tmp_path / "m.html")


def test_json_compares_each_stretch_of_changing_evidence_with_its_own_target(files, tmp_path, run):
    machine = bs.read(files / "m.json")
    course = [(0.0, {"smoke": 1}), (2000.0, {"smoke": 0})]
    bs.sample(machine, duration=4000.0, chains=16, evidence_course=course).save(tmp_path / "e.nc")
    found = json.loads(run("show", tmp_path / "e.nc", "--settle", "100ms", "--json").stdout)
    assert found["exact_marginals"] is None
    assert "the evidence changed" in found["missing"]["verdict"]
    short = json.loads(run("show", tmp_path / "e.nc", "--settle", "3s", "--json").stdout)
    assert short["episodes"] is None
    assert "during: must be within" in short["missing"]["episodes"]
    assert [part["clamp"] for part in found["episodes"]] == [{"smoke": 1}, {"smoke": 0}]
    for part, value in zip(found["episodes"], (1, 0)):
        assert part["marginals"][0] == part["exact_marginals"][0] == value
        assert part["exact_marginals"] == pytest.approx(exact(machine, value))


def exact(machine, value):
    """Return the marginals with the first of two units held."""
    return [value, 1 / (1 + np.exp(-(machine.biases[1] + machine.weights[0, 1] * value)))]


def test_a_command_that_was_stopped_says_so_and_exits_with_its_signal(monkeypatch, files, tmp_path, run):
    for stop, code in ((KeyboardInterrupt(), 130), (bs.Interrupted("stopped", signal=15, result=None), 143)):
        monkeypatch.setattr("boltzspike.pipeline.tune", raising(stop))
        done = run("tune", files / "m.json", "-o", tmp_path / "t.json")
        assert done.exit_code == code
        assert done.stderr.endswith("interrupted\n")


def raising(error):
    """Return a function that raises the error."""

    def run(*_, **__):
        raise error

    return run
