"""The drill does what it says, and its page holds what it found."""

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.drill import table
from benchmarks.drill.__main__ import FAULTS, drill
from benchmarks.drill.comparing import check_equal
from benchmarks.drill.ground import Ground
from benchmarks.drill.outcome import BrokenError, Outcome, Verdict
from benchmarks.drill.processes import descendants
from benchmarks.drill.study import Study
from scaling_sweep.planning import Pack, plan_packs
from scaling_sweep.rows import rows_of_result
from scaling_sweep.running import run_sweep
from scaling_sweep.spec import load_sweep
from scaling_sweep.store import RunFolder
from scaling_sweep.training.pack import train_pack
from scaling_sweep.training.preflight import load_sweep_task
from tests.run_cases import Silent, made_up_result, tiny_packs


def test_the_page_holds_every_fault_and_all_held() -> None:
    """docs/reliability.md has a row for each fault, and none of them is broken."""
    rows = table.read_table()
    assert [row.fault for row in rows] == [fault.FAULT for fault in FAULTS.values()]
    assert Verdict.BROKEN not in {row.verdict for row in rows}


def test_new_rows_replace_old_ones(tmp_path: Path) -> None:
    """A fault that is drilled again has one row, in its place; what programs said cannot end it."""
    page = tmp_path / "page.md"
    page.write_text("Before.\n<!-- drill: begin -->\n<!-- drill: end -->\nAfter.\n")
    old = Outcome("b", "stays", "1", Verdict.BROKEN, "yesterday")
    other = Outcome("a", "goes on", "2", Verdict.HELD, "yesterday")
    new = Outcome("b", "stays", "x | y\nz", Verdict.HELD, "today")

    table.update_page([old], ["a", "b"], page)
    table.update_page([other, new], ["a", "b"], page)

    assert table.read_table(page) == (
        other,
        Outcome("b", "stays", "x / y z", Verdict.HELD, "today"),
    )
    assert page.read_text().startswith("Before.\n")
    assert page.read_text().endswith("\nAfter.\n")


def test_what_a_process_started_is_found() -> None:
    """Children of children count, the process itself does not."""
    shell = subprocess.Popen(["sh", "-c", "sh -c 'sleep 60; :' & wait"], start_new_session=True)
    try:
        while len(found := descendants(shell.pid)) < 2:
            assert shell.poll() is None
        assert shell.pid not in found
        assert {shell.pid, *found} <= descendants(os.getpid())
    finally:
        os.killpg(shell.pid, signal.SIGKILL)
        shell.wait()


def finished(folder: Path, packs: Sequence[Pack], environment: Mapping[str, str]) -> Study:
    """Return a drill's study whose folder holds made-up rows of packs."""
    study = Study(folder, 2)
    run = RunFolder(study.out)
    with run.opened():
        for pack in packs:
            run.write_part(rows_of_result(made_up_result(pack)))
        run.assemble("", environment)
    return study


def test_tables_are_compared_row_for_row(tmp_path: Path) -> None:
    """What was packed otherwise is equal; a row less, or a digit, is not."""
    packs = tiny_packs()
    undisturbed = finished(tmp_path / "a", packs, {})
    halves = [Pack(half, packs[0].num_steps) for half in (packs[0].trials[:4], packs[0].trials[4:])]
    assert check_equal(finished(tmp_path / "b", packs, {"time": "later"}), undisturbed) == 16
    with pytest.raises(BrokenError, match="8 rows instead of 16"):
        check_equal(finished(tmp_path / "c", packs[:1], {}), undisturbed)
    # Made-up losses depend on the place in the pack.
    with pytest.raises(BrokenError, match="different values in final_loss, min_loss"):
        check_equal(finished(tmp_path / "d", [*halves, packs[1]], {}), undisturbed)


class Finished(Study):
    """A drill's study that is run to its end on this process's Ray instead of its own."""

    def finish(self) -> None:
        """Run the sweep to its end, whatever is there already."""
        sweep = load_sweep(self.folder / "x.yaml")
        assert run_sweep(sweep, self.out, "local", Silent()).complete


class Prepared(Ground):
    """A ground of such studies: only runs that are killed start a Ray."""

    def undisturbed(self, num_packs: int = 6) -> Study:
        """Return a sweep of that size that was trained right here, without Ray."""
        torch.set_num_threads(1)  # as a worker has
        study = super().study("undisturbed", num_packs)
        sweep, run = load_sweep(study.folder / "x.yaml"), RunFolder(study.out)
        task = load_sweep_task(sweep)
        with run.opened():
            for pack in plan_packs(sweep.spec, num_examples=task.num_examples):
                run.write_part(rows_of_result(train_pack(pack, sweep.spec, task)))
            run.assemble(sweep.text, {})
        return study

    def study(self, name: str, num_packs: int = 6, **options: Any) -> Study:  # noqa: ANN401
        """Return a new sweep."""
        made = super().study(name, num_packs, **options)
        shutil.rmtree(made.folder)
        return Finished(**{one.name: getattr(made, one.name) for one in fields(made)})


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # Ray warns of its own future
@pytest.mark.usefixtures("_on_one_worker")
def test_two_kills_lose_nothing() -> None:
    """The quick form of the drill: two kills, then the table of an undisturbed run."""
    # Not in pytest's folder: its path is too long for sockets.
    with tempfile.TemporaryDirectory(prefix="drill-", ignore_cleanup_errors=True) as folder:
        outcome = drill("driver_killed", Prepared(Path(folder), num_kills=2))
    assert outcome.verdict is Verdict.HELD, outcome.seen
    assert outcome.seen.startswith("2 of 2 kills")
