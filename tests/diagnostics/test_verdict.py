import numpy as np
import pytest

import boltzspike as bs
from boltzspike import diagnostics
from boltzspike.theory.exact import exact_moments


@pytest.fixture
def sampled(target):
    return bs.sample(target, engine="gibbs", duration=2e4, chains=32, seed=3)


def test_an_unbiased_sampler_is_good_and_shows_no_bias(sampled):
    found = sampled.verdict()
    assert found.level == "good"
    assert found.biased is False
    assert "the error bars can be trusted" in str(found)
    assert "No bias shows" in str(found)
    assert "within" in str(found)


def test_a_bias_that_shows_is_named_with_its_unit_and_temperature(neural, target):
    states = neural(0.8 * target.weights, 0.8 * target.biases, draws=4000)
    moments = exact_moments(target)
    test = diagnostics.mean_test(diagnostics.blocks(states).mean(axis=1, dtype=float), moments.marginals)
    temperature = diagnostics.pseudo_temperature(states, target)
    found = diagnostics.judge(
        diagnostics.convergence(states, target.names),
        target=moments.marginals,
        tests=[test],
        temperature=temperature,
    )
    assert found.biased is True
    assert f"most in {target.names[test.worst]}" in str(found)
    assert f"too hot: {temperature}" in str(found)
    assert abs(temperature.beta - 0.8) < 4 * temperature.error


def test_chains_that_disagree_are_poor(rng):
    z = (rng.random((8, 200, 2)) < np.linspace(0.1, 0.9, 8)[:, None, None]).astype(np.int8)
    found = diagnostics.judge(diagnostics.convergence(z))
    assert found.level == "poor"
    assert "do not agree" in str(found)
    assert found.biased is None
    assert "nothing exact to compare with" in str(found)


def test_few_samples_are_poor_or_doubtful(rng):
    few = diagnostics.judge(diagnostics.convergence((rng.random((4, 20, 1)) < 0.5).astype(np.int8)))
    assert few.level == "poor"
    some = diagnostics.judge(diagnostics.convergence((rng.random((4, 60, 1)) < 0.5).astype(np.int8)))
    assert some.level == "doubtful"


def test_a_single_chain_is_doubtful(rng):
    found = diagnostics.judge(diagnostics.convergence((rng.random((1, 4000, 1)) < 0.5).astype(np.int8)))
    assert found.level == "doubtful"
    assert "One chain can't tell" in str(found)


@pytest.mark.parametrize(("p", "level"), [(0.5, "poor"), (1e-6, "good")])
def test_a_unit_that_never_changed_is_poor_mixing_unless_the_target_has_it_so(rng, p, level):
    z = (rng.random((16, 500, 2)) < 0.5).astype(np.int8)
    z[..., 1] = 0
    found = diagnostics.judge(diagnostics.convergence(z, ("a", "b")), target=np.array([0.5, p]))
    assert found.level == level
    assert f"Never changed, so without error bars: b (target p = {p:.3g})" in str(found)


def test_nothing_that_moved_is_poor():
    found = diagnostics.judge(diagnostics.convergence(np.zeros((4, 50, 2), dtype=np.int8)))
    assert found.level == "poor"
    assert "Nothing ever changed" in str(found)
