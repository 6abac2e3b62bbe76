"""What a step of a pack takes in memory: a few small steps measured, larger ones extrapolated."""

import gc
import os
import weakref
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from scaling_sweep.probing.subject import Subject, take_step
from scaling_sweep.training.engines import LoopEngine, VmapEngine

# The batch is doubled until activations are most of what a step takes (or a bound is met), because
# the peak is a straight line in the batch size only from there on.
_FIRST_BATCH, _LAST_BATCH = 8, 4096
_GROWTH = 1.5
_MAX_PROBED_BYTES = 2**30
# Room for what is not seen: kernels' own workspaces, the allocator's waste (a guess; kernels' own
# were up to 15 % on the digits CNN, measured with torch's profiler).
_USABLE = 0.7


@dataclass(frozen=True)
class MemoryLaw:
    """Peak memory of a step of K copies at batch size B, in bytes: an estimate.

    ``fixed + B · fixed_per_example + K · max(least_per_copy, per_copy + B · per_copy_example)``,
    from steps at two numbers of copies and three batch sizes.

    Attributes:
        fixed: Whatever the pack.
        fixed_per_example: Activations of a copy, where copies take turns (loop engine).
        least_per_copy: Weights, gradients and moments, while the optimizer moves them.
        per_copy: Weights and gradients, at the end of the forward pass.
        per_copy_example: Activations, where copies go together (vmap engine).

    Example:
        >>> MemoryLaw(100, 0, 50, 30, 2).peak(num_copies=2, batch_size=20)
        240
    """

    fixed: int
    fixed_per_example: int
    least_per_copy: int
    per_copy: int
    per_copy_example: int

    def peak(self, num_copies: int, batch_size: int) -> int:
        """Return the estimated peak in bytes."""
        return (
            self.fixed + batch_size * self.fixed_per_example + num_copies * self._copy(batch_size)
        )

    def most_copies(self, num_bytes: int, batch_size: int) -> int:
        """Return how many copies fit into so much memory."""
        room = num_bytes - self.fixed - batch_size * self.fixed_per_example
        return max(0, room // max(1, self._copy(batch_size)))

    def largest_batch(self, num_bytes: int) -> int:
        """Return the largest batch of a single copy that fits."""
        per_example = max(1, self.fixed_per_example + self.per_copy_example)
        largest = (num_bytes - self.fixed - self.per_copy) // per_example
        return max(0, largest) if self.peak(1, 1) <= num_bytes else 0

    def _copy(self, batch_size: int) -> int:
        return max(self.least_per_copy, self.per_copy + batch_size * self.per_copy_example)


def measure_memory(subject: Subject, engine_name: str) -> MemoryLaw:
    """Take a few small steps and fit the law through their peaks.

    Args:
        subject: The task.
        engine_name: ``vmap`` or ``loop``.

    Returns:
        The law. On a CPU memory is counted tensor by tensor, as torch makes and drops them; on a
        GPU the allocator says.
    """

    def peak(num_copies: int, batch_size: int) -> int:
        return _measure_step(subject, engine_name, num_copies, batch_size)

    small, most = _FIRST_BATCH, min(_LAST_BATCH, subject.task.num_examples or _LAST_BATCH)
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
    return MemoryLaw(
        fixed=max(0, one - per_copy - near * (per_copy_example + fixed_per_example)),
        fixed_per_example=fixed_per_example,
        least_per_copy=max(0, peak(2, small) - least),
        per_copy=per_copy,
        per_copy_example=per_copy_example,
    )


def _measure_step(subject: Subject, engine_name: str, num_copies: int, batch_size: int) -> int:
    """Return the peak of building copies, drawing their batches and taking one step."""
    kind: Callable[..., VmapEngine | LoopEngine]
    kind = VmapEngine if engine_name == "vmap" else LoopEngine
    engine = kind(subject.model(), subject.task, subject.rule())
    seeds = [row % 2 for row in range(num_copies)]
    batches = subject.batches(sorted(set(seeds)), batch_size)

    def step() -> None:
        take_step(engine, subject.copies(num_copies), batches.draw(seeds))

    return measure_peak(step, subject.device)


def measure_peak(function: Callable[[], None], device: torch.device) -> int:
    """Return the most bytes that tensors made by a function hold at any time.

    Args:
        function: What to measure; it must keep nothing.
        device: Where its tensors are.

    Returns:
        Bytes. What kernels use inside themselves is seen on a GPU only.

    Example:
        >>> def add() -> None:
        ...     _ = torch.zeros(1000) + 1
        >>> measure_peak(add, torch.device("cpu"))
        8000
    """
    gc.collect()
    if device.type == "cuda":
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        function()
        torch.cuda.synchronize()
        peak: int = torch.cuda.max_memory_allocated() - before
        return peak
    tally = _Tally()
    with tally:
        function()
    return tally.peak


class _Tally(TorchDispatchMode):
    """Adds up the memory of tensors as operations return them, and takes off what is dropped."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.peak = 0
        self._now = 0
        self._alive: set[int] = set()

    def __torch_dispatch__(
        self,
        func: Callable[..., object],
        types: Iterable[type],
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        outputs = func(*args, **(kwargs or {}))
        for value in tree_leaves(outputs):
            if isinstance(value, Tensor):
                self._add(value.untyped_storage())
        return outputs

    def _add(self, storage: torch.UntypedStorage) -> None:
        key, num_bytes = storage._cdata, storage.nbytes()
        if key in self._alive:
            return
        self._alive.add(key)
        self._now += num_bytes
        self.peak = max(self.peak, self._now)
        # torch keeps the Python object of a storage alive as long as the storage itself.
        weakref.finalize(storage, self._drop, key, num_bytes)

    def _drop(self, key: int, num_bytes: int) -> None:
        self._alive.discard(key)
        self._now -= num_bytes


def usable_bytes(device: torch.device) -> int | None:
    """Return how much memory a pack may plan with on this machine; None where nobody says."""
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return int(_USABLE * free)
    found = [number for number in (_free_of_machine(), _free_of_container()) if number is not None]
    return int(_USABLE * min(found)) if found else None


def _free_of_machine() -> int | None:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        names = os.sysconf_names
        if "SC_PHYS_PAGES" not in names or "SC_PAGE_SIZE" not in names:
            return None
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    free = [line.split()[1] for line in lines if line.startswith("MemAvailable:")]
    return int(free[0]) * 1024 if free else None


def _free_of_container() -> int | None:
    """Return what is left of a container's own limit (cgroup v2)."""
    folder = Path("/sys/fs/cgroup")
    try:
        limit = (folder / "memory.max").read_text().strip()
        used = int((folder / "memory.current").read_text())
    except (OSError, ValueError):
        return None
    return None if limit == "max" else max(0, int(limit) - used)
