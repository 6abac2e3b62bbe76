"""Faults in the middle of a sweep on a real local Ray: nothing is lost, and a line says why."""

from collections.abc import Callable

import pytest

from scaling_sweep.errors import UserError
from scaling_sweep.rows import PackRows
from scaling_sweep.store import RunFolder
from tests.driver.cases import Study, assert_same_rows

# Ray warns of its own future; what it says is not ours to mend.
pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.usefixtures("_on_one_worker"),
]


def test_packs_fail_alone_and_are_tried_again_next_time(
    run: Callable[[], tuple[int, int]], study: Study
) -> None:
    """A pack that raises twice and then kills its worker is given up; one death costs nothing.

    The rows of the first say why, all others are measured; mended, it is measured too.
    """
    told = study.tell("fail", 64)
    study.tell("die-once", 16)
    assert run() == (3, 0)
    told.unlink()
    table, expected = study.table(), study.expected()
    failed = table[table["batch_size"] == 64]

    assert (study.count("failed", 64), study.count("died", 16)) == (3, 1)
    assert set(failed["verdict"]) == {"failed"}
    assert set(failed["reason"]) == {"the worker's process died: killed, out of memory, or crashed"}
    assert failed["final_loss"].isna().all()
    assert set(expected["verdict"]) == {"stable", "diverged"}
    assert_same_rows(table[table["batch_size"] < 64], expected[expected["batch_size"] < 64])

    assert run() == (1, 12)
    assert_same_rows(study.table(), expected)


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
