"""What the data cost: the model's share of a step, and streaming against data on the device.

    python -m benchmarks.data [--steps 60] [--workers 2] [--device cpu]

Aims: at least 90 % of the step time of the digits CNN is spent in the model; images of CIFAR's
shape streamed through workers train within 1.2 times the time of images on the device. Noise
stands for CIFAR, so nothing is downloaded.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import nn
from torch.utils.data import TensorDataset

from scaling_sweep.optimizers.sgd import sgd
from scaling_sweep.tasks.augmentation import ImageTransform, make_augmentations
from scaling_sweep.tasks.digits import digits_cnn
from scaling_sweep.tasks.image_models import ImageShape, make_classifier
from scaling_sweep.tasks.task import Task
from scaling_sweep.training.batches import Batches
from scaling_sweep.training.copies import Point, stack_points
from scaling_sweep.training.engines import VmapEngine
from scaling_sweep.training.randomness import call_seeded

SEEDS = (0, 1, 2)
CIFAR = ImageShape(channels=3, size=32, num_classes=10)
CIFAR_EXAMPLES = 50_000
WARM_UP_STEPS = 5
# A rate at which nothing diverges: copies that die would make later steps cheaper.
LR = 1e-4


@dataclass(frozen=True)
class PackTimes:
    """Where the time of a pack's steps went, medians in seconds.

    Attributes:
        draw_s: Until the batch lay ready for the copies.
        step_s: Of the whole step, the batch included.
    """

    draw_s: float
    step_s: float

    @property
    def model_share(self) -> float:
        """Share of a step's time that is spent in the model."""
        return 1 - self.draw_s / self.step_s


def time_pack(
    task: Task, num_copies: int, batch_size: int, num_steps: int, device: torch.device
) -> PackTimes:
    """Train a pack for some steps and take the time of each."""
    model = call_seeded(task.make_model, "benchmark").to(device)
    copies = stack_points([Point.of(model)] * num_copies, [LR] * num_copies, sgd(), device)
    engine = VmapEngine(model, task, sgd())
    names = [("benchmark", seed) for seed in SEEDS]
    batches = Batches(task, SEEDS, batch_size, True, names, device)
    of_copies = [SEEDS[row % len(SEEDS)] for row in range(num_copies)]
    draws, steps = [], []
    for _ in range(WARM_UP_STEPS + num_steps):
        begin = now(device)
        inputs, targets = batches.draw(of_copies)
        drawn = now(device)
        engine.step(copies, inputs, targets, [])
        draws.append(drawn - begin)
        steps.append(now(device) - begin)
    return PackTimes(median(draws[WARM_UP_STEPS:]), median(steps[WARM_UP_STEPS:]))


def now(device: torch.device) -> float:
    """Return the time when the device has done what it was asked."""
    if device.type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def median(values: Sequence[float]) -> float:
    """Return the median."""
    return sorted(values)[len(values) // 2]


def cifar_shaped(make_model: Callable[[], nn.Module]) -> Task:
    """Return a task on 50,000 images of noise, augmented as CIFAR usually is, on the device."""
    generator = torch.Generator().manual_seed(0)
    shape = (CIFAR_EXAMPLES, CIFAR.channels, CIFAR.size, CIFAR.size)
    half = torch.full((CIFAR.channels,), 0.5)
    augment = make_augmentations(["RandomCrop", "RandomHorizontalFlip"], CIFAR.size)
    return Task(
        name="cifar_shaped",
        description="Noise in the shape of CIFAR-10.",
        make_model=make_model,
        loss=nn.functional.cross_entropy,
        inputs=torch.randint(256, shape, generator=generator, dtype=torch.uint8),
        targets=torch.randint(CIFAR.num_classes, (CIFAR_EXAMPLES,), generator=generator),
        transform=ImageTransform(augment, None, half, half),
    )


def streamed(task: Task, num_workers: int) -> Task:
    """Return the task with its tensors behind a dataset that workers look up."""
    assert task.inputs is not None
    assert task.targets is not None
    pairs = TensorDataset(task.inputs, task.targets)
    return replace(task, inputs=None, targets=None, dataset=pairs, num_workers=num_workers)


def main() -> None:
    """Print both figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=60, help="steps that are timed")
    parser.add_argument("--workers", type=int, default=2, help="processes that look items up")
    parser.add_argument("--copies", type=int, default=12, help="copies in the CIFAR-shaped pack")
    parser.add_argument("--model", default="cnn_bn", help="of the CIFAR-shaped task")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    options = parser.parse_args()
    device = torch.device(options.device)
    if device.type == "cpu":
        torch.set_num_threads(1)  # as a pack has
    print(f"{'digits_cnn, 48 copies':32} {'draw ms':>8} {'step ms':>8} {'model':>6}")
    for batch_size in (8, 64, 256):
        times = time_pack(digits_cnn(), 48, batch_size, options.steps, device)
        print(
            f"{f'B = {batch_size}':32} {times.draw_s * 1e3:8.2f} {times.step_s * 1e3:8.2f} "
            f"{times.model_share:6.1%}",
            flush=True,
        )
    make_model = make_classifier(options.model, CIFAR, {})
    resident = cifar_shaped(make_model)
    print(f"\n{f'CIFAR-shaped, {options.model}':32} {'draw ms':>8} {'step ms':>8} {'ratio':>6}")
    for batch_size in (16, 128):
        times = time_pack(resident, options.copies, batch_size, options.steps, device)
        for name, task in (
            ("on the device", None),
            ("streamed, no workers", streamed(resident, 0)),
            (f"streamed, {options.workers} workers", streamed(resident, options.workers)),
        ):
            found = (
                times
                if task is None
                else time_pack(task, options.copies, batch_size, options.steps, device)
            )
            print(
                f"{f'B = {batch_size}, {name}':32} {found.draw_s * 1e3:8.2f} "
                f"{found.step_s * 1e3:8.2f} {found.step_s / times.step_s:6.2f}",
                flush=True,
            )


if __name__ == "__main__":
    main()
