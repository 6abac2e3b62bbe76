"""Tests of real W&B runs, written without a network and read back record by record."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis.figures.loss_table import CURVES_SCHEMA
from analysis.groups import fit_results
from analysis.results import Results
from analysis.summaries import Fit
from analysis.tables import normalize_table
from scaling_sweep.planning import Pack, plan_packs
from scaling_sweep.rows import PackRows, rows_of_failure
from scaling_sweep.spec import SweepSpec
from scaling_sweep.tracking import open_tracker
from tests.wandb_files import RunFile, read_records, read_runs

# Markup of three kinds, a control character, a path and more letters than W&B takes for a name.
HOSTILE = "a<script>[bold]{{x}}\x07../../b" * 9
SPEC = SweepSpec.model_validate(
    {
        "name": "tiny",
        "task": {"name": "digits_mlp", "args": {"note": HOSTILE}},
        "seeds": 3,
        "horizon": {"steps": 30},
        "parameters": {
            "optimizer": {"values": ["sgd", "adam"]},
            "batch_size": {"min": 1, "max": 64, "per_octave": 1},
            "lr": {"min": 0.01, "max": 10, "per_octave": 2},
        },
    }
)
PACKS = plan_packs(SPEC)
# Offline nothing waits for a network; a busy machine may still take its time.
PATIENCE_S = 120.0


def _rows(pack: Pack) -> PackRows:
    """Return made-up rows: LR_max = 0.03 B for SGD, 0.2 sqrt(B) for Adam, seeds 25 % apart."""
    frame = rows_of_failure(pack, HOSTILE).results
    exponent, scale = (1.0, 0.03) if pack.optimizer.name == "sgd" else (0.5, 0.2)
    edge = scale * pack.batch_size**exponent * 1.25 ** frame["seed"]
    verdict = (frame["lr"] < edge).map({True: "stable", False: "diverged"})
    frame = frame.assign(verdict=verdict, initial_loss=2.0, steps_run=3, wall_time_s=0.1)
    curves = [[2.0, 1.0, 0.5 if stable else float("inf")] for stable in frame["lr"] < edge]
    return PackRows(
        pack.pack_id,
        frame,
        pd.DataFrame({"trial_id": frame["trial_id"], "step": [[1, 2, 3]] * len(frame)}).assign(
            loss=curves
        ),
    )


@dataclass(frozen=True)
class _Mirrored:
    """A sweep and what W&B has of it.

    Attributes:
        frame: All rows.
        fit: Of these rows.
        runs: By optimizer.
        said: What a person was told.
    """

    frame: pd.DataFrame
    fit: Fit
    runs: dict[str, RunFile]
    said: list[str]


@pytest.fixture(scope="module")
def mirrored(tmp_path_factory: pytest.TempPathFactory) -> _Mirrored:
    """Mirror one whole sweep offline, with an account and a mode that must not be used."""
    folder, said = tmp_path_factory.mktemp("run"), list[str]()
    parts = [_rows(pack) for pack in PACKS]
    frame = pd.concat([part.results for part in parts], ignore_index=True)
    curves = pa.Table.from_pandas(
        pd.concat([part.curves for part in parts]), CURVES_SCHEMA, preserve_index=False
    )
    pq.write_table(curves, folder / "curves.parquet")
    results = Results(normalize_table(frame, "x", {}, own=True).frame, "x")
    fit = fit_results(results)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "disabled")
        patch.setenv("WANDB_RUN_ID", "another")
        patch.delenv("WANDB_API_KEY", raising=False)
        tracker = open_tracker("offline", SPEC, folder, "name: tiny", said.append)
        tracker.on_plan(PACKS, frame.iloc[:0])
        for pack, rows in zip(PACKS, parts, strict=True):
            tracker.on_pack(pack, rows, 1.5)
        tracker.on_fit(fit, results, folder / "curves.parquet")
        tracker.close(timeout_s=PATIENCE_S)
    return _Mirrored(frame, fit, read_runs(folder), said)


def test_there_is_one_run_for_each_group(mirrored: _Mirrored) -> None:
    """Two optimizers make two runs of one study, each with its own name and config."""
    starts = [
        next(record.run for record in run.records if record.HasField("run"))
        for run in mirrored.runs.values()
    ]
    assert set(mirrored.runs) == {"sgd", "adam"}
    assert {start.run_group for start in starts} == {"tiny"}
    assert len({start.display_name for start in starts} | {start.run_id for start in starts}) == 4
    assert mirrored.runs["sgd"].config["task"] == SPEC.task.label
    assert mirrored.runs["sgd"].config["batch_sizes"] == [1, 2, 4, 8, 16, 32, 64]


def test_the_history_has_one_point_for_each_pack(mirrored: _Mirrored) -> None:
    """Batch size and share of stable trials are those of the table, and the sums add up."""
    for optimizer, run in mirrored.runs.items():
        rows = mirrored.frame[mirrored.frame["optimizer"] == optimizer]
        share = (rows["verdict"] == "stable").groupby(rows["batch_size"]).mean()
        history = run.history
        assert {
            point["pack/batch_size"]: point["pack/fraction_stable"] for point in history
        } == pytest.approx(share.to_dict())
        assert [point["packs_done"] for point in history] == [1, 2, 3, 4, 5, 6, 7]
        assert history[-1]["trials_diverged"] == (rows["verdict"] == "diverged").sum()
        assert history[-1]["fraction_done"] == 1


def test_the_outcome_table_is_the_groups_rows(mirrored: _Mirrored) -> None:
    """Every trial of the group is there once, with its verdict."""
    columns = ["trial_id", "batch_size", "lr", "seed", "verdict", "reason"]
    for optimizer, run in mirrored.runs.items():
        rows = mirrored.frame[mirrored.frame["optimizer"] == optimizer]
        expected = rows[columns].sort_values("trial_id").reset_index(drop=True)
        shown = run.table("tables/trials")[columns].sort_values("trial_id").reset_index(drop=True)
        pd.testing.assert_frame_equal(expected, shown, check_dtype=False)


def test_edges_and_exponents_are_those_of_the_fit(mirrored: _Mirrored) -> None:
    """The edge table and the summary say what fit.json says."""
    for group in mirrored.fit.groups:
        run = mirrored.runs[group.key.optimizer]
        edges, summary = run.table("tables/edges"), run.summary
        assert edges["batch_size"].tolist() == [edge.batch_size for edge in group.edges]
        assert edges["lr_max"].tolist() == pytest.approx([edge.median for edge in group.edges])
        assert summary["exponent"] == pytest.approx(group.exponent)
        assert (summary["exponent_low"], summary["exponent_high"]) == pytest.approx(
            group.exponent_ci
        )
        assert (summary["law"], summary["check"]) == (group.law, group.check.outcome)


def test_figures_are_pictures_and_the_edge_plot_can_be_drawn_again(mirrored: _Mirrored) -> None:
    """PNG files lie there, and the chart's table has the measured points on log axes."""
    run = mirrored.runs["sgd"]
    media = run.folder / "files" / "media" / "images" / "figures"
    names = {path.name.split("_")[0] for path in media.iterdir()}
    heads = {path.read_bytes()[:8] for path in media.iterdir()}
    assert {"edges", "losses", "outcomes"} <= names
    assert heads == {b"\x89PNG\r\n\x1a\n"}
    points = run.table("charts/edges_table")
    measured = points[points["lineKey"] == "measured"]
    sgd = next(group for group in mirrored.fit.groups if group.key.optimizer == "sgd")
    inside = [edge for edge in sgd.edges if edge.censored == "none"]
    assert (2 ** measured["step"]).tolist() == pytest.approx([e.batch_size for e in inside])
    assert (10 ** measured["lineVal"]).tolist() == pytest.approx([e.median for e in inside])


def test_loss_curves_lie_on_both_sides_of_the_edge(mirrored: _Mirrored) -> None:
    """Stable curves end at a quarter of the initial loss, diverged ones before they blow up."""
    curves = mirrored.runs["sgd"].table("tables/loss_curves")
    last = curves.groupby(["batch_size", "curve", "stable"])["loss_over_initial_loss"].last()
    assert set(last[last.index.get_level_values("stable")]) == {0.25}
    assert set(last[~last.index.get_level_values("stable")]) == {0.5}


def test_nothing_about_the_machine_is_written(mirrored: _Mirrored) -> None:
    """No command line, host, user, package list or system load goes to W&B."""
    for run in mirrored.runs.values():
        kinds = {record.WhichOneof("record_type") for record in run.records}
        assert kinds.isdisjoint({"environment", "stats", "output_raw", "metric_system"})
        files = {path.name for path in (run.folder / "files").iterdir()}
        assert files.isdisjoint({"wandb-metadata.json", "requirements.txt", "output.log"})


def test_the_end_is_said_in_one_line(mirrored: _Mirrored) -> None:
    """Offline, the one line says how to send the runs."""
    assert len(mirrored.said) == 1
    assert "wandb sync" in mirrored.said[0]


@pytest.mark.slow
def test_a_second_session_mirrors_the_whole_run_under_the_same_name(tmp_path: Path) -> None:
    """After Ctrl-C and a resume each session's run has one id; the last has all packs."""
    packs = [pack for pack in PACKS if pack.optimizer.name == "sgd"][:2]
    first, second = (_rows(pack) for pack in packs)
    ids, exit_codes, counts = [], [], []
    for earlier, pack, rows in (
        (first.results.iloc[:0], packs[0], first),
        (first.results, packs[1], second),
    ):
        before = set((tmp_path / "wandb").glob("offline-run-*"))
        tracker = open_tracker("offline", SPEC, tmp_path, "", lambda _: None)
        tracker.on_plan([pack], earlier)
        tracker.on_pack(pack, rows, 1.0)
        tracker.close(exit_code=int(earlier.empty), timeout_s=PATIENCE_S)
        (folder,) = set((tmp_path / "wandb").glob("offline-run-*")) - before
        run = RunFile(folder, list(read_records(next(folder.glob("*.wandb")))))
        ids.append(next(r.run.run_id for r in run.records if r.HasField("run")))
        exit_codes += [r.exit.exit_code for r in run.records if r.HasField("exit")]
        counts.append([point["pack/batch_size"] for point in run.history])

    assert len(set(ids)) == 1
    assert exit_codes == [1, 0]
    assert counts == [[packs[0].batch_size], [packs[0].batch_size, packs[1].batch_size]]
