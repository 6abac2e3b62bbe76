"""Examples that training does not see: which ones, and how a task has them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from scaling_sweep.tasks.sizes import check_share
from scaling_sweep.tasks.task import Task

# Which examples are held out must not change from study to study.
_SPLIT_SEED = 0


@dataclass(frozen=True)
class Split:
    """Indices of examples, each in one part only.

    Attributes:
        kept: For training, ascending.
        held: Held out, in random order.
    """

    kept: Tensor
    held: Tensor


def split_examples(num_examples: int, share: float) -> Split:
    """Choose which examples are held out: always the same ones of a number and a share.

    Args:
        num_examples: How many there are.
        share: Of them all, in [0, 1); rounded to whole examples.

    Returns:
        Both parts.

    Raises:
        ValueError: If the share is none, or leaves nothing to train on.

    Example:
        >>> split_examples(5, 0.4).kept.tolist()
        [1, 2, 3]
    """
    check_share("validation", share)
    num_held = round(share * num_examples)
    if num_held == num_examples:
        raise ValueError(f"validation: {share:g} of {num_examples} examples leaves none to train.")
    order = torch.randperm(num_examples, generator=torch.Generator().manual_seed(_SPLIT_SEED))
    return Split(order[num_held:].sort().values, order[:num_held])


def hold_out(task: Task, share: float, metric: Callable[[Any, Any], Tensor] | None = None) -> Task:
    """Move a share of a task's examples from training to validation, the same ones always.

    Args:
        task: Its data are tensors.
        share: In [0, 1).
        metric: Measured on them; None for the loss alone.

    Returns:
        The task, as it was where the share rounds to no example.

    Raises:
        ValueError: If the share is none.
    """
    assert task.inputs is not None
    assert task.targets is not None
    split = split_examples(len(task.inputs), share)
    if not len(split.held):
        return task
    return replace(
        task,
        inputs=task.inputs[split.kept],
        targets=task.targets[split.kept],
        validation=(task.inputs[split.held], task.targets[split.held]),
        metric=metric,
    )
