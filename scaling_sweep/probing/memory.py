"""What training a pack takes in memory: a few small steps measured, larger ones extrapolated."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves

from scaling_sweep.planning import MemoryLaw
from scaling_sweep.probing.subject import Subject, take_step
from scaling_sweep.probing.tally import measure_peak
from scaling_sweep.training.copies import Copies, Point
from scaling_sweep.training.engines import LoopEngine, VmapEngine
from scaling_sweep.training.evaluation import num_evaluated, portion_size

# The batch is doubled until activations are most of what a step takes (or a bound is met), because
# the peak is a straight line in the batch size only from there on.
_FIRST_BATCH, _LAST_BATCH = 8, 4096
_GROWTH = 1.5
_MAX_PROBED_BYTES = 2**30
# Evaluation keeps nothing for a backward pass, so its peak is a straight line from the beginning.
_EVALUATED = 16
# To choose its engine a pack takes steps with all its copies stacked, and with up to four of them
# in turn: half of a pack of eight. What is recorded of its steps is tried on a twin of all copies.
_TRIED, _TWIN = 1.5, 1.0


@dataclass(frozen=True)
class _StepLaw:
    """The peak of a step, as ``MemoryLaw`` has it, before what training holds beside a step."""

    fixed: int
    fixed_per_example: int
    least_per_copy: int
    per_copy: int
    per_copy_example: int


def measure_memory(subject: Subject, engine_name: str, largest: int = _LAST_BATCH) -> MemoryLaw:
    """Take a few small steps, evaluate a few examples, and fit the law through their peaks.

    A pack holds the points where its seeds begin, and while it chooses its engine the copies it
    tries that on. Small batches take less than the portions of the data that are evaluated.
    What a stacked step holds while it is recorded is left out: 128 MiB at most, once a pack
    (``scaling_sweep.training.recording``), out of the reserve that a budget leaves.

    Args:
        subject: The task.
        engine_name: ``vmap`` or ``loop``.
        largest: Batch size that need not be exceeded.

    Returns:
        The law. On a CPU memory is counted tensor by tensor, as torch makes and drops them; on a
        GPU the allocator says.
    """
    step = _measure_steps(subject, engine_name, largest)
    evaluated = _measure_evaluation(subject, engine_name)
    size, stacked = size_of_copy(subject), engine_name == "vmap"
    tried = int((_TRIED if subject.spec.engine == "auto" else _TWIN) * size.whole) * stacked
    least = max(step.least_per_copy + tried, size.whole + (evaluated if stacked else 0))
    return MemoryLaw(
        fixed=step.fixed + stored_bytes(subject) + (0 if stacked else evaluated),
        fixed_per_example=step.fixed_per_example,
        least_per_copy=least + size.weights,
        per_copy=step.per_copy + tried + size.weights,
        per_copy_example=step.per_copy_example,
        drawn_per_example=example_bytes(subject),
    )


def _measure_steps(subject: Subject, engine_name: str, largest: int) -> _StepLaw:
    """Fit the peaks of steps at two numbers of copies and three batch sizes."""

    def peak(num_copies: int, batch_size: int) -> int:
        return _measure_step(subject, engine_name, num_copies, batch_size)

    small, most = _FIRST_BATCH, min(largest, subject.task.num_examples or largest)
    least, size = peak(1, small), small
    here = least
    while here < _GROWTH * least and here < _MAX_PROBED_BYTES and 4 * size <= most:
        size *= 2
        here = peak(1, size)
    near, far = size, 2 * size
    one, one_far, two, two_far = (peak(k, b) for k in (1, 2) for b in (near, far))
    per_copy_example = max(0, (two_far - two) - (one_far - one)) // (far - near)
    fixed_per_example = max(0, (one_far - one) // (far - near) - per_copy_example)
    per_copy = max(0, two - one - near * per_copy_example)
    return _StepLaw(
        fixed=max(0, one - per_copy - near * (per_copy_example + fixed_per_example)),
        fixed_per_example=fixed_per_example,
        least_per_copy=max(0, peak(2, small) - least),
        per_copy=per_copy,
        per_copy_example=per_copy_example,
    )


def _engine(subject: Subject, engine_name: str) -> VmapEngine | LoopEngine:
    kind: Callable[..., VmapEngine | LoopEngine]
    kind = VmapEngine if engine_name == "vmap" else LoopEngine
    return kind(subject.model(), subject.task, subject.rule(), subject.treatment)


def _measure_step(subject: Subject, engine_name: str, num_copies: int, batch_size: int) -> int:
    """Return the peak of building copies, drawing their batches and taking one step."""
    engine = _engine(subject, engine_name)
    seeds = [row % 2 for row in range(num_copies)]
    batches = subject.batches(sorted(set(seeds)), batch_size)

    def step() -> None:
        take_step(engine, subject.copies(num_copies), batches.draw(seeds))

    return measure_peak(step, subject.device)


def _measure_evaluation(subject: Subject, engine_name: str) -> int:
    """Return the peak of evaluating one copy on as many examples as go together."""
    task = subject.task
    if task.exact_loss is not None:
        return 0
    engine, copies = _engine(subject, engine_name), subject.copies(1)
    few = max(1, min(_EVALUATED, (task.num_examples or _EVALUATED) // 2))

    def peak(num_examples: int) -> int:
        inputs, targets = subject.batches([0], num_examples).draw([0])
        return measure_peak(lambda: _evaluate(engine, copies, inputs, targets), subject.device)

    near, far = peak(few), peak(2 * few)
    return near + max(0, far - near) * max(0, evaluated_at_once(subject) - few) // few


def evaluated_at_once(subject: Subject) -> int:
    """Return how many examples the losses of copies are evaluated on at once."""
    task = subject.task
    if task.exact_loss is not None:
        return 0
    inputs, _ = subject.batch()
    return min(portion_size(task, inputs[0].numel()), task.num_examples or _LAST_BATCH)


def _evaluate(
    engine: VmapEngine | LoopEngine, copies: Copies, inputs: Tensor, targets: Tensor
) -> None:
    engine.losses(copies, inputs[0], targets[0])


def stored_bytes(subject: Subject) -> int:
    """Return what the examples that losses are evaluated over take, as the model gets them."""
    task = subject.task
    if task.exact_loss is not None:
        return 0
    return min(num_evaluated(task), task.num_examples or _LAST_BATCH) * example_bytes(subject)


def example_bytes(subject: Subject) -> int:
    """Return what inputs and targets of one example take, as the model gets them."""
    return sum(_num_bytes(part[0]) for part in subject.batch())


@dataclass(frozen=True)
class CopySize:
    """What one copy takes in bytes when nothing is computed.

    Attributes:
        weights: Parameters and buffers.
        state: The optimizer's state.
    """

    weights: int
    state: int

    @property
    def whole(self) -> int:
        """All of it."""
        return self.weights + self.state


def size_of_copy(subject: Subject) -> CopySize:
    """Return what a copy takes, found on torch's meta device: nothing but one model is allocated.

    Args:
        subject: The task and its optimizer.

    Returns:
        Bytes.
    """
    point = Point.of(subject.model().to("meta"))
    state = subject.rule().init(point.params)
    return CopySize(_num_bytes(point.params) + _num_bytes(point.buffers), _num_bytes(state))


def _num_bytes(values: object) -> int:
    """Return what all tensors of a thing take."""
    tensors = (value for value in tree_leaves(values) if isinstance(value, Tensor))
    return sum(value.numel() * value.element_size() for value in tensors)


def device_memory(device: torch.device) -> int:
    """Return the bytes that this process can still take on a GPU, what it holds idle included."""
    free, _ = torch.cuda.mem_get_info(device)
    idle = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return int(free) + int(idle)
