"""A model with batch normalisation and dropout."""

from sklearn.datasets import load_digits
from torch import nn, tensor

from scaling_sweep.tasks.task import Task


def normalised(width: int = 32, dropout: float = 0.2) -> Task:
    """Build the task; with dropout: 0 its copies can be stacked."""
    digits = load_digits()

    def make_model() -> nn.Module:
        return nn.Sequential(
            nn.Linear(64, width),
            nn.BatchNorm1d(width),  # each copy has running statistics of its own
            nn.ReLU(),
            nn.Dropout(dropout),  # masks depend on seed, batch size and step only
            nn.Linear(width, 10),
        )

    return Task(
        name="normalised",
        description="A perceptron with BatchNorm and dropout on the digits.",
        make_model=make_model,
        loss=nn.functional.cross_entropy,
        inputs=tensor(digits.data).float() / 8 - 1,
        targets=tensor(digits.target),
    )
