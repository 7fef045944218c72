import os
import signal
import threading
import time

import numpy as np
import pytest

import boltzspike as bs
from boltzspike.errors import ValidationError


@pytest.fixture
def machine(random_machine):
    return random_machine(4)


def until(machine, text, **options):
    return bs.sample_until(machine, text, **({"engine": "gibbs", "duration": 64_000.0, "chains": 16} | options))


def test_it_stops_at_the_first_look_that_suffices(machine):
    whole = until(machine, "mcse<1e-9")
    assert whole.configuration["reached"] is False
    assert whole.configuration["sampled_ms"] == 64_000
    limit = 0.006
    result = until(machine, f"mcse<{limit}")
    assert result.configuration["reached"] is True
    assert result.marginals_error().max() < limit
    sampled = result.configuration["sampled_ms"]
    assert sampled in [1000.0 * 2**k for k in range(1, 7)]
    half = bs.sample(machine, engine="gibbs", duration=sampled / 2, chains=16)
    assert half.marginals_error().max() >= limit


@pytest.mark.parametrize("record", ["states", "moments"])
def test_its_samples_are_those_of_one_run_of_that_length(machine, s1_calibration, record):
    options = {"calibration": s1_calibration, "engine": "numba", "record": record, "clamp": {1: 1}}
    result = until(machine, "mcse<0.01", duration=16_000.0, **options)
    sampled = result.configuration["sampled_ms"]
    assert sampled > 1000
    one = bs.sample(machine, duration=sampled, chains=16, **options)
    assert np.array_equal(result.marginals(), one.marginals())
    assert result.configuration["rule"] == one.configuration["rule"]
    if record == "states":
        assert np.array_equal(result.z, one.z)


@pytest.mark.parametrize("text", ["rhat<1.02", "ess>3000", "dkl<0.005"])
def test_other_precisions_can_be_asked_for(machine, text):
    result = until(machine, text)
    assert result.configuration["reached"]
    found = result.convergence()
    assert {"rhat<1.02": found.worst_r_hat < 1.02, "ess>3000": found.least_ess > 3000}.get(
        text, result.kl_divergence().value < 0.005
    )


def test_a_bayesian_network_can_be_asked_about():
    result = until(bs.networks.asia(), "mcse<0.02", evidence={"dysp": "yes"})
    assert isinstance(result, bs.PosteriorResult)
    assert result.configuration["reached"]


@pytest.mark.parametrize("text", ["mcse>0.1", "mcse<0", "mcse<-1", "speed<1", "mcse", "mcse<nan", "mcse<1e", ""])
def test_what_can_not_be_asked_for_is_refused_before_the_run(machine, text):
    with pytest.raises(ValidationError, match="until: must be mcse<X, rhat<X, ess>X or dkl<X"):
        until(machine, text)


def test_few_chains_need_states(machine):
    with pytest.raises(ValidationError, match="chains: must be at least 16 with until and without record"):
        until(machine, "mcse<0.1", chains=4, record="moments")


def test_a_checkpoint_goes_on_from_the_end(machine, tmp_path):
    result = until(machine, "mcse<0.01", checkpoint=tmp_path / "c.npz")
    more = bs.sample(machine, engine="gibbs", duration=1000.0, chains=16, resume=tmp_path / "c.npz")
    assert more.samples.start == result.samples.stop


def test_ctrl_c_gives_back_all_runs_so_far(machine, s1_calibration):
    """The first runs are over in no time, the last one is not."""
    seen = []

    def progress(done, total):
        seen.append(done)
        if done > 4000 and threading.current_thread() is threading.main_thread() and len(seen) > 3:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0)

    with pytest.raises(bs.Interrupted) as stop:
        until(machine, "mcse<1e-9", calibration=s1_calibration, engine="numba", duration=4e6, progress=progress)
    result = stop.value.result
    assert result.configuration["partial"]
    assert result.configuration["reached"] is False
    assert result.samples.start == round(1000 / 0.1)
    recorded = (result.samples.stop - result.samples.start) * 0.1
    assert result.configuration["sampled_ms"] == pytest.approx(recorded)
    assert result.z.shape[1] == recorded // 10


def test_a_run_in_parts_is_warned_of_by_its_whole_length():
    weights = 2.5 * (1 - np.eye(5))
    slow = bs.BoltzmannMachine(weights=weights, biases=-weights.sum(axis=1) / 2)
    # five relaxation times are 4.8 s: longer than the first look and the burn-in, not than the run
    until(slow, "mcse<1e-9", duration=16_000.0)
    with pytest.warns(bs.BoltzspikeWarning, match="mixing: .* burn-in and run, 3000 ms") as caught:
        until(slow, "mcse<1e-9", duration=2_000.0)
    assert len(caught) == 1
