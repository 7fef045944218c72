"""The spikes in every format are those that were recorded."""

from datetime import UTC, datetime

import numpy as np
import pytest

import boltzspike as bs
from boltzspike.errors import ValidationError
from boltzspike.export import neo as to_neo
from boltzspike.export import nwb as to_nwb
from boltzspike.export import sonata as to_sonata
from boltzspike.export.trains import trains

STARTED = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.fixture(scope="module")
def result():
    machine = bs.BoltzmannMachine(
        weights=[[0, 0.5, 0], [0.5, 0, 0], [0, 0, 0]], biases=[-0.3, 0.2, -20.0], names=["smoke", "lung", "silent"]
    )
    record = bs.Record(states_every=100, spikes=True)
    with pytest.warns(bs.BoltzspikeWarning, match="silent"):
        return bs.sample(
            machine, rule="psp", duration=2000, chains=3, record=record, clamp={0: 1}, clamping="spikes"
        )


def by_unit(result):
    return {(chain, name): times for chain, name, times in trains(result)}


def test_trains_are_those_of_the_spikes(result):
    spikes, found = result.samples.spikes, by_unit(result)
    assert len(found) == 9
    assert sum(map(len, found.values())) == len(spikes.step)
    assert len(found[0, "silent"]) == 0
    mine = spikes.step[(spikes.chain == 1) & (spikes.unit == 1)]
    assert found[1, "lung"] == pytest.approx((mine + 1 - spikes.start) * 0.1)
    # a neuron that is held spikes every tau_refrac, but for the first times
    assert np.diff(found[2, "smoke"])[5:] == pytest.approx(10.0, abs=0.11)
    assert all(train.min() > 0 and train.max() <= 2000 + 1e-9 for train in found.values() if len(train))


def test_neo_has_a_segment_a_chain(result):
    block, found = to_neo.block(result), by_unit(result)
    assert [len(segment.spiketrains) for segment in block.segments] == [3, 3, 3]
    for segment in block.segments:
        for train in segment.spiketrains:
            assert train.magnitude == pytest.approx(found[train.annotations["chain"], train.name])
            assert float(train.t_stop.rescale("ms")) == pytest.approx(2000)
            assert str(train.units.dimensionality) == "ms"


def test_sonata_has_a_population_a_chain(result, tmp_path):
    import h5py

    to_sonata.save(result, tmp_path / "spikes.h5")
    found = by_unit(result)
    with h5py.File(tmp_path / "spikes.h5") as file:
        assert file.attrs["magic"] == 0x0A7A
        assert sorted(file["spikes"]) == ["chain0", "chain1", "chain2"]
        for chain in range(3):
            group = file[f"spikes/chain{chain}"]
            times, nodes = group["timestamps"][()], group["node_ids"][()]
            assert group["timestamps"].attrs["units"] == "milliseconds"
            assert np.all(np.diff(times) >= 0)
            for k, name in enumerate(result.names):
                assert times[nodes == k] == pytest.approx(found[chain, name])
    with pytest.raises(ValidationError, match="exists already"):
        to_sonata.save(result, tmp_path / "spikes.h5")


def test_nwb_has_a_unit_for_each_neuron_of_each_chain(result, tmp_path):
    import pynwb

    to_nwb.save(result, tmp_path / "spikes.nwb", started=STARTED)
    found = by_unit(result)
    with pynwb.NWBHDF5IO(tmp_path / "spikes.nwb", "r") as io:
        file = io.read()
        assert file.session_start_time == STARTED
        assert len(file.units) == 9
        for k in range(9):
            chain, name = int(file.units["chain"][k]), file.units["unit_name"][k]
            assert file.units["spike_times"][k] * 1e3 == pytest.approx(found[chain, name])
            assert file.units["obs_intervals"][k].ravel() == pytest.approx([0, 2])


def test_a_time_without_zone_is_refused(result, tmp_path):
    with pytest.raises(ValidationError, match="started: must be a time with a time zone"):
        to_nwb.save(result, tmp_path / "s.nwb", started=datetime(2026, 1, 2))


@pytest.mark.parametrize("export", ["neo", "sonata", "nwb"])
def test_a_result_without_spikes_says_what_to_record(export, tmp_path):
    machine = bs.BoltzmannMachine(weights=[[0, 1], [1, 0]], biases=[0, 0])
    result = bs.sample(machine, engine="gibbs", duration=200, chains=2)
    ways = {
        "neo": lambda: to_neo.block(result),
        "sonata": lambda: to_sonata.save(result, tmp_path / "x"),
        "nwb": lambda: to_nwb.save(result, tmp_path / "x", started=STARTED),
    }
    with pytest.raises(ValidationError, match=r"spikes: were not recorded; sample\(..., record="):
        ways[export]()


def test_spikes_of_a_result_from_a_file_are_the_same(result, tmp_path):
    result.save(tmp_path / "r.nc")
    again = by_unit(bs.read(tmp_path / "r.nc"))
    assert all(np.array_equal(again[key], times) for key, times in by_unit(result).items())
