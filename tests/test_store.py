"""The run folder: parts whole or absent, no trial lost or twice, one process at a time."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from analysis.columns import COLUMN_NAMES
from analysis.figures.loss_table import read_curves
from analysis.results import read_results
from scaling_sweep.errors import UserError
from scaling_sweep.planning import Pack
from scaling_sweep.rows import rows_of_failure, rows_of_result
from scaling_sweep.store import RunFolder
from tests.run_cases import damped_sweep, made_up_result, tiny_packs

PACKS = tiny_packs()
MEASURED = [rows_of_result(made_up_result(pack)) for pack in PACKS]
IDS = [trial.trial_id for pack in PACKS for trial in pack.trials]


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    """Return an open run folder."""
    run = RunFolder(tmp_path / "runs" / "tiny")
    with run.opened():
        pass
    return run


def message_of(error: pytest.ExceptionInfo[UserError]) -> str:
    """Return an error's line."""
    message = str(error.value)
    assert "\n" not in message
    return message


def test_an_empty_folder_has_no_rows(tmp_path: Path) -> None:
    """Before anything ran there is a table without rows, with the columns of one."""
    rows = RunFolder(tmp_path / "nowhere").read_rows()

    assert rows.empty
    assert set(COLUMN_NAMES) <= set(rows)


def test_what_is_stored_is_read_back(folder: RunFolder) -> None:
    """Two packs give their rows, every value as it was, with the curves beside."""
    for rows in MEASURED:
        folder.write_part(rows)
    read = folder.read_rows().set_index("trial_id")

    assert sorted(read.index) == sorted(IDS)
    expected = pd.concat([rows.results for rows in MEASURED]).set_index("trial_id")
    empty = ["damping", "validation_loss", "validation_metric"]  # in all rows, so not kept
    expected = expected.drop(columns=empty)
    pd.testing.assert_frame_equal(
        read.loc[expected.index, expected.columns], expected, check_dtype=False
    )
    curves = pd.concat([rows.curves for rows in MEASURED]).set_index("trial_id")
    for trial_id, curve in curves.iterrows():
        assert list(read.loc[trial_id, "curve_step"]) == curve["step"]
        assert list(read.loc[trial_id, "curve_loss"]) == curve["loss"]


def test_a_part_stored_twice_counts_once(folder: RunFolder) -> None:
    """Running a pack again, alone or among others, gives no trial a second row."""
    for rows in (*MEASURED, *MEASURED, rows_of_failure(PACKS[0], "lost")):
        folder.write_part(rows)

    assert sorted(folder.read_rows()["trial_id"]) == sorted(IDS)


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["failed-first", "measured-first"])
def test_a_measurement_replaces_a_failure(folder: RunFolder, order: tuple[int, int]) -> None:
    """A failed trial that was trained in another pack is measured, whichever part reads first."""
    alone = Pack(PACKS[0].trials[:1], PACKS[0].num_steps)
    parts = [rows_of_failure(PACKS[0], "out of memory"), rows_of_result(made_up_result(alone))]
    # File names are hashes: name them so that either is read first.
    for place, rows in zip(order, parts, strict=True):
        folder.write_part(rows)
        part = folder.parts / f"{rows.pack_id}.parquet"
        part.rename(folder.parts / f"{place}.parquet")
    rows = folder.read_rows().set_index("trial_id")

    assert len(rows) == len(PACKS[0].trials)
    assert rows.loc[alone.trials[0].trial_id, "verdict"] == "stable"
    assert rows.loc[alone.trials[0].trial_id, "final_loss"] == 0.1
    assert (rows["verdict"] == "failed").sum() == len(PACKS[0].trials) - 1


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_part_that_cannot_be_finished_is_not_there(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """A disk that fills up in the middle leaves the finished parts, no torn one, and one line."""
    folder.write_part(MEASURED[0])

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(*((os, "fsync") if step == "fsync" else (Path, "replace")), full)
    with pytest.raises(UserError) as caught:
        folder.write_part(MEASURED[1])
    message = message_of(caught)

    assert "No space left on device" in message
    assert "run the same command again" in message
    assert [part.name for part in folder.parts.iterdir()] == [f"{PACKS[0].pack_id}.parquet"]
    monkeypatch.undo()
    assert len(folder.read_rows()) == len(PACKS[0].trials)
    folder.write_part(MEASURED[1])
    assert len(folder.read_rows()) == len(IDS)


def test_a_part_that_replaces_another_is_never_half_of_it(
    folder: RunFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When writing a retried pack fails, what the first attempt left is still there."""
    folder.write_part(rows_of_failure(PACKS[0], "lost"))
    before = (folder.parts / f"{PACKS[0].pack_id}.parquet").read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError):
        folder.write_part(MEASURED[0])

    assert (folder.parts / f"{PACKS[0].pack_id}.parquet").read_bytes() == before


def test_leftovers_of_a_killed_writer_are_no_rows(folder: RunFolder) -> None:
    """A temporary file that a kill left behind is not read."""
    folder.write_part(MEASURED[0])
    (folder.parts / f".{PACKS[1].pack_id}.parquet.123.tmp").write_bytes(b"PAR1 torn")

    assert len(folder.read_rows()) == len(PACKS[0].trials)


def test_a_part_that_something_else_tore_is_named(folder: RunFolder) -> None:
    """A part that does not read is one line with its name and what to do."""
    part = folder.parts / "torn.parquet"
    part.write_bytes(b"PAR1")

    with pytest.raises(UserError) as caught:
        folder.read_rows()
    assert message_of(caught).startswith(f"{part} cannot be read")


@pytest.mark.parametrize("place", ["path", "parts", "starts"])
def test_a_file_where_a_folder_should_be_is_one_line(tmp_path: Path, place: str) -> None:
    """A folder that cannot be made or written to says so, and what to do."""
    run = RunFolder(tmp_path / "run")
    if place != "path":
        run.path.mkdir()
    getattr(run, place).write_text("in the way")

    with pytest.raises(UserError) as caught, run.opened():
        run.write_start("recipe", 0, b"")
    message = message_of(caught)

    assert message.startswith(f"cannot write to {run.path}: ")
    assert "--out" in message


def test_writing_where_there_is_no_folder_is_one_line(folder: RunFolder) -> None:
    """A folder that vanishes under a run is the user's to mend."""
    folder.parts.rmdir()
    folder.parts.write_text("in the way")

    with pytest.raises(UserError, match="cannot write to"):
        folder.write_part(MEASURED[0])


def test_a_second_process_is_turned_away(folder: RunFolder) -> None:
    """While one process holds the folder another hears so at once; afterwards it may enter."""
    program = (
        "import sys; from pathlib import Path; from scaling_sweep.store import RunFolder\n"
        "from scaling_sweep.errors import UserError\n"
        "try:\n"
        "    with RunFolder(Path(sys.argv[1])).opened(): print('entered')\n"
        "except UserError as error: print(error)\n"
    )

    def enter() -> str:
        command = [sys.executable, "-c", program, str(folder.path)]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    with folder.opened():
        refused = enter()
    assert refused == f"{folder.path} is in use by another run; wait for it, or write another --out"
    assert enter() == "entered"


def test_the_folder_is_free_again_after_an_error(folder: RunFolder) -> None:
    """A run that raises lets go of its folder."""
    with pytest.raises(ZeroDivisionError), folder.opened():
        raise ZeroDivisionError
    with folder.opened():
        pass


def test_the_assembled_table_is_what_the_analysis_reads(folder: RunFolder) -> None:
    """results.parquet holds every row, in order, with sweep text and environment."""
    for rows in reversed(MEASURED):
        folder.write_part(rows)
    returned = folder.assemble("# A question?\nname: tiny\n", {"python": "3.11"})
    results = read_results(folder.results)

    assert results.sweep_text == "# A question?\nname: tiny\n"
    assert results.environment == {"python": "3.11"}
    assert results.warnings == ()
    assert sorted(results.frame["trial_id"]) == sorted(IDS)
    assert results.frame["trial_id"].tolist() == returned["trial_id"].tolist()
    order = results.frame[["batch_size", "seed", "lr"]]
    assert order.equals(order.sort_values(["batch_size", "seed", "lr"]))
    expected = pd.concat([rows.results for rows in MEASURED]).set_index("trial_id")
    for name in ("verdict", "final_loss", "peak_loss", "steps_run", "num_examples", "engine"):
        read = results.frame.set_index("trial_id")[name].loc[expected.index]
        assert read.tolist() == expected[name].tolist()


def test_dampings_are_assembled_in_order(folder: RunFolder) -> None:
    """Whatever order packs finish in, rows go by batch size, seed, lr and damping."""
    for pack in tiny_packs(damped_sweep()):
        folder.write_part(rows_of_result(made_up_result(pack)))

    folder.assemble("name: tiny\n", {})

    table = read_results(folder.results).frame
    keys = ["batch_size", "seed", "lr", "damping"]
    assert list(table[keys].itertuples(index=False, name=None)) == sorted(
        (trial.batch_size, trial.seed, trial.lr, trial.damping)
        for pack in tiny_packs(damped_sweep())
        for trial in pack.trials
    )


def test_the_assembled_curves_are_what_the_analysis_reads(folder: RunFolder) -> None:
    """curves.parquet holds the points of every trial that trained, and none of one that failed."""
    folder.write_part(MEASURED[0])
    folder.write_part(rows_of_failure(PACKS[1], "lost"))
    folder.assemble("name: tiny\n", {})
    stored = pq.read_table(folder.curves).to_pandas().set_index("trial_id")

    expected = MEASURED[0].curves.set_index("trial_id")
    assert sorted(stored.index) == sorted(expected.index)
    for trial_id, curve in expected.iterrows():
        assert stored.loc[trial_id, "step"].tolist() == curve["step"]
        assert stored.loc[trial_id, "loss"].tolist() == pytest.approx(curve["loss"])
    assert read_curves(folder.curves)["trial_id"].tolist() == stored.index.tolist()


@pytest.mark.parametrize("part", [None, rows_of_failure(PACKS[0], "lost")])
def test_a_run_without_measurements_still_assembles(folder: RunFolder, part: object) -> None:
    """A table of failures, or of nothing, is written without complaint."""
    if part is not None:
        folder.write_part(part)
    rows = folder.assemble("name: tiny\n", {})
    table = pq.read_table(folder.results)

    assert len(rows) == table.num_rows == (0 if part is None else len(PACKS[0].trials))
    assert table.column_names == list(COLUMN_NAMES)
    assert pq.read_table(folder.curves).num_rows == 0


def test_starts_are_kept_by_recipe_and_seed(folder: RunFolder) -> None:
    """What is stored for a seed of a recipe comes back for it, and for no other recipe."""
    for seed in (0, 11):
        folder.write_start("one", seed, bytes([seed]))
    folder.write_start("two", 0, b"other")

    assert folder.read_starts("one") == {0: b"\x00", 11: b"\x0b"}
    assert folder.read_starts("two") == {0: b"other"}
    assert folder.read_starts("three") == {}


def test_the_environment_is_plain_json(folder: RunFolder) -> None:
    """Any program can read what a run ran on."""
    folder.write_environment({"python": "3.11", "packages": {"torch": None}})

    assert json.loads(folder.environment.read_text()) == {
        "python": "3.11",
        "packages": {"torch": None},
    }
