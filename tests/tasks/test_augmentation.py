"""Augmentation on the device: torchvision's distribution, drawn from a generator of one's own."""

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor
from torchvision.transforms import v2

from scaling_sweep.errors import UserError
from scaling_sweep.tasks.augmentation import ImageTransform, RandomPaddedCrop, make_augmentations


def images(num: int = 6, size: int = 5, channels: int = 3) -> Tensor:
    """Return images no two pixels of which are alike by accident."""
    generator = torch.Generator().manual_seed(3)
    shape = (num, channels, size, size)
    return torch.randint(1, 256, shape, generator=generator, dtype=torch.uint8)


def generator(seed: int = 0) -> torch.Generator:
    """Return a trial's generator."""
    return torch.Generator().manual_seed(seed)


def apply(listed: Sequence[object], batch: Tensor, seed: int = 0) -> Tensor:
    """Apply a list as a sweep file writes it."""
    drawn = generator(seed)
    for augment in make_augmentations(listed, batch.shape[-1]):
        batch = augment(batch, drawn)
    return batch


def outcomes(batch: Tensor) -> list[tuple[int, ...]]:
    """Return images as things that can be counted."""
    return [tuple(image.flatten().tolist()) for image in batch]


@pytest.mark.parametrize(
    ("listed", "reference"),
    [
        (["RandomHorizontalFlip"], v2.RandomHorizontalFlip()),
        ([{"RandomVerticalFlip": {"p": 0.2}}], v2.RandomVerticalFlip(0.2)),
        ([{"RandomCrop": {"padding": 1}}], v2.RandomCrop(3, padding=1)),
    ],
    ids=["flip", "rare-flip", "crop"],
)
def test_whole_batches_are_augmented_as_torchvision_does_one_image(
    listed: Sequence[object], reference: v2.Transform
) -> None:
    """The same outcomes in the same shares as torchvision's own transform, image by image."""
    num, one = 4000, images(1, size=3)
    ours = outcomes(apply(listed, one.expand(num, -1, -1, -1)))
    with torch.random.fork_rng():
        torch.manual_seed(0)
        theirs = outcomes(torch.stack([reference(one[0]) for _ in range(num)]))

    assert set(ours) == set(theirs)
    for outcome in set(theirs):
        # Two shares of 4,000 draws differ by .011 in standard deviation at most; allow four.
        difference = abs(ours.count(outcome) - theirs.count(outcome)) / num
        assert difference < 0.045


def test_a_crop_is_a_window_of_the_padded_image() -> None:
    """Every cropped image is found in its own padded one, at the offsets of the generator."""
    batch = images()
    cropped = RandomPaddedCrop(2)(batch, generator(5))
    top, left = torch.randint(5, (2, len(batch), 1), generator=generator(5)).flatten(1)

    for row, image in enumerate(batch):
        padded = v2.functional.pad(image, [2])
        expected = v2.functional.crop(padded, int(top[row]), int(left[row]), 5, 5)
        assert torch.equal(cropped[row], expected)


@pytest.mark.parametrize(
    "listed",
    [
        ["RandomHorizontalFlip", "RandomCrop"],
        ["RandomResizedCrop", {"ColorJitter": {"brightness": 0.5}}],
        [{"RandomErasing": {"p": 1.0}}],
        ["TrivialAugmentWide"],
    ],
    ids=["batched", "one-by-one", "erasing", "trivial"],
)
def test_draws_come_from_the_given_generator_only(listed: Sequence[object]) -> None:
    """One seed gives one outcome, another another, and the global generator stays as it was."""
    batch = images(num=8, size=12)
    torch.manual_seed(11)
    state = torch.get_rng_state()
    first = apply(listed, batch, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(12)

    assert torch.equal(first, apply(listed, batch, seed=1))
    assert not torch.equal(first, apply(listed, batch, seed=2))
    assert first.shape == batch.shape
    assert first.dtype == torch.uint8


def test_each_image_gets_a_draw_of_its_own() -> None:
    """Copies of one image in a batch come out different, though torchvision sees one at a time."""
    batch = images(1, size=12).expand(16, -1, -1, -1)

    assert len(set(outcomes(apply(["RandomResizedCrop"], batch)))) > 8
    assert len(set(outcomes(apply(["RandomCrop"], batch)))) > 8


def test_evaluation_draws_nothing_and_standardises() -> None:
    """Without a generator pixels are (x/255 − mean)/std, in the right size, and nothing else."""
    batch, labels = images(size=6), torch.arange(6)
    mean, std = torch.tensor([0.1, 0.5, 0.9]), torch.tensor([0.2, 0.3, 0.4])
    augment = make_augmentations(["RandomHorizontalFlip", "RandomCrop"], 6)
    actual, kept = ImageTransform(augment, 6, mean, std)(batch, labels, None)
    larger, _ = ImageTransform(augment, 9, mean, std)(batch, labels, None)
    expected = v2.functional.normalize(batch / 255, mean.tolist(), std.tolist())

    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-6)
    assert torch.equal(kept, labels)
    assert larger.shape == (6, 3, 9, 9)


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        ("RandomCrop", r"write augment: \[RandomCrop\]"),
        (["RandomCorp"], "did you mean RandomCrop"),
        (["os"], "no transform of one image"),
        (["MixUp"], "no transform of one image"),
        ([3], "3 is no transform"),
        ([{"RandomCrop": 4}], "is no transform"),
        ([{"RandomRotation": {}}], "RandomRotation: .*degrees"),
        ([{"RandomHorizontalFlip": {"probability": 1}}], "RandomHorizontalFlip: .*probability"),
    ],
)
def test_what_is_no_augmentation_is_refused(listed: Sequence[object], message: str) -> None:
    """A slip in the list is answered in one line."""
    with pytest.raises(UserError, match=message) as caught:
        make_augmentations(listed, 32)

    assert "\n" not in str(caught.value)
