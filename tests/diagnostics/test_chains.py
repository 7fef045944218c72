import numpy as np
import pytest

from boltzspike import diagnostics
from boltzspike.errors import ValidationError


def autoregressive(rng, chains, draws, rho):
    """x_t = rho x_(t-1) + noise: variance 1, integrated autocorrelation time (1 + rho)/(1 - rho)."""
    x = np.empty((chains, draws))
    x[:, 0] = rng.normal(size=chains)
    for t in range(1, draws):
        x[:, t] = rho * x[:, t - 1] + np.sqrt(1 - rho**2) * rng.normal(size=chains)
    return x[..., None]


@pytest.mark.parametrize("rho", [0.0, 0.6, 0.9])
def test_the_effective_sample_size_is_that_of_an_autoregressive_process(rng, rho):
    chains, draws = 16, 4000
    found = diagnostics.convergence(autoregressive(rng, chains, draws, rho))
    tau = (1 + rho) / (1 - rho)
    # the relative error of tau is about sqrt(2 (2 m + 1)/N) with a window m of five tau (Madras and Sokal 1988)
    tolerance = 4 * np.sqrt(2 * (10 * tau + 1) / (chains * draws))
    assert found.autocorrelation_time[0] == pytest.approx(tau, rel=tolerance)
    assert found.mcse[0] == pytest.approx(np.sqrt(tau / (chains * draws)), rel=tolerance)
    assert found.worst_r_hat < diagnostics.chains.GOOD_R_HAT


def test_single_precision_changes_nothing_that_matters(rng):
    from arviz_stats.base import array_stats

    x = autoregressive(rng, 4, 1000, 0.8)
    z = (x > 0.3).astype(np.int8)
    for values in (x, z):
        found = diagnostics.convergence(values)
        axes = {"chain_axis": 0, "draw_axis": 1}
        assert found.ess[0] == pytest.approx(array_stats.ess(values[..., 0], **axes, method="mean"), rel=1e-4)
        assert found.r_hat[0] == pytest.approx(array_stats.rhat(values[..., 0], **axes, method="split"))
        assert found.mcse[0] == pytest.approx(array_stats.mcse(values[..., 0], **axes, method="mean"), rel=1e-4)
    # of two values, ranks are an affine map: R-hat without ranks is R-hat with them, up to its folded part
    ranked = array_stats.rhat(z[..., 0], **axes, method="z_scale")
    assert diagnostics.convergence(z).r_hat[0] == pytest.approx(ranked)


def test_chains_that_do_not_meet_have_a_large_r_hat(rng):
    z = (rng.random((8, 200, 1)) < np.linspace(0.2, 0.8, 8)[:, None, None]).astype(np.int8)
    assert diagnostics.convergence(z).worst_r_hat > 1.05
    each_constant = np.broadcast_to(np.array([0, 1, 0, 1], dtype=np.int8)[:, None, None], (4, 50, 1))
    assert diagnostics.convergence(each_constant).r_hat[0] == np.inf


def test_what_never_changed_has_neither_r_hat_nor_ess(rng):
    z = (rng.random((4, 100, 3)) < 0.5).astype(np.int8)
    z[..., 1] = 1
    found = diagnostics.convergence(z, ("a", "b", "c"))
    assert found.constant == ("b",)
    assert np.isnan([found.r_hat[1], found.ess[1], found.mcse[1]]).all()
    assert np.isfinite([found.worst_r_hat, found.least_ess, found.largest_mcse]).all()
    assert "never changed: b" in str(found)
    assert np.isnan(diagnostics.convergence(z[..., 1:2]).least_ess)


def test_one_chain_has_an_ess_but_no_r_hat(rng):
    found = diagnostics.convergence((rng.random((1, 400, 1)) < 0.5).astype(np.int8))
    assert np.isnan(found.worst_r_hat)
    assert found.least_ess > 100


def test_three_draws_are_too_few():
    with pytest.raises(ValidationError, match="convergence: must be of at least 4 draws a chain, got 3"):
        diagnostics.convergence(np.zeros((4, 3, 1)))


def test_what_an_effective_sample_costs(rng):
    found = diagnostics.convergence(autoregressive(rng, 4, 500, 0.5))
    cost = diagnostics.efficiency(found, wall_seconds=2.0, biological_ms=5000.0, spikes=1e4)
    assert cost.per_wall_second == pytest.approx(found.least_ess / 2)
    assert cost.per_biological_second == pytest.approx(found.least_ess / 20)
    assert cost.per_spike == pytest.approx(found.least_ess / 1e4)
    # 500 draws of 10 ms
    assert cost.biological_autocorrelation_time == pytest.approx(10 * found.autocorrelation_time[0])
    assert np.isnan(diagnostics.efficiency(found, wall_seconds=1.0, biological_ms=1.0).per_spike)
