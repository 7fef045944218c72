import re

import numpy as np
import pytest
from sklearn.datasets import load_digits

import boltzspike as bs
from boltzspike.cli import main
from boltzspike.errors import ValidationError
from boltzspike.training import Settings, class_rbm
from boltzspike.training.data import read_data
from boltzspike.training.hardware import Hardware


@pytest.fixture(scope="module")
def folder(tmp_path_factory, run):
    """Two kinds of digits, and a class RBM trained on them by the command."""
    path = tmp_path_factory.mktemp("learning")
    images, digits = load_digits(n_class=2, return_X_y=True)
    np.savez(path / "grey.npz", pixels=images[:200], labels=digits[:200])
    np.savez(path / "test.npz", pixels=(images[200:212] > 7).astype(int), labels=digits[200:212])
    ran = run("train", path / "grey.npz", "-o", path / "m.json", "--threshold", 7, "--hidden", 8, "--epochs", 60)
    assert "pseudo-likelihood" in ran.output
    return path


def arrays(path):
    with open(path, "rb") as file, np.load(file) as archive:
        return dict(archive)


def test_train_writes_a_class_rbm_that_classify_uses(folder, run):
    machine = bs.read(folder / "m.json")
    assert (machine.n_visible, machine.n_units) == (66, 74)
    assert machine.names[64:66] == ("label-0", "label-1")
    for engine in ("exact", "gibbs", "lif"):
        output = folder / f"{engine}.npz"
        options = ["--engine", engine, "--chains", 4, "--duration", "300ms", "-o", output]
        assert "of 12 named rightly" in run("classify", folder / "m.json", folder / "test.npz", *options).output
        named = arrays(output)["named"]
        assert np.mean(named == arrays(folder / "test.npz")["labels"]) > 0.8


@pytest.mark.filterwarnings("ignore::boltzspike.errors.BoltzspikeWarning")  # of the rule: weights are strong
def test_generate_draws_the_class_that_is_asked_for(folder, run):
    run("generate", folder / "m.json", "-o", folder / "g.npz", "--number", 6, "--label", 1, "--duration", "500ms")
    drawn = arrays(folder / "g.npz")
    assert drawn["pixels"].shape == (6, 64)
    np.testing.assert_array_equal(drawn["label_units"], [[0, 1]] * 6)


@pytest.mark.filterwarnings("ignore::boltzspike.errors.BoltzspikeWarning")
def test_generate_under_a_swelling_background_keeps_the_label(folder, run):
    options = ["--number", 6, "--label", 1, "--duration", "400ms", "--hottest", 1.7]
    run("generate", folder / "m.json", "-o", folder / "hot.npz", *options)
    run("generate", folder / "m.json", "-o", folder / "hotter.npz", *options[:-1], 2.4)
    hot, hotter = arrays(folder / "hot.npz"), arrays(folder / "hotter.npz")
    np.testing.assert_array_equal(hot["label_units"], [[0, 1]] * 6)
    assert hot["pixels"].shape == (6, 64)
    assert (hot["pixels"] != hotter["pixels"]).any()


def test_any_setting_of_training_is_an_option(folder, run):
    """The machine is that of the same Settings in Python."""
    given = ["--set", "optimizer=adam", "--set", "sparsity=0.2", "--set", "chains=7", "--epochs", 2]
    run("train", folder / "test.npz", "-o", folder / "set.json", "--hidden", 5, *given)
    settings = Settings(
        epochs=2, batch_size=50, learning_rate=0.1, weight_decay=1e-3, average=0.99, optimizer="adam",
        sparsity=0.2, chains=7, labels=2,
    )  # fmt: skip
    data = arrays(folder / "test.npz")
    visible = np.hstack([data["pixels"], np.eye(2)[data["labels"]]])
    model = class_rbm(64, 2, 5, data=visible, seed=0)
    assert bs.read(folder / "set.json") == bs.train(model, visible, settings=settings).model.machine()


def test_training_stops_where_held_out_data_gain_no_more(folder, run):
    output = run(
        "train", folder / "grey.npz", "-o", folder / "early.json", "--threshold", 7, "--hidden", 8,
        "--epochs", 5000, "--average", 0, "--held-out", folder / "test.npz", "--set", "patience=20", "--force",
    ).output  # fmt: skip
    assert "no better value of the monitor for 20 epochs" in output


def test_layers_are_trained_and_name_classes(folder, run):
    options = ["--threshold", 7, "--hidden", "10,5", "--epochs", 2]
    assert (
        "66 visible units, 10,5 hidden"
        in run("train", folder / "grey.npz", "-o", folder / "deep.json", *options).output
    )
    machine = bs.read(folder / "deep.json")
    weights = np.asarray(machine.weights)
    assert machine.n_units == 81
    assert not weights[:66, 76:].any()
    assert weights[66:76, 76:].all()
    named = ["--engine", "gibbs", "--duration", "100ms", "-o", folder / "deep.npz"]
    assert "of 12 named" in run("classify", folder / "deep.json", folder / "test.npz", *named).output


@pytest.mark.filterwarnings("ignore::boltzspike.errors.BoltzspikeWarning")
def test_training_on_hardware_is_that_of_python(folder, run):
    options = ["--sampler", "lif", "--epochs", 1, "--batch", 12, "--hidden", 3, "--average", 0]
    chip = ["--hardware", "weight_bits=1", "--hardware", "bias_noise=1"]
    run("train", folder / "test.npz", "-o", folder / "chip.json", *options, *chip)
    settings = Settings(epochs=1, batch_size=12, learning_rate=0.1, weight_decay=1e-3, labels=2)
    data = arrays(folder / "test.npz")
    visible = np.hstack([data["pixels"], np.eye(2)[data["labels"]]])
    model, calibration = class_rbm(64, 2, 3, data=visible, seed=0), bs.presets.S1
    calibration = bs.calibrate(calibration.neuron, calibration.background)
    chips = Hardware(weight_bits=1, bias_noise=1), None
    on_chip, plain = (
        bs.train(model, visible, sampler="lif", settings=settings, calibration=calibration, hardware=hardware)
        for hardware in chips
    )
    assert bs.read(folder / "chip.json") == on_chip.model.machine() != plain.model.machine()


def test_complete_gives_the_rest_of_each_sample(folder, run):
    options = ["--given", 32, "-o", folder / "c.npz", "--chains", 4, "--duration", "300ms"]
    output = run("complete", folder / "m.json", folder / "test.npz", *options).output
    assert float(output.split("pixels: ")[1].split()[0]) < 0.25
    marginals = arrays(folder / "c.npz")["marginals"]
    np.testing.assert_array_equal(marginals[:, :32], arrays(folder / "test.npz")["pixels"][:, :32])


def test_training_by_the_command_goes_on_where_it_ended(folder, run):
    data, options = folder / "grey.npz", ["--threshold", 7, "--hidden", 4, "--average", 0]
    run("train", data, "-o", folder / "a.json", *options, "--epochs", 4)
    run("train", data, "-o", folder / "b.json", *options, "--epochs", 2, "--checkpoint", folder / "b.npz")
    run("train", data, "-o", folder / "c.json", *options, "--epochs", 4, "--resume", folder / "b.npz")
    assert bs.read(folder / "a.json") == bs.read(folder / "c.json")


@pytest.mark.parametrize(("arguments", "message"), [
    (["train", "grey.npz", "-o", "x.json"], r"pixels\[0, 2\]: must be 0 or 1"),
    (["train", "none.npz", "-o", "x.json"], "none.npz: can't be read"),
    (["train", "test.npz", "-o", "x.json", "--rate", "1000"], "training diverges at 1000"),
    (["train", "test.npz", "-o", "m.json"], "exists already"),
    (["train", "test.npz", "-o", "x.json", "--sampler", "nest"], "sampler: must be one of"),
    (["train", "test.npz", "-o", "x.json", "--set", "epoch=1"], "set: must be FIELD=VALUE with one of chains"),
    (["train", "test.npz", "-o", "x.json", "--set", "epochs=1"], "set: must be FIELD=VALUE"),
    (["train", "test.npz", "-o", "x.json", "--set", "momentum=fast"], "Settings.momentum: must be a finite"),
    (["train", "test.npz", "-o", "x.json", "--set", "patience=3"], "patience: must be None without a monitor"),
    (["train", "test.npz", "-o", "x.json", "--hidden", "4x"], "hidden: must be a number of units"),
    (["train", "test.npz", "-o", "x.json", "--hardware", "weight_bits=4"], "they are options of sampler='lif'"),
    (["train", "test.npz", "-o", "x.json", "--hidden", "4,2", "--held-out", "test.npz"], "held_out: must be left"),
    (["generate", "m.json", "-o", "x.npz", "--hottest", "1.5", "--engine", "gibbs"], "hottest: must be left out"),
    (["generate", "m.json", "-o", "x.npz", "--hottest", "0.5"], "hottest: must be > 1"),
    (["generate", "m.json", "-o", "x.npz", "--label", "7"], "label: must be in 0 .. 1"),
    (["classify", "m.json", "test.npz", "--engine", "nest"], "engine: must be one of exact, gibbs, lif"),
    (["complete", "m.json", "test.npz", "-o", "x.npz", "--given", "64"], "given: must be in 1 .. 63"),
])  # fmt: skip
def test_the_commands_say_what_is_wrong_in_one_line(arguments, message, folder, monkeypatch, capsys):
    monkeypatch.chdir(folder)
    monkeypatch.setattr("sys.argv", ["boltzspike", *arguments])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ")
    assert "\n" not in error
    assert re.search(message, error), error
    assert not (folder / "x.json").exists()


def test_data_are_read_from_every_format(tmp_path):
    pixels = np.array([[0, 1, 1], [1, 0, 0]])
    np.save(tmp_path / "a.npy", pixels)
    np.savetxt(tmp_path / "a.csv", pixels, delimiter=",")
    np.savez(tmp_path / "a.npz", pixels=pixels, labels=[0, 1])
    for name in ("a.npy", "a.csv", "a.npz"):
        found, labels = read_data(tmp_path / name)
        np.testing.assert_array_equal(found, pixels)
        assert (labels is None) == (name != "a.npz")
    np.testing.assert_array_equal(read_data(tmp_path / "a.npy", threshold=0.5)[0], pixels)
    np.savez(tmp_path / "b.npz", pixels=pixels, labels=[0])
    (tmp_path / "c.npz").write_bytes(b"PK\x03\x04broken")
    np.save(tmp_path / "d.npy", np.array([[np.nan]]))
    np.savez(tmp_path / "e.npz", x=pixels)
    (tmp_path / "f.txt").write_text("0")
    for name, message in {
        "b.npz": "labels: must be of shape", "c.npz": "can't be read", "e.npz": "an array 'pixels'",
        "f.txt": "must end in",
    }.items():  # fmt: skip
        with pytest.raises(ValidationError, match=message):
            read_data(tmp_path / name)
    with pytest.raises(ValidationError, match=r"pixels\[0, 0\]: must be finite"):
        read_data(tmp_path / "d.npy", threshold=0.5)
