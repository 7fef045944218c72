import io
import itertools
import sys
import types

import numpy as np
import pytest
from rich.console import Console

import boltzspike as bs
from boltzspike import diagnostics, progress
from boltzspike.progress import Bar, Shares, in_notebook, notebook_bar, terminal_bar

MACHINE = bs.BoltzmannMachine(weights=[[0, 0.5], [0.5, 0]], biases=[-0.3, 0.2])


def parts_of(record, **options):
    """Return what a progress sees of a run."""
    seen = []

    class Seeing:
        def __call__(self, done, total):
            seen.append((done, total))

        def watch(self, part):
            seen.append(part)

    result = bs.sample(MACHINE, duration=20000, chains=8, record=record, rule="psp", progress=Seeing(), **options)
    return result, seen


@pytest.mark.parametrize("record", ["states", "moments"])
def test_a_watcher_sees_every_part_before_the_count_goes_on(record):
    result, seen = parts_of(record)
    parts, counts = seen[::2], seen[1::2]
    assert counts[-1] == (200000, 200000)
    assert [part.stop - parts[0].start for part in parts] == [done for done, _ in counts]
    shares = Shares()
    for part in parts:
        shares.add(part)
    assert shares._on.sum(axis=0) / shares._of / 8 == pytest.approx(result.marginals())


def test_r_hat_from_shares_is_that_of_the_states():
    rng = np.random.default_rng(1)
    chance = np.array([0.3, 0.4, 0.3, 0.6])[:, None, None]
    states = (rng.uniform(size=(4, 500, 2)) < chance).astype(np.int8)
    shares = Shares()
    for half in states[:, :250], states[:, 250:]:
        packed = bs.samples.PackedStates.of(np.ascontiguousarray(half))
        shares.add(bs.samples.Samples(start=0, stop=250, dt=0.1, packed=packed))
    n, within = 500, states.var(axis=1, ddof=1).mean(axis=0)
    between = n * states.mean(axis=1).var(axis=0, ddof=1)
    expected = np.sqrt(((n - 1) / n * within + between / n) / within)  # Gelman and Rubin's, per unit
    assert shares.r_hat() == pytest.approx(expected.max())
    assert shares.r_hat() > 1.03
    # the diagnostics split chains, which stationary chains do not notice
    assert shares.r_hat() == pytest.approx(diagnostics.convergence(states).worst_r_hat, abs=0.02)


def test_there_is_no_r_hat_of_one_chain_or_of_units_that_never_changed():
    for states in np.ones((4, 10, 2), dtype=np.int8), np.eye(10, dtype=np.int8)[None]:
        shares = Shares()
        assert shares.r_hat() is None
        packed = bs.samples.PackedStates.of(states)
        shares.add(bs.samples.Samples(start=0, stop=10, dt=0.1, packed=packed))
        assert shares.r_hat() is None


def test_the_bar_on_a_terminal_shows_rate_time_left_and_agreement():
    screen = io.StringIO()
    console = Console(file=screen, force_terminal=True, width=120)
    _, seen = parts_of("states")
    with terminal_bar("sampling", console) as bar:
        for part, (done, total) in zip(seen[::2], seen[1::2]):
            bar.watch(part)
            bar(done, total)
    shown = screen.getvalue()
    for word in ("sampling", "100 %", "0:00:00", "x real time", "R-hat 1.0"):
        assert word in shown, word


@pytest.mark.parametrize("record", ["states", "joint"])
@pytest.mark.parametrize(
    "of", [bs.sample, lambda *a, **k: bs.sample_until(*a, "mcse<1e-9", **k)], ids=["run", "until"]
)
def test_a_bar_shows_the_divergence_where_it_is_known(record, of):
    notes = []
    bar = Bar(lambda done, total, note: notes.append(note))
    result = of(MACHINE, duration=4000, chains=16, rule="psp", record=record, clamp={1: 1}, progress=bar)
    assert notes[-1].endswith(f"D_KL {result.kl_divergence().value:.2g}")
    assert "R-hat" not in notes[-1]


def test_a_bar_shows_r_hat_where_the_divergence_is_not_known():
    for options in ({"record": "moments"}, {"clamp": {1: 1}, "clamping": "spikes"}):
        notes = []
        bar = Bar(lambda done, total, note, notes=notes: notes.append(note))
        bs.sample(MACHINE, duration=4000, chains=16, rule="psp", progress=bar, **options)
        assert "R-hat" in notes[-1]


def test_a_bar_says_that_the_machine_is_translated_first():
    notes = []
    bar = Bar(lambda done, total, note: notes.append(note))
    bs.sample(MACHINE, duration=4000, chains=16, rule="psp", progress=bar)
    assert notes[0] == "translating by the rule 'psp'"
    assert notes[1] != notes[0]


def test_the_rate_is_biological_time_of_all_chains_over_wall_time(monkeypatch):
    clock = iter([10.0, 12.0])
    monkeypatch.setattr(progress.time, "perf_counter", lambda: next(clock))
    notes = []
    bar = Bar(lambda done, total, note: notes.append(note))
    for start in 0, 10000:
        packed = bs.samples.PackedStates.of(np.ones((5, 2, 1), dtype=np.int8))
        bar.watch(bs.samples.Samples(start=start, stop=start + 10000, dt=0.1, packed=packed))
        bar(start + 10000, 20000)
    assert notes == ["", "2.5 x real time"]  # five chains of a second in two


def test_nothing_is_shown_where_there_is_neither_terminal_nor_notebook():
    screen = io.StringIO()
    with terminal_bar("sampling", Console(file=screen)) as bar:
        bar(1, 2)
    assert screen.getvalue() == ""
    assert not in_notebook()
    with notebook_bar("sampling") as bar:
        assert bar is None


def test_a_notebook_has_a_bar_of_tqdm(monkeypatch, capsys):
    shell = type("ZMQInteractiveShell", (), {})
    monkeypatch.setitem(sys.modules, "IPython", types.SimpleNamespace(get_ipython=shell))
    monkeypatch.setitem(sys.modules, "ipywidgets", None)  # as text
    assert in_notebook()
    bs.sample(MACHINE, duration=20000, chains=8, rule="psp")
    shown = capsys.readouterr().err
    assert "sampling" in shown
    assert "D_KL 0.0" in shown
    monkeypatch.setitem(sys.modules, "tqdm", None)
    bs.sample(MACHINE, duration=1000, chains=8, rule="psp")
    assert capsys.readouterr().err == ""


def test_runs_that_go_on_until_something_is_reached_are_watched_as_one():
    seen = []

    class Seeing:
        def __call__(self, done, total):
            seen.append((done, total))

        def watch(self, part):
            seen.append(part)

    result = bs.sample_until(MACHINE, "ess>1e9", duration=4000, chains=16, rule="psp", progress=Seeing())
    parts, counts = seen[::2], seen[1::2]
    assert counts[-1] == (4000, 4000)
    assert all(earlier.stop == later.start for earlier, later in itertools.pairwise(parts))
    assert (parts[-1].stop - parts[0].start) * 0.1 == pytest.approx(result.configuration["sampled_ms"])
