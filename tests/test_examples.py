import csv
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest

import boltzspike as bs
from boltzspike import pictures

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(scope="module")
def digits():
    specification = importlib.util.spec_from_file_location("digits", EXAMPLES / "digits.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


def test_digits_writes_a_picture_a_table_and_totals(tmp_path):
    folder = tmp_path / "made" / "here"
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "digits.py"), "--quick", "-o", str(folder)],
        capture_output=True, text=True, timeout=300, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    height, width = matplotlib.image.imread(folder / "digits.png").shape[:2]
    assert height > 500
    assert width > 500
    with open(folder / "digits.csv") as file:
        table = list(csv.DictReader(file))
    assert sorted(int(line["digit"]) for line in table) == list(range(10))
    for line in table:
        assert 0 <= float(line["lif_p"]) <= 1
        assert 0 < float(line["label_error"]) < 1
    totals = json.loads((folder / "digits.json").read_text())
    assert totals["images"] == 10
    assert totals["exact_accuracy"] == np.mean([line["exact"] == line["digit"] for line in table])
    # chance is 0.1; the machine is committed and the posterior is exact, so only rounding can move these
    assert totals["exact_held_out_all_pixels"] == pytest.approx(548 / 599, abs=2.5 / 599)
    assert totals["exact_held_out_upper_half"] == pytest.approx(460 / 599, abs=2.5 / 599)


def test_digits_sums_over_hidden_states_like_the_library(digits):
    machine = bs.read(digits.MACHINE)
    _, pixels, _, held_out = digits.load()
    image = pixels[held_out][0]
    for given in (digits.GIVEN, digits.PIXELS):
        clamp = dict(enumerate(image[:given].tolist()))
        expected = bs.theory.exact.exact_given(machine, clamp).marginals[digits.LABEL]
        # the example sums in float32 over fields of a few tens: a few units of 1e-5
        assert digits.exact_labels(machine, image[None], given)[0] == pytest.approx(expected, abs=1e-4)


def test_high_conductance_writes_its_figure_and_the_papers_claim(tmp_path):
    folder = tmp_path / "made" / "here"
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "high_conductance.py"), "--quick", "-o", str(folder)],
        capture_output=True, text=True, timeout=300, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    height, width = matplotlib.image.imread(folder / "high_conductance.png").shape[:2]
    assert min(height, width) > 500
    with open(folder / "high_conductance.csv") as file:
        table = list(csv.DictReader(file))
    assert len(table) == 6
    for line in table:
        # a maximum over 17 points, and the grids of simulation and density: 3.5 standard errors and .003
        tolerance = 3.5 * float(line["largest_error_of_p"]) + 0.003
        assert float(line["largest_difference_of_p"]) < tolerance, line
        for measure in "rms", "asymmetry":
            theory, simulated, error = (float(line[f"{measure}_{x}"]) for x in ("theory", "simulation", "error"))
            assert simulated == pytest.approx(theory, abs=3.5 * error + 0.003), line
    rms = {(line["reset"], round(float(line["tau_eff/tau_syn"]), 2)): float(line["rms_theory"]) for line in table}
    # the limit of high conductance is as far from a logistic as the error function, whatever the reset
    assert rms["at threshold", 0.01] == pytest.approx(0.0071, abs=0.0004)
    assert rms["one sigma below", 0.01] == pytest.approx(0.0071, abs=0.0004)
    # away from it the reset decides
    assert rms["at threshold", 0.5] == pytest.approx(0.0071, abs=0.0004)
    assert rms["one sigma below", 0.5] > 0.05


@pytest.mark.slow
def test_the_gallery_draws_every_picture(tmp_path):
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "gallery.py"), "--quick", "-o", str(tmp_path / "made")],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    drawn = sorted((tmp_path / "made").glob("*.png"))
    assert [f"wrote {path}" for path in drawn] == sorted(done.stdout.splitlines())
    calls = (EXAMPLES / "gallery.py").read_text()
    for name in pictures.__all__:
        assert f"pictures.{name}(" in calls, f"the gallery leaves out {name}"
    for path in drawn:
        pixels = matplotlib.image.imread(path)[..., :3].min(axis=-1)
        assert min(pixels.shape) > 150
        assert (pixels < 0.98).mean() > 0.005
        assert np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]]).min() == 1, path


@pytest.mark.parametrize("task", ["digits", "bars", "chain", "hardware"])
def test_learning_writes_a_picture_and_its_numbers(task, tmp_path):
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "learning.py"), task, "--quick", "-o", str(tmp_path)],
        capture_output=True, text=True, timeout=300, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert min(matplotlib.image.imread(tmp_path / f"{task}.png").shape[:2]) > 300
    numbers = json.loads((tmp_path / f"{task}.json").read_text())
    if task == "digits":
        assert 0 <= numbers["judged as asked"] <= 1
    elif task == "bars":
        assert min(numbers.values()) > 0
    elif task == "hardware":
        # a single bit a weight: no quick training brings the law to the target
        written, _ = numbers["D_KL, mean and SD over targets"]["bits of a weight, 1"]["as written"]
        assert written > 0.01
    else:
        # a variational energy lies above the exact one: of spikes up to their noise, here 3 standard errors
        assert numbers["table"][0]["relative error, summed exactly"] > 0
        assert numbers["table"][0]["relative error"] > -0.003
