"""From a Boltzmann machine to a spiking network: the translation rules.

A rule finds the parameters, in Boltzmann units, with which the neurons sample the target; the PSP rule's formula
then turns them into conductances and potentials. A rule is one function ``(machine, calibration, synapse,
states_of) -> Translation`` and one line in ``RULES``.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np

from boltzspike.calibration import Calibration
from boltzspike.errors import ValidationError, suggestion
from boltzspike.model.boltzmann import BoltzmannMachine
from boltzspike.model.synapse import Synapse
from boltzspike.translation.learned import learned_rule
from boltzspike.translation.limits import limits
from boltzspike.translation.matched import matched_rule, supports, untreated
from boltzspike.translation.result import Translation
from boltzspike.translation.working_point import StatesOf, enumerated

Rule = Callable[[BoltzmannMachine, Calibration, Synapse, StatesOf], Translation]


def translate(
    machine: BoltzmannMachine,
    calibration: Calibration,
    *,
    synapse: Synapse | None = None,
    rule: str | None = None,
    states_of: StatesOf = enumerated,
) -> Translation:
    """Translate a machine for networks of the calibrated neuron.

    Parameters
    ----------
    machine
        The target.
    calibration
        Of the neuron.
    synapse
        The recurrent synapse; ``None``: renewing.
    rule
        A name in ``RULES``; ``None``: the best that this calibration allows, see ``best_rule``.
    states_of
        How a rule comes by the states over which it averages: enumeration, or a sampler for large machines.
    """
    synapse = synapse or Synapse()
    asked, rule = rule, rule or best_rule(machine, calibration, synapse)
    if rule not in RULES:
        raise ValidationError(f"rule: no translation rule named {rule!r}{suggestion(rule, RULES)}")
    translation = RULES[rule](machine, calibration, synapse, states_of)
    network = calibration.network
    if asked is None and rule == "matched" and network is not None and network.synapse == synapse:
        largest = np.abs(np.asarray(machine.weights)).max()
        text = (
            f"largest |W| is {largest:.3g}, far beyond what the learned rule saw ({network.max_weight:.3g}): the "
            "matched rule was taken; marginals may be off by .02 to .3 (benchmarks/rule_range.py)"
        )
        translation = dataclasses.replace(translation, warnings=(*translation.warnings, text))
    if asked is None and rule == "psp":
        text = (
            "no learned rule is known for this neuron, background and synapse, and the matched rule does not "
            f"treat {' and '.join(untreated(calibration, synapse))}: the PSP rule was taken, whose D_KL bias is "
            "several times theirs (docs/translation.md); calibrate_network (boltzspike calibrate --network) makes "
            "a learned one"
        )
        translation = dataclasses.replace(translation, warnings=(*translation.warnings, text))
    return dataclasses.replace(translation, warnings=(*translation.warnings, *limits(translation)))


def best_rule(machine: BoltzmannMachine, calibration: Calibration, synapse: Synapse) -> str:
    """Return the name of the best rule that needs no simulation of the target.

    The learned one, unless weights are far beyond those it learned from: there its polynomials go astray, and the
    matched rule, which theory bounds, is off by less.
    """
    network = calibration.network
    if network is not None and network.synapse == synapse:
        largest = float(np.abs(np.asarray(machine.weights)).max(initial=0.0))
        if largest <= LEARNED_REACH * network.max_weight or not supports(calibration, synapse):
            return "learned"
    return "matched" if supports(calibration, synapse) else "psp"


LEARNED_REACH = 1.5
"""Times the largest weight that a learned rule saw: up to here it is the better one (benchmarks/rule_range.py)."""


def psp_rule(
    machine: BoltzmannMachine, calibration: Calibration, synapse: Synapse, states_of: StatesOf
) -> Translation:
    """Hand the target's own parameters to the neurons (the rule of arXiv:1601.00909 and of sbs)."""
    return Translation(
        machine=machine,
        calibration=calibration,
        synapse=synapse,
        rule="psp",
        effective_weights=np.asarray(machine.weights),
        effective_biases=np.asarray(machine.biases),
    )


RULES: dict[str, Rule] = {"psp": psp_rule, "matched": matched_rule, "learned": learned_rule}
