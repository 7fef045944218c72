"""What has networks in the loop: calibrate_network(), tune(); the working point of a target."""

from __future__ import annotations

import dataclasses
import functools
import importlib.resources
import itertools
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

import numpy as np

from boltzspike import files
from boltzspike.calibration import Calibration
from boltzspike.compilation import REACH, compile_bayes
from boltzspike.diagnostics import joint
from boltzspike.engines import Engine
from boltzspike.errors import (
    BoltzspikeWarning,
    UnsupportedFeature,
    ValidationError,
    require,
    suggestion,
)
from boltzspike.inputs import Initial
from boltzspike.model import presets
from boltzspike.model.boltzmann import BoltzmannMachine, Machine, RestrictedBoltzmannMachine, clamp_indices
from boltzspike.model.description import Array
from boltzspike.model.network import SpikingNetwork
from boltzspike.model.networks import random_network
from boltzspike.model.synapse import Synapse
from boltzspike.pipeline.responses import default_calibration
from boltzspike.pipeline.running_networks import Progress, check_dt, run_network, sample_abstract, whole
from boltzspike.samples import Record
from boltzspike.theory import mixing
from boltzspike.theory.exact_samples import LARGEST_COVER, cover, exact_samples
from boltzspike.translation import Translation, translate
from boltzspike.translation.conditionals import Conditionals
from boltzspike.translation.held import HeldConditionals
from boltzspike.translation.psp import network_of
from boltzspike.translation.sweeps import SWEEPS, Sweep, Sweeps
from boltzspike.translation.teaching import FAMILIES, Example, network_calibration, teach
from boltzspike.translation.tuned import GROUPS, Covariance, Demand, Sampler, Step, coupled_pairs
from boltzspike.translation.tuned import tune as tune_in_the_loop
from boltzspike.translation.working_point import ENUMERATED_UNITS, WorkingPoint, enumerated

DEMANDS = ("conditionals", "moments", "sweeps")
"""What ``tune`` can tune to; as a rule of ``sample`` it tunes the network before it samples."""
_TUNING_DURATION, _TUNING_BURN_IN, _TUNING_STEPS, _TUNING_TOLERANCE = 2e4, 1000.0, 16, 1e-4


def with_network(calibration: Calibration) -> Calibration:
    """Return the calibration with the learned rule of the preset of the same neuron, if it holds none."""
    if calibration.network is not None:
        return calibration
    for name in presets.ALL:
        known = shipped(name)
        if known is not None and known.same_neuron(calibration):
            return dataclasses.replace(calibration, network=known.network)
    return calibration


@functools.cache
def shipped(preset: str) -> Calibration | None:
    """Return the calibration, with its learned rule, that ships for a preset."""
    file = importlib.resources.files("boltzspike") / "calibrations" / f"{preset}.json"
    if not file.is_file():
        return None
    with importlib.resources.as_file(file) as path:
        calibration: Calibration = files.read(path)
    return calibration


def translation_of(
    machine: BoltzmannMachine,
    rule: str | Translation | None,
    calibration: Calibration,
    synapse: Synapse | None,
    held: Mapping[int, int],
    **tuning: Any,
) -> Translation:
    """Return the translation that ``rule`` gives or is; units in ``held`` are simulated at these values.

    A rule in ``DEMANDS`` tunes the network, with these options of ``tune``.
    """
    if isinstance(rule, Translation):
        _check_target("rule", rule, machine)
        translation = rule
    elif rule in DEMANDS:
        if held:
            raise UnsupportedFeature(f"rule: {rule!r} tunes the machine under the evidence: clamping='bias' only")
        # it warns itself
        return tune(
            machine, to=rule, calibration=calibration, synapse=synapse, duration=_TUNING_DURATION,
            tolerance=_TUNING_TOLERANCE, **tuning,
        )  # fmt: skip
    else:
        states_of = functools.partial(working_point, clamp=held)
        known = with_network(calibration)
        translation = translate(machine, known, synapse=synapse, rule=rule, states_of=states_of)
    for text in translation.warnings:
        warnings.warn(text, BoltzspikeWarning, stacklevel=3)
    return translation


def check_made_for(
    where: str, translation: Translation, calibration: Calibration | None, synapse: Synapse | None
) -> None:
    """Raise where another neuron, background or synapse is asked for than those a translation was made for."""
    if calibration is not None and not translation.calibration.same_neuron(calibration):
        raise ValidationError(
            f"{where}: the translation was made for another neuron or background than that of the calibration; "
            "leave that out (--neuron), or make one for it"
        )
    if synapse is not None and synapse != translation.synapse:
        raise ValidationError(
            f"{where}: the translation was made for {translation.synapse}, not for {synapse}; leave the "
            "synapse out (--plasticity), or make one for it"
        )


def _check_target(where: str, translation: Translation, machine: BoltzmannMachine) -> None:
    if translation.machine != machine:
        raise ValidationError(
            f"{where}: the translation was made for another machine, or for other evidence "
            f"({translation.machine.n_units} free units, here {machine.n_units}); make one for this"
        )


def working_point(machine: BoltzmannMachine, clamp: Mapping[int, int] | None = None) -> WorkingPoint:
    """Return the states over which the rules average.

    All of a small machine; samples without a chain where few units couple the others, as in an RBM with a small
    layer; else samples by Gibbs' method. With ``clamp`` they are those under this evidence, the clamped units at
    their values.
    """
    conditioned, free = machine.given(clamp or {})
    if conditioned.n_units <= ENUMERATED_UNITS:
        point = enumerated(conditioned)
    elif len(cover(conditioned.weights)) <= LARGEST_COVER:
        states = exact_samples(conditioned, _EXACT_SAMPLES, 0)
        point = WorkingPoint.of_samples(states, f"{len(states)} samples, summed over the states of few units")
    else:
        samples, _ = sample_abstract(
            conditioned, "gibbs", 1.0, _POINT_SWEEPS, _POINT_CHAINS, 0, None, burn_in=_POINT_SWEEPS, progress=None
        )
        assert samples.states is not None
        states = samples.states.reshape(-1, conditioned.n_units)
        point = WorkingPoint.of_samples(states, f"{len(states)} states by Gibbs sampling")
    if not clamp:
        return point
    states = np.zeros((len(point.states), machine.n_units), dtype=np.int8)
    states[:, list(clamp)] = list(clamp.values())
    states[:, free] = point.states
    return dataclasses.replace(point, states=states)


def relaxation_time(machine: BoltzmannMachine) -> float | None:
    """Return about the relaxation time of a machine's neurons, in refractory periods, before they are simulated.

    From the spectrum for few units; up to 1,000 from a short run of Gibbs' method, of which it comes out as half
    at most; ``None`` beyond.
    """
    if machine.n_units <= _SPECTRUM_UNITS:
        return mixing.relaxation_time(machine)
    if machine.n_units > _RELAXATION_UNITS:
        return None
    samples, _ = sample_abstract(
        machine, "gibbs", 1.0, _RELAXATION_SWEEPS, _RELAXATION_CHAINS, 0, None, burn_in=0.0, progress=None
    )
    assert samples.states is not None
    return mixing.relaxation_of_chains(samples.states)


_SPECTRUM_UNITS, _RELAXATION_UNITS = 10, 1000
_RELAXATION_CHAINS, _RELAXATION_SWEEPS = 64, 240.0
"""Their states take 15 MB at 1,000 units, which a run without a raster has to bear too."""


_EXACT_SAMPLES = 2**16
_POINT_CHAINS, _POINT_SWEEPS = 256, 60.0
"""Of the Gibbs samples: the chains are many, as modes may be left seldom."""


NETWORKS = 440
"""From which the translation rule is learned, by default."""


def calibrate_network(
    calibration: Calibration,
    *,
    synapse: Synapse | None = None,
    networks: int = NETWORKS,
    duration: float = 3.2e6,
    chains: int = 64,
    dt: float = 0.1,
    seed: int = 1,
    engine: str | Engine = "numba",
    threads: int | None = None,
    progress: Progress | None = None,
) -> Calibration:
    """Return the calibration with the learned translation rule for networks of its neuron.

    Small random networks of several families are simulated, and the parameters that were handed to them are
    regressed on the machines that they turned out to be (``translation.learned``). It is done once for a neuron,
    background and synapse.

    Parameters
    ----------
    calibration
        Of the neuron.
    synapse
        The recurrent synapse; ``None``: renewing.
    networks
        Number of networks.
    duration
        Biological time of each network in ms, all chains together.
    chains, dt, seed, engine, threads
        Of the simulation.
    progress
        Called with (networks done, networks in all).

    Raises
    ------
    CalibrationError
        Where the networks that can be learned from are too few.
    """
    synapse = synapse or Synapse()
    examples = taught_networks(
        calibration, synapse, networks=networks, duration=duration, chains=chains, dt=dt, seed=seed, engine=engine,
        threads=threads, progress=progress,
    )  # fmt: skip
    learned = network_calibration(
        examples, calibration, synapse, duration=duration, dt=dt, seed=seed, version=version("boltzspike")
    )
    return dataclasses.replace(calibration, network=learned)


def taught_networks(
    calibration: Calibration,
    synapse: Synapse,
    *,
    networks: int = NETWORKS,
    duration: float = 3.2e6,
    chains: int = 64,
    dt: float = 0.1,
    seed: int = 1,
    engine: str | Engine = "numba",
    threads: int | None = None,
    progress: Progress | None = None,
) -> list[Example]:
    """Return what small random networks taught; arguments as of ``calibrate_network``."""
    check_dt(calibration, dt)
    require(whole(networks) and networks >= 1, "networks", "an integer, at least 1", networks)
    run = functools.partial(
        _states, chains=chains, dt=dt, seed=seed, engine=engine, threads=threads, burn_in=500.0
    )

    def joint_of(weights: Array, biases: Array, number: int) -> Array:
        network = network_of(weights, biases, calibration, synapse)
        return joint(run(network, number, duration / chains))

    families = FAMILIES | {"Bayesian network": _of_bayesian_network}
    return teach(joint_of, networks=networks, seed=seed, families=families, progress=progress)


def _of_bayesian_network(rng: np.random.Generator) -> BoltzmannMachine:
    """Return the machine that a random network of three or four variables is compiled to, of 3 to 10 units."""
    while True:
        machine = compile_bayes(random_network(int(rng.integers(3, 5)), rng), reach=REACH).machine
        if 3 <= machine.n_units <= _MOST_COMPILED:
            return machine


_MOST_COMPILED = 10


def _states(
    network: SpikingNetwork,
    number: int,
    duration: float,
    *,
    chains: int,
    dt: float,
    seed: int,
    engine: str | Engine,
    threads: int | None,
    burn_in: float,
    initial: Initial | None = None,
    clamp: Mapping[int, int] | None = None,
) -> Array:
    """Return the states of run ``number``, each with a seed of its own, twice a refractory period."""
    of_run = int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0])
    every = max(round(network.neurons[0].tau_refrac / 2 / dt), 1)
    samples, _ = run_network(
        network, duration, chains, dt, of_run, engine, threads, Record(states_every=every), burn_in=burn_in,
        initial=initial, clamp=None if clamp is None else dict(clamp),
    )  # fmt: skip
    assert samples.states is not None
    return samples.states


def in_states(z: Array, tau: int, rng: np.random.Generator) -> Initial:
    """Return a start in the states z (chains, n): each unit that is on spiked within the last ``tau`` steps."""
    from boltzspike.engines.start import LONG_AGO

    return Initial(last_spike=np.where(z == 1, -rng.integers(1, tau + 1, z.shape), LONG_AGO))


def tune(
    machine: Machine,
    *,
    to: str = "moments",
    calibration: Calibration | None = None,
    start: Translation | None = None,
    synapse: Synapse | None = None,
    clamp: Mapping[int | str, int] | None = None,
    fill: bool | None = None,
    steps: int = 16,
    tolerance: float = 1e-3,
    averaged: int = 0,
    duration: float = 1e5,
    burn_in: float = 1000.0,
    chains: int = 64,
    dt: float = 0.1,
    seed: int = 1,
    engine: str | Engine = "numba",
    threads: int | None = None,
    on_step: Callable[[int, Step], None] | None = None,
) -> Translation:
    """Return a translation tuned in the loop, until the network does what is demanded of it: ``to``.

    Give it to ``sample`` as ``rule``, with the same evidence.

    Parameters
    ----------
    machine
        The target.
    to
        ``"moments"``: the marginals and pair moments of the target, exact where they can be, else of samples.
        ``"conditionals"``: each unit's chance to be on given the others, which needs the target's parameters
        alone, in states that the network itself visits (``translation.conditionals``). ``"sweeps"``: that a few
        Gibbs sweeps of the target from these states do not move their moments (``translation.sweeps``): as little
        needs to be known, and slow modes count for more.
    calibration, synapse
        As in ``sample``.
    start
        Where to begin, for example a translation tuned before; ``None``: the best rule without tuning.
    clamp
        Evidence: the machine of the other units given it is tuned.
    fill
        Whether units that share a neighbour may become coupled, which sparse machines with strong weights need;
        ``False`` keeps the couplings of the target. ``None``: yes, but not for an RBM, which stays bipartite, and
        not where more than ``FILLED`` parameters came of it, whose noise would cost more than they mend.
    steps
        Runs of the network at most.
    tolerance
        D_KL at which it stops; of conditionals, the sum over the units of the expected D_KL of theirs.
    averaged
        Longest runs after that, with steps of 1/2, 1/3, ...: where modes are left seldom, the noise of one run is
        most of what tuning leaves, and the mean of more takes it away.
    duration
        Biological time per chain of the longest runs, in ms.
    burn_in
        Of each run, ms; each begins where the one before ended, the first with the target's law.
    chains, dt, seed, engine, threads
        Of the runs.
    on_step
        Called after each run with its number and the best step so far, whose ``translation`` may be saved.
    """
    if to not in DEMANDS:
        raise ValidationError(f"to: must be one of {', '.join(DEMANDS)}, got {to!r}{suggestion(to, DEMANDS)}")
    if start is not None:
        check_made_for("start", start, calibration, synapse)
        calibration = start.calibration
    calibration = calibration or default_calibration()
    check_dt(calibration, dt)
    require(whole(chains) and chains >= GROUPS, "chains", f"an integer, at least {GROUPS} for an error", chains)
    plain = machine.given(clamp_indices(machine, clamp or {}))[0].to_boltzmann()
    point = working_point(plain)
    if start is None:
        start = translate(plain, with_network(calibration), synapse=synapse, states_of=lambda _: point)
        for text in start.warnings:
            warnings.warn(text, BoltzspikeWarning, stacklevel=2)
    _check_target("start", start, plain)
    sampler = _sampler(
        point, duration=duration, chains=chains, dt=dt, seed=seed, engine=engine, threads=threads, burn_in=burn_in
    )
    if fill is None and isinstance(machine, RestrictedBoltzmannMachine):
        fill = False
    coupled = coupled_pairs(plain, fill=fill)
    demand: Demand
    if to == "moments":
        demand = Covariance(point, coupled)
    elif to == "conditionals":
        demand = Conditionals(plain, coupled)
    else:
        demand = Sweeps(coupled, _sweep_of(plain, seed, threads))
    tuned = tune_in_the_loop(
        start, demand, sampler, steps=steps, tolerance=tolerance, averaged=averaged, on_step=on_step
    )
    for text in tuned.warnings:
        if text not in start.warnings:
            warnings.warn(text, BoltzspikeWarning, stacklevel=2)
    return tuned


def _sweep_of(machine: BoltzmannMachine, seed: int, threads: int | None) -> Sweep:
    """Return what runs Gibbs sweeps of a machine from given states; each call has random numbers of its own."""
    from boltzspike.abstract import Gibbs

    gibbs = Gibbs(machine.weights, machine.biases, threads=threads or os.cpu_count() or 1)
    calls = itertools.count()

    def sweep(states: Array) -> Array:
        of_call = int(np.random.SeedSequence([seed, 0x5EE9, next(calls)]).generate_state(1, np.uint64)[0])
        begun = dataclasses.replace(gibbs.init(seed=of_call, chains=len(states)), z=states)
        return np.asarray(gibbs.run(begun, SWEEPS, Record())[1].z)

    return sweep


def tune_biases(
    start: Translation,
    held: Sequence[Mapping[int, int]],
    *,
    chains: int,
    dt: float,
    seed: int,
    engine: str | Engine,
    threads: int | None,
) -> tuple[Array, list[str]]:
    """Return the biases that the network wants while neurons are held, tuned to the conditionals, and notes.

    Parameters
    ----------
    start
        The network's translation, whose weights stay.
    held
        The values of the units that are held, for each evidence.
    chains, dt, seed, engine, threads
        Of the runs.

    Returns
    -------
    biases
        Shape (len(held), n), Boltzmann units.
    notes
        What it did, a sentence for each evidence.
    """
    every = {tuple(sorted(clamp.items())): clamp for clamp in held}
    biases, notes = dict.fromkeys(every, np.asarray(start.effective_biases)), []
    for number, (key, clamp) in enumerate(every.items()):
        if len(clamp) < start.machine.n_units:
            sampler = _sampler(
                working_point(start.machine, clamp), clamp=clamp, duration=_TUNING_DURATION, chains=chains, dt=dt,
                seed=seed + number, engine=engine, threads=threads, burn_in=_TUNING_BURN_IN,
            )  # fmt: skip
            demand = HeldConditionals(start.machine, clamp)
            tuned = tune_in_the_loop(start, demand, sampler, steps=_TUNING_STEPS, tolerance=_TUNING_TOLERANCE)
            biases[key] = np.asarray(tuned.effective_biases)
            notes.append(f"biases, {len(clamp)} neurons held: {tuned.notes[-1]}")
    return np.array([biases[tuple(sorted(clamp.items()))] for clamp in held]), notes


def _sampler(point: WorkingPoint, *, duration: float, chains: int, dt: float, seed: int, **run: Any) -> Sampler:
    """Return what runs networks, the longest for ``duration`` ms; other options as those of ``_states``.

    A network may leave its modes so seldom that no burn-in from rest is long enough: the chains begin with the
    target's law, and each run where the one before ended.
    """
    rng = np.random.default_rng([seed, 0x7E57])
    last = point.states[rng.choice(len(point.states), chains, p=point.probabilities)]

    def sampler(translation: Translation, number: int, share: float) -> list[Array]:
        nonlocal last
        start = in_states(last, round(translation.calibration.neuron.tau_refrac / dt), rng)
        states = _states(
            translation.network, number, share * duration, chains=chains, dt=dt, seed=seed, initial=start, **run
        )
        last = states[:, -1]
        return [group.reshape(-1, states.shape[-1]) for group in np.array_split(states, GROUPS)]

    return sampler
