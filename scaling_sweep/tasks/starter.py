"""A task of your own: what is trained, on what data, by which loss. It runs as it is.

Change the parts marked (1) to (4), then ask what a sweep would meet: scaling-sweep check-task.
"""

import torch
from sklearn.datasets import load_iris
from torch import Tensor, nn
from torch.nn import functional

from scaling_sweep.tasks.task import Task


def make_task(width: int = 32) -> Task:
    """Build the task; its arguments can be set in the sweep file, as in args: {width: 64}."""
    inputs, targets = load_data()

    # (1) Your model. It is built once for each seed: draw the weights from torch's global
    # generator, as torch's own layers do, and do not seed here.
    def make_model() -> nn.Module:
        return nn.Sequential(
            nn.Linear(inputs.shape[1], width),
            nn.ReLU(),
            nn.Linear(width, 3),
        )

    return Task(
        name="iris",
        description="A perceptron on 150 iris flowers.",
        make_model=make_model,
        loss=loss,
        inputs=inputs,
        targets=targets,
        # (2) Instead of inputs and targets: dataset= for a torch.utils.data.Dataset of pairs,
        # with collate= where items differ in length, or stream= for data that never end.
    )


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the mean loss of a batch, a scalar."""
    # (3) Your loss, from what the model returns. The mean over the batch, not the sum.
    return functional.cross_entropy(outputs, targets)


def load_data() -> tuple[Tensor, Tensor]:
    """Return inputs [num_examples, ...] and targets [num_examples, ...]."""
    # (4) Your data. Standardise inputs: the largest stable lr depends on their scale.
    flowers = load_iris()
    inputs = torch.tensor(flowers.data, dtype=torch.float32)
    inputs = (inputs - inputs.mean(0)) / inputs.std(0)
    return inputs, torch.tensor(flowers.target)
