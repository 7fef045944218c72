"""From what was typed to what the pipeline takes; errors name the argument."""

from __future__ import annotations

import ast
import dataclasses
import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from boltzspike.calibration import Calibration
    from boltzspike.compilation import Compiled
    from boltzspike.model.boltzmann import Machine
    from boltzspike.model.network import SpikingNetwork
    from boltzspike.model.synapse import Synapse
    from boltzspike.translation import Translation


def parse_time(text: str, where: str) -> float:
    """Return a time in ms from ``100s``, ``5e4ms``, ``2min`` or ``1h``."""
    from boltzspike.errors import ValidationError

    for suffix, factor in (("ms", 1.0), ("min", 6e4), ("s", 1e3), ("h", 3.6e6)):
        if text.strip().endswith(suffix):
            try:
                return float(text.strip().removesuffix(suffix)) * factor
            except ValueError:
                break
    raise ValidationError(f"{where}: must be a number with a unit (ms, s, min or h), such as 100s, got {text!r}")


def parse_clamp(items: list[str]) -> dict[int | str, int]:
    """Return ``{name: value}`` from ``NAME=0`` and ``NAME=1``; several may share an item, parted by commas."""
    from boltzspike.errors import ValidationError

    clamp: dict[int | str, int] = {}
    for item in (part for text in items for part in text.split(",")):
        name, equals, value = item.rpartition("=")
        if not equals or value not in ("0", "1") or not name:
            raise ValidationError(f"clamp: must be NAME=0 or NAME=1, got {item!r}")
        if name in clamp:
            raise ValidationError(f"clamp[{name!r}]: must be given once, got twice")
        clamp[name] = int(value)
    return clamp


def parse_fields(items: list[str], of: type, option: str, *, but: Iterable[str] = ()) -> dict[str, Any]:
    """Return ``{field: value}`` of a description from ``FIELD=VALUE``; values as Python writes them, or words.

    Examples
    --------
    >>> from boltzspike.training.hardware import Hardware
    >>> parse_fields(["weight_bits=4", "signs=row"], Hardware, "hardware")
    {'weight_bits': 4, 'signs': 'row'}
    """
    from boltzspike.errors import ValidationError

    known = [field.name for field in dataclasses.fields(of) if field.name not in set(but)]
    given: dict[str, Any] = {}
    for item in items:
        name, equals, text = item.partition("=")
        if name not in known or not equals:
            raise ValidationError(f"{option}: must be FIELD=VALUE with one of {', '.join(known)}, got {item!r}")
        if name in given:
            raise ValidationError(f"{option}: {name} must be given once, got twice")
        try:
            given[name] = ast.literal_eval(text)
        except (ValueError, SyntaxError):
            given[name] = text
    return given


def parse_sizes(text: str, where: str) -> list[int]:
    """Return numbers of units from ``64`` or ``64,32``.

    Examples
    --------
    >>> parse_sizes("64,32", "hidden")
    [64, 32]
    """
    from boltzspike.errors import ValidationError

    parts = text.split(",")
    if not all(part.strip().isdecimal() for part in parts):
        raise ValidationError(f"{where}: must be a number of units, or several such as 64,32, got {text!r}")
    return [int(part) for part in parts]


def parse_evidence(items: list[str]) -> dict[str, str]:
    """Return ``{variable: state}`` from ``VARIABLE=STATE``; several may share an item, parted by commas.

    A comma belongs to a state's name where no ``=`` follows it before the next one.

    Examples
    --------
    >>> parse_evidence(["dysp=yes,xray=no", "age=[0,5)"])
    {'dysp': 'yes', 'xray': 'no', 'age': '[0,5)'}
    """
    from boltzspike.errors import ValidationError

    evidence: dict[str, str] = {}
    for part in (part for text in items for part in _parted(text, "=")):
        variable, equals, state = part.partition("=")
        if not (variable and equals and state):
            raise ValidationError(f"evidence: must be VARIABLE=STATE, got {part!r}")
        if variable in evidence:
            raise ValidationError(f"evidence[{variable!r}]: must be given once, got twice")
        evidence[variable] = state
    return evidence


def _parted(text: str, sign: str) -> list[str]:
    """Return the parts between commas; a comma belongs to a name where no sign follows it before the next one."""
    first, *others = text.split(",")
    parts = [first]
    for part in others:
        if sign in part:
            parts.append(part)
        else:
            parts[-1] += f",{part}"
    return parts


def parse_likelihoods(items: list[str]) -> dict[str, dict[str, float]]:
    """Return ``{variable: {state: likelihood}}`` from ``VARIABLE=STATE:NUMBER,STATE:NUMBER``.

    Examples
    --------
    >>> parse_likelihoods(["xray=yes:0.8,no:0.1"])
    {'xray': {'yes': 0.8, 'no': 0.1}}
    """
    from boltzspike.errors import ValidationError
    from boltzspike.formats.queries import likelihood

    found: dict[str, dict[str, float]] = {}
    for item in items:
        variable, equals, given = item.partition("=")
        if not (variable and equals and given):
            raise ValidationError(f"likelihood: must be VARIABLE=STATE:NUMBER,..., got {item!r}")
        of_variable = found.setdefault(variable, {})
        for part in _parted(given, ":"):
            state, colon, number = part.rpartition(":")
            if not colon:
                raise ValidationError(f"likelihood: must be VARIABLE=STATE:NUMBER,..., got {item!r}")
            if state in of_variable:
                raise ValidationError(f"likelihood[{variable!r}]: {state!r} must be given once, got twice")
            of_variable[state] = likelihood(number, f"likelihood[{variable!r}], {state!r}")
    return found


def parse_joint(text: str | None, target: object) -> list[str]:
    """Return the variables of a Bayesian network named in ``VARIABLE,VARIABLE,...``; none of ``None``."""
    from boltzspike.compilation import Compiled
    from boltzspike.errors import ValidationError

    if text is None:
        return []
    if not isinstance(target, Compiled):
        raise ValidationError("joint: is for Bayesian networks; a result of a machine has joint() in Python")
    target.network.require_variables(names := text.split(","), "joint")
    return names


def names_in_course(items: list[str]) -> set[str]:
    """Return what ``TIME:NAME=VALUE,...`` is about.

    Examples
    --------
    >>> sorted(names_in_course(["0s:dysp=yes,xray=no", "10s:either=no", "20s:"]))
    ['dysp', 'either', 'xray']
    """
    given = [item.partition(":")[2] for item in items]
    return {name for text in given if text.strip() for name in parse_evidence([text])}


def parse_evidence_course(items: list[str], target: object) -> list[tuple[float, dict[Any, Any]]] | None:
    """Return ``[(time in ms, evidence)]`` from ``TIME:NAME=VALUE,...``, by time; ``None`` of none."""
    from boltzspike.compilation import Compiled
    from boltzspike.errors import ValidationError

    course = []
    for item in items:
        time, colon, given = item.partition(":")
        if not colon:
            raise ValidationError(f"evidence-at: must be TIME:NAME=VALUE,..., got {item!r}")
        parse: Any = parse_evidence if isinstance(target, Compiled) else parse_clamp
        course.append((parse_time(time, "evidence-at"), parse([given]) if given.strip() else {}))
    return sorted(course, key=lambda pair: pair[0]) or None


def read_neuron(name: str, control: str | None) -> tuple[Any, Any, Any]:
    """Return the neuron, background and bias variable of a preset or of a calibration file."""
    from boltzspike.model import presets

    source = presets.preset(name) if _is_preset(name) else _calibration_file(name)
    return source.neuron, source.background, control or source.control


def read_calibration(name: str) -> Calibration:
    """Return the calibration of a preset, from theory, or the one in a file of that name."""
    from boltzspike.pipeline import calibrate

    if not _is_preset(name):
        return _calibration_file(name)
    cell, background, control = read_neuron(name, None)
    return calibrate(cell, background, control=control)


def _is_preset(name: str) -> bool:
    """Tell a preset's name, or what can be no file either and is best answered with the presets' names."""
    from boltzspike.model import presets

    return name in presets.ALL or not Path(name).is_file()


def read_machine(path: Path, *, beta: float | None = None) -> Machine:
    """Return the machine in a file."""
    from boltzspike.pipeline import read

    return as_machine(read(path, beta=beta), path)


def as_machine(what: object, path: Path) -> Machine:
    """Return what was read from a file, or raise where it is no machine."""
    from boltzspike.errors import ValidationError
    from boltzspike.model.boltzmann import BoltzmannMachine, RestrictedBoltzmannMachine

    if not isinstance(what, BoltzmannMachine | RestrictedBoltzmannMachine):
        kind = type(what).__name__.removeprefix("Stored")
        raise ValidationError(f"{path}: must be a Boltzmann machine or RBM, got a {kind}")
    return what


def read_target(
    path: Path,
    evidence: dict[str, str],
    *,
    route: str | None,
    encoding: str | None,
    likelihoods: dict[str, dict[str, float]] | None = None,
    beta: float | None = None,
    kept: Iterable[str] = (),
) -> Machine | Compiled | SpikingNetwork:
    """Return the machine or spiking network in a file, or a Bayesian network in it compiled under the evidence.

    ``kept``: names of variables that get units though they follow from others, as evidence about them will change.
    """
    from boltzspike.errors import ValidationError
    from boltzspike.model.bayesnet import BayesianNetwork
    from boltzspike.model.network import SpikingNetwork
    from boltzspike.pipeline import read
    from boltzspike.pipeline.compiling import compiled_for_sampling
    from boltzspike.progress import terminal_bar

    what = read(path, beta=beta)
    if isinstance(what, BayesianNetwork):
        chosen: dict[str, Any] = {} if encoding is None else {"encoding": encoding}
        chosen["kept"] = set(kept).intersection(what.names)
        with terminal_bar("compiling") as bar:
            compiled = compiled_for_sampling(
                what, evidence, likelihoods=likelihoods, route=route, progress=bar, **chosen
            )
        print(compiled.report)
        return compiled
    if evidence:
        raise ValidationError("evidence: is for Bayesian networks; this takes --clamp NAME=0 or NAME=1")
    if likelihoods:
        raise ValidationError("likelihood: is for Bayesian networks; of a machine, add its log ratio to a bias")
    for name, value in (("route", route), ("encoding", encoding)):
        if value is not None:
            raise ValidationError(f"{name}: is for Bayesian networks, which are compiled; {path} needs none")
    return what if isinstance(what, SpikingNetwork) else as_machine(what, path)


def read_machine_of(
    path: Path,
    *,
    clamp: list[str],
    evidence: list[str],
    likelihood: list[str],
    route: str | None,
    encoding: str | None,
    beta: float | None,
) -> Machine:
    """Return the machine in a file, or that of a Bayesian network in it under the evidence."""
    from boltzspike.compilation import Compiled
    from boltzspike.errors import ValidationError

    target = read_target(
        path, parse_evidence(evidence), route=route, encoding=encoding, likelihoods=parse_likelihoods(likelihood),
        beta=beta,
    )  # fmt: skip
    if not isinstance(target, Compiled):
        return as_machine(target, path)
    if clamp:
        raise ValidationError("clamp: is for machines; a Bayesian network takes --evidence VARIABLE=STATE")
    return target.machine


def read_rule(rule: str | None) -> str | Translation | None:
    """Return a rule's name as it is, and the translation in a file of that name."""
    from boltzspike.errors import ValidationError
    from boltzspike.pipeline import read
    from boltzspike.pipeline.translations import DEMANDS
    from boltzspike.translation import RULES, Translation

    if rule is None or rule in RULES or rule in DEMANDS or not Path(rule).exists():
        return rule
    translation = read(rule)
    if not isinstance(translation, Translation):
        raise ValidationError(f"{rule}: must be a translation, got a {type(translation).__name__}")
    return translation


def neuron_and_synapse(
    made: str | Translation | None, neuron: str | None, plasticity: str | None
) -> tuple[Calibration, Synapse]:
    """Return the calibration and synapse of these options; those not given are of the tuned file, or S1's."""
    if made is None or isinstance(made, str):
        return read_calibration(neuron or "S1"), read_synapse(plasticity or "renewing")
    return (
        made.calibration if neuron is None else read_calibration(neuron),
        made.synapse if plasticity is None else read_synapse(plasticity),
    )


def _calibration_file(path: str) -> Calibration:
    from boltzspike.calibration import Calibration
    from boltzspike.errors import ValidationError
    from boltzspike.pipeline import read

    calibration = read(path)
    if not isinstance(calibration, Calibration):
        raise ValidationError(f"{path}: must be a calibration, got a {type(calibration).__name__}")
    return calibration


@contextmanager
def engine_at(cluster: str | None, engine: str, threads: int | None) -> Iterator[Any]:
    """Hold the engine of that name, whose chains run on the workers of a Dask cluster if one is given."""
    if cluster is None:
        yield engine
        return
    from boltzspike.executors import Distributed, dask_executor

    with dask_executor(cluster) as executor:
        yield Distributed(executor, engine=engine, threads=threads or 1)


def read_synapse(plasticity: str) -> Synapse:
    """Return the recurrent synapse of a name or numbers (``U``, ``tau_rec``, ``tau_fac``, ``teeth``, ``delay``).

    ``tau_rec=MS`` alone is depressing with U = 1; ``teeth=N`` alone is additive; ``delay=MS`` goes with any.

    Examples
    --------
    >>> read_synapse("teeth=5,delay=1.5").delay
    1.5
    >>> read_synapse("U=0.5,tau_rec=10,tau_fac=5").tau_fac
    5.0
    """
    from boltzspike.errors import ValidationError
    from boltzspike.model.synapse import Synapse

    given: dict[str, Any] = {}
    for k, item in enumerate(plasticity.split(",")):
        key, equals, value = item.strip().partition("=")
        if not equals and k == 0:
            given["plasticity"] = key
        elif key not in _SYNAPSE_NUMBERS or not equals:
            known = "a name (renewing, additive) or " if k == 0 else ""
            expected = f"{known}{', '.join(f'{name}=NUMBER' for name in _SYNAPSE_NUMBERS)}"
            raise ValidationError(f"plasticity: expected {expected}, got {item!r}")
        elif key in given:
            raise ValidationError(f"plasticity: {key} must be given once, got twice")
        else:
            given[key] = _number(value.removesuffix("ms"), key, _SYNAPSE_NUMBERS[key])
    if "teeth" in given and given["teeth"] == int(given["teeth"]):
        given["teeth"] = int(given["teeth"])
    if "plasticity" not in given and given.keys() & {"U", "tau_rec", "tau_fac"}:
        given = {"plasticity": "tsodyks-markram", "U": 1.0, **given}
    elif "plasticity" not in given and "teeth" in given:
        given["plasticity"] = "additive"
    return Synapse(**given)


_SYNAPSE_NUMBERS = {
    "U": "in (0, 1]", "tau_rec": "of ms", "tau_fac": "of ms", "teeth": "of synapses", "delay": "of ms",
}  # fmt: skip


def _number(text: str, name: str, of: str) -> float:
    from boltzspike.errors import ValidationError

    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValidationError(f"plasticity: {name} must be a number {of}, got {text!r}")
    return number
