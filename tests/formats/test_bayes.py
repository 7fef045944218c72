import gzip
import warnings
from pathlib import Path

import numpy as np
import pytest

import boltzspike as bs
from boltzspike.errors import ValidationError
from boltzspike.formats.bayes import from_pgmpy, parse_bif, parse_uai, parse_xmlbif

BIF = """// a comment
network "two words" { property made = by hand; }
variable rain { type discrete [ 2 ] { yes, no }; }
variable wet {
  type discrete [ 3 ] { dry, "a bit", soaked };
  property position = (1, 2);
}
probability ( rain ) { table 0.2, 0.8; }
probability ( wet | rain ) {
  (yes) 0.1, 0.2, 0.7;
  default 0.9 0.1 0.0;
}
"""
XMLBIF = """<?xml version="1.0"?>
<!DOCTYPE BIF [ <!ELEMENT BIF (NETWORK)*> ]>
<BIF VERSION="0.3"><NETWORK><NAME>n</NAME>
<VARIABLE TYPE="nature"><NAME>rain</NAME><OUTCOME>yes</OUTCOME><OUTCOME>no</OUTCOME></VARIABLE>
<VARIABLE TYPE="nature"><NAME>wet</NAME>
  <OUTCOME>dry</OUTCOME><OUTCOME>a bit</OUTCOME><OUTCOME>soaked</OUTCOME></VARIABLE>
<DEFINITION><FOR>rain</FOR><TABLE>0.2 0.8</TABLE></DEFINITION>
<DEFINITION><FOR>wet</FOR><GIVEN>rain</GIVEN><TABLE>0.1 0.2 0.7 0.9 0.1 0.0</TABLE></DEFINITION>
</NETWORK></BIF>
"""
UAI = "BAYES\n2\n2 3\n2\n1 0\n2 0 1\n\n2\n 0.2 0.8\n\n6\n 0.1 0.2 0.7\n 0.9 0.1 0.0\n"
RAIN, WET = [0.2, 0.8], [[0.1, 0.2, 0.7], [0.9, 0.1, 0.0]]


@pytest.mark.parametrize("text", [BIF, XMLBIF, UAI])
def test_each_format_is_recognised_by_its_content(tmp_path, text):
    (tmp_path / "any.name").write_text(text)
    network = bs.read(tmp_path / "any.name")
    np.testing.assert_allclose(network.tables[0], RAIN, atol=1e-15)
    np.testing.assert_allclose(network.tables[1], WET, atol=1e-15)
    assert network.parents[1] == network.names[:1]


def test_bif_keeps_quoted_names_and_uai_numbers_them():
    assert parse_bif(BIF, "f").states == (("yes", "no"), ("dry", "a bit", "soaked"))
    assert parse_uai(UAI, "f").names == ("x0", "x1")


def test_a_bif_table_has_the_variable_itself_as_slowest_index():
    text = BIF.replace("(yes) 0.1, 0.2, 0.7;\n  default 0.9 0.1 0.0;", "table 0.1 0.9 0.2 0.1 0.7 0.0;")
    np.testing.assert_allclose(parse_bif(text, "f").tables[1], WET, atol=1e-15)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("network", "netwrk", "not a format that boltzspike knows"),
        ("0.2, 0.8", "0.2, 0.7", r"tables\['rain'\]: must be a row that sums to one, got 0.89"),
        ("0.2, 0.8", "-0.2, 1.2", r"tables\['rain'\]\[0\]: must be a probability in 0 .. 1, got -0.2"),
        ("0.2, 0.8", "0.2, nan", "line 8: must be a finite number, got 'nan'"),
        ("0.2, 0.8", "0.2, x", "line 8: must be a number, got 'x'"),
        ("0.2, 0.8", "0.2", "line 8: must be 2 probabilities of 'rain', got 1"),
        ("table 0.2, 0.8", "table ", r"line 8: must be 2 probabilities of 'rain', got 0 \(near ';'\)"),
        ("property made = by hand;", "property /* made", "line 2: must be ';' after a property, got the end"),
        ("0.2, 0.8", "0.2, 0.3, 0.5", "line 8: must be 2 probabilities of 'rain', got more"),
        ("(yes) 0.1", "(maybe) 0.1", "line 10: no state of 'rain' named 'maybe'"),
        ("(yes) 0.1", "(yes, no) 0.1", r"line 10: must be '\)', got ','"),
        ("  default 0.9 0.1 0.0;\n", "", "line 9: the probabilities of 'wet' lack the row rain=no"),
        ("  default 0.9", "  (yes) 0.9", "line 11: this row of 'wet' is given twice"),
        ("wet | rain", "wet | snow", "line 9: no variable named 'snow'"),
        ("[ 3 ]", "[ 2 ]", r"line 5: variable 'wet' must have 2 states, got \['dry'"),
        ("probability ( rain ) { table 0.2, 0.8; }\n", "", "variable 'rain' has no probability block"),
        ('"a bit"', '"a bit', "line 5: a quotation mark is never closed"),
        ("default 0.9 0.1 0.0;\n}", "default 0.9 0.1 0.0;", "line 11: must be .* or '}', got the end of the file"),
        ("variable rain", "utility rain", "line 3: must be 'variable' or 'probability', got 'utility'"),
    ],
)
def test_a_fault_in_bif_names_the_file_and_the_line_or_variable(tmp_path, old, new, message):
    assert old in BIF
    path = tmp_path / "bad.bif"
    path.write_text(BIF.replace(old, new))
    with pytest.raises(ValidationError, match=message) as caught:
        bs.read(path)
    assert str(caught.value).startswith(f"{path}: ")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("</NETWORK>", "", "not well-formed XML: .* line 9"),
        ('<BIF VERSION="0.3">', "<FIB>", "not well-formed XML"),
        ("<!ELEMENT BIF (NETWORK)*>", '<!ENTITY a "aaaa">', "line 2: XML entities are not read"),
        ("0.2 0.8", "0.2", "TABLE of 'rain': must be 2 probabilities, got 1"),
        ("<NAME>rain", "<NAME>dry</NAME><NAME>rain", r"a VARIABLE must have one NAME, got \['dry', 'rain'\]"),
        (
            '"nature"><NAME>rain',
            '"decision"><NAME>rain',
            "variable 'rain' must be of TYPE 'nature', got 'decision'",
        ),
        (
            "<GIVEN>rain</GIVEN>",
            "<GIVEN>rein</GIVEN>",
            "DEFINITION of 'wet': no variable 'rein'; did you mean 'rain'",
        ),
        (
            "<DEFINITION><FOR>rain</FOR><TABLE>0.2 0.8</TABLE></DEFINITION>",
            "",
            "variable 'rain' has no DEFINITION",
        ),
    ],
)
def test_a_fault_in_xmlbif_is_named(old, new, message):
    assert old in XMLBIF
    with pytest.raises(ValidationError, match=message):
        parse_xmlbif(XMLBIF.replace(old, new), "f")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("BAYES", "MARKOV", "of type BAYES, got 'MARKOV'"),
        ("2 0 1\n", "2 0 2\n", "line 6: a variable of function 1 must be an integer in 0 .. 1, got '2'"),
        ("2 0 1\n", "2 1 0\n", "each variable must be the last one of one function's scope"),
        (" 0.2 0.8", " 0.2 O.8", "line 9: must be a number, got 'O.8'"),
        (" 0.9 0.1 0.0\n", " 0.9\n", "the file ends where an entry of function 1"),
        (" 0.9 0.1 0.0\n", " 0.9 0.1 0.0 7\n", "line 13: must be the end of the file, got '7'"),
        (
            "0.1 0.2 0.7\n 0.9 0.1 0.0",
            "0.1 0.9 0.2 0.1 0.7 0.0",
            r"function 1 \(x1\) must have the variable itself as the fastest index .* write BIF",
        ),
        ("2 3\n", "2 99999999\n", "line 3: the number of states of variable 1 must be an integer in 0 .. 4194304"),
    ],
)
def test_a_fault_in_uai_names_the_line(old, new, message):
    assert old in UAI
    with pytest.raises(ValidationError, match=message):
        parse_uai(UAI.replace(old, new), "f")


def test_fifty_megabytes_of_braces_are_refused_at_once(tmp_path):
    path = tmp_path / "braces.bif"
    path.write_bytes(b"network x " + b"{" * 50_000_000)
    with pytest.raises(ValidationError, match="must be a text of at most 32 MiB, got '48 MiB'"):
        bs.read(path)
    path.write_bytes(b"network x " + b"{" * 30_000_000)
    with pytest.raises(ValidationError, match="line 1: must be '}', got '{'"):
        bs.read(path)
    path.write_bytes(b"{" * 30_000_000)
    with pytest.raises(ValidationError, match="not a valid JSON file"):
        bs.read(path)


@pytest.mark.parametrize(
    "text", [" " * 100_000, "c\n" + "\n" * 100_000, "/**/" * 30_000, "network x { property " + "/* " * 100_000]
)
def test_a_text_of_blanks_or_comments_is_refused_in_time_linear_in_its_length(tmp_path, text):
    path = tmp_path / "long"
    path.write_text(text)
    # a pattern that backtracks takes longer than anyone waits
    with pytest.raises(ValidationError, match="not a format|got the end of the file"):
        bs.read(path)


@pytest.mark.parametrize("end", ["\r\n", "\r"])
def test_lines_end_as_any_system_ends_them(tmp_path, end):
    path = tmp_path / "n.bif"
    path.write_bytes(BIF.replace("\n", end).encode())
    assert bs.read(path) == parse_bif(BIF, "f")
    path.write_bytes(BIF.replace("0.2, 0.8", "0.2").replace("\n", end).encode())
    with pytest.raises(ValidationError, match="line 8: "):
        bs.read(path)


def test_a_uai_file_of_pgmpys_writer_is_said_to_be_in_another_order(tmp_path):
    from pgmpy.readwrite import UAIWriter

    UAIWriter(bundled("cancer")[1]).write(str(tmp_path / "n.uai"))
    with pytest.raises(ValidationError, match="n.uai: line 12: function 0 .* pgmpy's UAIWriter does so"):
        bs.read(tmp_path / "n.uai")


def test_a_wrong_encoding_names_the_line_and_the_byte(tmp_path):
    path = tmp_path / "latin.bif"
    path.write_bytes(BIF.replace("soaked", "naß").encode("latin-1"))
    with pytest.raises(ValidationError, match="not a UTF-8 text: line 5 holds the byte 0xdf"):
        bs.read(path)


def test_no_pickle_is_read(tmp_path):
    import pickle

    (tmp_path / "n.pkl").write_bytes(pickle.dumps({"a": 1}))
    with pytest.raises(ValidationError, match="not a (UTF-8 text|format)"):
        bs.read(tmp_path / "n.pkl")


def bundled(name):
    """Return the text of a network that comes with pgmpy, and pgmpy's own reading of it."""
    import pgmpy
    from pgmpy.utils import get_example_model

    packed = (Path(pgmpy.__file__).parent / "utils/example_models" / f"{name}.bif.gz").read_bytes()
    text = gzip.decompress(packed).decode()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`get_example_model` is deprecated", FutureWarning)
        return text, get_example_model(name)


@pytest.mark.parametrize("name", ["asia", "sachs", "child", "win95pts"])
def test_our_reading_is_that_of_pgmpy(name):
    text, model = bundled(name)
    ours, theirs = parse_bif(text, name), from_pgmpy(model)
    assert set(ours.names) == set(theirs.names)
    for k, variable in enumerate(ours.names):
        j = theirs.index(variable)
        order = [theirs.parents[j].index(p) for p in ours.parents[k]]
        assert ours.states[k] == theirs.states[j]
        np.testing.assert_allclose(ours.tables[k], theirs.tables[j].transpose([*order, len(order)]), atol=1e-12)
