"""A study whose task misbehaves as told, and the rows that an undisturbed run of it leaves."""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from analysis.results import read_results
from scaling_sweep.planning import plan_packs
from scaling_sweep.rows import rows_of_result
from scaling_sweep.spec import LoadedSweep, load_sweep
from scaling_sweep.tasks.loading import load_task
from scaling_sweep.training.pack import train_pack
from scaling_sweep.training.starts import train_starts

# What no two runs share.
UNSHARED = ["pack_id", "wall_time_s"]

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
"""A task that misbehaves as files beside it tell it to, each at one batch size."""

import os
import signal
import time
from pathlib import Path

import torch
from torch import nn

from scaling_sweep.tasks.task import Task

HERE = Path(__file__).parent


def note(word):
    with (HERE / word).open("a") as file:
        file.write("x")
        return file.tell()


def in_worker():
    return os.getpid() != int((HERE / "driver.pid").read_text() or 0)


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.line = nn.Linear(4, 1)

    def forward(self, inputs):
        if self.training:
            misbehave(len(inputs))
        return self.line(inputs)


def misbehave(batch_size):
    def is_told(how):
        return (HERE / f"{how}-{batch_size}").exists()

    if is_told("fail") and in_worker():
        tries = note(f"failed-{batch_size}")
        if tries == 3:
            os._exit(1)
        raise ValueError(f"no batches of {batch_size} today")
    if is_told("die-once") and in_worker() and not is_told("died"):
        note(f"died-{batch_size}")
        os.kill(os.getpid(), signal.SIGKILL)
    eaten = []
    while is_told("eat"):
        eaten.append(torch.ones(2**24))  # 64 MiB
    while is_told("wait"):
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

    def tell(self, how: str, batch_size: int = 64) -> Path:
        """Tell the task how to misbehave, and return the file that says so."""
        told = self.told(f"{how}-{batch_size}")
        told.touch()
        return told

    def count(self, word: str, batch_size: int = 64) -> int:
        """Return how often the task has noted something."""
        file = self.told(f"{word}-{batch_size}")
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

    def memory(self) -> dict[str, Any]:
        """Return what was decided of memory, as the run's metadata say."""
        told: dict[str, Any] = json.loads((self.out / "environment.json").read_text())["memory"]
        return told

    def table(self) -> pd.DataFrame:
        """Return the run's table as anybody reads it."""
        return read_results(self.out / "results.parquet").frame


def write_study(folder: Path) -> Study:
    """Write a study of three packs whose task does as it is told."""
    # Ray keeps worker processes: each test's module needs a name of its own.
    module = "task_" + re.sub(r"\W", "_", folder.name)
    (folder / f"{module}.py").write_text(TASK)
    (folder / "driver.pid").write_text(str(os.getpid()))
    (folder / "x.yaml").write_text(SWEEP.replace("TASK", f"{module}:task"))
    return Study(folder / "x.yaml", folder / "run")


def assert_same_rows(actual: pd.DataFrame, expected: pd.DataFrame) -> None:
    """Assert that two tables hold the same trials with the same measurements, to the bit."""
    assert sorted(actual["trial_id"]) == sorted(expected["trial_id"])
    columns = [name for name in expected.columns if name not in UNSHARED]
    left, right = (
        frame[columns].astype(object).set_index("trial_id").sort_index()
        for frame in (actual, expected)
    )
    for name in right.columns:
        assert list(left[name].isna()) == list(right[name].isna()), name
        assert list(left[name].dropna()) == list(right[name].dropna()), name
