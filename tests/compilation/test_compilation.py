import itertools

import numpy as np
import pytest

import boltzspike as bs
from boltzspike.compilation import REACH
from boltzspike.compilation.auxiliary import FactorSettings, by_assignments, by_monomials, settings
from boltzspike.compilation.encoding import ENCODINGS, encode, polynomial
from boltzspike.compilation.fit import by_fit
from boltzspike.errors import UnsupportedFeature, ValidationError
from boltzspike.theory.elimination import posterior
from boltzspike.theory.exact import exact_joint


@pytest.mark.parametrize("order", [3, 4, 5])
def test_monomials_reproduce_any_polynomial_exactly(rng, order):
    terms = {
        subset: float(rng.normal() * 3)
        for size in range(order + 1)
        for subset in itertools.combinations(range(order), size)
    }
    fit = by_monomials(terms)
    assert max(len(m) for m in fit.terms) <= 2
    assert len(fit.auxiliaries) == sum(len(m) > 2 for m in terms)
    z = settings(order)
    value = lambda some: sum(v * z[:, list(m)].prod(axis=1) for m, v in some.items())
    got = value(fit.terms) + sum(a.value(z[:, list(a.units)]) for a in fit.auxiliaries)
    np.testing.assert_allclose(got, value(terms), atol=1e-10)


def test_assignments_are_exact_in_the_limit_of_strong_weights(rng):
    goal = rng.normal(size=8)
    factor = FactorSettings(
        units=(0, 1, 2), z=settings(3), log_factor=goal, share=np.exp(goal), possible=np.ones(8, dtype=bool)
    )
    errors = [by_assignments(factor, strength=m).residual for m in (5.0, 10.0, 20.0)]
    assert errors[1] < 0.02 * errors[0]
    assert errors[2] < 1e-3 * errors[1]


def test_a_table_that_is_a_decision_tree_takes_few_units(rng):
    z = settings(6)
    a, b, c, d = z[:, :4].astype(bool).T
    values = rng.uniform(-5, 0, 5)
    goal = values[np.select([a & b, a, c & d, c], [0, 1, 2, 3], default=4)]
    coefficients = goal.reshape((2,) * 6)
    for axis in range(6):
        off, on = np.take(coefficients, 0, axis), np.take(coefficients, 1, axis)
        coefficients = np.stack([off, on - off], axis)
    units = tuple(range(3, 9))
    terms = {tuple(np.array(units)[np.array(at) == 1]): float(v) for at, v in np.ndenumerate(coefficients) if v}
    high = {monomial: v for monomial, v in terms.items() if len(monomial) > 2}
    factor = FactorSettings(
        units=units, z=z, log_factor=goal, share=np.exp(goal - goal.max()), possible=np.ones(64, dtype=bool)
    )
    fits = [by_fit(factor, high, tolerance=5e-4, bound=3.0) for _ in range(2)]
    for fit in fits:
        got = sum(v * z[:, [u - 3 for u in m]].prod(axis=1) for m, v in fit.terms.items())
        got = got + sum(unit.value(z[:, [u - 3 for u in unit.units]]) for unit in fit.auxiliaries)
        weight = np.maximum(factor.share, 1e-3)
        assert np.sqrt(weight @ (got - goal) ** 2 / weight.sum()) == pytest.approx(fit.residual, abs=1e-9)
        assert fit.residual < 5e-4
        assert len(fit.auxiliaries) <= 6
        assert max(np.abs(unit.weights).max() for unit in fit.auxiliaries) < 15
        assert {u for m in fit.terms for u in m} <= set(units)
    assert fits[0].terms == fits[1].terms


@pytest.mark.parametrize("order", [3, 4, 5])
def test_impossible_settings_may_come_out_less_probable_and_no_other(rng, order):
    z = settings(order)
    goal = rng.normal(size=len(z)) * 2
    possible = rng.random(len(z)) > 0.3
    goal[~possible] = goal.max() - 6.5
    # with all terms given, their number decides how units are looked for
    high = {m: 1.0 for size in range(3, order + 1) for m in itertools.combinations(range(order), size)}
    factor = FactorSettings(
        units=tuple(range(order)), z=z, log_factor=goal, share=np.exp(goal - goal.max()), possible=possible
    )
    fit = by_fit(factor, high, tolerance=5e-4, bound=3.0)
    got = sum(v * z[:, list(m)].prod(axis=1) for m, v in fit.terms.items()) + sum(
        unit.value(z) for unit in fit.auxiliaries
    )
    error = np.where(possible, got - goal, np.maximum(got - goal, 0.0))
    weight = np.maximum(factor.share, 1e-3)
    assert np.sqrt(weight @ error**2 / weight.sum()) == pytest.approx(fit.residual, abs=1e-9)
    assert fit.residual <= 5e-4
    assert len(fit.auxiliaries) < len(z)


@pytest.mark.parametrize("kind", ENCODINGS)
@pytest.mark.parametrize("states", [2, 3, 5, 6])
def test_an_encodings_indicators_tell_its_patterns_apart(rng, kind, states):
    encoding = encode(3, rng.dirichlet(np.ones(states)), kind)
    m = len(encoding.units)
    z = settings(m)
    for s in range(states):
        indicator = sum(
            c * z[:, list(monomial)].prod(axis=1)
            for c, monomial in zip(encoding.indicators[s], encoding.monomials)
        )
        valid = encoding.state_of >= 0
        np.testing.assert_array_equal(indicator[valid], encoding.state_of[valid] == s)
    np.testing.assert_array_equal(encoding.decode(encoding.patterns()), np.arange(states))
    table = rng.normal(size=states)
    terms = polynomial((7,), table, {7: encoding})
    shown = encoding.patterns()
    value = sum(v * shown[:, [u - 3 for u in m]].prod(axis=1) for m, v in terms.items())
    np.testing.assert_allclose(value, table, atol=1e-12)


def test_two_states_are_one_unit_that_is_on_for_the_rarer():
    encoding = encode(0, np.array([0.9, 0.1]), "one-hot")
    assert encoding.units == (0,)
    np.testing.assert_array_equal(encoding.decode(np.array([[0], [1]])), [0, 1])


@pytest.mark.parametrize("evidence", [{}, {"xray": "yes", "dysp": "no"}, {"smoke": "yes", "xray": "no"}])
@pytest.mark.parametrize(("route", "allowed"), [("monomials", 1e-6), ("fitted", 2e-3), ("assignments", 2e-2)])
def test_the_machines_marginals_are_the_posterior(evidence, route, allowed):
    network = bs.networks.asia()
    compiled = bs.compile_bayes(network, evidence, route=route)
    assert compiled.report.marginal_error < allowed
    # and by enumeration of the machine's states, decoded: an independent way
    machine = compiled.machine
    joint = exact_joint(machine)
    states = compiled.decode(settings(machine.n_units))
    exact = posterior(network, evidence)
    for k, marginal in enumerate(exact.marginals):
        got = np.bincount(states[:, k], weights=joint, minlength=2)
        np.testing.assert_allclose(got, marginal, atol=allowed)


@pytest.mark.parametrize("name", ["asia", "sprinkler", "visual_perception"])
def test_fitted_units_are_close_to_the_posterior_whatever_is_observed(name):
    network = getattr(bs.networks, name)()
    observed = [{v: state} for v, states in zip(network.names, network.states) for state in states]
    errors = [bs.compile_bayes(network, evidence).report.marginal_error for evidence in observed]
    assert max(errors) < 2e-3


def test_the_reported_divergence_is_that_of_enumeration():
    evidence = {"contour": "curved"}
    compiled = bs.compile_bayes(bs.networks.visual_perception(), evidence, route="assignments", strength=4)
    joint = exact_joint(compiled.machine)
    states = compiled.decode(settings(compiled.machine.n_units))
    exact = posterior(compiled.network, evidence, joint=["reflectance", "shape", "shading"]).joint
    got = np.zeros((2, 2, 2))
    np.add.at(got, tuple(states[:, :3].T), joint)
    assert compiled.report.kl_divergence > 1e-6
    assert compiled.report.kl_divergence == pytest.approx(np.sum(exact * np.log(exact / got)), rel=1e-6)


def three_states(rng):
    names = ["a", "b", "c", "d"]
    draw = lambda *shape: rng.dirichlet(np.full(shape[-1], 2.0), size=shape[:-1])
    return bs.BayesianNetwork(
        states={"a": ["0", "1", "2"], "b": ["0", "1", "2", "3"], "c": ["0", "1"], "d": ["0", "1", "2"]},
        parents={"c": ["a", "b"], "d": ["b", "c"]},
        tables={"a": draw(3), "b": draw(4), "c": draw(3, 4, 2), "d": draw(4, 2, 3)},
        names=names,
    )


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(("route", "allowed"), [("monomials", 1e-6), ("fitted", 2e-3)])
def test_variables_of_many_states_keep_their_posterior(rng, encoding, route, allowed):
    report = bs.compile_bayes(three_states(rng), {"d": "1"}, route=route, encoding=encoding).report
    assert report.marginal_error < allowed
    assert report.invalid < (0.0003 if route == "fitted" else 1e-3)


@pytest.mark.parametrize("encoding", ["one-hot", "domain-wall"])
def test_penalties_are_the_weakest_that_leave_the_share_of_invalid_draws_that_was_asked_for(rng, encoding):
    network = three_states(rng)
    loose, strict = (bs.compile_bayes(network, encoding=encoding, invalid=share) for share in (0.03, 0.001))
    for compiled, share in ((loose, 0.03), (strict, 0.001)):
        assert compiled.report.invalid == pytest.approx(share, rel=0.3)
        joint = exact_joint(compiled.machine)
        states = compiled.decode(settings(compiled.machine.n_units))
        shown = max(joint[states[:, k] < 0].sum() for k in range(network.n_variables))
        assert shown == pytest.approx(compiled.report.invalid, rel=1e-6)
    weight = lambda compiled: np.abs(compiled.machine.weights[:8, :8]).max()
    assert weight(loose) < weight(strict) - 1
    # what the draws that are left out cost is in the report
    assert loose.report.marginal_error > 3 * strict.report.marginal_error


def test_weights_beyond_reach_are_brought_there_by_the_deepest_depth_that_does():
    network, evidence = bs.networks.sprinkler(), {"cloudy": "no", "sprinkler": "no"}
    deep = bs.compile_bayes(network, evidence, reach=100.0).report
    near = bs.compile_bayes(network, evidence, reach=REACH).report
    assert deep.depth == 6.5
    assert deep.largest_weight == pytest.approx(near.largest_weight + deep.depth - near.depth)  # one zero
    assert near.largest_weight <= REACH < near.largest_weight + 0.5
    assert near.marginal_error > deep.marginal_error
    assert bs.compile_bayes(network, evidence, reach=REACH, depth=6.0).report.depth == 6.0
    # below the shallowest nothing is gained
    beyond = bs.compile_bayes(network, evidence, reach=1.0).report
    assert beyond.depth == 6.5
    closest = bs.compile_bayes(network, evidence).report
    assert closest.depth == 9.0
    assert closest.marginal_error < deep.marginal_error / 5
    # and it is said before anything is sampled
    assert not near.outlook
    strong = bs.compile_bayes(network, evidence, depth=12.0).report
    assert f"{strong.largest_sum:.3g} in sum at one unit" in strong.outlook
    assert strong.outlook in str(strong)


def test_deterministic_variables_take_no_unit_and_are_read_out():
    compiled = bs.compile_bayes(bs.networks.asia(), {"dysp": "yes"}, route="monomials")
    assert not [name for name in compiled.machine.names if name.startswith("either")]
    z = np.zeros((1, compiled.machine.n_units), dtype=np.int8)
    names = list(compiled.network.names)
    assert compiled.decode(z)[0, names.index("either")] == compiled.network.states[5].index("no")
    z[0, compiled.machine.names.index("lung=yes")] = 1
    assert compiled.decode(z)[0, names.index("either")] == compiled.network.states[5].index("yes")


def test_states_that_the_evidence_excludes_take_no_unit():
    compiled = bs.compile_bayes(bs.networks.asia(), {"either": "no"})
    assert not [name for name in compiled.machine.names if name.startswith(("lung", "tub", "either"))]
    assert compiled.report.marginal_error < 2e-3


@pytest.mark.parametrize("route", ["monomials", "fitted"])
def test_a_variable_of_one_state_takes_no_unit_and_changes_nothing(route):
    network = bs.BayesianNetwork(
        states={"fixed": ["only"], "rain": ["yes", "no"], "wet": ["yes", "no"]},
        parents={"rain": ["fixed"], "wet": ["rain", "fixed"]},
        tables={"fixed": [1.0], "rain": [[0.3, 0.7]], "wet": [[[0.9, 0.1]], [[0.2, 0.8]]]},
    )
    compiled = bs.compile_bayes(network, {"wet": "yes"}, route=route)
    assert compiled.machine.n_units == 1
    # wet by .27 with rain, .14 without
    assert compiled.machine.names == ("rain=yes",)
    assert np.allclose(compiled.machine.biases, np.log(0.27 / 0.14))


def test_impossible_evidence_is_an_error():
    with pytest.raises(ValidationError, match="evidence: must be possible"):
        bs.compile_bayes(bs.networks.asia(), {"either": "no", "lung": "yes"})


def test_barren_variables_are_left_out_when_others_are_asked_for():
    compiled = bs.compile_bayes(bs.networks.asia(), {"smoke": "yes"}, variables=["lung"], route="monomials")
    assert compiled.machine.names == ("lung=yes",)
    assert compiled.report.marginal_error < 1e-12


def test_soft_evidence_acts_as_a_bias():
    network = bs.networks.sprinkler()
    soft = {"wet": {"yes": 0.8, "no": 0.1}}
    compiled = bs.compile_bayes(network, likelihoods=soft, route="monomials")
    exact = posterior(network, likelihoods=soft)
    states = compiled.decode(settings(compiled.machine.n_units))
    rain = np.bincount(states[:, 2], weights=exact_joint(compiled.machine), minlength=2)
    np.testing.assert_allclose(rain, exact.marginals[2], atol=1e-6)
    assert abs(exact.marginals[2][0] - posterior(network).marginals[2][0]) > 0.05


def test_fitted_couplings_are_weaker_than_the_exact_and_the_units_fewer_than_the_literatures():
    fitted, exact, literature = (
        bs.compile_bayes(bs.networks.asia(), route=route).report
        for route in ("fitted", "monomials", "assignments")
    )
    assert fitted.largest_weight < exact.largest_weight / 2
    assert fitted.n_auxiliary < literature.n_auxiliary


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"route": "fit"}, "route: none named 'fit'; did you mean 'fitted'"),
        ({"encoding": "onehot"}, "encoding: none named 'onehot'; did you mean 'one-hot'"),
        ({"depth": -1.0}, "depth: must be > 0, got -1"),
        ({"reach": 0.0}, "reach: must be > 0, or None, got 0"),
        ({"invalid": 1.0}, "invalid: must be in 0 .. 1, got 1"),
        ({"variables": ["lungs"]}, "no variable named 'lungs'"),
    ],
)
def test_a_bad_option_is_an_error(options, message):
    with pytest.raises(ValidationError, match=message):
        bs.compile_bayes(bs.networks.asia(), **options)


def test_a_factor_that_takes_too_many_units_is_named_before_its_memory_is_taken():
    rng = np.random.default_rng(0)
    parents = [f"v{k}" for k in range(14)]
    chance = rng.uniform(0.1, 0.9, size=(2,) * 14)
    network = bs.BayesianNetwork(
        states={name: ["y", "n"] for name in [*parents, "child"]},
        parents={"child": parents},
        tables={name: [0.5, 0.5] for name in parents} | {"child": np.stack([chance, 1 - chance], axis=-1)},
    )
    with pytest.raises(UnsupportedFeature, match="v0, .*, child: a factor over 15 variables takes 15 units"):
        bs.compile_bayes(network)
    # its 2^15 terms would be 2^15 units, whose weights take 8 GiB
    with pytest.raises(UnsupportedFeature, match="v0, .*, child: .* about 3.... units .* more than 4096"):
        bs.compile_bayes(network, route="monomials")
