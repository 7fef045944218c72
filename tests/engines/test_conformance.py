"""Every engine of the registry goes through this one suite."""

import dataclasses

import numpy as np
import pytest

import boltzspike as bs
from boltzspike.engines import REGISTRY, get_engine
from boltzspike.errors import UnsupportedFeature
from boltzspike.program import compile_program
from boltzspike.samples import Record, Samples
from boltzspike.theory.burst import Burst, burst_response
from boltzspike.theory.exact import exact_joint
from boltzspike.theory.membrane import leverage, membrane_statistics
from boltzspike.translation import translate

from .conftest import features_of

S1, S2, S5A = bs.presets.S1, bs.presets.S2, bs.presets.S5a
SILENT = bs.PoissonBackground(rates=[], weights=[])
MARKS = {"cuda": [pytest.mark.gpu]}
ENGINES = [pytest.param(name, marks=MARKS.get(name, [])) for name in REGISTRY]
LONG = [
    pytest.param(name, marks=[pytest.mark.slow] if name == "nest" else MARKS.get(name, [])) for name in REGISTRY
]
"""For tests that take NEST more than a few seconds."""


def runner_of(engine, network, *, threads=2, **options):
    return get_engine(engine, threads=threads).prepare(compile_program(network, **options))


def enough(engine, steps):
    """Return fewer steps for the slow engines: their tolerances follow their standard errors."""
    return steps // 5 if engine in ("reference", "nest") else steps


def run(engine, network, steps, record, *, chains=2, seed=1, burn_in=0, threads=2, **options):
    runner = runner_of(engine, network, threads=threads, **options)
    state = runner.init(seed=seed, chains=chains)
    if burn_in:
        _, state = runner.run(state, burn_in, Record())
    samples, _ = runner.run(state, steps, record)
    return samples


def uncoupled(neurons, background):
    return bs.SpikingNetwork(
        neurons=neurons, backgrounds=background, weights=np.zeros((len(neurons), len(neurons)))
    )


def coupled(preset, n=4, plasticity="renewing", delay=None, scale=0.002):
    weights = np.random.default_rng(5).normal(size=(n, n)) * scale
    np.fill_diagonal(weights, 0)
    synapse = bs.Synapse(plasticity=plasticity, delay=delay)
    return bs.SpikingNetwork(
        neurons=preset.neuron, backgrounds=preset.background, weights=weights, synapse=synapse
    )


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("preset", [S1, S5A], ids=["conductance", "current"])
def test_without_noise_spikes_fall_where_the_closed_form_says(engine, preset):
    """u climbs to threshold in tau ln((v_rest - v_reset)/(v_rest - v_thresh)), then is held n - 1 steps."""
    dt = 0.1
    base = dataclasses.replace(preset.neuron, v_reset=-60.0)
    neurons = [dataclasses.replace(base, v_rest=v) for v in (-49.9, -48.0, -30.0, 40.0, -50.1)]
    spikes = run(engine, uncoupled(neurons, SILENT), 3000, Record(spikes=True), dt=dt).spikes
    for k, neuron in enumerate(neurons):
        steps = spikes.step[(spikes.unit == k) & (spikes.chain == 0)]
        if neuron.v_rest < neuron.v_thresh:
            assert len(steps) == 0
            continue
        climb = neuron.tau_m * np.log((neuron.v_rest - neuron.v_reset) / (neuron.v_rest - neuron.v_thresh))
        interval = round(neuron.tau_refrac / dt) - 1 + int(np.ceil(climb / dt - 1e-6))
        assert np.all(np.diff(steps) == interval)
        assert steps[0] == int(np.ceil(climb / dt - 1e-6)) - 1


@pytest.mark.parametrize("engine", ENGINES)
def test_a_neuron_that_fires_at_every_chance_is_on_without_gaps(engine):
    always = dataclasses.replace(S1.neuron, v_rest=500.0)
    samples = run(engine, uncoupled([always], SILENT), 2000, Record(states_every=1, spikes=True), burn_in=100)
    assert samples.states.min() == 1
    assert set(np.diff(samples.spikes.step[samples.spikes.chain == 0])) == {100}


@pytest.mark.parametrize(
    ("engine", "kernel"),
    [
        pytest.param(engine, kernel, marks=MARKS.get(engine, []))
        for engine in REGISTRY
        for kernel in ("exponential", "alpha")
        if kernel == "exponential" or kernel in features_of(engine)
    ],
)
def test_the_free_membrane_has_the_mean_and_variance_of_theory(engine, kernel):
    """Current-based, where the theory is exact; the threshold is out of reach."""
    neuron = dataclasses.replace(S5A.neuron, v_thresh=100.0, v_rest=-52.0, tau_syn_inh=4.0, kernel=kernel)
    statistics = membrane_statistics(neuron, S5A.background)
    samples = run(engine, uncoupled([neuron] * 4, S5A.background), enough(engine, 20_000), Record(voltages=True),
                  chains=16,
                  burn_in=1000)  # fmt: skip
    u = samples.voltages.transpose(0, 2, 1).reshape(64, -1)
    mean, variance = u.mean(axis=1), ((u - statistics.mu) ** 2).mean(axis=1)
    assert abs(mean.mean() - statistics.mu) < 4 * mean.std() / 8
    # a step of dt smooths the noise by a relative (dt/tau_eff)^2/12 = 8e-4 at most
    tolerance = 4 * variance.std() / 8 + 1e-3 * statistics.sigma_free**2
    assert abs(variance.mean() - statistics.sigma_free**2) < tolerance


@pytest.mark.parametrize("engine", LONG)
@pytest.mark.parametrize(("preset", "theory_error"), [(S1, 0.0074), (S2, 0.019)], ids=["S1", "S2"])
def test_the_response_is_that_of_the_burst_theory_within_its_known_error(engine, preset, theory_error):
    s = membrane_statistics(preset.neuron, preset.background)
    mu = preset.neuron.v_thresh + s.sigma * np.linspace(-3, 3, 13)
    lever = leverage(preset.neuron, preset.background, preset.control)
    values = getattr(preset.neuron, preset.control) + (mu - s.mu) / lever
    neurons = [dataclasses.replace(preset.neuron, **{preset.control: float(x)}) for x in values]
    theory = burst_response(
        Burst(mu=mu, sigma=np.full(13, s.sigma), tau_eff=s.tau_eff, tau_syn=s.tau_syn,
              tau_refrac=10.0, v_thresh=preset.neuron.v_thresh, v_reset=preset.neuron.v_reset)
    )  # fmt: skip
    steps = enough(engine, 20_000)
    spikes = run(engine, uncoupled(neurons, preset.background), steps, Record(spikes=True), chains=32,
                 burn_in=2000).spikes  # fmt: skip
    p = spikes.rates(0.1) * 1e-2
    error = p.std(axis=0, ddof=1) / np.sqrt(len(p))
    assert np.all(np.abs(p.mean(axis=0) - theory) < theory_error + 4 * error)
    assert np.all(error < (0.025 if engine in ("reference", "nest") else 0.012))


@pytest.mark.parametrize("engine", LONG)
@pytest.mark.parametrize("n", [3, 5])
def test_a_small_machine_is_sampled_as_well_as_the_psp_rule_can(engine, n, s1_calibration):
    """The rule's systematic error, about .02 in a marginal at weights within +-.6, is the tolerance."""
    rng = np.random.default_rng(n)
    weights = np.triu(rng.uniform(-0.6, 0.6, (n, n)), 1)
    machine = bs.BoltzmannMachine(weights=weights + weights.T, biases=rng.uniform(-0.6, 0.6, n))
    network = translate(machine, s1_calibration).network
    states = run(engine, network, enough(engine, 20_000), Record(states_every=100), chains=64, burn_in=1000).states
    result = bs.diagnostics.kl_divergence(states, exact_joint(machine))
    assert result.bias < 0.02 + 4 * result.error
    marginals = states.mean(axis=(0, 1))
    error = states.mean(axis=1).std(axis=0) / 8
    truth = exact_joint(machine) @ bs.theory.exact.all_states(n)
    assert np.all(np.abs(marginals - truth) < 0.025 + 4 * error)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize(
    ("preset", "plasticity", "delay", "clamp"),
    [
        (S1, "renewing", None, None),
        (S1, "additive", 0.5, None),
        (S5A, "renewing", 1.0, None),
        (S1, "renewing", 0.3, {0: 1, 2: 0}),
    ],
)
def test_a_run_in_two_parts_is_the_run_in_one(engine, preset, plasticity, delay, clamp):
    scale = 0.002 if preset is S1 else 0.2
    runner = runner_of(engine, coupled(preset, plasticity=plasticity, delay=delay, scale=scale), clamp=clamp)
    record = Record(spikes=True, states_every=7)
    whole, _ = runner.run(runner.init(seed=9, chains=3), 2500, record)
    state, parts = runner.init(seed=9, chains=3), []
    for steps in (1, 999, 37, 0, 1463):
        part, state = runner.run(state, steps, record)
        parts.append(part)
    joined = Samples.join(parts)
    assert np.array_equal(joined.states, whole.states)
    for field in ("chain", "unit", "step", "before"):
        assert np.array_equal(getattr(joined.spikes, field), getattr(whole.spikes, field))
    assert np.array_equal(whole.spikes.states(7), whole.states)


KEYED = [engine for engine in ENGINES if "nest" not in engine.values]


@pytest.mark.parametrize("engine", [name for name in ENGINES if name not in KEYED])
def test_samples_that_depend_on_threads_or_chains_are_declared_to(engine):
    """And with the same seed, threads and chains they repeat all the same."""
    network, record = coupled(S1, scale=0.001), Record(states_every=10)

    def states(chains, threads, seed=1):
        return run(engine, network, 1000, record, chains=chains, threads=threads, seed=seed).states

    assert not get_engine(engine).chain_keyed
    few = states(3, 1)
    assert np.array_equal(few, states(3, 1))
    assert not np.array_equal(few, states(3, 1, seed=2))
    assert not np.array_equal(few, states(3, 2))
    assert not np.array_equal(few, states(4, 1)[:3])
    runner = runner_of(engine, network, threads=2)
    assert "depend on the number of threads (2)" in runner.approximation


@pytest.mark.parametrize("engine", KEYED)
@pytest.mark.parametrize("n", [4, 60])
def test_the_samples_do_not_depend_on_threads_or_the_number_of_chains(engine, n, monkeypatch):
    monkeypatch.setattr("boltzspike.engines.numba.fast._WORTH_THREADS", 0)
    network = coupled(S1, n=n, scale=0.002 / np.sqrt(n))
    record = Record(states_every=10)
    assert get_engine(engine).chain_keyed
    few = run(engine, network, 1000, record, chains=3, threads=1).states
    many = run(engine, network, 1000, record, chains=21, threads=2).states
    assert np.array_equal(many[:3], few)
    assert not np.array_equal(few, run(engine, network, 1000, record, chains=3, seed=2).states)
    assert not np.array_equal(few[0], few[1])


@pytest.mark.parametrize("engine", ENGINES)
def test_a_clamped_neuron_is_held_and_its_targets_see_it(engine):
    weights = np.zeros((3, 3))
    weights[1, 0] = weights[2, 0] = 0.004
    network = bs.SpikingNetwork(neurons=S1.neuron, backgrounds=S1.background, weights=weights)
    steps = enough(engine, 10_000)
    on = run(engine, network, steps, Record(states_every=50), chains=16, burn_in=500, clamp={0: 1, 2: 0}).states
    off = run(engine, network, steps, Record(states_every=50), chains=16, burn_in=500, clamp={0: 0}).states
    assert on[..., 0].min() == 1
    assert on[..., 2].max() == 0
    assert off[..., 0].max() == 0
    assert on[..., 1].mean() > off[..., 1].mean() + 0.1


@pytest.mark.parametrize("engine", ENGINES)
def test_renewing_synapses_pass_on_less_of_a_burst_than_additive_ones(engine):
    """A neuron held at 1 gives, at tau_syn = tau_refrac, 1/(1 - 1/e) times the drive if its PSPs add up."""
    weights = np.zeros((2, 2))
    weights[1, 0] = 0.002
    neuron = dataclasses.replace(S1.neuron, v_thresh=-10.0, v_reset=-60.0, e_rev_inh=-100.0)
    drive = {}
    for plasticity in ("renewing", "additive"):
        network = bs.SpikingNetwork(
            neurons=neuron, backgrounds=SILENT, weights=weights, synapse=bs.Synapse(plasticity=plasticity)
        )
        voltages = run(engine, network, 1000, Record(voltages=True), burn_in=1000, clamp={0: 1}).voltages
        drive[plasticity] = voltages[0, :, 1].mean() - neuron.v_rest
    expected = 1 / (1 - np.exp(-1))
    # conductance changes with the drive: 2 nS on 200 nS
    assert drive["additive"] / drive["renewing"] == pytest.approx(expected, rel=0.02)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_spike_arrives_after_its_delay_with_its_weight(engine):
    """One forced spike train into a silent neuron: the potential leaves its rest one step after the arrival."""
    weights = np.zeros((2, 2))
    weights[1, 0] = 0.002
    for delay in (0.1, 0.2, 1.5):
        network = bs.SpikingNetwork(
            neurons=S5A.neuron, backgrounds=SILENT, weights=weights, synapse=bs.Synapse(delay=delay)
        )
        network = dataclasses.replace(network, neurons=dataclasses.replace(S5A.neuron, v_rest=-55.0))
        samples = run(engine, network, 60, Record(voltages=True, spikes=True), clamp={0: 1})
        assert samples.spikes.step[0] == 0
        at_rest = dataclasses.replace(network, weights=np.zeros((2, 2)))
        undisturbed = run(engine, at_rest, 60, Record(voltages=True), clamp={0: 1}).voltages
        moved = np.flatnonzero(np.abs(samples.voltages - undisturbed)[0, :, 1] > 1e-7)
        # the spike of step 0 is stamped dt, arrives at dt + delay, and shows at the end of that step
        assert moved[0] == 1 + round(delay / 0.1)


@pytest.mark.parametrize("engine", ENGINES)
def test_what_an_engine_lacks_is_refused_by_name(engine):
    program = dataclasses.replace(compile_program(coupled(S1)), features=frozenset({"conductance", "telepathy"}))
    with pytest.raises(UnsupportedFeature, match=f"the {engine} engine does not support: telepathy"):
        get_engine(engine).prepare(program)


@pytest.mark.parametrize("engine", LONG)
def test_units_may_differ_in_every_parameter(engine):
    """Each of two unlike neurons behaves in company as it does alone."""
    slow = dataclasses.replace(S1.neuron, c_m=0.3, tau_m=1.5, tau_refrac=6.0, tau_syn_exc=7.0, v_rest=-50.2)
    backgrounds = [
        S1.background,
        bs.PoissonBackground(rates=[2000.0, 2500.0, 300.0], weights=[0.001, -0.001, 0.002]),
    ]
    weights = np.zeros((2, 2))
    both = bs.SpikingNetwork(neurons=[S1.neuron, slow], backgrounds=backgrounds, weights=weights)
    together = run(
        engine, both, enough(engine, 20_000), Record(spikes=True), chains=32, burn_in=1000
    ).spikes.rates(0.1)
    for k, (neuron, background) in enumerate(zip([S1.neuron, slow], backgrounds)):
        alone = run(engine, uncoupled([neuron], background), enough(engine, 20_000), Record(spikes=True),
                    chains=32, burn_in=1000, seed=4).spikes.rates(0.1)  # fmt: skip
        error = np.hypot(together[:, k].std(), alone[:, 0].std()) / np.sqrt(32)
        assert abs(together[:, k].mean() - alone.mean()) < 4 * error
