"""What a result answers from what was recorded."""

import dataclasses

import numpy as np
import pytest

import boltzspike as bs
from boltzspike import diagnostics
from boltzspike.errors import ValidationError
from boltzspike.gathered import Bins, Occupancy
from boltzspike.samples import Energy
from boltzspike.theory.exact import exact_moments

EVIDENCE = {1: 1, 3: 0}


@pytest.fixture
def sampled(random_machine, s1_calibration):
    """Return a function that samples one and the same run, recorded in different ways."""
    machine = random_machine(5)
    every_step = bs.Record(states_every=1)

    def sample(record=every_step, chains=20, **options):
        options = {"duration": 500, "burn_in": 100, "clamp": EVIDENCE} | options
        return bs.sample(machine, calibration=s1_calibration, chains=chains, record=record, **options)

    return sample


@pytest.mark.parametrize("clamping", ["bias", "spikes"])
def test_marginals_pairs_and_joint_are_those_of_the_states(sampled, clamping):
    every_step, draws = sampled(clamping=clamping), sampled("states", clamping=clamping)
    for record in ("moments", "joint"):
        result = sampled(record, clamping=clamping)
        assert result.samples.packed is None
        assert result.marginals() == pytest.approx(every_step.z.mean(axis=(0, 1)), rel=1e-12)
        assert result.marginals_error() == pytest.approx(every_step.marginals_error(), rel=1e-12)
        assert result.pairs() == pytest.approx(draws.pairs(), rel=1e-6)
        assert result.effective_samples()[0] == pytest.approx(every_step.effective_samples()[0])
    assert result.joint() == pytest.approx(every_step.joint(), rel=1e-12)
    d, expected = result.kl_divergence(), every_step.kl_divergence()
    assert (d.value, d.floor, d.error) == pytest.approx((expected.value, expected.floor, expected.error))
    p = result.marginals()
    assert p[1] == 1
    assert p[3] == 0


def test_correlations_are_those_of_the_draws(sampled):
    draws = sampled("states", clamp={})
    z = draws.z.reshape(-1, 5).astype(float)
    assert sampled("moments", clamp={}).correlations() == pytest.approx(np.corrcoef(z.T), abs=1e-6)
    assert np.isnan(sampled("moments").correlations()[1]).all()


def test_few_chains_take_their_errors_from_parts_of_each(sampled):
    result, every_step = sampled("moments", chains=2), sampled(chains=2)
    assert result.samples.gathered.occupancy.on.shape == (2, 32, 3)
    assert result.marginals_error() == pytest.approx(diagnostics.marginals_error(every_step.z), rel=1e-12)
    assert sampled("moments", chains=16).samples.gathered.occupancy.on.shape == (16, 1, 3)


def test_parts_are_put_together_and_the_rest_is_left_out():
    occupancy = Occupancy(on=np.arange(14).reshape(2, 7, 1), steps=np.array([10, 10, 10, 10, 10, 20, 10]))
    assert occupancy.shares(3)[1, :, 0] == pytest.approx([15 / 20, 19 / 20, 23 / 30])
    assert occupancy.shares(7).shape == (2, 7, 1)


def test_too_few_parts_give_no_error(sampled):
    few = sampled("moments", chains=1)
    occupancy = few.samples.gathered.occupancy
    cut = dataclasses.replace(occupancy, on=occupancy.on[:, :15], steps=occupancy.steps[:15])
    samples = dataclasses.replace(few.samples, gathered=dataclasses.replace(few.samples.gathered, occupancy=cut))
    with pytest.raises(ValidationError, match=r"marginals_error: 1 chain\(s\) in 15 part\(s\) are too few"):
        dataclasses.replace(few, samples=samples).marginals_error()


@pytest.mark.parametrize(
    ("record", "method", "message"),
    [
        ("moments", "joint", r'joint: needs what was not recorded; sample\(..., record="states"\) or sample\(..., '
                             r'record="joint"\) records it'),
        ("moments", "kl_divergence", "kl_divergence: needs what was not recorded"),
        ("moments", "plot_joint", "plot_joint: needs what was not recorded"),
        ("joint", "pairs_error", r'pairs_error: needs what was not recorded; sample\(..., record="states"\)'),
        (bs.Record(spikes=True), "marginals", r'states: were not recorded; sample\(..., record="states"\) keeps'),
        (bs.Record(joint=(0, 1)), "joint", "joint: must be of units whose joint states were recorded, got"),
    ],
)  # fmt: skip
def test_what_can_not_be_answered_says_what_to_record(sampled, record, method, message):
    with pytest.raises(ValidationError, match=message):
        getattr(sampled(record), method)()


def test_states_are_asked_for_by_name(sampled):
    with pytest.raises(ValidationError, match=r'states: were not recorded; sample\(..., record="states"\) keeps'):
        _ = sampled("moments").states


def test_the_divergence_from_joint_states_needs_chains(sampled):
    with pytest.raises(
        ValidationError, match='kl_divergence: must be of at least 16 chains with record="joint", got'
    ):
        sampled("joint", chains=4).kl_divergence()


def test_the_joint_of_too_many_units_is_refused_before_the_run(random_machine, s1_calibration):
    message = "record: must be 'states' or 'moments' with more than 24 simulated units, here 25, got 'joint'"
    with pytest.raises(ValidationError, match=message):
        bs.sample(random_machine(25, scale=0.1), calibration=s1_calibration, record="joint")


def test_marginals_can_be_drawn_from_moments_and_joints_from_counts(sampled):
    sampled("moments").plot_marginals()
    sampled("joint").plot_joint()


def test_all_that_is_recorded_comes_back_from_a_file(sampled, tmp_path):
    energy = Energy(every=30, weights=np.ones((3, 3)) - np.eye(3), biases=np.arange(3.0))
    record = bs.Record(
        states_every=20, spikes=True, voltages=(2,), occupancy=True, pairs_every=50, joint=(0, 1, 2),
        intervals=Bins(width=5, number=30, gap=2, longest=6), energy=energy,
    )  # fmt: skip
    result = sampled(record, duration=100)
    result.save(tmp_path / "r.nc")
    again = bs.read(tmp_path / "r.nc").samples
    samples = result.samples
    assert np.array_equal(again.states, samples.states)
    assert np.array_equal(again.voltages, samples.voltages)
    assert np.array_equal(again.energies, samples.energies)
    assert again.spikes.marginals() == pytest.approx(samples.spikes.marginals())
    for kind in ("occupancy", "pairs", "joint", "intervals"):
        a, b = getattr(again.gathered, kind), getattr(samples.gathered, kind)
        for field in a.__slots__:
            x, y = getattr(a, field), getattr(b, field)
            assert np.array_equal(x, y) if isinstance(x, np.ndarray) else x == y, f"{kind}.{field}"


@pytest.mark.parametrize("record", ["moments", "joint"])
def test_a_saved_result_answers_the_same(sampled, tmp_path, record):
    result = sampled(record)
    result.save(tmp_path / "r.nc")
    again = bs.read(tmp_path / "r.nc")
    assert again.configuration == result.configuration
    assert np.array_equal(again.marginals(), result.marginals())
    assert np.array_equal(again.pairs(), result.pairs())
    if record == "joint":
        assert again.kl_divergence() == result.kl_divergence()


def test_a_result_judges_itself(sampled):
    result = sampled("states")
    found = result.convergence()
    assert found.names == ("z0", "z2", "z4", "energy")
    assert np.isfinite(found.ess).all()
    assert result.energies()[0, 0] == pytest.approx(result.machine.energy(result.z[0, 0]))
    assert result.test_marginals().dimensions == 3
    assert result.test_pairs().dimensions == 3
    assert result.test_joint().of == "joint"
    assert result.distances().kl.value == pytest.approx(result.kl_divergence().value)
    assert 0 <= result.marginals_bias().low <= result.marginals_bias().high
    assert result.bias_bound().bound > np.abs(result.marginals() - result.exact().marginals).max()
    assert result.temperature().method == "likelihood"
    assert result.extrapolation().error > 0
    assert result.modes().share.sum() == pytest.approx(1)
    assert result.modes([[0, 0, 0], [1, 1, 1]]).modes.shape == (2, 3)
    assert result.verdict().sentences


def test_spikes_are_counted_or_inferred_from_the_time_at_one(sampled):
    counted = sampled(bs.Record(states_every=100, spikes=True), duration=5000)
    inferred = sampled("states", duration=5000)
    spikes = len(counted.samples.spikes.step)
    # each keeps z at 1 for tau_refrac; marginals are of draws: 4 standard errors
    error = np.sqrt(np.sum(inferred.marginals_error() ** 2)) / inferred.marginals()[counted.simulated].sum()
    ratio = (inferred.efficiency().ess / inferred.efficiency().per_spike) / spikes
    assert abs(ratio - 1) < 4 * error + 0.01
    assert counted.efficiency().per_spike == pytest.approx(counted.convergence().least_ess / spikes)


def test_marginals_are_tested_without_states(sampled):
    by_step, by_count = sampled(), sampled("moments")
    assert by_count.test_marginals().p_value == pytest.approx(by_step.test_marginals().p_value)
    with pytest.raises(ValidationError, match="convergence: needs what was not recorded"):
        by_count.convergence()


def test_without_exact_moments_the_bias_is_bounded_against_a_long_run(random_machine):
    machine = random_machine(40, scale=0.3)
    result = bs.sample(machine, engine="gibbs", duration=2e3, chains=16)
    with pytest.raises(ValidationError, match="test_marginals: this machine has no exact moments in reach"):
        result.test_marginals()
    assert result.temperature().method == "pseudo-likelihood"
    assert result.verdict().biased is None
    assert 0 < result.bias_bound().bound < 0.2


def test_runs_that_differ_in_their_pairs_alone_are_told_apart():
    coupled = bs.BoltzmannMachine(weights=[[0, 1.0], [1.0, 0]], biases=[-0.5, -0.5])
    alone = bs.BoltzmannMachine(weights=np.zeros((2, 2)), biases=np.zeros(2))
    # p(z = 1) = 1/2 in both
    assert exact_moments(coupled).marginals == pytest.approx([0.5, 0.5])
    run = {"engine": "gibbs", "duration": 2e4, "chains": 16}
    first, second = (bs.sample(machine, seed=k, **run) for k, machine in enumerate((coupled, alone)))
    marginals, pairs, joint = first.compared_with(second)
    assert marginals.p_value > 1e-3
    assert pairs.p_value < 1e-3
    assert joint.p_value < 1e-3
    assert (pairs.of, joint.of) == ("pairs", "joint")
    third = bs.sample(coupled, seed=5, **run)
    assert min(test.p_value for test in first.compared_with(third)) > 1e-3
    counted = bs.sample(coupled, seed=5, duration=2e3, chains=16, record="moments", rule="psp")
    assert [test.of for test in counted.compared_with(first)] == ["marginals"]
    with pytest.raises(ValidationError, match="compared_with: must be a result of the same units"):
        first.compared_with(bs.sample(coupled, clamp={0: 1}, **run))
