"""The benchmarks compare like with like, and their clocks see what they should."""

import math
import sys
from collections import Counter
from dataclasses import replace

import pytest

from benchmarks.__main__ import describe_benchmarks
from benchmarks.driver import one_seed
from benchmarks.driver_run import Clocks
from benchmarks.known_answer import true_edge, without_curvature
from benchmarks.plain_trial import PlainTrial, train_trial
from benchmarks.rates import Entry, count_agreeing, render_table
from benchmarks.startup import simulate_digits
from benchmarks.throughput import make_sweep, pick_trials, plain_trial
from benchmarks.timing import ROOT, Timed, time_command
from scaling_sweep.planning import Trial, all_trials, plan_packs
from scaling_sweep.spec import SweepSpec, parse_sweep

# Long enough for a mistake in data, weights or rule to show, short enough not to be chaotic.
NUM_STEPS = 30


@pytest.fixture(scope="module")
def spec() -> SweepSpec:
    """The benchmark's own grid with a short horizon."""
    text = make_sweep(192).replace("steps: 300", f"steps: {NUM_STEPS}")
    return parse_sweep(text).spec


def our_final_loss(trial: Trial, spec: SweepSpec) -> float:
    """Return the final loss of a trial as our own pack trains it."""
    from scaling_sweep.tasks.digits import digits_mlp
    from scaling_sweep.training.pack import train_pack

    others = {other.trial_id for other in all_trials(spec)} - {trial.trial_id}
    (pack,) = plan_packs(spec, others)
    (record,) = train_pack(pack, spec, digits_mlp()).records
    return record.final_loss


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize(("optimizer", "lr"), [("sgd", 0.25), ("adam", 0.001)])
def test_peer_trains_the_same_trial(
    spec: SweepSpec, optimizer: str, lr: float, fused: bool
) -> None:
    """The peer's plain loop and our pack end one trial at the same loss."""
    trial = min(
        (t for t in all_trials(spec) if t.optimizer.name == optimizer and t.batch_size == 16),
        key=lambda t: abs(math.log(t.lr / lr)),
    )

    expected = our_final_loss(trial, spec)

    assert expected == pytest.approx(train_trial(plain_trial(trial, spec), fused=fused), rel=1e-4)
    assert expected < 2


def test_peer_ends_a_trial_that_blew_up(spec: SweepSpec) -> None:
    """A peer's trial whose loss is not finite has an infinite final loss, as ours has."""
    trial = PlainTrial("key", "sgd", 4, 1e6, NUM_STEPS, start_seed=0, batch_seed=0)

    assert train_trial(trial) == math.inf
    assert train_trial(replace(trial, lr=0.01)) < math.inf


def test_peer_gets_the_grid_in_equal_shares(spec: SweepSpec) -> None:
    """The random part has equally many trials of each optimizer and batch size, none twice."""
    picked = pick_trials(spec, 24)

    cells = Counter((trial.optimizer.name, trial.batch_size) for trial in picked)
    assert set(cells.values()) == {4}
    assert len({trial.trial_id for trial in picked}) == 24


def test_the_known_answer_without_theory_is_the_same_study() -> None:
    """What is left out for time is the section on curvature, and no trial."""
    text = (ROOT / "sweeps" / "least_squares.yaml").read_text()
    whole, edges_only = parse_sweep(text).spec, parse_sweep(without_curvature(text)).spec

    assert whole.curvature is not None
    assert edges_only == whole.model_copy(update={"curvature": None})


def test_grid_is_as_large_as_asked() -> None:
    """The sweep file of the benchmark holds at least the trials asked for."""
    assert 960 <= len(all_trials(parse_sweep(make_sweep(960)).spec)) < 960 * 1.2


def test_start_up_counts_once_however_many_trials() -> None:
    """The rate at another number of trials adds start-up once and training in proportion."""
    entry = Entry("x", 10, Timed(0, 15, 30, ""), training_s=5, num_workers=2, final_losses={})

    assert entry.whole_rate == pytest.approx(10 / 15)
    assert entry.training_rate == 2
    assert entry.rate_at(10) == pytest.approx(entry.whole_rate)
    assert entry.rate_at(100) == pytest.approx(100 / (10 + 50))


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
def test_clock_sees_the_children_of_a_command() -> None:
    """CPU time of a process that the command starts and does not wait for is counted."""
    spin = "import time\nwhile time.process_time() < 0.8: pass"
    start = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {spin!r}])"
    sleep = "; time.sleep(2)"

    timed = time_command([sys.executable, "-c", start + sleep])

    assert timed.cpu_time_s == pytest.approx(0.8, abs=0.3)
    assert timed.wall_time_s > 2


def test_failed_command_says_what_it_printed() -> None:
    """A benchmark whose command fails ends with the command's own words."""
    with pytest.raises(RuntimeError, match="out of cheese"):
        time_command([sys.executable, "-c", "raise SystemExit('out of cheese')"])


def test_true_edge_is_the_textbook_one() -> None:
    """At batch size 1 in one dimension E|w|² shrinks for lr below 2/3: E(1 − ηx²)² < 1."""
    # E(1 − ηx²)² = 1 − 2η + 3η², because E x⁴ = 3 for a standard normal.
    assert 1 - 2 * true_edge(1, 1) + 3 * true_edge(1, 1) ** 2 == pytest.approx(1)


def test_simulated_table_has_the_size_of_the_digits_study() -> None:
    """The table that `fit` is timed on is at least as large as that of sweeps/digits.yaml."""
    import numpy as np

    table = simulate_digits(np.random.default_rng(0))

    assert len(table) >= 2 * 10 * 6 * 28
    assert set(table["verdict"]) == {"stable", "diverged"}


def test_peer_reports_now_and_then_and_trains_the_same() -> None:
    """Reports, which ASHA wants, come every few steps but the last, and change nothing."""
    trial = PlainTrial("key", "sgd", 4, 0.01, NUM_STEPS, 0, 0)
    reports: list[float] = []
    final = train_trial(trial, report=reports.append, report_every=10)

    assert len(reports) == NUM_STEPS // 10 - 1
    assert final == train_trial(trial)


def test_trials_stopped_by_rank_have_no_verdict() -> None:
    """The table counts trials that ended by themselves, and a peer without any is no error."""
    timed = Timed(0, 15, 30, "")
    ours = Entry("ours", 4, timed, 5, 2, {"a": 1.0, "b": 2.0, "c": math.inf, "d": 0.1}, 0.95)
    asha = Entry("ASHA", 3, timed, 5, 2, {"a": 1.0})
    none = Entry("none", 3, timed, 5, 2, {})

    cells = [
        [cell.strip() for cell in row.split("|")] for row in render_table(ours, [asha]).split("\n")
    ]
    verdicts = cells[0].index("verdicts")
    assert [row[verdicts] for row in cells[2:4]] == ["4", "1"]
    assert "1 of 1 verdicts agree with ASHA" in count_agreeing(ours, asha, {"a": 1.0})
    assert count_agreeing(ours, none, {}) == "No trial of none reached a verdict"


def test_busy_workers_are_counted_between_first_begin_and_last_end() -> None:
    """Two workers train 6 s each of 8: what a pack waits between its slices is no training."""
    clocks = Clocks(
        num_trials=4,
        num_packs=4,
        num_workers=2,
        ended_s=(12.0, 13.0, 17.0, 18.0),
        training_s=(2.0, 2.0, 4.0, 4.0),
        memory_mib=(100.0, 101.0, 102.0, 103.0),
        cpu_s=(1.0, 1.1, 1.2, 1.3),
        peak_mib=120.0,
    )

    assert clocks.busy_share == pytest.approx(12 / (2 * 8))
    assert clocks.s_per_pack == pytest.approx(2)
    assert clocks.cpu_s_per_pack == pytest.approx(0.1)


def test_one_seed_of_a_sweep_is_the_rest_of_it_unchanged() -> None:
    """The part of sweeps/digits.yaml that is trained has its grid and a single seed."""
    text = (ROOT / "sweeps" / "digits.yaml").read_text()
    whole, part = parse_sweep(text).spec, parse_sweep(one_seed(text)).spec

    assert part == whole.model_copy(update={"seeds": 1})


def test_documents_list_what_each_benchmark_answers() -> None:
    """docs/performance.md has the table that `python -m benchmarks --list` prints."""
    assert describe_benchmarks() in (ROOT / "docs" / "performance.md").read_text()
