"""Every engine of the registry: what a network may have beyond constant, private noise and static synapses."""

import dataclasses

import numpy as np
import pytest
from scipy.sparse import csr_array

import boltzspike as bs
from boltzspike.engines import REGISTRY, get_engine
from boltzspike.errors import UnsupportedFeature, ValidationError
from boltzspike.inputs import Initial
from boltzspike.program import compile_program
from boltzspike.samples import Record, Samples
from boltzspike.theory.membrane import membrane_statistics
from boltzspike.theory.psp import psp

from .conftest import features_of

S1, S5A = bs.presets.S1, bs.presets.S5a
SILENT = bs.PoissonBackground(rates=[], weights=[])
ENGINES = [name for name in REGISTRY if name != "cuda"]
"""That one has few of these features: test_cuda.py."""
DT = 0.1
QUIET = dataclasses.replace(S5A.neuron, v_rest=-55.0)
FREE = dataclasses.replace(S5A.neuron, v_thresh=100.0, v_rest=-52.0)
SHORT_TERM = bs.Synapse(plasticity="tsodyks-markram", U=0.4, tau_rec=60.0, tau_fac=30.0, delay=0.3)


def engines(*needed):
    """Run a test on every engine that declares what it needs; the others are held to LACKS, at the end."""
    able = [engine for engine in ENGINES if features_of(engine).issuperset(needed)]
    return pytest.mark.parametrize("engine", able)


def run(engine, network, steps, record, *, chains=1, seed=1, burn_in=0, initial=None, **options):
    runner = get_engine(engine, threads=1).prepare(compile_program(network, dt=DT, **options))
    state = runner.init(seed=seed, chains=chains, initial=initial)
    if burn_in:
        _, state = runner.run(state, burn_in, Record())
    return runner.run(state, steps, record)[0]


def one_way(weight=0.05, n=2, **values):
    """Unit 0 drives the others; current-based, no noise."""
    weights = np.zeros((n, n))
    weights[1:, 0] = weight
    return bs.SpikingNetwork(**({"neurons": QUIET, "backgrounds": SILENT, "weights": weights} | values))


def once(start=0.0, *, unit=0):
    """Clamp a unit so that it spikes once, at a time, and never else."""
    times, values = ([0.0, DT], [1, 0]) if start == 0 else ([0.0, start, start + DT], [0, 1, 0])
    return bs.Piecewise(quantity="clamp", times=times, values=values, units=[unit])


def mixed(n=4, **values):
    """A conductance-based network that spikes."""
    weights = np.random.default_rng(5).normal(size=(n, n)) * 0.002
    np.fill_diagonal(weights, 0)
    return bs.SpikingNetwork(**({"neurons": S1.neuron, "backgrounds": S1.background, "weights": weights} | values))


def few(engine, chains):
    """Fewer chains for the slow engine: its tolerances follow."""
    return chains // 4 if engine in ("reference", "nest") else chains


def assert_mean(samples, expected, *, bias=0.0):
    """Compare the mean over the first axis, whose entries are independent, within 4.5 standard errors."""
    error = samples.std(axis=0, ddof=1) / np.sqrt(len(samples))
    assert np.all(np.abs(samples.mean(axis=0) - expected) <= 4.5 * error + bias)


# Synapses


@engines("tsodyks-markram")
@pytest.mark.parametrize(
    ("limit", "values"),
    [
        ("renewing", {"tau_rec": 10.0}),
        ("additive", {"tau_rec": 0.0}),
        ("additive", {"tau_rec": 0.0, "tau_fac": 50}),
    ],
)
def test_tsodyks_markram_synapses_have_renewing_and_additive_ones_as_limits(engine, limit, values):
    exact = "numba-exact" if engine == "numba" else engine
    synapse = bs.Synapse(plasticity="tsodyks-markram", U=1.0, **values)
    record = Record(spikes=True, voltages=True)
    general = run(exact, mixed(synapse=synapse), 2000, record, chains=3)
    special = run(exact, mixed(synapse=bs.Synapse(plasticity=limit)), 2000, record, chains=3)
    other = {"renewing": "additive", "additive": "renewing"}[limit]
    third = run(exact, mixed(synapse=bs.Synapse(plasticity=other)), 2000, record, chains=3)
    assert np.array_equal(general.spikes.step, special.spikes.step)
    assert np.array_equal(general.voltages, special.voltages)
    assert not np.array_equal(general.voltages, third.voltages)


@engines("tsodyks-markram", "varying-clamp")
@pytest.mark.parametrize("U", [0.2, 0.9])
def test_amplitudes_of_a_spike_train_follow_the_tsodyks_markram_recursion(engine, U):
    """Currents add up: the answer to a train is the sum of the answers to its spikes, each times its amplitude."""
    tau_rec, tau_fac, interval, count = 60.0, 30.0, 10.0, 12
    utilization, resources, amplitudes = U, 1.0, []
    for _ in range(count):
        amplitudes.append(utilization * resources / U)
        resources = 1 - (1 - resources * (1 - utilization)) * np.exp(-interval / tau_rec)
        utilization = U + utilization * (1 - U) * np.exp(-interval / tau_fac)
    steps = round(count * interval / DT)
    synapse = dataclasses.replace(SHORT_TERM, U=U, tau_rec=tau_rec, tau_fac=tau_fac)
    record = Record(voltages=True)
    train = run(engine, one_way(synapse=synapse), steps, record, clamp={0: 1}).voltages[0, :, 1] - QUIET.v_rest
    single = run(engine, one_way(synapse=synapse, schedule=once()), steps, record).voltages[0, :, 1]
    # the potential climbs from v_reset to rest meanwhile
    alone = run(engine, one_way(0.0), steps, record).voltages[0, :, 1] - QUIET.v_rest
    answer = single - QUIET.v_rest - alone
    expected = alone + sum(
        a * np.concatenate([np.zeros(k * 100), answer[: steps - k * 100]]) for k, a in enumerate(amplitudes)
    )
    assert np.ptp(amplitudes) > 0.2
    assert train == pytest.approx(expected, abs=1e-9 if engine != "numba" else 1e-4)


@engines("delays", "varying-clamp")
def test_each_synapse_has_its_own_delay(engine):
    delays = np.zeros((5, 5))
    delays[1:, 0] = [0.1, 0.2, 1.5, 4.0]
    for network in (
        one_way(n=5, delays=delays, schedule=once()),
        one_way(
            n=5, weight=0.05, delays=csr_array(delays), schedule=once(), weights=csr_array(0.05 * (delays > 0))
        ),
    ):
        disturbed = run(engine, network, 60, Record(voltages=True)).voltages[0]
        alone = run(engine, one_way(0.0, n=5), 60, Record(voltages=True)).voltages[0]
        moved = [np.flatnonzero(np.abs(disturbed - alone)[:, k] > 1e-4)[0] for k in range(1, 5)]
        assert moved == [2, 3, 16, 41]


@engines("parallel-synapses", "varying-clamp")
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("teeth", [1, 5])
def test_parallel_synapses_add_up_to_a_psp_that_ends_with_the_state(engine, teeth, sparse):
    """A neuron that spikes twice as fast as it can, then stops: the closed form, and a rectangle."""
    weight, delay, tau_syn = 0.05, 0.3, QUIET.tau_syn_exc
    weights = np.array([[0, 0], [weight, 0]])
    values = {
        "weights": csr_array(weights) if sparse else weights,
        "synapse": bs.Synapse(plasticity="additive", teeth=teeth, delay=delay),
        "schedule": bs.Piecewise(quantity="clamp", times=[0.0, 11.0], values=[1, 0], units=[0]),
    }
    v, alone = (
        run(engine, one_way(0.0, **changed), 400, Record(voltages=True)).voltages[0, :, 1]
        for changed in (values, values | {"weights": 0 * values["weights"]})
    )
    t, q = DT * np.arange(1, 401) - DT, np.exp(-10 / (teeth * tau_syn))
    arrivals = [(0.0, 1.0), *((10 * k / teeth, 1 - q) for k in range(1, teeth)), (10.0, -q)]
    answer = sum(
        share * psp(t - delay - spike - when, tau_syn=tau_syn, tau_eff=QUIET.tau_m)
        for spike in (0.0, 10.0)
        for when, share in arrivals
    )
    scale = weight / QUIET.c_m * QUIET.tau_m
    # the synaptic variable is held at its mean over a step: (dt/tau_m)^2 / 12 of its jumps
    assert v - alone == pytest.approx(weight / QUIET.c_m * answer, abs=3e-3 * scale)
    level, after = (v - alone)[(t > 5.2) & (t < 20.2)] / scale, (v - alone)[t > 20.4 + 8 * QUIET.tau_m] / scale
    assert np.abs(after).max() < 1e-3
    assert level.max() < 1.001
    assert level.min() > q - 0.001


@engines("parallel-synapses", "varying-clamp")
def test_parallel_synapses_are_as_synapses_of_their_own(engine):
    """Three units that stand for one, each with one of the synapses of a coupling."""
    q = np.exp(-10 / (2 * QUIET.tau_syn_exc))
    record = Record(voltages=True)
    one = one_way(0.05, synapse=bs.Synapse(plasticity="additive", teeth=2), schedule=once(3.0))
    weights, delays = np.zeros((4, 4)), np.full((4, 4), DT)
    weights[3, :3], delays[3, :3] = 0.05 * np.array([1, 1 - q, -q]), [DT, 5 + DT, 10 + DT]
    several = one_way(
        n=4, weights=weights, delays=delays, synapse=bs.Synapse(plasticity="additive"),
        schedule=bs.Piecewise(quantity="clamp", times=[0.0, 3.0, 3.1], values=[0, 1, 0], units=[0, 1, 2]),
    )  # fmt: skip
    a, b = run(engine, one, 300, record).voltages[0, :, 1], run(engine, several, 300, record).voltages[0, :, 3]
    assert np.ptp(a) > 0.1
    assert a == pytest.approx(b, abs=1e-9 if engine != "numba" else 1e-4)


@engines("sparse")
def test_sparse_weights_give_the_samples_of_dense_ones(engine):
    dense = mixed(n=6, synapse=bs.Synapse(delay=0.4))
    weights = np.where(np.random.default_rng(2).random((6, 6)) < 0.4, dense.weights, 0)
    dense = dataclasses.replace(dense, weights=weights)
    sparse = dataclasses.replace(dense, weights=csr_array(weights))
    record = Record(spikes=True)
    a, b = (run(engine, network, 2000, record, chains=3).spikes for network in (dense, sparse))
    assert len(a.step) > 20
    for field in ("chain", "unit", "step"):
        assert np.array_equal(getattr(a, field), getattr(b, field))


def test_a_large_sparse_network_is_sampled_as_the_exact_path_does():
    """Of 60 units: where the fast path lays out dense weights in another way."""
    weights = np.where(np.random.default_rng(3).random((60, 60)) < 0.1, 0.002, 0.0)
    np.fill_diagonal(weights, 0)
    program = compile_program(mixed(60, weights=csr_array(weights)))
    means = []
    for name in ("numba", "numba-exact"):
        runner = get_engine(name, threads=1).prepare(program)
        _, state = runner.run(runner.init(seed=len(name), chains=32), 1000, Record())
        means.append(runner.run(state, 3000, Record(states_every=50))[0].states.mean(axis=(1, 2)))
    error = np.hypot(*(x.std(ddof=1) / np.sqrt(32) for x in means))
    assert abs(means[0].mean() - means[1].mean()) < 4.5 * error
    assert error < 0.005


@engines()
def test_asymmetric_weights_act_one_way(engine):
    weights = np.zeros((2, 2))
    weights[1, 0] = 0.004
    coupled = run(engine, mixed(2, weights=weights), 3000, Record(spikes=True), chains=2).spikes
    apart = run(engine, mixed(2, weights=0 * weights), 3000, Record(spikes=True), chains=2).spikes
    assert np.array_equal(coupled.step[coupled.unit == 0], apart.step[apart.unit == 0])
    assert not np.array_equal(coupled.step[coupled.unit == 1], apart.step[apart.unit == 1])


# What changes in time


@engines("varying-bias")
def test_a_bias_that_steps_is_followed_as_the_closed_form_says(engine):
    courses = [
        bs.Piecewise(quantity="v_rest", times=[5.0, 20.0], values=[[2.0], [0.0]], units=[0]),
        bs.Piecewise(quantity="i_offset", times=[10.0], values=[-0.5], units=["z1"]),
    ]
    network = one_way(0.0, schedule=courses)
    v = run(engine, network, 400, Record(voltages=True)).voltages[0]
    tau, t = QUIET.tau_m, DT * np.arange(1, 401)
    rise = lambda since: np.where(t > since, -np.expm1(-np.maximum(t - since, 0) / tau), 0.0)
    start = QUIET.v_rest + (QUIET.v_reset - QUIET.v_rest) * np.exp(-t / tau)
    tolerance = 1e-9 if engine != "numba" else 1e-4
    assert v[:, 0] == pytest.approx(start + 2.0 * (rise(5.0) - rise(20.0)), abs=tolerance)
    assert v[:, 1] == pytest.approx(start - 0.5 / QUIET.g_l * rise(10.0), abs=tolerance)


@engines("waves")
def test_a_sinusoidal_bias_is_followed_as_the_closed_form_says(engine):
    """c dv/dt = -g v + A sin(w t + phi): amplitude A/g / sqrt(1 + (w tau)^2), behind by arctan(w tau)."""
    amplitude, frequency, phase = 0.3, 20.0, 0.7
    waves = bs.Wave(quantity="i_offset", amplitude=[amplitude], frequency=frequency, phase=phase, units=[1])
    v = run(engine, one_way(0.0, schedule=waves), 4000, Record(voltages=True)).voltages[0]
    tau, omega, t = QUIET.tau_m, 2 * np.pi * frequency * 1e-3, DT * np.arange(1, 4001)
    swing = np.sin(omega * t + phase - np.arctan(omega * tau)) / np.hypot(1, omega * tau) * amplitude / QUIET.g_l
    settled = t > 30 * tau
    # the input is constant within a step: a relative (omega dt)^2 / 24
    assert v[settled, 1] - QUIET.v_rest == pytest.approx(swing[settled], abs=1e-4 * np.ptp(swing) + 1e-9)
    assert np.ptp(v[settled, 0]) < 1e-6


@engines("varying-rates")
def test_rates_that_step_move_the_free_membrane_to_its_new_mean(engine):
    background = S5A.background
    course = bs.Piecewise(quantity="rate", times=[100.0], values=[600.0], sources=[0])
    network = bs.SpikingNetwork(neurons=FREE, backgrounds=background, weights=np.zeros((2, 2)), schedule=course)
    v = run(engine, network, 2500, Record(voltages=True), chains=few(engine, 200)).voltages
    raised = bs.PoissonBackground(
        rates=[background.rates[0] + 600.0, background.rates[1]], weights=background.weights
    )
    for part, sources in ((v[:, 500:1000], background), (v[:, 2000:], raised)):
        assert_mean(part.mean(axis=(1, 2)), membrane_statistics(FREE, sources).mu)


@engines("varying-rates", "waves")
def test_rates_that_swing_drive_the_membrane_with_the_gain_of_its_filters(engine):
    """Mean potential: sum a_x w/(g sqrt(1 + (w tau_m)^2)) tau_syn/sqrt(1 + (w tau_syn)^2), the phases likewise."""
    frequency, amplitude = 10.0, 900.0
    course = bs.Wave(quantity="rate", amplitude=amplitude, frequency=frequency, sources=[0])
    network = bs.SpikingNetwork(
        neurons=FREE, backgrounds=S5A.background, weights=np.zeros((1, 1)), schedule=course
    )
    v = run(engine, network, 2000, Record(voltages=True), burn_in=1000, chains=few(engine, 400)).voltages[..., 0]
    omega, t = 2 * np.pi * frequency * 1e-3, DT * np.arange(1001, 3001)
    found = 2 * (v * np.exp(-1j * omega * t)).mean(axis=1)
    membrane = 1 / (FREE.g_l * (1 + 1j * omega * FREE.tau_m))
    synapse = FREE.tau_syn_exc / (1 + 1j * omega * FREE.tau_syn_exc)
    expected = -1j * amplitude * 1e-3 * S5A.background.weights[0] * synapse * membrane
    # an event acts from the beginning of its step on: half a step early
    tolerance = abs(expected) * omega * DT
    assert_mean(found.real, expected.real, bias=tolerance)
    assert_mean(found.imag, expected.imag, bias=tolerance)
    assert abs(expected) > 10 * found.std() / np.sqrt(len(found))


@engines("varying-clamp")
def test_clamps_that_change_hold_and_release(engine):
    course = bs.Piecewise(
        quantity="clamp", times=[20.0, 60.0, 90.0], values=[[1, 0], [0, 1], [-1, -1]], units=[0, 2]
    )
    states = run(engine, mixed(schedule=course), 1500, Record(states_every=1), chains=few(engine, 64)).states
    assert states[:, 350:600, 0].min() == 1  # a refractory period after it was clamped at the latest
    assert states[:, 350:600, 2].max() == 0
    assert states[:, 710:900, 0].max() == 0
    assert states[:, 610:900, 2].min() == 1
    assert 0 < states[:, 1200:, 0].mean() < 1
    assert 0 < states[:, 1200:, 2].mean() < 1
    assert 0 < states[:, :200, 2].mean() < 1


@engines("varying-clamp")
def test_a_unit_let_go_starts_from_reset(engine):
    neuron = dataclasses.replace(QUIET, v_reset=-60.0, v_rest=-52.0)
    course = bs.Piecewise(quantity="clamp", times=[0.0, 30.0], values=[[0, 1], [-1, -1]], units=[0, 1])
    v = run(engine, one_way(0.0, neurons=neuron, schedule=course), 600, Record(voltages=True)).voltages[0]
    assert v[:300] == pytest.approx(-60.0, abs=1e-6)
    # unit 1 spikes at 20 ms for the last time and is free 10 ms later
    climb = -52.0 - 8.0 * np.exp(-DT * np.arange(1, 301) / neuron.tau_m)
    assert v[300:, 0] == pytest.approx(climb, abs=1e-9 if engine != "numba" else 1e-4)
    assert v[300:, 1] == pytest.approx(climb, abs=1e-9 if engine != "numba" else 1e-4)


# Refractory periods


@engines("random-refractory")
@pytest.mark.parametrize("law", ["normal", "uniform"])
def test_refractory_periods_are_drawn_with_the_mean_and_spread_of_their_law(engine, law):
    """A neuron that fires at every chance is on all the time, and its intervals are the periods."""
    always = dataclasses.replace(S1.neuron, v_rest=500.0, refractory=bs.RandomRefractory(law=law, sd=2.0))
    network = mixed(2, neurons=[always, dataclasses.replace(always, refractory=None)], weights=np.zeros((2, 2)))
    samples = run(
        engine, network, 10_000, Record(spikes=True, states_every=1), chains=few(engine, 16), burn_in=100
    )
    assert samples.states.min() == 1
    assert samples.spikes.marginals() == pytest.approx(1)
    assert np.array_equal(samples.spikes.states(), samples.states)
    first, second = (
        np.concatenate([np.diff(samples.spikes.step[samples.spikes.chain == c][samples.spikes.unit[
            samples.spikes.chain == c] == k]) for c in range(samples.spikes.n_chains)]) for k in (0, 1)
    )  # fmt: skip
    assert set(second) == {100}
    assert_mean(first, 100.0)
    assert_mean((first - 100.0) ** 2, 400.0, bias=1.0)
    reach = np.sqrt(3) * 20 if law == "uniform" else 6 * 20
    assert np.abs(first - 100).max() <= reach + 1


@engines("random-refractory")
def test_z_lasts_as_long_as_the_drawn_period(engine):
    neuron = dataclasses.replace(S1.neuron, refractory=bs.RandomRefractory(sd=4.0))
    samples = run(engine, mixed(neurons=neuron), 3000, Record(spikes=True, states_every=1), chains=2)
    spikes = samples.spikes
    assert np.ptp(spikes.lasting) > 50
    assert np.array_equal(spikes.states(), samples.states)
    assert spikes.marginals() == pytest.approx(samples.states.mean(axis=1))
    assert spikes.joint().sum(axis=1) == pytest.approx(1)


# Shared and replayed background


@engines("shared-background")
def test_units_with_common_sources_are_correlated_as_campbells_theorem_says(engine):
    """Two free membranes: half of the noise of each is common, with the same sign or the opposite."""
    half = bs.PoissonBackground(rates=S5A.background.rates / 2, weights=S5A.background.weights)
    w = S5A.background.weights
    pool = bs.SharedBackground(rates=half.rates, weights=np.array([w, w, w[::-1]]))
    network = bs.SpikingNetwork(neurons=FREE, backgrounds=half, weights=np.zeros((3, 3)), shared=pool)
    v = run(engine, network, 4000, Record(voltages=True), burn_in=1000, chains=few(engine, 100)).voltages
    s = membrane_statistics(FREE, S5A.background)
    v = v - s.mu
    assert_mean(v.mean(axis=(1, 2)), 0.0)
    variance = s.sigma_free**2
    for a, b, expected in ((0, 0, 1.0), (1, 1, 1.0), (0, 1, 0.5), (0, 2, -0.5)):
        assert_mean((v[..., a] * v[..., b]).mean(axis=1), expected * variance, bias=1e-3 * variance)


@engines("replay")
def test_a_replayed_train_acts_as_the_neuron_that_sent_it(engine):
    sent = run(engine, one_way(0.0), 1000, Record(spikes=True), clamp={0: 1}).spikes
    synapse = bs.Synapse(plasticity="additive", delay=0.7)
    direct = run(engine, one_way(synapse=synapse), 1000, Record(voltages=True), clamp={0: 1}).voltages
    replay = bs.ReplayedBackground(
        times=DT * (sent.step + 1) + 0.7, sources=sent.unit, duration=200.0, weights=np.array([[0.0], [0.05]])
    )
    replayed = run(engine, one_way(0.0, shared=replay), 1000, Record(voltages=True), chains=2).voltages
    # which starts at the mean of the train: that decays
    assert replayed[0, 900:, 1] == pytest.approx(direct[0, 900:, 1], abs=2e-3)
    assert np.array_equal(replayed[0], replayed[1])


@engines("replay")
def test_a_replay_starts_again_and_chains_are_ahead_in_it(engine):
    replay = bs.ReplayedBackground(
        times=[1.0, 1.05, 15.0], sources=[1, 1, 0], duration=20.0,
        weights=csr_array(np.array([[0, 0], [0.1, 0.2]])),
        chain_shift=3.0,
    )  # fmt: skip
    v = run(engine, one_way(0.0, shared=replay), 2000, Record(voltages=True), chains=3).voltages[..., 1]
    settled = v[:, 1000:]
    assert settled[0, 200:] == pytest.approx(settled[0, :-200], abs=1e-3)
    assert settled[1, :-30] == pytest.approx(settled[0, 30:], abs=1e-3)
    assert settled[2, :-60] == pytest.approx(settled[0, 60:], abs=1e-3)
    jumps = np.diff(settled[0, :200], n=2)
    assert set(np.argsort(jumps)[-2:] + 1) == {9, 149}  # potentials bend in the steps that begin at 1 and 15 ms


@engines("jitter", "varying-clamp")
def test_jitter_makes_spikes_late_uniformly_and_alike_at_all_targets(engine):
    """Of many chains' first spike: its PSP begins at the delay and 0 .. 8 steps more, each as often."""
    chains = 1800
    how, record = {"n": 3, "synapse": bs.Synapse(delay=0.5, jitter=0.8), "schedule": once()}, Record(voltages=True)
    v = run(engine, one_way(**how), 30, record, chains=chains).voltages
    still = run(engine, one_way(0.0, **how), 30, record).voltages
    onset = (np.abs(v - still)[..., 1:] > 1e-6).argmax(axis=1)
    np.testing.assert_array_equal(onset[:, 0], onset[:, 1])
    counts = np.bincount(onset[:, 0])
    # emitted in step 0 and stamped with its end; the arrival is in step 1 + delay
    assert counts[:6].sum() == 0
    counts = counts[6:]
    assert len(counts) == 9
    # chi squared of 8 degrees of freedom exceeds 31 once in 7,000 times
    assert np.sum((counts - chains / 9) ** 2) / (chains / 9) < 31


def test_jitter_is_shorter_than_the_refractory_period():
    with pytest.raises(ValidationError, match=r"Synapse.jitter: must be shorter than the shortest refractory"):
        compile_program(one_way(synapse=bs.Synapse(jitter=10.0)), dt=DT)
    with pytest.raises(ValidationError, match=r"Synapse.jitter: must be a multiple of dt"):
        compile_program(one_way(synapse=bs.Synapse(jitter=0.25)), dt=DT)
    with pytest.raises(ValidationError, match=r"Synapse.jitter: must be >= 0 ms"):
        bs.Synapse(jitter=-1.0)


# Start


@engines("alpha", "tsodyks-markram", "varying-clamp")
@pytest.mark.parametrize("plasticity", ["renewing", "additive", "tsodyks-markram"])
@pytest.mark.parametrize("kernel", ["exponential", "alpha"])
@pytest.mark.parametrize("delay", [0.1, 1.0])
@pytest.mark.parametrize("n", [2, 50])  # the numba engine lays out large networks in another way
def test_a_given_start_goes_on_as_the_run_that_it_was_taken_from(engine, plasticity, kernel, delay, n):
    synapse = dataclasses.replace(SHORT_TERM, delay=delay) if plasticity == "tsodyks-markram" else bs.Synapse(
        plasticity=plasticity, delay=delay
    )  # fmt: skip
    neuron = dataclasses.replace(QUIET, kernel=kernel)
    network = one_way(n=n, neurons=neuron, synapse=synapse, schedule=once())
    whole = run(engine, network, 200, Record(voltages=True, states_every=1))
    for since in (1, 2, 5, 11, 12, 40):
        last_spike = np.full((2, n), -(2**40))
        last_spike[0, 0] = -since
        initial = Initial(v=whole.voltages[0, since - 1], last_spike=last_spike)
        still = one_way(n=n, neurons=neuron, synapse=synapse)
        rest = run(engine, still, 200 - since, Record(voltages=True, states_every=1), chains=2, initial=initial,
                   clamp={0: 0})  # fmt: skip
        tolerance = 1e-9 if engine != "numba" else 1e-5
        assert rest.voltages[0, :, 1] == pytest.approx(whole.voltages[0, since:, 1], abs=tolerance)
        assert np.array_equal(rest.states[0], whole.states[0, since:])
        assert rest.states[1].max() == 0
        assert np.abs(rest.voltages[1, :, 1] - rest.voltages[0, :, 1]).max() > 0.01


@engines()
def test_a_start_that_can_not_be_is_refused(engine):
    runner = get_engine(engine).prepare(compile_program(mixed()))
    for initial, message in (
        (Initial(v=np.zeros(3)), r"Initial.v: must be of shape \(4,\) or \(2, 4\)"),
        (Initial(v=np.full(4, np.nan)), "Initial.v: must be finite"),
        (Initial(last_spike=np.zeros(4)), "Initial.last_spike: must be -1 or less"),
        (Initial(last_spike=np.full(4, -1.5)), "Initial.last_spike: must be integers"),
    ):
        with pytest.raises(ValidationError, match=message):
            runner.init(seed=1, chains=2, initial=initial)


# All of them


FEATURES = {
    "alpha": {"neurons": dataclasses.replace(S1.neuron, kernel="alpha")},
    "tsodyks-markram": {"synapse": SHORT_TERM},
    "delays": {"delays": 0.1 * np.random.default_rng(4).integers(1, 40, (4, 4))},
    "jitter": {"synapse": bs.Synapse(jitter=2.0, delay=0.4)},
    "parallel-synapses": {"synapse": bs.Synapse(plasticity="additive", teeth=5, delay=0.3)},
    "sparse": {"weights": csr_array(mixed().weights)},
    "random-refractory": {"neurons": dataclasses.replace(S1.neuron, refractory=bs.RandomRefractory(sd=3.0))},
    "shared-background": {"shared": bs.SharedBackground(rates=[500.0] * 6, weights=np.full((4, 6), 0.0005))},
    "replay": {
        "shared": bs.ReplayedBackground(
            times=np.arange(30.0), sources=[0, 1] * 15, duration=30.0, weights=np.full((4, 2), 0.001),
            chain_shift=1.0,
        )
    },
    "varying-bias": {"schedule": bs.Piecewise(quantity="v_rest", times=[3.0, 61.0], values=[1.0, -1.0])},
    "varying-clamp": {"schedule": bs.Piecewise(quantity="clamp", times=[3.0, 61.0], values=[1, -1], units=[1])},
    "varying-rates": {"schedule": bs.Piecewise(quantity="rate", times=[3.0], values=[500.0])},
    "waves": {"schedule": bs.Wave(quantity="i_offset", amplitude=0.2, frequency=8.0)},
}  # fmt: skip
HELD = [(engine, feature) for engine in ENGINES for feature in FEATURES if feature in features_of(engine)]
FAST = {"delays", "parallel-synapses", "sparse", "varying-bias", "varying-clamp"}


@pytest.mark.parametrize(("engine", "feature"), HELD)
def test_with_a_feature_parts_make_up_the_run_and_chains_do_not_mind_each_other(engine, feature):
    program = compile_program(mixed(**FEATURES[feature]))
    assert feature in program.features
    runner = get_engine(engine, threads=1).prepare(program)
    record = Record(spikes=True, states_every=7)
    whole, _ = runner.run(runner.init(seed=9, chains=4), 1500, record)
    state, parts = runner.init(seed=9, chains=2 if get_engine(engine).chain_keyed else 4), []
    for steps in (1, 29, 0, 581, 889):
        part, state = runner.run(state, steps, record)
        parts.append(part)
    joined = Samples.join(parts)
    chains = len(joined.states)
    assert np.array_equal(joined.states, whole.states[:chains])
    assert np.array_equal(joined.spikes.states(7), joined.states)
    of_two = whole.spikes.chain < chains
    for field in ("chain", "unit", "step", "lasting"):
        assert np.array_equal(getattr(joined.spikes, field), getattr(whole.spikes, field)[of_two])


@pytest.mark.parametrize(("engine", "feature"), HELD)
def test_the_result_says_where_the_fast_path_was_left(engine, feature):
    runner = get_engine(engine, threads=1).prepare(compile_program(mixed(**FEATURES[feature])))
    left = engine == "numba" and feature not in FAST
    assert ("the exact path" in runner.approximation) == left
    assert (feature in runner.approximation) == left


LACKS = {
    "reference": set(),
    "numba": set(),
    "numba-exact": set(),
    "nest": {"jitter", "random-refractory", "replay", "varying-bias", "varying-clamp", "varying-rates", "waves"},
    "cuda": set(FEATURES) - {"sparse"},
}
"""An engine that loses a feature would have fewer tests above, and nothing would fail but this."""


@pytest.mark.parametrize(
    "engine", [pytest.param(name, marks=[pytest.mark.gpu] if name == "cuda" else []) for name in REGISTRY]
)
def test_what_an_engine_lacks_is_listed_and_refused_by_name(engine):
    assert FEATURES.keys() - features_of(engine) == LACKS[engine]
    for feature in LACKS[engine]:
        program = compile_program(mixed(**FEATURES[feature]))
        assert feature in program.features
        missing = ", ".join(sorted(program.features - features_of(engine)))
        with pytest.raises(UnsupportedFeature, match=rf"the {engine} engine does not support: {missing} \("):
            get_engine(engine).prepare(program)
