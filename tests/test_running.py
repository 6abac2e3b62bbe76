"""A run around its training: what is refused, resumed, left alone, without starting Ray."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from scaling_sweep import running
from scaling_sweep.clusters import Capacity
from scaling_sweep.errors import UserError
from scaling_sweep.planning import Pack, Search
from scaling_sweep.progress import read_status
from scaling_sweep.rows import rows_of_failure, rows_of_result
from scaling_sweep.running import run_sweep
from scaling_sweep.spec import LoadedSweep
from scaling_sweep.tracking import Tracker
from tests.run_cases import Silent, made_up_result, tiny_packs, tiny_sweep


@pytest.fixture
def faked(monkeypatch: pytest.MonkeyPatch) -> list[Pack]:
    """Replace the training by made-up results, and return the packs it was asked for."""
    asked: list[Pack] = []

    def train(
        sweep: LoadedSweep,
        folder: running.RunFolder,
        search: Search,
        capacity: Capacity,
        display: Silent,
        tracker: Tracker,
    ) -> bool:
        for pack in search.next_packs():
            asked.append(pack)
            rows = rows_of_result(made_up_result(pack))
            folder.write_part(rows)
            display.on_pack(pack, rows, 0.1)
        return True

    @contextmanager
    def connected(cluster: str, **_: object) -> Iterator[Capacity]:
        yield Capacity(2, 0)

    monkeypatch.setattr(running, "connected", connected)
    monkeypatch.setattr(running, "_train", train)
    return asked


def test_a_run_leaves_the_whole_folder(tmp_path: Path, faked: list[Pack]) -> None:
    """Sweep file, environment, parts and both tables are there, and the outcome counts them."""
    display, sweep = Silent(), tiny_sweep()
    outcome = run_sweep(sweep, tmp_path / "run", "local", display)

    assert display.planned == [(2, 0)]
    assert display.finished == [pack.pack_id for pack in faked]
    assert outcome.complete
    assert outcome.num_new == len(outcome.rows) == 16
    assert outcome.text().endswith("8 stable, 8 diverged.")
    names = {path.name for path in (tmp_path / "run").iterdir()} - {".lock"}
    assert names == {
        "sweep.yaml",
        "environment.json",
        "parts",
        "results.parquet",
        "curves.parquet",
    }
    assert (tmp_path / "run" / "sweep.yaml").read_text() == sweep.text


def test_a_finished_run_trains_nothing(tmp_path: Path, faked: list[Pack]) -> None:
    """The same command a second time finds all there, and the table as it was."""
    first = run_sweep(tiny_sweep(), tmp_path, "local", Silent())
    display = Silent()
    second = run_sweep(tiny_sweep(), tmp_path, "local", display)

    assert len(faked) == 2
    assert display.planned == [(0, 16)]
    assert second.num_new == 0
    assert second.rows.equals(first.rows)


def test_an_extended_sweep_trains_only_what_is_new(tmp_path: Path, faked: list[Pack]) -> None:
    """More batch sizes, seeds and learning rates add their trials and keep the others."""
    first = run_sweep(tiny_sweep(), tmp_path, "local", Silent())
    larger = tiny_sweep(
        {"[16, 64]": "[8, 16, 64]", "seeds: 2": "seeds: 3", "1.0, 100.0]": "1.0, 100.0, 200.0]"}
    )
    outcome = run_sweep(larger, tmp_path, "local", Silent())

    asked = [trial.trial_id for pack in faked for trial in pack.trials]
    assert len(asked) == len(set(asked)) == len(outcome.rows) == 3 * 3 * 5
    assert outcome.num_new == 45 - 16
    kept = outcome.rows.set_index("trial_id").loc[first.rows["trial_id"], "final_loss"]
    assert kept.tolist() == first.rows["final_loss"].tolist()


@pytest.mark.parametrize(
    ("old", "new", "what"),
    [
        ("steps: 12", "steps: 13", "horizon"),
        ("width: 4", "width: 5", "task"),
        ("seeds: 2", "seeds: 1", "seeds"),
        ("[16, 64]", "[16]", "batch_size"),
        ("1.0, 100.0]", "1.0]", "lr"),
        ("[sgd]", "[adam]", "optimizer"),
        ("seeds: 2", "seeds: 2\nsampling: epoch", "sampling"),
        ("seeds: 2", "seeds: 2\nsweep_seed: 1", "sweep_seed"),
    ],
)
def test_a_changed_sweep_is_refused(
    tmp_path: Path, faked: list[Pack], old: str, new: str, what: str
) -> None:
    """What would lose or redefine finished rows is one line, and changes nothing."""
    run_sweep(tiny_sweep(), tmp_path, "local", Silent())
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    with pytest.raises(UserError, match=f"^{what} ") as caught:
        run_sweep(tiny_sweep({old: new}), tmp_path, "local", Silent())

    assert "\n" not in str(caught.value)
    assert len(faked) == 2
    after = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert after == before


def test_failed_packs_are_tried_again(tmp_path: Path, faked: list[Pack]) -> None:
    """Rows that failed are trained by the next run, those that were measured are not."""
    folder = running.RunFolder(tmp_path)
    good, bad = tiny_packs()
    with folder.opened():
        folder.write_bytes(folder.sweep, tiny_sweep().text.encode())
        folder.write_part(rows_of_result(made_up_result(good)))
        folder.write_part(rows_of_failure(bad, "the worker was lost"))
    status = read_status(tmp_path)
    assert (status.num_failed, status.num_stable, status.num_left) == (8, 4, 0)
    assert "failed 8: the worker was lost" in status.text()

    display = Silent()
    outcome = run_sweep(tiny_sweep(), tmp_path, "local", display)

    assert display.planned == [(1, 8)]
    assert [pack.pack_id for pack in faked] == [bad.pack_id]
    assert set(outcome.rows["verdict"]) == {"stable", "diverged"}
    assert read_status(tmp_path).num_failed == 0


def test_a_run_that_never_began_says_so(tmp_path: Path) -> None:
    """Status of a folder without a run names the file that is missing."""
    with pytest.raises(UserError, match=r"holds no run \(no sweep\.yaml\)"):
        read_status(tmp_path)


def test_status_counts_what_is_left(tmp_path: Path) -> None:
    """After half of the packs, half of the trials are left."""
    folder = running.RunFolder(tmp_path)
    with folder.opened():
        folder.write_bytes(folder.sweep, tiny_sweep().text.encode())
        folder.write_part(rows_of_result(made_up_result(tiny_packs()[0])))
    status = read_status(tmp_path)

    assert (status.num_trials, status.num_stable, status.num_diverged) == (16, 4, 4)
    assert status.num_left == 8
    assert "8 of 16 trials finished (50%), 8 left" in status.text()


def test_a_cluster_is_asked_first_where_trials_are_missing_and_never_where_none_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A dead address is refused before the task is built; a finished run does not need it."""
    folder, (first, second) = running.RunFolder(tmp_path), tiny_packs()
    with folder.opened():
        folder.write_bytes(folder.sweep, tiny_sweep().text.encode())
        folder.write_part(rows_of_result(made_up_result(first)))

    def build(sweep: LoadedSweep) -> None:
        raise AssertionError("the task was built first")

    with monkeypatch.context() as patched:
        patched.setattr("scaling_sweep.training.preflight.load_sweep_task", build)
        with pytest.raises(UserError, match=r"^nothing answers at 127\.0\.0\.1:1"):
            run_sweep(tiny_sweep(), tmp_path, "127.0.0.1:1", Silent())

    with folder.opened():
        folder.write_part(rows_of_result(made_up_result(second)))
    assert run_sweep(tiny_sweep(), tmp_path, "127.0.0.1:1", Silent()).complete
