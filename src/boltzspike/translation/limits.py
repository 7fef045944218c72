"""Where a translation asks of neurons and synapses what they can't do, whatever the rule."""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from boltzspike.model.neuron import LIF
from boltzspike.translation.result import Translation

CONDUCTANCE_SHARE = 0.2
"""Of g_tot, that one synapse may add in a PSP; so much smaller than told is then the PSP."""
NEVER = 1e-4
_NAMED = 5


def limits(translation: Translation) -> tuple[str, ...]:
    """Return warnings, with numbers, of synapses too strong and of units that never change.

    A PSP of mean alpha W takes the conductance g_tot alpha W/(E_rev - v_thresh): the PSP rule's formula holds
    where that is small against g_tot. The field of a unit lies between its bias with all inhibitory neighbours on
    and its bias with all excitatory ones on.
    """
    found, machine = [], translation.machine
    calibration, neuron = translation.calibration, translation.calibration.neuron
    handed = np.asarray(translation.effective_weights)
    if isinstance(neuron, LIF) and handed.size:
        for name, strongest, e_rev in (
            ("excitatory", float(handed.max()), neuron.e_rev_exc),
            ("inhibitory", float(handed.min()), neuron.e_rev_inh),
        ):
            moved, room = calibration.alpha * strongest, e_rev - neuron.v_thresh
            if moved / room > CONDUCTANCE_SHARE:
                found.append(
                    f"the strongest {name} synapse (W = {strongest:.3g} as handed to the neurons) should move the "
                    f"potential by {moved:.3g} mV of the {room:.3g} mV to its reversal potential: it adds "
                    f"{moved / room:.2g} times the neuron's total conductance, which the rules take to be constant"
                )
    weights, biases = np.asarray(machine.weights), np.asarray(machine.biases)
    most = expit(biases + np.maximum(weights, 0).sum(axis=1))
    most_off = expit(-biases - np.minimum(weights, 0).sum(axis=1))
    for state, units, chance in (
        ("1", np.flatnonzero(most < NEVER), most),
        ("0", np.flatnonzero(most_off < NEVER), most_off),
    ):
        if len(units):
            names = machine.names or ()
            shown = ", ".join(names[k] for k in units[:_NAMED]) + (", ..." if len(units) > _NAMED else "")
            found.append(
                f"{len(units)} unit(s) ({shown}) are {state} with a probability of at most "
                f"{chance[units].max():.1g}, whatever the others do: a run may not show that"
            )
    return tuple(found)
