"""Processes, found through /proc, and the end of those that a driver's Ray has started."""

import time
from pathlib import Path

from benchmarks.drill.outcome import check

# Ray's own processes notice in 0.3 s that their driver is gone (measured), and on a machine with
# twenty times more to do than it can after half a minute.
ENDED_WITHIN_S = 60.0


def descendants(pid: int) -> set[int]:
    """Return the processes that a process has started, and those that they have.

    Args:
        pid: The process.

    Returns:
        Their ids, without its own.
    """
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            # proc(5): the parent is the second field after the name in parentheses.
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
        except OSError:  # it has just ended
            continue
    found, new = set[int](), {pid}
    while new:
        new = {child for child, parent in parents.items() if parent in new}
        found |= new
    return found


def mentioning(text: str) -> set[int]:
    """Return the processes whose command line holds a text."""
    found = set()
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if text.encode() in file.read_bytes():
                found.add(int(file.parent.name))
        except OSError:
            continue
    return found


def wait_until_gone(pid: int) -> float:
    """Wait until no process of a driver's Ray is left.

    Args:
        pid: Of the driver that has ended.

    Returns:
        Seconds that took.

    Raises:
        BrokenError: If one lives on.
    """
    began = time.monotonic()
    while left := mentioning(f"_{pid}/"):  # Ray names its session after the driver
        seconds = time.monotonic() - began
        check(seconds < ENDED_WITHIN_S, f"processes of Ray outlived a driver: {left}")
        time.sleep(0.1)
    return time.monotonic() - began
