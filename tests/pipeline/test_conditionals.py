"""Posteriors of Bayesian networks by networks tuned to conditionals, against exact elimination."""

import numpy as np
import pytest

import boltzspike as bs


def off(result):
    sampled, exact = result.posterior(), result.exact_posterior()
    return np.array([sampled[v][s] - exact[v][s] for v in sampled for s in sampled[v]])


@pytest.mark.filterwarnings("ignore:largest")  # of the rule without tuning
@pytest.mark.parametrize("evidence", [{"smoke": "yes", "bronc": "yes"}, {"dysp": "no"}])
def test_the_posterior_of_a_tuned_network_is_within_its_error_of_the_exact_one(evidence):
    options = {"evidence": evidence, "duration": 2e4, "seed": 11}
    untuned = bs.sample(bs.networks.asia(), **options)
    result = bs.sample(bs.networks.asia(), rule="conditionals", **options)
    errors = np.array([e for states in result.posterior_error().values() for e in states.values()])
    # tuning's own runs are about as long as the one that samples, so its noise is about as large
    assert np.all(np.abs(off(result)) < 4 * np.sqrt(2) * errors + result.compiled.report.marginal_error)
    assert np.abs(off(result)).max() < np.abs(off(untuned)).max() / 2


def test_queries_and_the_command_line_take_the_rule(tmp_path, run):
    asked = bs.sample_queries(
        bs.networks.sprinkler(), [{"wet": "no"}], rule="conditionals", duration=2000, chains=16
    )
    assert asked.answers[0].rule == "tuned"
    machine = bs.BoltzmannMachine(weights=[[0, 1.0], [1.0, 0]], biases=[0.1, -0.2])
    machine.save(tmp_path / "m.json")
    short = ("--duration", "2s", "--chains", "16")
    done = run("tune", tmp_path / "m.json", "--to", "conditionals", *short, "-o", tmp_path / "t.json")
    assert "D_KL of the conditionals" in done.stdout
    tuned = bs.read(tmp_path / "t.json")
    done = run("sample", tmp_path / "m.json", "--rule", tmp_path / "t.json", *short)
    assert done.exit_code == 0
    assert bs.tune(machine, start=tuned, to="conditionals", duration=2000, steps=1).machine == machine
    assert run("sample", tmp_path / "m.json", "--rule", "conditionals", *short).exit_code == 0


@pytest.mark.filterwarnings("ignore:.*largest")  # of the rule that tuning starts from
def test_the_command_line_answers_one_query_and_a_file_of_them_by_tuned_networks(tmp_path, run):
    bs.networks.sprinkler().save(tmp_path / "sprinkler.json")
    (tmp_path / "queries.csv").write_text("wet,cloudy\nno,\nyes,no\n")
    short = ("--rule", "conditionals", "--duration", "2s", "--chains", "16")
    one = run("sample", tmp_path / "sprinkler.json", "--evidence", "wet=no", *short)
    assert one.exit_code == 0
    assert "rule: tuned" in one.stdout
    many = run("sample", tmp_path / "sprinkler.json", "--evidence-file", tmp_path / "queries.csv", *short)
    assert many.exit_code == 0
    assert "2 queries: mean difference from exact" in many.stdout
