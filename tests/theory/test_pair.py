import numpy as np
import pytest

from boltzspike.model import presets
from boltzspike.theory.gain import Trace, linear_response
from boltzspike.theory.pair import pair_law

S1 = presets.S1
LOGISTIC = {"u0": -50.4784, "alpha": 0.59936}


@pytest.fixture(scope="module")
def law():
    return pair_law(S1.neuron, S1.background, weight=[-2.0, -0.4, 0.4, 2.0], tau_rec=10.0, delay=0.1, **LOGISTIC)


def test_weakly_coupled_pairs_have_the_gain_of_linear_response(law):
    trace = Trace(tau_syn=10.0, tau_refrac=10.0, tau_rec=10.0)
    linear = linear_response(S1.neuron, S1.background, trace, bias=[0.0], delay=0.1, **LOGISTIC)
    gain = (law.weight / np.array([-2.0, -0.4, 0.4, 2.0]))[1:3]
    assert gain.mean() == pytest.approx(1 / linear.kappa.item(), abs=0.02)
    assert law.bias[1:3] == pytest.approx(0.0, abs=0.06)


def test_strongly_coupled_pairs_follow_the_simulation(law):
    # simulated: 64 chains of 4e5 ms, standard error .002
    assert law.weight[[0, 3]] / [-2.0, 2.0] == pytest.approx([1.187, 1.499], rel=0.05)
    assert law.bias[[0, 3]] == pytest.approx([-0.06, -0.43], abs=0.1)


# simulated: 64 chains of 4e5 ms, standard error .003
@pytest.mark.parametrize(
    ("teeth", "gain", "bias"),
    [
        (1, [1.269, 1.754], [0.23, -1.03]),
        pytest.param(2, [1.282, 1.416], [0.22, -0.57], marks=pytest.mark.slow),
        pytest.param(5, [1.293, 1.320], [0.21, -0.44], marks=pytest.mark.slow),
    ],
)
def test_pairs_whose_synapses_have_teeth_follow_the_simulation(teeth, gain, bias):
    weight = np.array([-2.0, 2.0])
    law = pair_law(S1.neuron, S1.background, weight=weight, tau_rec=0.0, teeth=teeth, delay=0.1, **LOGISTIC)
    assert law.weight / weight == pytest.approx(gain, rel=0.08)
    assert law.bias == pytest.approx(bias, abs=0.1)
