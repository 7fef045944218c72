"""The result's file: what it holds for others, what is read of it when, and what damage does."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import xarray

import boltzspike as bs
from boltzspike import archive
from boltzspike.errors import ValidationError


@pytest.fixture(scope="module")
def machine():
    rng = np.random.default_rng(5)
    weights = np.triu(rng.normal(0, 0.5, (4, 4)), 1)
    return bs.BoltzmannMachine(weights=weights + weights.T, biases=rng.normal(0, 0.5, 4), names=list("abcd"))


@pytest.fixture(scope="module")
def result(machine, s1_calibration):
    return bs.sample(machine, calibration=s1_calibration, duration=2000, chains=4, clamp={2: 1}, burn_in=50)


@pytest.fixture
def stored(result, tmp_path):
    result.save(tmp_path / "r.nc")
    return tmp_path / "r.nc"


def same(a, b):
    """Tell whether two results hold the same."""
    return (
        np.array_equal(a.z, b.z)
        and a.machine == b.machine
        and a.network == b.network
        and a.calibration == b.calibration
        and a.translation == b.translation
        and dict(a.clamp) == dict(b.clamp)
        and a.configuration == b.configuration
        and np.array_equal(a.simulated, b.simulated)
    )


def test_arviz_opens_it_without_us(stored, result):
    with warnings.catch_warnings():
        # ArviZ 0.23 announces its successor once a day, and names every group that its scheme lacks
        warnings.simplefilter("ignore")
        import arviz

        opened = arviz.from_netcdf(stored)
        summary = arviz.summary(opened.posterior, var_names=["states"], round_to=6)
    assert list(opened.posterior.states.dims) == ["chain", "draw", "unit"]
    free = [f"states[{name}]" for name in "abd"]
    assert summary.loc[free, "mean"].to_numpy() == pytest.approx(result.marginals()[[0, 1, 3]], abs=1e-6)
    assert opened.sample_stats.energy.shape == (4, 200)


def test_rates_stand_beside_the_energy(stored, result):
    with xarray.open_datatree(stored, engine="h5netcdf") as tree:
        rate = tree["sample_stats"]["rate"]
        assert rate.attrs["units"] == "Hz"
        # tau_refrac is 10 ms
        assert rate.mean("chain").values[[0, 1, 3]] == pytest.approx(100 * result.marginals()[[0, 1, 3]])
        assert np.isnan(rate.values[:, 2]).all()


def test_nothing_large_is_read_before_it_is_asked_for(stored, monkeypatch):
    read = []
    plain = archive._loaded
    monkeypatch.setattr(
        archive, "_loaded", lambda variable, where: read.append(variable.name) or plain(variable, where)
    )
    again = bs.read(stored)
    assert again.machine.n_units == 4
    assert "states" not in read
    part = again.states.sel(unit="b").isel(chain=1)
    assert part.shape == (200,)
    assert not again.states.variable._in_memory
    assert "states" not in read
    _ = again.z
    assert "states" in read


def test_a_part_of_the_states_is_that_part(stored, result):
    again = bs.read(stored)
    assert np.array_equal(again.states.sel(unit="b").isel(chain=1, draw=slice(5, 9)), result.z[1, 5:9, 1])


def test_saving_what_was_read_changes_nothing(stored, result, tmp_path):
    bs.read(stored).save(tmp_path / "again.nc")
    assert same(bs.read(tmp_path / "again.nc"), result)
    bs.read(stored).save(stored, force=True)
    assert same(bs.read(stored), result)


def test_a_posterior_of_a_bayesian_network_comes_back_as_one(tmp_path):
    network = bs.networks.asia()
    result = bs.sample(
        network, evidence={"dysp": "yes"}, likelihoods={"smoke": {"yes": 0.8, "no": 0.3}}, duration=2000,
        chains=16, engine="gibbs",
    )  # fmt: skip
    result.save(tmp_path / "r.nc")
    back = bs.read(tmp_path / "r.nc")
    assert isinstance(back, bs.PosteriorResult)
    assert back.posterior() == result.posterior()
    assert back.exact_posterior() == result.exact_posterior()
    assert back.mixing() == result.mixing()
    assert str(back.compiled.report) == str(result.compiled.report)
    assert same(back, result)


def test_a_zarr_folder_holds_the_same(result, tmp_path):
    path = tmp_path / "r.zarr"
    result.save(path)
    assert same(bs.read(path), result)
    with pytest.raises(ValidationError, match="exists already"):
        result.save(path)
    result.save(path, force=True)
    assert same(bs.read(path), result)
    assert os.listdir(tmp_path) == ["r.zarr"]


def test_a_folder_that_is_no_zarr_is_never_replaced(result, tmp_path):
    (tmp_path / "r.zarr").mkdir()
    (tmp_path / "r.zarr" / "precious").write_text("precious")
    with pytest.raises(ValidationError, match="exists already and is no zarr folder"):
        result.save(tmp_path / "r.zarr", force=True)
    assert (tmp_path / "r.zarr" / "precious").read_text() == "precious"


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        (99, "schema: must be 2, got 99; a newer boltzspike may read it"),
        (1, "schema: must be 2, got 1; 1 was a layout of before the first release"),
    ],
)
def test_a_file_of_another_layout_is_refused(result, tmp_path, schema, message):
    tree = result.to_datatree()
    tree.attrs["schema"] = schema
    tree.to_netcdf(tmp_path / "r.nc", engine="h5netcdf")
    with pytest.raises(ValidationError, match=f"r.nc: {message}"):
        bs.read(tmp_path / "r.nc")


def test_a_foreign_netcdf_is_refused(tmp_path):
    xarray.Dataset({"x": 1.0}).to_netcdf(tmp_path / "x.nc", engine="h5netcdf")
    with pytest.raises(ValidationError, match="x.nc: not a boltzspike result"):
        bs.read(tmp_path / "x.nc")


def test_descriptions_that_were_changed_are_seen(result, tmp_path):
    tree = result.to_datatree()
    document = json.loads(tree["configuration"].attrs["document"])
    document["configuration"]["seed"] = 2
    tree["configuration"].attrs["document"] = json.dumps(document)
    tree.to_netcdf(tmp_path / "r.nc", engine="h5netcdf")
    with pytest.raises(
        ValidationError, match="r.nc: is damaged: its descriptions are not those that were written"
    ):
        bs.read(tmp_path / "r.nc")


def test_a_missing_group_is_named(result, tmp_path):
    tree = result.to_datatree()
    del tree["target"]
    tree.to_netcdf(tmp_path / "r.nc", engine="h5netcdf")
    with pytest.raises(ValidationError, match="r.nc: the group 'target' is missing"):
        bs.read(tmp_path / "r.nc")


@pytest.mark.parametrize("flips", [20, pytest.param(500, marks=pytest.mark.slow)])
def test_a_flipped_bit_is_an_error_or_changes_nothing(stored, result, tmp_path, rng, flips):
    whole = bytearray(stored.read_bytes())
    outcomes = {"same": 0, "refused": 0}
    for place in rng.integers(0, len(whole), flips):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << int(rng.integers(8))
        path = tmp_path / f"{place}.nc"
        path.write_bytes(damaged)
        try:
            back = bs.read(path)
            assert same(back, result), f"byte {place} changed the result in silence"
            outcomes["same"] += 1
        except ValidationError:
            outcomes["refused"] += 1
        path.unlink()
    assert outcomes["refused"] > flips / 10


def test_of_two_writers_one_wins_and_the_file_is_whole(tmp_path, result, machine):
    path = tmp_path / "r.nc"
    other = bs.sample(machine, engine="gibbs", duration=2e3, chains=16, seed=2)
    barrier = threading.Barrier(2)

    def write(what):
        barrier.wait()
        what.save(path, force=True)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, [result, other]))
    back = bs.read(path)
    assert same(back, result) or same(back, other)
    assert os.listdir(tmp_path) == ["r.nc"]


def test_a_name_that_was_taken_meanwhile_is_not_overwritten(tmp_path, result, monkeypatch):
    path = tmp_path / "r.nc"
    plain = xarray.DataTree.to_netcdf

    def slow(tree, **options):
        path.write_text("faster")
        return plain(tree, **options)

    monkeypatch.setattr(xarray.DataTree, "to_netcdf", slow)
    with pytest.raises(ValidationError, match="another process has written it meanwhile"):
        result.save(path)
    assert path.read_text() == "faster"
    assert os.listdir(tmp_path) == ["r.nc"]


_KILLED = """
import pathlib, signal, sys
import boltzspike as bs
plain = pathlib.Path.write_bytes
def killed(path, data):
    plain(path, data[: len(data) // 2])
    print("half", flush=True)
    signal.pause()
pathlib.Path.write_bytes = killed
bs.read(sys.argv[1]).save(sys.argv[1], force=True)
"""


def test_kill_9_in_the_middle_of_writing_leaves_the_earlier_file(stored, result):
    process = subprocess.Popen([sys.executable, "-c", _KILLED, str(stored)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "half\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert same(bs.read(stored), result)


def test_a_full_disk_is_one_error_and_leaves_the_earlier_file(stored, result):
    """Files of this process may not grow beyond 4 kB."""
    import resource

    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(ValidationError, match="r.nc: can't be written"):
            result.save(stored, force=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert same(bs.read(stored), result)
    assert os.listdir(stored.parent) == ["r.nc"]


_NOBODY = """
import os, sys
import boltzspike as bs
from boltzspike.errors import ValidationError
result = bs.read(sys.argv[1])
result.save(sys.argv[2])  # imports what saving needs, while that can be read
if os.geteuid() == 0:  # root may write anywhere
    os.setgroups([])
    os.setgid(65534)
    os.setuid(65534)
try:
    result.save(sys.argv[3])
except ValidationError as error:
    print(error)
"""


def test_a_read_only_folder_is_named(stored, tmp_path):
    with tempfile.TemporaryDirectory() as folder:  # pytest's own are closed to other users
        os.chmod(folder, 0o555)
        places = [stored, tmp_path / "a.nc", f"{folder}/r.nc"]
        done = subprocess.run([sys.executable, "-c", _NOBODY, *map(str, places)], capture_output=True, text=True)
        assert done.stdout == f"{folder}/r.nc: the folder {folder!r} can't be written to\n", done.stderr
        assert os.listdir(folder) == []


@pytest.mark.parametrize("name", ["r.txt", "r", "r.json"])
def test_a_name_that_does_not_say_netcdf_or_zarr_is_refused(result, tmp_path, name):
    with pytest.raises(ValidationError, match=f"{name}: must end in .nc or .nc4 or .h5 or .zarr"):
        result.save(tmp_path / name)
    with pytest.raises(ValidationError, match="m.txt: must end in .json"):
        result.machine.save(tmp_path / "m.txt")
    assert os.listdir(tmp_path) == []


def test_an_old_file_that_is_open_stays_readable_when_it_is_replaced(stored, result, machine):
    opened = bs.read(stored)
    bs.sample(machine, engine="gibbs", duration=1e3, chains=2).save(stored, force=True)
    assert same(opened, result)
    assert bs.read(stored).configuration["engine"] == "gibbs"
