"""A model that cannot be stacked, because it looks at a number to decide what to do."""

import torch
from torch import Tensor, nn

from scaling_sweep.tasks.task import Task


class Clipped(nn.Module):
    """A perceptron that shrinks its hidden units when the largest of them is large."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = nn.Linear(8, 16)
        self.output = nn.Linear(16, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the outputs; `.item()` makes Python wait for a number, which no stack has."""
        hidden = torch.tanh(self.hidden(inputs))
        if (norm := hidden.norm().item()) > 10:
            hidden = hidden * (10 / norm)
        outputs: Tensor = self.output(hidden)
        return outputs


def looks_at_data() -> Task:
    """Build a regression on a thousand points; it trains by the loop engine."""
    inputs = torch.randn(1000, 8, generator=torch.Generator().manual_seed(0))
    return Task(
        name="looks_at_data",
        description="A perceptron that branches on its data, on a thousand points.",
        make_model=Clipped,
        loss=nn.functional.mse_loss,
        inputs=inputs,
        targets=inputs[:, :2].prod(1, keepdim=True),
    )
