"""Where the bias of a result comes from: error_budget(), by simulations of the network with one thing changed."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from boltzspike.calibration import Calibration
from boltzspike.diagnostics import MIN_BLOCKS, block_joint, joint, kl_of_blocks
from boltzspike.errors import UnsupportedFeature, ValidationError, require
from boltzspike.model.background import PoissonBackground
from boltzspike.model.boltzmann import Machine, clamp_indices
from boltzspike.model.description import Array
from boltzspike.model.network import SpikingNetwork
from boltzspike.model.neuron import LIF, CurrentLIF
from boltzspike.model.synapse import Synapse
from boltzspike.pipeline.responses import calibrate
from boltzspike.pipeline.running_networks import run_network
from boltzspike.result import Result
from boltzspike.samples import Record, Samples
from boltzspike.theory.exact import all_states, exact_joint
from boltzspike.theory.inverse import MAX_UNITS, pair_cells
from boltzspike.theory.membrane import membrane_statistics
from boltzspike.theory.predict import predict
from boltzspike.translation.budget import Budget, mean_trace
from boltzspike.translation.budget import error_budget as compute_budget


def check_budget(
    machine: Machine,
    *,
    clamp: Mapping[int | str, int],
    calibration: Calibration | None,
    synapse: Synapse | None,
    states: bool,
    clamping: str,
    plain: bool,
    chains: int,
    draws: float,
) -> None:
    """Raise where ``error_budget`` could say nothing about a run: asked before it, and again of its result.

    Parameters
    ----------
    machine, clamp, calibration, synapse, clamping, chains
        As in ``sample``; no calibration: no LIF neurons.
    states
        Whether those of every draw are recorded.
    plain
        Whether there are no changing inputs or evidence, no shared background and no delays of single synapses.
    draws
        Of each chain.
    """
    if calibration is None:
        raise ValidationError("error_budget: needs a result of LIF neurons, made by this version")
    neuron, synapse = calibration.neuron, synapse or Synapse()
    one_time = neuron.tau_syn_exc == neuron.tau_syn_inh and neuron.kernel == "exponential"
    known = synapse.plasticity in ("renewing", "additive") and synapse.teeth is None
    if not (one_time and known and plain and clamping == "bias"):
        raise UnsupportedFeature(
            "error_budget: needs exponential synapses of one time constant, renewing or additive, without teeth; "
            "clamping='bias'; and no changing evidence or input, shared background or delays of single synapses"
        )
    if not states:
        raise ValidationError("error_budget: needs the states of every draw; record='states' keeps them")
    target, free = machine.given(clamp_indices(machine, clamp))
    require(len(free) <= MAX_UNITS, "error_budget", f"of at most {MAX_UNITS} free units", len(free))
    rarest = float(pair_cells(exact_joint(target.to_boltzmann())).min())
    seen = rarest * draws * chains
    if seen < _SEEN:
        raise ValidationError(
            f"error_budget: the rarest state of a unit or a pair, of probability {rarest:.2g}, would be seen "
            f"{seen:.2g} times; take at least {_SEEN / seen:.3g} times the duration or the chains"
        )


_SEEN = 50
"""Times that a run should see each state of a unit or a pair, to fit a machine to it."""


def error_budget(result: Result, *, duration: float | None = None, threads: int | None = None) -> Budget:
    """Return how much of the bias of a result comes from which idealisation that the network gives up.

    The network is simulated again with one thing changed: memoryless units with its PSPs, and with its response;
    current-based neurons of the same mean membrane and noise; the delay longer by
    a step; half the step.

    Parameters
    ----------
    result
        Of ``sample`` with LIF neurons, exponential synapses of one time constant, and at most 12 free units, its
        states recorded; ``check_budget`` says before a run whether it can have a budget.
    duration
        Biological time per chain of each variant in ms; ``None``: that of the result.
    """
    from boltzspike import abstract

    calibration, network, translation = result.calibration, result.network, result.translation
    how = result.configuration
    lif = calibration is not None and network is not None and translation is not None
    sampled = how["sampled_ms"]
    if result.machine is None:
        raise ValidationError("error_budget: needs a result of LIF neurons that a target was translated to")
    check_budget(
        result.machine,
        clamp=dict(result.clamp.items()),
        calibration=calibration if lif else None,
        synapse=network.synapse if network is not None else None,
        states=result.samples.packed is not None,
        clamping=how["clamping"],
        plain=network is None or not (len(network.schedule) or len(network.shared) or network.delays is not None),
        chains=how["chains"],
        draws=min(sampled / how["draw_every_ms"], np.inf if duration is None else duration / how["draw_every_ms"]),
    )
    assert calibration is not None
    assert network is not None
    assert translation is not None
    neuron, synapse = calibration.neuron, network.synapse
    dt, chains, target = how["dt_ms"], how["chains"], result.target().to_boltzmann()
    duration = sampled if duration is None else duration
    tau, n = round(neuron.tau_refrac / dt), target.n_units
    weights, biases = np.asarray(translation.effective_weights), np.asarray(translation.effective_biases)

    def grouped(samples: Samples) -> Array:
        states = samples.states
        assert states is not None
        if chains < MIN_BLOCKS:
            return block_joint(states)
        return np.stack([joint(group) for group in np.array_split(states, MIN_BLOCKS)])

    def simulated(of: SpikingNetwork, step: float = dt) -> Array:
        every = Record(states_every=round(neuron.tau_refrac / step))
        seed = how["seed"] + 1
        return grouped(
            run_network(of, duration, chains, step, seed, how["engine"], threads, every, burn_in=1000.0)[0]
        )

    curve_at = np.linspace(-9, 9, 37)
    mu = calibration.u0 + calibration.alpha * curve_at
    p_of_u, _ = predict(neuron, calibration.background, mu, method="density")

    trace: Any = synapse.plasticity

    def memoryless(response: Callable[[Array], Array]) -> Array:
        runner = abstract.Neural(
            weights, biases, tau=tau, response=response, trace=trace, tau_syn=neuron.tau_syn_exc / dt,
            dt=dt, threads=threads or os.cpu_count() or 1,
        )  # fmt: skip
        _, state = runner.run(runner.init(seed=how["seed"], chains=chains), 100 * tau, Record())
        return grouped(runner.run(state, round(duration / dt), Record(states_every=tau))[0])

    delay = dt if synapse.delay is None else synapse.delay
    late = dataclasses.replace(synapse, delay=delay + dt)
    fine = dataclasses.replace(synapse, delay=delay)
    with_currents = translation
    if isinstance(neuron, LIF):
        with_currents = dataclasses.replace(translation, calibration=_current_based(calibration))
    variants = {
        "traces": memoryless(lambda u: 1 / (1 + np.exp(-u))),
        "response": memoryless(lambda u: np.interp(u, curve_at, p_of_u)),
        "currents": simulated(with_currents.network),
        "delay": simulated(dataclasses.replace(network, synapse=late)),
        "step": simulated(dataclasses.replace(network, synapse=fine), dt / 2),
        "network": grouped(result.samples),
    }
    marginals = variants["network"].mean(axis=0) @ all_states(n)
    traces = mean_trace(marginals, tau, neuron.tau_syn_exc / dt, synapse.plasticity == "renewing")
    blocks, exact = variants["network"], exact_joint(target)
    without = np.array([kl_of_blocks(np.delete(blocks, g, axis=0), exact).bias for g in range(len(blocks))])
    divergence = result.kl_divergence()
    return compute_budget(
        target, variants, weights @ (traces - marginals), (weights, biases), bias=divergence.bias,
        bias_without=without, bias_error=divergence.error, floor=divergence.floor,
    )  # fmt: skip


def _current_based(calibration: Calibration) -> Calibration:
    """Return the calibration of a current-based neuron of the same mean membrane and the same noise."""
    neuron, background = calibration.neuron, calibration.background
    assert isinstance(neuron, LIF)
    rates, weights = np.asarray(background.rates), np.asarray(background.weights)
    reversal = np.where(weights > 0, neuron.e_rev_exc, neuron.e_rev_inh)
    same = CurrentLIF(
        c_m=neuron.c_m,
        tau_m=membrane_statistics(neuron, background).tau_eff,
        v_rest=neuron.v_rest,
        v_reset=neuron.v_reset,
        v_thresh=neuron.v_thresh,
        tau_refrac=neuron.tau_refrac,
        tau_syn_exc=neuron.tau_syn_exc,
        tau_syn_inh=neuron.tau_syn_inh,
    )
    currents = PoissonBackground(rates=rates, weights=np.abs(weights) * (reversal - neuron.v_thresh))
    return calibrate(same, currents, control="v_rest")
