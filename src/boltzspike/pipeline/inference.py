"""What a trained machine says about evidence, sample after sample: names of classes, the rest of a picture.

Every row of evidence is a run of its own with the same seed: what is said about it depends on nothing but itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, get_args

import numpy as np

from boltzspike.calibration import Calibration
from boltzspike.errors import UnsupportedFeature, require
from boltzspike.model.boltzmann import BoltzmannMachine, Machine, RestrictedBoltzmannMachine
from boltzspike.model.description import Array
from boltzspike.pipeline.responses import default_calibration
from boltzspike.pipeline.running_networks import check_dt
from boltzspike.pipeline.training import on_hardware
from boltzspike.pipeline.translations import with_network
from boltzspike.samples import Record
from boltzspike.theory.exact import exact_marginals_given
from boltzspike.training.hardware import Hardware
from boltzspike.training.models import HIDDEN, LABEL, binary
from boltzspike.translation import translate
from boltzspike.translation.working_point import ENUMERATED_UNITS, WorkingPoint, enumerated

InferenceEngine = Literal["exact", "gibbs", "lif"]
_POINT_CHAINS, _POINT_SWEEPS = 64, 12


def infer(
    machine: Machine,
    evidence: Array,
    units: Sequence[int],
    *,
    engine: InferenceEngine = "lif",
    calibration: Calibration | None = None,
    rule: str | None = None,
    duration: float = 1000.0,
    burn_in: float = 200.0,
    chains: int = 16,
    dt: float = 0.1,
    seed: int = 0,
    threads: int | None = None,
    hardware: Hardware | None = None,
) -> Array:
    """Return p(z = 1) of all units given each row of evidence, shape (rows, n); what is given stands as it is.

    Parameters
    ----------
    machine
        The machine.
    evidence
        0 or 1, shape (rows, len(units)).
    units
        Indices of the units that the columns are about.
    engine
        ``"exact"``: summed where that is in reach. ``"gibbs"``: sampled, a sweep counts as a refractory period.
        ``"lif"``: the network of LIF neurons of the machine under this evidence, translated for each row.
    calibration, rule, dt, threads
        As in ``sample``, for ``"lif"``.
    duration, burn_in, chains, seed
        Of the sampling for each row, ms of each chain.
    hardware
        What the substrate does to the parameters of the LIF network; without losses of spikes.
    """
    known = get_args(InferenceEngine)
    require(engine in known, "engine", f"one of {', '.join(known)}", engine)
    units = [int(unit) for unit in units]
    evidence = binary(evidence, "evidence", len(units)).astype(np.int8)
    inside = len(set(units)) == len(units) and all(0 <= unit < machine.n_units for unit in units)
    require(inside, "units", f"different units in 0 .. {machine.n_units - 1}", units)
    for name, value in (("duration", duration), ("burn_in", burn_in)):
        require(bool(np.isfinite(value)) and value >= (name == "duration"), name, ">= 0 ms, duration > 0", value)
    clamps = [dict(zip(units, row.tolist())) for row in evidence]
    if engine == "exact":
        found = exact_marginals_given(machine, clamps)
        if found is None:
            raise UnsupportedFeature("infer(engine='exact'): the machine is too large; take 'gibbs'")
        return found
    means = np.zeros((len(evidence), machine.n_units))
    means[:, units] = evidence
    plain = machine.to_boltzmann()
    weights = np.asarray(plain.weights)
    free = np.setdiff1d(np.arange(plain.n_units), units)
    inner = weights[np.ix_(free, free)]
    biases = np.asarray(plain.biases)[free] + evidence @ weights[units][:, free]
    calibration = with_network(calibration or default_calibration())
    if engine == "gibbs":
        sweeps, first = (round(time / calibration.neuron.tau_refrac) for time in (duration, burn_in))
        runs = _Gibbs(inner, chains=chains, sweeps=max(sweeps, 1), burn_in=first, seed=seed)
        means[:, free] = [runs.states(bias).mean(axis=0) for bias in biases]
        return means
    spiking = _Spiking(
        inner, calibration, rule=rule, duration=duration, burn_in=burn_in, chains=chains, dt=dt, seed=seed,
        threads=threads, hardware=hardware or Hardware(),
    )  # fmt: skip
    for row, bias in enumerate(biases):
        means[row, free] = spiking.means(bias)
    return means


class _Gibbs:
    """Samples machines of one set of weights and many of biases."""

    def __init__(self, weights: Array, *, chains: int, sweeps: int, burn_in: int, seed: int) -> None:
        self.weights, self.chains, self.sweeps, self.burn_in, self.seed = weights, chains, sweeps, burn_in, seed

    def states(self, biases: Array) -> Array:
        """Return the states (draws, n) of all chains after the burn-in."""
        from boltzspike.abstract import Gibbs

        runner = Gibbs(self.weights, biases)
        _, state = runner.run(runner.init(seed=self.seed, chains=self.chains), self.burn_in, Record())
        samples, _ = runner.run(state, self.sweeps, Record(states_every=1))
        assert samples.states is not None
        return samples.states.reshape(-1, len(biases))


class _Spiking:
    """Runs LIF networks of machines of one set of weights and many of biases; compiled once."""

    def __init__(
        self, weights: Array, calibration: Calibration, *, rule: str | None, duration: float, burn_in: float,
        chains: int, dt: float, seed: int, threads: int | None, hardware: Hardware,
    ) -> None:  # fmt: skip
        from boltzspike.pipeline.training import SpikingChains

        check_dt(calibration, dt)
        require(hardware.spike_loss == 0, "Hardware.spike_loss", "0 here", hardware.spike_loss)
        self.weights, self.rule, self.hardware = weights, rule, hardware
        self.chains, self.seed = chains, seed
        self.network = SpikingChains(calibration=calibration, rule=rule, dt=dt, threads=threads, hardware=hardware)
        self.steps, self.first = round(duration / dt), round(burn_in / dt)
        self.gibbs = _Gibbs(weights, chains=_POINT_CHAINS, sweeps=_POINT_SWEEPS, burn_in=_POINT_SWEEPS, seed=seed)

    def means(self, biases: Array) -> Array:
        """Return the share of time that each neuron is on."""
        machine = BoltzmannMachine(weights=self.weights, biases=biases)
        if machine.n_units <= ENUMERATED_UNITS:
            point = enumerated(machine)
        else:
            point = WorkingPoint.of_samples(self.gibbs.states(biases), "Gibbs sampling")
        made = translate(
            machine, self.network.calibration, synapse=self.network.synapse, rule=self.rule,
            states_of=lambda _: point,
        )  # fmt: skip
        runner = self.network.runner(on_hardware(made, self.hardware))
        _, state = runner.run(runner.init(seed=self.seed, chains=self.chains), self.first, Record())
        samples, _ = runner.run(state, self.steps, Record(occupancy=True))
        assert samples.gathered is not None
        occupancy = samples.gathered.occupancy
        assert occupancy is not None
        return np.asarray(occupancy.shares(1).mean(axis=(0, 1)))[: machine.n_units]


def held_label(machine: Machine, label: int) -> dict[int | str, int]:
    """Return the clamp that holds one label unit at 1 and the others at 0."""
    units = label_units(machine)
    require(0 <= label < len(units), "label", f"in 0 .. {len(units) - 1}", label)
    return {unit: int(k == label) for k, unit in enumerate(units)}


def last_states(machine: Machine, states: Array) -> dict[str, Array]:
    """Return what chains (chains, draws, n) show at their end: pixels and, of a class RBM, the label units."""
    hidden = [name.startswith(HIDDEN) for name in machine.names or ()]
    visible = hidden.index(True) if True in hidden else len(hidden)
    if isinstance(machine, RestrictedBoltzmannMachine):
        visible = machine.n_visible
    last = states[:, -1, :visible]
    labels = [k for k, name in enumerate(machine.names or ()) if name.startswith(LABEL)]
    first = labels[0] if labels else visible
    return {"pixels": last[:, :first]} | ({"label_units": last[:, first:]} if labels else {})


def label_units(machine: Machine) -> list[int]:
    """Return the units whose names say that they are labels, in their order."""
    found = [k for k, name in enumerate(machine.names or ()) if name.startswith(LABEL)]
    require(len(found) > 1, "machine.names", f"of at least two units that begin with {LABEL!r}", len(found))
    return found


def classify(machine: Machine, pixels: Array, **options: Any) -> Array:
    """Return the share of each class, (rows, labels), given the visible units before the labels.

    It is p(label = 1) of each label unit, normalised over the labels. Options as in ``infer``.
    """
    labels = label_units(machine)
    means = infer(machine, pixels, range(labels[0]), **options)[:, labels]
    total = means.sum(axis=1, keepdims=True)
    return np.where(total > 0, means / np.where(total > 0, total, 1), 1 / len(labels))
