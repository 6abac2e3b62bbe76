"""Out of memory: packs are halved, batches cut where allowed, and trials end as they would have."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from scaling_sweep.clusters.worker_environment import WORKER_ENVIRONMENT
from scaling_sweep.rows import rows_of_result
from scaling_sweep.training.copies import Copies
from scaling_sweep.training.engines import LoopEngine, VmapEngine
from tests.training.cases import by_trial, make_spec, net_task, train_only

ROOT = Path(__file__).resolve().parents[2]
Fits = Callable[[int, int], bool]
LRS = (0.01, 0.02, 0.05, 0.1)


def limit(
    monkeypatch: pytest.MonkeyPatch, fits: Fits, error: Exception, steps_before: int = 5
) -> list[int]:
    """Let an engine raise in some steps of what does not fit; return the copies of all steps."""
    seen: list[int] = []

    def hold(kind: type[VmapEngine] | type[LoopEngine]) -> None:
        real = kind.step

        def step(
            self: VmapEngine,
            copies: Copies,
            inputs: Tensor,
            targets: Tensor,
            noise_seeds: list[int],
            number: int = 0,
        ) -> Tensor:
            size = self._treatment.micro_batch or inputs.shape[1]
            if number >= steps_before and not fits(len(copies), size):
                raise error
            seen.append(len(copies))
            return real(self, copies, inputs, targets, noise_seeds, number)

        monkeypatch.setattr(kind, "step", step)

    hold(VmapEngine)
    hold(LoopEngine)
    return seen


@pytest.mark.parametrize("engine", ["vmap", "loop"])
@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB."),
        RuntimeError("[enforce fail] DefaultCPUAllocator: not enough memory: you tried to …"),
        MemoryError(),
    ],
    ids=["cuda", "cpu", "python"],
)
def test_a_pack_that_does_not_fit_is_halved(
    engine: str, error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight copies where three fit: every record is, bit for bit, that of the whole pack."""
    spec, task = make_spec(lrs=LRS, engine=engine), net_task()
    expected = by_trial(train_only(spec, task))
    seen = limit(monkeypatch, lambda num_copies, _: num_copies <= 3, error)

    result = train_only(spec, task)

    assert by_trial(result) == expected
    assert [r.trial_id for r in result.records] == [t.trial_id for t in result.pack.trials]
    assert {2, 8} <= set(seen)


def test_a_single_copy_that_does_not_fit_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its rows say why and what to write, and have no numbers."""
    limit(monkeypatch, lambda *_: False, torch.OutOfMemoryError("CUDA out of memory."))

    result = train_only(make_spec(lrs=LRS, engine="vmap"), net_task())
    rows = rows_of_result(result).results

    assert set(rows["verdict"]) == {"failed"}
    assert "final_loss" not in rows
    (reason,) = set(rows["reason"])
    assert reason == (
        "out of memory with one copy at batch size 8 (CUDA out of memory.); write resources: "
        "{micro_batch: auto}, or take a smaller model or batch size"
    )


def test_trials_that_fitted_keep_their_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory that is gone half-way costs the trials that were still to come only."""
    seen: list[int] = []
    # Steps 0 to 4 of the whole pack and all 24 of its first half, then nothing.
    seen = limit(
        monkeypatch, lambda num_copies, _: num_copies < 8 and len(seen) < 32, MemoryError()
    )

    rows = rows_of_result(train_only(make_spec(lrs=LRS, engine="loop"), net_task()))

    failed = rows.results["verdict"] == "failed"
    assert failed.sum() == 4
    assert rows.results.loc[failed, "final_loss"].isna().all()
    assert list(rows.curves["trial_id"]) == list(rows.results.loc[~failed, "trial_id"])


def test_other_errors_are_not_mistaken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of the model is raised as it is."""
    limit(monkeypatch, lambda *_: False, RuntimeError("shapes cannot be multiplied"))

    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        train_only(make_spec(engine="loop"), net_task())


@pytest.mark.parametrize("engine", ["vmap", "loop"])
def test_auto_cuts_the_batch_of_a_copy_that_does_not_fit(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where two examples fit, batches of eight are computed so, to the same losses."""
    task = net_task()
    expected = by_trial(train_only(make_spec(lrs=LRS, engine=engine), task))
    limit(monkeypatch, lambda k, size: k * size <= 2, MemoryError())

    found = by_trial(
        train_only(make_spec(lrs=LRS, engine=engine, resources={"micro_batch": "auto"}), task)
    )

    for trial_id, record in found.items():
        assert record.verdict == expected[trial_id].verdict
        assert record.final_loss == pytest.approx(expected[trial_id].final_loss, rel=1e-5)


# Two layers of 700 × 700: a stack of 8 with Adam's moments and gradients takes some 160 MB.
PROGRAM = """
import json, resource, sys, torch
from torch import nn
sys.path.insert(0, {root!r})
torch.set_num_threads(1)
from tests.training.cases import make_spec, net_task, train_only, by_trial

width = int(sys.argv[2])
def wide():
    inner = nn.Linear(width, width)
    return nn.Sequential(nn.Linear(4, width), nn.Tanh(), inner, nn.Linear(width, 1))

spec = make_spec(["adam"], lrs=(1e-4, 2e-4, 5e-4, 1e-3), steps=3, engine="vmap")
train_only(make_spec(["adam"], steps=2, engine="vmap"), net_task())  # what torch loads late
room = float(sys.argv[1])
if room:
    pages = int(open("/proc/self/statm").read().split()[0])
    limit = int(pages * resource.getpagesize() + room * 2**20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
sizes = []
from scaling_sweep.training.engines import VmapEngine
real = VmapEngine.step
def step(self, copies, *rest):
    sizes.append(len(copies))
    return real(self, copies, *rest)
VmapEngine.step = step
found = by_trial(train_only(spec, net_task(wide)))
losses = {{name: [r.verdict, r.reason, r.final_loss] for name, r in found.items()}}
print(json.dumps([sizes, losses]))
"""


def run_limited(megabytes: float, width: int = 700) -> tuple[list[int], dict[str, list[object]]]:
    """Train eight wide nets in a process that may take only so much more than torch itself."""
    command = [sys.executable, "-c", PROGRAM.format(root=str(ROOT)), str(megabytes), str(width)]
    # Workers of Ray are told to take memory in advance (`MALLOC_…`); tests before may be theirs.
    environment = {name: os.environ[name] for name in os.environ if name not in WORKER_ENVIRONMENT}
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment)
    assert done.returncode == 0, done.stderr[-2000:]
    sizes, losses = json.loads(done.stdout.splitlines()[-1])
    return sizes, losses


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the limit is Linux's")
def test_a_process_under_a_limit_halves_and_ends_with_the_same_rows() -> None:
    """Under a real limit on its address space a pack is halved, and losses differ by rounding only.

    Where oneDNN cannot have memory either, torch hands its products to MKL.
    """
    sizes, free = run_limited(0)
    assert max(sizes) == 8
    sizes, limited = run_limited(70)
    assert min(sizes) < 8
    assert limited.keys() == free.keys()
    for name, (verdict, _, final_loss) in limited.items():
        assert verdict == free[name][0]
        assert final_loss == pytest.approx(free[name][2], rel=1e-5)
    # So wide that what the allocator has kept for itself does not do.
    _, none = run_limited(40, width=2_000)
    assert {verdict for verdict, _, _ in none.values()} == {"failed"}
    assert all("out of memory with one copy" in str(row) for row in none.values())
