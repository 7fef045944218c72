"""What the diagnostics say together, in words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from boltzspike.diagnostics.chains import GOOD_ESS, GOOD_R_HAT, Convergence
from boltzspike.diagnostics.distances import Distance
from boltzspike.diagnostics.hypotheses import BiasBound, TargetTest
from boltzspike.diagnostics.temperature import Temperature

Array = np.ndarray
Level = Literal["good", "doubtful", "poor"]
POOR_R_HAT = 1.1
POOR_ESS = 100.0
SIGNIFICANT = 0.01
"""p-value, over all tests together (Bonferroni), below which a bias is said to show."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Verdict:
    """Whether the error bars can be trusted, and what they say about the bias."""

    level: Level
    """Of the error bars: whether the chains moved enough for them to be believed."""
    biased: bool | None
    """Whether a bias shows; ``None`` where there is nothing exact to compare with."""
    sentences: tuple[str, ...]

    def __str__(self) -> str:
        """Return all sentences."""
        return " ".join(self.sentences)


def judge(
    found: Convergence,
    *,
    target: Array | None = None,
    tests: Sequence[TargetTest] = (),
    bound: BiasBound | None = None,
    divergence: Distance | None = None,
    temperature: Temperature | None = None,
) -> Verdict:
    """Put the diagnostics into words; what was not had is left out.

    Parameters
    ----------
    found
        Of the units, and of the energy.
    target
        Exact marginals of the first quantities of ``found``, to tell what a constant unit should have done.
    tests
        Against the target.
    bound
        On the bias of the marginals.
    divergence
        D_KL(sampled || target).
    temperature
        Of the samples.
    """
    level, sentences = _of_chains(found)
    if found.constant:
        level = _constants(found, target, level, sentences)
    biased = _of_bias(found.names, tests, bound, sentences)
    if divergence is not None and np.isfinite(divergence.bias):
        kind = "noise" if divergence.bias < divergence.floor else "bias"
        sentences.append(
            f"D_KL = {divergence.bias:.2g} ({divergence.low:.2g} .. {divergence.high:.2g}) without its floor of "
            f"{divergence.floor:.2g}: most of what is measured is {kind}."
        )
    if temperature is not None and biased and temperature.p_value < SIGNIFICANT:
        word = "hot" if temperature.beta < 1 else "cold"
        sentences.append(f"The samples are too {word}: {temperature}.")
    return Verdict(level=level, biased=biased, sentences=tuple(sentences))


def _of_chains(found: Convergence) -> tuple[Level, list[str]]:
    r_hat, ess = found.worst_r_hat, found.least_ess
    if np.isnan(ess):
        return "poor", ["Nothing ever changed: there are no error bars; sample longer."]
    of = f"at least {ess:.0f} independent samples ({found.slowest} is slowest)"
    if not r_hat <= POOR_R_HAT and found.chains > 1:
        return "poor", [
            f"The chains do not agree (R-hat {r_hat:.3g}): the error bars are too small; sample longer."
        ]
    if ess < POOR_ESS:
        return "poor", [f"Only {ess:.0f} independent samples of {found.slowest}: sample longer, or more chains."]
    agree = "One chain can't tell whether it mixes, " if found.chains == 1 else f"R-hat is {r_hat:.4g}, "
    if found.chains == 1 or r_hat > GOOD_R_HAT or ess < GOOD_ESS:
        return "doubtful", [f"{agree}with {of}: the error bars are rough; sample longer, or more chains."]
    return "good", [f"The chains agree (R-hat {r_hat:.4g}), with {of}: the error bars can be trusted."]


def _constants(found: Convergence, target: Array | None, level: Level, sentences: list[str]) -> Level:
    """Say what never changed; it is poor mixing if the target has it change often enough to be seen."""
    names, suspicious = [], False
    for k, name in enumerate(found.names):
        if name not in found.constant:
            continue
        if target is None or k >= len(target):
            names.append(name)
            continue
        rarer = min(target[k], 1 - target[k])
        suspicious |= rarer * max(found.least_ess, 1.0) > POOR_ESS / 10
        names.append(f"{name} (target p = {target[k]:.3g})")
    shown = ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
    sentences.append(f"Never changed, so without error bars: {shown}.")
    return "poor" if suspicious else level


def _of_bias(
    names: tuple[str, ...], tests: Sequence[TargetTest], bound: BiasBound | None, sentences: list[str]
) -> bool | None:
    if not tests:
        sentences.append("There is nothing exact to compare with, so the bias was not tested.")
        return None
    most = min(tests, key=lambda test: test.p_value)
    biased = most.p_value * len(tests) < SIGNIFICANT
    limit = (
        ""
        if bound is None
        else f" Every marginal is within {bound.bound:.2g} of the target with {100 * bound.confidence:g} %."
    )
    if not biased:
        tested = ", ".join(f"{test.of} {test.p_value:.2g}" for test in tests)
        sentences.append(f"No bias shows (p-values: {tested}).{limit}")
        return False
    where = ""
    if most.of == "marginals" and most.worst is not None:
        where = f", most in {names[most.worst]}, by {most.deviation:+.3g} standard errors"
    sentences.append(
        f"A bias shows in the {most.of} (p = {most.p_value:.1g}{where}); no longer run removes it.{limit}"
    )
    return True
