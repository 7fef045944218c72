"""In the high-conductance state the response function is close to a logistic: how close, and what else it takes.

    python examples/high_conductance.py -o FOLDER [--quick] [--dt MS]

writes high_conductance.png and high_conductance.csv.

One current-based neuron with tau_syn = tau_refrac = 10 ms; the membrane time constant (here tau_eff = tau_m) runs
from a hundredth to a half of tau_syn. The weights are scaled along so that the effective potential keeps a
standard deviation of 1 mV; at 10 kHz of excitation and inhibition one input moves it by a tenth of that. The
reset lies at threshold or one standard deviation below. Lines: population density. Points: simulated spikes.
"""

import argparse
import csv
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from scipy.interpolate import PchipInterpolator
from scipy.special import expit, ndtr

import boltzspike as bs
from boltzspike.theory.logistic import asymmetry, fit_logistic, half_point

TAU, SIGMA, RATE, THRESHOLD = 10.0, 1.0, 10_000.0, -50.0  # ms, mV, Hz, mV
RESETS = {"at threshold": 0.001 * SIGMA, "one sigma below": SIGMA}
RATIOS = np.geomspace(0.01, 0.5, 8)
SIMULATED = RATIOS[[0, 2, 4, 6, 7]]
COLOURS = {"at threshold": "#2a6f97", "one sigma below": "#e07a1f"}
SHOWN = (RATIOS[0], "at threshold"), (RATIOS[-1], "at threshold"), (RATIOS[-1], "one sigma below")


def describe(ratio, reset):
    """Return the neuron with tau_eff = ratio tau_syn and the background that gives it SIGMA."""
    neuron = bs.CurrentLIF(
        c_m=0.2, tau_m=ratio * TAU, v_rest=THRESHOLD, v_thresh=THRESHOLD, v_reset=THRESHOLD - RESETS[reset],
        tau_refrac=TAU, tau_syn_exc=TAU, tau_syn_inh=TAU,
    )  # fmt: skip
    weight = neuron.g_l * SIGMA / np.sqrt(RATE * 1e-3 * TAU)  # Campbell: two sources of variance rate tau w^2/2
    return neuron, bs.PoissonBackground(rates=[RATE, RATE], weights=[weight, -weight])


def potentials(neuron, background, points):
    """Return mean potentials over the range where the burst theory has p from .004 to .996."""
    wide = THRESHOLD + SIGMA * np.linspace(-6, 8, 141)
    p = bs.response(neuron, background, v_rest=wide, method="burst").p
    inside = wide[(p > 0.004) & (p < 0.996)]
    return np.linspace(inside[0], inside[-1], points)


def signed_asymmetry(x, p, d):
    """Return p(u50 + d) + p(u50 - d) - 1."""
    curve, half = PchipInterpolator(x, p), half_point(x, p)
    return curve(half + d) + curve(half - d) - 1


def measure(ratio, reset, points, simulation, rng):
    """Return a line of the table, and the curves behind it."""
    neuron, background = describe(ratio, reset)
    x = potentials(neuron, background, points)
    theory = bs.response(neuron, background, v_rest=x)
    fit = fit_logistic(x, theory.p)
    line = {"tau_eff/tau_syn": ratio, "reset": reset, "u0": fit.u0, "alpha": fit.alpha}
    line |= {"rms_theory": fit.rms, "asymmetry_theory": asymmetry(x, theory.p)}
    if simulation is None:
        return line, (x, theory, None, fit)
    spikes = bs.response(neuron, background, v_rest=x, method="simulation", **simulation)
    inside = (spikes.p >= 0.01) & (spikes.p <= 0.99)
    p, error, n = spikes.p[inside], spikes.error[inside], inside.sum()
    own = fit_logistic(x, spikes.p)
    residual = p - expit((x[inside] - own.u0) / own.alpha)
    # the noise of p adds its variance to the mean square, less what the two parameters of the fit absorb
    rms = np.sqrt(max(own.rms**2 - np.mean(error**2) * (n - 2) / n, 1e-12))
    # a maximum over noise is biased: look where the theory has its maximum instead
    distances = np.linspace(0, min(half_point(x, theory.p) - x[0], x[-1] - half_point(x, theory.p)), 400)
    d = distances[np.argmax(np.abs(signed_asymmetry(x, theory.p, distances)))]
    noisy = [signed_asymmetry(x, spikes.p + spikes.error * rng.normal(size=points), d) for _ in range(200)]
    line |= {
        "rms_simulation": rms,
        "rms_error": np.sqrt(np.sum((residual * error) ** 2)) / (n * rms),  # the fit is stationary
        "asymmetry_simulation": signed_asymmetry(x, spikes.p, d) * np.sign(signed_asymmetry(x, theory.p, d)),
        "asymmetry_error": np.std(noisy),
        "largest_difference_of_p": np.abs(spikes.p - theory.p).max(),
        "largest_error_of_p": spikes.error.max(),
    }
    return line, (x, theory, spikes, fit)


def draw(lines, curves, path):
    """Draw example curves over their logistic, the residuals, and both measures against tau_eff/tau_syn."""
    figure = Figure(figsize=(13.5, 5.4), dpi=110, facecolor="white", layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=[1, 1.75])
    top, bottom = left.subplots(2, 1, sharex=True, height_ratios=[1.5, 1])
    z = np.linspace(-6.5, 6.5, 300)
    top.plot(z, expit(z), color="#333333", lw=1, label="logistic")
    bottom.axhline(0, color="#333333", lw=1)
    for (ratio, reset), style, marker in zip(SHOWN, ("-", "--", "-"), "o^s"):
        x, theory, spikes, fit = curves[ratio, reset]
        colour, scaled = COLOURS[reset], (x - fit.u0) / fit.alpha
        smooth = np.linspace(x[0], x[-1], 300)
        p = PchipInterpolator(x, theory.p)(smooth)
        top.plot((smooth - fit.u0) / fit.alpha, p, style, color=colour, lw=1.2)
        label = rf"$\tau_\mathrm{{eff}}/\tau_\mathrm{{syn}}$ = {ratio:.2g}, reset {reset}"
        filled = colour if style == "-" else "white"
        look = {"color": colour, "ms": 4.5, "mfc": filled, "lw": 0, "elinewidth": 1}
        top.errorbar(scaled, spikes.p, spikes.error, marker=marker, label=label, **look)
        bottom.plot(
            (smooth - fit.u0) / fit.alpha, p - expit((smooth - fit.u0) / fit.alpha), style, color=colour, lw=1.2
        )
        bottom.errorbar(scaled, spikes.p - expit(scaled), spikes.error, marker=marker, **look)
    top.set(ylabel="$p(z=1)$", ylim=(-0.03, 1.35), yticks=[0, 0.5, 1], title="response and fitted logistic")
    top.legend(frameon=False, fontsize=8, loc="upper left")
    bottom.set(xlabel=r"$(\mu - u_0)/\alpha$", ylabel="minus logistic", xlim=(-6.5, 6.5))
    panels = right.subplots(1, 2)
    gaussian = np.linspace(-4, 4, 801)
    for axis, name in zip(panels, ("rms", "asymmetry")):
        for reset, colour in COLOURS.items():
            table = [line for line in lines if line["reset"] == reset]
            ratio = np.array([line["tau_eff/tau_syn"] for line in table])
            axis.plot(ratio, [line[f"{name}_theory"] for line in table], color=colour, label=f"reset {reset}")
            points = [line for line in table if f"{name}_simulation" in line]
            axis.errorbar(
                [line["tau_eff/tau_syn"] for line in points], [line[f"{name}_simulation"] for line in points],
                [line[f"{name}_error"] for line in points], marker="o", ms=5, lw=0, elinewidth=1.2, color=colour,
            )  # fmt: skip
        axis.set(xscale="log", yscale="log", xlabel=r"$\tau_\mathrm{eff}/\tau_\mathrm{syn}$", ylim=(1e-3, 0.3))
        axis.grid(color="#e6e8eb", lw=0.7)
        axis.set_axisbelow(True)
    panels[0].axhline(fit_logistic(gaussian, ndtr(gaussian)).rms, color="#888888", ls=":", label="error function")
    panels[0].set_title("RMS deviation from the logistic")
    panels[1].set_title(r"asymmetry  max$_d\,|p(u_{50}+d)+p(u_{50}-d)-1|$", fontsize=11)
    panels[0].plot([], [], color="#555555", label="line: population density")
    panels[0].errorbar([], [], [], color="#555555", marker="o", lw=0, elinewidth=1.2, label="points: simulation")
    panels[0].legend(frameon=False, fontsize=9, loc="upper left")
    for axis in top, bottom, *panels:
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path)


def main():
    """Measure all lines, write the table and the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--quick", action="store_true", help="fewer points and shorter simulations")
    parser.add_argument("--dt", type=float, help="time step of the simulation, ms; by default .02, quick .05")
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    points, ratios = (17, RATIOS[[0, 4, 7]]) if arguments.quick else (21, RATIOS)
    duration = 1e4 if arguments.quick else 6e4
    simulation = {"duration": duration, "chains": 32, "dt": arguments.dt or (0.05 if arguments.quick else 0.02)}
    rng, lines, curves = np.random.default_rng(arguments.seed), [], {}
    for reset in RESETS:
        for ratio in ratios:
            # a seed of its own, so that the errors of neighbouring points are independent
            wanted = simulation | {"seed": arguments.seed + len(lines)} if ratio in SIMULATED else None
            line, curves[ratio, reset] = measure(ratio, reset, points, wanted, rng)
            lines.append(line)
            print("  ".join(f"{k} {v:.4g}" if isinstance(v, float) else v for k, v in line.items()))
    with open(arguments.output / "high_conductance.csv", "w", newline="") as file:
        writer = csv.DictWriter(file, max(lines, key=len), restval="")
        writer.writeheader()
        writer.writerows({k: v if isinstance(v, str) else f"{v:.6g}" for k, v in line.items()} for line in lines)
    draw(lines, curves, arguments.output / "high_conductance.png")


if __name__ == "__main__":
    main()
