"""Faults in the middle of a sweep on a real local Ray: nothing is lost, and a line says why."""

from collections.abc import Callable

import pytest

from scaling_sweep.errors import UserError
from scaling_sweep.rows import PackRows
from scaling_sweep.store import RunFolder
from tests.driver.cases import Study, assert_same_rows

# Ray warns of its own future; what it says is not ours to mend.
pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def test_a_pack_that_raises_fails_alone_and_is_tried_again_next_time(
    run: Callable[[], tuple[int, int]], study: Study
) -> None:
    """After two retries its rows say why; the others are measured; mended, it is measured too."""
    told = study.tell("raise")
    assert run() == (3, 0)
    table = study.table()
    failed = table[table["verdict"] == "failed"]

    assert study.count("raised") == 3
    assert set(failed["batch_size"]) == {64}
    assert len(failed) == 6
    assert all(reason.endswith("no batches of 64 today") for reason in failed["reason"])
    assert failed["final_loss"].isna().all()
    assert set(table.loc[table["batch_size"] < 64, "verdict"]) == {"stable", "diverged"}

    told.unlink()
    assert run() == (1, 12)
    assert_same_rows(study.table(), study.expected())


def test_a_killed_worker_is_replaced(run: Callable[[], tuple[int, int]], study: Study) -> None:
    """A worker that is killed once costs a retry, and no row."""
    study.tell("die-once")
    assert run() == (3, 0)

    assert study.count("died") == 1
    assert_same_rows(study.table(), study.expected())


def test_a_worker_that_always_dies_is_given_up(
    run: Callable[[], tuple[int, int]], study: Study
) -> None:
    """After three deaths its trials are failed with a reason, and all else is measured."""
    study.tell("die")
    assert run() == (3, 0)
    table = study.table()

    assert study.count("died") == 3
    assert set(table.loc[table["batch_size"] == 64, "verdict"]) == {"failed"}
    assert set(table.loc[table["batch_size"] == 64, "reason"]) == {
        "the worker's process died: killed, out of memory, or crashed"
    }
    expected = study.expected()
    assert_same_rows(table[table["batch_size"] < 64], expected[expected["batch_size"] < 64])


def test_a_full_disk_stops_the_run_with_what_is_finished(
    run: Callable[[], tuple[int, int]], study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When rows cannot be stored the run ends in one line; run again, it loses nothing."""
    written: list[str] = []
    write_part = RunFolder.write_part

    def fill_up(folder: RunFolder, rows: PackRows) -> None:
        if written:
            raise UserError("cannot write: No space left on device")
        written.append(rows.pack_id)
        write_part(folder, rows)

    monkeypatch.setattr(RunFolder, "write_part", fill_up)
    with pytest.raises(UserError, match="No space left on device"):
        run()
    assert [part.stem for part in (study.out / "parts").iterdir()] == written

    monkeypatch.setattr(RunFolder, "write_part", write_part)
    assert run() == (2, 6)
    assert_same_rows(study.table(), study.expected())
