"""Looks at a task's data: what they are, and whether a seed gives the same ones every time."""

import torch
from torch import Tensor

from scaling_sweep.probing.findings import Finding, Level
from scaling_sweep.probing.subject import Subject
from scaling_sweep.training.randomness import forked_generators

# Inputs spread wider or narrower than this are probably raw (a guess).
_USUAL_STD = (0.1, 10.0)
_NUM_BATCHES = 3


def look_at_data(subject: Subject) -> tuple[Finding, ...]:
    """Say what a batch is made of."""
    task = subject.task
    shapes = {_shapes(subject, seed) for seed in (0, 1)}
    if shapes & {None} or len(shapes) > 1:
        text = "items differ in shape, so that batches of two seeds cannot be stacked"
        advice = "give the task a collate that pads every batch to the same length"
        return (Finding("data", Level.PROBLEM, text, advice),)
    inputs, targets = subject.batch()
    size = "fresh examples" if task.num_examples is None else f"{task.num_examples:,} examples"
    tokens = task.tokens_per_example
    words = f" = {subject.batch_size * tokens:,} tokens" if tokens > 1 else ""
    text = (
        f"{size}; a batch of {subject.batch_size}{words}: inputs {_shape(inputs)}, "
        f"targets {_shape(targets)}"
    )
    for name, values in (("inputs", inputs), ("targets", targets)):
        if values.is_floating_point() and not torch.isfinite(values).all():
            advice = "fill or drop what is missing"
            return (Finding("data", Level.PROBLEM, f"{name} hold NaN or infinity", advice),)
    return (Finding("data", Level.OK, text), *_look_at_scale(inputs))


def _shapes(subject: Subject, seed: int) -> tuple[torch.Size, ...] | None:
    """Return the shapes of a seed's first batches; None when they do not even make one batch."""
    batches = subject.batches([seed])
    try:
        parts = [part for _ in range(_NUM_BATCHES) for part in batches.draw([seed])]
    except RuntimeError as error:
        if "equal size" in str(error):  # as default_collate's torch.stack puts it
            return None
        raise
    every = [tuple(part.shape for part in parts[i : i + 2]) for i in range(0, len(parts), 2)]
    return every[0] if len(set(every)) == 1 else None


def _look_at_scale(inputs: Tensor) -> tuple[Finding, ...]:
    if not inputs.is_floating_point() or inputs.numel() < 2:
        return ()
    mean, std = inputs.mean().item(), inputs.std().item()
    low, high = _USUAL_STD
    if low <= std <= high and abs(mean) <= high:
        return ()
    text = f"mean {mean:.3g}, standard deviation {std:.3g}"
    advice = "standardise them: the largest stable lr depends on their scale"
    return (Finding("inputs", Level.NOTE, text, advice),)


def look_at_order(subject: Subject) -> tuple[Finding, ...]:
    """Say whether a seed's batches are a function of the seed."""
    first, again, other = (_draw(subject, seed, noise) for seed, noise in ((0, 1), (0, 2), (1, 1)))
    if not _equal(first, again):
        return (
            Finding(
                "data order",
                Level.PROBLEM,
                "the same seed draws other data the second time",
                "draw from the generator a stream is given, or in a dataset from torch's global "
                "one: trials that differ in lr must see the same data",
            ),
        )
    if _equal(first, other):
        whole = subject.batch_size == subject.task.num_examples
        advice = "" if whole else "seeds then replicate nothing but the start"
        return (Finding("data order", Level.NOTE, "two seeds see the same batches", advice),)
    return (Finding("data order", Level.OK, "a function of the seed; another seed, another order"),)


def _draw(subject: Subject, seed: int, noise: int) -> list[Tensor]:
    """Draw some batches of a seed while the global generator stands somewhere else."""
    with forked_generators():
        torch.manual_seed(noise)
        batches = subject.batches([seed])
        return [part for _ in range(_NUM_BATCHES) for part in batches.draw([seed])]


def _equal(some: list[Tensor], others: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(some, others, strict=True))


def _shape(values: Tensor) -> str:
    return f"{str(values.dtype).removeprefix('torch.')} {list(values.shape)}"
