"""Packs planned for a worker's limit train whole where packs as large as one likes are halved."""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from scaling_sweep.clusters.worker_environment import WORKER_ENVIRONMENT
from scaling_sweep.memory_room import room_on_cpus
from scaling_sweep.planning import Pack, PackSize, plan_packs
from scaling_sweep.preview_text import PackMemory, format_memory
from scaling_sweep.previewing import preview
from scaling_sweep.spec import LoadedSweep, parse_sweep
from scaling_sweep.training.preflight import inspect_task, load_sweep_task

ROOT = Path(__file__).resolve().parent.parent
# 4.2 million parameters under Adam: some 100 MB a copy, and a worker takes 0.9 GiB itself.
SWEEP = """
name: wide
task: {name: digits_mlp, args: {width: 2000}}
engine: vmap
parameters:
  optimizer: {values: [adam]}
  batch_size: {values: [32]}
  lr: {values: [1.0e-5, 2.0e-5, 3.0e-5, 4.0e-5, 5.0e-5, 6.0e-5, 7.0e-5, 8.0e-5]}
seeds: 1
horizon: {steps: 2}
resources: {memory_gib: 1.5}
"""
# Trains packs of so many trials in a process limited as a worker of Ray is, before torch is there.
WORKER = """
import json, sys
from scaling_sweep.memory_limit import limit_memory
limit_memory(1.5)
from scaling_sweep.planning import plan_packs
from scaling_sweep.spec import parse_sweep
from scaling_sweep.training import shortage
from scaling_sweep.training.worker import PackWorker
halved = []
release = shortage.release_memory
shortage.release_memory = lambda: (halved.append(1), release())
spec = parse_sweep(sys.stdin.read()).spec
worker, verdicts = PackWorker(spec, (), {}), []
for pack in plan_packs(spec, max_trials_per_pack=int(sys.argv[1])):
    worker.begin(pack)
    while (result := worker.advance()) is None:
        pass
    verdicts += [record.verdict for record in result.records]
print(json.dumps([len(halved), verdicts]))
"""


@dataclass(frozen=True)
class Trained:
    """What a limited worker did: how often it was short of memory, and every trial's verdict."""

    num_shortages: int
    verdicts: Sequence[str]


def train_limited(num_trials: int) -> Trained:
    """Train the sweep in packs of so many trials, in a process with the workers' environment."""
    done = subprocess.run(
        [sys.executable, "-c", WORKER, str(num_trials)],
        input=SWEEP,
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, **WORKER_ENVIRONMENT},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return Trained(*json.loads(done.stdout.splitlines()[-1]))


def planned(sweep: LoadedSweep) -> tuple[Pack, ...]:
    """Return the packs of a sweep as a run plans them."""
    task = load_sweep_task(sweep)
    facts = inspect_task(sweep, task)
    room = room_on_cpus(sweep, task, facts, None)
    return plan_packs(sweep.spec, max_trials_per_pack=facts.max_trials_per_pack, room=room)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
@pytest.mark.skipif(torch.cuda.is_available(), reason="libraries of a GPU take more")
def test_packs_planned_under_a_limit_need_no_halving() -> None:
    """A worker with 1.5 GiB trains the planned packs whole; packs of eight it must halve."""
    sizes = {pack.num_trials for pack in planned(parse_sweep(SWEEP))}
    assert max(sizes) < 8

    assert train_limited(max(sizes)).num_shortages == 0
    too_large = train_limited(8)
    assert too_large.num_shortages > 0
    assert len(too_large.verdicts) == 8
    assert "failed" not in too_large.verdicts


def test_a_preview_says_what_memory_allows(tmp_path: Path) -> None:
    """`plan` names the batch sizes at which memory bounds packs, and what that rests on."""
    text = SWEEP.replace("width: 2000", "width: 600").replace("seeds: 1", "seeds: 8")
    sweep = parse_sweep(text.replace("memory_gib: 1.5", "memory_gib: 1.2"))
    found = preview(sweep, tmp_path / "run", workers=1)

    assert found.memory is not None
    (size,) = found.memory.sizes
    assert found.trials_per_pack <= size.most_copies < found.memory.wanted
    assert f"memory          at most {size.most_copies} copies at B = 32 (" in found.text()


def test_a_bound_is_said_in_words() -> None:
    """Bounded batch sizes are listed, unbounded ones are not, and none at all is said so."""
    both = memory_of([("sgd", 1, 40), ("sgd", 8, 9), ("sgd", 512, 0)])
    room = memory_of([("sgd", 8, 70), ("sgd", 512, 6), ("adam", 8, 60), ("adam", 512, 1)])
    alone = memory_of([("sgd", 8, 70), ("sgd", 512, 0)])
    free = memory_of([("sgd", 8, 70), ("sgd", 512, 50)])

    assert format_memory(room) == "at most 1 copy at B = 512 (2 GiB a pack; measured)"
    assert format_memory(both).startswith(
        "at most 40 copies at B = 1, 9 at B = 8; perhaps not one copy at B = 512, write"
    )
    assert format_memory(alone) == (
        "perhaps not one copy at B = 512, write resources: {micro_batch: auto} "
        "(2 GiB a pack; measured)"
    )
    assert format_memory(free) == (
        "enough for 50 copies, the most in a pack, at every B (2 GiB a pack; measured)"
    )


def memory_of(sizes: Sequence[tuple[str, int, int]]) -> PackMemory:
    """Return what `plan` is told, where packs of fifty are wanted."""
    return PackMemory(2 * 2**30, "measured", 50, tuple(PackSize(*size) for size in sizes))
