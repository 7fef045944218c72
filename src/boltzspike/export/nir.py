"""NIR, the Neuromorphic Intermediate Representation: a recurrent CubaLIF graph, and what it can't hold.

A CubaLIF neuron is ``tau_mem dv/dt = v_leak - v + R I``, ``tau_syn dI/dt = -I + w_in S``, with a spike and a jump
to v_reset at ``v > v_threshold``. It has one synaptic time constant, currents for synapses, no refractory period,
no short-term plasticity and no noise. So conductances are linearised at threshold: a synapse of weight w becomes a
current of ``w (e_rev - v_thresh)``, the membrane gets its mean total conductance, ``tau_mem = tau_eff``, and the
leak potential is the mean potential less what the background feeds; the background's sources are named inputs.

Units of the graph are SI, as NIR's consumers expect: s, V, Ohm, A. ``network.nir``:

    background-0, background-1, ... -> weights (diagonal) -> neurons -> spikes
    neurons -> recurrent (weights) [-> delay] -> neurons

Metadata of the graph, under ``boltzspike``: the whole network as JSON, so that ``from_nir`` gives it back exactly;
in readable keys ``tau_refrac``, ``u0``, ``alpha``, ``background_rates`` (Hz) for those who run the graph.

Pedersen et al., Nature Communications 15, 8122 (2024).
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from boltzspike import files
from boltzspike.errors import MissingDependency, ValidationError, require
from boltzspike.export.folder import write_contents, writing_folder
from boltzspike.export.losses import Loss, check_losses, refuse
from boltzspike.model.background import PoissonBackground
from boltzspike.model.description import Array, is_sparse
from boltzspike.model.network import SpikingNetwork
from boltzspike.model.neuron import LIF, CurrentLIF
from boltzspike.model.synapse import Synapse
from boltzspike.theory.membrane import membrane_statistics
from boltzspike.translation import Translation

MS, MV, NA = 1e-3, 1e-3, 1e-9
MOHM = 1e6


def _nir() -> Any:
    try:
        import nir
    except ImportError as error:
        raise MissingDependency(
            f'NIR graphs need the package nir: pip install "boltzspike[nir]" ({error})'
        ) from None
    return nir


def losses_of(network: SpikingNetwork) -> list[Loss]:
    """Return what a NIR graph can't hold of a network; raise for what makes another network of it."""
    unheld = {"schedule": network.schedule, "shared-background": network.shared}
    refuse("nir", (name for name, value in unheld.items() if value))
    refuse(
        "nir", {"delays"} if network.delays is not None else (), "one delay for all synapses is what it can hold"
    )
    many = "their delays differ, and one for all synapses is what it can hold"
    refuse("nir", {"parallel-synapses"} if network.synapse.teeth is not None else (), many)
    refuse("nir", {"jitter"} if network.synapse.jitter > 0 else ())
    neurons = network.neurons
    refuse("nir", {"alpha"} if neurons[0].kernel != "exponential" else ())
    unequal = [k for k, neuron in enumerate(neurons) if neuron.tau_syn_exc != neuron.tau_syn_inh]
    refuse("nir", {"unequal tau_syn"} if unequal else (), "a CubaLIF neuron has one synaptic time constant")
    t, tau = neurons[0].tau_refrac, neurons[0].tau_syn_exc
    found = {
        "refractory": f"tau_refrac = {t:g} ms stands in the metadata alone: a graph run without it fires on while "
        "v > v_threshold, and its spikes are no samples",
        "background": "the Poisson sources are inputs; their rates stand in the metadata",
    }
    if any(neuron.refractory is not None for neuron in neurons):
        found["random-refractory"] = "the law stands in the metadata's JSON alone"
    if network.synapse.plasticity != "additive":
        found[network.synapse.plasticity] = (
            "synapses are static: PSPs of a burst add up, at intervals of tau_refrac to "
            f"{1 / -np.expm1(-t / tau):.2f} times a renewing synapse's"
        )
    if isinstance(neurons[0], LIF):
        pairs = zip(neurons, network.backgrounds)
        share = max(_conductance_noise(neuron, background) for neuron, background in pairs)
        found["conductance"] = (
            "currents instead, linearised at threshold, tau_mem = tau_eff: the total conductance, which "
            f"fluctuates by {100 * share:.1f} %, is held at its mean"
        )
    return [Loss(feature=feature, text=text) for feature, text in found.items()]


def _conductance_noise(neuron: Any, background: Any) -> float:
    """Return the standard deviation of the total conductance over its mean (Campbell's theorem)."""
    rates, weights = np.asarray(background.rates) / 1e3, np.asarray(background.weights)
    tau = np.where(weights > 0, neuron.tau_syn_exc, neuron.tau_syn_inh)
    return float(np.sqrt(np.sum(rates * weights**2 * tau / 2)) / membrane_statistics(neuron, background).g_tot)


def to_nir(network: SpikingNetwork, *, metadata: Mapping[str, Any] | None = None) -> Any:
    """Return the network as a ``nir.NIRGraph``; see ``losses_of`` for what it lacks.

    Parameters
    ----------
    network
        Neurons of any kind with equal synaptic time constants and exponential kernels.
    metadata
        Strings, numbers and arrays that are added to those of the graph.
    """
    nir = _nir()
    losses_of(network)
    n, neurons, backgrounds = network.n_units, network.neurons, network.backgrounds
    statistics = [membrane_statistics(neuron, background) for neuron, background in zip(neurons, backgrounds)]
    conductance = isinstance(neurons[0], LIF)
    g_tot = (
        np.array([s.g_tot for s in statistics]) if conductance else np.array([neuron.g_l for neuron in neurons])
    )
    tau_syn = np.array([neuron.tau_syn_exc for neuron in neurons])
    jumps = np.array([_jumps(neuron) for neuron in neurons])
    sources = max((len(background.rates) for background in backgrounds), default=0)
    rates, charges = np.zeros((sources, n)), np.zeros((sources, n))
    for k, background in enumerate(backgrounds):
        weights = np.asarray(background.weights)
        rates[: len(weights), k] = background.rates
        charges[: len(weights), k] = _currents(weights, jumps[k])
    # the mean of the background's current belongs to the inputs: the leak potential is what is left without it
    fed = tau_syn * (rates * 1e-3 * charges).sum(axis=0)
    v_leak = np.array([s.mu for s in statistics]) - fed / g_tot
    nodes: dict[str, Any] = {
        "neurons": nir.CubaLIF(
            # w_in = 1/tau_syn in NIR's equation makes a spike raise I by its weight
            tau_syn=tau_syn * MS,
            tau_mem=np.array([neuron.c_m for neuron in neurons]) / g_tot * MS,
            r=MOHM / g_tot,
            v_leak=v_leak * MV,
            v_threshold=np.array([neuron.v_thresh for neuron in neurons]) * MV,
            v_reset=np.array([neuron.v_reset for neuron in neurons]) * MV,
            w_in=tau_syn * MS,
        ),
        "spikes": nir.Output(output_type={"output": np.array([n])}),
    }
    edges = [("neurons", "spikes")]
    for k in range(sources):
        nodes[f"background-{k}"] = nir.Input(input_type={"input": np.array([n])})
        nodes[f"weights-{k}"] = nir.Linear(weight=np.diag(charges[k] * NA))
        edges += [(f"background-{k}", f"weights-{k}"), (f"weights-{k}", "neurons")]
    weights = network.weights.toarray() if is_sparse(network.weights) else np.asarray(network.weights)
    nodes["recurrent"] = nir.Linear(weight=_currents(weights, jumps.T[:, :, None]) * NA)
    edges += [("neurons", "recurrent")]
    if network.synapse.delay is not None:
        nodes["delay"] = nir.Delay(delay=np.full(n, network.synapse.delay * MS))
        edges += [("recurrent", "delay"), ("delay", "neurons")]
    else:
        edges += [("recurrent", "neurons")]
    held = {
        "tau_refrac": np.array([neuron.tau_refrac for neuron in neurons]) * MS,
        "background_rates": rates,
        "names": msgspec.json.encode(list(network.names)).decode(),
        "boltzspike": msgspec.json.encode(files.document(network, top=True)).decode(),
        **(metadata or {}),
    }
    return nir.NIRGraph(nodes=nodes, edges=edges, metadata=held)


def _jumps(neuron: Any) -> tuple[float, float]:
    """Return nA per unit of weight of an excitatory and of an inhibitory synapse, at threshold."""
    if isinstance(neuron, LIF):
        return neuron.e_rev_exc - neuron.v_thresh, neuron.e_rev_inh - neuron.v_thresh
    return 1.0, -1.0


def _currents(weights: Array, jumps: Array) -> Array:
    return np.where(weights > 0, weights * jumps[0], -weights * jumps[1])


def write_nir(
    translation: Translation,
    folder: str | os.PathLike[str],
    *,
    about: Mapping[str, Any],
    documents: Mapping[str, bytes],
    allow_loss: bool,
    force: bool,
) -> tuple[list[Loss], list[str]]:
    """Write ``network.nir`` and ``losses.txt``; return the losses and the names of the files."""
    nir = _nir()
    losses = losses_of(translation.network)
    check_losses("nir", losses, allow_loss)
    calibration = translation.calibration
    graph = to_nir(translation.network, metadata={"u0": calibration.u0 * MV, "alpha": calibration.alpha * MV})
    with writing_folder(folder, force=force) as partial:
        nir.write(partial / "network.nir", graph)
        (partial / "losses.txt").write_text("".join(f"{loss}\n" for loss in losses))
        write_contents(partial, "nir", about, documents)
    return losses, sorted(path.name for path in Path(folder).iterdir())


def from_nir(
    graph: Any,
    *,
    tau_refrac: float | None = None,
    rates: Any = None,
    metadata: bool = True,
) -> SpikingNetwork:
    """Return the network in a recurrent CubaLIF graph, or in a file of one.

    Parameters
    ----------
    graph
        A ``nir.NIRGraph`` or the path of a file: one CubaLIF node, fed by Linear nodes from Input nodes, from
        itself, or from itself through a Delay.
    tau_refrac
        Refractory period of all neurons, ms; ``None``: what the metadata says.
    rates
        Rates of the inputs, shape (inputs, units), Hz, inputs in the order of their names; ``None``: what the
        metadata says, or 0.
    metadata
        Whether a network that stands whole in the metadata is taken from there; it is then that which was written.
        False: what the graph says, current-based neurons with static synapses.

    Raises
    ------
    ValidationError
        Naming the node or edge that is not of this kind.
    """
    nir = _nir()
    where = "NIR graph" if isinstance(graph, nir.NIRGraph) else str(graph)
    if not isinstance(graph, nir.NIRGraph):
        try:
            graph = nir.read(graph)
        except Exception as error:  # h5py and nir each raise their own kinds on a damaged file
            raise ValidationError(f"{where}: can't be read as NIR ({error})") from None
    held = graph.metadata or {}
    if metadata and "boltzspike" in held:
        network = files.from_document(msgspec.json.decode(_text(held["boltzspike"])), f"{where}: metadata")
        require(
            isinstance(network, SpikingNetwork), f"{where}: metadata", "a SpikingNetwork", type(network).__name__
        )
        return network
    neurons = [name for name, node in graph.nodes.items() if isinstance(node, nir.CubaLIF)]
    require(len(neurons) == 1, f"{where}: nodes", "exactly one CubaLIF", neurons)
    known = (nir.CubaLIF, nir.Linear, nir.Delay, nir.Input, nir.Output)
    others = [
        f"{name} ({type(node).__name__})" for name, node in graph.nodes.items() if not isinstance(node, known)
    ]
    require(not others, f"{where}: nodes", "CubaLIF, Linear, Delay, Input or Output", others)
    cell = graph.nodes[neurons[0]]
    n = len(cell.tau_mem)
    if tau_refrac is None:
        require(
            "tau_refrac" in held, "tau_refrac", "given: NIR has no refractory period and the metadata none", None
        )
    refractory = np.broadcast_to(held["tau_refrac"] / MS if tau_refrac is None else tau_refrac, n)
    synaptic = cell.w_in / cell.tau_syn / NA
    recurrent, delay = np.zeros((n, n)), None
    inputs: dict[str, Array] = {}
    for source, linear in graph.edges:
        if not isinstance(graph.nodes[linear], nir.Linear):
            continue
        onward = [target for before, target in graph.edges if before == linear]
        if len(onward) == 1 and isinstance(graph.nodes[onward[0]], nir.Delay):
            delay = np.unique(graph.nodes[onward[0]].delay / MS)
            require(len(delay) == 1, f"{where}: {onward[0]}.delay", "one for all synapses", delay.tolist())
            onward = [target for before, target in graph.edges if before == onward[0]]
        require(onward == neurons, f"{where}: edges of {linear}", f"one to {neurons[0]}", onward)
        weight = graph.nodes[linear].weight * synaptic[:, None]
        if source == neurons[0]:
            recurrent += weight
        else:
            require(isinstance(graph.nodes[source], nir.Input), f"{where}: {source}", "an Input", source)
            diagonal = weight.shape == (n, n) and not np.any(weight - np.diag(np.diag(weight)))
            require(diagonal, f"{where}: {linear}.weight", "diagonal: an input a unit", weight.shape)
            inputs[source] = np.diag(weight)
    order = sorted(inputs, key=lambda name: (len(name), name))
    if rates is None:
        rates = held.get("background_rates", np.zeros((len(order), n)))
    rates = np.asarray(rates, dtype=np.float64)
    require(rates.shape == (len(order), n), "rates", f"of shape {(len(order), n)}", rates.shape)
    charges = np.array([inputs[name] for name in order]).reshape(len(order), n)
    c_m = cell.tau_mem / cell.r * MOHM / MS
    return SpikingNetwork(
        neurons=[
            CurrentLIF(
                c_m=c_m[k], tau_m=cell.tau_mem[k] / MS, v_rest=cell.v_leak[k] / MV, v_reset=cell.v_reset[k] / MV,
                v_thresh=cell.v_threshold[k] / MV, tau_refrac=float(refractory[k]),
                tau_syn_exc=cell.tau_syn[k] / MS, tau_syn_inh=cell.tau_syn[k] / MS,
            )
            for k in range(n)
        ],
        backgrounds=[PoissonBackground(rates=rates[:, k], weights=charges[:, k]) for k in range(n)],
        weights=recurrent,
        synapse=Synapse(plasticity="additive", delay=None if delay is None else float(delay[0])),
        names=msgspec.json.decode(_text(held["names"])) if "names" in held else None,
    )  # fmt: skip


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
