"""Machines of other packages, given as their objects or arrays; none of the packages is imported."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from boltzspike.errors import ValidationError, require, suggestion
from boltzspike.formats.ising import from_ising
from boltzspike.model.background import PoissonBackground
from boltzspike.model.boltzmann import BoltzmannMachine, RestrictedBoltzmannMachine
from boltzspike.model.description import Array, frozen_array
from boltzspike.model.neuron import LIF, CurrentLIF, Neuron


def from_sklearn(rbm: Any) -> RestrictedBoltzmannMachine:
    """Return the machine of a fitted scikit-learn ``BernoulliRBM``."""
    for attribute in ("components_", "intercept_visible_", "intercept_hidden_"):
        require(hasattr(rbm, attribute), f"BernoulliRBM.{attribute}", "present: fit the RBM first", "none")
    return RestrictedBoltzmannMachine(
        weights=np.asarray(rbm.components_, dtype=float).T,
        visible_biases=rbm.intercept_visible_,
        hidden_biases=rbm.intercept_hidden_,
    )


def from_thrml(
    edges: Sequence[tuple[int, int]], biases: Array, weights: Array, *, beta: float = 1.0, names: Any = None
) -> BoltzmannMachine:
    """Return the machine of the arrays of thrml's ``IsingEBM``, nodes numbered.

    There ``E(s) = -beta (sum_i b_i s_i + sum_(i,j) J_ij s_i s_j)``, s = +-1, p ~ exp(-E): fields and couplings of
    the opposite sign to those of ``from_ising``.

    Parameters
    ----------
    edges
        Pairs of nodes, one a weight.
    biases
        b, shape (nodes,).
    weights
        J, shape (edges,).
    beta
        Inverse temperature.
    """
    h = frozen_array(biases, "from_thrml.biases", ndim=1)
    values = frozen_array(weights, "from_thrml.weights", ndim=1)
    require(len(values) == len(edges), "from_thrml.weights", f"one an edge ({len(edges)})", len(values))
    j = np.zeros((len(h), len(h)))
    for (a, b), value in zip(edges, values):
        ok = 0 <= a < len(h) and 0 <= b < len(h) and a != b
        require(ok, "from_thrml.edges", f"between two of the nodes 0 .. {len(h) - 1}", (a, b))
        j[a, b] += value
        j[b, a] += value
    return from_ising(-h, -j, beta=beta, names=names)


def layered(weights: Sequence[Array], biases: Sequence[Array], *, names: Any = None) -> BoltzmannMachine:
    """Return a machine of several layers, each coupled to the next: a deep Boltzmann machine.

    Parameters
    ----------
    weights
        Couplings of layer k to layer k + 1, shape (units of k, units of k + 1).
    biases
        Of each layer, (units,).
    """
    b = [frozen_array(layer, f"layered.biases[{k}]", ndim=1) for k, layer in enumerate(biases)]
    require(len(b) >= 2, "layered.biases", "of at least two layers", len(b))
    require(len(weights) == len(b) - 1, "layered.weights", f"{len(b) - 1} arrays, one a gap", len(weights))
    start = np.cumsum([0, *(len(layer) for layer in b)])
    full = np.zeros((start[-1], start[-1]))
    for k, given in enumerate(weights):
        w = frozen_array(given, f"layered.weights[{k}]", ndim=2)
        shape = (len(b[k]), len(b[k + 1]))
        require(w.shape == shape, f"layered.weights[{k}]", f"of shape {shape}", w.shape)
        full[start[k] : start[k + 1], start[k + 1] : start[k + 2]] = w
    return BoltzmannMachine(weights=full + full.T, biases=np.concatenate(b), names=names)


PYNN = {
    "cm": "c_m", "tau_m": "tau_m", "v_rest": "v_rest", "v_reset": "v_reset", "v_thresh": "v_thresh",
    "tau_refrac": "tau_refrac", "tau_syn_E": "tau_syn_exc", "tau_syn_I": "tau_syn_inh", "e_rev_E": "e_rev_exc",
    "e_rev_I": "e_rev_inh", "i_offset": "i_offset",
}  # fmt: skip


def neuron_from_sbs(
    parameters: Mapping[str, float], *, rates: Sequence[float], weights: Sequence[float]
) -> tuple[Neuron, PoissonBackground]:
    """Return neuron and background of an sbs sampler configuration.

    Parameters
    ----------
    parameters
        PyNN's names, as in sbs's neuron parameters: cm (nF), tau_m, tau_refrac, tau_syn_E, tau_syn_I (ms), v_rest,
        v_reset, v_thresh (mV), i_offset (nA), and e_rev_E, e_rev_I (mV) of a conductance-based neuron.
    rates, weights
        Of its Poisson sources, Hz and uS (or nA); inhibitory weights negative, as there.

    sbs's ``alpha`` and ``v_p05`` are not taken over: they were measured at another time step, and ``calibrate``
    finds u0 and alpha of the same neuron from theory in half a second. Its Boltzmann weights and biases
    (``weights_theo``, ``biases_theo``) mean the same as here: ``BoltzmannMachine(weights=..., biases=...)``.
    """
    for name in parameters:
        if name not in PYNN:
            raise ValidationError(f"neuron_from_sbs: no parameter {name!r}{suggestion(name, PYNN)}")
    values: dict[str, Any] = {PYNN[name]: value for name, value in parameters.items()}
    conductance = {"e_rev_exc", "e_rev_inh"} & values.keys()
    neuron: Neuron = LIF(**values) if conductance else CurrentLIF(**values)
    return neuron, PoissonBackground(rates=rates, weights=weights)
