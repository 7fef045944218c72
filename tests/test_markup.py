from html.parser import HTMLParser

import numpy as np
import pytest

import boltzspike as bs
from boltzspike.markup import shown, table


class Cells(HTMLParser):
    """Collects the text of a table's cells, and whether every tag is closed."""

    def __init__(self, text):
        super().__init__()
        self.rows, self.open = [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


def test_a_table_escapes_what_it_shows():
    text = table([("<script>", 1.5)], ("a & b", "value"))
    assert "<script>" not in text
    assert Cells(text).rows == [["a & b", "value"], ["<script>", "1.5"]]


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (np.array([1.0, 2.0]), "1, 2"),
        (np.arange(100.0).reshape(10, 10), "10 x 10, 0 .. 99"),
        (("a",) * 3, "3 x a"),
        (tuple("abcdefgh"), "a, b, c, d, e, f, ... (8)"),
        ({"a": 1}, "a: 1"),
        (None, "None"),
        (True, "True"),
        (np.zeros(0), "(0,)"),
    ],
)
def test_values_are_shown_in_a_few_words(value, expected):
    assert shown(value) == expected


def test_a_neuron_shows_its_units():
    rows = Cells(bs.presets.S1.neuron._repr_html_()).rows
    assert ["tau_refrac", "10", "ms"] in rows
    assert ["c_m", "0.2", "nF"] in rows


def test_machines_calibrations_networks_and_results_have_tables(random_machine, s1_calibration):
    machine = random_machine(30, scale=0.1)
    network = bs.translate(machine, s1_calibration, rule="psp").network
    result = bs.sample(machine, engine="gibbs", duration=500, chains=16)
    for what in (machine, s1_calibration, network, bs.networks.asia(), result, bs.presets.S1.background):
        text = what._repr_html_()
        assert Cells(text).open == []
        assert "<table" in text
    assert "10 more units" in result._repr_html_()
    assert "u0" in s1_calibration._repr_html_()


def test_a_result_without_marginals_says_why():
    machine = bs.BoltzmannMachine(weights=[[0, 1], [1, 0]], biases=[0, 0])
    result = bs.sample(machine, duration=200, chains=2, record=bs.Record(spikes=True))
    assert "were not recorded" in result._repr_html_()
