import dataclasses

import numpy as np
import pytest

from boltzspike.errors import UnsupportedFeature, ValidationError
from boltzspike.model import presets
from boltzspike.theory.gain import Trace, best_recovery, linear_response
from boltzspike.theory.membrane import membrane_statistics

S1 = presets.S1
U0, ALPHA = -50.4784, 0.59936
"""Of S1, from the density."""


def respond(bias=(0.0,), **trace):
    options = {"tau_syn": 10.0, "tau_refrac": 10.0} | trace
    return linear_response(S1.neuron, S1.background, Trace(**options), u0=U0, alpha=ALPHA, bias=list(bias))


@pytest.mark.parametrize(("shape", "area"), [("exponential", 1.0), ("alpha", np.e)])
def test_additive_spikes_sum_to_rate_times_area(shape, area):
    found = respond(bias=(-1.0, 1.0), shape=shape)
    trace = Trace(tau_syn=10.0, tau_refrac=10.0, shape=shape)
    tau_eff = membrane_statistics(S1.neuron, S1.background).tau_eff
    # at h = .5 ms the spikes of a step differ from h times the rate by half a percent
    assert found.mean_trace == pytest.approx(trace.scale(tau_eff) * area * found.p, rel=6e-3)


def test_the_mean_of_a_rectangle_is_the_state():
    found = respond(bias=(-1.0, 1.0), shape="rectangular")
    assert found.mean_trace == pytest.approx(found.p, rel=1e-9)
    assert found.regression == pytest.approx(1.0, rel=1e-9)


def test_renewing_synapses_have_the_known_gain_and_mean():
    found = respond(tau_rec=10.0)
    assert found.kappa.item() == pytest.approx(0.7633, abs=0.002)
    assert found.mean_trace.item() == pytest.approx(0.63, abs=0.01)


# simulated pairs of S1 at W = +-.4
@pytest.mark.parametrize(
    ("trace", "simulated"),
    [({"tau_rec": 10.0}, 1.32), ({"shape": "rectangular"}, 1.35), ({"shape": "cut"}, 1.57)],
)
def test_pairs_over_couple_as_simulated(trace, simulated):
    assert 1 / respond(**trace).kappa.item() == pytest.approx(simulated, abs=0.05)


# simulated pairs of S1 at W = +-.4, delay .1 ms: the weights are those of a PSP's whole area; error .005
@pytest.mark.parametrize(("teeth", "simulated"), [(1, 1.463), (2, 1.365), (5, 1.335), (20, 1.329)])
def test_pairs_whose_synapses_have_teeth_over_couple_as_simulated(teeth, simulated):
    trace = Trace(tau_syn=10.0, tau_refrac=10.0, teeth=teeth)
    found = linear_response(S1.neuron, S1.background, trace, u0=U0, alpha=ALPHA, bias=[0.0], delay=0.1)
    assert 1 / found.kappa.item() == pytest.approx(simulated, abs=0.02)


def test_synapses_with_teeth_drive_as_the_state_does():
    for teeth in (1, 5):
        found = respond(bias=(-1.0, 1.0), teeth=teeth)
        # at h = .5 ms the spikes of a step differ from h times the rate by half a percent
        assert found.mean_trace == pytest.approx(found.p, rel=6e-3)
        assert found.regression == pytest.approx(1.0, abs=0.01)


def test_one_tooth_is_the_exponential_that_is_cut():
    """From the age of the source there, from a sum of shifted correlations here; what a weight is differs."""
    cut, tooth = respond(shape="cut"), respond(teeth=1)
    assert tooth.mean_trace / cut.mean_trace < 0.96
    assert tooth.kappa * tooth.mean_trace == pytest.approx(cut.kappa * cut.mean_trace, rel=0.01)


def test_slower_recovery_and_delay_lower_the_gain():
    plain = respond(tau_rec=10.0).kappa.item()
    assert respond(tau_rec=13.0).kappa.item() > plain
    trace = Trace(tau_syn=10.0, tau_refrac=10.0, tau_rec=10.0)
    delayed = linear_response(S1.neuron, S1.background, trace, u0=U0, alpha=ALPHA, bias=[0.0], delay=1.0)
    assert delayed.kappa.item() > plain


def test_less_use_lies_between_renewing_and_additive():
    mean = [respond(use=use, tau_rec=10.0).mean_trace.item() for use in (1.0, 0.5, 0.01)]
    additive = respond().mean_trace.item()
    assert mean[0] < mean[1] < mean[2] < additive
    assert mean[2] == pytest.approx(additive, rel=0.02)


def test_what_the_density_cannot_hold_is_refused():
    trace = Trace(tau_syn=10.0, tau_refrac=10.0)
    unequal = dataclasses.replace(S1.neuron, tau_syn_inh=5.0)
    with pytest.raises(UnsupportedFeature, match="tau_syn_inh = 5 ms"):
        linear_response(unequal, S1.background, trace, u0=U0, alpha=ALPHA, bias=[0.0])
    with pytest.raises(ValidationError, match=r"Trace.use: must be in \(0, 1\], got 0"):
        Trace(tau_syn=10.0, tau_refrac=10.0, use=0.0)


def test_the_best_recovery_couples_a_pair_as_it_is_asked_to():
    tau_rec, kappa, trace = best_recovery(S1.neuron, S1.background, u0=U0, alpha=ALPHA, delay=0.1)
    # what it interpolates is what the linear response is there
    there = respond(tau_rec=tau_rec)
    late = linear_response(
        S1.neuron, S1.background, Trace(tau_syn=10.0, tau_refrac=10.0, tau_rec=tau_rec), u0=U0, alpha=ALPHA,
        bias=[0.0], delay=0.1,
    )  # fmt: skip
    assert kappa == pytest.approx(late.kappa[0, 0], abs=0.005)
    assert trace == pytest.approx(there.mean_trace[0], abs=0.005)
    assert abs(kappa - 1) < 0.05
    assert abs(trace - there.p[0] / kappa) < 0.03
