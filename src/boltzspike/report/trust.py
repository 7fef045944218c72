"""Can it be trusted? The verdict, the bias against the noise, the tests, and how the chains moved."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from boltzspike import diagnostics, pictures
from boltzspike.errors import ValidationError
from boltzspike.posterior import PosteriorResult
from boltzspike.report.page import Block, Picture, Pictures, Section, Table, Text, Verdict, picture
from boltzspike.result import Result

FEWEST_IN_A_PLANE = 8
"""Free units from which on a plane of their states says anything."""
MOST_PAIRED_UNITS = 200
"""Free units up to which pairs are compared."""
MOST_BASIN_UNITS = 24
"""Free units up to which basins of the energy are looked for; of many units there are too many to be modes."""


def trust(result: Result) -> Section:
    """Return the verdict, the numbers behind it, and pictures."""
    blocks: list[Block] = _noise(result)
    if tests := _tests(result):
        blocks.append(tests)
    if chains := _chains(result):
        blocks.append(chains)
    if drawn := _pictures(result):
        blocks.append(Pictures(drawn))
    return Section("trust", "Can it be trusted?", blocks, verdict=verdict(result))


def _noise(result: Result) -> list[Block]:
    """Return how sampling noise is told from a bias, and both where there is a target."""
    if result.machine is None:
        return [Text("There is no target to compare with: this is about sampling noise alone, not about a bias.")]
    about = (
        "A longer run makes sampling noise smaller and leaves a bias as it is, so the two are told apart: the "
        "floor is what an unbiased sampler of this length and autocorrelation would show, the bias the rest. "
        "Errors and tests go by the spread of independent chains, not by the number of draws."
    )
    return [Text(about), _distances(result)]


def verdict(result: Result) -> Verdict:
    """Return the verdict of the diagnostics as a headline with reasons."""
    if not _has_states(result):
        return Verdict(
            "care",
            "With care: no states were recorded, so how the chains mix was not judged.",
            ['record="states" keeps what R-hat and the tests need'],
        )
    try:
        found = result.verdict()
        sentences = list(found.sentences)
        level, headline = _headline(found)
    except ValidationError as error:  # raised again where not even the chains can be judged
        sentences = [f"Not tested: {error}.", f"{result.convergence()}."]
        level, headline = "no", "Not yet: what was sampled can't be tested against the target."
    if isinstance(result, PosteriorResult):
        sentences.append(f"Mixing of the variables: {result.mixing()}.")
    if result.configuration["partial"]:
        sentences.append("The run was interrupted: this is what was sampled until then.")
    return Verdict(level, headline, sentences)


def _headline(found: diagnostics.Verdict) -> tuple[str, str]:
    if found.level == "poor":
        return "no", "Not yet: the chains moved too little for the error bars to be believed."
    if found.level == "doubtful":
        return "care", "With care: the error bars are rough."
    if found.biased is None:
        return "care", "The error bars can be trusted; there is nothing exact to test the bias with."
    if found.biased:
        return "care", "With care: the error bars can be trusted, and they show a bias that no longer run removes."
    return "yes", "Yes: the error bars can be trusted, and no bias shows."


def _has_states(result: Result) -> bool:
    return result.samples.packed is not None


def _is_small(result: Result) -> bool:
    """Tell whether the joint distribution can be compared with the target's."""
    return result.machine is not None and len(result.free) <= pictures.MOST_JOINT_UNITS and result.has_joint


def _distances(result: Result) -> Table:
    """Return measures of the distance from the target, noise and bias apart."""
    rows = []
    if result.exact() is not None:
        rows.append(_distance(result.marginals_bias(), "marginals, RMS difference"))
    if _is_small(result):
        d = result.distances()
        rows += [
            _distance(d.kl, "D_KL(sampled || target), nat"),
            _distance(d.reverse_kl, "D_KL(target || sampled), nat"),
            _distance(d.total_variation, "total variation"),
            _distance(d.hellinger, "Hellinger distance"),
        ]
    if not rows:
        truth, free = result.reference(), result.free
        error = np.hypot(result.marginals_error(), truth.error)[free]
        off = np.sqrt(np.mean((result.marginals() - truth.marginals)[free] ** 2))
        noise = np.sqrt(np.mean(error**2))
        rows.append(["marginals, RMS difference", f"{off:.2g}", f"{noise:.2g}", "not tested", "-"])
    header = ["distance from the target", "as sampled", "floor (noise)", "bias", "95 % interval"]
    return Table(f"Bias against noise; target: {result.reference().method}", header, rows)


def _distance(found: diagnostics.Distance, name: str) -> list[str]:
    if not math.isfinite(found.value):
        return [name, "infinite: a state was never seen", "-", "-", "-"]
    interval = f"{found.low:.2g} .. {found.high:.2g}"
    return [name, f"{found.value:.3g}", f"{found.floor:.2g}", f"{found.bias:.3g}", interval]


def _tests(result: Result) -> Table | None:
    """Return the tests against the exact target, a bound on the bias, and the temperature."""
    names = [result.names[k] for k in result.free]
    if result.machine is None or not _has_states(result) or set(names) <= set(result.convergence().constant):
        return None
    rows = [] if result.exact() is None else _exact_tests(result, names)
    bound = result.bias_bound()
    within = f"equivalence: every marginal within {bound.bound:.2g} of the target"
    rows += [
        [within, f"{bound.confidence:.0%} sure", "one-sided bounds", f"{names[bound.worst]} sets it"],
        _temperature(result),
    ]
    return Table("Tests against the target", ["question", "p-value", "method", "most off"], rows, words=4)


def _temperature(result: Result) -> list[str]:
    try:
        beta = result.temperature()
    except ValidationError as error:
        return ["temperature", "not tested", str(error), "-"]
    said = f"temperature: beta = {beta.beta:.4f} +- {beta.error:.1g}, target 1"
    return [said, _p_value(beta.p_value), beta.method, "-"]


def _exact_tests(result: Result, names: Sequence[str]) -> list[list[str]]:
    moments = result.exact()
    assert moments is not None
    first, second = np.triu_indices(len(names), 1)
    known = np.isfinite(moments.pairs[result.free[first], result.free[second]])
    tests = {"marginals": result.test_marginals}
    if 1 < len(names) <= MOST_PAIRED_UNITS:
        tests["pairs"] = result.test_pairs
    if _is_small(result):
        tests["joint"] = result.test_joint
    rows = []
    for of, run in tests.items():
        question = f"{of}: do their means differ?"
        try:
            test = run()
        except ValidationError as error:  # as where a variable showed no state: the answer stands all the same
            rows.append([question, "not tested", str(error), "-"])
            continue
        worst = "-"
        if test.worst is not None:
            name = _named(test, names, (first[known], second[known]))
            worst = f"{name}, {test.deviation:+.1f} standard errors"
        rows.append([question, _p_value(test.p_value), test.method, worst])
    return rows


def _named(test: diagnostics.TargetTest, names: Sequence[str], pairs: Sequence[np.ndarray]) -> str:
    """Return the name of what deviates most: a unit, a pair, or a joint state."""
    assert test.worst is not None
    if test.of == "pairs":
        first, second = (int(units[test.worst]) for units in pairs)
        return f"{names[first]} and {names[second]}"
    if test.of == "marginals":
        return names[test.worst]
    return f"state {test.worst:0{len(names)}b}"


def _p_value(p: float) -> str:
    return f"{p:.3f}" if p >= 0.001 else f"{p:.1g}" if p > 0 else "0"


def _chains(result: Result) -> Table | None:
    """Return how the chains moved, and what an independent sample costs."""
    if not _has_states(result):
        return None
    found = result.convergence()
    rows = [["R-hat, largest", f"{found.worst_r_hat:.4g}", "below 1.01 the chains tell the same"]]
    if not math.isnan(found.least_ess):
        cost = result.efficiency()
        spikes = "" if math.isnan(cost.per_spike) else f", {cost.per_spike:.2g} a spike"
        rows += [
            [
                "effective sample size, least",
                f"{found.least_ess:.0f} of {found.draws}",
                f"{found.slowest} is slowest; median {np.nanmedian(found.ess):.0f}",
            ],
            [
                "what it costs",
                f"{cost.per_wall_second:.3g} a second of wall time",
                f"{cost.per_biological_second:.3g} a biological second of a chain{spikes}",
            ],
            [
                "autocorrelation time, longest",
                f"{cost.biological_autocorrelation_time:.3g} ms",
                "" if result.machine is None else f"of the energy: {found.autocorrelation_time[-1]:.3g} draws",
            ],
        ]
    if found.constant:
        shown = ", ".join(found.constant[:6])
        more = f" and {len(found.constant) - 6} more" if len(found.constant) > 6 else ""
        rows.append(["never changed", str(len(found.constant)), f"they have no error bars: {shown}{more}"])
    basins = result.machine is not None and len(result.free) <= MOST_BASIN_UNITS
    if basins and len((mixing := result.modes()).modes) > 1:
        rows.append(["modes: basins of the energy", str(len(mixing.modes)), str(mixing)])
    return Table("How the chains moved", ["measure", "value", "what it says"], rows, words=3)


def _pictures(result: Result) -> list[Picture]:
    if _has_states(result) and math.isnan(result.convergence().least_ess):
        return []
    drawn = []
    units = len(result.free)
    if _is_small(result) and _has_states(result):
        d = result.kl_divergence()
        alt = (
            "D_KL against sampled time, doubly logarithmic: it falls with its floor until the bias is left, "
            f"{d.bias:.2g}; Gibbs sampling of the same target keeps falling."
        )
        caption = "D_KL of what was sampled until then, the floor that noise alone gives, and Gibbs sampling."
        drawn.append(picture(pictures.divergence(result), alt, caption))
    if 2 <= units <= MOST_PAIRED_UNITS and result.exact() is not None and _has_states(result):
        alt = "Sampled against exact probabilities that two units are both 1, and the differences below."
        caption = "Every pair of free units: second moments, not used in the answer."
        drawn.append(picture(pictures.pair_agreement(result), alt, caption))
    if units >= FEWEST_IN_A_PLANE and _has_states(result):
        alt = "All draws in the plane of their first two principal components, with the way that one chain takes."
        caption = "Do the chains switch between modes? Grey: draws of all chains (logarithmic); line: one chain."
        drawn.append(picture(pictures.modes(result), alt, caption))
    return drawn
