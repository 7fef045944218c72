import numpy as np
import pytest
from scipy import stats

from boltzspike import diagnostics


@pytest.mark.parametrize(("blocks", "dimensions"), [((16, 16), 3), ((16, 64), 100)])
def test_p_values_of_two_equal_samplers_are_uniform(rng, blocks, dimensions):
    mixed = rng.normal(size=(dimensions, dimensions))
    p = [
        diagnostics.two_sample_test(*(rng.normal(size=(b, dimensions)) @ mixed for b in blocks), seed=k).p_value
        for k in range(100)
    ]
    assert stats.kstest(p, "uniform").pvalue > 1e-3


def test_a_difference_is_found_and_named(rng):
    a, b = rng.normal(size=(32, 5)), rng.normal(size=(32, 5))
    a[:, 2] += 2
    a[:, 3] = b[:, 3] = 1.0
    found = diagnostics.two_sample_test(a, b)
    assert found.p_value < 1e-3
    assert found.worst == 2
    assert found.deviation > 0
    assert found.constant == (3,)
    assert np.isfinite(found.statistic)
