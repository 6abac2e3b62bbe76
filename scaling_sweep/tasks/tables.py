"""scikit-learn's shipped tables, for a perceptron or a linear model: nothing is downloaded."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from scaling_sweep.tasks.held_out import hold_out, split_examples
from scaling_sweep.tasks.metrics import accuracy
from scaling_sweep.tasks.sizes import check_at_least
from scaling_sweep.tasks.task import Task


def wine(width: int = 64, depth: int = 2, validation: float = 0.0) -> Task:
    """Build a classifier of 178 Italian wines into 3 cultivars by 13 measured columns.

    Args:
        width: Units in each hidden layer, at least 1.
        depth: Number of hidden ReLU layers, at least 0; 0 is multinomial logistic regression.
        validation: Share of the rows held out, in [0, 1): the same ones always. Training then has
            the others only, and columns are standardised by those. The validation metric is
            accuracy.

    Returns:
        The task; its loss is the cross-entropy in nats, log 3 = 1.099 at chance.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> wine(depth=0).make_model()(torch.zeros(2, 13)).shape
        torch.Size([2, 3])
    """
    from sklearn.datasets import load_wine

    return _classifier("wine", "178 wines in 3 classes", load_wine, width, depth, validation)


def breast_cancer(width: int = 64, depth: int = 2, validation: float = 0.0) -> Task:
    """Build a classifier of 569 tumours into malignant and benign by 30 measured columns.

    Args:
        width: Units in each hidden layer, at least 1.
        depth: Number of hidden ReLU layers, at least 0; 0 is logistic regression.
        validation: Share of the rows held out, in [0, 1): the same ones always. Training then has
            the others only, and columns are standardised by those. The validation metric is
            accuracy.

    Returns:
        The task; its loss is the cross-entropy in nats, log 2 = 0.693 at chance.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> breast_cancer().num_examples
        569
    """
    from sklearn.datasets import load_breast_cancer

    return _classifier(
        "breast_cancer", "569 tumours in 2 classes", load_breast_cancer, width, depth, validation
    )


def diabetes(width: int = 64, depth: int = 2, validation: float = 0.0) -> Task:
    """Build a regression on 442 patients: the disease's progression by 10 measured columns.

    Args:
        width: Units in each hidden layer, at least 1.
        depth: Number of hidden ReLU layers, at least 0; 0 is linear least squares.
        validation: Share of the rows held out, in [0, 1): the same ones always. Training then has
            the others only, and columns are standardised by those.

    Returns:
        The task; its loss is the mean squared error in units of the target's variance: 1 for
        predicting the mean, 0.482 for the best linear model.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> diabetes().targets.var(correction=0)
        tensor(1.)
    """
    from sklearn.datasets import load_diabetes

    data = load_diabetes()
    targets = torch.tensor(data.target, dtype=torch.float64)[:, None]
    kept = split_examples(len(targets), validation).kept
    task = Task(
        name="diabetes",
        description=f"{_model_words(width, depth)} on 442 patients, loss in variances.",
        make_model=_perceptron(data.data.shape[1], width, depth, 1),
        loss=functional.mse_loss,
        inputs=_standardise(torch.tensor(data.data), kept),
        targets=_standardise(targets, kept),
    )
    return hold_out(task, validation)


def _classifier(
    name: str, what: str, load: Callable[[], Any], width: int, depth: int, validation: float
) -> Task:
    data = load()
    kept = split_examples(len(data.target), validation).kept
    num_features, num_classes = data.data.shape[1], len(data.target_names)
    task = Task(
        name=name,
        description=f"{_model_words(width, depth)} on {what}.",
        make_model=_perceptron(num_features, width, depth, num_classes),
        loss=functional.cross_entropy,
        inputs=_standardise(torch.tensor(data.data), kept),
        targets=torch.tensor(data.target, dtype=torch.int64),
    )
    return hold_out(task, validation, accuracy)


def _standardise(columns: Tensor, kept: Tensor) -> Tensor:
    """Move and scale ``[num_examples, num_columns]`` to mean 0 and variance 1 of the kept rows."""
    known = columns[kept]
    return ((columns - known.mean(0)) / known.std(0, correction=0)).float()


def _model_words(width: int, depth: int) -> str:
    return f"A ReLU perceptron ({depth} × {width})" if depth else "A linear model"


def _perceptron(
    num_inputs: int, width: int, depth: int, num_outputs: int
) -> Callable[[], nn.Module]:
    check_at_least("width", width, 1)
    check_at_least("depth", depth, 0)

    def make_model() -> nn.Module:
        layers: list[nn.Module] = []
        for before, after in pairwise([num_inputs, *[width] * depth]):
            layers += [nn.Linear(before, after), nn.ReLU()]
        return nn.Sequential(*layers, nn.Linear(width if depth else num_inputs, num_outputs))

    return make_model
