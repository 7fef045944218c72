"""How the learned rule is learned: random small networks, the machine that each one turns out to be, a regression.

The squared error of a network's parameters is weighted with its Fisher information, which makes it twice the
D_KL that the error would cause.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from boltzspike.calibration import Calibration, NetworkCalibration
from boltzspike.errors import CalibrationError
from boltzspike.model.boltzmann import BoltzmannMachine
from boltzspike.model.description import Array
from boltzspike.model.synapse import Synapse
from boltzspike.theory.inverse import fit_machine
from boltzspike.translation.learned import BIAS_FEATURES, FEATURES, WEIGHT_FEATURES, Context, apply, strength
from boltzspike.translation.working_point import enumerated

_RIDGE = 1e-3
LEAST_ERROR = 1e-4
"""Networks are weighted by 1/(their D_KL + this): a relative error counts, down to what does no harm."""
_ROUNDS = 4
_MAX_FITTED = 12.0
"""A network whose fitted weights or biases exceed this hardly ever leaves a state, and teaches noise."""


def _gaussian(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    return rng.normal(0, rng.choice([1.0, 1.2 / np.sqrt(n)]), (n, n)), rng.normal(0, 1, n)


def _bounded(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    bound = rng.uniform(0.3, 1.2)
    return rng.uniform(-bound, bound, (n, n)), rng.uniform(-bound, bound, n)


def _sparse(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    weights = rng.choice([-2, 2], (n, n)) * rng.uniform(0.5, 1.2, (n, n)) * (rng.random((n, n)) < 2.2 / n)
    return weights, rng.normal(0, 0.5, n) - _row_sums(weights) / 2


def _sparse_strong(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    weights = rng.choice([-1, 1], (n, n)) * rng.uniform(2, 4.5, (n, n)) * (rng.random((n, n)) < 1.6 / n)
    return weights, rng.normal(0, 0.7, n) - _row_sums(weights) / 2


def _clique(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    weights = rng.uniform(0.2, 3.8 / max(n - 2, 1) ** 0.75) * rng.uniform(0.7, 1.3, (n, n))
    return weights, rng.normal(0, 0.5) + rng.normal(0, 0.3, n) - _row_sums(weights) / 2


def _two_modes(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    weights = rng.uniform(0.2, 3.8 / max(n - 2, 1) ** 0.75) * rng.uniform(0.8, 1.2, (n, n))
    return weights, rng.normal(0, 0.15) + rng.normal(0, 0.2, n) - _row_sums(weights) / 2


def _winner_take_all(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    weights = -rng.uniform(1, 3.5) * rng.uniform(0.8, 1.2, (n, n))
    return weights, rng.uniform(-0.5, 1.5) + rng.normal(0, 0.3, n)


def _chain(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    weights = rng.uniform(1, 4.5) * np.diag(rng.choice([-1.0, 1.0], n - 1), 1)
    return weights, rng.normal(0, 0.6, n) - _row_sums(weights) / 2


def _two_layers(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    first = int(rng.integers(2, n // 3 + 1))
    weights = np.zeros((n, n))
    weights[:first, first:] = rng.normal(0, rng.uniform(0.5, 2.2), (first, n - first))
    return weights, rng.normal(0, 1, n) - _row_sums(weights) / 2


def _sparse_larger(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    weights = rng.choice([-1, 1], (n, n)) * rng.uniform(1, 3.5) * rng.uniform(0.8, 1.2, (n, n))
    weights = weights * (rng.random((n, n)) < rng.uniform(1.5, 3.5) / n)
    return weights, rng.normal(0, 0.5, n) - _row_sums(weights) / 2


def _auxiliary(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    hidden = int(rng.integers(1, n - 1))
    weights = np.triu(rng.normal(0, 1, (n, n)) * (rng.random((n, n)) < rng.uniform(0.3, 1)), 1)
    weights[:hidden] = 0
    signs = rng.choice([-1, 1], (hidden, n - hidden), p=[0.3, 0.7]) * (rng.random((hidden, n - hidden)) < 0.85)
    weights[:hidden, hidden:] = signs * rng.uniform(1.5, 4) * rng.uniform(0.9, 1.1, signs.shape)
    weights[hidden:, hidden:] -= 0.11 * weights[:hidden, hidden:].T @ weights[:hidden, hidden:]
    return weights, rng.normal(0, 2, n) - _row_sums(weights) / 2


def _heavy_tailed(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    weights = np.clip(1.5 * rng.standard_t(2, (n, n)), -8, 8)
    return weights, rng.normal(0, 1.5, n) - _row_sums(weights) / 2


def _tree(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    weights = np.zeros((n, n))
    for k in range(1, n):
        weights[rng.integers(k), k] = rng.choice([-1, 1]) * rng.uniform(1, 8)
    return weights, rng.normal(0, 1.5, n) - _row_sums(weights) / 2


def _rare(n: int, rng: np.random.Generator) -> tuple[Array, Array]:
    weights = rng.normal(0, 1.5, (n, n)) * (rng.random((n, n)) < 0.6)
    return weights, rng.normal(0, 2.5, n) - _row_sums(weights) / 2


def _row_sums(weights: Array) -> Array:
    upper = np.triu(weights, 1)
    return (upper + upper.T).sum(axis=1)


Family = Callable[[np.random.Generator], BoltzmannMachine]


def _family(
    draw: Callable[[int, np.random.Generator], tuple[Array, Array]], least: int = 2, most: int = 8
) -> Family:
    def machine(rng: np.random.Generator) -> BoltzmannMachine:
        weights, biases = draw(int(rng.integers(least, most + 1)), rng)
        upper = np.triu(weights, 1)
        return BoltzmannMachine(weights=upper + upper.T, biases=biases)

    return machine


FAMILIES: dict[str, Family] = {
    "Gaussian": _family(_gaussian),
    "bounded": _family(_bounded),
    "sparse": _family(_sparse),
    "sparse, strong": _family(_sparse_strong),
    "excitatory clique": _family(_clique),
    "clique of two modes": _family(_two_modes),
    "winner-take-all": _family(_winner_take_all),
    "chain": _family(_chain),
    "sparse, larger": _family(_sparse_larger, 6, 12),
    "two layers": _family(_two_layers, 6, 12),
    "auxiliary units": _family(_auxiliary, 3, 9),
    "heavy-tailed": _family(_heavy_tailed, 2, 5),
    "tree": _family(_tree, 2, 5),
    "rare": _family(_rare),
}
"""Kinds of machines of 2 to 12 units."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Example:
    """One simulated network: the parameters handed to it, and the machine that it turned out to be."""

    family: str
    machine: BoltzmannMachine
    """As fitted to its samples, with the couplings of the network alone: those that a rule can hand over."""
    features: Array
    """Of ``machine``; one row a parameter (biases, then the coupled pairs), (m, features)."""
    used: Array
    """What was handed to it, less the fitted biases, (m,)."""
    fisher: Array
    """(m, m)."""

    @staticmethod
    def of(family: str, weights: Array, biases: Array, distribution: Array) -> Example | None:
        """Return what a network with such parameters taught, or ``None``: it hardly ever left a state."""
        try:
            fit = fit_machine(distribution, coupled=weights != 0)
        except CalibrationError:
            return None
        if max(np.abs(fit.weights).max(), np.abs(fit.biases).max()) > _MAX_FITTED:
            return None
        machine = BoltzmannMachine(weights=fit.weights, biases=fit.biases)
        context = Context.of(machine, enumerated(machine))
        n = machine.n_units
        upper = np.nonzero(np.triu(weights, 1))
        features = np.zeros((n + len(upper[0]), len(FEATURES)))
        for column, of in enumerate(BIAS_FEATURES.values()):
            features[:n, column] = of(context)
        for column, of in enumerate(WEIGHT_FEATURES.values(), start=len(BIAS_FEATURES)):
            features[n:, column] = of(context)[upper]
        used = np.concatenate([biases - fit.biases, weights[upper]])
        return Example(family=family, machine=machine, features=features, used=used, fisher=fit.fisher)


def learn(examples: Sequence[Example]) -> tuple[Array, Array]:
    """Return coefficients (features,) and the D_KL that they leave each example (examples,)."""
    curvature = np.stack([e.features.T @ e.fisher @ e.features for e in examples])
    slope = np.stack([e.features.T @ e.fisher @ e.used for e in examples])
    whole = np.array([e.used @ e.fisher @ e.used for e in examples])
    weight = np.ones(len(examples))
    for _ in range(_ROUNDS):
        summed = np.tensordot(weight, curvature, axes=1) + _RIDGE * np.eye(len(FEATURES))
        coefficients = np.linalg.solve(summed, weight @ slope)
        left = whole - 2 * slope @ coefficients + np.einsum("i,eij,j->e", coefficients, curvature, coefficients)
        error = np.maximum(left / 2, 0)
        weight = 1 / (error + LEAST_ERROR)
    return coefficients, error


def error_of(example: Example, coefficients: Array) -> float:
    """Return the D_KL that the coefficients leave an example."""
    left = example.used - example.features @ coefficients
    return float(left @ example.fisher @ left / 2)


def network_calibration(
    examples: Sequence[Example],
    calibration: Calibration,
    synapse: Synapse,
    *,
    duration: float,
    dt: float,
    seed: int,
    version: str,
) -> NetworkCalibration:
    """Learn the rule from examples, and its error on families that it has not seen.

    Raises
    ------
    CalibrationError
        Where there are too few examples for the number of features.
    """
    families = tuple(dict.fromkeys(e.family for e in examples))
    parameters = sum(len(e.used) for e in examples)
    if len(families) < 2 or parameters < 4 * len(FEATURES):
        raise CalibrationError(
            f"calibrate_network: {len(examples)} networks ({parameters} parameters, {len(families)} families) are "
            f"too few for {len(FEATURES)} features; simulate more networks, or a neuron in a sampling regime"
        )
    unseen = np.zeros(len(examples))
    for family in families:
        rest, _ = learn([e for e in examples if e.family != family])
        for i, example in enumerate(examples):
            if example.family == family:
                unseen[i] = error_of(example, rest)
    strengths = np.stack([strength(e.machine) for e in examples])
    log_error = np.log(unseen + 1e-6)
    model, *_ = np.linalg.lstsq(strengths, log_error, rcond=None)
    weights = [np.abs(np.asarray(e.machine.weights)) for e in examples]
    return NetworkCalibration(
        synapse=synapse,
        features=FEATURES,
        coefficients=learn(examples)[0],
        families=families,
        family_errors=[float(np.mean([u for u, e in zip(unseen, examples) if e.family == f])) for f in families],
        error_model=model,
        error_factor=float(np.exp(np.std(log_error - strengths @ model))),
        max_weight=float(max(w.max() for w in weights)),
        max_row=float(max(w.sum(axis=1).max() for w in weights)),
        networks=len(examples),
        duration=duration,
        dt=dt,
        u0=calibration.u0,
        alpha=calibration.alpha,
        seed=seed,
        version=version,
    )


JointOf = Callable[[Array, Array, int], Array]
"""(weights, biases, number of the network) to the sampled distribution over its 2^n states."""


def teach(
    joint_of: JointOf,
    *,
    networks: int,
    seed: int,
    families: Mapping[str, Family] = FAMILIES,
    progress: Callable[[int, int], None] | None = None,
) -> list[Example]:
    """Simulate random networks of every family in turn, and return what they taught.

    A first fifth is handed the parameters of the target times a constant, the others those by which the rule
    learned so far would sample it, changed at random by a tenth: so the networks turn out near their targets.
    """
    rng = np.random.default_rng(seed)
    examples: list[Example] = []
    known: Array | None = None
    names = list(families)
    for number in range(networks):
        if known is None and number >= networks * _FIRST and len(examples) * 10 > len(FEATURES):
            known = learn(examples)[0]
        family = names[number % len(names)]
        machine = families[family](rng)
        weights, biases = _GUESSED_GAIN * np.asarray(machine.weights), np.asarray(machine.biases)
        if known is not None:
            weights, biases = apply(known, machine, enumerated(machine))
        weights = weights * (1 + _SPREAD * rng.normal())
        biases = biases + _SPREAD * rng.normal(size=len(biases))
        example = Example.of(family, weights, biases, joint_of(weights, biases, number))
        if example is not None:
            examples.append(example)
        if progress:
            progress(number + 1, networks)
    return examples


_FIRST = 0.2
_GUESSED_GAIN = 0.8
_SPREAD = 0.1
