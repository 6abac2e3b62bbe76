"""Whether a trial's verdict depends on its pack: packed trials against the same ones alone.

Packed: as ``scaling-sweep run`` trains them, many copies in one process. Alone: one trial at a
time in the loop engine, which is plain autograd on one model. Aim: 99 % of 300 trials agree.

    python -m benchmarks.agreement [--tasks NAME ...]
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import torch

from benchmarks.timing import ROOT
from scaling_sweep.planning import Pack, plan_packs
from scaling_sweep.spec import SweepSpec
from scaling_sweep.tasks.loading import load_task
from scaling_sweep.tasks.task import Task
from scaling_sweep.training.pack import train_pack
from scaling_sweep.training.records import TrialRecord

_EXAMPLES = (str(ROOT / "docs" / "examples"),)


@dataclass(frozen=True)
class Case:
    """One task and the grid around its edge: 3 batch sizes × 25 learning rates × 4 seeds.

    Attributes:
        name: For the table.
        task: As a sweep file names it.
        args: The task's.
        optimizer: Its name.
        largest_lr: The grid goes down from here in steps of 2^(1/4), over a factor of 64.
        max_loss_ratio: What stable means.
    """

    name: str
    task: str
    args: Mapping[str, object]
    optimizer: str
    largest_lr: float
    max_loss_ratio: float

    def spec(self, engine: str) -> SweepSpec:
        """Return the study."""
        lrs = [self.largest_lr * 2 ** (-k / 4) for k in range(25)]
        return SweepSpec.model_validate(
            {
                "name": "agreement",
                "task": {"name": self.task, "args": dict(self.args)},
                "engine": engine,
                "parameters": {
                    "optimizer": {"values": [self.optimizer]},
                    "batch_size": {"values": [2, 8, 32]},
                    "lr": {"values": lrs},
                },
                "seeds": 4,
                "horizon": {"steps": 60},
                "stability": {"max_loss_ratio": self.max_loss_ratio},
            }
        )


_SMALL_GPT = {"depth": 1, "width": 16, "num_heads": 2, "context": 16, "max_characters": 100_000}
CASES = (
    Case("gpt", "char_gpt", _SMALL_GPT, "sgd", 16.0, 0.8),
    Case("dropout", "normalised:normalised", {"width": 16}, "sgd", 16.0, 0.6),
    Case("batchnorm", "normalised:normalised", {"width": 16, "dropout": 0.0}, "sgd", 16.0, 0.6),
    Case("cnn_bn", "digits_cnn", {"width": 8, "norm": "batch"}, "sgd", 64.0, 0.6),
)


def main() -> None:
    """Print the table; the exit status is 1 when a task agrees on less than 99 %."""
    parser = argparse.ArgumentParser(description=__doc__)
    names = [case.name for case in CASES]
    parser.add_argument("--tasks", nargs="+", choices=names, default=names)
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"{'task':12} {'trials':>6} {'stable':>6} {'agree':>6} {'share':>7}  engines, seconds")
    shares = [compare(case) for case in CASES if case.name in options.tasks]
    sys.exit(min(shares) < 0.99)


def compare(case: Case) -> float:
    """Train all trials of a case both ways, print a row and return the share that agrees."""
    task = load_task(case.task, case.args, _EXAMPLES)
    packs = plan_packs(case.spec("auto"), num_examples=task.num_examples)
    begin = time.perf_counter()
    packed = [train_pack(pack, case.spec("auto"), task) for pack in packs]
    middle = time.perf_counter()
    alone = [record for pack in packs for record in _train_alone(case, pack, task)]
    end = time.perf_counter()
    together = [record for result in packed for record in result.records]
    agree = sum(a.verdict == b.verdict for a, b in zip(together, alone, strict=True))
    stable = sum(record.verdict == "stable" for record in alone)
    engines = Counter(result.engine for result in packed)
    print(
        f"{case.name:12} {len(alone):6d} {stable:6d} {agree:6d} {agree / len(alone):7.2%}  "
        f"{dict(engines)}, {middle - begin:.0f} s packed, {end - middle:.0f} s alone",
        flush=True,
    )
    return agree / len(alone)


def _train_alone(case: Case, pack: Pack, task: Task) -> list[TrialRecord]:
    spec = case.spec("loop")
    singles = [Pack((trial,), pack.num_steps) for trial in pack.trials]
    return [train_pack(single, spec, task).records[0] for single in singles]


if __name__ == "__main__":
    main()
