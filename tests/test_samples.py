import numpy as np
import pytest

from boltzspike.errors import ValidationError
from boltzspike.samples import Spikes, joint_counts

REFRACTORY = np.array([3, 5])


def spikes(chain, unit, step, *, before=None, chains=1, start=0, stop=20):
    before = np.full((chains, 2), -100) if before is None else np.asarray(before)
    return Spikes(
        chain=np.array(chain, dtype=int),
        unit=np.array(unit, dtype=int),
        step=np.array(step, dtype=int),
        before=before,
        refractory_steps=REFRACTORY,
        start=start,
        stop=stop,
    )


def test_z_is_one_for_exactly_the_refractory_steps_of_a_spike():
    z = spikes([0, 0], [0, 1], [4, 10]).states()
    assert list(np.flatnonzero(z[0, :, 0])) == [4, 5, 6]
    assert list(np.flatnonzero(z[0, :, 1])) == [10, 11, 12, 13, 14]


def test_states_are_kept_at_multiples_of_the_interval():
    whole = spikes([0, 0], [0, 1], [4, 10])
    assert np.array_equal(whole.states(4), whole.states(1)[:, 3::4])


def test_a_spike_before_the_start_still_counts():
    z = spikes([], [], [], before=[[-2, -1]]).states()
    assert list(np.flatnonzero(z[0, :, 0])) == [0]
    assert list(np.flatnonzero(z[0, :, 1])) == [0, 1, 2, 3]


def test_the_joint_is_the_share_of_time_of_each_state(rng):
    chain, unit, step = [], [], []
    for c in range(3):
        for k in range(2):
            times = np.cumsum(rng.integers(REFRACTORY[k], 12, size=30))
            times = times[times < 200]
            chain += [c] * len(times)
            unit += [k] * len(times)
            step += list(times)
    order = np.lexsort((unit, step, chain))
    made = spikes(np.array(chain)[order], np.array(unit)[order], np.array(step)[order], chains=3, stop=200,
                  before=rng.integers(-6, 0, size=(3, 2)))  # fmt: skip
    z = made.states()
    assert made.joint() == pytest.approx(joint_counts(z) / 200)
    assert made.marginals() == pytest.approx(z.mean(axis=1))
    assert made.joint().sum(axis=1) == pytest.approx(np.ones(3))


def test_unit_0_is_the_most_significant_bit():
    z = np.array([[[1, 0, 0], [1, 0, 0], [0, 0, 1]]], dtype=np.int8)
    assert list(joint_counts(z)[0]) == [0, 1, 0, 0, 2, 0, 0, 0]


def test_the_joint_of_too_many_units_is_refused():
    with pytest.raises(ValidationError, match="joint: must be of at most 24 units, got 25"):
        joint_counts(np.zeros((1, 1, 25), dtype=np.int8))
