import itertools

import numpy as np
import pytest

import boltzspike as bs
from boltzspike import diagnostics
from boltzspike.errors import ValidationError
from boltzspike.theory.exact import all_states


def two_wells(n=6, weight=2.0):
    """All units on, or all off, equally likely."""
    weights = weight * (1 - np.eye(n))
    return bs.BoltzmannMachine(weights=weights, biases=-weights.sum(axis=0) / 2)


def test_basins_lead_to_minima_by_single_flips_downhill(target):
    states = all_states(5).astype(np.int8)
    label, minima = diagnostics.basins(states, target)
    energy = {tuple(z): float(target.energy(z)) for z in states}

    def descend(z):
        flips = [tuple(np.where(np.arange(5) == k, 1 - np.array(z), z)) for k in range(5)]
        best = min(flips, key=energy.__getitem__)
        return descend(best) if energy[best] < energy[z] else z

    for z, found in zip(states, label):
        assert tuple(minima[found]) == descend(tuple(z))


def test_the_most_visited_mode_comes_first():
    machine = two_wells()
    states = np.zeros((2, 10, 6), dtype=np.int8)
    states[0, :3] = 1
    label, minima = diagnostics.basins(states, machine)
    assert list(minima[0]) == [0] * 6
    assert list(minima[1]) == [1] * 6
    assert list(label[0]) == [1] * 3 + [0] * 7


def test_the_nearest_pattern_is_the_mode_and_open_units_do_not_count():
    patterns = [[1, 1, 0, -1], [0, 0, 1, -1]]
    states = np.array([[[1, 1, 0, 1], [1, 0, 0, 0], [0, 0, 1, 0], [0, 1, 1, 1]]], dtype=np.int8)
    label, _ = diagnostics.nearest(states, patterns)
    assert list(label[0]) == [0, 0, 1, 1]
    with pytest.raises(ValidationError, match="patterns: must be of 4 units, got 2"):
        diagnostics.nearest(states, [[1, 0]])


def telegraph(rng, chains, draws, leave):
    """A two-state Markov chain that leaves state k with probability leave[k]."""
    label = np.zeros((chains, draws), dtype=np.int64)
    label[:, 0] = rng.random(chains) < leave[0] / sum(leave)
    for t in range(1, draws):
        moved = rng.random(chains) < np.array(leave)[label[:, t - 1]]
        label[:, t] = np.where(moved, 1 - label[:, t - 1], label[:, t - 1])
    return label


def test_dwell_times_and_shares_are_those_of_a_telegraph_process(rng):
    leave = (0.02, 0.05)
    label = telegraph(rng, 32, 3000, leave)
    found = diagnostics.mixing(label, np.array([[0], [1]]))
    for k in range(2):
        departures = found.switches[k].sum()
        # the number of departures is binomial in the draws spent there
        assert abs(found.dwell[k] * leave[k] - 1) < 4 / np.sqrt(departures)
        assert abs(found.share[k] - leave[1 - k] / sum(leave)) < 4 * found.share_error[k]
    assert found.rate == pytest.approx(np.mean(label[:, 1:] != label[:, :-1]))
    assert np.diagonal(found.switches).sum() == 0
    assert found.stuck == 0


def test_stays_cut_short_by_the_ends_of_a_run_do_not_shorten_the_dwell_time(rng):
    leave = (0.01, 0.01)
    runs = [diagnostics.mixing(telegraph(rng, 16, 100, leave), np.array([[0], [1]])) for _ in range(40)]
    total = sum(run.switches.sum() for run in runs)
    stays = sum(np.sum(run.dwell * run.switches.sum(axis=1)) for run in runs)
    assert abs(stays / total / 100 - 1) < 4 / np.sqrt(total)


def test_chains_that_never_switched_are_counted():
    label = np.zeros((16, 50), dtype=int)
    label[1:] = 1
    found = diagnostics.mixing(label, np.array([[0], [1]]))
    assert found.stuck == 16
    assert np.isinf(found.dwell).all()
    assert "no switch" in str(found)


def test_the_likelihood_of_data_is_that_of_the_mixture(rng):
    states = (rng.random((16, 3, 4)) < 0.5).astype(np.int8)
    data = (rng.random((5, 4)) < 0.5).astype(int)
    beta = 0.8
    density = [np.mean([np.prod(np.where(x == s, beta, 1 - beta)) for s in states.reshape(-1, 4)]) for x in data]
    found = diagnostics.sample_likelihood(states, data, sharpness=beta)
    assert found.value == pytest.approx(np.mean(np.log(density)))
    assert np.sum([
        np.exp(diagnostics.sample_likelihood(states, [x], sharpness=beta).value)
        for x in itertools.product((0, 1), repeat=4)
    ]) == pytest.approx(1)  # fmt: skip


def test_its_error_is_the_spread_of_repeated_runs(rng):
    data = (rng.random((20, 6)) < 0.5).astype(int)
    runs = [
        diagnostics.sample_likelihood((rng.random((64, 20, 6)) < 0.5).astype(np.int8), data, sharpness=0.8)
        for _ in range(40)
    ]
    spread = np.std([run.value for run in runs], ddof=1)
    assert np.mean([run.error for run in runs]) == pytest.approx(spread, rel=4 / np.sqrt(2 * 39))


def test_samples_of_one_mode_make_data_of_the_other_unlikely():
    one, both = np.zeros((16, 20, 6), dtype=np.int8), np.zeros((16, 20, 6), dtype=np.int8)
    both[:, ::2] = 1
    data = [[0] * 6, [1] * 6]
    stuck, mixed = (diagnostics.sample_likelihood(s, data, sharpness=0.95).value for s in (one, both))
    assert stuck < mixed - 5
