import numpy as np
import pytest

import boltzspike as bs
from boltzspike.errors import ValidationError

RAIN = {
    "states": {"rain": ["yes", "no"], "wet": ["yes", "no"]},
    "parents": {"wet": ["rain"]},
    "tables": {"rain": [0.2, 0.8], "wet": [[0.9, 0.1], [0.1, 0.9]]},
}


def test_a_network_takes_mappings_or_sequences_and_equals_itself_after_a_file(tmp_path):
    network = bs.BayesianNetwork(**RAIN)
    same = bs.BayesianNetwork(
        names=["rain", "wet"],
        states=[["yes", "no"]] * 2,
        parents=[[], ["rain"]],
        tables=list(RAIN["tables"].values()),
    )
    assert [np.array_equal(a, b) for a, b in zip(network.tables, same.tables)] == [True, True]
    network.save(tmp_path / "n.json")
    again = bs.read(tmp_path / "n.json")
    assert (again.names, again.states, again.parents) == (network.names, network.states, network.parents)
    assert all(np.array_equal(a, b) for a, b in zip(network.tables, again.tables))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tables": {"rain": [0.2, 0.7]}}, r"tables\['rain'\]: must be a row that sums to one, got 0.89"),
        (
            {"tables": {"wet": [[0.9, 0.1], [0.3, 0.9]]}},
            r"tables\['wet'\], row rain=no: must be a row that sums to one",
        ),
        (
            {"tables": {"wet": [[1.1, -0.1], [0.1, 0.9]]}},
            r"tables\['wet'\]\[0, 0\]: must be a probability in 0 .. 1",
        ),
        ({"tables": {"wet": [[np.nan, 0.1], [0.1, 0.9]]}}, r"tables\['wet'\]\[0, 0\]: must be finite, got nan"),
        ({"tables": {"wet": [0.9, 0.1]}}, r"tables\['wet'\]: must be an array of 2 dimension"),
        ({"tables": {"wet": [[0.9, 0.1]]}}, r"of shape \(2, 2\): rain, wet, got \(1, 2\)"),
        ({"parents": {"wet": ["ran"]}}, r"parents\['wet'\]: no variable named 'ran'; did you mean 'rain'"),
        ({"parents": {"wet": ["rain"], "rain": ["wet"]}}, "must be free of cycles, got rain <- wet <- rain"),
        ({"states": {"rain": ["yes", "yes"]}}, r"states\['rain'\]: must be distinct"),
        ({"parents": {"snow": []}}, "parents: no variable named 'snow'"),
    ],
)
def test_bad_input_is_an_error_that_names_the_variable(change, message):
    fields = {name: {**RAIN[name], **change.get(name, {})} for name in RAIN}
    with pytest.raises(ValidationError, match=message):
        bs.BayesianNetwork(**fields)


def test_a_variable_without_a_table_is_an_error():
    with pytest.raises(ValidationError, match="tables: must be given for every variable, got \"none for 'wet'\""):
        bs.BayesianNetwork(**{**RAIN, "tables": {"rain": [0.2, 0.8]}})


def test_thirty_parents_are_refused_before_the_table_is_formed():
    names = [f"p{k}" for k in range(30)]
    states = dict.fromkeys([*names, "child"], ("yes", "no"))
    tables = dict.fromkeys([*names, "child"], (0.5, 0.5))
    with pytest.raises(ValidationError, match="at most 4194304 entries, got '30 parents'"):
        bs.BayesianNetwork(states=states, parents={"child": names}, tables=tables)


@pytest.mark.parametrize(
    ("evidence", "message"),
    [
        ({"wett": "yes"}, "evidence: no variable named 'wett'; did you mean 'wet'"),
        ({"wet": "maybe"}, r"evidence\['wet'\]: no state named 'maybe'; known: yes, no"),
        ({"wet": 2}, r"evidence\['wet'\]: must be one of \['yes', 'no'\] or its index, got 2"),
        ({"wet": True}, r"evidence\['wet'\]: must be one of"),
    ],
)
def test_unknown_evidence_is_an_error(evidence, message):
    with pytest.raises(ValidationError, match=message):
        bs.BayesianNetwork(**RAIN).evidence_indices(evidence)


@pytest.mark.parametrize(
    ("likelihoods", "message"),
    [
        ({"wet": [1.0]}, "must be 2 numbers"),
        ({"wet": {"dry": 1.0}}, "by states of the variable"),
        ({"wet": [0.0, 0.0]}, "> 0 somewhere"),
    ],
)
def test_bad_soft_evidence_is_an_error(likelihoods, message):
    with pytest.raises(ValidationError, match=message):
        bs.BayesianNetwork(**RAIN).likelihood_arrays(likelihoods)


def test_networks_are_equal_when_their_tables_are():
    of = lambda p: bs.BayesianNetwork(
        states={"a": ["y", "n"], "b": ["y", "n"]},
        parents={"b": ["a"]},
        tables={"a": [0.2, 0.8], "b": [[p, 1 - p], [0.5, 0.5]]},
    )
    assert of(0.3) == of(0.3)
    assert of(0.3) != of(0.4)
