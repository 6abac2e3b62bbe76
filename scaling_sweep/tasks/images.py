"""Sets of images by name, read by torchvision's own code from where they lie."""

import os
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

DATA_DIR_VARIABLE = "SCALING_SWEEP_DATA"
DEFAULT_DATA_DIR = "data"
# Moments of ImageNet's pixels, as in torchvision's own recipes; for any folder of photographs.
_PHOTO_MEAN, _PHOTO_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
# As torchvision's recipes evaluate: the short side 256 where the model sees 224.
_RESIZE_RATIO = 256 / 224
_FAKE_EXAMPLES, _FAKE_SIZE, _FOLDER_SIZE = 1000, 32, 224


@dataclass(frozen=True)
class KnownSet:
    """A set that torchvision can read.

    Attributes:
        name: As the sweep file writes it.
        title: As people write it.
        place: File or folder under ``data_dir`` that shows it is there.
        page: Where it comes from; for people.
        size: Of the download, in words; empty where torchvision cannot download it.
    """

    name: str
    title: str
    place: str
    page: str
    size: str


KNOWN_SETS = (
    KnownSet("mnist", "MNIST", "MNIST/raw", "http://yann.lecun.com/exdb/mnist/", "12 MB"),
    KnownSet(
        "fashion_mnist",
        "FashionMNIST",
        "FashionMNIST/raw",
        "https://github.com/zalandoresearch/fashion-mnist",
        "31 MB",
    ),
    KnownSet(
        "cifar10",
        "CIFAR10",
        "cifar-10-batches-py",
        "https://www.cs.toronto.edu/~kriz/cifar.html",
        "170 MB",
    ),
    KnownSet(
        "cifar100",
        "CIFAR100",
        "cifar-100-python",
        "https://www.cs.toronto.edu/~kriz/cifar.html",
        "169 MB",
    ),
    KnownSet(
        "svhn", "SVHN", "train_32x32.mat", "http://ufldl.stanford.edu/housenumbers/", "182 MB"
    ),
    KnownSet("imagenet", "ImageNet", "imagenet/train", "https://image-net.org/download.php", ""),
)
SET_NAMES = (*(known.name for known in KNOWN_SETS), "image_folder", "fake")


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
    """

    channels: int
    size: int
    num_classes: int
    mean: Tensor
    std: Tensor
    inputs: Tensor | None = None
    targets: Tensor | None = None
    dataset: Dataset[Any] | None = None


def load_images(request: ImageRequest) -> Images:
    """Read a set of images.

    Args:
        request: Which, and from where.

    Returns:
        The training images.

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
    if request.data in {"imagenet", "image_folder"}:
        return _from_folder(request)
    inputs, targets, num_classes = _fake(request) if request.data == "fake" else _small(request)
    images = _in_memory(inputs, targets, num_classes, request.num_examples)
    return _as_dataset(images) if request.streamed else images


def find_data_dir(data_dir: str | None) -> Path:
    """Return torchvision's root folder: as given, ``$SCALING_SWEEP_DATA``, or ``data``."""
    return Path(data_dir or os.environ.get(DATA_DIR_VARIABLE) or DEFAULT_DATA_DIR).expanduser()


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


def _small(request: ImageRequest) -> tuple[Tensor, Tensor, int]:
    """Read a set that fits into memory: images, labels and the number of classes."""
    from torchvision import datasets

    known = next(known for known in KNOWN_SETS if known.name == request.data)
    root = find_data_dir(request.data_dir)
    split: dict[str, Any] = {"split": "train"} if known.name == "svhn" else {"train": True}
    make: Callable[..., Any] = getattr(datasets, known.title)
    try:
        with _alone(root) if request.download else nullcontext():
            found = make(root=root, download=request.download, **split)
    except RuntimeError as error:  # torchvision's word for files that are absent or damaged
        raise UserError(_absent(known, root)) from error
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
    from torchvision.datasets import ImageFolder
    from torchvision.transforms import v2

    place = "imagenet/train" if request.folder is None else request.folder
    root, size = find_data_dir(request.data_dir), request.image_size or _FOLDER_SIZE
    to_square = v2.Compose(
        [v2.Resize(round(size * _RESIZE_RATIO)), v2.CenterCrop(size), v2.PILToTensor()]
    )
    try:
        found = ImageFolder(root / place, transform=to_square)
    except FileNotFoundError as error:
        known = KnownSet(place, place, place, "", "") if request.folder else KNOWN_SETS[-1]
        raise UserError(_absent(known, root)) from error
    dataset: Dataset[Any] = found
    if request.num_examples is not None:
        dataset = Subset(found, _part(len(found), request.num_examples).tolist())
    mean, std = torch.tensor(_PHOTO_MEAN), torch.tensor(_PHOTO_STD)
    images = Images(3, size, len(found.classes), mean, std, dataset=dataset)
    if request.streamed is not False:
        return images
    pairs = [dataset[index] for index in range(len(dataset))]  # type: ignore[arg-type]  # has one
    return replace(
        images,
        inputs=torch.stack([image for image, _ in pairs]),
        targets=torch.tensor([label for _, label in pairs]),
        dataset=None,
    )


def _in_memory(inputs: Tensor, targets: Tensor, num_classes: int, part: int | None) -> Images:
    mean, std = pixel_moments(inputs)
    if part is not None:
        index = _part(len(inputs), part)
        inputs, targets = inputs[index], targets[index]
    _, channels, size, _ = inputs.shape
    return Images(channels, size, num_classes, mean, std, inputs, targets)


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


def _absent(known: KnownSet, root: Path) -> str:
    """Say in one line where data are expected and how to get them."""
    place = root / known.place
    what = "not complete or not intact in" if known.size and place.exists() else "not in"
    if known.size:
        get = f"write download: true in the task's args ({known.size} from {known.page})"
    elif known.page:
        get = f"get it from {known.page} and put one folder of images for each class there"
    else:
        get = "put one folder of images for each class there"
    return (
        f"{known.title} is {what} {place}; {get}, "
        f"or give the folder above it as data_dir or in ${DATA_DIR_VARIABLE}"
    )


@contextmanager
def _alone(root: Path) -> Iterator[None]:
    """Let one process of this machine download at a time."""
    from filelock import FileLock

    root.mkdir(parents=True, exist_ok=True)
    with FileLock(root / ".download.lock"):
        yield
