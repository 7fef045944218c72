"""boltzspike train, generate, classify, complete."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from boltzspike.cli.options import ClassRBM, Dt, Force, Machine, NeuronOption, Output, Seed, Threads
from boltzspike.cli.reading import parse_fields, parse_sizes, parse_time, read_calibration, read_machine

if TYPE_CHECKING:
    from boltzspike.model.description import Array
    from boltzspike.training.models import Model

Data = Annotated[
    Path,
    typer.Argument(help="npz with pixels and maybe labels, npy, or csv of numbers.", show_default=False),
]
Threshold = Annotated[
    float | None,
    typer.Option(help="A pixel above it is 1; without it pixels must be 0 or 1.", show_default=False),
]
InferenceEngine = Annotated[str, typer.Option(help="lif, gibbs or exact.")]
PerSample = Annotated[str, typer.Option(help="Biological time of each chain for each sample.")]
ChainsPerSample = Annotated[int, typer.Option(help="Copies of the network for each sample.")]


def train(
    data: Data,
    output: Annotated[Path, typer.Option("-o", "--output", help="Machine to write.", show_default=False)],
    hidden: Annotated[str, typer.Option(help="Hidden units; 64,32: those of each layer, from below.")] = "64",
    sampler: Annotated[str, typer.Option(help="gibbs, tempered, buesing, exact or lif.")] = "gibbs",
    method: Annotated[str, typer.Option(help="pcd, fast-pcd or cd.")] = "pcd",
    epochs: Annotated[int, typer.Option(help="Passes over the data.")] = 100,
    batch: Annotated[int, typer.Option(help="Samples of a minibatch.")] = 50,
    steps: Annotated[int, typer.Option(help="Sweeps (lif: refractory periods) an update.")] = 1,
    rate: Annotated[float, typer.Option(help="First learning rate.")] = 0.1,
    last_rate: Annotated[
        float | None, typer.Option(help="Last one, of a geometric fall; default: the first.", show_default=False)
    ] = None,
    decay: Annotated[float, typer.Option(help="Weight decay.")] = 1e-3,
    discriminative: Annotated[
        float, typer.Option(help="Weight of log p(label | pixels) beside log p of all.")
    ] = 0.0,
    average: Annotated[float, typer.Option(help="Share of the past in the average of the parameters.")] = 0.99,
    set_: Annotated[
        list[str],
        typer.Option(
            "--set",
            show_default=False,
            help="FIELD=VALUE of training.Settings: optimizer=adam, momentum=0.9, sparsity=0.1 and others; may be "
            "repeated.",
        ),
    ] = [],  # noqa: B006  # Typer copies it
    hardware: Annotated[
        list[str],
        typer.Option(
            show_default=False,
            help="FIELD=VALUE of training.hardware.Hardware, in the loop of lif: weight_bits=4 and others; may be "
            "repeated.",
        ),
    ] = [],  # noqa: B006
    held_out: Annotated[
        Path | None,
        typer.Option(
            show_default=False,
            help="Data like the first, not trained on: their pseudo-likelihood is what --set patience=N watches.",
        ),
    ] = None,
    threshold: Threshold = None,
    seed: Annotated[int, typer.Option(help="The same seed gives the same machine.")] = 0,
    neuron: NeuronOption = "S1",
    dt: Dt = 0.1,
    threads: Threads = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="File to go on from, written after every epoch.", show_default=False)
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(help="Checkpoint of the same training to go on from.", show_default=False)
    ] = None,
    force: Force = False,
) -> None:
    """Train an RBM on binary data; with labels, a class RBM that classify and complete can use.

    Ctrl-C or SIGTERM ends it after the minibatch under way; --resume goes on from the checkpoint.
    """
    from boltzspike import pipeline
    from boltzspike.errors import Interrupted, require
    from boltzspike.files import check_writable
    from boltzspike.training import Epoch, Settings
    from boltzspike.training.hardware import Hardware
    from boltzspike.training.measures import pseudo_likelihood

    check_writable(output, force=force)
    visible, count = _visible_units(data, threshold)
    require(count > 0 or discriminative == 0, "discriminative", "0 for data without labels", discriminative)
    model = _untrained(visible, count, parse_sizes(hidden, "hidden"), seed)
    own: dict[str, Any] = {
        "epochs": epochs, "batch_size": batch, "method": method, "steps": steps,
        "learning_rate": rate if last_rate is None else (rate, last_rate), "weight_decay": decay,
        "discriminative": discriminative, "labels": count, "average": average, "seed": seed,
    }  # fmt: skip
    settings = Settings(**own, **parse_fields(set_, Settings, "set", but=own))
    spiking: dict[str, Any] = {}
    if sampler == "lif":
        spiking = {"calibration": read_calibration(neuron), "dt": dt, "threads": threads}
    if hardware:
        spiking["hardware"] = Hardware(**parse_fields(hardware, Hardware, "hardware"))
    monitor = None
    if held_out is not None:
        unseen, _ = _visible_units(held_out, threshold, count)
        wanted = f"{visible.shape[1]} pixels and labels, as the data"
        require(unseen.shape[1] == visible.shape[1], str(held_out), wanted, unseen.shape[1])
        require(model.restricted, "held_out", "left out: layers have no pseudo-likelihood here", str(held_out))
        monitor = lambda current: pseudo_likelihood(current, unseen)
    print(f"{len(visible)} samples of {visible.shape[1]} visible units, {hidden} hidden units, {sampler}")

    def show(epoch: Epoch) -> None:
        if epoch.number == epochs or epoch.number % max(epochs // 20, 1) == 0:
            told = {"pseudo-likelihood": epoch.pseudo_likelihood, "on held-out data": epoch.monitor}
            parts = [f"{name} {value:.2f}" for name, value in told.items() if value is not None]
            if epoch.reconstruction is not None:
                parts.append(f"reconstruction error {epoch.reconstruction:.4f}")
            print(f"epoch {epoch.number}: {', '.join([*parts, f'{epoch.seconds:.2g} s'])}", flush=True)

    stopped = None
    try:
        trained = pipeline.train(
            model, visible, sampler=sampler, settings=settings, monitor=monitor, on_epoch=show,
            checkpoint=checkpoint, resume=resume, **spiking,
        )  # fmt: skip
    except Interrupted as stop:
        trained, stopped = stop.result, stop
    trained.model.machine().save(output, force=True)
    print(f"{trained.stopped}; wrote {output}")
    if stopped is not None:
        raise typer.Exit(128 + stopped.signal)


def _visible_units(path: Path, threshold: float | None, classes: int | None = None) -> tuple[Array, int]:
    """Return pixels and one-hot labels in a file side by side, and how many classes; 0: it has no labels."""
    import numpy as np

    from boltzspike.errors import require
    from boltzspike.training.data import read_data
    from boltzspike.training.models import one_hot

    pixels, labels = read_data(path, threshold=threshold)
    if labels is None:
        return pixels, 0
    whole = np.issubdtype(labels.dtype, np.integer) and len(labels) > 0
    count = classes or (int(np.max(labels)) + 1 if whole else 0)
    require(count > 1, "labels", "integers from 0, of at least 2 classes", labels.dtype)
    return np.hstack([pixels, one_hot(labels, count)]), count


def _untrained(visible: Array, labels: int, hidden: list[int], seed: int) -> Model:
    """Return the model to begin with: an RBM, or layers where several sizes are given."""
    from boltzspike.training.models import class_names, layered, restricted

    n = visible.shape[1]
    names = class_names(n - labels, labels) if labels else None
    if len(hidden) == 1:
        return restricted(n, hidden[0], data=visible, seed=seed, names=names)
    return layered([n, *hidden], data=visible, seed=seed, names=names)


def generate(
    model: Machine,
    output: Annotated[Path, typer.Option("-o", "--output", help="npz to write.", show_default=False)],
    number: Annotated[int, typer.Option(help="Samples, each of a chain of its own.")] = 100,
    label: Annotated[
        int | None, typer.Option(help="Class to generate; default: free.", show_default=False)
    ] = None,
    duration: Annotated[str, typer.Option(help="Biological time before the sample is taken.")] = "3s",
    engine: Annotated[str, typer.Option(help="numba (LIF neurons), gibbs and others, as in sample.")] = "numba",
    hottest: Annotated[
        float | None,
        typer.Option(
            help="Temperature to which the background of the LIF neurons swells once a period: chains leave their "
            "modes.",
            show_default=False,
        ),
    ] = None,
    period: Annotated[str, typer.Option(help="Of the swelling; the first half of it is hot.")] = "200ms",
    seed: Seed = 1,
    neuron: NeuronOption = "S1",
    threads: Threads = None,
    force: Force = False,
) -> None:
    """Generate samples: arrays pixels (and labels) of the visible units at the end of each chain."""
    from boltzspike import pipeline
    from boltzspike.errors import require
    from boltzspike.files import check_writable, write_arrays
    from boltzspike.pipeline.inference import held_label, last_states
    from boltzspike.pipeline.tempering import last_cold_states

    check_writable(output, force=force)
    machine = read_machine(model)
    clamp = {} if label is None else held_label(machine, label)
    calibration, before = read_calibration(neuron), parse_time(duration, "duration")
    if hottest is None:
        states = pipeline.sample(
            machine, calibration=calibration, chains=number, clamp=clamp, seed=seed, engine=engine,
            duration=100.0, burn_in=before, threads=threads,
        ).z  # fmt: skip
    else:
        require(engine == "numba", "hottest", "left out but for engine numba", engine)
        swelling = parse_time(period, "period")
        require(0 < swelling <= before, "period", "> 0 ms, and no longer than the duration", period)
        states = last_cold_states(
            machine, calibration, hottest=hottest, period=swelling, periods=math.ceil(before / swelling),
            chains=number, clamp=clamp, seed=seed, threads=threads,
        )  # fmt: skip
    write_arrays(output, last_states(machine, states), force=force)
    print(f"{number} samples, {engine}; wrote {output}")


def classify(
    model: ClassRBM,
    data: Data,
    engine: InferenceEngine = "lif",
    duration: PerSample = "1s",
    chains: ChainsPerSample = 16,
    threshold: Threshold = None,
    seed: Seed = 0,
    neuron: NeuronOption = "S1",
    threads: Threads = None,
    output: Output = None,
    force: Force = False,
) -> None:
    """Name the class of each sample by a class RBM; with labels in the data, say how often it is right."""
    from scipy.stats import binomtest

    from boltzspike.files import check_writable, write_arrays
    from boltzspike.pipeline import inference
    from boltzspike.training.data import read_data

    if output is not None:
        check_writable(output, force=force)
    machine = read_machine(model)
    pixels, labels = read_data(data, threshold=threshold)
    share = inference.classify(
        machine, pixels, engine=engine, duration=parse_time(duration, "duration"), chains=chains, seed=seed,
        calibration=read_calibration(neuron), threads=threads,
    )  # fmt: skip
    named = share.argmax(axis=1)
    if labels is not None:
        right = int((named == labels).sum())
        # Wilson's interval: near 100 % a standard error would vanish
        low, high = binomtest(right, len(labels)).proportion_ci(method="wilson")
        share_right = f"{right / len(labels):.2%} ({low:.1%} to {high:.1%} with 95 %)"
        print(f"{share_right} of {len(labels)} named rightly ({engine})")
    else:
        print(" ".join(map(str, named)))
    if output is not None:
        write_arrays(output, {"named": named, "share": share}, force=force)
        print(f"wrote {output}")


def complete(
    model: Machine,
    data: Data,
    output: Annotated[Path, typer.Option("-o", "--output", help="npz to write.", show_default=False)],
    given: Annotated[int, typer.Option(help="How many of the first pixels are given.")] = 32,
    engine: InferenceEngine = "lif",
    duration: PerSample = "1s",
    chains: ChainsPerSample = 16,
    threshold: Threshold = None,
    seed: Seed = 0,
    neuron: NeuronOption = "S1",
    threads: Threads = None,
    force: Force = False,
) -> None:
    """Complete samples of which the first pixels are given: p(z = 1) of every unit, as the array marginals."""
    import numpy as np

    from boltzspike.errors import require
    from boltzspike.files import check_writable, write_arrays
    from boltzspike.pipeline import inference
    from boltzspike.training.data import read_data

    check_writable(output, force=force)
    machine = read_machine(model)
    pixels, _ = read_data(data, threshold=threshold)
    width = pixels.shape[1]
    require(1 <= given < width, "given", f"in 1 .. {width - 1}", given)
    means = inference.infer(
        machine, pixels[:, :given], range(given), engine=engine,  # type: ignore[arg-type]  # validated there
        chains=chains, seed=seed, threads=threads,
        duration=parse_time(duration, "duration"), calibration=read_calibration(neuron),
    )  # fmt: skip
    write_arrays(output, {"marginals": means}, force=force)
    error = float(np.abs(means[:, given:width] - pixels[:, given:]).mean())
    print(f"mean absolute error of the {width - given} hidden pixels: {error:.4f} ({engine}); wrote {output}")
