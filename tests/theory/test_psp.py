import numpy as np
import pytest
from scipy.integrate import quad, solve_ivp

from boltzspike.theory.psp import arrivals, interaction, psp, psp_area, shaped_area


def test_the_psp_solves_the_membrane_equation():
    tau_syn, tau_eff = 10.0, 0.8
    solution = solve_ivp(
        lambda t, v: np.exp(-t / tau_syn) - v / tau_eff, (0, 40), [0.0], rtol=1e-9, atol=1e-12, dense_output=True
    )
    t = np.linspace(0, 40, 50)
    assert psp(t, tau_syn=tau_syn, tau_eff=tau_eff) == pytest.approx(solution.sol(t)[0], abs=1e-7)


def test_the_alpha_psp_solves_the_membrane_equation():
    tau_syn, tau_eff = 10.0, 0.8
    solution = solve_ivp(
        lambda t, v: t / tau_syn * np.exp(1 - t / tau_syn) - v / tau_eff, (0, 40), [0.0], rtol=1e-9, atol=1e-12,
        dense_output=True,
    )  # fmt: skip
    t = np.linspace(0, 40, 50)
    assert psp(t, tau_syn=tau_syn, tau_eff=tau_eff, kernel="alpha") == pytest.approx(solution.sol(t)[0], abs=1e-7)


@pytest.mark.parametrize("kernel", ["exponential", "alpha"])
@pytest.mark.parametrize("tau_eff", [0.05, 0.769, 9.0, 9.985, 9.9995, 10.0, 10.0005, 12.0, 100.0])
def test_the_area_is_the_integral_and_finite_at_equal_time_constants(kernel, tau_eff):
    integral, _ = quad(lambda t: psp(t, tau_syn=10.0, tau_eff=tau_eff, kernel=kernel), 0, 13.0, points=[0.2],
                       epsabs=1e-12)  # fmt: skip
    area = psp_area(tau_syn=10.0, tau_eff=tau_eff, duration=13.0, kernel=kernel)
    assert area == pytest.approx(integral, rel=1e-6)


def test_the_interaction_is_the_papers_formula():
    tau_syn, tau_eff, tau_ref, alpha, c_m, w, force = 10.0, 0.769, 10.0, 0.606, 0.2, 0.001, 50.0
    papers = (
        w * force / (alpha * c_m) * tau_syn / (1 - tau_syn / tau_eff)
        * (tau_syn * (np.exp(-tau_ref / tau_syn) - 1) - tau_eff * (np.exp(-tau_ref / tau_eff) - 1)) / tau_ref
    )  # fmt: skip
    ours = interaction(w * force, alpha=alpha, c_m=c_m, tau_syn=tau_syn, tau_eff=tau_eff, tau_refrac=tau_ref)
    assert ours == pytest.approx(papers, rel=1e-12)


@pytest.mark.parametrize("teeth", [None, 1, 4])
def test_the_area_of_parallel_synapses_is_the_integral_of_their_sum(teeth):
    tau_syn, tau_eff, tau_refrac = 8.0, 0.769, 12.0
    when, share = arrivals(teeth, tau_syn=tau_syn, tau_refrac=tau_refrac)
    answer = lambda t: share @ psp(t - when, tau_syn=tau_syn, tau_eff=tau_eff)
    end = tau_refrac if teeth is None else tau_refrac + 40 * tau_eff
    integral, _ = quad(answer, 0, end, points=when[1:], limit=200)
    found = shaped_area(teeth, tau_syn=tau_syn, tau_eff=tau_eff, tau_refrac=tau_refrac)
    assert found == pytest.approx(integral, rel=1e-6)


def test_many_teeth_are_a_rectangle_in_the_synaptic_variable():
    tau_syn, tau_refrac = 10.0, 10.0
    when, share = arrivals(100, tau_syn=tau_syn, tau_refrac=tau_refrac)
    t = np.linspace(0.01, 20, 500)
    variable = (np.where(t[:, None] >= when, np.exp(-(t[:, None] - when) / tau_syn), 0) * share).sum(axis=1)
    assert np.all(np.abs(variable - (t < tau_refrac)) < 0.011)
