"""Tiny data sets written to disk in the formats that torchvision reads."""

import gzip
import hashlib
import pickle
import struct
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from torchvision import datasets


def random_images(num: int, *shape: int) -> np.ndarray:
    """Return bytes of noise."""
    return np.random.default_rng(5).integers(0, 256, (num, *shape), dtype=np.uint8)


def labels_of(num: int, num_classes: int) -> np.ndarray:
    """Return labels that visit every class."""
    return np.arange(num) * 7 % num_classes


def md5(path: Path) -> str:
    """Return the checksum torchvision would find."""
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def write_mnist(
    root: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> tuple[np.ndarray, np.ndarray]:
    """Write the four gzipped idx files as they are downloaded, and make their checksums known."""
    images, labels = random_images(20, 28, 28), labels_of(20, 10)
    raw = root / name / "raw"
    raw.mkdir(parents=True)
    resources = []
    for part, number in (("train", 20), ("t10k", 4)):
        header = struct.pack(">IIII", 0x803, number, 28, 28)
        files = {
            f"{part}-images-idx3-ubyte.gz": header + images[:number].tobytes(),
            f"{part}-labels-idx1-ubyte.gz": struct.pack(">II", 0x801, number)
            + labels[:number].astype(np.uint8).tobytes(),
        }
        for file, content in files.items():
            (raw / file).write_bytes(gzip.compress(content))
            resources.append((file, md5(raw / file)))
    monkeypatch.setattr(getattr(datasets, name), "resources", resources)
    return images, labels


def write_cifar(
    root: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> tuple[np.ndarray, np.ndarray]:
    """Write the archive of pickles as it is downloaded, and make its checksums known."""
    kind = getattr(datasets, name)
    num_classes = 10 if name == "CIFAR10" else 100
    key = "labels" if name == "CIFAR10" else "fine_labels"
    parts = [file for file, _ in kind.train_list]
    num = 100 // len(parts)
    images, labels = random_images(100, 3, 32, 32), labels_of(100, num_classes)
    folder = root / "made" / kind.base_folder
    folder.mkdir(parents=True)
    for index, file in enumerate([*parts, kind.test_list[0][0]]):
        rows = slice(index * num, (index + 1) * num) if index < len(parts) else slice(0, 2)
        entry = {"data": images[rows].reshape(-1, 3072), key: labels[rows].tolist()}
        (folder / file).write_bytes(pickle.dumps(entry))
    meta = dict(kind.meta)
    names = {meta["key"]: [f"class {i}" for i in range(num_classes)]}
    (folder / meta["filename"]).write_bytes(pickle.dumps(names))
    with tarfile.open(root / kind.filename, "w:gz") as archive:
        archive.add(folder, kind.base_folder)
    monkeypatch.setattr(kind, "tgz_md5", md5(root / kind.filename))
    for table in ("train_list", "test_list"):
        listed = [[file, md5(folder / file)] for file, _ in getattr(kind, table)]
        monkeypatch.setattr(kind, table, listed)
    monkeypatch.setattr(kind, "meta", {**meta, "md5": md5(folder / meta["filename"])})
    return images, labels


def write_svhn(
    root: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> tuple[np.ndarray, np.ndarray]:
    """Write the MATLAB files, where the digit 0 has label 10, and make their checksums known."""
    images, labels = random_images(30, 3, 32, 32), labels_of(30, 10)
    as_stored = np.where(labels == 0, 10, labels)[:, None].astype(np.uint8)
    table = dict(datasets.SVHN.split_list)
    for part, number in (("train", 30), ("test", 5)):
        path = root / f"{part}_32x32.mat"
        savemat(path, {"X": images[:number].transpose(2, 3, 1, 0), "y": as_stored[:number]})
        table[part] = [*table[part][:2], md5(path)]
    monkeypatch.setattr(datasets.SVHN, "split_list", table)
    return images, labels


def write_folder(root: Path, num_per_class: int = 4, size: int = 40) -> None:
    """Write PNGs of three classes, each of one colour that tells class and number."""
    for kind, name in enumerate(("ants", "bees", "cats")):
        (root / name).mkdir(parents=True)
        for number in range(num_per_class):
            colour = (120 * kind, 10 * number, 255 - 120 * kind)
            Image.new("RGB", (size, size + 8), colour).save(root / name / f"{number}.png")
