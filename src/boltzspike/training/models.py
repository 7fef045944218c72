"""What is trained: the parameters of a machine, which units are visible, which couplings are free."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import logit

from boltzspike.errors import require
from boltzspike.model.boltzmann import BoltzmannMachine, Machine, RestrictedBoltzmannMachine
from boltzspike.model.description import Array, unit_names

LABEL, PIXEL, HIDDEN = "label-", "pixel-", "hidden-"
"""How the units of the models made here are called; the commands find labels by it."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Statistics:
    """Means of the sufficient statistics over the states of a phase."""

    couplings: Array
    """E[z_k z_j], in the form of the model's weights; entries of no coupling are 0."""
    units: Array
    """E[z_k], shape (n,)."""
    states: Array | None = None
    """States (m, n) of a free phase, for the natural gradient; ``None``: not kept."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Model:
    """A machine in training; the visible units come first.

    ``p(z) ~ exp(z W z / 2 + b z)`` where ``coupled`` says which entries of W may differ from 0; an RBM
    (``coupled`` is ``None``) keeps its weights as (visible, hidden).
    """

    weights: Array
    """Shape (n, n), symmetric; of an RBM (visible, hidden)."""
    biases: Array
    """Shape (n,)."""
    n_visible: int
    coupled: Array | None
    """Bool (n, n), symmetric; ``None``: an RBM."""
    names: tuple[str, ...]

    @property
    def restricted(self) -> bool:
        """Whether it is an RBM."""
        return self.coupled is None

    @property
    def n_units(self) -> int:
        """Number of units."""
        return len(self.biases)

    @property
    def n_hidden(self) -> int:
        """Number of hidden units."""
        return self.n_units - self.n_visible

    @property
    def visible_biases(self) -> Array:
        """Biases of the visible units."""
        return self.biases[: self.n_visible]

    @property
    def hidden_biases(self) -> Array:
        """Biases of the hidden units."""
        return self.biases[self.n_visible :]

    def moved(self, weights: Array, biases: Array) -> Model:
        """Return the model with these added to its parameters."""
        return dataclasses.replace(self, weights=self.weights + weights, biases=self.biases + biases)

    def machine(self) -> Machine:
        """Return the description that samplers, files and everything else take."""
        if self.restricted:
            return RestrictedBoltzmannMachine(
                weights=self.weights,
                visible_biases=self.visible_biases,
                hidden_biases=self.hidden_biases,
                names=self.names,
            )
        return BoltzmannMachine(weights=self.weights, biases=self.biases, names=self.names)

    def plain(self) -> tuple[Array, Array]:
        """Return weights (n, n) and biases (n,)."""
        if not self.restricted:
            return self.weights, self.biases
        weights = np.zeros((self.n_units, self.n_units))
        weights[: self.n_visible, self.n_visible :] = self.weights
        return weights + weights.T, self.biases

    def allowed(self, matrix: Array) -> Array:
        """Return a matrix (n, n) with 0 where units are not coupled."""
        assert self.coupled is not None
        return np.where(self.coupled, matrix, 0.0)

    def statistics(self, z: Array) -> Statistics:
        """Return the means over states (m, n); units may hold probabilities where they are independent."""
        if self.restricted:
            couplings = z[:, : self.n_visible].T @ z[:, self.n_visible :] / len(z)
        else:
            couplings = self.allowed(z.T @ z / len(z))
        return Statistics(couplings=couplings, units=z.mean(axis=0))


def model_of(machine: Machine, n_visible: int | None = None) -> Model:
    """Return the model whose parameters are those of a machine; only couplings that it has are trained.

    ``n_visible`` may be left out for an RBM.
    """
    names = tuple(machine.names or ())
    if isinstance(machine, RestrictedBoltzmannMachine):
        own = machine.n_visible
        require(n_visible in (None, own), "n_visible", f"that of the RBM, {own}", n_visible)
        biases = np.concatenate([machine.visible_biases, machine.hidden_biases])
        return Model(weights=np.array(machine.weights), biases=biases, n_visible=own, coupled=None, names=names)
    n = machine.n_units
    require(n_visible is not None and 1 <= n_visible <= n, "n_visible", f"in 1 .. {n}", n_visible)
    assert n_visible is not None
    return Model(
        weights=np.array(machine.weights), biases=np.array(machine.biases), n_visible=n_visible,
        coupled=np.asarray(machine.weights) != 0, names=names,
    )  # fmt: skip


def restricted(
    visible: int, hidden: int, *, data: Array | None = None, scale: float = 0.01, seed: int = 0,
    names: Sequence[str] | None = None,
) -> Model:  # fmt: skip
    """Return an RBM before training: weights drawn from N(0, scale^2), hidden biases 0.

    Parameters
    ----------
    visible, hidden
        Numbers of units.
    data
        Shape (m, visible): the visible biases start at the log odds of each unit in it (G. E. Hinton, "A practical
        guide to training restricted Boltzmann machines", 2010); ``None``: at 0.
    names
        Of the visible units; ``None``: v0, v1, ...
    """
    return _made((visible, hidden), data=data, scale=scale, seed=seed, names=names, coupled=None)


def class_rbm(
    pixels: int, labels: int, hidden: int, *, data: Array | None = None, scale: float = 0.01, seed: int = 0
) -> Model:
    """Return an RBM whose last visible units are labels, one for each class.

    H. Larochelle and Y. Bengio, "Classification using discriminative restricted Boltzmann machines", ICML 2008.
    ``data`` holds pixels and one-hot labels side by side.
    """
    names = class_names(pixels, labels)
    return restricted(pixels + labels, hidden, data=data, scale=scale, seed=seed, names=names)


def class_names(pixels: int, labels: int) -> list[str]:
    """Return names of pixels and label units, by which ``classify`` and ``generate`` find the labels."""
    return [f"{PIXEL}{k}" for k in range(pixels)] + [f"{LABEL}{k}" for k in range(labels)]


def layered(
    sizes: Sequence[int], *, data: Array | None = None, scale: float = 0.01, seed: int = 0,
    names: Sequence[str] | None = None,
) -> Model:  # fmt: skip
    """Return a layered (deep) Boltzmann machine: each layer is coupled to the next, the first is visible."""
    require(
        len(sizes) >= 3, "layered.sizes", "at least 3 layers; two are restricted(visible, hidden)", list(sizes)
    )
    layer = np.repeat(np.arange(len(sizes)), sizes)
    coupled = np.abs(layer[:, None] - layer[None, :]) == 1
    return _made(tuple(sizes), data=data, scale=scale, seed=seed, names=names, coupled=coupled)


def full(
    visible: int, hidden: int, *, data: Array | None = None, scale: float = 0.01, seed: int = 0,
    names: Sequence[str] | None = None,
) -> Model:  # fmt: skip
    """Return a Boltzmann machine in which all units are coupled; ``hidden`` may be 0."""
    n = visible + hidden
    coupled = ~np.eye(n, dtype=bool)
    return _made((visible, hidden), data=data, scale=scale, seed=seed, names=names, coupled=coupled)


def _made(
    sizes: tuple[int, ...], *, data: Array | None, scale: float, seed: int, names: Sequence[str] | None,
    coupled: Array | None,
) -> Model:  # fmt: skip
    least = 0 if coupled is not None else 1
    require(sizes[0] >= 1 and min(sizes[1:]) >= least, "sizes", "at least one unit a layer", list(sizes))
    require(bool(np.isfinite(scale)) and scale >= 0, "scale", ">= 0", scale)
    visible, n = sizes[0], sum(sizes)
    rng = np.random.default_rng(seed)
    if coupled is None:
        weights = rng.normal(0, scale, (visible, n - visible))
    else:
        upper = np.triu(rng.normal(0, scale, (n, n)) * coupled, 1)
        weights = upper + upper.T
    biases = np.zeros(n)
    if data is not None:
        data = binary(data, "data", visible)
        biases[:visible] = logit((data.sum(axis=0) + 1) / (len(data) + 2))
    all_names = unit_names(names, visible, "Model", "v") + tuple(f"{HIDDEN}{k}" for k in range(n - visible))
    return Model(
        weights=weights, biases=biases, n_visible=visible, coupled=coupled,
        names=unit_names(all_names, n, "Model"),
    )  # fmt: skip


def binary(data: Array, where: str, columns: int | None = None) -> Array:
    """Return binary data as float32 (m, columns), or raise: nothing is rounded in silence."""
    try:
        array = np.asarray(data, dtype=np.float64)
    except (TypeError, ValueError):
        array = np.empty(0)
    require(array.ndim == 2, where, "an array of numbers of shape (samples, units)", np.shape(data))
    require(len(array) > 0, where, "of at least one sample", array.shape)
    require(columns in (None, array.shape[1]), where, f"of {columns} columns, one a visible unit", array.shape)
    wrong = np.argwhere((array != 0) & (array != 1))
    if len(wrong):
        row, column = wrong[0]
        allowed = "0 or 1 (binarise the data first, for example data > threshold)"
        require(False, f"{where}[{row}, {column}]", allowed, float(array[row, column]))
    return array.astype(np.float32)


def one_hot(labels: Array, classes: int, where: str = "labels") -> Array:
    """Return labels in 0 .. classes - 1 as float32 (m, classes)."""
    array = np.asarray(labels)
    whole = array.ndim == 1 and np.issubdtype(array.dtype, np.number) and bool(np.all(array == np.floor(array)))
    require(whole, where, "a row of integers", getattr(array, "dtype", labels))
    outside = np.flatnonzero((array < 0) | (array >= classes))
    if len(outside):
        require(False, f"{where}[{outside[0]}]", f"in 0 .. {classes - 1}", array[outside[0]].item())
    return np.eye(classes, dtype=np.float32)[array.astype(int)]
