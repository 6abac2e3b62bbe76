"""Items of differing length: a dataset with a collate function, and a mask made from padding."""

import pydoc_data.topics

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from scaling_sweep.tasks.task import Task

# Every batch is padded to the same length, whatever is in it: trials of several seeds train
# side by side, and their batches are stacked.
MAX_LENGTH, PADDING = 48, 0


class Words(Dataset[tuple[list[int], int]]):
    """Lines of Python's own help, and whether each ends in a full stop, which is cut off."""

    def __init__(self) -> None:
        text = "\n".join(pydoc_data.topics.topics.values())
        lines = [line.strip() for line in text.splitlines()]
        self.lines = [line for line in lines if 8 < len(line) <= MAX_LENGTH][:2000]

    def __len__(self) -> int:
        """Return the number of lines."""
        return len(self.lines)

    def __getitem__(self, index: int) -> tuple[list[int], int]:
        """Return the numbers of a line's characters, as many as it has, and its label."""
        line = self.lines[index]
        numbers = [min(ord(character), 127) for character in line.removesuffix(".")]
        return numbers, int(line.endswith("."))


def pad(items: list[tuple[list[int], int]]) -> tuple[Tensor, Tensor]:
    """Return characters, shape ``[num_items, MAX_LENGTH]``, and labels, shape ``[num_items]``."""
    inputs = torch.full((len(items), MAX_LENGTH), PADDING)
    for row, (numbers, _) in enumerate(items):
        inputs[row, : len(numbers)] = torch.tensor(numbers)
    return inputs, torch.tensor([label for _, label in items])


class MeanOfCharacters(nn.Module):
    """Embeds characters, averages those that are no padding, and classifies."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(128, width)
        self.layers = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2))

    def forward(self, inputs: Tensor) -> Tensor:
        """Return logits, shape ``[batch_size, 2]``."""
        mask = (inputs != PADDING).unsqueeze(-1)
        mean = (self.embedding(inputs) * mask).sum(1) / mask.sum(1)
        logits: Tensor = self.layers(mean)
        return logits


def variable_length(width: int = 32) -> Task:
    """Build the task."""
    return Task(
        name="variable_length",
        description="A mean of embedded characters on lines of differing length.",
        make_model=lambda: MeanOfCharacters(width),
        loss=nn.functional.cross_entropy,
        dataset=Words(),
        collate=pad,
    )
