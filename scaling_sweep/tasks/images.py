"""Sets of images by name, read by torchvision's own code from where they lie."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset, TensorDataset

from scaling_sweep.errors import UserError
from scaling_sweep.tasks.held_out import Split, split_examples
from scaling_sweep.tasks.image_sets import (
    KNOWN_SETS,
    SET_NAMES,
    KnownSet,
    find_data_dir,
    say_absent,
)
from scaling_sweep.tasks.task import Batch

# Moments of ImageNet's pixels, as in torchvision's own recipes; for any folder of photographs.
_PHOTO_MEAN, _PHOTO_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# As torchvision's recipes evaluate: the short side 256 where the model sees 224.
_RESIZE_RATIO = 256 / 224
_FAKE_EXAMPLES, _FAKE_SIZE, _FOLDER_SIZE = 1000, 32, 224
TEST_PART = "test"
"""What a sweep file writes for a set's own test part."""


@dataclass(frozen=True)
class ImageRequest:
    """Which images are wanted, and where they may lie.

    Attributes:
        data: One of ``SET_NAMES``.
        data_dir: Torchvision's root folder; None for ``$SCALING_SWEEP_DATA``, or ``data``.
        download: Whether to fetch what is missing.
        folder: Folder under ``data_dir`` with one folder per class; for ``image_folder`` only.
        image_size: Height and width; None for the set's own, 32 for fake, 224 for folders.
        num_examples: Take a fixed random part of that size; None for all, 1,000 fake ones.
        num_classes: Of fake images.
        channels: Of fake images.
        streamed: Whether images are looked up as they are needed; None for folders only.
        validation: What is held out: a share of the images, in [0, 1), or ``test`` for the set's
            own test part.
    """

    data: str
    data_dir: str | None = None
    download: bool = False
    folder: str | None = None
    image_size: int | None = None
    num_examples: int | None = None
    num_classes: int = 10
    channels: int = 3
    streamed: bool | None = None
    validation: float | str = 0.0


@dataclass(frozen=True)
class Images:
    """Labelled images of one size, as stored: in memory, or looked up one by one.

    Attributes:
        channels: 1 or 3.
        size: Height and width as stored.
        num_classes: Number of labels.
        mean: Shape ``[channels]``, of pixels in [0, 1].
        std: Shape ``[channels]``, of pixels in [0, 1].
        inputs: Shape ``[num_examples, channels, size, size]``, uint8; None when looked up.
        targets: Shape ``[num_examples]``, int64; None when looked up.
        dataset: Pairs of an image and its label; None when in memory.
        validation: Held-out images and labels, or pairs of them; None without.
    """

    channels: int
    size: int
    num_classes: int
    mean: Tensor
    std: Tensor
    inputs: Tensor | None = None
    targets: Tensor | None = None
    dataset: Dataset[Any] | None = None
    validation: Batch | Dataset[Any] | None = None


def load_images(request: ImageRequest) -> Images:
    """Read a set of images.

    Args:
        request: Which, and from where.

    Returns:
        The training images, and those held out.

    Raises:
        UserError: If there is no such set, it is not where it should be, or cannot be fetched.

    Example:
        >>> load_images(ImageRequest("fake", num_examples=4, image_size=8)).inputs.shape
        torch.Size([4, 3, 8, 8])
    """
    if request.data not in SET_NAMES:
        near = get_close_matches(str(request.data), SET_NAMES, n=1)
        hint = f"did you mean {near[0]}?" if near else f"known are {', '.join(SET_NAMES)}"
        raise UserError(f"unknown data {request.data!r}; {hint}")
    if (request.folder is not None) != (request.data == "image_folder"):
        raise UserError(
            "data: image_folder, and only that, takes folder: the name of a folder in data_dir "
            "that holds one folder of images for each class"
        )
    if request.validation == TEST_PART and request.data in {"image_folder", "fake"}:
        raise UserError(
            f"{request.data} has no test part of its own; hold a share out, as in validation: 0.1"
        )
    if request.data in {"imagenet", "image_folder"}:
        return _from_folder(request)
    inputs, targets, num_classes = _fake(request) if request.data == "fake" else _small(request)
    images = _in_memory(inputs, targets, num_classes, request)
    return _as_dataset(images) if request.streamed else images


def pixel_moments(images: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and standard deviation of each channel, of pixels in [0, 1].

    Exact, by counting how often each of the 256 values occurs.

    Args:
        images: Shape ``[num_examples, channels, height, width]``, uint8.

    Returns:
        Two tensors of shape ``[channels]``, float64; a channel of one value has deviation 1.
    """
    counts = torch.stack(
        [torch.bincount(channel.reshape(-1), minlength=256) for channel in images.unbind(1)]
    ).double()
    shares, values = counts / counts.sum(1, keepdim=True), torch.arange(256).double() / 255
    mean = shares @ values
    variance = (shares * (values - mean[:, None]).square()).sum(1)
    return mean, torch.where(variance > 0, variance, torch.ones_like(variance)).sqrt()


def _small(request: ImageRequest, *, test: bool = False) -> tuple[Tensor, Tensor, int]:
    """Read a part of a set that fits into memory: images, labels and the number of classes."""
    from torchvision import datasets

    known = next(known for known in KNOWN_SETS if known.name == request.data)
    root = find_data_dir(request.data_dir)
    part = {"split": "test" if test else "train"} if known.name == "svhn" else {"train": not test}
    make: Callable[..., Any] = getattr(datasets, known.title)
    try:
        with _alone(root) if request.download else nullcontext():
            found = make(root=root, download=request.download, **part)
    except RuntimeError as error:  # torchvision's word for files that are absent or damaged
        raise UserError(say_absent(known, root, test=test)) from error
    except OSError as error:
        raise UserError(f"{known.title} could not be fetched or read ({error})") from error
    labels = found.labels if known.name == "svhn" else found.targets
    pixels = torch.as_tensor(found.data)
    if pixels.dim() == 3:  # MNIST and its like have no dimension for their one channel
        pixels = pixels.unsqueeze(1)
    elif known.name != "svhn":
        pixels = pixels.permute(0, 3, 1, 2)
    num_classes = 100 if known.name == "cifar100" else 10
    return pixels.contiguous(), torch.as_tensor(labels, dtype=torch.int64), num_classes


def _fake(request: ImageRequest) -> tuple[Tensor, Tensor, int]:
    """Draw images of noise with labels of noise, by torchvision's FakeData."""
    from torchvision.datasets import FakeData
    from torchvision.transforms.v2.functional import pil_to_tensor

    size = request.image_size or _FAKE_SIZE
    found = FakeData(
        request.num_examples or _FAKE_EXAMPLES,
        (request.channels, size, size),
        request.num_classes,
        transform=pil_to_tensor,
    )
    pairs = [found[index] for index in range(len(found))]
    images = torch.stack([image for image, _ in pairs])
    return images, torch.tensor([label for _, label in pairs]), request.num_classes


def _from_folder(request: ImageRequest) -> Images:
    """Look photographs up in a folder with one folder per class, cut to squares of one size."""
    found = _read_folder(request, test=False)
    index = torch.arange(len(found))
    if request.num_examples is not None:
        index = _part(len(found), request.num_examples)
    split, held = _split(len(index), request.validation), None
    if request.validation == TEST_PART:
        held = _read_folder(request, test=True)
        if held.classes != found.classes:
            raise UserError(
                "imagenet/val has not one folder for each class of imagenet/train; sort its "
                "photographs into folders with the same names"
            )
    elif len(split.held):
        held = Subset(found, index[split.held].tolist())
    kept: Dataset[Any] = found
    if len(split.kept) < len(found):
        kept = Subset(found, index[split.kept].tolist())
    mean, std = torch.tensor(_PHOTO_MEAN), torch.tensor(_PHOTO_STD)
    size = request.image_size or _FOLDER_SIZE
    images = Images(3, size, len(found.classes), mean, std, dataset=kept, validation=held)
    if request.streamed is not False:
        return images
    pairs = [kept[place] for place in range(len(split.kept))]
    return replace(
        images,
        inputs=torch.stack([image for image, _ in pairs]),
        targets=torch.tensor([label for _, label in pairs]),
        dataset=None,
    )


def _read_folder(request: ImageRequest, *, test: bool) -> Any:  # noqa: ANN401  # an ImageFolder
    """Open a folder with one folder per class; its photographs are read as they are needed."""
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

    size, root = request.image_size or _FOLDER_SIZE, find_data_dir(request.data_dir)
    known, own = KNOWN_SETS[-1], request.folder
    if own is not None:
        known = KnownSet(own, own, own, own, "", "")
    to_square = v2.Compose(
        [v2.Resize(round(size * _RESIZE_RATIO)), v2.CenterCrop(size), v2.PILToTensor()]
    )
    try:
        return ImageFolder(root / (known.test_place if test else known.place), transform=to_square)
    except FileNotFoundError as error:
        raise UserError(say_absent(known, root, test=test)) from error


def _in_memory(inputs: Tensor, targets: Tensor, num_classes: int, request: ImageRequest) -> Images:
    """Put a set together: what is trained on, what is held out, and the whole set's moments."""
    mean, std = pixel_moments(inputs)
    if request.num_examples is not None:
        index = _part(len(inputs), request.num_examples)
        inputs, targets = inputs[index], targets[index]
    split = _split(len(inputs), request.validation)
    held: Batch | None = None
    if request.validation == TEST_PART:
        held_inputs, held_targets, _ = _small(request, test=True)
        held = held_inputs, held_targets
    elif len(split.held):
        held = inputs[split.held], targets[split.held]
        inputs, targets = inputs[split.kept], targets[split.kept]
    _, channels, size, _ = inputs.shape
    return Images(channels, size, num_classes, mean, std, inputs, targets, validation=held)


def _split(num_examples: int, validation: float | str) -> Split:
    """Hold a share out; the set's own test part is nothing to hold out."""
    share: Any = 0.0 if validation == TEST_PART else validation
    try:
        return split_examples(num_examples, share)
    except ValueError as error:
        raise UserError(f"{str(error).rstrip('.')}; or write test for the set's own") from error


def _as_dataset(images: Images) -> Images:
    assert images.inputs is not None
    assert images.targets is not None
    pairs = TensorDataset(images.inputs, images.targets)
    return replace(images, inputs=None, targets=None, dataset=pairs)


def _part(total: int, wanted: int) -> Tensor:
    """Return the indices of a fixed random part: a folder's files are sorted by class."""
    if not 1 <= wanted <= total:
        raise UserError(f"num_examples must be from 1 to {total}, the size of the set")
    return torch.randperm(total, generator=torch.Generator().manual_seed(0))[:wanted]


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Let one process of this machine download at a time."""
    from filelock import FileLock

    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / ".download.lock"):
        yield
