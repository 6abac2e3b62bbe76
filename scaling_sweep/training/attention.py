"""Fused attention in a stack: written out where torch would take the copies one after the other."""

import re
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

from torch.nn.attention import SDPBackend, sdpa_kernel

T = TypeVar("T")

# How torch 2.15 warns of it on a CPU; on a GPU the fused kernels have rules for stacks.
_ONE_BY_ONE = re.compile(r"batching rule for aten::_scaled_dot_product")


class StackedAttention:
    """Computes stacked models, and sees at the first of them whether attention goes as a stack.

    Where it does not, that one and all later ones have attention written out in matrix products,
    which do: the same function, rounded otherwise.

    Example:
        >>> StackedAttention().compute(lambda: 1)
        1
    """

    def __init__(self) -> None:
        self._is_written_out: bool | None = None

    def as_in_stack(self) -> AbstractContextManager[None]:
        """Return a context for one model alone that has attention rounded as its stack does."""
        return sdpa_kernel(SDPBackend.MATH) if self._is_written_out else nullcontext()

    def compute(self, stacked: Callable[[], T]) -> T:
        """Return what a stacked forward pass returns.

        Args:
            stacked: The pass, under vmap; it may be called twice.

        Returns:
            Its result.
        """
        if self._is_written_out is None:
            return self._compute_first(stacked)
        with self.as_in_stack():
            return stacked()

    def _compute_first(self, stacked: Callable[[], T]) -> T:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            found = stacked()
        self._is_written_out = any(_ONE_BY_ONE.search(str(one.message)) for one in caught)
        if self._is_written_out:
            return self.compute(stacked)
        for one in caught:
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
        return found
