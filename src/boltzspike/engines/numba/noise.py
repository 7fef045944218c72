"""The background of one step as a small discrete distribution, drawn with a few compares.

In a step of dt a source of rate nu and weight w adds w N, N Poisson with mean nu dt. The sources of one unit
and one synapse add up to one number, whose law is replaced by

- "eight-point": eight values, each as likely, with the same mean, variance and skewness, picked by three random
  bits: the fastest, from .28 events a step and up to dt/tau_syn = .02;
- "three-point": three values, their probabilities multiples of 1/256, with the same mean, variance and
  skewness and nearly the same two moments after these; eight random bits a draw;
- "exact Poisson": itself, cut at 2^-32, where few values occur;
- "fine three-point": three values with the same first five moments (Gauss quadrature); 32 random bits.

But for the first, values v_0 < v_1 < ... with P(v >= v_k) = q_k are drawn from one uniform word as
``v_0 + sum_k (word < q_k 2^32) (v_k - v_{k-1})``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy import stats

from boltzspike.errors import UnsupportedFeature
from boltzspike.program import Program

Array = np.ndarray
EIGHT_FROM = 0.28
"""Events a step (the inverse of the excess kurtosis) of every synapse, for an eight-point law."""
EIGHT_UP_TO = 0.02
"""dt/tau_syn, for an eight-point law: a single step's noise must be small, its shape then matters little."""
LEAST_FOR_EIGHT = 0.2
"""Events a step: eight equally likely values can't be more skewed."""
EVEN_TAILS_UP_TO = 0.85
"""Events a step: of the eight values one is high, and one low, or two above."""
EXACT_VALUES = 6
"""An exact law may have so many values."""
RAREST = 0.3 / 256
"""The least probability of a point that may be rounded to a multiple of 1/256."""
_RESOLUTION = 2.0**-32


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Noise:
    """The law of every unit and synapse. Shapes: n units, 2 synapses (excitatory, inhibitory), k jumps."""

    base: Array
    """(n, 2): the smallest value, uS or nA; of a table, 0."""
    jumps: Array
    """(n, 2, k); of a table, the values themselves."""
    tails: Array
    """(n, 2, k): the probability of each jump."""
    words: str
    """What was done, for the result."""

    @property
    def levels(self) -> int:
        """Number of thresholds; none where the law is a table of eight values, each as likely."""
        return self.tails.shape[2]

    @property
    def bits_a_draw(self) -> int:
        """Random bits that make a draw."""
        if self.levels == 0:
            return 3
        return 8 if np.all(self.tails * 256 == np.round(self.tails * 256)) else 32

    def thresholds(self) -> Array:
        """Return the int32 below which a word, taken as signed, makes the jump; (n, 2, k)."""
        scaled = np.round(np.minimum(self.tails, 1 - _RESOLUTION) / _RESOLUTION).astype(np.int64) - 2**31
        return scaled.astype(np.int32)


def background_noise(program: Program, law: str | None = None, *, tables: bool = True) -> Noise:
    """Choose the law for a program, or take the one named; one kind serves all units, as all share a kernel.

    ``tables``: whether it may be a table of values for each unit.
    """
    n = program.n_units
    groups = [_sources(program, unit, sign) for unit in range(n) for sign in (1, -1)]
    kinds = set(groups)
    rates = [effective_rate(group) / program.dt for group in kinds if group]
    if law is None:
        slow = program.dt <= EIGHT_UP_TO * min(program.tau_syn_exc.min(), program.tau_syn_inh.min())
        if tables and slow and all(cumulant(g, 2) ** 2 >= EIGHT_FROM * cumulant(g, 4) for g in kinds):
            law = "eight-point"
        elif all(gauss_law(group)[1].min() >= RAREST for group in kinds):
            law = "three-point"
        elif all(len(exact_law(group)[0]) <= EXACT_VALUES for group in kinds):
            law = "exact Poisson"
        else:
            law = "fine three-point"
    laws = {group: LAWS[law](group) for group in kinds}
    words = f"noise: {law}{_span([rate * 1e3 for rate in rates])}" if rates else "noise: none"

    if law == "eight-point":
        table = np.stack([laws[group][0] for group in groups]).reshape(n, 2, 8)
        return Noise(base=np.zeros((n, 2)), jumps=table, tails=np.zeros((n, 2, 0)), words=words)
    levels = max(1, *(len(values) - 1 for values, _ in laws.values()))
    base, jumps, tails = np.zeros(2 * n), np.zeros((2 * n, levels)), np.zeros((2 * n, levels))
    for i, group in enumerate(groups):
        values, probabilities = laws[group]
        base[i] = values[0]
        jumps[i, : len(values) - 1] = np.diff(values)
        tails[i, : len(values) - 1] = np.cumsum(probabilities[::-1])[-2::-1]
    return Noise(
        base=base.reshape(n, 2),
        jumps=jumps.reshape(n, 2, levels),
        tails=tails.reshape(n, 2, levels),
        words=words,
    )


def _span(rates: list[float]) -> str:
    if not rates:
        return ""
    low, high = min(rates), max(rates)
    return f", {low:.4g} Hz" if high - low < 1e-6 * high else f", {low:.4g} to {high:.4g} Hz"


def _sources(program: Program, unit: int, sign: int) -> tuple[tuple[float, float], ...]:
    """Return (events a step, |weight|) of the sources of one synapse; those of equal weight are one."""
    means: dict[float, float] = {}
    for rate, weight in zip(program.background_rates[unit], program.background_weights[unit]):
        if rate > 0 and weight * sign > 0:
            means[abs(weight)] = means.get(abs(weight), 0.0) + rate * program.dt
    return tuple(sorted((mean, weight) for weight, mean in means.items()))


def cumulant(group: tuple[tuple[float, float], ...], order: int) -> float:
    """Return a cumulant of what the sources add in a step: sum of mean w^order (Campbell)."""
    return sum(mean * weight**order for mean, weight in group)


def effective_rate(group: tuple[tuple[float, float], ...]) -> float:
    """Return the events a step of the one source that has the same skewness."""
    return cumulant(group, 2) ** 3 / cumulant(group, 3) ** 2


def exact_law(group: tuple[tuple[float, float], ...], most: float = EXACT_VALUES) -> tuple[Array, Array]:
    """Return the values that sources of few events can add, and their probabilities.

    Where there are more than ``most`` of them, the result is cut short and not to be used.
    """
    values, probabilities = np.zeros(1), np.ones(1)
    for mean, weight in group:
        counts = np.arange(int(stats.poisson.isf(_RESOLUTION / 2, mean)) + 2)
        sums = np.add.outer(values, counts * weight).ravel()
        chances = np.multiply.outer(probabilities, stats.poisson.pmf(counts, mean)).ravel()
        kept = chances > _RESOLUTION / 2
        order = np.argsort(sums[kept])
        values, probabilities = sums[kept][order], chances[kept][order]
        probabilities = probabilities / probabilities.sum()
        if len(values) > most:
            break
    return values, probabilities


def three_point(group: tuple[tuple[float, float], ...]) -> tuple[Array, Array]:
    """Return the Gauss law with its probabilities rounded to 1/256, and its values moved to keep three moments."""
    values, probabilities = gauss_law(group)
    if len(values) == 1:
        return values, probabilities
    rounded = np.maximum(np.round(probabilities * 256), 1)
    rounded[np.argmax(rounded)] += 256 - rounded.sum()
    return _with_three_moments(group, values, rounded / 256)


def eight_point(group: tuple[tuple[float, float], ...]) -> tuple[Array, Array]:
    """Return eight values, each as likely, of which three differ: they keep three moments and nearly a fourth.

    Of the standardised fourth moment 1.02 are missing at .3 events a step and .53 at .4; from .45 on at most .4.
    """
    if not group:
        return np.zeros(8), np.full(8, 1 / 8)
    if effective_rate(group) < LEAST_FOR_EIGHT:
        raise UnsupportedFeature(
            f"eight-point noise: supports {LEAST_FOR_EIGHT} or more events a step, got {effective_rate(group):.3g}"
        )
    eighths = np.array([1, 6, 1] if effective_rate(group) < EVEN_TAILS_UP_TO else [2, 5, 1])
    values, _ = _with_three_moments(group, gauss_law(group)[0], eighths / 8)
    return np.repeat(values, eighths), np.full(8, 1 / 8)


def _with_three_moments(
    group: tuple[tuple[float, float], ...], values: Array, probabilities: Array
) -> tuple[Array, Array]:
    mean, sd = cumulant(group, 1), np.sqrt(cumulant(group, 2))
    moments = np.array([0.0, 1.0, effective_rate(group) ** -0.5])
    power = np.arange(1, 4)[:, None]
    x = (values - mean) / sd
    for _ in range(50):  # Newton
        slope = power * probabilities * x ** (power - 1)
        step = np.linalg.solve(slope, probabilities @ (x**power).T - moments)
        x = x - step
        if np.abs(step).max() < 1e-13:
            break
    return mean + sd * x, probabilities


def gauss_law(group: tuple[tuple[float, float], ...], points: int = 3) -> tuple[Array, Array]:
    """Return the distribution on so many points that shares the first 2 points - 1 moments.

    For one source its points are the roots of a Charlier polynomial. Of a sum, the moments up to some order
    depend on those of its terms up to that order, so the sum of two such laws may be reduced again.
    """
    values, probabilities = np.zeros(1), np.ones(1)
    for mean, weight in group:
        k = np.arange(float(points))
        nodes, chances = _quadrature(mean + k, np.sqrt(k[1:] * mean))
        sums = np.add.outer(values, weight * nodes).ravel()
        products = np.multiply.outer(probabilities, chances).ravel()
        values, probabilities = _reduced(sums, products, points)
    return values, probabilities


LAWS: dict[str, Callable[..., tuple[Array, Array]]] = {
    "eight-point": eight_point,
    "three-point": three_point,
    "fine three-point": gauss_law,
    "exact Poisson": partial(exact_law, most=np.inf),
}


def _quadrature(diagonal: Array, off_diagonal: Array) -> tuple[Array, Array]:
    """Return nodes and weights for the three-term recurrence of a measure (Golub and Welsch)."""
    nodes, vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(off_diagonal, 1) + np.diag(off_diagonal, -1))
    return nodes, vectors[0] ** 2


def _reduced(values: Array, probabilities: Array, points: int) -> tuple[Array, Array]:
    """Return the Gauss quadrature of a discrete measure, its recurrence by Stieltjes' procedure."""
    if len(values) <= points:
        return values, probabilities
    centre, scale = probabilities @ values, np.ptp(values)
    x = (values - centre) / scale
    before, now = np.zeros_like(x), np.ones_like(x)
    diagonal, off_diagonal, norm_before = np.zeros(points), np.zeros(points), 1.0
    for k in range(points):
        norm = probabilities @ now**2
        diagonal[k] = probabilities @ (x * now**2) / norm
        off_diagonal[k] = np.sqrt(norm / norm_before)
        before, now = now, (x - diagonal[k]) * now - (norm / norm_before if k else 0.0) * before
        norm_before = norm
    nodes, chances = _quadrature(diagonal, off_diagonal[1:])
    return centre + scale * nodes, chances
