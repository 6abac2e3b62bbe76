"""A bound on the memory of this process, so that asking for more fails here and harms nobody."""

import resource
import sys
from pathlib import Path

_GIB, _KIB = 2**30, 1024
_STATUS = Path("/proc/self/status")


def limit_memory(most_gib: float | None) -> None:
    """Let this process take so much main memory and no more.

    What asks for more gets the allocator's error, which training understands, where otherwise
    the kernel or Ray would end some process of the machine. Only what a process writes for itself
    is counted (RLIMIT_DATA): the address space of a worker is 14 GiB before it has done anything
    (measured), because Ray maps its object store. On other systems than Linux nothing is limited.

    Args:
        most_gib: GiB; None for no limit.

    Raises:
        MemoryError: If it has taken that much already.

    Example:
        >>> limit_memory(None)
    """
    if most_gib is None or sys.platform != "linux":
        return
    resident, data = (_read(name) for name in ("VmRSS", "VmData"))
    left = int(most_gib * _GIB) - resident
    if left <= 0:
        raise MemoryError(
            f"resources.memory_gib is {most_gib:g}, and a worker takes {resident / _GIB:.2f} GiB "
            "before it trains; raise it"
        )
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    most = data + left
    resource.setrlimit(
        resource.RLIMIT_DATA, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard)
    )


def _read(name: str) -> int:
    """Return a size of this process in bytes."""
    fields = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
    return int(fields[name].split()[0]) * _KIB
