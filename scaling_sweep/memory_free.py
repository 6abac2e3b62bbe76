"""How much main memory is free, and how much of it a pack may be planned with."""

import os
from pathlib import Path

from scaling_sweep.spec import Resources

_GIB = 2**30
# Room for what no law sees: kernels' own workspaces, the allocator's waste (a guess; kernels' own
# were up to 15 % on the digits CNN, measured with torch's profiler).
_USABLE = 0.7
# What a worker takes beside what it trains: 0.8 to 0.9 GiB once Tune and torch are imported and a
# first pack was trained (measured on Linux with torch 2.15 and no GPU), and the quarter of a GiB by
# which its heap grows (`MALLOC_TOP_PAD_`).
_WORKER_BYTES = int(1.1 * _GIB)
# Never planned with less: what a worker takes is not known any better (a guess).
_LEAST_BYTES = 2**26


def usable(free: int) -> int:
    """Return how much of some free memory a pack may be planned with."""
    return int(_USABLE * max(0, free))


def usable_of_worker(resources: Resources, free: int | None, data: int = 0) -> int | None:
    """Return how much main memory a pack may be planned with.

    Args:
        resources: What the sweep file says of a pack; ``memory_gib`` is its worker's limit.
        free: What its worker finds free, in bytes; None where nobody says.
        data: What the worker's own copy of the task's data takes, in bytes.

    Returns:
        Bytes; None where there is no limit that anybody knows.

    Example:
        >>> usable_of_worker(Resources(memory_gib=4), None) // 2**20
        2078
    """
    limit = None if resources.memory_gib is None else int(resources.memory_gib * _GIB)
    known = [number for number in (limit, free) if number is not None]
    if not known:
        return None
    return max(_LEAST_BYTES, usable(min(known) - _WORKER_BYTES - data))


def free_memory() -> int | None:
    """Return the bytes of main memory that this machine or container has free, if it says."""
    found = [number for number in (_free_of_machine(), _free_of_container()) if number is not None]
    return min(found) if found else None


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
