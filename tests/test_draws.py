import numpy as np
import pytest

from boltzspike import diagnostics
from boltzspike.draws import Draws
from boltzspike.samples import PackedStates


@pytest.fixture
def both(rng):
    """States of 13 units, of which 4 and 9 are held, as they are and as draws."""
    z = rng.integers(0, 2, (16, 40, 13), dtype=np.int8)
    z[..., 4], z[..., 9] = 1, 0
    simulated = np.array([k for k in range(13) if k not in (4, 9)])
    packed = PackedStates.of(np.ascontiguousarray(z[..., simulated]))
    return z, Draws.of(packed.bits, simulated, 13, {4: 1, 9: 0})


@pytest.mark.parametrize(
    "key",
    [
        slice(None),
        3,
        (slice(2, 5), slice(7, 30, 3)),
        (5, slice(0, 0)),
        (1, 2, 3),
        (Ellipsis, 4),
        (Ellipsis, 12),
        (slice(None), 7, slice(2, 6)),
        (slice(None), slice(None), slice(4, 5)),
        (Ellipsis, slice(5, 9)),
    ],
)
def test_what_is_selected_is_what_an_array_gives(both, key):
    z, draws = both
    assert np.array_equal(draws[key], z[key])
    assert np.asarray(draws[key]).dtype == np.int8


@pytest.mark.parametrize("units", [[0, 1], [4], [12, 3, 9], list(range(13))])
def test_some_of_the_units_are_those(both, units):
    z, draws = both
    some = draws.only(np.array(units))
    assert some.shape == (16, 40, len(units))
    assert np.array_equal(some[:, :], z[..., units])
    assert np.array_equal(some[2, :, len(units) - 1], z[2, :, units[-1]])


def test_diagnostics_take_draws_for_an_array(both, monkeypatch):
    z, draws = both
    monkeypatch.setattr("boltzspike.diagnostics.estimates._ENTRIES", 13 * 7)  # pieces of seven draws
    for of in ("marginals", "marginals_error", "pairs", "pairs_error", "block_pairs", "block_marginals", "joint"):
        function = getattr(diagnostics, of)
        assert np.array_equal(function(draws), function(z)), of
    flat = z.reshape(-1, 13).astype(float)
    assert diagnostics.pairs(draws) == pytest.approx(flat.T @ flat / len(flat))
    assert diagnostics.block_marginals(draws) == pytest.approx(z.mean(axis=1))
    a, b = diagnostics.convergence(draws), diagnostics.convergence(z)
    assert np.array_equal(a.ess, b.ess, equal_nan=True)
