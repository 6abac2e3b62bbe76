"""One sweep with clocks in the driver and in its workers, in a process of its own.

    python -m benchmarks.driver_run idle|train SWEEP.yaml OUT.json

``idle`` puts workers in place of the real ones that answer at once; ``train`` lets the real ones
train, and sums up the time that they do so.
"""

import json
import os
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self
from unittest.mock import patch

from scaling_sweep.driver import tuner, workers
from scaling_sweep.driver.workers import WorkerOrder
from scaling_sweep.planning import Pack
from scaling_sweep.rows import PackRows
from scaling_sweep.running import run_sweep
from scaling_sweep.spec import load_sweep
from scaling_sweep.training.records import PackResult, TrialRecord

# As many as training keeps of a curve (scaling_sweep.training.curves).
_CURVE_STEPS = tuple(range(1, 65))
_CURVE_LOSSES = tuple(1 / step for step in _CURVE_STEPS)


@dataclass(frozen=True)
class Clocks:
    """What the clocks said.

    Attributes:
        num_trials: Trials that were trained.
        num_packs: Packs they made.
        num_workers: Packs that train at the same time.
        ended_s: When each pack had been stored, seconds since the process began.
        training_s: Seconds that a worker spent on each pack, waiting left out.
        memory_mib: Memory of the driver after each pack.
        cpu_s: CPU seconds of the driver after each pack.
        peak_mib: Most memory that the driver ever had, the assembling of the table included.
    """

    num_trials: int
    num_packs: int
    num_workers: int
    ended_s: tuple[float, ...]
    training_s: tuple[float, ...]
    memory_mib: tuple[float, ...]
    cpu_s: tuple[float, ...]
    peak_mib: float

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read what a process left behind."""
        stored = json.loads(path.read_text())
        return cls(**{name: _as_tuple(value) for name, value in stored.items()})

    @property
    def s_per_pack(self) -> float:
        """Seconds from one pack's end to the next one's."""
        return (self.ended_s[-1] - self.ended_s[0]) / max(1, self.num_packs - 1)

    @property
    def cpu_s_per_pack(self) -> float:
        """CPU seconds of the driver from one pack's end to the next one's."""
        return (self.cpu_s[-1] - self.cpu_s[0]) / max(1, self.num_packs - 1)

    @property
    def busy_share(self) -> float:
        """Share of the workers' time, first pack's begin to last one's end, that they train.

        Example:
            >>> times = {"ended_s": (3.0, 4.0), "training_s": (1.0, 2.0)}
            >>> Clocks(2, 2, 2, memory_mib=(), cpu_s=(), peak_mib=0, **times).busy_share
            0.75
        """
        begins = (end - took for end, took in zip(self.ended_s, self.training_s, strict=True))
        span = self.ended_s[-1] - min(begins)
        return sum(self.training_s) / (span * self.num_workers)


def _as_tuple(value: Any) -> Any:  # noqa: ANN401
    return tuple(value) if isinstance(value, list) else value


class _IdleWorker:
    """Answers at once, with made-up curves."""

    def begin(self, pack: Pack) -> None:
        """Take on a pack."""
        self._pack = pack

    def advance(self) -> PackResult:
        """Return what training could have found."""
        records = tuple(
            TrialRecord(
                trial_id=trial.trial_id,
                verdict="stable",
                reason="made up",
                steps_run=100,
                initial_loss=1.0,
                start_loss=1.0,
                final_loss=0.1,
                min_loss=0.1,
                peak_loss=1.0,
                first_nonfinite_step=None,
                wall_time_s=0.0,
                curve_steps=_CURVE_STEPS,
                curve_losses=_CURVE_LOSSES,
            )
            for trial in self._pack.trials
        )
        return PackResult(self._pack, records, None, "none", "none", 0.0)


class IdleTrainable(workers.PackTrainable):
    """A worker's actor that does nothing."""

    def setup(self, config: dict[str, Any], order: WorkerOrder) -> None:
        """Take on the first pack."""
        self._worker = _IdleWorker()  # type: ignore[assignment]  # it answers to the same
        self._worker.begin(config["parcel"].pack)


class ClockedTrainable(workers.PackTrainable):
    """A worker's actor that sums up the time it trains, and not what passes in between."""

    def setup(self, config: dict[str, Any], order: WorkerOrder) -> None:
        """Begin at nought."""
        super().setup(config, order)
        self._training_s = 0.0

    def step(self) -> dict[str, Any]:
        """Train for about a second."""
        begin = time.perf_counter()
        told = super().step()
        self._training_s += time.perf_counter() - begin
        if told["done"]:
            told["pack_result"] = replace(told["pack_result"], wall_time_s=self._training_s)
        return told

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take on the next pack."""
        self._training_s = 0.0
        return super().reset_config(new_config)


class _Clock:
    """A display that looks at the clocks after each pack."""

    def __init__(self) -> None:
        self.ended_s: list[float] = []
        self.training_s: list[float] = []
        self.memory_mib: list[float] = []
        self.cpu_s: list[float] = []

    def on_plan(self, packs: Sequence[Pack], num_done: int) -> None:
        """Show nothing."""

    def on_stage(self, text: str) -> None:
        """Show nothing."""

    def on_warning(self, text: str) -> None:
        """Show nothing."""

    def on_pack(self, pack: Pack, rows: PackRows, wall_time_s: float) -> None:
        """Look at the clocks."""
        self.ended_s.append(seconds_since_begin())
        self.training_s.append(wall_time_s)
        self.memory_mib.append(_memory_mib())
        self.cpu_s.append(time.process_time())


def seconds_since_begin() -> float:
    """Return the seconds since this process was started, its imports included."""
    # proc(5): the start is the 22nd field, in ticks since boot, after the name in parentheses.
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    return time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")


def _memory_mib() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def run(way: str, sweep: Path) -> Clocks:
    """Run a sweep with idle or with real workers and return what the clocks said."""
    clock, loaded = _Clock(), load_sweep(sweep)
    trainable = {"idle": IdleTrainable, "train": ClockedTrainable}[way]
    with (
        tempfile.TemporaryDirectory(prefix="scaling-sweep-") as scratch,
        patch.object(tuner, "PackTrainable", trainable),
    ):
        outcome = run_sweep(loaded, Path(scratch) / "run", "local", clock)
    cpus = loaded.spec.resources.cpus
    return Clocks(
        num_trials=outcome.num_new,
        num_packs=len(clock.ended_s),
        num_workers=int((os.cpu_count() or 1) / cpus),
        ended_s=tuple(clock.ended_s),
        training_s=tuple(clock.training_s),
        memory_mib=tuple(clock.memory_mib),
        cpu_s=tuple(clock.cpu_s),
        peak_mib=resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    )


def main() -> None:
    """Run the sweep that is named and store what the clocks said."""
    way, sweep, out = sys.argv[1:]
    Path(out).write_text(json.dumps(asdict(run(way, Path(sweep)))))


if __name__ == "__main__":
    # Workers import this module by its own name, where what is loaded once stays loaded.
    from benchmarks import driver_run

    driver_run.main()
