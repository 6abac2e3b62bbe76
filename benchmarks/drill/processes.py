"""Finding processes through /proc."""

from pathlib import Path


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
