"""The vision studies of sweeps/ on noise of the right shape: planned, trained and judged."""

import math
from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor
from torch.utils.data import TensorDataset

from scaling_sweep.planning import plan_packs
from scaling_sweep.spec import LoadedSweep, parse_sweep
from scaling_sweep.tasks import images
from scaling_sweep.training.pack import train_pack
from scaling_sweep.training.preflight import inspect_task, load_sweep_task

SWEEPS = Path(__file__).parents[2] / "sweeps"
NUM_EXAMPLES = 16
# Of the same kind, so small that a test can afford them.
SMALLER = {"cifar100_wrn": {"depth": 16, "widen": 1}, "imagenet_resnet50": {"image_size": 32}}

CLASSES = {
    "mnist_cnn": 10,
    "cifar10_resnet18": 10,
    "cifar100_vgg16": 100,
    "cifar100_wrn": 100,
    "imagenet_resnet50": 1000,
}


class Noise(TensorDataset):
    """Stands for an ImageFolder."""

    classes = tuple(map(str, range(1000)))


def noise(request: images.ImageRequest, **_: object) -> tuple[Tensor, Tensor, int]:
    """Return images of noise in the shape of a set, their labels, and how many kinds there are."""
    channels, size, num_classes = {
        "mnist": (1, 28, 10),
        "cifar10": (3, 32, 10),
        "cifar100": (3, 32, 100),
        "imagenet": (3, request.image_size or 224, 1000),
    }[request.data]
    generator = torch.Generator().manual_seed(0)
    shape = (NUM_EXAMPLES, channels, size, size)
    pixels = torch.randint(256, shape, dtype=torch.uint8, generator=generator)
    return pixels, torch.randint(num_classes, shape[:1], generator=generator), num_classes


def shortened(name: str) -> LoadedSweep:
    """Return a study of sweeps/ with two steps and the ends of its grid of learning rates."""
    spec = yaml.safe_load((SWEEPS / f"{name}.yaml").read_text())
    spec["task"]["args"] |= {"num_workers": 0} if name.startswith("imagenet") else {}
    spec["task"]["args"] |= SMALLER.get(name, {})
    smallest = spec["parameters"]["batch_size"]["min"]
    spec["parameters"]["batch_size"] = {"values": [min(smallest, 4)]}
    spec["parameters"]["lr"] = {"values": [1e-4, 1e12]}
    del spec["parameters"]["optimizer"]["values"][1:]
    spec |= {"horizon": {"steps": 2}, "seeds": 1, "resources": {}}
    return parse_sweep(yaml.safe_dump(spec), f"{name}.yaml")


@pytest.mark.slow
@pytest.mark.parametrize("name", CLASSES)
def test_a_study_of_images_is_planned_trained_and_judged(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Untrained networks are near chance, so that what blows up is told from what does not."""
    monkeypatch.setattr(images, "_small", noise)
    monkeypatch.setattr(images, "_read_folder", lambda request, **_: Noise(*noise(request)[:2]))
    sweep = shortened(name)
    task = load_sweep_task(sweep)
    facts = inspect_task(sweep, task)
    packs = plan_packs(sweep.spec, num_examples=task.num_examples)
    results = [train_pack(pack, sweep.spec, task) for pack in packs]
    records = [record for result in results for record in result.records]
    lrs = [trial.lr for pack in packs for trial in pack.trials]
    chance = math.log(CLASSES[name])

    assert facts.num_examples == NUM_EXAMPLES
    assert len(records) == 2
    for lr, record in zip(lrs, records, strict=True):
        assert 0.8 * chance < record.initial_loss < 1.3 * chance
        assert math.isfinite(record.final_loss) or lr > 1
        assert record.verdict == "diverged"  # two steps reach no criterion
