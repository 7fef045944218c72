import numpy as np
import pytest

from boltzspike.model import presets
from boltzspike.theory.density_dynamics import build_step
from boltzspike.theory.density_grid import Resolution, build_synapses, describe_bombardment, solve_levels

GRID = Resolution().coarsened(2.5)


def a_step(name="S1", above=-0.5, h=1.0):
    preset = presets.preset(name)
    input_ = describe_bombardment(preset.neuron, preset.background)
    return preset.neuron, input_, build_step(preset.neuron, input_, preset.neuron.v_thresh + above, h=h, grid=GRID)


@pytest.mark.parametrize("name", ["S1", "S2", "S5a"])
def test_the_stationary_density_is_that_of_the_solver(name):
    neuron, input_, step = a_step(name)
    synapses = build_synapses(neuron, input_, -0.5 * input_.mean_g, 1, GRID)
    free_time = solve_levels(neuron, input_, synapses, GRID).free_time
    assert step.p == pytest.approx(neuron.tau_refrac / (neuron.tau_refrac + free_time), rel=1e-9)
    slots, free = step.stationary
    assert (slots @ step.synapses.mass).sum() + step.free_mass @ free == pytest.approx(1.0, rel=1e-10)


def test_a_step_conserves_probability_and_keeps_the_stationary_p():
    _, _, step = a_step()
    slots, free = step.stationary
    for _ in range(40):
        slots, free, spikes = step.advance(slots, free)
        slots[0] = step.decay_half @ spikes
    on = (slots @ step.synapses.mass).sum()
    assert on + step.free_mass @ free == pytest.approx(1.0, rel=1e-9)
    # the error of the step is of second order
    assert on == pytest.approx(step.p, abs=2e-3)


def test_two_half_steps_are_a_step_between_spikes():
    _, _, whole = a_step(h=1.0)
    _, _, half = a_step(h=0.5)
    assert np.allclose(half.free @ half.free, whole.free, atol=1e-9 * np.abs(whole.free).max())
    fired = half.flux @ (np.eye(len(half.free)) + half.free)
    assert np.allclose(fired, whole.flux, atol=1e-8 * np.abs(whole.flux).max())


def test_a_jump_moves_the_mean_by_its_size():
    _, input_, step = a_step()
    slots, _ = step.stationary
    faces = step.synapses.faces
    middle, width, q = (faces[1:] + faces[:-1]) / 2, np.diff(faces), 3

    def mean(x):
        # the first two polynomials of a cell: its content and its slope
        content, slope = (
            x.reshape(-1, q)[:, 0] * np.sqrt(width),
            x.reshape(-1, q)[:, 1] * np.sqrt(width / 12) * width,
        )
        return (content @ middle + slope.sum()) / content.sum()

    size = 0.7 * input_.sd
    assert mean(step.jump(size) @ slots[0]) - mean(slots[0]) == pytest.approx(size, rel=1e-3)
