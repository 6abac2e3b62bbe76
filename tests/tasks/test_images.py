"""Sets of images: each real format through torchvision's own code, and what is said without."""

import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from scaling_sweep.errors import UserError
from scaling_sweep.tasks.image_sets import DATA_DIR_VARIABLE
from scaling_sweep.tasks.images import ImageRequest, Images, load_images, pixel_moments
from tests.tasks.image_files import write_cifar, write_folder, write_mnist, write_svhn

FORMATS = [
    ("mnist", "MNIST", write_mnist),
    ("fashion_mnist", "FashionMNIST", write_mnist),
    ("cifar10", "CIFAR10", write_cifar),
    ("cifar100", "CIFAR100", write_cifar),
    ("svhn", "SVHN", write_svhn),
]
Write = Callable[[Path, str, pytest.MonkeyPatch], tuple[np.ndarray, np.ndarray]]


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let whatever would reach out fail at once."""

    def refuse(*_: object, **__: object) -> None:
        raise OSError("no network in tests")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.delenv(DATA_DIR_VARIABLE, raising=False)


def pairs(images: Images) -> tuple[torch.Tensor, torch.Tensor]:
    """Return images and labels of either form."""
    if images.inputs is not None and images.targets is not None:
        return images.inputs, images.targets
    found = [images.dataset[index] for index in range(len(images.dataset))]
    return torch.stack([image for image, _ in found]), torch.tensor([int(y) for _, y in found])


@pytest.mark.parametrize("streamed", [None, True])
@pytest.mark.parametrize(("data", "name", "write"), FORMATS, ids=[row[0] for row in FORMATS])
def test_a_set_is_read_in_its_own_format(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    data: str,
    name: str,
    write: Write,
    streamed: bool | None,
) -> None:
    """Downloaded files become the images and labels that were written, as bytes, checked once."""
    images, labels = write(tmp_path, name, monkeypatch)
    # With the archives in place torchvision unpacks and checks, and asks for nothing.
    first = ImageRequest(data, str(tmp_path), download=True, streamed=streamed)
    for request in (first, ImageRequest(data, str(tmp_path), streamed=streamed)):
        found = load_images(request)
        inputs, targets = pairs(found)
        assert inputs.dtype == torch.uint8
        assert np.array_equal(inputs.numpy(), images.reshape(inputs.shape))
        assert np.array_equal(targets.numpy(), labels)
        assert (found.channels, found.size) == (inputs.shape[1], inputs.shape[2])
        assert found.num_classes == (100 if data == "cifar100" else 10)
        assert (found.dataset is not None) == bool(streamed)


@pytest.mark.parametrize(("data", "name", "write"), FORMATS, ids=[row[0] for row in FORMATS])
def test_the_test_part_of_a_set_is_held_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: str, name: str, write: Write
) -> None:
    """It is read from its own files; training has all of its own images, and their moments."""
    images, labels = write(tmp_path, name, monkeypatch)
    found = load_images(ImageRequest(data, str(tmp_path), download=True, validation="test"))
    plain = load_images(ImageRequest(data, str(tmp_path)))
    num = {"MNIST": 4, "FashionMNIST": 4, "SVHN": 5}.get(name, 2)  # as the files were written

    assert isinstance(found.validation, tuple)
    held, kinds = found.validation
    assert np.array_equal(held.numpy(), images[:num].reshape(held.shape))
    assert np.array_equal(kinds.numpy(), labels[:num])
    assert torch.equal(pairs(found)[0], pairs(plain)[0])
    assert torch.equal(found.mean, plain.mean)
    assert plain.validation is None


def test_a_missing_test_part_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """SVHN has a file for each part; without that of the test part the line names it."""
    write_svhn(tmp_path, "SVHN", monkeypatch)
    (tmp_path / "test_32x32.mat").unlink()

    load_images(ImageRequest("svhn", str(tmp_path)))
    with pytest.raises(UserError, match=r"SVHN is not in .*test_32x32\.mat; write download: true"):
        load_images(ImageRequest("svhn", str(tmp_path), validation="test"))


@pytest.mark.parametrize("form", ["fake", "folder", "streamed"])
def test_a_share_held_out_is_in_no_other_part(tmp_path: Path, form: str) -> None:
    """Training and held-out images together are all of them, each once, always the same ones."""
    write_folder(tmp_path / "birds")
    where = ("image_folder", str(tmp_path), False, "birds", 8)
    request = ImageRequest(*where) if form != "fake" else ImageRequest("fake", num_examples=12)
    request = replace(request, streamed={"folder": False, "streamed": True}.get(form))

    def images(found: Images) -> list[bytes]:
        return [image.numpy().tobytes() for image in pairs(found)[0]]

    def held(found: Images) -> list[bytes]:
        kept = found.validation
        parts = {"dataset": None, "inputs": None, "targets": None}
        if isinstance(kept, tuple):
            return images(replace(found, **{**parts, "inputs": kept[0], "targets": kept[1]}))
        return images(replace(found, **{**parts, "dataset": kept}))

    found, again = (load_images(replace(request, validation=0.25)) for _ in range(2))

    assert len(held(found)) == 3
    assert held(found) == held(again)
    assert sorted(images(found) + held(found)) == sorted(images(load_images(request)))
    assert load_images(request).validation is None


def test_imagenets_validation_photographs_are_held_out(tmp_path: Path) -> None:
    """They are looked up in their own folder, whose classes must be those of training."""
    write_folder(tmp_path / "imagenet" / "train")
    request = ImageRequest("imagenet", str(tmp_path), image_size=8, validation="test")
    with pytest.raises(UserError, match=r"ImageNet is not in .*imagenet/val; get it from http"):
        load_images(request)
    write_folder(tmp_path / "imagenet" / "val", num_per_class=1)
    found = load_images(request)

    assert (len(found.dataset), len(found.validation)) == (12, 3)
    assert [label for _, label in found.validation] == [0, 1, 2]
    (tmp_path / "imagenet" / "val" / "ants").rename(tmp_path / "imagenet" / "val" / "apes")
    with pytest.raises(UserError, match="not one folder for each class of imagenet/train"):
        load_images(request)


@pytest.mark.parametrize(("data", "name", "write"), FORMATS, ids=[row[0] for row in FORMATS])
def test_missing_data_say_where_they_are_expected(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    data: str,
    name: str,
    write: Write,
) -> None:
    """One line names the place, the switch, the page and the other ways to say where data lie."""
    monkeypatch.setenv(DATA_DIR_VARIABLE, str(tmp_path))
    with pytest.raises(UserError) as caught:
        load_images(ImageRequest(data))
    message = str(caught.value)

    assert "\n" not in message
    assert f"{name} is not in {tmp_path}" in message
    for word in ("download: true", "http", "data_dir", DATA_DIR_VARIABLE, "MB"):
        assert word in message


def test_damaged_data_are_not_trained_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that torchvision's checksum does not know is refused."""
    write_cifar(tmp_path, "CIFAR10", monkeypatch)
    load_images(ImageRequest("cifar10", str(tmp_path), download=True))
    part = tmp_path / "cifar-10-batches-py" / "data_batch_3"
    part.write_bytes(part.read_bytes()[:-1] + b"!")

    with pytest.raises(UserError, match=r"not complete or not intact in .*cifar-10-batches-py"):
        load_images(ImageRequest("cifar10", str(tmp_path)))


def test_a_download_that_fails_is_one_line(tmp_path: Path) -> None:
    """Without a network the reason is given."""
    with pytest.raises(UserError, match=r"SVHN could not be fetched or read \(no network in tests"):
        load_images(ImageRequest("svhn", str(tmp_path), download=True))


@pytest.mark.parametrize("streamed", [None, False])
def test_a_folder_of_photographs_is_read_class_by_class(
    tmp_path: Path, streamed: bool | None
) -> None:
    """PNGs of any size become squares of the size asked for, with the folder's order as labels."""
    write_folder(tmp_path / "birds")
    request = ImageRequest(
        "image_folder", str(tmp_path), folder="birds", image_size=16, streamed=streamed
    )
    found = load_images(request)
    inputs, targets = pairs(found)

    assert (found.num_classes, found.size, found.channels) == (3, 16, 3)
    assert (found.dataset is None) == (streamed is False)
    assert inputs.shape == (12, 3, 16, 16)
    assert targets.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    expected = [(120 * kind, 10 * row, 255 - 120 * kind) for kind in range(3) for row in range(4)]
    assert [tuple(image[:, 8, 8].tolist()) for image in inputs] == expected


def test_imagenet_is_a_folder_in_its_place(tmp_path: Path) -> None:
    """The extracted training set is read; where it is absent, its page is named."""
    with pytest.raises(UserError, match=r"ImageNet is not in .*imagenet/train; get it from http"):
        load_images(ImageRequest("imagenet", str(tmp_path)))
    write_folder(tmp_path / "imagenet" / "train")

    assert load_images(ImageRequest("imagenet", str(tmp_path))).dataset[0][0].shape == (3, 224, 224)


def test_a_part_is_random_fixed_and_drawn_from_all_classes(tmp_path: Path) -> None:
    """A part of a folder sorted by class holds several classes, and the same at every reading."""
    write_folder(tmp_path / "birds", num_per_class=20)
    request = ImageRequest(
        "image_folder", str(tmp_path), folder="birds", image_size=4, num_examples=15
    )
    first, again = (pairs(load_images(request)) for _ in range(2))

    assert len(first[1]) == 15
    assert set(first[1].tolist()) == {0, 1, 2}
    torch.testing.assert_close(first, again, rtol=0, atol=0)


def test_moments_are_those_of_the_pixels() -> None:
    """Counting the 256 values gives the mean and deviation of the pixels in floating point."""
    images = torch.randint(0, 256, (7, 3, 5, 6), dtype=torch.uint8)
    images[:, 2] = 9
    mean, std = pixel_moments(images)
    pixels = images.double().transpose(0, 1).flatten(1) / 255

    torch.testing.assert_close(mean, pixels.mean(1))
    torch.testing.assert_close(std[:2], pixels[:2].std(1, correction=0))
    assert std[2] == 1


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (ImageRequest("cifra10"), "did you mean cifar10"),
        (ImageRequest("zzz"), "known are mnist"),
        (ImageRequest("image_folder"), "takes folder"),
        (ImageRequest("fake", folder="x"), "takes folder"),
        (ImageRequest("fake", validation="test"), "no test part of its own; hold a share out"),
        (ImageRequest("fake", validation="tset"), "number from 0 to below 1; got 'tset'; or write"),
        (ImageRequest("fake", validation=1), "number from 0 to below 1; got 1"),
        (ImageRequest("fake", num_examples=2, validation=0.9), "2 examples leaves none to train"),
        (ImageRequest("image_folder", "/nowhere", folder="x"), "x is not in /nowhere/x; put one"),
    ],
)
def test_what_is_no_set_is_refused(request_: ImageRequest, message: str) -> None:
    """A slip is answered in one line."""
    with pytest.raises(UserError, match=message) as caught:
        load_images(request_)

    assert "\n" not in str(caught.value)
