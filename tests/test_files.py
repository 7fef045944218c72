import dataclasses
import gzip
import json
import os

import numpy as np
import pytest
from scipy.sparse import csr_array

import boltzspike as bs
from boltzspike.errors import ValidationError


@pytest.fixture
def machine(random_machine):
    return random_machine(4)


@pytest.fixture
def result(machine, s1_calibration):
    return bs.sample(machine, calibration=s1_calibration, duration=500, chains=4, clamp={2: 1}, burn_in=50)


def test_every_description_comes_back_as_it_was(tmp_path, machine, s1_calibration, rng):
    rbm = bs.RestrictedBoltzmannMachine(
        weights=rng.normal(size=(2, 3)), visible_biases=[0.1, 0.2], hidden_biases=[1, 2, 3], names=list("abcde")
    )
    curve = bs.response(s1_calibration.neuron, s1_calibration.background, v_rest=[-51.0, -50.0])
    network = bs.translate(
        machine, s1_calibration, synapse=bs.Synapse(delay=0.3, plasticity="additive"), rule="psp"
    ).network
    rich = rich_network()
    for k, what in enumerate((machine, rbm, s1_calibration, curve, network, rich)):
        path = tmp_path / f"{k}.json"
        what.save(path)
        assert bs.read(path) == what
    for what in (machine, rbm):
        what.save(tmp_path / "m.npz", force=True)
        assert bs.read(tmp_path / "m.npz") == what


def rich_network(**changes):
    """All that a network may have."""
    weights = csr_array(np.array([[0, 0.001, 0], [0, 0, -0.002], [0, 0, 0]]))
    neuron = dataclasses.replace(bs.presets.S1.neuron, refractory=bs.RandomRefractory(sd=2.0))
    shared = [
        bs.SharedBackground(rates=[100.0, 50.0], weights=np.full((3, 2), 0.001)),
        bs.ReplayedBackground(times=[1.0, 2.5], sources=[0, 0], duration=9.0, weights=csr_array(np.ones((3, 1)))),
    ]
    schedule = [
        bs.Piecewise(quantity="clamp", times=[3.0], values=[[1, -1]], units=[0, "z2"]),
        bs.Wave(quantity="rate", amplitude=[5.0, 6.0, 7.0], frequency=8.0, sources=[1]),
        bs.Wave(quantity="v_rest", amplitude=0.5, frequency=8.0, phase=0.3),
    ]
    return bs.SpikingNetwork(
        **({
            "neurons": neuron, "backgrounds": bs.presets.S1.background, "weights": weights, "shared": shared,
            "delays": csr_array((np.array([0.5, 1.0]), weights.indices, weights.indptr)), "schedule": schedule,
            "synapse": bs.Synapse(plasticity="tsodyks-markram", U=0.3, tau_rec=100.0),
        } | changes)
    )  # fmt: skip


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"indices": [7, 2]}, "CSR: "),
        ({"indptr": [0, 1]}, "CSR: "),
        ({"data": ["a", 2]}, "CSR: "),
        ({"shape": [3]}, ""),
        ({"data": None}, "CSR: "),
    ],
)
def test_a_damaged_sparse_matrix_is_refused(tmp_path, change, message):
    path = tmp_path / "n.json"
    rich_network().save(path)
    data = json.loads(path.read_text())
    assert data["weights"]["type"] == "CSR"
    data["weights"] |= change
    path.write_text(json.dumps(data))
    with pytest.raises(ValidationError, match=f"n.json: {message}"):
        bs.read(path)


def test_a_result_comes_back_with_all_that_made_it(tmp_path, result):
    result.save(tmp_path / "r.nc")
    back = bs.read(tmp_path / "r.nc")
    assert np.array_equal(back.z, result.z)
    assert back.machine == result.machine
    assert back.network == result.network
    assert back.calibration == result.calibration
    assert back.clamp == {2: 1}
    assert back.configuration == result.configuration
    assert back.kl_divergence() == result.kl_divergence()
    assert back.speed == pytest.approx(result.speed)


def test_a_result_opens_without_us(tmp_path, result):
    import xarray

    result.save(tmp_path / "r.nc")
    with xarray.open_datatree(tmp_path / "r.nc", engine="h5netcdf") as tree:
        states = tree["posterior"]["states"]
        assert states.dims == ("chain", "draw", "unit")
        assert states.dtype == np.int8
        assert list(states.unit.values) == list(result.names)
        assert np.array_equal(states, result.z)
        assert tree["sample_stats"]["energy"].values == pytest.approx(result.energies())
        assert tree["configuration"].attrs["seed"] == 1
        assert tree["target"]["weights"].values == pytest.approx(result.machine.weights)


def test_an_existing_file_is_kept_unless_forced(tmp_path, machine):
    path = tmp_path / "m.json"
    path.write_text("precious")
    with pytest.raises(ValidationError, match=r"m.json: exists already; --force \(force=True\) overwrites it"):
        machine.save(path)
    assert path.read_text() == "precious"
    machine.save(path, force=True)
    assert bs.read(path) == machine


def test_a_failed_write_leaves_the_earlier_file_and_no_partial_one(tmp_path, result, monkeypatch):
    import xarray

    path = tmp_path / "r.nc"
    path.write_text("precious")

    def full_disk(self, *args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(xarray.DataTree, "to_netcdf", full_disk)
    with pytest.raises(ValidationError, match=r"r.nc: can't be written: No space left on device"):
        result.save(path, force=True)
    assert path.read_text() == "precious"
    assert os.listdir(tmp_path) == ["r.nc"]


def test_a_folder_that_does_not_exist_is_named(tmp_path, machine):
    with pytest.raises(ValidationError, match="the folder .* does not exist"):
        machine.save(tmp_path / "none" / "m.json")
    with pytest.raises(ValidationError, match="is a folder"):
        machine.save(tmp_path)


def document(machine, tmp_path, **changes):
    machine.save(tmp_path / "m.json", force=True)
    data = json.loads((tmp_path / "m.json").read_text()) | changes
    (tmp_path / "m.json").write_text(json.dumps(data))
    return tmp_path / "m.json"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"format": "other"}, 'not a boltzspike file: it lacks "format": "boltzspike"'),
        ({"schema": 99}, r"schema: must be an integer in 1..1, got 99; a newer boltzspike may read it"),
        ({"schema": "one"}, r"schema: must be an integer in 1..1"),
        ({"type": "BoltzmanMachine"}, "type: must be one of boltzspike's, got 'BoltzmanMachine'; did you mean"),
        ({"type": None}, "type: must be one of boltzspike's, got None"),
        ({"biases": [0, 0, 0]}, r"BoltzmannMachine.weights: must be of shape \(3, 3\)"),
        ({"biases": None}, r"BoltzmannMachine.biases"),
        ({"names": 5}, r"BoltzmannMachine"),
        ({"extra": 5}, r"BoltzmannMachine: no parameter 'extra'"),
    ],
)
def test_a_wrong_document_is_named_with_its_field(tmp_path, machine, changes, message):
    with pytest.raises(ValidationError, match="m.json: .*" + message):
        bs.read(document(machine, tmp_path, **changes))


@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe\x00", b"{" * 100_000, b"[1, 2", b"\x89HDF\r\n\x1a\n", b"PK\x03\x04"]
)
def test_a_foreign_or_damaged_file_is_one_clear_error(tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content)
    with pytest.raises(ValidationError, match=r"file: (is empty|neither|can't be read|not a)"):
        bs.read(path)


def test_text_that_is_no_utf8_within_json_is_one_clear_error(tmp_path, machine):
    machine.save(tmp_path / "m.json")
    text = (tmp_path / "m.json").read_bytes()
    (tmp_path / "bad.json").write_bytes(text.replace(b"boltzspike", b"boltz\xa3pike"))
    with pytest.raises(ValidationError, match="bad.json: not a valid JSON file .*0xa3"):
        bs.read(tmp_path / "bad.json")
    (tmp_path / "bom.json").write_bytes(b"\xef\xbb\xbf" + text)
    assert bs.read(tmp_path / "bom.json") == machine


def test_an_error_shows_the_beginning_of_what_is_long(tmp_path, machine):
    deep = document(machine, tmp_path, weights=[[[0.0] * 1000] * 3, [1.0]])
    with pytest.raises(ValidationError, match=r"weights: must be an array of numbers, got \[\[\[0.0") as caught:
        bs.read(deep)
    assert len(str(caught.value)) < 400


def test_empty_compressed_and_passing_files_are_refused_by_what_they_are(tmp_path):
    (tmp_path / "empty.bif").write_text("")
    with pytest.raises(ValidationError, match="empty.bif: is empty"):
        bs.read(tmp_path / "empty.bif")
    (tmp_path / "asia.bif.gz").write_bytes(gzip.compress(b"network x {}"))
    with pytest.raises(ValidationError, match="asia.bif.gz: is compressed; gunzip it first"):
        bs.read(tmp_path / "asia.bif.gz")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValidationError, match="pipe: must be a regular file"):
        bs.read(tmp_path / "pipe")


def test_every_truncation_of_a_result_is_refused(tmp_path, result):
    result.save(tmp_path / "r.nc")
    whole = (tmp_path / "r.nc").read_bytes()
    for share in (0.1, 0.5, 0.9, 0.99):
        (tmp_path / "cut.nc").write_bytes(whole[: int(share * len(whole))])
        with pytest.raises(ValidationError, match="cut.nc: can't be read"):
            bs.read(tmp_path / "cut.nc")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ValidationError, match="nothing.json: can't be read: No such file"):
        bs.read(tmp_path / "nothing.json")


def test_a_pickle_in_an_npz_is_not_read(tmp_path):
    with (tmp_path / "m.npz").open("wb") as file:
        np.savez(file, weights=np.array([{"a": 1}], dtype=object), biases=np.zeros(1))
    with pytest.raises(ValidationError, match="can't be read as npz"):
        bs.read(tmp_path / "m.npz")
