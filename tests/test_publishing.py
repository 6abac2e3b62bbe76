"""Tests of runs that are mirrored later: read back with W&B's own messages."""

import hashlib
import socket
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from scaling_sweep.cli import main
from scaling_sweep.opening import open_study
from scaling_sweep.rows import rows_of_result
from scaling_sweep.store import RunFolder
from scaling_sweep.study import Study
from tests.run_cases import made_up_result, tiny_packs, tiny_sweep
from tests.wandb_files import RunFile, read_runs

SWEEP = tiny_sweep({"[16, 64]": "[16, 32, 64]"})
PACKS = tiny_packs(SWEEP)


def _run(folder: Path, num_packs: int) -> RunFolder:
    """Leave what a run would have left after so many packs."""
    run = RunFolder(folder)
    run.parts.mkdir(parents=True)
    run.sweep.write_text(SWEEP.text)
    for pack in PACKS[:num_packs]:
        run.write_part(rows_of_result(made_up_result(pack)))
    return run


def _publish(folder: Path, mode: str = "offline") -> tuple[int, str]:
    done = CliRunner().invoke(main, ["publish", str(folder), "--wandb", mode])
    return done.exit_code, done.output


def _digests(folder: Path) -> dict[str, str]:
    """Return every file of a run folder that is not W&B's, by its content."""
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file() and "wandb" not in path.parts and path.name != ".lock"
    }


@dataclass(frozen=True)
class _Published:
    """An interrupted run, published twice.

    Attributes:
        first: The W&B run of the first time: its id.
        runs: What lies there after the second time, as read back.
        study: The run's own table, fitted.
        untouched: Whether the run's own files are as they were.
    """

    first: set[str]
    runs: list[RunFile]
    study: Study
    untouched: bool


def _ids(folder: Path) -> list[str]:
    return [path.name.rpartition("-")[2] for path in folder.glob("wandb/offline-run-*")]


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> _Published:
    """Publish two of three packs, twice."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    run = _run(folder, 2)
    before = _digests(folder)
    assert _publish(folder)[0] == 0
    first = set(_ids(folder))
    assert _publish(folder)[0] == 0
    untouched = before == _digests(folder)
    assert len(_ids(folder)) == 1
    runs = list(read_runs(folder).values())
    run.assemble(SWEEP.text, {})
    return _Published(first, runs, open_study(folder), untouched)


@pytest.mark.slow
def test_publishing_again_replaces_the_same_runs(published: _Published) -> None:
    """Twice gives one run of one id, whose history counts every pack once."""
    (run,) = published.runs
    start = next(record.run for record in run.records if record.HasField("run"))

    assert published.first == {start.run_id}
    assert [point["packs_done"] for point in run.history] == [1, 2]


@pytest.mark.slow
def test_what_is_published_is_what_the_table_says(published: _Published) -> None:
    """Counts, edges and the sweep file are those of the run folder."""
    (run,) = published.runs
    frame, (group,) = published.study.results.frame, published.study.groups
    edges = run.table("tables/edges")

    assert run.config["sweep_file"] == SWEEP.text
    assert run.history[-1]["trials_stable"] == (frame["verdict"] == "stable").sum()
    assert run.summary["num_trials"] == len(frame)
    assert edges["lr_max"].tolist() == pytest.approx([edge.median for edge in group.edges])


@pytest.mark.slow
def test_the_edge_is_there_for_panels_with_logarithmic_axes(published: _Published) -> None:
    """Batch size and learning rate themselves are points of the history, and not in the summary."""
    (run,) = published.runs
    (group,) = published.study.groups
    points = run.points("curves/measured")

    assert [point["curves/batch_size"] for point in points] == pytest.approx(
        [edge.batch_size for edge in group.edges]
    )
    assert [point["curves/measured"] for point in points] == pytest.approx(
        [edge.median for edge in group.edges]
    )
    assert not [key for key in run.summary if key.startswith("curves/")]


@pytest.mark.slow
def test_an_interrupted_run_is_shown_as_such(published: _Published) -> None:
    """With two of three batch sizes the run is closed as stopped, two thirds done."""
    (run,) = published.runs
    exits = [record.exit.exit_code for record in run.records if record.HasField("exit")]

    assert exits == [1]
    assert run.history[-1]["fraction_done"] == pytest.approx(2 / 3)


@pytest.mark.slow
def test_publishing_changes_nothing_but_the_folder_of_wandb(published: _Published) -> None:
    """Sweep file and parts are byte for byte what they were, and no table is written."""
    assert published.untouched


@pytest.mark.slow
def test_what_cannot_be_sent_is_kept_and_the_command_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where no server answers, the runs lie on disk, one line says so, and the exit status is 1."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}"
    monkeypatch.setenv("WANDB_BASE_URL", nobody)
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    _run(tmp_path / "tiny", 3)

    status, said = _publish(tmp_path / "tiny", "online")

    assert status == 1
    assert "online is not possible" in said
    assert len(_ids(tmp_path / "tiny")) == 1


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    """One line says what to name instead, and nothing is written."""
    status, said = _publish(tmp_path)

    assert (status, "holds no run" in said) == (1, True)
    assert list(tmp_path.iterdir()) == []


def test_a_run_without_a_trial_is_refused(tmp_path: Path) -> None:
    """There is nothing to publish before the first pack is stored."""
    _run(tmp_path / "tiny", 0)

    status, said = _publish(tmp_path / "tiny")

    assert (status, "no finished trial yet" in said) == (1, True)


def test_a_run_that_goes_on_is_not_disturbed(tmp_path: Path) -> None:
    """While a run holds its folder, its own mirror is the one that writes."""
    run = _run(tmp_path / "tiny", 1)

    with run.opened():
        status, said = _publish(run.path)

    assert (status, "in use by another run" in said) == (1, True)


def test_thinning_a_line_keeps_its_ends_close() -> None:
    """A line of many points becomes at most 64 that end where it ended."""
    from scaling_sweep.tracking.cells import unfold_charts
    from scaling_sweep.tracking.messages import Chart, Line

    x = np.linspace(0, 9, 300).tolist()
    line = Line("power law", x, [-2 + 0.5 * value for value in x])

    (series,) = unfold_charts([Chart("charts/edges", "", "log2(batch size)", (line,))] * 2)

    assert len(series.x) <= 64
    assert series.x[-1] == pytest.approx(512)
    assert series.y == pytest.approx([0.01 * size ** (0.5 / np.log10(2)) for size in series.x])
