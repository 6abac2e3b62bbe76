"""The sweep that faults are done to, and the processes that drive it."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pandas as pd

from analysis.results import read_results
from benchmarks.drill.outcome import check
from benchmarks.timing import ROOT

# Ray starts in 10 s on an idle machine and in minutes on a busy one.
PATIENCE_S = 600.0

_SWEEP = """\
# What happens when something goes wrong?
name: drill
task: {{name: "drill_task:task", args: {{pause_s: 0.01}}}}
parameters:
  optimizer: {{values: [sgd]}}
  batch_size: {{values: [{batch_sizes}]}}
  lr: {{values: [0.001, 0.01, 0.1, 1.0e+10]}}
seeds: 2
horizon: {{steps: 60}}
engine: vmap
resources: {{{resources}}}
"""
_TASK = '''\
"""A task that notes where packs begin, and misbehaves at one batch size as a file says."""

import ctypes
import os
import signal
import time
from pathlib import Path

import torch
from torch import nn

from scaling_sweep.tasks.task import Task

HERE = Path(__file__).parent
LAST = [0]


def note(batch_size):
    import ray

    if batch_size == LAST[0] or not ray.is_initialized():
        return  # the driver's own look at the task
    LAST[0] = batch_size
    node = ray.get_runtime_context().get_node_id()
    with (HERE / "begun").open("a") as file:
        file.write(f"{time.monotonic()} {batch_size} {os.getpid()} {node}\\n")


def misbehave(batch_size):
    told = HERE / f"misbehave-{batch_size}"
    if not told.exists():
        return
    how = told.read_text()
    eaten = []
    while how == "eat":
        eaten.append(torch.ones(2**24))  # 64 MiB
    while how == "sleep":
        time.sleep(0.1)
    if how == "foreign":  # PyDLL keeps the interpreter's lock: no other thread runs
        ctypes.PyDLL(None).sleep(10**6)
    if how == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)


class Model(nn.Module):
    def __init__(self, pause_s):
        super().__init__()
        self.line = nn.Linear(4, 1)
        self.pause_s = pause_s

    def forward(self, inputs):
        if self.training:
            note(len(inputs))
            misbehave(len(inputs))
            time.sleep(self.pause_s)
        return self.line(inputs)


def task(pause_s):
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(200, 4, generator=generator)
    return Task("drill", "Misbehaves.", lambda: Model(pause_s), nn.functional.mse_loss,
                inputs=inputs, targets=inputs.sum(1, keepdim=True))
'''
_PROGRAM = "from scaling_sweep.cli import main; main(prog_name='scaling-sweep')"


@dataclass(frozen=True)
class Begun:
    """A pack that a worker began to train.

    Attributes:
        at_s: When, by the monotonic clock that all processes of a machine share.
        batch_size: Which pack: each has a batch size of its own.
        pid: Of the worker.
        node: Ray's id of the machine.
    """

    at_s: float
    batch_size: int
    pid: int
    node: str


@dataclass(frozen=True)
class Study:
    """A sweep file with a task beside it, and its run folder.

    Attributes:
        folder: Where sweep file and task lie.
        num_packs: Packs of the sweep.
        resources: What the sweep file says under that word.
        variables: Environment variables of everything that is started.
        options: Further options of ``run``.
    """

    folder: Path
    num_packs: int
    resources: str = "cpus: 1"
    variables: Mapping[str, str] = field(default_factory=dict)
    options: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Write the files."""
        self.folder.mkdir(parents=True)
        sizes = ", ".join(map(str, self.batch_sizes))
        text = _SWEEP.format(batch_sizes=sizes, resources=self.resources)
        (self.folder / "x.yaml").write_text(text)
        (self.folder / "drill_task.py").write_text(_TASK)

    @property
    def batch_sizes(self) -> range:
        """Batch sizes of the packs."""
        return range(1, self.num_packs + 1)

    @cached_property
    def out(self) -> Path:
        """The run folder."""
        return self.folder / "run"

    def tell(self, batch_size: int, how: str) -> Path:
        """Let the task misbehave in one pack until the file that is returned is removed."""
        told = self.folder / f"misbehave-{batch_size}"
        told.write_text(how)
        return told

    def parts(self) -> dict[str, bytes]:
        """Return the finished packs."""
        return {path.name: path.read_bytes() for path in self.out.glob("parts/*.parquet")}

    def begun(self) -> list[Begun]:
        """Return the packs that were begun, in that order."""
        file = self.folder / "begun"
        lines = file.read_text().splitlines() if file.exists() else ()
        fields = [line.split() for line in lines]
        return [Begun(float(at), int(size), int(pid), node) for at, size, pid, node in fields]

    @contextmanager
    def driven(self, *before: str) -> Iterator["Driver"]:
        """Run the sweep in a process of its own, which is killed at the end of the block.

        Words before the command wrap it, as a script's shell would.
        """
        words = ["run", "x.yaml", "--out", str(self.out), "--no-fit", *self.options]
        paths = {name: self.folder / name for name in ("stdout", "stderr")}
        # Into files: workers that outlive a killed driver would keep a pipe open.
        with paths["stdout"].open("w") as stdout, paths["stderr"].open("w") as stderr:
            process = subprocess.Popen(
                [*before, sys.executable, "-c", _PROGRAM, *words],
                cwd=self.folder,
                env={**os.environ, "PYTHONPATH": str(ROOT), **self.variables},
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        driver = Driver(self, process)
        try:
            yield driver
        finally:
            if process.poll() is None:
                process.kill()
            process.wait()

    def finish(self) -> None:
        """Run the sweep to its end, whatever is there already.

        Raises:
            BrokenError: If that fails.
        """
        with self.driven() as driver:
            status = driver.wait()
        check(status == 0, f"the run after the fault ended with status {status}: {driver.stderr()}")

    def begun_again(self, lost: Begun) -> list[Begun]:
        """Return where the pack of a worker that was lost was begun by another one."""
        return [
            one for one in self.begun() if one.batch_size == lost.batch_size and one.pid != lost.pid
        ]

    def table(self) -> pd.DataFrame:
        """Return the rows of results.parquet with their curves."""
        rows = read_results(self.out / "results.parquet").frame
        curves = pd.read_parquet(self.out / "curves.parquet")
        return rows.merge(curves, on="trial_id", how="left")


@dataclass(frozen=True)
class Driver:
    """A run in a process of its own.

    Attributes:
        study: What it runs.
        process: The process.
    """

    study: Study
    process: "subprocess.Popen[bytes]"

    def wait(self) -> int:
        """Wait for its end and return its exit status."""
        return self.process.wait(PATIENCE_S)

    def wait_until(self, ready: Callable[[], object], what: str) -> None:
        """Wait for something while it runs.

        Args:
            ready: Whether it has come.
            what: Its name, for the complaint.

        Raises:
            BrokenError: If it does not come, or the run ends before.
        """
        deadline = time.monotonic() + PATIENCE_S
        while not ready():
            check(self.process.poll() is None, f"the run ended before {what}: {self.stderr()}")
            check(time.monotonic() < deadline, f"no {what} within {PATIENCE_S:g} s")
            time.sleep(0.02)

    def wait_for_parts(self, num_parts: int) -> None:
        """Wait until so many packs are stored."""
        self.wait_until(lambda: len(self.study.parts()) >= num_parts, f"{num_parts} packs stored")

    def stderr(self) -> str:
        """Return what it complained of."""
        return (self.study.folder / "stderr").read_text()

    def stdout(self) -> str:
        """Return what it showed."""
        return (self.study.folder / "stdout").read_text()
