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


def test_a_sweep_goes_to_two_nodes_and_comes_back_as_a_report(study: Study) -> None:
    """CLUSTER=slurm ends in table and report, its log is shown, and no token is left anywhere."""
    (study.folder / "sweeps/clusters/slurm.yaml").write_text("kind: slurm\nnodes: 2\ncpus: 1\n")
    shown = study.run()
    number = study.job(shown)

    assert "restart 0" in shown
    assert "24 trials in 4 packs to run." in shown
    # Packs were planned once both nodes were there.
    assert "machines are there" not in shown
    assert re.search(r"^24 trials in .*: \d+ stable, \d+ diverged\.$", shown, re.MULTILINE)
    assert f"Report: {study.folder}/out/report.html" in shown
    assert len(study.table()) == 24
    assert (study.folder / "out" / "fit.json").exists()
    # The job's folder of the token is gone; 64 hex digits in a row stand nowhere else.
    assert list((study.folder / "home" / ".scaling-sweep").iterdir()) == []
    left = [path for path in study.folder.rglob("*") if path.is_file()]
    assert not [path for path in left if re.search(rb"\b[0-9a-f]{64}\b", path.read_bytes())]
    assert not re.search(r"\b[0-9a-f]{64}\b", shown + study.slurm.ask("scontrol", "show", "job"))
    assert state(study, number) == "COMPLETED"


def test_a_preempted_job_goes_on_where_it_was(study: Study) -> None:
    """Requeued in mid-sweep, the same job ends with a whole table and trains no pack twice."""
    (study.folder / "x.yaml").write_text(SWEEP.replace("STEPS", "2000"))
    number = study.job(study.run("--no-follow", "--no-fit"))
    wait_until(study.parts, study, number)
    study.slurm.ask("scontrol", "requeue", number)
    wait_until(lambda: state(study, number) != "RUNNING", study, number)
    finished = study.parts()
    assert 1 <= len(finished) < 4, study.log(number)

    wait_until(lambda: state(study, number) in ("COMPLETED", "FAILED"), study, number)
    log = study.log(number)
    assert state(study, number) == "COMPLETED", log
    assert "restart 1" in log
    assert f"{6 * len(finished)} trials are there already" in log
    assert study.parts().items() >= finished.items()
    assert len(study.parts()) == 4
    assert sorted(study.table()["batch_size"].value_counts().items()) == [
        (batch_size, 6) for batch_size in (4, 8, 16, 32)
    ]


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
