"""What was asked and what came out: for machines, with units that make up an image or not, and for networks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from boltzspike import pictures, plots
from boltzspike.model.boltzmann import RestrictedBoltzmannMachine
from boltzspike.model.description import Array
from boltzspike.posterior import PosteriorResult
from boltzspike.report.page import Block, Picture, Pictures, Section, Table, Text, picture
from boltzspike.result import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SHOWN_ROWS = 20
"""Rows of an open table; all are in one that is folded."""
LAW = "p(z) proportional to exp(z W z / 2 + b z)"
MOST_BARS = 24
MOST_JOINT_UNITS = 5


def title_of(result: Result) -> str:
    """Return the question in a line."""
    given = _given(result)
    if isinstance(result, PosteriorResult):
        return f"Posterior of {len(result.variables)} variables" + (f" given {given}" if given else "")
    if result.machine is None:
        return f"Samples of a network of {result.n_units} neurons" + (f", held: {given}" if given else "")
    kind = "an RBM" if isinstance(result.machine, RestrictedBoltzmannMachine) else "a Boltzmann machine"
    return f"Samples of {kind} of {result.n_units} units" + (f" given {given}" if given else "")


def _given(result: Result, most: int = 4) -> str:
    """Return the evidence in words, shortened."""
    if isinstance(result, PosteriorResult):
        network = result.bayesian_network
        items = [f"{network.names[k]} = {network.states[k][s]}" for k, s in result.compiled.evidence.items()]
    else:
        items = [f"{result.names[k]} = {value}" for k, value in result.clamp.items()]
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return ", ".join(items[:most]) + more


def question(result: Result) -> Section:
    """Return what was asked."""
    machine, given = result.machine, _given(result, most=12)
    if isinstance(result, PosteriorResult):
        network, compiled = result.bayesian_network, result.compiled
        soft = [network.names[k] for k in compiled.likelihoods]
        given = f"Observed: {given}." if given else "Nothing is observed."
        given += f" Soft evidence about {', '.join(soft)}." if soft else ""
        return Section(
            "question",
            "The question",
            [
                Text(
                    f"A Bayesian network of {network.n_variables} discrete variables. {given} "
                    f"What is the posterior of the {len(result.variables)} others that bear on it?"
                ),
                Text(
                    f"The network is compiled to a Boltzmann machine, {LAW} over binary units, and that is "
                    f"sampled: {compiled.report}."
                ),
            ],
        )
    if machine is None:
        held = f" Held: {given}." if given else ""
        text = (
            f"A network of {result.n_units} spiking neurons, sampled as it is, without a target.{held} "
            f"For what share of time is each of the {len(result.free)} free ones refractory, z = 1?"
        )
        return Section("question", "The question", [Text(text)])
    if isinstance(machine, RestrictedBoltzmannMachine):
        hidden = machine.n_units - machine.n_visible
        what = f"A restricted Boltzmann machine of {machine.n_visible} visible and {hidden} hidden binary units"
    else:
        what = f"A Boltzmann machine of {result.n_units} binary units"
    given = f"Given: {given}." if given else "Nothing is given."
    return Section(
        "question",
        "The question",
        [
            Text(
                f"{what}, {LAW}, with |W| up to {np.abs(machine.to_boltzmann().weights).max():.3g}. "
                f"{given} With what probability is each of the {len(result.free)} free units 1?"
            )
        ],
    )


def answer(result: Result) -> Section:
    """Return what came out, with errors, beside the exact answer where there is one."""
    if result.machine is None:
        return Section("answer", "The answer", _alone(result))
    blocks = _posterior(result) if isinstance(result, PosteriorResult) else _marginals(result)
    return Section("answer", "The answer", blocks)


def _alone(result: Result) -> list[Block]:
    """Return the marginals where there is no target to show beside them."""
    p, error, free = result.marginals(), result.marginals_error(), result.free
    blocks: list[Block] = [Text("Share of time at z = 1, with standard errors from independent chains.")]
    drawn = []
    if len(free) <= MOST_BARS:
        drawn.append(_bars([result.names[k] for k in free], p[free], error[free], None, ""))
    if len(free) <= MOST_JOINT_UNITS and result.has_joint:
        drawn.append(_joint(result))
    blocks += [Pictures(drawn)] if drawn else []
    rows = [[result.names[k], f"{p[k]:.4f}", f"{error[k]:.4f}"] for k in free]
    folded = f"All {len(rows)} units" if len(rows) > SHOWN_ROWS else ""
    return [*blocks, Table("Probability that a unit is 1", ["unit", "sampled", "+-"], rows, folded=folded)]


def _marginals(result: Result) -> list[Block]:
    p, error, free = result.marginals(), result.marginals_error(), result.free
    truth = result.reference()
    difference, uncertain = p - truth.marginals, np.hypot(error, truth.error)
    name = "exact" if truth.exact else "Gibbs"
    header = ["unit", "sampled", "+-", name, *([] if truth.exact else ["+-"]), "difference", "in errors"]

    def row(k: int) -> list[str]:
        known = [f"{truth.marginals[k]:.4f}", *([] if truth.exact else [f"{truth.error[k]:.4f}"])]
        return [
            result.names[k], f"{p[k]:.4f}", f"{error[k]:.4f}", *known, f"{difference[k]:+.4f}",
            in_errors(difference[k], uncertain[k]),
        ]  # fmt: skip

    blocks: list[Block] = [
        Text(
            f"Share of time at z = 1, with standard errors from independent chains; {name} "
            f"{'probabilities' if truth.exact else 'sampling'} beside it ({truth.method})."
        )
    ]
    drawn = [_images(result)] if pictures.image_layout(result.names) is not None else []
    if len(free) <= MOST_BARS:
        drawn.append(_bars([result.names[k] for k in free], p[free], error[free], truth.marginals[free], name))
    else:
        drawn.append(_agreement(result))
    if len(free) <= MOST_JOINT_UNITS and result.has_joint:
        drawn.append(_joint(result))
    blocks.append(Pictures(drawn))
    farthest = np.sort(free[np.argsort(-np.abs(difference[free]), kind="stable")[:SHOWN_ROWS]])
    caption = f"Probability that a unit is 1: {_all_or(len(free), 'units', 'exact')}"
    blocks.append(Table(caption, header, [row(k) for k in farthest]))
    if len(free) > SHOWN_ROWS:
        blocks.append(
            Table("All free units", header, [row(k) for k in free], folded=f"All {len(free)} free units")
        )
    return blocks


def _all_or(number: int, of_what: str, reference: str) -> str:
    if number <= SHOWN_ROWS:
        return f"all {number} {of_what}"
    return f"the {SHOWN_ROWS} of {number} {of_what} that are farthest from {reference}"


def _posterior(result: PosteriorResult) -> list[Block]:
    sampled, error, truth = result.posterior(), result.posterior_error(), result.exact_posterior()
    header = ["variable", "state", "sampled", "+-", *(["exact", "difference", "in errors"] if truth else [])]
    rows, off, labels = [], [], []
    values: list[tuple[float, float, float]] = []
    for variable, states in sampled.items():
        for state, p in states.items():
            exact = truth[variable][state] if truth else np.nan
            if variable in result.unsampled:
                row = [variable, state, "not sampled", "-", *([f"{exact:.4f}", "-", "-"] if truth else [])]
                off.append(np.inf)
            else:
                row = [variable, state, f"{p:.4f}", f"{error[variable][state]:.4f}"]
                if truth:
                    row += [f"{exact:.4f}", f"{p - exact:+.4f}", in_errors(p - exact, error[variable][state])]
                off.append(abs(p - exact))
                labels.append(f"{variable} = {state}")
                values.append((exact, p, error[variable][state]))
            rows.append(row)
    exact_p, p_all, e_all = np.array(values).reshape(-1, 3).T
    source = "exact ones by variable elimination beside them" if truth else "exact ones are out of reach"
    blocks: list[Block] = [
        Text(f"Posterior probabilities with standard errors from independent chains; {source}.")
    ]
    blocks += [Text(f"{variable}: {why}.") for variable, why in result.unsampled.items()]
    if 0 < len(labels) <= MOST_BARS:
        blocks.append(Pictures([_bars(labels, p_all, e_all, exact_p if truth else None, "exact")]))
    elif labels and truth:
        figure = plots.new_figure(figsize=(4.2, 4.6))
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=[2.2, 1])
        plots.plot_agreement(exact_p, p_all, e_all, quantity="posterior", ax=upper, residual_ax=lower)
        blocks.append(Pictures([_compared(figure, p_all - exact_p, "posterior probabilities of all states")]))
    shown = range(len(rows))
    if len(rows) > SHOWN_ROWS:
        shown = sorted(np.argsort(-np.array(off), kind="stable")[:SHOWN_ROWS]) if truth else range(SHOWN_ROWS)  # type: ignore[assignment]
    which = _all_or(len(rows), "states", "exact") if truth else f"{len(shown)} of {len(rows)} states"
    blocks.append(Table(f"Posterior: {which}", header, [rows[k] for k in shown], words=2))
    if len(rows) > SHOWN_ROWS:
        folded = f"All {len(rows)} states"
        blocks.append(Table("Posterior of every state", header, rows, words=2, folded=folded))
    return blocks


def in_errors(difference: float, error: float) -> str:
    """Return a difference in units of its standard error."""
    return f"{difference / error:+.1f}" if error > 0 else "-"


def _bars(labels: list[str], p: Array, error: Array, exact: Array | None, name: str) -> Picture:
    ax = plots.new_figure(figsize=(4.8, 3.4)).subplots()
    plots.plot_probabilities(labels, p, error, exact, exact_name=name, ax=ax)
    off = "" if exact is None else f"; the largest difference from {name} is {np.abs(p - exact).max():.3f}"
    alt = f"Bars of {len(labels)} sampled probabilities with error bars{off}."
    return picture(ax, alt, f"Sampled probabilities, standard errors{'' if exact is None else f', {name}'}.")


def _agreement(result: Result) -> Picture:
    truth, free = result.reference(), result.free
    difference = (result.marginals() - truth.marginals)[free]
    return _compared(pictures.agreement(result), difference, "marginals of all free units")


def _compared(figure: Figure, difference: Array, of_what: str) -> Picture:
    farthest = np.abs(difference).max()
    alt = f"Sampled against exact {of_what}: {len(difference)} points, farthest {farthest:.3f} apart."
    return picture(
        figure, alt, f"Sampled {of_what} against the reference; below, the differences with their errors."
    )


def _joint(result: Result) -> Picture:
    ax = plots.new_figure(figsize=(4.8, 3.4)).subplots()
    result.plot_joint(ax=ax)
    ax.tick_params(axis="x", labelsize=7 if len(result.free) == MOST_JOINT_UNITS else None)
    order = ", ".join(result.names[k] for k in result.free)
    of_what = "Sampled probabilities" if result.machine is None else "Sampled and exact probabilities"
    alt = f"{of_what} of the {2 ** len(result.free)} joint states, logarithmic."
    return picture(ax, alt, f"Joint distribution of {order}, in this order; standard errors.")


def _images(result: Result) -> Picture:
    off = np.abs(result.marginals() - result.reference().marginals).max()
    alt = (
        "Small images: mean of the samples, its reference, and single draws; "
        f"no pixel's mean is more than {off:.3f} from the reference."
    )
    caption = "The units that make up an image: means over all samples, and single draws of different chains."
    return picture(pictures.images(result), alt, caption)
