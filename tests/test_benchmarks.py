"""The benchmarks compare like with like, and their clocks see what they should."""

import math
import sys
from collections import Counter
from dataclasses import replace

import pytest

from benchmarks.known_answer import true_edge
from benchmarks.plain_trial import PlainTrial, train_trial
from benchmarks.startup import simulate_digits
from benchmarks.throughput import Entry, make_sweep, pick_trials, plain_trial
from benchmarks.timing import Timed, time_command
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
