"""Inputs and evidence that change in time, through sample()."""

import dataclasses
import subprocess
import sys

import numpy as np
import pytest

import boltzspike as bs

PAIR = bs.BoltzmannMachine(weights=[[0, 0.8], [0.8, 0]], biases=[-0.4, -0.2], names=["a", "b"])
SHORT = {"duration": 4e3, "chains": 32, "seed": 3, "burn_in": 500.0}


def within(result, unit, truth, *, allowed):
    """Tell whether a marginal is the true one up to 4 standard errors and what the translation is allowed."""
    return abs(result.marginals()[unit] - truth) < 4 * result.marginals_error()[unit] + allowed


def test_each_episode_follows_the_evidence_of_its_time():
    course = [(0.0, {"a": 1}), (2000.0, {"a": 0}), (3000.0, {})]
    result = bs.sample(PAIR, evidence_course=course, **SHORT)
    episodes = result.episodes(settle=100.0)
    assert [(start, stop) for start, stop, _ in episodes] == [(0.0, 2000.0), (2000.0, 3000.0), (3000.0, 4000.0)]
    assert [episode.clamp for _, _, episode in episodes] == [{0: 1}, {0: 0}, {}]
    for _, _, episode in episodes:
        # a neuron that fires at every chance drives its neighbours less than one refractory by chance
        assert within(episode, 1, episode.exact().marginals[1], allowed=0.04)
    first, second = (episode.z[..., 0] for _, _, episode in episodes[:2])
    assert first.all()
    assert not second.any()


def test_evidence_from_the_second_change_on_leaves_the_time_before_it_free():
    result = bs.sample(PAIR, evidence_course=[(2000.0, {"a": 1})], **SHORT)
    (start, stop, free), _ = result.episodes()
    assert (start, stop, free.clamp) == (0.0, 2000.0, {})
    assert within(free, 0, free.exact().marginals[0], allowed=0.01)


def test_a_resumed_run_knows_which_evidence_held_during_its_part(tmp_path):
    path = tmp_path / "state.npz"
    options = {**SHORT, "evidence_course": [(0.0, {"a": 1}), (500.0, {}), (1000.0, {"a": 1}), (3000.0, {"a": 0})]}
    bs.sample(PAIR, checkpoint=path, **{**options, "duration": 2000.0})
    result = bs.sample(PAIR, resume=path, **{**options, "duration": 2000.0})
    episodes = result.episodes()
    assert [(start, stop) for start, stop, _ in episodes] == [(0.0, 1000.0), (1000.0, 2000.0)]
    assert [episode.clamp for _, _, episode in episodes] == [{0: 1}, {0: 0}]
    assert episodes[0][2].z[..., 0].all()
    assert not episodes[1][2].z[:, 2:, 0].any()


def test_a_run_that_ended_before_its_last_change_has_the_episodes_there_were():
    result = bs.sample(PAIR, evidence_course=[(0.0, {"a": 1}), (3000.0, {"a": 0})], **SHORT)
    part = dataclasses.replace(result.during(0.0, 2000.0), configuration=result.configuration)
    ((start, stop, episode),) = part.episodes(settle=100.0)
    assert (start, stop, episode.clamp) == (0.0, 2000.0, {0: 1})
    assert episode.z[..., 0].all()


@pytest.mark.filterwarnings("ignore:largest .* the learned rule saw")
def test_the_posterior_of_a_bayesian_network_follows_its_evidence():
    network = bs.networks.sprinkler()
    course = [(0.0, {"wet": "yes"}), (2000.0, {"wet": "no"})]
    result = bs.sample(network, evidence_course=course, **SHORT)
    for (_, _, episode), (_, evidence) in zip(result.episodes(settle=200.0), course):
        sampled, exact = episode.posterior(), episode.exact_posterior()
        assert "wet" not in sampled
        assert exact == bs.sample(network, evidence=evidence, duration=100.0, chains=16).exact_posterior()
        worst = max(abs(sampled[v][s] - exact[v][s]) for v in sampled for s in sampled[v])
        # neurons held at evidence, untuned: .03 to .19 by the units fitted, equally good ones; rain is .71 in one
        # episode and .12 in the other
        assert worst < 0.25


def test_parts_of_a_result_are_its_draws():
    result = bs.sample(PAIR, **SHORT)
    early, late = result.during(0.0, 1500.0), result.during(1500.0, 4000.0)
    assert np.array_equal(np.concatenate([early.z, late.z], axis=1), result.z)
    assert (early.samples.stop - early.samples.start) * 0.1 == pytest.approx(1500.0)
    assert result.during(10.0, 20.0).z.shape[1] == 1


def test_times_of_a_schedule_count_from_the_end_of_the_burn_in():
    held = bs.Piecewise(quantity="clamp", times=[1000.0], values=[1], units=["a"])
    z = bs.sample(PAIR, schedule=held, **SHORT).z[..., 0]
    # draws are 10 ms apart: number 100 is the first after the change; a clamped unit spikes when it is free
    assert not z[:, 95:100].all()
    assert z[:, 103:].all()


def test_a_wave_keeps_its_phase_whatever_the_burn_in():
    wave = bs.Wave(quantity="v_rest", amplitude=4.0, frequency=2.0, units=["a"])
    for burn_in in (500.0, 620.0):
        z = bs.sample(PAIR, schedule=[wave], **(SHORT | {"burn_in": burn_in, "chains": 64})).z[..., 0]
        by_phase = z[:, :400].reshape(64, 8, 50).mean(axis=(0, 1))
        times = (np.arange(50) + 1) * 10e-3
        # the driven unit lags by less than a refractory period; unshifted, the second run would be 1.5 rad off
        lag = np.angle(np.sum(by_phase * np.exp(2j * np.pi * 2.0 * times)) * -1j)
        assert 0.0 < lag < 2 * np.pi * 2.0 * 10e-3


def test_shared_noise_correlates_uncoupled_units():
    lonely = bs.BoltzmannMachine(weights=np.zeros((2, 2)), biases=[0.0, 0.0])
    pool = bs.SharedBackground(rates=[3000.0, 3000.0], weights=[[0.001, -0.001]] * 2)
    shared = bs.sample(lonely, shared=pool, **SHORT).correlations()[0, 1]
    private = bs.sample(lonely, **SHORT).correlations()[0, 1]
    assert shared > 0.15
    assert abs(private) < 0.05


def test_a_run_whose_neurons_are_held_says_what_that_costs():
    brief = {**SHORT, "duration": 500.0}
    notes = lambda **options: " ".join(bs.sample(PAIR, **brief, **options).configuration["translation"])
    for options in ({"evidence_course": [(0.0, {"a": 1})]}, {"clamp": {"a": 1}, "clamping": "spikes"}):
        assert "evidence by clamped neurons is less exact" in notes(**options)
        assert "clamped neurons" not in notes(rule="conditionals", **options)
    assert "clamped neurons" not in notes(clamp={"a": 1})


def test_biases_tuned_to_held_neurons_bring_the_conditional_of_the_target():
    strong = bs.BoltzmannMachine(weights=[[0, 2.5], [2.5, 0]], biases=[-2.0, -1.0], names=["a", "b"])
    options = {"clamp": {"a": 1}, "clamping": "spikes", "rule": "conditionals", **SHORT}
    result = bs.sample(strong, **options)
    assert result.configuration["rule"] == "tuned"
    assert within(result, 1, 1 / (1 + np.exp(-1.5)), allowed=0.003)
    with pytest.raises(bs.UnsupportedFeature, match="'moments' tunes the machine under the evidence"):
        bs.sample(strong, **(options | {"rule": "moments"}))


@pytest.mark.filterwarnings("ignore:largest .* the learned rule saw")
def test_each_evidence_of_a_course_has_biases_of_its_own():
    given = {"reflectance": "uniform", "shading": "uniform"}
    course = [(0.0, given), (4000.0, {"contour": "straight"}), (8000.0, given)]
    options = {"evidence_course": course, "duration": 12e3, "chains": 64, "seed": 3}

    def errors(rule):
        result = bs.sample(bs.networks.visual_perception(), rule=rule, **options)
        found = []
        for _, _, episode in result.episodes(settle=200.0):
            sampled, exact = episode.posterior(), episode.exact_posterior()
            found.append(max(abs(sampled[v][s] - exact[v][s]) for v in sampled for s in sampled[v]))
        return result, found

    _, untuned = errors(None)
    result, tuned = errors("conditionals")
    biases = next(course for course in result.network.schedule if course.quantity == "v_rest").values
    assert np.array_equal(biases[0], biases[2])
    assert not np.array_equal(biases[0], biases[1])
    assert max(tuned) < 0.06  # of a standard error of .01
    assert max(untuned) > max(tuned)


@pytest.mark.filterwarnings("ignore:largest .* the learned rule saw")
def test_evidence_that_changes_may_be_about_a_variable_that_follows_from_others():
    network = bs.networks.asia()
    course = [(0.0, {"either": "yes", "lung": "yes"}), (4000.0, {"either": "no"})]
    options = {"duration": 8e3, "chains": 64, "seed": 3, "evidence_course": course, "rule": "conditionals"}
    result = bs.sample(network, **options)
    for (_, _, episode), (_, evidence) in zip(result.episodes(settle=200.0), course):
        sampled, exact = episode.posterior(), episode.exact_posterior()
        alone = bs.sample(network, evidence=evidence, duration=100.0, chains=16).exact_posterior()
        assert {v: alone[v] for v in exact} == exact
        assert max(abs(sampled[v][s] - exact[v][s]) for v in sampled for s in sampled[v]) < 0.06
    with pytest.raises(bs.ValidationError, match=r"'either'.* compile_bayes\(kept=\['either'\]\) gives it units"):
        bs.sample(bs.compile_bayes(network), **options)


def test_biases_that_change_need_a_control_that_can():
    preset = bs.presets.S1
    balanced = bs.calibrate(preset.neuron, preset.background, control="balance")
    with pytest.raises(bs.UnsupportedFeature, match="control='v_rest' or 'i_offset'"):
        bs.sample(PAIR, calibration=balanced, evidence_course=[(0.0, {"a": 1})], rule="conditionals", **SHORT)


@pytest.mark.parametrize("engine", ["gibbs", "gibbs-random", "buesing"])
def test_evidence_changes_without_membranes_too(engine):
    network = bs.networks.sprinkler()
    course = [(1000.0, {"wet": "yes"}), (20000.0, {"wet": "no", "cloudy": "yes"}), (40000.0, {})]
    result = bs.sample(
        network, evidence_course=course, engine=engine, duration=6e4, chains=64, burn_in=500.0, threads=1
    )
    episodes = result.episodes(settle=500.0)
    assert [start for start, _, _ in episodes] == [0.0, 1000.0, 20000.0, 40000.0]
    for (_, _, episode), evidence in zip(episodes[1:], [evidence for _, evidence in course]):
        exact = bs.theory.elimination.posterior(network, evidence)
        assert set(episode.posterior()) == set(network.names) - set(evidence)
        for variable, states in episode.posterior().items():
            truth = exact.marginals[network.index(variable)]
            for p, error, wanted in zip(states.values(), episode.posterior_error()[variable].values(), truth):
                # no bias but the compiled machine's, below 1e-3
                assert abs(p - wanted) < 5 * error + 1e-3


def test_changing_evidence_without_membranes_goes_on_from_a_checkpoint(tmp_path):
    about = {"evidence_course": [(300.0, {"a": 1}), (500.0, {"a": 0})], "engine": "gibbs", "chains": 8, "seed": 5}
    whole = bs.sample(PAIR, duration=800.0, **about)
    bs.sample(PAIR, duration=400.0, checkpoint=tmp_path / "c.npz", **about)
    rest = bs.sample(PAIR, duration=400.0, resume=tmp_path / "c.npz", **about)
    assert np.array_equal(rest.z, whole.z[:, 40:])
    assert whole.z[:, 30:50, 0].all()
    assert not whole.z[:, 50:, 0].any()
    with pytest.raises(bs.ValidationError, match="c.npz"):
        bs.sample(
            PAIR, duration=400.0, resume=tmp_path / "c.npz", **about | {"evidence_course": [(0.0, {"a": 1})]}
        )


def test_what_is_no_target_and_no_evidence_is_named():
    with pytest.raises(
        bs.ValidationError, match=r"machine: must be a machine or network \(bs.read.*got 'asia.bif'"
    ):
        bs.sample("asia.bif")
    with pytest.raises(bs.ValidationError, match="evidence: must be {variable: state}, got 'wet=yes'"):
        bs.sample(bs.networks.sprinkler(), evidence="wet=yes")
    with pytest.raises(bs.ValidationError, match="likelihoods: must be {variable: {state: likelihood}}, got 5"):
        bs.sample(bs.networks.sprinkler(), likelihoods=5)


def test_evidence_of_a_bayesian_network_is_not_held_where_it_is_absorbed():
    with pytest.raises(bs.ValidationError, match="clamping: must be 'bias'.*evidence_course"):
        bs.sample(bs.networks.sprinkler(), evidence={"wet": "yes"}, clamping="spikes", **SHORT)


@pytest.mark.filterwarnings("ignore:mixing")
def test_a_run_starts_where_it_is_told():
    started = bs.sample(
        PAIR,
        initial=bs.Initial(last_spike=np.array([-1, -1])),
        duration=40.0,
        chains=32,
        burn_in=0.0,
        draw_every=5.0,
    )
    assert started.z[:, 0].all()


@pytest.mark.parametrize(
    ("course", "message"),
    [
        ([(0.0, {"c": 1})], "evidence_course[0]: clamp: no unit named 'c'"),
        ([(5.0, {"a": 1}), (5.0, {"a": 0})], "evidence_course[1], its time: must be after the one before"),
        ([(-1.0, {"a": 1})], "evidence_course[0], its time: must be >= 0 ms"),
        ([(4000.0, {"a": 1})], "evidence_course[0], its time: must be before the end of the run (4000 ms)"),
        ([], "evidence_course: must be at least one"),
        ([(0.0, {})], "evidence_course: must be evidence about at least one unit"),
    ],
)
def test_wrong_courses_are_refused(course, message):
    with pytest.raises(bs.ValidationError) as caught:
        bs.sample(PAIR, evidence_course=course, **SHORT)
    assert message in str(caught.value)


def test_what_needs_neurons_is_refused_without_them():
    with pytest.raises(bs.ValidationError, match="schedule: must be left out with the engine 'buesing'"):
        bs.sample(
            PAIR,
            engine="buesing",
            schedule=bs.Piecewise(quantity="v_rest", times=[0.0], values=[1.0]),
            duration=100.0,
        )
    with pytest.raises(bs.ValidationError, match="about units that are not clamped all the time"):
        bs.sample(PAIR, clamp={"a": 1}, clamping="spikes", evidence_course=[(0.0, {"a": 0})], **SHORT)


def test_the_command_line_prints_each_episode(tmp_path):
    PAIR.save(tmp_path / "pair.json")
    arguments = ["sample", "pair.json", "--duration", "2s", "--evidence-at", "1s:a=1"]
    run = subprocess.run(
        [sys.executable, "-c", "from boltzspike.cli import main; main()", *arguments],
        capture_output=True, text=True, cwd=tmp_path, check=True,
    )  # fmt: skip
    assert "from 0 to 1 s, given nothing more:" in run.stdout
    assert run.stdout.count("note: evidence by clamped neurons is less exact") == 1
    assert "from 1 to 2 s, given a=1:" in run.stdout
