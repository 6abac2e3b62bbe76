"""Sweeps on a real local Ray: end to end, and through everything that can go wrong on the way."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest
import torch

from analysis.edges import find_edges
from analysis.results import read_results
from scaling_sweep import running
from scaling_sweep.errors import UserError
from scaling_sweep.planning import PackLimits, Search, plan_packs, read_measurements
from scaling_sweep.rows import PackRows, rows_of_result
from scaling_sweep.running import run_sweep
from scaling_sweep.spec import LoadedSweep, load_sweep
from scaling_sweep.store import RunFolder
from scaling_sweep.tasks.loading import load_task
from scaling_sweep.training.pack import train_pack
from scaling_sweep.training.starts import train_starts
from tests.test_running import Silent

# Ray warns of its own future; what it says is not ours to mend.
pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

ROOT = Path(__file__).resolve().parent.parent
# What no two runs share.
UNSHARED = ["pack_id", "wall_time_s"]
PATIENCE_S = 90

SWEEP = """\
# Does it run?
name: tiny
task: TASK
parameters:
  optimizer: {values: [sgd]}
  batch_size: {values: [8, 16, 64]}
  lr: {values: [0.01, 0.1, 1.0e+10]}
seeds: 2
horizon: {steps: 20}
engine: vmap
"""
TASK = '''
"""A task that misbehaves as told by files beside it."""

import os
import signal
import time
from pathlib import Path

import torch
from torch import nn

from scaling_sweep.tasks.task import Task

HERE = Path(__file__).parent


def tell(word):
    with (HERE / word).open("a") as file:
        file.write("x")


def in_worker():
    return os.getpid() != int((HERE / "driver.pid").read_text() or 0)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.line = nn.Linear(4, 1)

    def forward(self, inputs):
        if self.training and len(inputs) == 64:
            misbehave()
        return self.line(inputs)


def misbehave():
    if (HERE / "raise").exists():
        tell("raised")
        raise ValueError("no batches of 64 today")
    if (HERE / "die-once").exists() and in_worker() and not (HERE / "died").exists():
        tell("died")
        os.kill(os.getpid(), signal.SIGKILL)
    if (HERE / "die").exists() and in_worker():
        tell("died")
        os._exit(1)
    while (HERE / "wait").exists():
        time.sleep(0.02)


def task():
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(100, 4, generator=generator)
    return Task("own", "Misbehaves.", Model, nn.functional.mse_loss,
                inputs=inputs, targets=inputs.sum(1, keepdim=True))
'''


@dataclass(frozen=True)
class Study:
    """A sweep file with a task of its own beside it.

    Attributes:
        path: The sweep file.
        out: The run folder.
    """

    path: Path
    out: Path

    def told(self, word: str) -> Path:
        """Return a file beside the task."""
        return self.path.parent / word

    def tell(self, word: str) -> Path:
        """Tell the task how to misbehave, and return the file that says so."""
        self.told(word).touch()
        return self.told(word)

    def count(self, word: str) -> int:
        """Return how often the task has noted something."""
        file = self.told(word)
        return len(file.read_text()) if file.exists() else 0

    def rewrite(self, old: str, new: str) -> None:
        """Change the sweep file."""
        text = self.path.read_text()
        assert text.count(old) == 1
        self.path.write_text(text.replace(old, new))

    def load(self) -> LoadedSweep:
        """Read the sweep file."""
        return load_sweep(self.path)

    def expected(self) -> pd.DataFrame:
        """Return the rows of an undisturbed run, trained in this process without Ray."""
        torch.set_num_threads(1)
        spec = self.load().spec
        task = load_task(spec.task.name, spec.task.args, (str(self.path.parent),))
        starts = None
        if not isinstance(spec.start, str):
            starts = train_starts(spec, task, range(spec.seeds))
        packs = plan_packs(spec, num_examples=task.num_examples)
        results = [rows_of_result(train_pack(pack, spec, task, starts)).results for pack in packs]
        return pd.concat(results)

    def table(self) -> pd.DataFrame:
        """Return the run's table as anybody reads it."""
        return read_results(self.out / "results.parquet").frame


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """Return a study of three packs whose task does as it is told."""
    # Ray keeps worker processes: each test's module needs a name of its own.
    module = "task_" + re.sub(r"\W", "_", tmp_path.name)
    (tmp_path / f"{module}.py").write_text(TASK)
    (tmp_path / "driver.pid").write_text(str(os.getpid()))
    (tmp_path / "x.yaml").write_text(SWEEP.replace("TASK", f"{module}:task"))
    return Study(tmp_path / "x.yaml", tmp_path / "run")


@pytest.fixture
def run(_on_one_ray: None, study: Study) -> Callable[[], tuple[int, int]]:
    """Return a function that runs the study on the one Ray; it returns packs run, trials there."""

    def run_once() -> tuple[int, int]:
        display = Silent()
        assert run_sweep(study.load(), study.out, "local", display).complete
        (plan,) = display.planned
        assert len(display.finished) == plan[0]
        return plan

    return run_once


def assert_same_rows(actual: pd.DataFrame, expected: pd.DataFrame) -> None:
    """Assert that two tables hold the same trials with the same measurements, to the bit."""
    assert sorted(actual["trial_id"]) == sorted(expected["trial_id"])
    columns = [name for name in expected.columns if name not in UNSHARED]
    left, right = (
        frame[columns].astype(object).set_index("trial_id").sort_index()
        for frame in (actual, expected)
    )
    for name in right.columns:
        pairs = zip(left[name], right[name], strict=True)
        assert all((pd.isna(a) and pd.isna(b)) or a == b for a, b in pairs), name


def test_a_sweep_runs_from_file_to_table_once(
    run: Callable[[], tuple[int, int]], study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came through Ray equals training right here; again, nothing starts; changed, refused."""
    assert run() == (3, 0)

    table = study.table()
    assert_same_rows(table, study.expected())
    assert set(table["verdict"]) == {"stable", "diverged"}
    assert len(pd.read_parquet(study.out / "curves.parquet")) == 18

    def no_ray(cluster: str, *, verbose: bool = False) -> None:
        raise AssertionError("Ray was started for nothing")

    monkeypatch.setattr(running, "connected", no_ray)
    assert run() == (0, 18)
    assert study.table().equals(table)

    study.rewrite("steps: 20", "steps: 30")
    with pytest.raises(UserError, match=r"^horizon was 20 steps, now 30 steps"):
        run()
    assert study.table().equals(table)


@pytest.mark.usefixtures("_on_one_ray")
def test_a_bisection_asks_as_packs_return_and_is_finished_once(study: Study) -> None:
    """On Ray the search asks for the trials it asks for in this process; again, for none."""
    study.rewrite("lr: {values: [0.01, 0.1, 1.0e+10]}", "lr: {min: 0.02, max: 4, per_octave: 2}")
    study.rewrite("engine: vmap", "engine: vmap\nsearch: {bisect: {resolution: 1.5}}")
    torch.set_num_threads(1)
    spec = study.load().spec
    task = load_task(spec.task.name, spec.task.args, (str(study.path.parent),))
    search, here = Search(spec, PackLimits(task.num_examples)), []
    while packs := search.next_packs(read_measurements(pd.concat(here)) if here else ()):
        here += [rows_of_result(train_pack(pack, spec, task)).results for pack in packs]

    assert run_sweep(study.load(), study.out, "local", Silent()).complete

    assert_same_rows(study.table(), pd.concat(here))
    edges = find_edges(study.table())
    assert len(edges) == 6
    assert all(1 < edge.diverged / edge.stable <= 1.5 for edge in edges)
    again = Silent()
    assert run_sweep(study.load(), study.out, "local", again).complete
    assert again.planned == [(0, len(study.table()))]


def test_an_extended_sweep_runs_only_what_is_new(
    run: Callable[[], tuple[int, int]], study: Study
) -> None:
    """A batch size and a seed more: the new trials run, the old rows stay to the last digit."""
    run()
    before = {part.name: part.read_bytes() for part in (study.out / "parts").iterdir()}
    study.rewrite("[8, 16, 64]", "[8, 16, 32, 64]")
    study.rewrite("seeds: 2", "seeds: 3")

    # 3 lrs × (3 new seeds at the new size; 1 new seed at each of the others).
    assert run() == (4, 18)
    after = {part.name: part.read_bytes() for part in (study.out / "parts").iterdir()}
    assert before.items() <= after.items()
    assert len(after) == 7
    assert_same_rows(study.table(), study.expected())


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
    assert table.loc[table["batch_size"] == 64, "reason"].str.len().min() > 5
    expected = study.expected()
    assert_same_rows(table[table["batch_size"] < 64], expected[expected["batch_size"] < 64])


def test_trained_starts_are_made_once_and_shared(
    run: Callable[[], tuple[int, int]], study: Study
) -> None:
    """Trials begin where the recipe ends; more seeds add their starts and keep the others."""
    study.rewrite(
        "engine: vmap",
        "engine: vmap\nstart: {steps: 30, optimizer: sgd, lr: 0.05, batch_size: 16}",
    )
    run()
    starts = {path: path.read_bytes() for path in study.out.rglob("seed-*.pt")}
    assert len(starts) == 2
    assert_same_rows(study.table(), study.expected())
    assert (study.table()["start_loss"] < 0.5 * study.table()["initial_loss"]).all()

    study.rewrite("seeds: 2", "seeds: 3")
    assert run() == (3, 18)
    after = {path: path.read_bytes() for path in study.out.rglob("seed-*.pt")}
    assert starts.items() <= after.items()
    assert len(after) == 3


def test_a_start_that_diverges_is_one_line(
    run: Callable[[], tuple[int, int]], study: Study
) -> None:
    """A recipe that blows up is said once, not once per trial, and leaves no start behind."""
    study.rewrite(
        "engine: vmap",
        "engine: vmap\nstart: {steps: 30, optimizer: sgd, lr: 1.0e+10, batch_size: 16}",
    )

    with pytest.raises(UserError, match="start: the recipe diverged for seed 0"):
        run()
    assert not list(study.out.rglob("seed-*.pt"))


def test_a_pack_larger_than_the_cluster_is_one_line(
    run: Callable[[], tuple[int, int]], study: Study
) -> None:
    """Asking for more cores than there are is said, not waited for."""
    study.rewrite("engine: vmap", "engine: vmap\nresources: {cpus: 1000}")

    with pytest.raises(UserError, match="a pack asks for 1000 CPUs"):
        run()


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


def command(study: Study) -> list[str]:
    """Return the command line of a run."""
    program = "from scaling_sweep.cli import main; main(prog_name='scaling-sweep')"
    arguments = ["run", str(study.path), "--out", str(study.out), "--no-fit"]
    return [sys.executable, "-c", program, *arguments]


def environment() -> dict[str, str]:
    """Return this process's environment, with our code importable."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


@contextmanager
def begun(study: Study, *before: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a study in a process of its own up to where only the pack that waits is left.

    Words before the command wrap it, as a script's shell would.
    """
    waiting = study.tell("wait")
    # Into files: workers that outlive a killed driver would keep a pipe open.
    with study.told("stdout").open("w") as stdout, study.told("stderr").open("w") as stderr:
        process = subprocess.Popen(
            [*before, *command(study)],
            stdout=stdout,
            stderr=stderr,
            env=environment(),
            start_new_session=True,
        )
    # The first look at the task happens in the driver, at the smallest batch size: no waiting.
    study.told("driver.pid").write_text(str(process.pid))
    try:
        deadline = time.monotonic() + PATIENCE_S
        while len(list((study.out / "parts").glob("*.parquet"))) < 2:
            assert process.poll() is None, study.told("stderr").read_text()
            assert time.monotonic() < deadline, "no packs finished"
            time.sleep(0.05)
        yield process
    finally:
        waiting.unlink(missing_ok=True)
        if process.poll() is None:
            process.kill()
        process.wait()


def run_to_the_end(study: Study) -> subprocess.CompletedProcess[str]:
    """Run a study in a process of its own."""
    return subprocess.run(
        command(study), capture_output=True, text=True, env=environment(), timeout=PATIENCE_S
    )


def test_a_killed_driver_loses_nothing_that_was_finished(study: Study) -> None:
    """After SIGKILL in mid-sweep the same command ends in the table of an undisturbed run."""
    with begun(study) as process:
        process.kill()
        process.wait()
        finished = {part: part.read_bytes() for part in (study.out / "parts").glob("*.parquet")}
        assert len(finished) == 2
    done = run_to_the_end(study)

    assert done.returncode == 0, done.stderr
    assert "6 trials in 1 packs to run, 12 trials are there already" in done.stdout
    assert {part: part.read_bytes() for part in finished} == finished
    assert_same_rows(study.table(), study.expected())


def test_ctrl_c_stops_soon_and_says_how_to_go_on(study: Study) -> None:
    """As from a terminal, to all processes: status 130 within 10 s, and the line to type next."""
    with begun(study) as process:
        pressed = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)
        process.wait(timeout=60)
        assert time.monotonic() - pressed < 10
    stdout, stderr = (study.told(name).read_text() for name in ("stdout", "stderr"))
    finished = {part: part.read_bytes() for part in (study.out / "parts").glob("*.parquet")}

    assert process.returncode == 130, (stdout, stderr)
    assert f"Go on with: scaling-sweep run {study.path} --out {study.out}" in stdout
    assert "Traceback" not in stderr
    assert len(finished) == 2

    assert run_to_the_end(study).returncode == 0
    assert {part: part.read_bytes() for part in finished} == finished
    assert_same_rows(study.table(), study.expected())


def test_a_polite_kill_stops_a_run_in_the_background(study: Study) -> None:
    """SIGTERM ends a run as Ctrl-C does, where a script's shell has it ignore SIGINT too."""
    with begun(study, "sh", "-c", "trap '' INT; exec \"$@\"", "sh") as process:
        asked = time.monotonic()
        process.terminate()
        process.wait(timeout=60)
        assert time.monotonic() - asked < 10
    stdout = study.told("stdout").read_text()

    assert process.returncode == 130, study.told("stderr").read_text()
    assert "Stopped, what is finished is kept." in stdout
    assert len(list((study.out / "parts").glob("*.parquet"))) == 2


def test_a_second_run_of_a_folder_is_turned_away(study: Study) -> None:
    """While one run is on, another of the same folder exits 1 with one line and harms nothing."""
    with begun(study) as process:
        second = run_to_the_end(study)
        study.told("wait").unlink()
        process.wait(timeout=PATIENCE_S)

    assert second.returncode == 1
    assert second.stdout == ""
    assert second.stderr.splitlines() == [
        f"Error: {study.out} is in use by another run; wait for it, or write another --out"
    ]
    assert process.returncode == 0, study.told("stderr").read_text()
    assert_same_rows(study.table(), study.expected())


def test_a_run_is_quiet_about_ray(study: Study) -> None:
    """Without -v nothing of Ray's own is shown: the plan, progress and the outcome, no more."""
    done = run_to_the_end(study)

    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    lines = done.stdout.splitlines()
    assert lines[0] == "18 trials in 3 packs to run."
    assert lines[-1].startswith("18 trials in ")
    assert all(re.match(r" *\d+%  packs ", line) for line in lines[1:-1])
