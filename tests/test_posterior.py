import dataclasses
import itertools
import json
import re
import subprocess
import sys

import numpy as np
import pytest

import boltzspike as bs
from boltzspike.cli.reading import parse_evidence
from boltzspike.errors import ValidationError
from boltzspike.report.answers import answer
from boltzspike.report.trust import trust
from boltzspike.samples import PackedStates
from boltzspike.theory import elimination


def boltzspike(*arguments):
    return subprocess.run(
        [sys.executable, "-c", "from boltzspike.cli import main; main()", *map(str, arguments)],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


@pytest.fixture(scope="module")
def result():
    return bs.sample(
        bs.networks.asia(), evidence={"xray": "no", "dysp": "yes"}, duration=1e4, chains=32, rule="psp", threads=1
    )


def test_the_posterior_of_every_unobserved_variable_sums_to_one_and_is_near_the_exact(result):
    sampled, error, exact = result.posterior(), result.posterior_error(), result.exact_posterior()
    assert list(sampled) == ["asia", "tub", "smoke", "lung", "bronc", "either"]
    for variable, states in sampled.items():
        assert sum(states.values()) == pytest.approx(1)
        for state, p in states.items():
            # .02 is what the psp rule is off by at weights of 4
            assert abs(p - exact[variable][state]) < 5 * error[variable][state] + 0.02


def test_the_posterior_is_that_of_the_decoded_draws(result):
    bronc = result.bayesian_network.index("bronc")
    share = (result.decoded[..., bronc] == 0).mean(axis=1)
    assert result.posterior()["bronc"]["yes"] == pytest.approx(share.mean())
    assert result.posterior_error()["bronc"]["yes"] == pytest.approx(share.std(ddof=1) / np.sqrt(len(share)))


def test_the_joint_posterior_has_the_marginals(result):
    joint, error = result.joint_posterior(["smoke", "bronc"])
    np.testing.assert_allclose(joint.sum(axis=1), list(result.posterior()["smoke"].values()), atol=1e-12)
    assert error.shape == (2, 2)


def test_a_deterministic_variable_follows_its_parents_in_every_draw(result):
    names = list(result.bayesian_network.names)
    tub, lung, either = (result.decoded[..., names.index(n)] for n in ("tub", "lung", "either"))
    np.testing.assert_array_equal(either == 0, (tub == 0) | (lung == 0))


def test_draws_without_a_state_do_not_count(result):
    z = result.samples.states.copy()
    z[:] = 0
    network = bs.BayesianNetwork(states={"a": ["0", "1", "2"]}, parents={}, tables={"a": [0.5, 0.3, 0.2]})
    compiled = bs.compile_bayes(network)
    z = z[..., :2]
    z[:, ::2, 0] = 1
    z[:, ::4, 1] = 1
    three = dataclasses.replace(
        result, machine=compiled.machine, compiled=compiled, simulated=np.arange(2),
        samples=dataclasses.replace(result.samples, packed=PackedStates.of(z)),
    )  # fmt: skip
    assert three.invalid()["a"] == pytest.approx(0.25)
    assert three.posterior()["a"] == pytest.approx({"0": 2 / 3, "1": 1 / 3, "2": 0.0})


@pytest.fixture
def half_sampled():
    """Return a run whose variable "a" has two units on in every draw, no state, and "b", "c" one or none."""
    network = bs.BayesianNetwork(
        states={"a": ["0", "1", "2"], "b": ["0", "1", "2"], "c": ["low", "high"]},
        parents={"c": ["a"]},
        tables={"a": [0.5, 0.3, 0.2], "b": [0.5, 0.3, 0.2], "c": [[1.0, 0.0], [0.0, 1.0], [0.0, 1.0]]},
    )
    result = bs.sample(network, duration=200.0, chains=16, engine="gibbs")
    z = result.z.copy()
    z[..., [result.names.index(name) for name in ("a=1", "a=2")]] = 1
    return dataclasses.replace(result, samples=dataclasses.replace(result.samples, packed=PackedStates.of(z)))


def test_a_variable_that_showed_no_state_is_marked_and_the_others_have_their_posterior(half_sampled):
    with pytest.warns(bs.BoltzspikeWarning, match=r"posterior\['a'\]: not sampled: its units, on for 1 to 1 of"):
        posterior = half_sampled.posterior()
    assert np.isnan(list(posterior["a"].values())).all()
    assert np.isnan(list(half_sampled.posterior_error()["a"].values())).all()
    assert np.isnan(list(posterior["c"].values())).all()
    assert "a variable that it follows from" in half_sampled.unsampled["c"]
    assert sum(posterior["b"].values()) == pytest.approx(1)
    assert half_sampled.mixing() == "poor: a, c showed no state in any draw"
    with pytest.warns(bs.BoltzspikeWarning, match=r"joint_posterior\(a, b\): not sampled"):
        joint, _ = half_sampled.joint_posterior(["a", "b"])
    assert np.isnan(joint).all()


def test_the_table_the_json_and_the_page_of_a_half_sampled_posterior_say_so(half_sampled, tmp_path):
    half_sampled.save(tmp_path / "half.nc")
    table = boltzspike("show", tmp_path / "half.nc")
    assert table.returncode == 0, table.stderr
    assert table.stdout.count("not sampled") == 3 + 2 + 1  # states of a and of c, the line about all
    assert "(2 of 3 variables not sampled)" in table.stdout
    assert "warning: posterior['a']: not sampled" in table.stderr
    assert "verdict: none (joint: fewer than two states are expected five times" in table.stdout
    as_json = boltzspike("show", tmp_path / "half.nc", "--json")
    assert as_json.returncode == 0, as_json.stderr
    known = json.loads(as_json.stdout)
    assert known["posterior"]["a"] == {"0": None, "1": None, "2": None}
    assert known["posterior"]["b"]["0"] > 0
    assert "showed no state" in known["missing"]["posterior['a']"]
    with pytest.warns(bs.BoltzspikeWarning, match="not sampled"):
        _, *others = answer(half_sampled).blocks
    assert [block.text.split(":")[0] for block in others[:2]] == ["a", "c"]
    rows = others[-1].rows
    assert [row[2] == "not sampled" for row in rows] == [True] * 3 + [False] * 3 + [True] * 2


def test_the_section_on_trust_of_a_half_sampled_posterior_says_what_was_not_tested(half_sampled, tmp_path):
    section = trust(half_sampled)
    assert section.verdict.level == "no"
    reasons = " ".join(section.verdict.reasons)
    assert "Not tested: joint: fewer than two states are expected five times" in reasons
    assert "never changed: a=1, a=2" in reasons
    assert "a, c showed no state in any draw" in reasons
    rows = {row[0]: row for block in section.blocks if block.kind == "table" for row in block.rows}
    assert rows["joint: do their means differ?"][1] == "not tested"
    assert float(rows["pairs: do their means differ?"][1]) <= 1
    with pytest.warns(bs.BoltzspikeWarning, match="not sampled"):
        half_sampled.report(tmp_path / "half.html")
    assert "not tested" in (tmp_path / "half.html").read_text()


def test_mixing_says_which_variable_never_changed(result):
    assert result.mixing().startswith("good")
    z = result.samples.states.copy()
    z[..., result.machine.names.index("smoke=no") if "smoke=no" in result.machine.names else 0] = 0
    stuck = dataclasses.replace(result, samples=dataclasses.replace(result.samples, packed=PackedStates.of(z)))
    assert stuck.mixing().startswith("poor: ")
    assert "never changed" in stuck.mixing()


def test_mixing_says_where_chains_do_not_agree(result):
    z = result.samples.states.copy()
    half = z.shape[0] // 2
    drawn = np.random.default_rng(0).random(z.shape[:2])
    k = result.machine.names.index("smoke=no") if "smoke=no" in result.machine.names else 0
    z[..., k] = drawn < np.where(np.arange(len(z)) < half, 0.3, 0.7)[:, None]
    apart = dataclasses.replace(result, samples=dataclasses.replace(result.samples, packed=PackedStates.of(z)))
    assert re.match(r"(poor|doubtful): the chains do not agree on .* \(R-hat 1", apart.mixing())


def test_the_joint_posterior_and_soft_evidence_are_to_be_had_from_the_shell(tmp_path):
    bs.networks.asia().save(tmp_path / "asia.json")
    of = {"dysp": "yes"}, {"xray": {"yes": 0.8, "no": 0.1}}
    exact = elimination.posterior(bs.networks.asia(), of[0], likelihoods=of[1], joint=["lung", "bronc"]).joint
    asked = ["sample", tmp_path / "asia.json", "--evidence", "dysp=yes", "--joint", "lung,bronc"]
    quick = ["--engine", "gibbs", "--duration", "10s", "--chains", 32]
    ran = boltzspike(*asked, "--likelihood", "xray=yes:0.8,no:0.1", *quick, "--json")
    assert ran.returncode == 0, ran.stderr
    rows = json.loads(ran.stdout)["joint_posterior"]
    assert [(row["lung"], row["bronc"]) for row in rows] == list(itertools.product(("yes", "no"), repeat=2))
    assert [row["exact"] for row in rows] == pytest.approx(exact.ravel())
    assert all(abs(row["difference"]) < 5 * row["error"] + 1e-3 for row in rows)
    for option, value, message in [
        ("--joint", "lung,lug", "joint: no variable named 'lug'; did you mean 'lung'?"),
        ("--likelihood", "xray=yes", "likelihood: must be VARIABLE=STATE:NUMBER,..., got 'xray=yes'"),
    ]:
        ran = boltzspike(*asked[:2], option, value)
        assert (ran.returncode, ran.stderr.strip()) == (2, f"error: {message}")


def test_the_command_prints_the_posterior_of_every_variable(tmp_path):
    bs.networks.asia().save(tmp_path / "asia.json")
    done = boltzspike(
        "sample", tmp_path / "asia.json", "--evidence", "dysp=yes,xray=no", "--duration", "1s", "--chains", 16
    )
    assert done.returncode == 0, done.stderr
    for word in (
        "variable",
        "state",
        "sampled",
        "exact",
        "bronc",
        "either",
        "log p(evidence) = -1.0070",
        "mixing: ",
    ):
        assert word in done.stdout
    for observed in ("dysp", "xray"):
        assert observed not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--evidence", "dysp"), "evidence: must be VARIABLE=STATE, got 'dysp'"),
        (("--evidence", "dsp=yes"), "evidence: no variable named 'dsp'; did you mean 'dysp'?"),
        (("--evidence", "dysp=maybe"), "evidence['dysp']: no state named 'maybe'; known: yes, no"),
        (("--evidence", "either=no,lung=yes"), "evidence: must be possible"),
        (("--clamp", "lung=1"), "clamp: must be left out: a Bayesian network takes evidence={variable: state}"),
    ],
)
def test_bad_evidence_is_one_line_on_stderr(tmp_path, arguments, message):
    bs.networks.asia().save(tmp_path / "asia.json")
    done = boltzspike("sample", tmp_path / "asia.json", *arguments)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_evidence_is_not_for_machines(random_machine):
    with pytest.raises(ValidationError, match=r"evidence: must be left out here: this target takes clamp"):
        bs.sample(random_machine(2), evidence={"z0": "1"})
    compiled = bs.compile_bayes(bs.networks.asia())
    with pytest.raises(ValidationError, match="this target takes what was given to compile_bayes"):
        bs.sample(compiled, evidence={"lung": "yes"})


def test_evidence_is_parsed_with_commas_inside_states():
    assert parse_evidence(["a=x,b=[0,5)", "c=y=z"]) == {"a": "x", "b": "[0,5)", "c": "y=z"}
    with pytest.raises(ValidationError, match=r"evidence\['a'\]: must be given once"):
        parse_evidence(["a=x", "a=y"])
