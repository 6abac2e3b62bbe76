"""The most memory that tensors hold at any time while something is computed."""

import gc
import weakref
from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


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

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Else torch 2.15 imports its compiler at the first operation: more than a second.
        return False

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
