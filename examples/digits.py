"""Spiking neurons see the upper half of a handwritten digit, draw the rest and name it.

    python examples/digits.py -o FOLDER [--quick] [--rule learned]    writes digits.png, digits.csv, digits.json
    python examples/digits.py --train                             trains again, writes examples/digits-rbm.json

The machine is a restricted Boltzmann machine: 64 pixels and 10 label units, one for each digit, above 16 hidden
units, trained on two thirds of scikit-learn's 1,797 images of 8 x 8 pixels. Here the images are ones that
it has not seen. The upper 32 pixels are given; what the LIF neurons do about the other 58 units is compared
with the exact posterior, a sum over all 2^16 hidden states.
"""

import argparse
import csv
import json
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from scipy.special import expit, softmax
from sklearn.datasets import load_digits

import boltzspike as bs
from boltzspike.training import Settings, class_rbm

MACHINE = Path(__file__).with_name("digits-rbm.json")
THRESHOLD = 8  # a pixel, 0 .. 16 in the data, counts as ink from here on
PIXELS, GIVEN, LABELS, HIDDEN = 64, 32, 10, 16
LABEL = slice(PIXELS, PIXELS + LABELS)
BLUE, ORANGE, GREEN, RED, PAPER = "#2a6f97", "#e07a1f", "#2b8a3e", "#c0392b", "#e9ebee"
ROWS = ("held-out\nimage", "what the\nnetwork is given", "completed by\nspiking neurons", "completed\nexactly",
        "which digit?\n$p$(label = 1)\nfrom 0 to 1")  # fmt: skip
CAPTION = (
    "The first held-out image of each digit. Bars: share of time that a label neuron is on, with standard error; "
    "orange: exact. The likeliest digit is green where right, red where wrong.\n"
    "Over {images} images the neurons (translation rule: {rule}) name {lif_accuracy:.0%} rightly, exact inference "
    "{exact_accuracy:.0%}; mean absolute error of p: labels {label_error:.3f}, pixels {pixel_error:.3f}."
)


def load():
    """Return grey images, binary pixels, digits, and which images are held out: every third of the file."""
    images, digits = load_digits(return_X_y=True)
    return images, (images >= THRESHOLD).astype(int), digits, np.arange(len(digits)) % 3 == 2


def train():
    """Train by persistent chains with fast weights, with some weight on naming: see ``boltzspike.training``.

    The naming costs nothing in what the machine knows of the pixels: test log-likelihoods are in docs/learning.md.
    """
    _, pixels, digits, held_out = load()
    visible = np.hstack([pixels, np.eye(LABELS)[digits]])[~held_out]
    settings = Settings(
        epochs=300, batch_size=20, method="fast-pcd", learning_rate=(0.2, 0.005), weight_decay=1e-3, average=0.999,
        labels=LABELS, discriminative=0.3,
    )  # fmt: skip
    rbm = bs.train(class_rbm(PIXELS, LABELS, HIDDEN, data=visible), visible, settings=settings).model.machine()
    names = [f"pixel-{k // 8}-{k % 8}" for k in range(PIXELS)] + list(rbm.names[PIXELS:])
    weights, b, c = (np.round(a, 4) for a in (rbm.weights, rbm.visible_biases, rbm.hidden_biases))
    return bs.RestrictedBoltzmannMachine(weights=weights, visible_biases=b, hidden_biases=c, names=names)


def exact_labels(machine, pixels, given):
    """Return p(label = 1 | the first ``given`` pixels) of many images: all 2^16 hidden states at once."""
    weights, biases = np.asarray(machine.weights), np.asarray(machine.visible_biases)
    states = (np.arange(2**HIDDEN)[:, None] >> np.arange(HIDDEN) & 1).astype(np.float32)
    field = (states @ weights[given:].T + biases[given:]).astype(np.float32)
    free, labels = np.logaddexp(0, field).sum(axis=1), expit(field[:, -LABELS:])
    drives = (pixels[:, :given] @ weights[:given] + machine.hidden_biases).astype(np.float32)
    return np.array([softmax(states @ drive + free) @ labels for drive in drives])


def exact_accuracies(machine):
    """Return the share of all held-out images whose likeliest label under the exact posterior is right."""
    _, pixels, digits, held_out = load()
    accuracies = {}
    for name, given in ("all_pixels", PIXELS), ("upper_half", GIVEN):
        named = exact_labels(machine, pixels[held_out], given).argmax(axis=1)
        accuracies[f"exact_held_out_{name}"] = np.mean(named == digits[held_out])
    return accuracies


def complete(machine, pixels, **options):
    """Return the spiking network's samples given the upper half, and the exact probabilities of all units."""
    result = bs.sample(machine, clamp=dict(enumerate(pixels[:GIVEN].tolist())), **options)
    return result, result.exact().marginals


def compare(result, exact):
    """Return what the spikes and the exact posterior say, and the mean absolute error over labels and pixels."""
    lif, error, chains = result.marginals(), result.marginals_error(), result.z.mean(axis=1)
    without_one = (chains.sum(axis=0) - chains) / (len(chains) - 1)
    line = {}
    for source, p in ("lif", lif[LABEL]), ("exact", exact[LABEL]):
        line |= {source: int(p.argmax()), f"{source}_p": p.max()}
    for kind, units in ("label", LABEL), ("pixel", slice(GIVEN, PIXELS)):
        jackknife = np.abs(without_one - exact)[:, units].mean(axis=1)
        line[f"{kind}_error"] = np.abs(lif - exact)[units].mean()
        line[f"{kind}_error_se"] = np.sqrt(len(chains) - 1) * jackknife.std()
        line[f"{kind}_noise"] = np.sqrt(2 / np.pi) * error[units].mean()  # the error of a perfect sampler
    return line | {"effective_samples": np.nanmedian(result.effective_samples()[GIVEN : PIXELS + LABELS])}


def summarise(lines):
    """Return the means over the images, with standard errors over images."""
    table = {name: np.array([line[name] for line in lines]) for name in lines[0]}
    right = {source: (table[source] == table["digit"]).astype(float) for source in ("lif", "exact")}
    means = {f"{source}_accuracy": right[source] for source in right}
    means |= {"lif_minus_exact": right["lif"] - right["exact"], "same_name": table["lif"] == table["exact"]}
    means |= {name: table[name] for name in ("label_error", "label_noise", "pixel_error", "pixel_noise")}
    summary = {"images": len(lines)}
    for name, values in means.items():
        summary |= {name: values.mean(), f"{name}_se": values.std() / np.sqrt(len(values) - 1)}
    return summary


def draw(columns, summary, path):
    """Draw a column for each image: original, given half, the two completions, the names."""
    figure = Figure(figsize=(13, 8.2), dpi=110, facecolor="white")
    rows = figure.subplots(
        5, len(columns), height_ratios=[1, 1, 1, 1, 1.15],
        gridspec_kw={"left": 0.115, "right": 0.985, "top": 0.89, "bottom": 0.165, "hspace": 0.08, "wspace": 0.12},
    )  # fmt: skip
    for (original, pixels, line, result, exact), axes in zip(columns, rows.T):
        lif, error = result.marginals(), result.marginals_error()
        shown = np.where(np.arange(PIXELS) < GIVEN, pixels, np.nan)
        for axis, values, top in zip(axes, (original, shown, lif, exact), (16, 1, 1, 1)):
            axis.imshow(np.reshape(values[:PIXELS], (8, 8)), cmap="gray_r", vmin=0, vmax=top)
            axis.set(xticks=[], yticks=[], facecolor=PAPER)
            axis.spines[:].set_color("#c5c9cf")
        for axis in axes[1:4]:
            axis.axhline(3.5, color=BLUE, lw=1)
        bars = axes[4]
        bars.bar(range(LABELS), lif[LABEL], color=BLUE, width=0.8, yerr=error[LABEL], error_kw={"lw": 0.8})
        bars.plot(range(LABELS), exact[LABEL], "_", color=ORANGE, ms=7, mew=2)
        bars.set(ylim=(0, 1.05), xlim=(-0.7, 9.7), xticks=range(LABELS), yticks=[])
        bars.tick_params(labelsize=7, length=0, pad=2)
        bars.spines[["top", "right", "left"]].set_visible(False)
        for height, source, name in (-0.34, "lif", "LIF"), (-0.54, "exact", "exact"):
            colour = GREEN if line[source] == line["digit"] else RED
            text = f"{name}: {line[source]}  ({line[f'{source}_p']:.2f})"
            bars.text(0.5, height, text, color=colour, ha="center", fontsize=9, transform=bars.transAxes)
        axes[0].set_title(line["digit"], fontsize=13, color="#222222")
    for axis, caption in zip(rows[:, 0], ROWS):
        axis.set_ylabel(caption, rotation=0, ha="right", va="center", labelpad=10, fontsize=10.5)
    figure.suptitle("LIF neurons complete and name half-seen digits", x=0.5, y=0.97, fontsize=17, weight="bold")
    figure.text(0.5, 0.018, summary, ha="center", fontsize=9, color="#555555")
    figure.savefig(path)


def demonstrate(machine, folder, *, per_digit, seed=1, **options):
    """Complete the first held-out images of each digit; write the picture, the table and the totals."""
    images, pixels, digits, held_out = load()
    first = [np.flatnonzero(held_out & (digits == digit))[:per_digit] for digit in range(LABELS)]
    preset = bs.presets.S1
    options |= {"calibration": bs.calibrate(preset.neuron, preset.background, control=preset.control)}
    lines, columns = [], []
    print("image digit  LIF       exact     label error      pixel error      effective samples")
    for image in np.transpose(first).ravel():
        result, exact = complete(machine, pixels[image], seed=seed + int(image), **options)
        line = {"image": int(image), "digit": int(digits[image])} | compare(result, exact)
        print("{image:5} {digit:5}  {lif} ({lif_p:.2f})  {exact} ({exact_p:.2f})  "
              "{label_error:.3f} +- {label_error_se:.3f}  {pixel_error:.3f} +- {pixel_error_se:.3f}  "
              "{effective_samples:.0f}".format(**line))  # fmt: skip
        lines.append(line)
        columns.append((images[image], pixels[image], line, result, exact))

    summary = exact_accuracies(machine) | summarise(lines)
    summary |= {name: options[name] for name in ("rule", "chains", "duration")}
    print(json.dumps(summary, indent=2))
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "digits.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, lines[0])
        writer.writeheader()
        writer.writerows(lines)
    (folder / "digits.json").write_text(json.dumps(summary, indent=2) + "\n")
    draw(columns[:LABELS], CAPTION.format(**summary), folder / "digits.png")
    print("wrote", *(folder / f"digits.{suffix}" for suffix in ("png", "csv", "json")))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, default=Path("demo-output"), metavar="FOLDER")
    parser.add_argument("--rule", default="learned", help="translation rule")
    parser.add_argument("--quick", action="store_true", help="fewer images, shorter runs")
    parser.add_argument("--train", action="store_true", help=f"train again and write {MACHINE.name}")
    arguments = parser.parse_args()
    if arguments.train:
        train().save(MACHINE, force=True)
        return print(json.dumps(exact_accuracies(bs.read(MACHINE)), indent=2))
    per_digit, chains, duration = (1, 8, 300.0) if arguments.quick else (5, 16, 1000.0)
    options = {"rule": arguments.rule, "chains": chains, "duration": duration}
    demonstrate(bs.read(MACHINE), arguments.output, per_digit=per_digit, **options)


if __name__ == "__main__":
    main()
