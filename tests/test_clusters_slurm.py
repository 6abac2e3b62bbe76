"""Sweeps on a real Slurm: two nodes on this machine, with everything Slurm does to a job."""

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import pytest

from analysis.results import read_results
from tests.slurm_cluster import PrivateSlurm, missing_programs, private_slurm

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.skipif(
        bool(missing_programs()),
        reason=f"not installed: {', '.join(missing_programs())} (apt-get install slurm-wlm munge)",
    ),
]

ROOT = Path(__file__).resolve().parent.parent
# Ray starts in 10 s on an idle machine and in a minute on a busy one.
PATIENCE_S = 300
SWEEP = """\
# Does it run?
name: tiny
task: {name: digits_mlp, args: {width: 8}}
parameters:
  optimizer: {values: [sgd]}
  batch_size: {values: [4, 8, 16, 32]}
  lr: {values: [0.01, 0.1, 1.0e+10]}
seeds: 2
horizon: {steps: STEPS}
"""


@pytest.fixture(scope="module")
def slurm() -> Iterator[PrivateSlurm]:
    """Start one Slurm for all tests of this file."""
    # Not in pytest's folder: its path is too long for sockets.
    with tempfile.TemporaryDirectory(prefix="slurm-") as folder, private_slurm(Path(folder)) as run:
        yield run


@dataclass(frozen=True)
class Study:
    """A sweep that goes to Slurm.

    Attributes:
        folder: Where it is started.
        slurm: The cluster.
    """

    folder: Path
    slurm: PrivateSlurm

    def start(self, *options: str) -> "subprocess.Popen[str]":
        """Run the sweep with CLUSTER=slurm."""
        program = "from scaling_sweep.cli import main; main(prog_name='scaling-sweep')"
        words = ["run", "x.yaml", "--cluster", "slurm", "--out", "out", *options]
        return subprocess.Popen(
            [sys.executable, "-c", program, *words],
            cwd=self.folder,
            env={
                **self.slurm.environment,
                "PYTHONPATH": str(ROOT),
                "HOME": str(self.folder / "home"),
                "PYTHONUNBUFFERED": "1",
            },
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *options: str) -> str:
        """Run it to the end and return what was shown."""
        stdout, stderr = self.start(*options).communicate(timeout=PATIENCE_S)
        assert not stderr, stdout + stderr
        return stdout

    def job(self, shown: str) -> str:
        """Return the number of the job that was submitted."""
        found = re.search(r"^Slurm job (\d+);", shown, re.MULTILINE)
        assert found is not None, shown
        return found[1]

    def log(self, number: str) -> str:
        """Return what a job printed so far."""
        path = self.folder / "out" / "slurm" / f"{number}.log"
        return path.read_text() if path.exists() else ""

    def token(self, number: str) -> bytes:
        """Return what lets one into the Ray of a job that runs."""
        return (self.folder / f"home/.scaling-sweep/slurm-{number}/token").read_bytes()

    def parts(self) -> dict[str, bytes]:
        """Return the finished packs."""
        return {
            path.name: path.read_bytes() for path in (self.folder / "out/parts").glob("*.parquet")
        }

    def table(self) -> pd.DataFrame:
        """Return the run's table as anybody reads it."""
        return read_results(self.folder / "out" / "results.parquet").frame


@pytest.fixture
def study(slurm: PrivateSlurm, tmp_path: Path) -> Iterator[Study]:
    """Return a sweep of four packs, and leave no job of it behind."""
    (tmp_path / "home").mkdir()
    (tmp_path / "sweeps" / "clusters").mkdir(parents=True)
    (tmp_path / "sweeps" / "clusters" / "slurm.yaml").write_text("kind: slurm\ncpus: 1\n")
    (tmp_path / "x.yaml").write_text(SWEEP.replace("STEPS", "20"))
    yield Study(tmp_path, slurm)
    slurm.ask("scancel", "--user", str(os.getuid()))
    while slurm.ask("squeue", "-h"):
        time.sleep(0.2)


def wait_until(ready: Callable[[], object], study: Study, number: str) -> None:
    """Wait for something that a job does."""
    deadline = time.monotonic() + PATIENCE_S
    while not ready():
        assert time.monotonic() < deadline, study.log(number)
        time.sleep(0.1)


def state(study: Study, number: str) -> str:
    """Return Slurm's word for where a job is."""
    record = study.slurm.ask("scontrol", "-o", "show", "job", number)
    return str(re.search(r"JobState=(\w+)", record)[1])


def test_a_sweep_goes_to_two_nodes_is_preempted_and_comes_back_as_a_report(study: Study) -> None:
    """CLUSTER=slurm ends in table and report, its log is shown, and no token is left anywhere.

    Requeued in mid-sweep, the same job goes on where it was and trains no pack twice.
    """
    (study.folder / "sweeps/clusters/slurm.yaml").write_text("kind: slurm\nnodes: 2\ncpus: 1\n")
    (study.folder / "x.yaml").write_text(SWEEP.replace("STEPS", "3000"))
    process = study.start()
    assert process.stdout is not None
    first = process.stdout.readline()
    number = study.job(first)
    wait_until(study.parts, study, number)
    tokens = [study.token(number)]
    study.slurm.ask("scontrol", "requeue", number)
    # A driver that ends may store one pack more; the next one takes seconds to begin.
    wait_until(lambda: "restart 1" in study.log(number), study, number)
    tokens.append(study.token(number))
    finished = study.parts()
    assert 1 <= len(finished) < 4, study.log(number)
    rest, stderr = process.communicate(timeout=PATIENCE_S)
    shown = first + rest

    assert (process.returncode, stderr) == (0, ""), shown + stderr
    assert state(study, number) == "COMPLETED"
    assert "restart 0" in shown
    assert "24 trials in 4 packs to run." in shown
    assert "restart 1" in shown
    assert f"{6 * len(finished)} trials are there already" in shown
    # Packs were planned once both nodes were there.
    assert "machines are there" not in shown
    assert re.search(r"^24 trials in .*: \d+ stable, \d+ diverged\.$", shown, re.MULTILINE)
    assert f"Report: {study.folder}/out/report.html" in shown
    assert (study.folder / "out" / "fit.json").exists()
    assert study.parts().items() >= finished.items()
    assert len(study.parts()) == 4
    assert sorted(study.table()["batch_size"].value_counts().items()) == [
        (batch_size, 6) for batch_size in (4, 8, 16, 32)
    ]
    # Each start made its own, and its folder is gone. (Ray's words about workers that die with a
    # preempted job have other numbers of 64 hex digits.)
    assert all(re.fullmatch(rb"[0-9a-f]{64}", token) for token in tokens)
    assert tokens[0] != tokens[1]
    assert list((study.folder / "home" / ".scaling-sweep").iterdir()) == []
    left = [path.read_bytes() for path in study.folder.rglob("*") if path.is_file()]
    left += [shown.encode(), study.slurm.ask("scontrol", "show", "job").encode()]
    assert not [text for text in left for token in tokens if token in text]


def test_a_job_that_nobody_follows_ends_by_itself(study: Study) -> None:
    """With ``--no-follow`` the command ends with the job's number, and the job goes on alone."""
    setup = "setup: ['until [ -e go ]; do sleep 0.1; done', exit 0]\n"
    (study.folder / "sweeps/clusters/slurm.yaml").write_text("kind: slurm\n" + setup)

    number = study.job(study.run("--no-follow", "--no-fit"))

    assert state(study, number) in ("PENDING", "CONFIGURING", "RUNNING")
    (study.folder / "go").touch()
    wait_until(lambda: state(study, number) == "COMPLETED", study, number)


@pytest.mark.parametrize(("answer", "expected"), [("cancel", "CANCELLED"), ("ask", "alive")])
def test_ctrl_c_asks_about_the_job(study: Study, answer: str, expected: str) -> None:
    """With ``cancel`` the job ends too; without a terminal to ask at, it goes on."""
    process = study.start("--on-interrupt", answer)
    assert process.stdout is not None
    first = process.stdout.readline()
    number = study.job(first)
    # The line is shown a moment before the job is followed.
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    stdout, stderr = process.communicate(timeout=PATIENCE_S)

    assert process.returncode == 130, stdout + stderr
    assert not stderr
    if expected == "alive":
        assert stdout.splitlines()[-1] == f"Slurm job {number} goes on; cancel: scancel {number}"
        assert state(study, number) in ("PENDING", "CONFIGURING", "RUNNING")
    else:
        assert stdout.splitlines()[-1].endswith("is cancelled, what it finished is kept.")
        wait_until(lambda: state(study, number) == expected, study, number)


def test_a_job_that_fails_is_one_line(study: Study) -> None:
    """A script that cannot start says so with the log's name, and the exit status is 1."""
    (study.folder / "sweeps/clusters/slurm.yaml").write_text("kind: slurm\nsetup: [exit 3]\n")
    process = study.start()
    _, stderr = process.communicate(timeout=PATIENCE_S)

    assert process.returncode == 1
    assert re.fullmatch(r"Error: Slurm job \d+ ended as failed; its log: \S+\.log\n", stderr)


def test_the_doctor_asks_slurm(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    """A job that fits is taken, one that is too large is refused, and neither is submitted."""
    from scaling_sweep.clusters.checks import Health
    from scaling_sweep.clusters.site_checks import examine_cluster

    for name in ("PATH", "SLURM_CONF"):
        monkeypatch.setenv(name, study.slurm.environment[name])
    good, bad = study.folder / "good.yaml", study.folder / "bad.yaml"
    good.write_text("kind: slurm\nnodes: 2\ncpus: 1\n")
    bad.write_text("kind: slurm\nnodes: 2\npartition: no-such\n")
    before = study.slurm.ask("squeue", "-h", "-a")

    assert [finding.health for finding in examine_cluster(str(good))] == [Health.OK]
    (finding,) = examine_cluster(str(bad))
    assert finding.health is Health.PROBLEM
    assert "partition" in finding.text
    assert study.slurm.ask("squeue", "-h", "-a") == before
