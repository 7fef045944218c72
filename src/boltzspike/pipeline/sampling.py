"""sample(): from a target to samples."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from boltzspike import files
from boltzspike.calibration import Calibration
from boltzspike.compilation import Compiled
from boltzspike.engines import Engine
from boltzspike.errors import is_number, require
from boltzspike.inputs import Initial
from boltzspike.model.bayesnet import BayesianNetwork, Evidence
from boltzspike.model.boltzmann import Machine, clamp_indices
from boltzspike.model.network import SpikingNetwork
from boltzspike.model.schedule import Course
from boltzspike.model.synapse import Synapse
from boltzspike.pipeline.changing import (
    HELD_NEURONS,
    EvidenceCourse,
    clamp_course,
    courses_of,
    evidence_by_unit,
    extended,
    tuned_to_evidence,
)
from boltzspike.pipeline.compiling import compiled_for_sampling
from boltzspike.pipeline.responses import default_calibration
from boltzspike.pipeline.running_networks import (
    ABSTRACT,
    Progress,
    check_dt,
    check_engine,
    check_run,
    check_times,
    discarded_steps,
    run_network,
    sample_abstract,
    warn_of_dt,
)
from boltzspike.pipeline.runs import (
    MAX_SHOWN_JOINT,
    configuration_of,
    finished,
    record_named,
    run_shown,
    warn_of_mixing,
)
from boltzspike.pipeline.sampling_networks import sample_network
from boltzspike.pipeline.translations import check_made_for, relaxation_time, translation_of
from boltzspike.posterior import PosteriorResult
from boltzspike.program import steps_of
from boltzspike.result import Result
from boltzspike.samples import Record
from boltzspike.theory.exact import exact_joint
from boltzspike.translation import Translation
from boltzspike.translation.tuned import GROUPS

DEFAULT_DT = 0.1


def sample(
    machine: Machine | BayesianNetwork | Compiled | SpikingNetwork,
    *,
    target: Machine | None = None,
    calibration: Calibration | None = None,
    duration: float = 1e5,
    chains: int = 64,
    seed: int = 1,
    rule: str | Translation | None = None,
    synapse: Synapse | None = None,
    engine: str | Engine = "numba",
    dt: float = DEFAULT_DT,
    clamp: Mapping[int | str, int] | None = None,
    evidence: Evidence | None = None,
    likelihoods: Mapping[str, object] | None = None,
    clamping: str | None = None,
    burn_in: float = 1000.0,
    draw_every: float | None = None,
    record: str | Record = "states",
    evidence_course: EvidenceCourse | None = None,
    schedule: Course | Sequence[Course] = (),
    shared: Any = (),
    delays: Any = None,
    initial: Initial | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    resume: str | os.PathLike[str] | None = None,
    spool: str | os.PathLike[str] | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Result:
    """Sample a Boltzmann machine, or the posterior of a Bayesian network, with a network of LIF neurons.

    Or a ``SpikingNetwork`` as it is: asymmetric or sparse weights, units of many kinds, what its own ``schedule``
    changes (whose times count from the first step, burn-in included). What makes a network of a target, or adds to
    one, is refused: ``calibration``, ``rule``, ``synapse``, ``evidence``, ``likelihoods``, ``evidence_course``,
    ``schedule``, ``shared`` and ``delays``.

    Parameters
    ----------
    machine
        The target. A Bayesian network is compiled by ``compile_bayes``, with fitted or exact units, whichever mix
        faster; for other ways pass what that function returns.
    target
        For a ``SpikingNetwork``: a machine of the same units to compare the samples with; ``None``: there is none.
    calibration
        Of the neuron; ``None``: that of ``rule`` where it is a translation, else preset S1, from theory.
    duration
        Biological time per chain in ms, after ``burn_in`` ms that are discarded.
    chains
        Number of independent copies of the network.
    seed
        The same seed gives the same samples: on any number of threads, and for chain k whatever the number of
        chains. Another engine, dt or version may give others.
    rule
        Translation rule, ``"psp"``, ``"matched"`` or ``"learned"``; ``"conditionals"`` or ``"moments"`` tune the
        network to these first, by at most 16 runs of at most 20 s (``tune``), ``"conditionals"`` while neurons are
        held at evidence its biases alone, for each evidence anew; or a ``Translation`` made
        before (of the machine under the evidence). ``None``: the best that the calibration, or one that ships with
        this version, allows without simulating the target.
    synapse
        Recurrent synapse; ``None``: that of ``rule``, else renewing, delay of one dt.
    engine
        ``"numba"``; ``"numba-exact"`` and ``"reference"``, which agree spike by spike, are slower; ``"cuda"``
        runs on an NVIDIA GPU. Without membranes, and without a translation: ``"gibbs"``, ``"gibbs-random"`` (order
        of the updates) and ``"buesing"`` (``abstract``); a sweep, or 20 steps of Buesing's neurons, count as one
        tau_refrac. Or an engine, such as ``executors.Distributed``, whose chains run elsewhere.
    dt
        Time step in ms.
    clamp
        Evidence about a machine, ``{unit name or index: 0 or 1}``; of a ``SpikingNetwork`` the neurons that are
        held.
    evidence
        Evidence about a Bayesian network, ``{variable: state}``.
    likelihoods
        Soft evidence about a Bayesian network, ``{variable: {state: likelihood}}``.
    clamping
        ``"bias"``, also ``None``: clamped units are not simulated, they act through the biases of their neighbours
        (exact for the target). ``"spikes"``: their neurons are held, firing at every chance or never; a
        ``SpikingNetwork`` knows no other way, a Bayesian network not this one.
    draw_every
        Time between draws in ms; ``None``: tau_refrac, the longest of a ``SpikingNetwork``.
    record
        What to keep. ``"states"``: those of every draw. Without a raster, in memory that does not grow with the
        duration: ``"moments"``, for ``marginals`` (of each chain, every step counts) and ``pairs`` (draws of all
        chains); ``"joint"``, also for ``joint`` and ``kl_divergence`` (of each chain, every step counts; at most
        24 simulated units). Or a ``Record``, in steps, with all that can be asked for.
    evidence_course
        Evidence that changes: (time in ms, evidence from then on) with rising times; ``clamp`` of a machine or
        ``evidence`` of a Bayesian network, by clamped neurons, or units where there are none. What holds all the
        time goes to ``clamp`` or ``evidence``. The parts: ``result.episodes()``.
    schedule
        ``Piecewise`` and ``Wave``: biases, background rates or clamps that change, by units of the target. Times,
        as those of ``evidence_course``, count from the end of the burn-in.
    shared, delays
        As in ``SpikingNetwork``: background that units share (one row of weights a simulated unit), a delay for
        each synapse.
    initial
        Where the run starts; ``None``: at rest.
    checkpoint
        File for the state at the end of the run, also of one that was interrupted.
    resume
        Such a file: go on where that run of the same network ended, without burn-in. Seed and chains must be the
        same; the samples are those that a longer run would have given.
    spool
        Folder with room for what is recorded of each draw: it is kept there, in files without a name that go with
        the result, and the memory that the run takes does not grow with the duration. ``None``: in memory.
    threads
        ``None``: all cores.
    progress
        Called now and then with (steps done, steps in all); ``None``: a bar in a notebook that has tqdm.

    Returns
    -------
    A ``Result``; for a Bayesian network a ``PosteriorResult``, which has ``posterior()`` and the like.

    Raises
    ------
    Interrupted
        At the first Ctrl-C or SIGTERM, within about a quarter of a second; its ``result`` holds what was sampled
        until then, and is marked in ``configuration["partial"]``. A second Ctrl-C is a ``KeyboardInterrupt``. A
        handler that the caller has set is left alone.
    """
    if checkpoint is not None:
        files.check_writable(Path(checkpoint), force=True)
    if spool is not None:
        spool = Path(spool)
        files.check_writable(spool / "raster", force=True)
    check_times(duration, burn_in)
    check_engine(engine)
    if draw_every is not None:
        require(is_number(draw_every) and draw_every > 0, "draw_every", "> 0 ms", draw_every)
    require(initial is None or isinstance(initial, Initial), "initial", "an Initial", initial)
    if isinstance(machine, SpikingNetwork):
        made = {
            "calibration": calibration, "rule": rule, "synapse": synapse, "evidence": evidence,
            "likelihoods": likelihoods, "evidence_course": evidence_course, "schedule": schedule, "shared": shared,
            "delays": delays,
        }  # fmt: skip
        for name, value in made.items():
            unused = value is None or (isinstance(value, tuple | list) and not value)
            require(unused, name, "left out: a SpikingNetwork runs as it is, with what it has", value)
        only = "'spikes', or left out: clamped neurons of a SpikingNetwork are held"
        require(clamping in (None, "spikes"), "clamping", only, clamping)
        return sample_network(
            machine, target=target, duration=duration, chains=chains, seed=seed, engine=engine, dt=dt, clamp=clamp,
            burn_in=burn_in, draw_every=draw_every, record=record, initial=initial, checkpoint=checkpoint,
            resume=resume, spool=spool, threads=threads, progress=progress,
        )  # fmt: skip
    require(target is None, "target", "left out: it is for a SpikingNetwork; this is a target itself", target)
    clamping = clamping or "bias"
    compiled = None
    is_target = isinstance(machine, Machine | BayesianNetwork | Compiled)
    require(is_target, "machine", "a machine or network (bs.read reads files)", machine)
    if isinstance(machine, BayesianNetwork):
        changing = {variable for _, given in evidence_course or () for variable in given}
        compiled = compiled_for_sampling(
            machine, evidence, likelihoods=likelihoods, kept=changing.intersection(machine.names)
        )
    elif isinstance(machine, Compiled):
        compiled = machine
    if compiled is machine or compiled is None:
        given = [
            name for name, value in (("evidence", evidence), ("likelihoods", likelihoods)) if value is not None
        ]
        hint = "clamp={unit: 0 or 1}" if compiled is None else "what was given to compile_bayes"
        require(not given, ", ".join(given), f"left out here: this target takes {hint}", "values")
    if compiled is not None:
        require(not clamp, "clamp", "left out: a Bayesian network takes evidence={variable: state}", clamp)
        only = "'bias': a Bayesian network's evidence is absorbed; evidence_course (--evidence-at) holds neurons"
        require(clamping == "bias", "clamping", only, clamping)
        machine = compiled.machine
    assert not isinstance(machine, BayesianNetwork | Compiled)
    if isinstance(rule, Translation):
        check_made_for("rule", rule, calibration, synapse)
        calibration = rule.calibration
    if calibration is None:
        calibration = default_calibration()
    check_dt(calibration, dt)
    require(clamping in ("bias", "spikes"), "clamping", "'bias' or 'spikes'", clamping)
    clamped = clamp_indices(machine, clamp or {})
    conditioned, free = machine.given(clamped)
    if clamping == "spikes" and engine not in ABSTRACT:
        conditioned, free = machine, np.arange(machine.n_units)
    plain = conditioned.to_boltzmann()
    changes, moving, clamps = None, None, None
    if evidence_course is not None:
        last = duration if checkpoint is None and resume is None else np.inf  # else a part of a longer run
        changes = evidence_by_unit(compiled or machine, evidence_course, clamped, last)
        place = {int(unit): k for k, unit in enumerate(free)}
        moving = [(time, {place[unit]: value for unit, value in given.items()}) for time, given in changes]
        clamps = clamp_course(plain, moving)
    # before the translation, which may be minutes of tuning
    relaxation = relaxation_time(machine.given(clamped)[0].to_boltzmann())
    if relaxation is not None:
        relaxation *= calibration.neuron.tau_refrac
        if resume is None:
            warn_of_mixing(relaxation, burn_in + duration)
    every, translation, network, shift = None, None, None, 0.0
    if engine in ABSTRACT:
        require(rule is None, "rule", f"None with the engine {engine!r}, which samples the machine itself", rule)
        require(record == "states", "record", f"'states' with the engine {engine!r}", record)
        wanted = f"left out with the engine {engine!r}, which has no neurons"
        require(synapse is None or synapse == Synapse(), "synapse", wanted, synapse)
        require(dt == DEFAULT_DT, "dt", wanted, dt)
        neural = {
            "schedule": schedule, "shared": shared, "delays": delays, "initial": initial, "draw_every": draw_every
        }  # fmt: skip
        for name, value in neural.items():
            require(value is None or (isinstance(value, tuple | list) and not value), name, wanted, value)
        tau = calibration.neuron.tau_refrac
        run = functools.partial(
            sample_abstract, plain, engine, tau, duration, chains, seed, threads, changes=moving or ()
        )
        shift = discarded_steps(burn_in, tau, 1) * tau
    else:
        tau_refrac = calibration.neuron.tau_refrac
        if draw_every is None:
            whole = abs(tau_refrac / dt - round(tau_refrac / dt)) <= 1e-6
            require(whole and dt <= tau_refrac, "dt", f"a whole part of tau_refrac = {tau_refrac:g} ms", dt)
        every = steps_of(tau_refrac if draw_every is None else draw_every, dt, "draw_every")
        kept = record_named(record, every, plain.n_units)
        longest = max(round(tau_refrac / dt), 1)
        # before the translation, which takes memory and time itself; again, and finer, of the network
        check_run(
            plain.n_units, duration, chains, dt, seed, threads, kept, burn_in=burn_in, longest=longest,
            shortest=longest, synapses=int(np.count_nonzero(plain.weights)), spool=spool,
        )  # fmt: skip
        warn_of_dt(calibration, dt)
        held_units = clamped if clamping == "spikes" else {}
        if progress is not None and hasattr(progress, "stage"):
            progress.stage(f"translating by the rule {rule!r}" if isinstance(rule, str) else "translating")
        tuning: dict[str, Any] = {
            "chains": max(chains, GROUPS), "dt": dt, "seed": seed, "engine": engine, "threads": threads
        }  # fmt: skip
        by_biases = rule == "conditionals" and (moving is not None or bool(held_units))
        translation = translation_of(
            plain, None if by_biases else rule, calibration, synapse, held_units, **tuning
        )
        if by_biases:
            translation, follows = tuned_to_evidence(translation, held_units, moving or (), **tuning)
            schedule = [*courses_of(schedule), *follows]
        shift = discarded_steps(burn_in, dt, max(kept.draws_every, longest)) * dt if burn_in > 0 else 0.0
        network = extended(
            translation.network, schedule=schedule, evidence=clamps, shared=shared, delays=delays, shift=shift
        )
        run = functools.partial(
            run_network, network, duration, chains, dt, seed, engine, threads, kept,
            clamp=clamped if clamping == "spikes" else None, initial=initial,
        )  # fmt: skip
    one_target = not schedule and evidence_course is None and (clamping == "bias" or not clamped)
    known = one_target and len(free) <= MAX_SHOWN_JOINT and isinstance(record, str)
    started = functools.partial(run, burn_in=burn_in, checkpoint=checkpoint, resume=resume, spool=spool)
    samples, how, stopped = run_shown(
        started, progress, functools.partial(exact_joint, conditioned) if known else None
    )
    if translation is None:
        dt, draw_every = samples.dt, calibration.neuron.tau_refrac
    else:
        assert every is not None
        draw_every = every * dt
        how["rule"] = translation.rule
        how["predicted_d_kl"] = translation.predicted_error
        held = [HELD_NEURONS] if not by_biases and (changes is not None or held_units) else []
        how["translation"] = [*translation.notes, *translation.warnings, *held]
    begun = (samples.start - round(shift / dt)) * dt  # on the clock of evidence_course; > 0 in a resumed run
    configuration = configuration_of(
        samples, stopped, duration_ms=duration, burn_in_ms=burn_in, chains=chains, seed=seed, record=record,
        engine=engine, draw_every_ms=draw_every, clamping=clamping, relaxation_ms=relaxation,
        **({} if changes is None else {"evidence_course": _documented(evidence_course, changes, begun)}), **how,
    )  # fmt: skip
    fields: dict[str, Any] = {
        "machine": machine, "clamp": clamped, "calibration": None if translation is None else calibration,
        "network": network, "translation": translation,
        "samples": samples, "simulated": free, "configuration": configuration,
    }  # fmt: skip
    result = Result(**fields) if compiled is None else PosteriorResult(compiled=compiled, **fields)
    return finished(result, stopped)


def _documented(
    course: EvidenceCourse | None, changes: Sequence[tuple[float, Mapping[int, int]]], begun: float
) -> list[Any]:
    """Return (time, evidence as given, clamps by unit), of plain types.

    Times count from the beginning of the recording, ``begun`` ms after that of the course: what holds then comes
    first, what was over is left out.
    """
    ends = [*(time for time, _ in changes[1:]), np.inf]
    return [
        [
            max(time - begun, 0.0),
            {str(name): value for name, value in given.items()},
            [list(pair) for pair in clamp.items()],
        ]
        for (_, given), (time, clamp), end in zip(course or (), changes, ends)
        if end > begun
    ]
