"""The rules against exact enumeration, and their bookkeeping."""

import dataclasses
import warnings

import numpy as np
import pytest

import boltzspike as bs
from boltzspike.errors import BoltzspikeWarning, CalibrationError, UnsupportedFeature, ValidationError
from boltzspike.pipeline import with_network, working_point
from boltzspike.pipeline.translations import shipped
from boltzspike.theory.exact import all_states, exact_joint, exact_moments
from boltzspike.translation import budget, learned, matched, teaching, tuned
from boltzspike.translation.conditionals import Conditionals
from boltzspike.translation.held import HeldConditionals
from boltzspike.translation.working_point import WorkingPoint, enumerated


def gaussian_machine(seed, n=5, scale=1.0):
    rng = np.random.default_rng(seed)
    weights = np.triu(rng.normal(0, scale, (n, n)), 1)
    return bs.BoltzmannMachine(weights=weights + weights.T, biases=rng.normal(0, scale, n))


def chain(n, weight):
    weights = np.diag(np.full(n - 1, weight), 1)
    weights = weights + weights.T
    return bs.BoltzmannMachine(weights=weights, biases=-weights.sum(axis=1) / 2)


@pytest.mark.parametrize("seed", [101, 102, 103])
def test_the_learned_rule_leaves_a_tenth_of_the_bias_of_the_psp_rule(seed, s1_calibration):
    machine = gaussian_machine(seed)
    options = {"calibration": s1_calibration, "duration": 2e4, "seed": seed}
    plain = bs.sample(machine, rule="psp", **options).kl_divergence()
    better = bs.sample(machine, **options)
    divergence = better.kl_divergence()
    assert better.configuration["rule"] == "learned"
    assert divergence.bias - 2 * divergence.error < plain.bias / 10
    assert divergence.bias < 6 * better.configuration["predicted_d_kl"]


def test_weights_far_beyond_the_learned_rules_are_left_to_the_matched_one(s1_calibration):
    known = with_network(s1_calibration)
    reach = 1.5 * known.network.max_weight
    inside, outside = (bs.translate(chain(4, weight), known) for weight in (reach - 0.1, reach + 0.1))
    assert inside.rule == "learned"
    assert outside.rule == "matched"
    assert any("far beyond what the learned rule saw" in text for text in outside.warnings)
    asked = bs.translate(chain(4, reach + 0.1), known, rule="matched")
    assert not any("far beyond" in text for text in asked.warnings)


def test_tuning_brings_a_chain_of_strong_weights_to_its_target(s1_calibration):
    machine = chain(5, 4.0)
    numbers = []
    options = {"duration": 4e4, "on_step": lambda number, step: numbers.append(number)}
    translation = bs.tune(machine, calibration=s1_calibration, **options)
    assert numbers == list(range(1, len(numbers) + 1))
    before = bs.sample(machine, calibration=s1_calibration, duration=2e4, seed=5).kl_divergence()
    after = bs.sample(machine, calibration=s1_calibration, rule=translation, duration=2e4, seed=5).kl_divergence()
    assert after.bias + 2 * after.error < before.bias / 2
    assert "before" in translation.notes[-1]
    pattern = np.asarray(machine.weights) != 0
    second = pattern.astype(int) @ pattern > 0
    np.fill_diagonal(second, False)
    assert np.array_equal(np.asarray(translation.effective_weights) != 0, pattern | second)


def test_tuning_without_fill_keeps_the_couplings_of_the_target(s1_calibration):
    machine = chain(4, 2.0)
    translation = bs.tune(machine, calibration=s1_calibration, fill=False, duration=4000, steps=3)
    assert np.array_equal(np.asarray(translation.effective_weights) != 0, np.asarray(machine.weights) != 0)


def test_averaging_takes_away_the_noise_that_the_best_run_left(s1_calibration):
    """In place of a network its parameters' own law, 400 draws a run: D_KL is exact, and falls as 1/runs."""
    machine = gaussian_machine(4, n=4)
    start, p = bs.translate(machine, s1_calibration, rule="psp"), exact_joint(machine)
    start = dataclasses.replace(start, effective_biases=np.asarray(start.effective_biases) + 0.5)

    def law(translation):
        weights, biases = translation.effective_weights, translation.effective_biases
        return exact_joint(bs.BoltzmannMachine(weights=np.asarray(weights), biases=np.asarray(biases)))

    def left(averaged, seed):
        rng = np.random.default_rng(seed)

        def sampler(translation, number, share):
            return list(all_states(4)[rng.choice(16, size=(tuned.GROUPS, 25), p=law(translation))])

        demand = tuned.Covariance(enumerated(machine), np.asarray(machine.weights) != 0)
        done = tuned.tune(start, demand, sampler, steps=8, tolerance=1e-3, averaged=averaged)
        assert ("averaged over 15 more" in done.notes[-1]) == (averaged > 0)
        q = law(done)
        return float(np.sum(p * np.log(p / q)))

    plain, mean = (np.mean([left(averaged, seed) for seed in range(20)]) for averaged in (0, 15))
    # ten parameters over 400 draws of one run leave 10/800 = .0125, over those of 16 runs .0008
    assert plain > 0.005
    assert mean < plain / 4


def test_an_rbm_stays_bipartite_when_tuned(rng, s1_calibration):
    rbm = bs.RestrictedBoltzmannMachine(
        weights=rng.normal(size=(3, 2)), visible_biases=[0.1, 0.2, 0], hidden_biases=[1, 2]
    )
    translation = bs.tune(rbm, calibration=s1_calibration, duration=4000, steps=2)
    weights = np.asarray(translation.effective_weights)
    assert not weights[:3, :3].any()
    assert not weights[3:, 3:].any()


def test_tuning_goes_on_from_a_file(tmp_path, s1_calibration):
    machine = gaussian_machine(7, n=3)
    bs.tune(machine, calibration=s1_calibration, duration=4000, steps=2).save(tmp_path / "t.json")
    start = bs.read(tmp_path / "t.json")
    again = bs.tune(machine, start=start, duration=4000, steps=1)
    assert again.notes[:-1] == start.notes
    assert np.array_equal(again.effective_weights, start.effective_weights)  # one run only tests the start


def test_a_translation_of_another_machine_is_refused(s1_calibration):
    translation = bs.translate(gaussian_machine(1, n=3), s1_calibration, rule="psp")
    with pytest.raises(ValidationError, match="rule: the translation was made for another machine"):
        bs.sample(gaussian_machine(2, n=3), calibration=s1_calibration, rule=translation, duration=100)
    with pytest.raises(ValidationError, match="start: the translation was made for another machine"):
        bs.tune(gaussian_machine(2, n=3), start=translation)


def test_the_divergence_of_pure_noise_is_zero_within_its_error(rng):
    """For noise of covariance C/N in each group, the plug-in value would be (parameters)/(2 N groups)."""
    machine = gaussian_machine(3, n=3)
    point = enumerated(machine)
    covariance = tuned.Covariance(point, np.ones((3, 3), dtype=bool))
    values, errors = [], []
    for _ in range(200):
        draws = rng.choice(8, size=(tuned.GROUPS, 500), p=point.probabilities)
        z = point.states[draws].astype(float)
        pairs = np.einsum("gsk,gsj->gkj", z, z) / 500
        gaps = covariance.mean - np.stack([covariance.vector(np.diagonal(p), p) for p in pairs])
        value, error = tuned._divergence(gaps, np.stack([covariance.solve(gap) for gap in gaps]))
        values.append(value)
        errors.append(error)
    assert abs(np.mean(values)) < 4 * np.std(values) / np.sqrt(200)
    # where there is nothing but noise, a jackknife of products is too large by up to sqrt(2) and more
    assert 1 < np.mean(errors) / np.std(values) < 2


def test_the_divergence_is_the_second_order_of_d_kl():
    machine = gaussian_machine(3, n=3)
    shifted = dataclasses.replace(machine, biases=np.asarray(machine.biases) + np.array([0.05, -0.03, 0.02]))
    point, other = enumerated(machine), enumerated(shifted)
    covariance = tuned.Covariance(point, np.ones((3, 3), dtype=bool))
    target = tuned.Covariance(other, np.ones((3, 3), dtype=bool))
    gaps = np.tile(covariance.mean - target.mean, (4, 1))
    value, error = tuned._divergence(gaps, np.stack([covariance.solve(gap) for gap in gaps]))
    p, q = point.probabilities, other.probabilities
    assert value == pytest.approx(np.sum(q * np.log(q / p)), rel=0.05)
    assert error == pytest.approx(0, abs=1e-9)


def test_a_learned_rule_is_found_again_from_networks_that_follow_it(rng):
    """Examples made by a known rule, W' = .8 W and b' = b + .3 m share, give back its coefficients."""

    def shift(machine):
        point = enumerated(machine)
        return 0.3 * (2 * point.marginals() - 1) * point.undecided(machine).share

    examples = []
    for number in range(40):
        machine = list(teaching.FAMILIES.values())[number % len(teaching.FAMILIES)](rng)
        point = enumerated(machine)
        biases = np.asarray(machine.biases) + shift(machine)
        example = teaching.Example.of("any", 0.8 * np.asarray(machine.weights), biases, point.probabilities)
        if example is not None:
            examples.append(example)
    coefficients, error = teaching.learn(examples)
    machine = gaussian_machine(11)
    weights, biases = learned.apply(coefficients, machine, enumerated(machine))
    assert weights == pytest.approx(0.8 * np.asarray(machine.weights), abs=0.01)
    expected = np.asarray(machine.biases) + shift(machine)
    assert biases == pytest.approx(expected, abs=0.01)
    assert error.max() < 1e-4


def test_a_network_calibration_improves_on_the_psp_rule_and_comes_back_from_a_file(tmp_path):
    """Few and short networks of a neuron that ships no rule: the error on unseen families is told."""
    neuron = dataclasses.replace(bs.presets.S1.neuron, tau_refrac=8.0, tau_syn_exc=8.0, tau_syn_inh=8.0)
    calibration = bs.calibrate(neuron, bs.presets.S1.background)
    assert with_network(calibration).network is None
    seen = []
    calibration = bs.calibrate_network(
        calibration, networks=56, duration=3e5, progress=lambda done, total: seen.append((done, total))
    )
    assert seen[-1] == (56, 56)
    calibration.save(tmp_path / "c.json")
    assert bs.read(tmp_path / "c.json") == calibration
    machine = gaussian_machine(104)
    plain = bs.sample(machine, calibration=calibration, rule="psp", duration=2e4).kl_divergence()
    better = bs.sample(machine, calibration=calibration, duration=2e4).kl_divergence()
    assert better.bias + 2 * better.error < plain.bias / 2


def test_too_few_networks_are_refused(s1_calibration):
    with pytest.raises(
        CalibrationError, match=f"too few for {len(learned.FEATURES)} features; simulate more networks"
    ):
        bs.calibrate_network(s1_calibration, networks=3, duration=64 * 300)


def test_a_target_beyond_the_learned_range_is_warned_of_with_numbers(s1_calibration):
    machine = chain(2, 13.0)
    with pytest.warns(BoltzspikeWarning, match=r"largest \|W\| is 13; the learned rule saw up to"):
        result = bs.sample(machine, calibration=s1_calibration, duration=3e4, chains=4)
    assert any("largest |W| is 13" in text for text in result.configuration["translation"])


def test_the_learned_rule_needs_a_calibration_that_holds_it(s1_calibration):
    machine = gaussian_machine(1, n=2)
    with pytest.raises(ValidationError, match="'learned' needs a calibration with a network part"):
        bs.translate(machine, s1_calibration, rule="learned")
    synapse = bs.Synapse(plasticity="additive")
    with pytest.raises(ValidationError, match="holds for Synapse"):
        bs.translate(machine, with_network(s1_calibration), synapse=synapse, rule="learned")


def test_a_rule_with_other_features_is_refused(s1_calibration):
    known = with_network(s1_calibration)
    network = dataclasses.replace(known.network, features=("W: W",), coefficients=[0.8])
    with pytest.raises(ValidationError, match="made with other features"):
        bs.translate(gaussian_machine(1), dataclasses.replace(known, network=network), rule="learned")


def test_an_example_is_described_with_the_couplings_of_its_network_alone():
    """Of a chain whose ends its samples show coupled: what is handed to the two couplings teaches, no third."""
    machine, handed = gaussian_machine(5, n=3), chain(3, 1.0)
    point = enumerated(machine)
    example = teaching.Example.of("any", np.asarray(handed.weights), np.zeros(3), point.probabilities)
    found, wanted = enumerated(example.machine), point.states.astype(float)
    assert example.used.shape == (5,)
    assert np.array_equal(np.asarray(example.machine.weights) != 0, np.asarray(handed.weights) != 0)
    assert found.marginals() == pytest.approx(point.marginals(), abs=1e-7)
    for k, j, holds in ((0, 1, True), (1, 2, True), (0, 2, False)):
        pair = wanted[:, k] * wanted[:, j]
        assert (abs(found.probabilities @ pair - point.probabilities @ pair) < 1e-7) == holds


def test_a_unit_that_only_follows_another_has_no_share_of_its_own():
    weights = np.array([[0.0, 40.0, 0.0], [40.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    machine = bs.BoltzmannMachine(weights=weights, biases=[-20.0, -20.0, 0.5])
    point = enumerated(machine)
    undecided = point.undecided(machine)
    assert undecided.share == pytest.approx([0.0, 0.0, 1.0], abs=1e-6)


def test_features_are_what_their_names_say():
    machine = gaussian_machine(5, n=4)
    c = learned.Context.of(machine, enumerated(machine))
    drive = learned.bias_feature("share u sum Wt near spread")(c)
    spread = c.spread / (2 + c.spread)
    wanted = [
        c.share[k] * np.tanh(c.field[k] / 2)
        * sum(c.weight[k, j] * np.tanh(c.weight[k, j] / 2) * c.near[k, j] * spread[j] for j in range(4))
        for k in range(4)
    ]  # fmt: skip
    assert drive == pytest.approx(wanted)
    gain = learned.weight_feature("W|t| alive")(c)
    t = np.abs(np.tanh(c.weight[0, 2] / 2))
    assert gain[0, 2] == pytest.approx(c.weight[0, 2] * t * (c.alive[0, 2] + c.alive[2, 0]) / 2)
    both = learned.weight_feature("t share x share")(c)
    assert both[0, 2] == pytest.approx(np.tanh(c.weight[0, 2] / 2) * c.share[0] * c.share[2])


def test_weight_features_are_symmetric_and_couple_no_others(rng):
    machine = teaching.FAMILIES["sparse, larger"](rng)
    c = learned.Context.of(machine, enumerated(machine))
    for feature in learned.WEIGHT_FEATURES.values():
        found = feature(c)
        assert found == pytest.approx(found.T)
        assert not found[np.asarray(machine.weights) == 0].any()


def test_huge_biases_do_not_lead_the_learned_rule_astray(s1_calibration):
    """Two units that never change: with features that grow with the drive, W' of W = .5 was -228."""
    machine = bs.BoltzmannMachine(weights=[[0, 0.5], [0.5, 0]], biases=[500.0, -500.0])
    found = bs.translate(machine, shipped("S1"), rule="learned")
    assert 0 < found.effective_weights[0, 1] < 1


def test_averages_while_undecided_are_those_of_the_definition():
    machine = gaussian_machine(5, n=3)
    point = enumerated(machine)
    undecided = point.undecided(machine)
    weights, biases = np.asarray(machine.weights), np.asarray(machine.biases)
    total = neighbour = field = alive = square = 0.0
    for z, probability in zip(point.states, point.probabilities):
        u = biases[0] + weights[0] @ z
        weight = probability / (1 + np.exp(-u)) / (1 + np.exp(u))
        total += weight
        neighbour += weight * z[2]
        field += weight * u
        of_neighbour = biases[2] + weights[2] @ z
        variance = 1 / (1 + np.exp(-of_neighbour)) / (1 + np.exp(of_neighbour))
        alive += weight * variance
        square += weight * variance**2
    assert undecided.neighbours[0, 2] == pytest.approx(neighbour / total)
    assert undecided.field[0] == pytest.approx(field / total)
    assert undecided.alive[0, 2] == pytest.approx(alive / total)
    assert undecided.alive_square[0, 2] == pytest.approx(square / total)


def test_samples_and_enumeration_give_one_working_point(rng):
    machine = gaussian_machine(5, n=4)
    exact = enumerated(machine)
    draws = rng.choice(16, size=200_000, p=exact.probabilities)
    sampled = WorkingPoint(
        states=exact.states[draws], probabilities=np.full(len(draws), 1 / len(draws)), source="draws"
    )
    assert sampled.marginals() == pytest.approx(exact.marginals(), abs=0.005)
    assert sampled.undecided(machine).square == pytest.approx(exact.undecided(machine).square, abs=0.05)


def test_a_working_point_of_many_units_needs_a_sampler():
    machine = bs.BoltzmannMachine(weights=np.zeros((20, 20)), biases=np.zeros(20))
    with pytest.raises(ValidationError, match="at most 14 units; give states_of a sampler"):
        enumerated(machine)


def test_the_error_budget_adds_up_and_names_the_tail_and_the_gain_of_the_psp_rule(s1_calibration):
    result = bs.sample(gaussian_machine(4, n=3), calibration=s1_calibration, rule="psp", duration=1e4, chains=32)
    shares_of = result.error_budget()
    shares = {share.cause: share for share in shares_of.shares}
    total = sum(share.value for share in shares_of.shares)
    assert total + shares_of.remainder == pytest.approx(shares_of.bias)
    assert abs(shares_of.remainder) < 4 * shares_of.remainder_error  # three units: a machine says nearly all
    assert 0 < shares_of.remainder_error < shares_of.bias_error
    for cause in ("mean drive (tail of the PSP)", "memory of the noise, membrane (coupling gain)"):
        assert shares[cause].value > 4 * shares[cause].error
        assert shares[cause].value > 0.1 * shares_of.bias
    for cause in ("delay", "response (not a logistic)"):
        assert abs(shares[cause].value) < 0.2 * shares_of.bias


def test_the_mean_trace_is_what_memoryless_units_have():
    """Drawn spike trains: a geometric wait between refractory periods."""
    rng = np.random.default_rng(1)
    tau, tau_syn, p = 20, 25.0, 0.6
    chance = 1 / (tau / p - tau + 1)
    intervals = tau - 1 + rng.geometric(chance, 20_000)
    assert tau / intervals.mean() == pytest.approx(p, rel=0.01)
    decay = np.exp(-1 / tau_syn)
    height = tau * (1 - decay) / (1 - decay**tau)
    area = height * (1 - decay**intervals) / (1 - decay)
    renewing = area.sum() / intervals.sum()
    assert renewing == pytest.approx(float(budget.mean_trace(p, tau, tau_syn, True)), rel=0.01)
    additive = height / (1 - decay) / intervals.mean()
    assert additive == pytest.approx(float(budget.mean_trace(p, tau, tau_syn, False)), rel=0.01)


def test_an_error_budget_needs_lif_neurons():
    result = bs.sample(gaussian_machine(4, n=3), engine="gibbs", duration=1000)
    with pytest.raises(ValidationError, match="error_budget: needs a result of LIF neurons"):
        result.error_budget()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"record": "moments"}, "error_budget: needs the states of every draw; record='states' keeps them"),
        ({"clamp": {0: 1}, "clamping": "spikes"}, "clamping='bias'; and no changing evidence"),
        (
            {"schedule": [bs.Wave(quantity="v_rest", amplitude=0.1, frequency=1.0)]},
            "no changing evidence or input",
        ),
        ({"duration": 100.0}, "take at least .* times the duration or the chains"),
    ],
)
def test_what_an_error_budget_cannot_explain_is_refused(options, message, s1_calibration):
    plain = {"calibration": s1_calibration, "rule": "psp", "duration": 1000.0, "chains": 4}
    result = bs.sample(gaussian_machine(4, n=3), **plain | options)
    with pytest.raises((ValidationError, UnsupportedFeature), match=message):
        result.error_budget()


def test_an_error_budget_of_many_units_is_refused(s1_calibration):
    result = bs.sample(gaussian_machine(4, n=13), calibration=s1_calibration, rule="psp", duration=100, chains=1)
    with pytest.raises(ValidationError, match="error_budget: must be of at most 12 free units, got 13"):
        result.error_budget()


def test_the_psp_rule_is_not_taken_in_silence(s1_calibration):
    facilitating = bs.Synapse(plasticity="tsodyks-markram", U=0.5, tau_rec=13.0, tau_fac=5.0)
    made = bs.translate(gaussian_machine(1), s1_calibration, synapse=facilitating)
    assert made.rule == "psp"
    assert "does not treat U < 1 or facilitation: the PSP rule was taken" in made.warnings[0]
    assert bs.translate(gaussian_machine(1), s1_calibration, synapse=facilitating, rule="psp").warnings == ()


def test_synapses_near_the_reversal_potential_are_warned_of_by_every_rule(s1_calibration):
    """S1: alpha = .6 mV, 50 mV to either reversal potential; a fifth of that is W = 17."""

    def warned(weight):
        machine = bs.BoltzmannMachine(weights=[[0, weight], [weight, 0]], biases=[0.0, 0.0])
        return " ".join(bs.translate(machine, s1_calibration, rule="psp").warnings)

    for weight, kind in ((-300.0, "inhibitory"), (300.0, "excitatory"), (-18.0, "inhibitory")):
        assert f"the strongest {kind} synapse" in warned(weight)
    assert "it adds 3.6 times the neuron's total conductance" in warned(-300.0)
    assert warned(4.0) == warned(-4.0) == ""


def test_units_that_never_change_are_warned_of_with_their_probability(s1_calibration):
    def warned(biases, weight=0.0):
        machine = bs.BoltzmannMachine(weights=[[0, weight], [weight, 0]], biases=biases, names=["a", "b"])
        return bs.translate(machine, s1_calibration, rule="psp").warnings

    off, on = warned([-600.0, 600.0])
    assert off.startswith("1 unit(s) (a) are 1 with a probability of at most ")
    assert on.startswith("1 unit(s) (b) are 0 with a probability of at most ")
    assert warned([-9.0, 9.0]) == ()  # p = 1.2e-4
    assert warned([-10.0, 0.0], weight=2.0) == ()  # a neighbour may lift it


def ideal_matching(**values):
    """Return what the matched rule would take from memoryless logistic neurons."""
    bias = np.linspace(-5.0, 5.0, 41)
    p = 1 / (1 + np.exp(-bias))
    plain = {"kappa": 1.0, "slope": 0.0, "bias": bias, "response": bias, "mean_trace": p, "presence": 1.0}
    return matched.Matching(**(plain | values))


def test_the_matched_rule_leaves_ideal_neurons_their_target():
    machine = gaussian_machine(7)
    weights, biases = matched.apply(ideal_matching(), machine, enumerated(machine))
    assert np.array_equal(weights, machine.weights)
    assert biases == pytest.approx(machine.biases, abs=1e-6)


def test_the_matched_rule_undoes_a_shifted_and_stretched_response():
    machine = bs.BoltzmannMachine(weights=np.zeros((2, 2)), biases=[1.0, -2.0])
    bias = np.linspace(-5.0, 5.0, 41)
    matching = ideal_matching(response=1.2 * bias + 0.3)
    _, biases = matched.apply(matching, machine, enumerated(machine))
    assert biases == pytest.approx((np.asarray(machine.biases) - 0.3) / 1.2, abs=1e-6)


def test_the_matched_rule_holds_the_mean_drive_of_a_certain_neighbour():
    machine = bs.BoltzmannMachine(weights=[[0.0, 1.0], [1.0, 0.0]], biases=[0.0, 40.0])
    matching = ideal_matching(kappa=0.75, mean_trace=1.1 * ideal_matching().mean_trace)
    weights, biases = matched.apply(matching, machine, enumerated(machine))
    assert weights[0, 1] == pytest.approx(0.75)
    assert biases[0] + 0.75 * 1.1 == pytest.approx(1.0, abs=1e-6)


@pytest.mark.parametrize("seed", [201, 202])
def test_the_matched_rule_leaves_a_third_of_the_bias_of_the_psp_rule(seed, s1_calibration):
    machine = gaussian_machine(seed)
    options = {"calibration": s1_calibration, "duration": 2e4, "seed": seed}
    plain = bs.sample(machine, rule="psp", **options).kl_divergence()
    better = bs.sample(machine, rule="matched", **options).kl_divergence()
    assert better.bias + 2 * better.error < plain.bias / 3


def test_the_matched_rule_names_what_it_cannot_treat(s1_calibration):
    neuron = dataclasses.replace(s1_calibration.neuron, tau_syn_inh=5.0)
    other = dataclasses.replace(s1_calibration, neuron=neuron)
    with pytest.raises(UnsupportedFeature, match="tau_syn_inh = 5 ms"):
        bs.translate(gaussian_machine(1), other, rule="matched")
    facilitating = bs.Synapse(plasticity="tsodyks-markram", U=0.5, tau_rec=13.0, tau_fac=5.0)
    with pytest.raises(UnsupportedFeature, match="U = 1 and tau_fac = 0"):
        bs.translate(gaussian_machine(1), s1_calibration, rule="matched", synapse=facilitating)
    depressing = bs.Synapse(plasticity="tsodyks-markram", U=1.0, tau_rec=13.0, teeth=2)
    with pytest.raises(UnsupportedFeature, match="and no teeth"):
        bs.translate(gaussian_machine(1), s1_calibration, rule="matched", synapse=depressing)


def test_the_matched_rule_knows_synapses_with_teeth(s1_calibration):
    """Theory alone corrects what they over-couple; a budget of their bias is refused."""
    machine = gaussian_machine(201)
    options = {"calibration": s1_calibration, "duration": 2e4, "seed": 3}
    synapse = bs.Synapse(plasticity="additive", teeth=1)
    plain = bs.sample(machine, rule="psp", synapse=synapse, **options).kl_divergence()
    result = bs.sample(machine, synapse=synapse, **options)
    better = result.kl_divergence()
    assert result.configuration["rule"] == "matched"
    assert better.bias + 2 * better.error < plain.bias / 3
    with pytest.raises(UnsupportedFeature, match="without teeth"):
        result.error_budget()


def test_the_working_point_of_an_rbm_has_all_modes_that_chains_do_not_leave():
    weights = np.full((3, 20), 6.0)
    rbm = bs.RestrictedBoltzmannMachine(
        weights=weights, visible_biases=np.full(3, -60.0), hidden_biases=np.full(20, -9.0)
    )
    exact, point = exact_moments(rbm), working_point(rbm.to_boltzmann())
    assert 0.05 < exact.marginals[0] < 0.95
    # 4 standard errors of independent samples; chains begin in one mode and stay
    np.testing.assert_allclose(point.marginals(), exact.marginals, atol=4 * 0.5 / np.sqrt(len(point.states)))


def shifted(machine, by):
    """Return the machine with its parameters moved at random, and by how much, as one vector."""
    rng = np.random.default_rng(5)
    n = machine.n_units
    upper = np.triu(rng.normal(0, by, (n, n)), 1) * (np.asarray(machine.weights) != 0)
    biases = rng.normal(0, by, n)
    moved = bs.BoltzmannMachine(
        weights=np.asarray(machine.weights) + upper + upper.T, biases=np.asarray(machine.biases) + biases
    )
    return moved, upper, biases


def drawn(machine, number):
    """Return groups of independent states of the exact law, free of a chain."""
    point = enumerated(machine)
    rng = np.random.default_rng(6)
    return [point.states[rng.choice(len(point.states), number, p=point.probabilities)] for _ in range(16)]


def test_conditionals_tell_how_far_the_parameters_of_a_machine_are_off():
    target = gaussian_machine(3, n=4)
    other, upper, biases = shifted(target, 0.05)
    demand = Conditionals(target, np.asarray(target.weights) != 0)
    steps = demand.directions(drawn(other, 200_000))[1]
    error = steps.std(axis=0, ddof=1) / np.sqrt(len(steps))
    assert np.all(np.abs(steps.mean(axis=0) + demand.vector(biases, upper)) < 4 * error + 0.005)
    assert np.abs(upper).max() > 10 * error.max()


def test_the_error_of_conditionals_is_the_sum_of_their_divergences():
    target = gaussian_machine(3, n=4)
    other, *_ = shifted(target, 0.1)
    point = enumerated(other)
    z = point.states.astype(float)
    p, q = (1 / (1 + np.exp(-(z @ np.asarray(m.weights) + m.biases))) for m in (target, other))
    exact = point.probabilities @ (q * np.log(q / p) + (1 - q) * np.log((1 - q) / (1 - p))).sum(axis=1)
    demand = Conditionals(target, np.asarray(target.weights) != 0)
    value, error = tuned._divergence(*demand.directions(drawn(other, 20_000)))
    assert error < exact / 10
    assert value == pytest.approx(exact, abs=3 * error, rel=0.1)
    value, error = tuned._divergence(*demand.directions(drawn(target, 20_000)))
    assert abs(value) < 3 * error


def test_large_systems_are_solved_as_small_ones_are(monkeypatch):
    target = gaussian_machine(3, n=4)
    demand, groups = Conditionals(target, np.asarray(target.weights) != 0), drawn(gaussian_machine(4, n=4), 500)
    small = demand.directions(groups)[1]
    monkeypatch.setattr(tuned, "DENSE", 0)
    assert demand.directions(groups)[1] == pytest.approx(small, rel=0.1, abs=0.05)


@pytest.mark.parametrize("machine", [gaussian_machine(102), chain(5, 4.0)], ids=["N(0, 1)", "chain of 4"])
def test_a_network_tuned_to_conditionals_samples_the_target(machine, s1_calibration):
    options = {"calibration": s1_calibration, "duration": 4e4, "seed": 3}
    plain = bs.sample(machine, rule="psp", **options).kl_divergence()
    untuned = bs.sample(machine, **options).kl_divergence()
    result = bs.sample(machine, rule="conditionals", **options)
    tuned_to = result.kl_divergence()
    assert tuned_to.bias + 2 * tuned_to.error < min(plain.bias / 30, untuned.bias / 2)
    assert result.translation.predicted_error is None  # conditionals don't tell the D_KL of the joint law
    assert "D_KL of the conditionals" in result.translation.notes[-1]


def test_a_strong_pair_finds_its_way_through_a_curved_valley(s1_calibration):
    pair = bs.BoltzmannMachine(weights=[[0, 7.0], [7.0, 0]], biases=[-6.2, -2.2])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BoltzspikeWarning)
        translation = bs.tune(
            pair, to="conditionals", calibration=s1_calibration, duration=4e4, steps=24, tolerance=1e-4
        )
        before, after = (
            bs.sample(pair, calibration=s1_calibration, rule=rule, duration=4e4, seed=4)
            for rule in (None, translation)
        )
    assert after.kl_divergence().bias < before.kl_divergence().bias / 4


def test_couplings_are_filled_only_while_they_are_few():
    star = np.zeros((50, 50))
    star[0, 1:] = star[1:, 0] = 1.0
    machine = bs.BoltzmannMachine(weights=star, biases=np.zeros(50))
    counts = [np.count_nonzero(tuned.coupled_pairs(machine, fill=fill)) for fill in (None, True, False)]
    assert counts == [98, 50 * 49, 98]
    small = bs.BoltzmannMachine(weights=star[:5, :5], biases=np.zeros(5))
    assert np.count_nonzero(tuned.coupled_pairs(small, fill=None)) == 20


def test_what_tuning_leaves_is_warned_of(s1_calibration):
    start = bs.translate(gaussian_machine(8), s1_calibration, rule="psp")
    with pytest.warns(BoltzspikeWarning, match="tuning left a D_KL of"):
        translation = bs.tune(start.machine, start=start, duration=4000, steps=1)
    assert "tuning left a D_KL of" in translation.warnings[0]


def test_tuning_to_what_is_unknown_is_an_error(s1_calibration):
    with pytest.raises(
        ValidationError, match="to: must be one of conditionals, moments, got 'conditional'.*'conditionals'"
    ):
        bs.tune(gaussian_machine(1, n=3), to="conditional")
    with pytest.raises(UnsupportedFeature, match="'conditionals' tunes the machine under the evidence"):
        bs.sample(
            gaussian_machine(1, n=3), calibration=s1_calibration, rule="conditionals", clamp={0: 1}, duration=100,
            clamping="spikes",
        )  # fmt: skip


def test_held_neurons_demand_only_what_biases_can_give():
    target = gaussian_machine(4, n=4)
    demand = HeldConditionals(target, [2])
    conditioned, free = target.given({2: 1})
    z = np.ones((8, 4), dtype=np.int8)
    z[:, free] = all_states(3)
    counts = np.round(4e5 * exact_joint(conditioned)).astype(int)
    gaps, steps = demand.directions([np.repeat(z, counts, axis=0)])
    assert np.abs(gaps).max() < 1e-4
    # a law whose free units have other biases: the step takes most of that back
    shift = np.array([0.2, -0.1, 0.0, 0.15])
    other = dataclasses.replace(target, biases=np.asarray(target.biases) + shift)
    counts = np.round(4e5 * exact_joint(other.given({2: 1})[0])).astype(int)
    _, steps = demand.directions([np.repeat(z, counts, axis=0)])
    assert steps[0, 2] == 0
    assert np.abs(steps[0] + shift).max() < 0.03
    biases, weights = demand.split(steps[0])
    assert np.array_equal(biases, steps[0])
    assert not weights.any()
