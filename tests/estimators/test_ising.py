import unittest
import warnings

import dimod
import dimod.testing
import numpy as np
import pytest
from dwave.samplers import TreeDecompositionSampler

from boltzspike.errors import ValidationError
from boltzspike.estimators import LIFSampler


# couplings of 3 and 105 are far beyond what the learned rule saw, and it says so
@pytest.mark.filterwarnings("ignore::boltzspike.errors.BoltzspikeWarning")
@dimod.testing.load_sampler_bqm_tests(LIFSampler)
class TestConformance(unittest.TestCase):
    def test_sampler_api(self):
        dimod.testing.assert_sampler_api(LIFSampler())


def test_pair_expectations_are_those_of_the_tree_decomposition_sampler():
    bqm = dimod.BinaryQuadraticModel.from_ising(
        {"a": 0.2, "b": -0.1, "c": 0.0}, {"ab": 0.15, "bc": -0.1, "ac": 0.1}
    )
    reads = 20_000
    ours = LIFSampler(rule="psp").sample(bqm, num_reads=reads, seed=3)
    theirs = TreeDecompositionSampler().sample(bqm, num_reads=reads, beta=1.0, seed=1)
    spins = [s.record.sample[:, [list(s.variables).index(v) for v in "abc"]].astype(float) for s in (ours, theirs)]
    assert spins[0].shape == (reads, 3)
    moments = [np.concatenate([x.mean(axis=0), (x.T @ x)[np.triu_indices(3, 1)] / len(x)]) for x in spins]
    # five standard errors of the difference of two means of +-1, and the psp rule's own .04 at weights of .6
    np.testing.assert_allclose(moments[0], moments[1], atol=5 * np.sqrt(2 / reads) + 0.04)


def test_reads_number_as_asked_and_repeat_with_the_seed():
    bqm = dimod.BinaryQuadraticModel({"a": 1.0}, {}, 0.0, "BINARY")
    first, second = (LIFSampler().sample(bqm, num_reads=70, seed=5, burn_in=100.0) for _ in range(2))
    assert len(first) == 70
    np.testing.assert_array_equal(first.record.sample, second.record.sample)


def test_beta_cools():
    bqm = dimod.BinaryQuadraticModel({"a": 0.5}, {}, 0.0, "SPIN")
    up = [LIFSampler().sample(bqm, num_reads=4000, beta=b).record.sample.mean() for b in (0.1, 2.0)]
    # -tanh(beta / 2) within five standard errors and the calibration's .01
    np.testing.assert_allclose(up, -np.tanh([0.05, 1.0]), atol=5 / np.sqrt(4000) + 0.02)


def test_an_unknown_parameter_is_dimods_warning_and_a_bad_one_our_error():
    bqm = dimod.BinaryQuadraticModel({"a": 0.5}, {}, 0.0, "SPIN")
    with pytest.warns(UserWarning, match="num_sweeps"):
        LIFSampler().sample(bqm, num_sweeps=3, num_reads=16)
    with pytest.raises(ValidationError, match="num_reads: must be an integer >= 1, got 0"):
        LIFSampler().sample(bqm, num_reads=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        LIFSampler().sample(bqm, num_reads=16)
