import dataclasses

import numpy as np
import pytest
from scipy.special import expit, gammaln

import boltzspike as bs
from boltzspike.abstract import Gibbs, Neural, colours, held, spike_chance
from boltzspike.diagnostics import kl_divergence
from boltzspike.errors import ValidationError
from boltzspike.samples import Record
from boltzspike.theory.exact import exact_given, exact_joint, exact_moments

RELATIVE = np.linspace(1.0, 0.0, 10)


@pytest.fixture
def machine():
    rng = np.random.default_rng(8)
    weights = np.triu(rng.normal(0, 1, (4, 4)), 1)
    return bs.BoltzmannMachine(weights=weights + weights.T, biases=rng.normal(0, 1, 4))


SAMPLERS = {
    "sequential Gibbs": (lambda w, b, **o: Gibbs(w, b, **o), 1),
    "random-scan Gibbs": (lambda w, b, **o: Gibbs(w, b, scan="random", **o), 1),
    "Buesing, tau = 1": (lambda w, b, **o: Neural(w, b, tau=1, **o), 1),
    "Buesing, tau = 7": (lambda w, b, **o: Neural(w, b, tau=7, **o), 7),
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_joint_distribution_is_that_of_the_machine(name, machine):
    make, every = SAMPLERS[name]
    runner = make(machine.weights, machine.biases)
    record = Record(states_every=every)
    _, state = runner.run(runner.init(seed=3, chains=32), 100 * every, Record())
    samples, _ = runner.run(state, 4000 * every, record)
    divergence = kl_divergence(samples.states, exact_joint(machine))
    assert abs(divergence.bias) < 4 * divergence.error
    assert divergence.error < 1e-4
    # and the test can fail: it sees a bias off by a twentieth
    shifted = bs.BoltzmannMachine(weights=machine.weights, biases=np.asarray(machine.biases) + 0.05)
    assert kl_divergence(samples.states, exact_joint(shifted)).bias > 4 * divergence.error


def test_a_random_scan_and_a_sequential_one_are_different_chains(machine):
    """One sweep of a random scan leaves a unit alone with probability (1 - 1/n)^n: its states change less."""
    changes = {}
    for scan in ("sequential", "random"):
        runner = Gibbs(np.zeros((4, 4)), np.zeros(4), scan=scan)
        samples, _ = runner.run(runner.init(seed=1, chains=8), 4000, Record(states_every=1))
        changes[scan] = np.mean(np.diff(samples.states, axis=1) != 0)
    assert changes["sequential"] == pytest.approx(0.5, abs=0.01)
    assert changes["random"] == pytest.approx(0.5 * (1 - 0.75**4), abs=0.01)


@pytest.mark.parametrize("name", [*SAMPLERS, "relative", "traces"])
@pytest.mark.parametrize("weights", ["dense", "sparse"])
def test_threads_splits_and_other_chains_change_no_bit(name, weights, machine, rng):
    w, b = np.asarray(machine.weights), np.asarray(machine.biases)
    if weights == "sparse":
        w, b = np.zeros((9, 9)), rng.normal(size=9)
        w[0, 5] = w[5, 0] = 1.3
    make = {
        "relative": lambda w, b, **o: Neural(w, b, tau=10, recovery=RELATIVE, **o),
        "traces": lambda w, b, **o: Neural(w, b, tau=10, trace="renewing", tau_syn=10.0, **o),
    }.get(name) or SAMPLERS[name][0]
    record = Record(states_every=3)
    whole, last = make(w, b).run(make(w, b).init(seed=5, chains=3), 100, record)
    runner = make(w, b, threads=2)
    first, state = runner.run(runner.init(seed=5, chains=5), 41, record)
    second, end = runner.run(state, 59, record)
    assert np.array_equal(np.concatenate([first.states, second.states], axis=1)[:3], whole.states)
    assert np.array_equal(end.z[:3], last.z)
    assert np.array_equal(end.age[:3], last.age)
    assert whole.states.any()


@pytest.mark.parametrize("recovery", [None, RELATIVE])
def test_a_single_neuron_has_the_response_it_is_given(recovery):
    def response(u):
        return 0.5 * (1 + np.tanh(u))

    drives = np.array([-1.5, -0.5, 0.0, 0.7, 1.3])
    runner = Neural(np.zeros((5, 5)), drives, tau=10, recovery=recovery, response=response)
    _, state = runner.run(runner.init(seed=2, chains=64), 200, Record())
    samples, _ = runner.run(state, 20_000, Record(states_every=5))
    per_chain = samples.states.mean(axis=1)
    error = per_chain.std(axis=0, ddof=1) / 8
    assert np.all(np.abs(per_chain.mean(axis=0) - response(drives)) < 4 * error)
    assert error.max() < 0.002


def test_the_chance_of_absolute_refractoriness_is_the_closed_form():
    u = np.linspace(-8, 6, 30)
    p = 1 / (1 + np.exp(-u))
    tau = 20
    recovery = np.concatenate([[1.0, 1.0], np.zeros(tau - 1)])
    assert spike_chance(p, recovery) == pytest.approx(1 / (1 + np.exp(-(u - np.log(tau)))), rel=1e-6)


@pytest.mark.parametrize("trace", ["renewing", "additive"])
def test_a_regular_source_drives_by_its_weight(trace):
    """A source that spikes at every chance has a trace of mean 1 if renewing, 1/(1 - 1/e) if additive."""
    weights = np.array([[0.0, 0.0], [0.3, 0.0]])
    options = {"tau": 50, "trace": trace, "tau_syn": 50.0}
    runner = Neural(weights, np.array([12.0, -1.0]), **options)
    _, state = runner.run(runner.init(seed=1, chains=64), 500, Record())
    samples, _ = runner.run(state, 40_000, Record(states_every=25))
    p = samples.states[..., 1].mean(axis=1)
    mean = 1 if trace == "renewing" else 1 / (1 - np.exp(-1))
    assert abs(p.mean() - expit(-1 + 0.3 * mean)) < 0.003 + 4 * p.std() / 8
    assert p.std() / 8 < 0.002


def test_colours_of_an_rbm_are_its_layers_and_of_a_chain_two():
    weights = np.zeros((5, 5))
    weights[:3, 3:] = 1
    layers = colours(weights + weights.T)
    assert len(set(layers[:3])) == len(set(layers[3:])) == 1
    assert layers[0] != layers[4]
    chain = np.diag(np.ones(5), 1)
    assert len(set(colours(chain + chain.T))) == 2


@pytest.mark.parametrize("engine", ["gibbs", "gibbs-random", "buesing"])
def test_sample_runs_them_like_engines(engine, machine, tmp_path):
    result = bs.sample(machine, engine=engine, duration=2e4, chains=16, clamp={"z1": 1})
    truth = result.exact()
    assert np.all(
        np.abs(result.marginals() - truth.marginals)[[0, 2, 3]] < 5 * result.marginals_error()[[0, 2, 3]]
    )
    assert result.network is None
    assert result.z.shape == (16, 2000, 4)
    result.save(tmp_path / "r.nc")
    assert np.array_equal(bs.read(tmp_path / "r.nc").z, result.z)


def test_a_translation_rule_is_refused_where_nothing_is_translated(machine):
    with pytest.raises(ValidationError, match="rule: must be None with the engine 'gibbs'"):
        bs.sample(machine, engine="gibbs", rule="psp", duration=100)


def test_bad_parameters_are_named():
    with pytest.raises(ValidationError, match="tau: must be at least 1 step, got 0"):
        Neural(np.zeros((1, 1)), np.zeros(1), tau=0)
    with pytest.raises(ValidationError, match=r"recovery: must be 3 numbers in \[0, 1\]"):
        Neural(np.zeros((1, 1)), np.zeros(1), tau=3, recovery=np.array([1.0, 2.0, 0.0]))
    with pytest.raises(ValidationError, match="tau_syn: must be > 0 steps with such a trace"):
        Neural(np.zeros((1, 1)), np.zeros(1), trace="renewing")
    with pytest.raises(ValidationError, match="scan: must be 'sequential' or 'random'"):
        Gibbs(np.zeros((1, 1)), np.zeros(1), scan="backwards")


@pytest.mark.parametrize("name", SAMPLERS)
def test_each_chain_may_have_evidence_of_its_own(name, machine):
    make, every = SAMPLERS[name]
    evidence = [{0: 1}, {0: 0}, {1: 1, 3: 0}, {}] * 16
    runner = make(machine.weights, held(machine.biases, evidence))
    _, state = runner.run(runner.init(seed=4, chains=64), 100 * every, Record())
    samples, _ = runner.run(state, 2000 * every, Record(states_every=every))
    per_chain = samples.states.mean(axis=1)
    for first in range(4):
        truth = exact_given(machine, evidence[first])
        of_kind = per_chain[first::4]
        error = of_kind.std(axis=0, ddof=1) / 4
        assert np.all(of_kind[:, list(evidence[first])] == list(evidence[first].values()))
        assert np.all(np.abs(of_kind.mean(axis=0) - truth.marginals) <= 5 * error)
        assert error.max() < 0.005


def test_as_many_chains_as_biases(machine):
    with pytest.raises(ValidationError, match="chains: must be 2, as many as there are biases, got 3"):
        Gibbs(machine.weights, held(machine.biases, [{}, {}])).init(seed=1, chains=3)


def test_every_conditional_is_that_of_the_machine(machine):
    """One sweep from 32768 random states: each new value against the probability that its neighbours give it."""
    w, b = np.asarray(machine.weights), np.asarray(machine.biases)
    rng = np.random.default_rng(5)
    z = rng.integers(0, 2, (32768, 4), dtype=np.int8)
    runner = Gibbs(w, b)
    state = dataclasses.replace(runner.init(seed=9, chains=32768), z=z)
    samples, _ = runner.run(state, 1, Record(states_every=1))
    new = samples.states[:, 0]
    order = np.argsort(colours(w), kind="stable")
    seen = z.astype(float)
    for k in order:
        p = expit(seen @ w[k] + b[k])
        deviation = np.sum(new[:, k] - p) / np.sqrt(np.sum(p * (1 - p)))
        chi2 = np.sum((new[:, k] - p) ** 2 / (p * (1 - p)))
        assert abs(deviation) < 4
        spread = np.sum((1 - 2 * p) ** 2 / (p * (1 - p)))
        assert abs(chi2 - 32768) < 4 * np.sqrt(spread)
        # and the test can fail: one weight off by half its size
        j = int(np.argmax(np.abs(w[k])))
        with_j = seen[:, j] == 1
        off = expit(seen @ w[k] + b[k] + 0.5 * w[k, j])[with_j]
        assert abs(np.sum(new[with_j, k] - off) / np.sqrt(np.sum(off * (1 - off)))) > 4
        seen[:, k] = new[:, k]


@pytest.mark.parametrize("shape", ["dense", "sparse"])
def test_a_machine_of_many_tiles_has_its_moments(shape, rng):
    """37 units: a lattice, exact by elimination; dense, of two groups that have closed forms."""
    n = 37
    if shape == "sparse":
        weights = np.diag(rng.normal(size=n - 1), 1) + np.diag(rng.normal(size=n - 6), 6)
        weights += weights.T
        biases = rng.normal(size=n)
        target = exact_moments(bs.BoltzmannMachine(weights=weights, biases=biases)).marginals
    else:  # all coupled alike: the number of units that are on is enough
        weights = -0.2 * (np.ones((n, n)) - np.eye(n))
        biases = np.full(n, 2.0)
        on = np.arange(n + 1)
        log_weight = gammaln(n + 1) - gammaln(on + 1) - gammaln(n - on + 1) - 0.1 * on * (on - 1) + 2.0 * on
        p = np.exp(log_weight - log_weight.max())
        target = np.full(n, p @ on / p.sum() / n)
    for scan in ("sequential", "random"):
        runner = Gibbs(weights, biases, scan=scan)
        _, state = runner.run(runner.init(seed=6, chains=64), 200, Record())
        per_chain = runner.run(state, 2000, Record(states_every=1))[0].states.mean(axis=1)
        z = (per_chain.mean(axis=0) - target) / (per_chain.std(axis=0, ddof=1) / 8)
        assert np.abs(z).max() < 4.2
