"""The edges that W&B shows while a sweep runs: as the report finds them, and not too often."""

import itertools
import json
import sys
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import pytest

from analysis.groups import fit_results
from analysis.results import Results
from analysis.tables import normalize_table
from scaling_sweep.tracking.launching import mirror_environment
from scaling_sweep.tracking.live_edges import LEAST_PAUSE_S, LiveEdges
from scaling_sweep.tracking.messages import Outcome
from scaling_sweep.tracking.outbox import Outbox
from scaling_sweep.tracking.tracker import Mode, WandbTracker
from tests.test_tracking_offline import PACKS, PATIENCE_S, SPEC, _rows
from tests.wandb_files import read_runs

# Without the half minute that a person is given between two tables.
EAGER = (
    "import sys; from scaling_sweep.tracking import live_edges, mirror; "
    "live_edges.LEAST_PAUSE_S = 0; mirror.main()"
)


def _grid(batch_sizes: tuple[int, ...], num_seeds: int = 3) -> list[Outcome]:
    """Return trials whose edge is 0.05 B, up to a quarter octave by seed."""
    rates = [0.01 * 2 ** (k / 4) for k in range(40)]
    return [
        Outcome(size, lr, None, seed, "stable" if lr < 0.05 * size * 1.1**seed else "diverged")
        for size, seed, lr in itertools.product(batch_sizes, range(num_seeds), rates)
    ]


def test_the_table_says_what_the_fit_finds() -> None:
    """Edges so far are the medians and intervals that the whole fit finds in the same trials."""
    trials = _grid((1, 2, 4, 8))
    live = LiveEdges("group", 0.0)
    live.hear(trials)
    found = live.look(LEAST_PAUSE_S)

    assert found is not None
    frame = pd.DataFrame([asdict(trial) for trial in trials]).drop(columns="damping")
    [group] = fit_results(Results(normalize_table(frame, "x", {}, own=True).frame, "x")).groups
    table = pd.DataFrame(found.table.rows, columns=found.table.columns)
    assert table["batch_size"].tolist() == [1, 2, 4, 8]
    assert table["lr_max"].tolist() == pytest.approx([edge.median for edge in group.edges])
    assert table["lr_max_low"].tolist() == pytest.approx([e.median_ci[0] for e in group.edges])
    assert table["num_seeds"].tolist() == [3, 3, 3, 3]
    [line] = [line for line in found.chart.lines if line.label == "measured"]
    assert list(line.x) == [0.0, 1.0, 2.0, 3.0]
    assert found.chart.xname == "log2(batch size)"


def test_a_table_comes_after_a_pause_and_with_more_trials() -> None:
    """Neither at once, nor again within the pause, nor without a tenth more trials."""
    live = LiveEdges("group", 0.0)
    live.hear(_grid((1, 2)))

    assert live.look(LEAST_PAUSE_S / 2) is None
    assert live.look(LEAST_PAUSE_S) is not None
    live.hear(_grid((1, 2)))  # the same again
    assert live.look(10 * LEAST_PAUSE_S) is None
    live.hear(_grid((4,)))
    assert live.look(1.5 * LEAST_PAUSE_S) is None
    found = live.look(10 * LEAST_PAUSE_S)
    assert found is not None
    assert [row[0] for row in found.table.rows] == [1, 2, 4]


def test_failures_make_no_edge_and_no_noise() -> None:
    """Trials without a measurement show nothing, and a later measurement counts."""
    live = LiveEdges("group", 0.0)
    live.hear(Outcome(1, 0.1, None, 0, "failed") for _ in range(3))
    assert live.look(LEAST_PAUSE_S) is None
    live.hear([*_grid((1,)), Outcome(1, 0.01, None, 0, "failed")])

    found = live.look(3 * LEAST_PAUSE_S)
    assert found is not None
    assert found.table.rows[0][-1] == 3


def test_w_and_b_reads_the_edges_while_the_sweep_runs(tmp_path: Path) -> None:
    """An offline run that was never fitted has the edge table and its chart, without a law."""
    said: list[str] = []
    command = [sys.executable, "-c", EAGER, str(tmp_path), "offline", "3.5"]
    outbox = Outbox(command, mirror_environment(tmp_path), said.append)
    tracker = WandbTracker(outbox, SPEC, "name: tiny", said.append, Mode.OFFLINE)
    rows = [_rows(pack) for pack in PACKS]
    tracker.on_plan(PACKS, rows[0].results.iloc[:0])
    for pack, part in zip(PACKS, rows, strict=True):
        tracker.on_pack(pack, part, 1.0)
    tracker.close(timeout_s=PATIENCE_S)

    runs = read_runs(tmp_path)
    assert set(runs) == {"sgd", "adam"}
    stored = [point["tables/edges/path"] for point in runs["sgd"].points("tables/edges/path")]
    assert 1 <= len(stored) <= len(PACKS)
    assert all((runs["sgd"].folder / "files" / path).stat().st_size < 10_000 for path in stored)
    table = json.loads((runs["sgd"].folder / "files" / stored[-1]).read_text())
    frame = pd.concat([part.results for part in rows])
    frame = frame[frame["optimizer"] == "sgd"]
    [group] = fit_results(Results(normalize_table(frame, "x", {}, own=True).frame, "x")).groups
    shown = {row[0]: row[1] for row in table["data"]}
    expected = {edge.batch_size: edge.median for edge in group.edges}
    # The last packs may have come without a tenth more trials; a batch size is one pack here.
    assert len(shown) >= 0.8 * len(expected)
    assert shown == pytest.approx({size: expected[size] for size in shown})
    assert len(runs["sgd"].points("charts/edges_table/path")) == len(stored)
    assert "exponent" not in runs["sgd"].summary
