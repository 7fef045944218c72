"""The loop: minibatches, the two phases, the optimiser, early stopping, checkpoints.

The gradient of the log-likelihood of a Boltzmann machine is the difference of the sufficient statistics in the two
phases, ``E_data[z_k z_j] - E_model[z_k z_j]`` (Ackley, Hinton and Sejnowski, Cognitive Science 9, 147 (1985)).
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from boltzspike.checkpoint import fingerprint, read_annotated, write_annotated
from boltzspike.errors import Interrupted, ValidationError, require
from boltzspike.files import check_writable
from boltzspike.model.description import Array, frozen_array, set_number
from boltzspike.running import stop_requests
from boltzspike.streams import check_seed
from boltzspike.training.measures import class_statistics, pseudo_likelihood, reconstruction_error
from boltzspike.training.models import Model, Statistics, binary
from boltzspike.training.natural import natural_step
from boltzspike.training.samplers import DATA, FREE, Sampler

Method = Literal["cd", "pcd", "fast-pcd"]
LARGEST_PARAMETER = 100.0
"""A weight or bias beyond this means that training diverges: no unit of such a machine ever changes."""
_FAST_DECAY = 0.95
_MEASURED = 100
"""Samples on which pseudo-likelihood and reconstruction error are taken after an epoch."""
_ADAM = (0.9, 0.999, 1e-8)
_SHUFFLE = 3
"""Phase in the key of the order of an epoch."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Settings:
    """How to train."""

    epochs: int = 50
    batch_size: int = 50
    method: Method = "pcd"
    """``"pcd"``: persistent chains (T. Tieleman, ICML 2008). ``"cd"``: chains start from the minibatch (G. E.
    Hinton, 2002). ``"fast-pcd"``: persistent chains that see fast weights on top, which decay by 5 % an update and
    drive the chains out of modes (T. Tieleman and G. E. Hinton, ICML 2009)."""
    steps: int = 1
    """Sweeps of the chains an update."""
    chains: int | None = None
    """Of the free phase; ``None``: as many as a minibatch has samples."""
    learning_rate: float | tuple[float, float] = 0.05
    """One value, or the first and the last of a geometric fall over the epochs."""
    optimizer: Literal["sgd", "adam", "natural"] = "sgd"
    """``"natural"``: the gradient times the inverse covariance of the free phase's statistics
    (``training.natural``); few updates of many chains, with a rate of 1 or below."""
    parameters: Literal["all", "biases"] = "all"
    """What is trained. ``"biases"``: the weights stay as they are, as on a substrate that keeps them too coarsely
    for small steps."""
    momentum: float = 0.0
    """Of ``"sgd"``, in [0, 1)."""
    weight_decay: float = 0.0
    """L2: weights shrink by ``learning_rate * weight_decay`` of themselves an update; with ``"natural"`` it is
    part of the gradient."""
    sparsity: float | None = None
    """Wanted mean activity of a hidden unit; ``None``: none."""
    sparsity_cost: float = 0.1
    """How strongly the hidden biases are drawn to it."""
    labels: int = 0
    """How many of the last visible units are labels, one hot; for ``discriminative``."""
    discriminative: float = 0.0
    """Weight of ``log p(label | other visible units)`` beside ``log p`` of all: hybrid training of a class RBM."""
    average: float = 0.0
    """Share of the past in the running average of the parameters, which is what is returned; 0: none is taken."""
    measure_every: int = 1
    """Epochs between measurements of pseudo-likelihood and reconstruction error; the last is always measured."""
    patience: int | None = None
    """Epochs without a better value of the monitor after which it stops; ``None``: never."""
    seed: int = 0

    def __post_init__(self) -> None:
        """Validate."""
        for name, least in (("epochs", 1), ("batch_size", 1), ("steps", 1), ("measure_every", 1)):
            _require_whole(f"Settings.{name}", getattr(self, name), least)
        for name in ("chains", "patience"):
            if getattr(self, name) is not None:
                _require_whole(f"Settings.{name}", getattr(self, name), 1)
        require(
            self.method in ("cd", "pcd", "fast-pcd"), "Settings.method", "'cd', 'pcd' or 'fast-pcd'", self.method
        )
        optimizers = ("sgd", "adam", "natural")
        require(self.optimizer in optimizers, "Settings.optimizer", "'sgd', 'adam' or 'natural'", self.optimizer)
        require(self.parameters in ("all", "biases"), "Settings.parameters", "'all' or 'biases'", self.parameters)
        rates = frozen_array(np.atleast_1d(self.learning_rate), "Settings.learning_rate", ndim=1)
        ok = rates.shape in ((1,), (2,)) and bool(np.isfinite(rates).all()) and bool((rates > 0).all())
        require(ok, "Settings.learning_rate", "> 0, or a first and a last value > 0", self.learning_rate)
        for name in ("momentum", "average", "weight_decay", "sparsity_cost", "discriminative"):
            set_number(self, name)
        for name in ("momentum", "average"):
            require(0 <= getattr(self, name) < 1, f"Settings.{name}", "in [0, 1)", getattr(self, name))
        _require_whole("Settings.labels", self.labels, 0)
        require(
            self.discriminative == 0 or self.labels > 1, "Settings.labels", "2 or more, for discriminative > 0",
            self.labels,
        )  # fmt: skip
        for name in ("weight_decay", "sparsity_cost", "discriminative"):
            require(getattr(self, name) >= 0, f"Settings.{name}", ">= 0", getattr(self, name))
        allowed = "0 with parameters='biases': the weights stay"
        require(
            self.parameters == "all" or self.weight_decay == 0, "Settings.weight_decay", allowed, self.weight_decay
        )
        if self.sparsity is not None:
            set_number(self, "sparsity")
            require(0 < self.sparsity < 1, "Settings.sparsity", "in (0, 1)", self.sparsity)
        check_seed(self.seed)

    def rate(self, epoch: int) -> float:
        """Return the learning rate of an epoch, the first being 0."""
        if not isinstance(self.learning_rate, tuple | list):
            return float(self.learning_rate)
        first, last = self.learning_rate
        return float(first * (last / first) ** (epoch / max(self.epochs - 1, 1)))


def _require_whole(where: str, value: object, least: int) -> None:
    ok = isinstance(value, int | np.integer) and not isinstance(value, bool) and value >= least
    require(bool(ok), where, f"an integer, at least {least}", value)


@dataclass(frozen=True, kw_only=True, slots=True)
class Epoch:
    """What is told after an epoch."""

    number: int
    """From 1."""
    learning_rate: float
    reconstruction: float | None
    """Mean squared error of the mean-field reconstruction of training samples; ``None``: not measured."""
    pseudo_likelihood: float | None
    """Nats a sample, of an RBM on training samples; ``None`` for other machines, or not measured."""
    monitor: float | None
    """What early stopping looks at; higher is better."""
    seconds: float


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Trained:
    """What training leaves."""

    model: Model
    history: tuple[Epoch, ...]
    sampler_state: dict[str, Array]
    """The chains of the free phase as they are now."""
    stopped: str
    """Why it ended, in words."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Progress:
    """All that a resumed run needs, before minibatch ``batch`` of epoch ``epoch``."""

    epoch: int
    batch: int
    update: int
    best_epoch: int
    best: float
    seconds: float
    arrays: dict[str, Array]
    history: tuple[Epoch, ...]


Monitor = Callable[[Model], float]


def train(
    model: Model,
    data: Array,
    sampler: Sampler,
    settings: Settings | None = None,
    *,
    monitor: Monitor | None = None,
    on_epoch: Callable[[Epoch], None] | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int | None = None,
    resume: str | os.PathLike[str] | None = None,
) -> Trained:
    """Train a model on binary data.

    Parameters
    ----------
    model
        Where to begin.
    data
        Shape (m, visible), 0 or 1.
    sampler
        Visits the states of both phases.
    monitor
        Value of a model after each epoch, for example its pseudo-likelihood on other data: with
        ``settings.patience`` training stops where it no longer rises, and the best model is returned.
    on_epoch
        Called after each epoch.
    checkpoint
        File to go on from: written after each epoch and when training is interrupted.
    checkpoint_every
        Minibatches after which it is written too: what a power cut may cost.
    resume
        Such a file, of the same model, data, sampler and settings (but for ``epochs`` at a constant rate):
        training goes on as if it had never stopped, bit for bit.

    Raises
    ------
    Interrupted
        At the first Ctrl-C or SIGTERM, after the minibatch under way; its ``result`` is a ``Trained``.
    ValidationError
        For data that is not binary, for a diverging learning rate, for a checkpoint of another training.
    """
    settings = settings or Settings()
    data = binary(data, "data", model.n_visible)
    if checkpoint is not None:
        check_writable(Path(checkpoint), force=True)
    if checkpoint_every is not None:
        _require_whole("checkpoint_every", checkpoint_every, 1)
    _check_labels(model, data, settings)
    require(
        settings.patience is None or monitor is not None, "Settings.patience", "None without a monitor",
        settings.patience,
    )  # fmt: skip
    batch_size = min(settings.batch_size, len(data))
    batches = len(data) // batch_size
    identity = _identity(model, data, sampler, settings)
    if resume is None:
        progress = _begin(model, sampler, settings, batch_size)
    else:
        progress = _read(resume, identity, _begin(model, sampler, settings, batch_size))
    epoch, batch, update = progress.epoch, progress.batch, progress.update
    best, best_epoch = progress.best, progress.best_epoch
    arrays, history, seconds = dict(progress.arrays), list(progress.history), progress.seconds

    def now() -> _Progress:
        return _Progress(
            epoch=epoch, batch=batch, update=update, best=best, best_epoch=best_epoch, seconds=seconds,
            arrays=arrays, history=tuple(history),
        )  # fmt: skip

    def save() -> None:
        if checkpoint is not None:
            _write(Path(checkpoint), identity, now())

    def trained(why: str) -> Trained:
        return Trained(
            model=_model(model, arrays, _kept(arrays, settings)), history=tuple(history),
            sampler_state=_part(arrays, "sampler"), stopped=why,
        )  # fmt: skip

    with stop_requests() as requests:
        while epoch < settings.epochs:
            begun, rate = time.perf_counter(), settings.rate(epoch)
            order = np.random.default_rng([settings.seed, epoch, _SHUFFLE]).permutation(len(data))
            while batch < batches:
                rows = order[batch * batch_size : (batch + 1) * batch_size]
                arrays = _updated(model, arrays, data[rows], sampler, settings, rate, update)
                batch, update = batch + 1, update + 1
                largest = _largest(arrays)
                if not largest <= LARGEST_PARAMETER:  # also catches NaN
                    raise ValidationError(
                        f"Settings.learning_rate: training diverges at {rate:g}: after update {update} (epoch "
                        f"{epoch + 1}) the largest parameter is {largest:.3g}; lower it, or raise weight_decay"
                    )
                if requests.signal is not None:
                    seconds += time.perf_counter() - begun
                    save()
                    message = f"{requests.signal.name} in epoch {epoch + 1}, after update {update}"
                    result = trained(message)
                    raise Interrupted(message, signal=int(requests.signal), result=result)
                if checkpoint_every is not None and update % checkpoint_every == 0:
                    save()
            seconds += time.perf_counter() - begun
            current = _model(model, arrays, "average" if settings.average else "")
            value = None if monitor is None else float(monitor(current))
            shown = data[:_MEASURED]
            measured = (epoch + 1) % settings.measure_every == 0 or epoch + 1 == settings.epochs
            history.append(
                Epoch(
                    number=epoch + 1,
                    learning_rate=rate,
                    monitor=value,
                    seconds=seconds,
                    reconstruction=reconstruction_error(current, shown) if measured else None,
                    pseudo_likelihood=pseudo_likelihood(current, shown) if measured and model.restricted else None,
                )
            )
            epoch, batch, seconds = epoch + 1, 0, 0.0
            if value is not None and value > best:
                best, best_epoch = value, epoch
                arrays |= {"best/weights": current.weights, "best/biases": current.biases}
            save()
            if on_epoch is not None:
                on_epoch(history[-1])
            if settings.patience is not None and epoch - best_epoch >= settings.patience:
                return trained(f"no better value of the monitor for {settings.patience} epochs")
    return trained(f"{settings.epochs} epochs done")


def _check_labels(model: Model, data: Array, settings: Settings) -> None:
    if not settings.discriminative:
        return
    require(model.restricted, "Settings.discriminative", "0 but for an RBM", settings.discriminative)
    allowed = f"fewer than the {model.n_visible} visible units"
    require(settings.labels < model.n_visible, "Settings.labels", allowed, settings.labels)
    wrong = np.flatnonzero(data[:, -settings.labels :].sum(axis=1) != 1)
    if len(wrong):
        found = data[wrong[0], -settings.labels :].astype(int).tolist()
        require(False, f"data[{wrong[0]}]", f"one hot in its last {settings.labels} units", found)


def _begin(model: Model, sampler: Sampler, settings: Settings, batch_size: int) -> _Progress:
    chains = settings.chains or batch_size
    arrays = {"weights": np.array(model.weights, dtype=float), "biases": np.array(model.biases, dtype=float)}
    slots = ["mean", "square"] if settings.optimizer == "adam" else ["velocity"] if settings.momentum else []
    slots += ["fast"] if settings.method == "fast-pcd" else []
    slots += ["average"] if settings.average else []
    for slot in slots:
        for name in ("weights", "biases"):
            arrays[f"{slot}/{name}"] = np.zeros_like(arrays[name])
    if settings.patience is not None:
        arrays |= {"best/weights": arrays["weights"], "best/biases": arrays["biases"]}
    started = sampler.start(model, chains=chains, seed=settings.seed)
    arrays |= {f"sampler/{name}": value for name, value in started.items()}
    return _Progress(
        epoch=0, batch=0, update=0, best=-np.inf, best_epoch=0, seconds=0.0, arrays=arrays, history=()
    )


def _part(arrays: dict[str, Array], name: str) -> dict[str, Array]:
    return {key.partition("/")[2]: value for key, value in arrays.items() if key.startswith(name + "/")}


def _model(model: Model, arrays: dict[str, Array], slot: str) -> Model:
    prefix = f"{slot}/" if slot else ""
    return dataclasses.replace(model, weights=arrays[prefix + "weights"], biases=arrays[prefix + "biases"])


def _kept(arrays: dict[str, Array], settings: Settings) -> str:
    if settings.patience is not None:
        return "best"
    return "average" if settings.average else ""


def _largest(arrays: dict[str, Array]) -> float:
    """Return the largest parameter, or the norm of all where even that is small; NaN where there is one."""
    flat = [arrays[name].ravel() for name in ("weights", "biases")]
    norm = float(np.sqrt(sum(values @ values for values in flat)))
    return norm if norm <= LARGEST_PARAMETER else max(float(np.abs(values).max()) for values in flat)


def _updated(
    model: Model, before: dict[str, Array], visible: Array, sampler: Sampler, settings: Settings, rate: float,
    update: int,
) -> dict[str, Array]:  # fmt: skip
    """Return all arrays after an update on one minibatch."""
    arrays = dict(before)
    current = _model(model, arrays, "")
    state = _part(arrays, "sampler")
    positive, state = sampler.given(current, visible, state, (settings.seed, update, DATA))
    seen = current
    if settings.method == "fast-pcd":
        seen = current.moved(arrays["fast/weights"], arrays["fast/biases"])
    initial = visible if settings.method == "cd" else None
    negative, state = sampler.free(
        seen, state, (settings.seed, update, FREE), steps=settings.steps, initial=initial
    )
    arrays |= {f"sampler/{name}": value for name, value in state.items()}
    gradient = _gradient(current, positive, negative, settings)
    if settings.discriminative:
        drawn = class_statistics(current, visible, settings.labels)
        gradient["weights"] += settings.discriminative * (positive.couplings - drawn.couplings)
        gradient["biases"] += settings.discriminative * (positive.units - drawn.units)
    if settings.parameters == "biases":
        gradient["weights"] = np.zeros_like(gradient["weights"])
    natural = {}
    if settings.optimizer == "natural":
        decayed = gradient | {"weights": gradient["weights"] - settings.weight_decay * arrays["weights"]}
        natural = natural_step(current, negative, decayed, rate, settings.parameters)
    for name, slope in gradient.items():
        if settings.method == "fast-pcd":
            arrays[f"fast/{name}"] = _FAST_DECAY * arrays[f"fast/{name}"] + rate * slope
        if settings.optimizer == "natural":
            step = natural[name]
        elif settings.optimizer == "sgd":
            step = rate * slope
            if settings.momentum:
                step = arrays[f"velocity/{name}"] = settings.momentum * arrays[f"velocity/{name}"] + step
        else:
            step = _adam(arrays, name, slope, rate, update + 1)
        if name == "weights" and settings.weight_decay and settings.optimizer != "natural":
            step = step - rate * settings.weight_decay * arrays[name]
        arrays[name] = arrays[name] + step
        if settings.average:
            kept = min(settings.average, (1 + update) / (10 + update))
            arrays[f"average/{name}"] = kept * arrays[f"average/{name}"] + (1 - kept) * arrays[name]
    return arrays


def _gradient(model: Model, positive: Statistics, negative: Statistics, settings: Settings) -> dict[str, Array]:
    units = (positive.units - negative.units).astype(float)
    if settings.sparsity is not None:
        hidden = slice(model.n_visible, None)
        units[hidden] += settings.sparsity_cost * (settings.sparsity - positive.units[hidden])
    return {"weights": (positive.couplings - negative.couplings).astype(float), "biases": units}


def _adam(arrays: dict[str, Array], name: str, slope: Array, rate: float, number: int) -> Array:
    """Return the step of D. P. Kingma and J. Ba, "Adam", ICLR 2015 (uphill)."""
    first, second, tiny = _ADAM
    mean = arrays[f"mean/{name}"] = first * arrays[f"mean/{name}"] + (1 - first) * slope
    square = arrays[f"square/{name}"] = second * arrays[f"square/{name}"] + (1 - second) * slope**2
    return rate * (mean / (1 - first**number)) / (np.sqrt(square / (1 - second**number)) + tiny)


FORMAT, SCHEMA = "boltzspike-training", 1


def _identity(model: Model, data: Array, sampler: Sampler, settings: Settings) -> dict[str, str]:
    kept = dataclasses.asdict(settings)
    if not isinstance(settings.learning_rate, tuple | list):
        del kept["epochs"]  # more epochs of the same: the run may be made longer
    return {
        "model": fingerprint([model.weights, model.biases, model.n_visible, model.coupled, list(model.names)]),
        "data": fingerprint(data),
        "sampler": sampler.name,
        "settings": fingerprint(kept),
    }


def _write(path: Path, identity: dict[str, str], progress: _Progress) -> None:
    numbers = {name: getattr(progress, name) for name in ("epoch", "batch", "update", "best_epoch")}
    about = {
        "format": FORMAT, "schema": SCHEMA, **identity, **numbers, "best": float(progress.best).hex(),
        "seconds": progress.seconds, "history": [dataclasses.asdict(epoch) for epoch in progress.history],
    }  # fmt: skip
    write_annotated(path, about, progress.arrays, force=True)


def _read(path: str | os.PathLike[str], identity: dict[str, str], like: _Progress) -> _Progress:
    about, arrays = read_annotated(path, damaged="damaged, or no checkpoint")
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        raise ValidationError(f"{path}: not a checkpoint of a training")
    if about.get("schema") != SCHEMA:
        raise ValidationError(f"{path}: schema: must be {SCHEMA}, got {about.get('schema')!r}")
    for name, value in identity.items():
        if about.get(name) != value:
            raise ValidationError(f"{path}: {name}: must be that of this training; the checkpoint is of another")
    for name, expected in like.arrays.items():
        found = arrays.get(name)
        same = found is not None and (found.ndim, found.dtype) == (expected.ndim, expected.dtype)
        # what a sampler keeps of its past may grow; it is told apart by its name
        if found is None or not same or (not name.startswith("sampler/") and found.shape != expected.shape):
            raise ValidationError(f"{path}: {name}: missing or of another kind")
    try:
        return _Progress(
            epoch=int(about["epoch"]), batch=int(about["batch"]), update=int(about["update"]),
            best_epoch=int(about["best_epoch"]), best=float.fromhex(about["best"]),
            seconds=float(about["seconds"]), arrays=arrays,
            history=tuple(Epoch(**epoch) for epoch in about["history"]),
        )  # fmt: skip
    except (KeyError, TypeError, ValueError) as error:
        raise ValidationError(f"{path}: damaged ({error})") from None
