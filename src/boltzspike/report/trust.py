"""Can it be trusted? Bias against noise, how much the chains say, and what was tested."""

from __future__ import annotations

import numpy as np

from boltzspike import pictures
from boltzspike.errors import ValidationError
from boltzspike.posterior import FEW_SAMPLES, PosteriorResult
from boltzspike.report.answers import has_joint
from boltzspike.report.page import Block, Picture, Pictures, Section, Table, Text, Verdict, picture
from boltzspike.result import Result

FEWEST_IN_A_PLANE = 8
"""Free units from which on a plane of their states says anything."""
Rows = list[list[str]]


def trust(result: Result) -> Section:
    """Return the verdict, the numbers behind it, and pictures."""
    rows = [*_moments(result), *_joint(result), *_chains(result)]
    blocks: list[Block] = [
        Text(
            "A longer run makes sampling noise smaller and leaves a bias as it is. Standard errors come from the "
            "spread of independent chains, so autocorrelation is accounted for."
        ),
        Table("What was measured", ["measure", "value", "what it says"], rows, words=3),
    ]
    if drawn := _pictures(result):
        blocks.append(Pictures(drawn))
    return Section("trust", "Can it be trusted?", blocks, verdict=verdict(result))


def verdict(result: Result) -> Verdict:
    """Return whether the numbers can be believed, and the reasons."""
    level, headline, reasons = "yes", "Yes: the chains mix, and no bias shows.", []
    if isinstance(result, PosteriorResult):
        mixing = result.mixing()
        poor = mixing.startswith("poor")
        reasons.append(f"mixing: {mixing}")
    else:
        sizes = result.effective_samples()[result.free]
        moving = sizes[np.isfinite(sizes)]
        poor = not len(moving) or moving.min() < FEW_SAMPLES
        reasons.append(
            f"the slowest unit has {moving.min():.0f} independent samples"
            if len(moving)
            else "nothing ever changed"
        )
    z = _z_scores(result)
    biased = bool(len(z) and np.mean(z**2) > 1 + 4 * np.sqrt(2 / len(z)))
    if biased:
        level, headline = "care", "With care: a bias shows that no longer run removes."
        reasons.append(f"differences from the reference are {np.sqrt(np.mean(z**2)):.1f} standard errors (RMS)")
    if poor:
        level, headline = "no", "Not yet: the chains move too slowly for the error bars to be believed."
    if result.configuration["partial"]:
        reasons.append("the run was interrupted: this is what was sampled until then")
    return Verdict(level, headline, reasons)


def _z_scores(result: Result) -> np.ndarray:
    truth = result.reference()
    error = np.hypot(result.marginals_error(), truth.error)[result.free]
    difference = (result.marginals() - truth.marginals)[result.free]
    return np.asarray(difference[error > 0] / error[error > 0])


def _moments(result: Result) -> Rows:
    truth, free = result.reference(), result.free
    error = np.hypot(result.marginals_error(), truth.error)[free]
    difference = (result.marginals() - truth.marginals)[free]
    noise, total = np.sqrt(np.mean(error**2)), np.sqrt(np.mean(difference**2))
    bias = np.sqrt(max(total**2 - noise**2, 0.0))
    return [
        ["difference of the marginals from the reference, RMS", f"{total:.4f}", f"reference: {truth.method}"],
        ["of it sampling noise", f"{noise:.4f}", "what a perfect sampler would show, of this length and mixing"],
        ["so bias", f"{bias:.4f}", "what would remain in an endless run"],
    ]


def _joint(result: Result) -> Rows:
    if len(result.free) > pictures.MOST_JOINT_UNITS or not has_joint(result):
        return []
    d = result.kl_divergence()
    return [
        ["D_KL(sampled || target)", f"{d.value:.4g} nat", "zero only for a perfect and endless run"],
        ["its floor", f"{d.floor:.2g} nat", "what sampling noise alone gives"],
        ["its bias", f"{d.bias:.3g} +- {d.error:.1g} nat", "the rest: it does not shrink with time"],
        [
            "states never seen",
            f"{d.unseen} of {2 ** len(result.free)}",
            f"the target gives them {d.unseen_probability:.2g} together",
        ],
    ]


def _chains(result: Result) -> Rows:
    sizes = result.effective_samples()[result.free]
    moving = sizes[np.isfinite(sizes)]
    how = result.configuration
    rows = []
    if len(moving):
        wall = how["wall_seconds"]
        rows += [
            ["effective sample size, slowest unit", f"{moving.min():.0f}", f"median {np.median(moving):.0f}"],
            ["the same per second of wall time", f"{moving.min() / wall:.3g}", f"{wall:.2f} s of sampling"],
        ]
    constant = [result.names[k] for k, size in zip(result.free, sizes) if not np.isfinite(size)]
    if constant:
        shown = ", ".join(constant[:6]) + (f" and {len(constant) - 6} more" if len(constant) > 6 else "")
        rows.append(["units that never changed", str(len(constant)), f"they have no error bars: {shown}"])
    return rows


def _pictures(result: Result) -> list[Picture]:
    drawn = []
    if len(result.free) <= pictures.MOST_JOINT_UNITS and result.samples.packed is not None:
        d = result.kl_divergence()
        alt = (
            "D_KL against sampled time, doubly logarithmic: it falls with its floor until the bias is left, "
            f"{d.bias:.2g}; Gibbs sampling of the same target keeps falling."
        )
        caption = "D_KL of what was sampled until then, the floor that noise alone gives, and Gibbs sampling."
        drawn.append(picture(pictures.divergence(result), alt, caption))
    if len(result.free) >= 2 and result.exact() is not None:
        try:
            figure = pictures.pair_agreement(result)
        except ValidationError:
            pass
        else:
            alt = "Sampled against exact probabilities that two units are both 1, and the differences below."
            drawn.append(picture(figure, alt, "Every pair of free units: second moments, not used in the answer."))
    if len(result.free) >= FEWEST_IN_A_PLANE and result.samples.packed is not None:
        alt = "All draws in the plane of their first two principal components, with the way that one chain takes."
        caption = "Do the chains switch between modes? Grey: draws of all chains (logarithmic); line: one chain."
        drawn.append(picture(pictures.modes(result), alt, caption))
    return drawn
