import pytest

from boltzspike.errors import ValidationError
from boltzspike.formats.queries import parse_queries

NAMES = ("age", "dysp", "xray")


def test_a_row_is_a_query_and_an_empty_cell_is_not_observed():
    text = 'dysp, age\r\nyes,"[0,5)"\r\n\r\n, 1\r\n,\r\n'
    assert parse_queries(text, "q.csv", NAMES) == [
        ("q.csv, query 1 (line 2)", {"dysp": "yes", "age": "[0,5)"}),
        ("q.csv, query 2 (line 4)", {"age": "1"}),
        ("q.csv, query 3 (line 5)", {}),
    ]


def test_a_query_without_evidence_can_stand_in_a_file_of_one_column():
    assert [given for _, given in parse_queries('dysp\nyes\n""\n', "q", NAMES)] == [{"dysp": "yes"}, {}]


def test_likelihoods_of_states_are_soft_evidence():
    text = '[{"dysp": {"yes": 0.8, "no": 1}}]'
    assert parse_queries(text, "q.json", NAMES) == [("q.json, query 1", {"dysp": {"yes": 0.8, "no": 1.0}})]
    with pytest.raises(ValidationError, match=r"q.json, query 1: 'dysp', 'yes': must be a likelihood.*got '-1'"):
        parse_queries('[{"dysp": {"yes": -1}}]', "q.json", NAMES)


def test_json_objects_say_the_same_and_numbers_are_names_of_states():
    text = '[{"dysp": "yes", "age": 1, "xray": null}, {"age": 0.50}, {}]'
    assert parse_queries(text, "q.json", NAMES) == [
        ("q.json, query 1", {"dysp": "yes", "age": "1"}),
        ("q.json, query 2", {"age": "0.50"}),
        ("q.json, query 3", {}),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "q: must hold at least one query"),
        ("dysp,xray\n", "q: must hold at least one query"),
        ("dysp,xry\nyes,no\n", "q, line 1: no variable named 'xry'; did you mean 'xray'"),
        ("dysp,\nyes,\n", "q, line 1: no variable named ''"),
        ("dysp,dysp\nyes,no\n", "q, line 1: 'dysp' must be given once, got twice"),
        ("dysp,xray\nyes,no\nyes\n", r"q, query 2 \(line 3\): must have as many cells as the header, 2, got 1"),
        ('dysp,xray\n"yes,no\n', "q, line 2: not CSV"),
        ("[", "q, line 1: not JSON"),
        ("[" * 100_000, "q: .* nested too deeply"),
        ('{"dysp": "yes"}', "q: must be a list of objects"),
        ('[{"dysp": "yes"}, ["no"]]', "q, query 2: must be an object"),
        ('[{"dysp": true}]', "q, query 1: 'dysp' must be the name of a state, or null, or an object, .*got True"),
        ('[{"dysp": ["yes"]}]', "q, query 1: 'dysp' must be the name of a state"),
        ('[{"xry": "no"}]', "q, query 1: no variable named 'xry'"),
        ('[{"dysp": "no", "dysp": "yes"}]', "q: in one query 'dysp' must be given once, got twice"),
    ],
)
def test_a_fault_is_named_with_its_place(text, message):
    with pytest.raises(ValidationError, match=message):
        parse_queries(text, "q", NAMES)
