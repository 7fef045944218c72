import base64
import dataclasses
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from html.parser import HTMLParser

import numpy as np
import pytest

import boltzspike as bs
from boltzspike.errors import MissingDependency, ValidationError
from boltzspike.report import page_of, write_report
from boltzspike.report.answers import answer, title_of
from boltzspike.report.trust import trust, verdict

HOSTILE = ['<script>alert("x")</script>', "a & b", "$\\frac{$", "'\" onerror=alert(1) x='", "漢字 <b>"]


class Reader(HTMLParser):
    """Collects what the tests ask about."""

    def __init__(self):
        super().__init__()
        self.tags, self.text, self.open = [], [], []

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes what is not open"

    def handle_data(self, data):
        self.text.append(data)

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def read(text):
    reader = Reader()
    reader.feed(text)
    assert not reader.open
    return reader


@pytest.fixture(scope="module")
def plain(s1_calibration, tmp_path_factory):
    rng = np.random.default_rng(5)
    weights = np.triu(rng.normal(0, 0.5, (5, 5)), 1)
    machine = bs.BoltzmannMachine(weights=weights + weights.T, biases=rng.normal(0, 0.5, 5), names=HOSTILE)
    result = bs.sample(machine, calibration=s1_calibration, duration=2000, chains=16, burn_in=200, rule="psp")
    path = tmp_path_factory.mktemp("report") / "run.html"
    result.report(path)
    return result, path.read_text()


def test_the_page_needs_no_network_and_no_script(plain):
    reader = read(plain[1])
    assert not reader.all("script")
    assert not reader.all("link")
    assert not reader.all("iframe")
    for attributes in [attributes for _, attributes in reader.tags]:
        for name in attributes:
            assert not name.startswith("on")
        for name in ("src", "href"):
            assert attributes.get(name, "#").startswith(("#", "data:image/svg+xml;base64,"))
    assert "url(" not in re.search("<style>.*?</style>", plain[1], re.DOTALL)[0]


def test_names_are_shown_as_text_whatever_they_hold(plain):
    reader = read(plain[1])
    said = "".join(reader.text)
    for name in HOSTILE:
        assert name in said
    for attributes in reader.all("img"):
        drawn = base64.b64decode(attributes["src"].partition(",")[2]).decode()
        assert {element.tag.rpartition("}")[2] for element in ET.fromstring(drawn).iter()}.isdisjoint(
            {"script", "b"}
        )


def test_the_answer_is_a_table_with_headers_and_the_results_own_numbers(plain):
    result, text = plain
    said = "".join(read(text).text)
    p, error = result.marginals(), result.marginals_error()
    for k in range(5):
        assert f"{p[k]:.4f}" in said
        assert f"{error[k]:.4f}" in said
        assert f"{result.exact().marginals[k]:.4f}" in said
    assert f"{result.distances().kl.bias:.3g}" in said
    tables = re.findall(r"<table>.*?</table>", text, re.DOTALL)
    for table in tables:
        assert "<caption>" in table
        assert '<th scope="col"' in table
        assert '<th scope="row">' in table


def test_every_picture_has_a_text_that_says_what_is_in_it(plain):
    pictures = read(plain[1]).all("img")
    assert len(pictures) >= 9
    texts = [picture["alt"] for picture in pictures]
    assert all(len(text) > 30 for text in texts)
    assert len(set(texts)) == len(texts)


def test_all_sections_can_be_reached_from_the_top(plain):
    reader = read(plain[1])
    links = [attributes["href"] for attributes in reader.all("a")]
    identities = ["#" + attributes["id"] for attributes in reader.all("h2")]
    assert links == identities == ["#question", "#answer", "#trust", "#neuron", "#network", "#run"]


def test_colours_of_text_have_enough_contrast(plain):
    def luminance(colour):
        parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return np.dot([0.2126, 0.7152, 0.0722], linear)

    style = re.search("<style>.*?</style>", plain[1], re.DOTALL)[0]
    named = dict(re.findall(r"--(\w+): (#\w{6})", style))
    backgrounds = [named["paper"], named["tint"], *re.findall(r"background: (#\w{6})", style)]
    for text in ("ink", "soft", "blue"):
        for background in backgrounds:
            lighter, darker = sorted([luminance(background), luminance(named[text])], reverse=True)
            assert (lighter + 0.05) / (darker + 0.05) >= 4.5, (text, background)


def test_an_existing_page_is_kept_unless_forced(plain, tmp_path):
    path = tmp_path / "run.html"
    path.write_text("mine")
    with pytest.raises(ValidationError, match="exists already"):
        plain[0].report(path)
    assert path.read_text() == "mine"


@pytest.mark.parametrize("package", ["jinja2", "matplotlib"])
def test_a_missing_package_is_named_with_what_installs_it(plain, tmp_path, monkeypatch, package):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingDependency, match=rf'a report needs {package}: pip install "boltzspike\[report\]"'):
        plain[0].report(tmp_path / "run.html")
    assert not list(tmp_path.iterdir())


def test_a_bayesian_networks_page_tells_its_posterior(tmp_path):
    network = bs.networks.asia()
    result = bs.sample(network, evidence={"dysp": "yes", "xray": "no"}, duration=2000, chains=16)
    write_report(result, tmp_path / "run.html", command=["boltzspike", "sample", "asia.bif", "--x", "a b"])
    said = "".join(read((tmp_path / "run.html").read_text()).text)
    assert "Observed: dysp = yes, xray = no" in said or "Observed: xray = no, dysp = yes" in said
    for variable, states in result.posterior().items():
        assert variable in said
        for state, p in states.items():
            assert f"{p:.4f}" in said
            assert f"{result.exact_posterior()[variable][state]:.4f}" in said
    assert "boltzspike sample asia.bif --x 'a b'" in said


def test_an_rbms_page_shows_its_images_and_folds_the_long_table(s1_calibration):
    rng = np.random.default_rng(2)
    names = [f"pixel-{r}-{c}" for r in range(5) for c in range(5)]
    machine = bs.RestrictedBoltzmannMachine(
        weights=rng.normal(0, 0.6, (25, 3)), visible_biases=np.zeros(25), hidden_biases=[0, 0, 0],
        names=[*names, "h0", "h1", "h2"],
    )  # fmt: skip
    result = bs.sample(
        machine, calibration=s1_calibration, duration=1000, chains=16, clamp={"pixel-0-0": 1}, rule="psp"
    )
    shown = answer(result)
    pictures = [picture for block in shown.blocks if block.kind == "pictures" for picture in block.pictures]
    assert "images" in pictures[0].alt
    tables = [block for block in shown.blocks if block.kind == "table"]
    assert [len(table.rows) for table in tables] == [20, 27]
    assert [bool(table.folded) for table in tables] == [False, True]
    assert "pixel-0-0 = 1" in title_of(result)


@pytest.mark.parametrize("record", ["moments", "joint"])
def test_a_page_is_made_of_what_was_recorded(s1_calibration, record):
    machine = bs.BoltzmannMachine(weights=[[0, 0.5], [0.5, 0]], biases=[-0.3, 0.2])
    result = bs.sample(machine, calibration=s1_calibration, duration=1000, chains=16, record=record, rule="psp")
    said = [row[0] for block in trust(result).blocks if block.kind == "table" for row in block.rows]
    assert ("D_KL(sampled || target), nat" in said) == (record == "joint")


def test_a_sampler_without_membranes_has_a_page_too():
    machine = bs.BoltzmannMachine(weights=[[0, 0.5], [0.5, 0]], biases=[-0.3, 0.2])
    page = page_of(bs.sample(machine, engine="gibbs", duration=20000, chains=64))
    assert [section.name for section in page.sections] == ["question", "answer", "trust", "neuron", "run"]


def test_the_command_line_writes_the_page_and_how_to_repeat_it(tmp_path):
    machine = bs.BoltzmannMachine(weights=[[0, 0.5], [0.5, 0]], biases=[-0.3, 0.2])
    machine.save(tmp_path / "m.json")
    arguments = ["sample", str(tmp_path / "m.json"), "--duration", "1s", "--report", str(tmp_path / "r.html")]
    program = "from boltzspike.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith(f"wrote {tmp_path / 'r.html'}\n")
    assert " ".join(["boltzspike", *arguments]) in "".join(read((tmp_path / "r.html").read_text()).text)
    again = subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, timeout=120, check=False
    )
    assert again.returncode == 2
    assert "exists already" in again.stderr


def test_a_run_with_changing_evidence_has_a_page_for_each_stretch(s1_calibration, tmp_path):
    machine = bs.BoltzmannMachine(weights=[[0, 0.5, 0], [0.5, 0, 1], [0, 1, 0]], biases=[-0.3, 0.2, 0])
    result = bs.sample(
        machine, calibration=s1_calibration, duration=2000, chains=16, rule="psp",
        evidence_course=[(0, {"z0": 1}), (1000, {"z0": 0})],
    )  # fmt: skip
    with pytest.raises(ValidationError, match=r"the evidence changed .* for each of result.episodes\(\)"):
        result.report(tmp_path / "run.html")
    assert not list(tmp_path.iterdir())
    for k, (_, _, episode) in enumerate(result.episodes()):
        path = tmp_path / f"{k}.html"
        episode.report(path)
        said = "".join(read(path.read_text()).text)
        assert f"given z0 = {1 - k}" in said
        assert f"this page is about{k} to {k + 1} s of 2 s" in said
        for unit in (1, 2):
            assert f"{episode.exact().marginals[unit]:.4f}" in said


def test_a_result_read_from_a_file_has_the_same_page(plain, tmp_path):
    result, text = plain
    result.save(tmp_path / "run.nc")
    bs.read(tmp_path / "run.nc").report(tmp_path / "run.html")
    assert (tmp_path / "run.html").read_text() == text


def test_a_machine_out_of_exact_reach_is_compared_with_gibbs_sampling(s1_calibration):
    rng = np.random.default_rng(1)
    weights = np.triu(rng.normal(0, 0.1, (32, 32)), 1)
    machine = bs.BoltzmannMachine(weights=weights + weights.T, biases=np.zeros(32))
    result = bs.sample(machine, calibration=s1_calibration, duration=1000, chains=16, rule="psp")
    assert result.exact() is None
    (table, folded) = [block for block in answer(result).blocks if block.kind == "table"]
    assert table.header == ["unit", "sampled", "+-", "Gibbs", "+-", "difference", "in errors"]
    assert len(folded.rows) == 32
    assert any("nothing exact to compare with" in reason for reason in verdict(result).reasons)
    (distances, tests, chains) = [block for block in trust(result).blocks if block.kind == "table"]
    assert [row[0].partition(":")[0] for row in tests.rows] == ["equivalence", "temperature"]
    assert "Gibbs sampling" in distances.caption
    assert "R-hat, largest" in chains.rows[0]


def test_an_interrupted_run_says_so(plain):
    result = dataclasses.replace(plain[0], configuration={**plain[0].configuration, "partial": True})
    assert any("interrupted" in reason for reason in verdict(result).reasons)


def test_a_run_in_which_nothing_changed_has_a_page_that_does_not_trust_it(s1_calibration):
    machine = bs.BoltzmannMachine(weights=np.zeros((3, 3)), biases=np.full(3, -40.0))
    with pytest.warns(bs.BoltzspikeWarning, match="whatever the others do"):
        result = bs.sample(machine, calibration=s1_calibration, duration=500, chains=16, rule="psp")
    page = page_of(result)
    assert page.sections[2].verdict.level == "no"
    assert "Nothing ever changed" in page.sections[2].verdict.reasons[0]
