"""train(): learning with spiking networks, or samplers without membranes, in the loop."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from typing import Any

import numpy as np

from boltzspike.calibration import Calibration
from boltzspike.engines import get_engine
from boltzspike.errors import UnsupportedFeature, ValidationError, require
from boltzspike.model.boltzmann import BoltzmannMachine, Machine
from boltzspike.model.description import Array
from boltzspike.model.network import SpikingNetwork
from boltzspike.model.schedule import Piecewise
from boltzspike.model.synapse import Synapse
from boltzspike.pipeline.responses import default_calibration
from boltzspike.pipeline.running_networks import check_dt
from boltzspike.pipeline.translations import with_network
from boltzspike.program import Program, compile_program
from boltzspike.samples import Record
from boltzspike.training import models, trainer
from boltzspike.training.hardware import Hardware, with_relays
from boltzspike.training.models import Model, Statistics
from boltzspike.training.samplers import ExactSampler, Key, LayerGibbs, Sampler, State, Tempered, UnitSampler
from boltzspike.training.trainer import Epoch, Monitor, Settings, Trained
from boltzspike.translation import Translation, translate
from boltzspike.translation.psp import network_of, synaptic_weights
from boltzspike.translation.working_point import WorkingPoint

SAMPLERS = ("gibbs", "tempered", "buesing", "exact", "lif")


def train(
    model: Model | Machine,
    data: Array,
    *,
    sampler: str | Sampler = "gibbs",
    n_visible: int | None = None,
    settings: Settings | None = None,
    monitor: Monitor | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int | None = None,
    resume: str | os.PathLike[str] | None = None,
    **spiking: Any,
) -> Trained:
    """Train a machine on binary data.

    Parameters
    ----------
    model
        Where to begin: of ``boltzspike.training`` (``restricted``, ``class_rbm``, ``layered``, ``full``), or a
        machine, whose couplings that are not 0 are trained.
    data
        Shape (m, visible), 0 or 1.
    sampler
        ``"gibbs"``, ``"tempered"`` (parallel tempering; RBMs), ``"buesing"``, ``"exact"`` (small machines),
        ``"lif"`` (``SpikingChains``), or any object with their methods.
    n_visible
        Of a ``BoltzmannMachine``.
    settings, monitor, on_epoch, checkpoint, checkpoint_every, resume
        See ``training.train``.
    spiking
        Options of ``SpikingChains`` with ``sampler="lif"``.
    """
    if not isinstance(model, Model):
        model = models.model_of(model, n_visible)
    if isinstance(sampler, str):
        require(sampler in SAMPLERS, "sampler", f"one of {', '.join(SAMPLERS)}, or a sampler", sampler)
        allowed = "left out: they are options of sampler='lif'"
        require(sampler == "lif" or not spiking, ", ".join(spiking), allowed, sampler)
        sampler = _sampler(sampler, model, spiking)
    return trainer.train(
        model, data, sampler, settings, monitor=monitor, on_epoch=on_epoch, checkpoint=checkpoint,
        checkpoint_every=checkpoint_every, resume=resume,
    )  # fmt: skip


def _sampler(name: str, model: Model, spiking: dict[str, Any]) -> Sampler:
    if name == "lif":
        return SpikingChains(**spiking)
    if name == "exact":
        return ExactSampler()
    if name == "tempered":
        return Tempered()
    if name == "buesing":
        return UnitSampler("buesing")
    return LayerGibbs() if model.restricted else UnitSampler("gibbs")


class SpikingChains:
    """A network of LIF neurons in the loop, as a sampler for training.

    Its chains persist: between updates only weights and biases of the running network change. A step of the free
    phase is one refractory period. The translation follows the model in every update; its working point are the
    states that the chains visited last. As the free phase is what the spiking network really does, training
    learns away the network's own systematic error.

    Parameters
    ----------
    calibration, rule, synapse, engine, dt, threads
        As in ``sample``.
    data_phase
        ``"exact"``: the hidden units of an RBM given data, by their probabilities. ``"spikes"``: wake and sleep
        both in spikes; a copy of the network sees one sample after the other, its visible neurons held (firing at
        every chance, or never), its hidden neurons free.
    shown
        Refractory periods for which a sample is shown in a data phase in spikes; the first third is not counted.
    burn_in
        Of the chains when they start, ms.
    hardware
        Limits and imperfections of the substrate, in the loop.
    """

    def __init__(
        self,
        *,
        calibration: Calibration | None = None,
        rule: str | None = None,
        synapse: Synapse | None = None,
        engine: str = "numba",
        dt: float = 0.1,
        threads: int | None = None,
        data_phase: str = "exact",
        shown: int = 12,
        burn_in: float = 500.0,
        hardware: Hardware | None = None,
    ) -> None:
        calibration = with_network(calibration or default_calibration())
        check_dt(calibration, dt)
        require(data_phase in ("exact", "spikes"), "data_phase", "'exact' or 'spikes'", data_phase)
        require(shown >= 3, "shown", "at least 3 refractory periods", shown)
        require(np.isfinite(burn_in) and burn_in >= 0, "burn_in", ">= 0 ms", burn_in)
        self.calibration, self.rule, self.dt = calibration, rule, dt
        self.synapse = synapse or Synapse()
        self.engine = get_engine(engine, threads=threads)
        self.data_phase, self.shown, self.burn_in = data_phase, shown, burn_in
        self.hardware = hardware or Hardware()
        if self.hardware.spike_loss > 0:
            allowed = (
                "None with Hardware.spike_loss: which spikes are lost is drawn anew before the last of them arrive"
            )
            require(self.synapse.teeth is None, "Synapse.teeth", allowed, self.synapse.teeth)
        self.tau = round(calibration.neuron.tau_refrac / dt)
        self.name = f"lif-{engine}-{data_phase}"
        self._program: Program | None = None

    def start(self, model: Model, *, chains: int, seed: int) -> State:
        """Start the chains and let them burn in."""
        rng = np.random.default_rng([seed, 0x51A])
        _, biases = model.plain()
        p = 1 / (1 + np.exp(-np.clip(biases, -30, 30)))
        recent = (rng.random((max(256, chains), model.n_units)) < p).astype(np.int8)
        runner = self.runner(self.translation(model, recent))
        state = runner.init(seed=seed, chains=chains)
        steps = max(round(self.burn_in / self.dt), self.tau)
        samples, state = runner.run(state, steps, Record(states_every=self.tau))
        return _to_arrays(state) | {"recent": _latest(samples.states[:, :, : model.n_units])}

    def given(self, model: Model, visible: Array, state: State, key: Key) -> tuple[Statistics, State]:
        """Return the statistics of the data phase."""
        if self.data_phase == "exact":
            return (LayerGibbs() if model.restricted else UnitSampler()).given(model, visible, state, key)
        hidden = self.hidden_given(model, visible, state["recent"], key)
        return model.statistics(np.concatenate([visible, hidden], axis=1).astype(float)), state

    def free(
        self, model: Model, state: State, key: Key, *, steps: int, initial: Array | None = None
    ) -> tuple[Statistics, State]:
        """Return the statistics over ``steps`` refractory periods of the chains."""
        if initial is not None:
            raise UnsupportedFeature(
                "SpikingChains: a running network can't be set to data; take method='pcd' or 'fast-pcd'"
            )
        z, after = self.draws(self.translation(model, state["recent"]), state, steps, key)
        z = z.reshape(-1, model.n_units)
        return dataclasses.replace(model.statistics(z.astype(float)), states=z), after

    def draws(self, translation: Translation, state: State, steps: int, key: Key) -> tuple[Array, State]:
        """Return the states (chains, steps, n) of the chains, a refractory period apart, and the state after."""
        if self.hardware.spike_loss == 0:
            runner = self.runner(translation)
            samples, after = runner.run(
                _from_arrays(state, runner), steps * self.tau, Record(states_every=self.tau)
            )
            z = samples.states
        else:
            z, after = self._with_losses(translation, state, steps, key)
        z = z[:, :, : translation.machine.n_units]  # behind them come relays
        return z, _to_arrays(after) | {"recent": _latest(z)}

    def _with_losses(self, translation: Translation, state: State, steps: int, key: Key) -> tuple[Array, Any]:
        """Lose spikes: which synapses are dead is drawn anew every refractory period.

        No neuron spikes twice in a refractory period, so each spike meets each of its synapses dead or alive
        independently; all chains of an update share the draw.
        """
        rng = np.random.default_rng([*key, 0x105])
        program = self._values(translation)
        runner = self.engine.prepare(program)
        current, parts = _from_arrays(state, runner), []
        weights = np.asarray(program.weights)
        for _ in range(steps):
            alive = rng.random(weights.shape) >= self.hardware.spike_loss
            runner = self.engine.prepare(program.with_values(weights=weights * alive))
            samples, current = runner.run(current, self.tau, Record(states_every=self.tau))
            assert samples.states is not None
            parts.append(samples.states)
        return np.concatenate(parts, axis=1), current

    def translation(self, model: Model, recent: Array) -> Translation:
        """Return the translation of the model at the working point of these states, as the substrate keeps it."""
        weights, biases = model.plain()
        machine = BoltzmannMachine(weights=weights, biases=biases, names=model.names)
        point = WorkingPoint.of_samples(recent, "the chains' last states")
        made = translate(
            machine, self.calibration, synapse=self.synapse, rule=self.rule, states_of=lambda _: point
        )
        return on_hardware(made, self.hardware)

    def hidden_given(self, model: Model, visible: Array, recent: Array, key: Key) -> Array:
        """Return the share of time that each hidden neuron is on while samples are shown, (m, hidden)."""
        translation = self.translation(model, recent)
        network, shown = self._network(translation), self.shown * self.tau
        times = np.arange(len(visible)) * shown * self.dt
        held = Piecewise(quantity="clamp", times=times, values=visible, units=range(model.n_visible))
        program = compile_program(dataclasses.replace(network, schedule=(held,)), dt=self.dt)
        runner = self.engine.prepare(program)
        seed = int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0])
        # held neurons fire in step, so draws must not: 7 and 10 have no common divisor
        every = max(self.tau * 7 // 10, 1)
        samples, _ = runner.run(runner.init(seed=seed, chains=1), len(visible) * shown, Record(states_every=every))
        assert samples.states is not None
        z = samples.states[0, :, model.n_visible : model.n_units]
        end = every * (1 + np.arange(len(z))) - 1
        row, within = end // shown, end % shown
        counted = within >= shown // 3
        sums = np.zeros((len(visible), model.n_hidden))
        np.add.at(sums, row[counted], z[counted])
        return np.asarray(sums / np.bincount(row[counted], minlength=len(visible))[:, None])

    def _parameters(self, translation: Translation) -> tuple[Array, Array]:
        """Return effective weights and biases of all neurons, relays included."""
        weights, biases = np.asarray(translation.effective_weights), np.asarray(translation.effective_biases)
        return with_relays(weights, biases) if self.hardware.signs == "relay" else (weights, biases)

    def _network(self, translation: Translation) -> SpikingNetwork:
        network = network_of(*self._parameters(translation), self.calibration, self.synapse)
        synapse = dataclasses.replace(network.synapse, jitter=network.synapse.jitter + self.hardware.spike_jitter)
        delays = self.hardware.delays(network.n_units, self.dt)
        return dataclasses.replace(network, synapse=synapse, delays=delays)

    def runner(self, translation: Translation) -> Any:
        """Return the network of a translation, ready to run; nothing is compiled again."""
        return self.engine.prepare(self._values(translation))

    def _values(self, translation: Translation) -> Program:
        """Return the program with the values of a translation; its structure is compiled once."""
        weights, biases = self._parameters(translation)
        if self._program is None or self._program.n_units != len(biases):
            self._program = compile_program(self._network(translation), dt=self.dt)
            return self._program
        c = self.calibration
        values: dict[str, Any] = {"weights": synaptic_weights(weights, c, teeth=self.synapse.teeth)}
        if c.control == "balance":
            low, high = c.bias_range
            require(low <= biases.min() and biases.max() <= high, "bias", f"in {low:.3g} .. {high:.3g}", biases)
            program = compile_program(self._network(translation), dt=self.dt)
            values["background_rates"] = program.background_rates
        else:
            values[c.control] = [c.control_at(float(bias)) for bias in biases]
        return self._program.with_values(**values)


def on_hardware(translation: Translation, hardware: Hardware) -> Translation:
    """Return the translation with the parameters that the substrate keeps of it."""
    weights, biases = hardware.written(
        np.asarray(translation.effective_weights), np.asarray(translation.effective_biases)
    )
    return dataclasses.replace(translation, effective_weights=weights, effective_biases=biases)


_RECENT, _RECENT_STATES = 2**18, 1024
"""Numbers, and at least states, kept for the working point: its noise becomes one of the translation."""


def _latest(states: Array | None) -> Array:
    """Return the last states of all chains."""
    assert states is not None
    chains, _, n = states.shape
    kept = states[:, -max(max(_RECENT // n, _RECENT_STATES) // chains, 1) :]
    return np.ascontiguousarray(kept.reshape(-1, n))


def _to_arrays(state: Any) -> State:
    return {f"engine-{f.name}": np.asarray(getattr(state, f.name)) for f in dataclasses.fields(state)}


def _from_arrays(arrays: State, runner: Any) -> Any:
    """Return the state of an engine; where an integer was, one is again."""
    chains = len(arrays["engine-last_spike"])
    like = runner.init(seed=int(arrays["engine-seed"]), chains=chains)
    missing = [f.name for f in dataclasses.fields(like) if f"engine-{f.name}" not in arrays]
    if missing:
        raise ValidationError(
            "Settings.learning_rate: training has left what the running network can follow; its new parameters "
            f"need another path of the engine ({runner.approximation}); lower the rate"
        )
    values = {}
    for f in dataclasses.fields(like):
        found, expected = arrays[f"engine-{f.name}"], getattr(like, f.name)
        values[f.name] = found if isinstance(expected, np.ndarray) else type(expected)(found)
    return dataclasses.replace(like, **values)
