"""One trial by a plain torch loop, as one writes it by hand: what the peers run.

It knows nothing of this project, only two seeds: with ours, it starts from the same weights and
draws the same batches as our own trial, so the two can be compared one by one.
"""

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class PlainTrial:
    """One point of the grid.

    Attributes:
        key: Tells the trial from the others.
        optimizer: ``sgd`` or ``adam``.
        batch_size: Examples per step.
        lr: Learning rate.
        num_steps: Steps.
        start_seed: Seeds the weights.
        batch_seed: Seeds the draws of batches.
    """

    key: str
    optimizer: str
    batch_size: int
    lr: float
    num_steps: int
    start_seed: int
    batch_seed: int


@functools.cache
def load_images() -> "tuple[Tensor, Tensor]":
    """Return scikit-learn's digits, standardised as ours are, and their labels."""
    import torch
    from sklearn.datasets import load_digits

    digits = load_digits()
    images = (torch.tensor(digits.data, dtype=torch.float32) - 4.8842) / 6.0168
    return images, torch.tensor(digits.target)


def train_trial(
    trial: PlainTrial,
    *,
    fused: bool = False,
    report: Callable[[float], None] = lambda loss: None,
    report_every: int = 30,
) -> float:
    """Train one model and return its final loss on all the data; infinite when not finite.

    A trial whose loss is no longer finite ends there, as ours do.

    Args:
        trial: What to train.
        fused: Let torch.optim use one kernel for all parameters: a third off a step of Adam.
        report: Told the loss of a batch now and then, but not after the last step.
        report_every: Steps between two reports.
    """
    import torch
    from torch import nn
    from torch.nn import functional

    images, labels = load_images()
    torch.manual_seed(trial.start_seed)
    model = nn.Sequential(
        nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 10)
    )
    make_optimizer = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[trial.optimizer]
    optimizer = make_optimizer(model.parameters(), lr=trial.lr, fused=fused or None)
    generator = torch.Generator().manual_seed(trial.batch_seed)
    for step in range(1, trial.num_steps + 1):
        rows = torch.randint(len(images), (trial.batch_size,), generator=generator)
        loss = functional.cross_entropy(model(images[rows]), labels[rows])
        if not math.isfinite(loss.item()):
            return math.inf
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        if step % report_every == 0 and step < trial.num_steps:
            report(loss.item())
    with torch.no_grad():
        final = functional.cross_entropy(model(images), labels).item()
    return final if math.isfinite(final) else math.inf
