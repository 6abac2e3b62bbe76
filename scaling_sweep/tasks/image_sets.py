"""The sets of images that torchvision reads: where they lie, and how to get them."""

import os
from dataclasses import dataclass
from pathlib import Path

DATA_DIR_VARIABLE = "SCALING_SWEEP_DATA"
DEFAULT_DATA_DIR = "data"


@dataclass(frozen=True)
class KnownSet:
    """A set that torchvision can read.

    Attributes:
        name: As the sweep file writes it.
        title: As people write it.
        place: File or folder under ``data_dir`` that shows it is there.
        test_place: The same of its test part.
        page: Where it comes from; for people.
        size: Of the download, in words; empty where torchvision cannot download it.
    """

    name: str
    title: str
    place: str
    test_place: str
    page: str
    size: str


KNOWN_SETS = (
    KnownSet(
        "mnist", "MNIST", "MNIST/raw", "MNIST/raw", "http://yann.lecun.com/exdb/mnist/", "12 MB"
    ),
    KnownSet(
        "fashion_mnist",
        "FashionMNIST",
        "FashionMNIST/raw",
        "FashionMNIST/raw",
        "https://github.com/zalandoresearch/fashion-mnist",
        "31 MB",
    ),
    KnownSet(
        "cifar10",
        "CIFAR10",
        "cifar-10-batches-py",
        "cifar-10-batches-py",
        "https://www.cs.toronto.edu/~kriz/cifar.html",
        "170 MB",
    ),
    KnownSet(
        "cifar100",
        "CIFAR100",
        "cifar-100-python",
        "cifar-100-python",
        "https://www.cs.toronto.edu/~kriz/cifar.html",
        "169 MB",
    ),
    KnownSet(
        "svhn",
        "SVHN",
        "train_32x32.mat",
        "test_32x32.mat",
        "http://ufldl.stanford.edu/housenumbers/",
        "182 MB, its test part 64 MB more,",
    ),
    KnownSet(
        "imagenet",
        "ImageNet",
        "imagenet/train",
        "imagenet/val",
        "https://image-net.org/download.php",
        "",
    ),
)
SET_NAMES = (*(known.name for known in KNOWN_SETS), "image_folder", "fake")
"""What a sweep file may write as ``data``."""


def find_data_dir(data_dir: str | None) -> Path:
    """Return torchvision's root folder: as given, ``$SCALING_SWEEP_DATA``, or ``data``."""
    return Path(data_dir or os.environ.get(DATA_DIR_VARIABLE) or DEFAULT_DATA_DIR).expanduser()


def say_absent(known: KnownSet, root: Path, *, test: bool) -> str:
    """Say in one line where data are expected and how to get them.

    Args:
        known: The set.
        root: Torchvision's root folder.
        test: Whether its test part is meant.

    Returns:
        A sentence without its full stop.
    """
    place = root / (known.test_place if test else known.place)
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
