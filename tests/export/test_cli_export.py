import subprocess
import sys

import pytest

import boltzspike as bs


@pytest.fixture
def model(tmp_path):
    machine = bs.BoltzmannMachine(weights=[[0, 0.5], [0.5, 0]], biases=[-0.3, 0.2], names=["smoke", "lung"])
    machine.save(tmp_path / "m.json")
    return tmp_path / "m.json"


def test_export_says_what_it_wrote_what_is_lost_and_what_comes_next(model, tmp_path, boltzspike):
    done = boltzspike("export", model, "--to", "nir", "-o", tmp_path / "n", "--allow-loss", "--clamp", "smoke=1")
    assert done.returncode == 0, done.stderr
    assert "network.nir" in done.stdout
    assert "  lost: refractory: tau_refrac = 10 ms stands in the metadata alone" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("next: nir.read(")


def test_an_exported_folder_that_was_run_is_read_by_every_command(model, tmp_path, boltzspike):
    folder = tmp_path / "net"
    options = ("--duration", "300ms", "--burn-in", "100ms", "--chains", 16, "--rule", "psp")
    done = boltzspike("export", model, "--to", "nest", "-o", folder, *options)
    assert done.returncode == 0, done.stderr
    subprocess.run([sys.executable, folder / "run.py"], check=True, capture_output=True)
    assert bs.read(folder).z.shape == (16, 30, 2)
    again = boltzspike("export", model, "--to", "nest", "-o", folder)
    assert again.returncode == 2
    assert "exists already; --force" in again.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--to", "neuron"), "to: no target named 'neuron'; known: nest, brian2, pynn, nir, brainscales, n-bit"),
        (("--to", "nir"), "nir can't hold all of this network; --allow-loss (allow_loss=True) writes it without:"),
        (("--to", "nest", "--chains", "0"), "chains: must be an integer, at least 1, got 0"),
        (("--to", "nest", "--threads", "0"), "threads: must be an integer, at least 1, got 0"),
        (("--to", "nest", "--seed", "-1"), "seed: must be an integer, at least 0, got -1"),
        (("--to", "nest", "--duration", "0s"), "duration: must be >= 0.1 ms, got 0.0"),
        (("--to", "nest", "--dt", "0.3"), "must be a multiple of dt = 0.3 ms"),
        (("--to", "n-bit", "--bits", "0"), "Chip.weight_bits: must be an integer in 1 .. 24, got 0"),
        (("--to", "nest", "--clamp", "smok=1"), "clamp: no unit named 'smok'; did you mean 'smoke'?"),
        (("--to", "nest", "--rule", "magic"), "rule: no translation rule named 'magic'"),
    ],
)
def test_a_bad_argument_is_an_error_and_writes_nothing(model, tmp_path, arguments, message, boltzspike):
    done = boltzspike("export", model, "-o", tmp_path / "out", *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_bayesian_network_is_exported_as_the_machine_of_its_posterior(tmp_path, boltzspike):
    bs.networks.sprinkler().save(tmp_path / "n.json")
    options = ("--evidence", "wet=yes", "--duration", "2s", "--chains", 32, "--rule", "conditionals")
    done = boltzspike("export", tmp_path / "n.json", "--to", "nest", "-o", tmp_path / "net", *options)
    assert done.returncode == 0, done.stderr
    subprocess.run([sys.executable, tmp_path / "net" / "run.py"], check=True, capture_output=True)
    result = bs.read(tmp_path / "net")
    dry = result.machine.names.index("rain=no")
    exact = bs.sample(bs.networks.sprinkler(), evidence={"wet": "yes"}, duration=100, chains=16).exact_posterior()
    assert result.marginals()[dry] == pytest.approx(exact["rain"]["no"], abs=0.06)
    refused = boltzspike("export", tmp_path / "n.json", "--to", "nir", "-o", tmp_path / "x", "--clamp", "wet=1")
    assert refused.returncode == 2
    assert "clamp: is for machines; a Bayesian network takes --evidence" in refused.stderr


def test_a_bayesian_network_is_told_what_to_do_first(tmp_path):
    with pytest.raises(bs.ValidationError, match=r"takes a machine, not a BayesianNetwork; compile_bayes"):
        bs.export(bs.networks.sprinkler(), tmp_path / "out", to="nest")
