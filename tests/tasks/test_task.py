"""What a task must be, and what is said when it is not."""

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from scaling_sweep.tasks.task import Batch, Task

X, Y = torch.zeros(6, 3), torch.zeros(6, 1)


def make(**data: object) -> Task:
    """Return a task with these data."""
    return Task("t", "A task.", lambda: nn.Linear(3, 1), nn.functional.mse_loss, **data)


def draw(generator: torch.Generator, batch_size: int) -> Batch:
    """Draw nothing of interest."""
    return torch.zeros(batch_size, 3), torch.zeros(batch_size, 1)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"inputs": X, "targets": Y}, 6),
        ({"dataset": TensorDataset(X, Y)}, 6),
        ({"stream": draw}, None),
    ],
    ids=["tensors", "dataset", "stream"],
)
def test_each_form_of_data_knows_its_size(data: dict[str, object], expected: int | None) -> None:
    """Finite data count their examples; a stream has none to count."""
    assert make(**data).num_examples == expected


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({}, "one form .* got 0"),
        ({"inputs": X, "targets": Y, "stream": draw}, "one form .* got 2"),
        ({"dataset": TensorDataset(X, Y), "stream": draw}, "one form .* got 2"),
        ({"inputs": X}, "both inputs and targets"),
        ({"targets": Y}, "both inputs and targets"),
        ({"inputs": X, "targets": Y[:5]}, "6 inputs but 5 targets"),
    ],
    ids=["none", "two", "dataset-and-stream", "no-targets", "no-inputs", "unequal"],
)
def test_data_in_no_clear_form_are_refused(data: dict[str, Tensor], message: str) -> None:
    """A task without data, with two kinds of them, or with halves of one, says which."""
    with pytest.raises(ValueError, match=message) as caught:
        make(**data)

    assert "'t'" in str(caught.value)
