"""scikit-learn's 1,797 real 8×8 images of handwritten digits, for a perceptron and for a CNN."""

import importlib.util
import math
from itertools import pairwise
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from scaling_sweep.tasks.held_out import hold_out
from scaling_sweep.tasks.metrics import accuracy
from scaling_sweep.tasks.sizes import check_at_least, check_share
from scaling_sweep.tasks.task import Task

NUM_PIXELS = 64
NUM_CLASSES = 10
# Mean and standard deviation of all pixels of all images, which hold counts from 0 to 16
# (computed; a test does it again). Standardised so, training at B = 1 halves the loss well
# within 300 steps; with pixels in [0, 1] it does not at any learning rate.
PIXEL_MEAN, PIXEL_STD = 4.8842, 6.0168
# Of channels in GroupNorm: so few that the small models here have several in each (a choice).
_GROUPS = 8

Norm = Literal["none", "batch", "layer", "group"]


def digits_mlp(
    width: int = 128,
    depth: int = 2,
    norm: Norm = "none",
    dropout: float = 0.0,
    validation: float = 0.0,
) -> Task:
    """Build a ReLU perceptron on the digits, ``64 → width × depth → 10``.

    Args:
        width: Units in each hidden layer, at least 1.
        depth: Number of hidden layers, at least 0 (0 is multinomial logistic regression).
        norm: What normalises the units before each ReLU: ``batch``, ``layer``, ``group`` (8 groups,
            fewer where 8 does not divide the width) or ``none``.
        dropout: Share of units dropped after each ReLU, in [0, 1).
        validation: Share of the images held out, in [0, 1): the same ones always. Training then
            has the others only; the validation metric is accuracy.

    Returns:
        The task; its loss is the cross-entropy in nats, log 10 = 2.303 at chance.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> digits_mlp(width=32).num_examples
        1797
        >>> digits_mlp(validation=0.2).num_examples
        1438
    """
    check_at_least("width", width, 1)
    check_at_least("depth", depth, 0)
    _check_words(norm, dropout)

    def make_model() -> nn.Module:
        sizes = [NUM_PIXELS] + [width] * depth
        layers: list[nn.Module] = []
        for num_inputs, num_outputs in pairwise(sizes):
            layers += [
                nn.Linear(num_inputs, num_outputs),
                *_norm_1d(norm, num_outputs),
                nn.ReLU(),
                *([nn.Dropout(dropout)] if dropout else []),
            ]
        return nn.Sequential(*layers, nn.Linear(sizes[-1], NUM_CLASSES))

    images, labels = _load_digits()
    task = Task(
        name="digits_mlp",
        description="A ReLU perceptron (64-128-128-10) on 1,797 real 8×8 images of digits.",
        make_model=make_model,
        loss=functional.cross_entropy,
        inputs=images.flatten(1),
        targets=labels,
    )
    return hold_out(task, validation, accuracy)


def digits_cnn(
    width: int = 16,
    depth: int = 2,
    norm: Norm = "none",
    dropout: float = 0.0,
    validation: float = 0.0,
) -> Task:
    """Build a small convolutional net on the digits: 3×3 convolutions, mean pool, linear.

    Args:
        width: Channels of each convolution, at least 1.
        depth: Number of convolutions, at least 1; the second halves the resolution.
        norm: What normalises the channels before each ReLU: ``batch``, ``layer`` (all channels and
            places of an image), ``group`` (8 groups of channels, fewer where 8 does not divide the
            width) or ``none``.
        dropout: Share of the last layer's inputs that is dropped, in [0, 1).
        validation: Share of the images held out, in [0, 1): the same ones always. Training then
            has the others only; the validation metric is accuracy.

    Returns:
        The task; its loss is the cross-entropy in nats.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> digits_cnn(width=4).make_model()(torch.zeros(2, 1, 8, 8)).shape
        torch.Size([2, 10])
    """
    check_at_least("width", width, 1)
    check_at_least("depth", depth, 1)
    _check_words(norm, dropout)

    def make_model() -> nn.Module:
        layers: list[nn.Module] = []
        for layer in range(depth):
            stride = 2 if layer == 1 else 1
            num_inputs = width if layer else 1
            layers += [
                nn.Conv2d(num_inputs, width, 3, stride=stride, padding=1),
                *_norm_2d(norm, width),
                nn.ReLU(),
            ]
        num_features = width * 4  # pooled to 2 × 2
        return nn.Sequential(
            *layers,
            nn.AdaptiveAvgPool2d(2),
            nn.Flatten(),
            *([nn.Dropout(dropout)] if dropout else []),
            nn.Linear(num_features, NUM_CLASSES),
        )

    images, labels = _load_digits()
    task = Task(
        name="digits_cnn",
        description="A small convolutional net on 1,797 real 8×8 images of digits.",
        make_model=make_model,
        loss=functional.cross_entropy,
        inputs=images.unsqueeze(1),
        targets=labels,
    )
    return hold_out(task, validation, accuracy)


def _check_words(norm: object, dropout: object) -> None:
    """Raise ValueError where a norm is unknown or a share of dropout out of range."""
    if norm not in get_args(Norm):
        raise ValueError(f"norm must be one of {', '.join(get_args(Norm))}; got {norm!r}.")
    check_share("dropout", dropout)


def _norm_1d(norm: Norm, width: int) -> list[nn.Module]:
    """Return the layer that normalises ``[batch_size, width]``, or none."""
    if norm == "batch":
        return [nn.BatchNorm1d(width)]
    if norm == "layer":
        return [nn.LayerNorm(width)]
    return [nn.GroupNorm(math.gcd(_GROUPS, width), width)] if norm == "group" else []


def _norm_2d(norm: Norm, width: int) -> list[nn.Module]:
    """Return the layer that normalises ``[batch_size, width, height, width]``, or none."""
    if norm == "batch":
        return [nn.BatchNorm2d(width)]
    if norm == "layer":
        return [nn.GroupNorm(1, width)]
    return [nn.GroupNorm(math.gcd(_GROUPS, width), width)] if norm == "group" else []


def _load_digits() -> tuple[Tensor, Tensor]:
    """Return the standardised images, shape ``[1797, 8, 8]``, and their labels."""
    table = _read_digits()
    images = torch.tensor(table[:, :-1].reshape(-1, 8, 8), dtype=torch.float32)
    images = (images - PIXEL_MEAN) / PIXEL_STD
    return images, torch.tensor(table[:, -1], dtype=torch.int64)


def _read_digits() -> np.ndarray:
    """Return scikit-learn's digits, 64 pixels and the label in a row, from the file it brings.

    Importing scikit-learn for them takes nearly a second of every worker's start (measured).
    """
    package = importlib.util.find_spec("sklearn")
    if package is not None and package.origin is not None:
        file = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
        if file.exists():
            return np.loadtxt(file, delimiter=",")
    from sklearn.datasets import load_digits  # wherever another version keeps them

    digits = load_digits()
    return np.column_stack([digits.data, digits.target])
