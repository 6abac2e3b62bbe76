"""Tests of watching a run from outside, on folders as a run leaves them."""

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner, Result

from scaling_sweep.cli import main
from scaling_sweep.opening import open_study
from scaling_sweep.planning import Pack
from scaling_sweep.rows import rows_of_failure, rows_of_result
from scaling_sweep.store import RunFolder
from scaling_sweep.watching import RunReader, reader
from tests.run_cases import SWEEP, made_up_result, tiny_packs

PACKS = tiny_packs()
HOSTILE = "lost\x1b[2J\x07\N{RIGHT-TO-LEFT OVERRIDE}<b>"


def _store(run: RunFolder, pack: Pack, at_s: float) -> None:
    """Store a pack as if it had been finished at that time."""
    run.write_part(rows_of_result(made_up_result(pack)))
    os.utime(run.parts / f"{pack.pack_id}.parquet", (at_s, at_s))


def _begin(folder: Path, at_s: float) -> RunFolder:
    """Leave what a run has when it begins to train."""
    run = RunFolder(folder)
    run.parts.mkdir(parents=True, exist_ok=True)
    run.sweep.write_text(SWEEP)
    run.environment.write_text("{}")
    os.utime(run.environment, (at_s, at_s))
    return run


def _status(folder: Path, *options: str) -> Result:
    return CliRunner().invoke(main, ["status", str(folder), *options])


def _work(packs: Sequence[Pack]) -> float:
    """Return the guessed time of packs, written out."""
    return sum(
        pack.num_steps * (1e-3 + pack.num_trials * (5e-6 + 1e-6 * pack.batch_size))
        for pack in packs
    )


def test_the_pace_is_that_of_the_session_and_not_of_earlier_ones(tmp_path: Path) -> None:
    """What was stored before the run command was given again counts as done, not as fast."""
    run = _begin(tmp_path, 1000.0)
    _store(run, PACKS[0], 400.0)
    _store(run, PACKS[1], 1020.0)

    pace = RunReader(tmp_path).look().view(1030.0).pace

    assert pace is not None
    assert (pace.num_trials, pace.elapsed_s) == (PACKS[1].num_trials, 20.0)
    assert pace.trials_per_s == pytest.approx(PACKS[1].num_trials / 20)


def test_the_time_left_is_the_work_left_at_the_pace_so_far(tmp_path: Path) -> None:
    """A pack of another batch size takes as much longer as its steps do."""
    run = _begin(tmp_path, 1000.0)
    _store(run, PACKS[0], 1010.0)

    pace = RunReader(tmp_path).look().view(1030.0).pace

    assert pace is not None
    assert pace.left_s == pytest.approx(30.0 * _work(PACKS[1:]) / _work(PACKS[:1]))


def test_a_run_that_stores_nothing_any_more_is_not_promised_an_end(tmp_path: Path) -> None:
    """After five times the longest pause there is no time left, and the way on is said."""
    run = _begin(tmp_path, 1000.0)
    _store(run, PACKS[0], 1100.0)
    snapshot = RunReader(tmp_path).look()

    patient, stalled = snapshot.view(1599.0), snapshot.view(1601.0)

    assert patient.pace is not None
    assert patient.pace.left_s is not None
    assert stalled.pace is not None
    assert stalled.pace.left_s is None
    assert "the same run command goes on" in stalled.text()


def test_a_finished_run_says_nothing_of_pace(tmp_path: Path) -> None:
    """When no trial is left the run is complete, however long ago that was."""
    run = _begin(tmp_path, 1000.0)
    for pack in PACKS:
        _store(run, pack, 1010.0)

    view = RunReader(tmp_path).look().view(9999.0)

    assert view.complete
    assert "trials/s" not in view.text()
    assert "nothing stored" not in view.text()


def test_the_newest_pack_comes_first(tmp_path: Path) -> None:
    """Last packs are those written last, with their own counts and ages."""
    run = _begin(tmp_path, 1000.0)
    _store(run, PACKS[0], 1020.0)
    _store(run, PACKS[1], 1010.0)

    first, second = RunReader(tmp_path).look().view(1050.0).last_packs

    assert (first.pack_id, first.age_s) == (PACKS[0].pack_id, 30.0)
    assert (second.pack_id, second.age_s) == (PACKS[1].pack_id, 40.0)
    expected = [record.verdict for record in made_up_result(PACKS[0]).records]
    assert (first.num_stable, first.num_diverged) == (
        expected.count("stable"),
        expected.count("diverged"),
    )


def test_edges_so_far_are_those_that_a_fit_finds(tmp_path: Path) -> None:
    """Medians and intervals agree with the fit of the same trials."""
    run = _begin(tmp_path, 1000.0)
    for pack in PACKS:
        _store(run, pack, 1010.0)

    shown = RunReader(tmp_path).look().view(1020.0).edges_so_far

    run.assemble(SWEEP, {})
    (group,) = open_study(tmp_path).groups
    assert [(e.batch_size, e.num_seeds) for e in shown] == [
        (e.batch_size, e.num_seeds) for e in group.edges
    ]
    assert [(e.edge, e.low, e.high) for e in shown] == [
        pytest.approx((e.median, *e.median_ci)) for e in group.edges
    ]


def test_each_part_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Looking again reads only what was written since, a retried pack included."""
    run, read = _begin(tmp_path, 1000.0), list[str]()
    whole = reader.read_parts

    def note(paths: list[Path], curves: bool) -> tuple[pd.DataFrame, ...]:
        read.extend(path.stem for path in paths)
        return whole(paths, curves)

    monkeypatch.setattr(reader, "read_parts", note)
    watcher = RunReader(tmp_path)
    run.write_part(rows_of_failure(PACKS[0], "lost"))
    os.utime(run.parts / f"{PACKS[0].pack_id}.parquet", (1001.0, 1001.0))

    failed = watcher.look().view(1010.0).status.num_failed
    assert watcher.look() is watcher.look()
    _store(run, PACKS[1], 1002.0)
    watcher.look()
    _store(run, PACKS[0], 1003.0)
    now_failed = watcher.look().view(1010.0).status.num_failed

    assert read == [PACKS[0].pack_id, PACKS[1].pack_id, PACKS[0].pack_id]
    assert (failed, now_failed) == (PACKS[0].num_trials, 0)


def test_looking_writes_nothing(tmp_path: Path) -> None:
    """Every file is as it was, and there is none more."""
    run = _begin(tmp_path, 1000.0)
    _store(run, PACKS[0], 1010.0)

    def listing() -> dict[Path, tuple[bytes, float]]:
        return {p: (p.read_bytes(), p.stat().st_mtime) for p in tmp_path.rglob("*") if p.is_file()}

    before = listing()
    assert _status(tmp_path).exit_code == 0
    assert _status(tmp_path, "--json").exit_code == 0
    assert listing() == before


def test_strings_of_a_run_folder_move_no_cursor(tmp_path: Path) -> None:
    """Escapes, bells and marks that turn the writing around are replaced before a terminal."""
    run = _begin(tmp_path, 1000.0)
    run.write_part(rows_of_failure(PACKS[0], HOSTILE))

    shown = _status(tmp_path).output

    assert "failed 8: lost" in shown
    assert all(c.isprintable() for c in shown.replace("\n", ""))


def test_json_is_strict_and_keeps_its_names(tmp_path: Path) -> None:
    """Programs get counts, pace, packs and edges, and never NaN or infinity."""
    run = _begin(tmp_path, time.time())
    _store(run, PACKS[0], time.time())

    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    status = json.loads(_status(tmp_path, "--json").output, parse_constant=refuse)

    assert (status["name"], status["num_trials"], status["num_stable"]) == ("tiny", 16, 4)
    assert status["complete"] is False
    assert status["pace"]["num_trials"] == PACKS[0].num_trials
    assert [pack["batch_size"] for pack in status["last_packs"]] == [PACKS[0].batch_size]
    assert [edge["num_seeds"] for edge in status["edges_so_far"]] == [2]


@pytest.mark.parametrize("options", [[], ["--json"]], ids=["text", "json"])
def test_watching_ends_with_the_run(
    options: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each change is printed once where nothing redraws, until no trial is left."""
    run = _begin(tmp_path, time.time())
    waiting = list(PACKS)
    looks = list[float]()

    def sleep(seconds: float) -> None:
        looks.append(seconds)
        if len(looks) % 2 == 0:
            _store(run, waiting.pop(), time.time())

    monkeypatch.setattr("time.sleep", sleep)

    done = _status(tmp_path, "--watch", "--every", "0.5", *options)

    assert done.exit_code == 0
    assert looks == [0.5] * 4
    reported = [line for line in done.output.splitlines() if "tiny" in line]
    assert len(reported) == 3
    assert ('"complete": true' if options else "(100%)") in reported[-1]


def test_no_run_is_one_line(tmp_path: Path) -> None:
    """A folder that holds no run is refused, and so is one whose sweep file is no text."""
    refused = _status(tmp_path)
    (tmp_path / "sweep.yaml").write_bytes(b"\xff\xfe\x00")
    unreadable = _status(tmp_path)

    assert (refused.exit_code, "holds no run" in refused.output) == (1, True)
    assert (unreadable.exit_code, "cannot be read" in unreadable.output) == (1, True)
