"""Where every random number comes from: streams named by what they may depend on.

A trial's start depends on (sweep seed, seed) only, its batches on (sweep seed, seed, batch size)
only; so trials that differ in lr share their data, and neither pack-mates nor workers matter.
"""

import hashlib
import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TypeVar

import numpy as np
import torch

T = TypeVar("T")


def derive_seed(*parts: str | int) -> int:
    """Hash the parts of a stream's name to a seed of 63 bits.

    Args:
        *parts: What the stream may depend on, for example ``(0, 3, "start")``.

    Returns:
        The seed, the same on every machine and in every process.

    Example:
        >>> derive_seed(0, 1, "start") == derive_seed(0, 1, "start")
        True
        >>> derive_seed(0, 11) == derive_seed(0, 1, 1)
        False
    """
    text = "\x1f".join(str(part) for part in parts)
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def make_generator(*parts: str | int) -> torch.Generator:
    """Return a CPU generator for the stream of that name.

    Batches are drawn on the CPU whatever the device, so that a GPU sees the same data.
    """
    return torch.Generator().manual_seed(derive_seed(*parts))


def forked_generators(*, enabled: bool = True) -> AbstractContextManager[None]:
    """Return a context that gives torch's global generators back as they were.

    Only the GPU in use is looked at: torch warns where it has to look after several.
    """
    in_use = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    devices = [torch.cuda.current_device()] if in_use else []
    context: AbstractContextManager[None] = torch.random.fork_rng(devices, enabled)
    return context


def call_seeded(function: Callable[[], T], *parts: str | int) -> T:
    """Call a function that draws from the global generators, and leave those untouched.

    Args:
        function: Draws from torch's, NumPy's or Python's own generator.
        *parts: Name of the random stream.

    Returns:
        What the function returns.

    Example:
        >>> call_seeded(random.random, "doc") == call_seeded(random.random, "doc")
        True
    """
    seed = derive_seed(*parts)
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with forked_generators():
            torch.manual_seed(seed)
            np.random.seed(seed % 2**32)  # noqa: NPY002
            random.seed(seed)
            return function()
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002
