"""Files written whole or not at all, and never through a link; and files read whole."""

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

from analysis.files.places import as_remote


def write_whole(path: Path, data: bytes) -> None:
    r"""Write a file under a temporary name and rename it; in a store of objects by one request.

    A link at the path is replaced, not followed: a folder may come from somebody else.

    Args:
        path: Where to; its folder exists.
        data: What.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_whole(Path(folder) / "x", b"whole")
        ...     [path.name for path in Path(folder).iterdir()]
        ['x']
    """
    if (remote := as_remote(path)) is not None:
        remote.put(data)
        return
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.unlink(missing_ok=True)
        with temporary.open("xb") as file:  # x: fails at a link instead of following it
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        # Where nothing can be written, nothing can be removed: say the first of the two.
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def list_files(folder: Path, ending: str) -> list[tuple[Path, float]]:
    """Return the files of a folder with an ending, and when each was written.

    Args:
        folder: Need not exist.
        ending: Of their names.

    Returns:
        Paths in the order of their names, and seconds since 1970 by the clock of the disk.
    """
    if (remote := as_remote(folder)) is not None:
        listed = sorted((path.name, at_s) for path, at_s in remote.list_files(ending))
        return [(folder / name, at_s) for name, at_s in listed]
    found = []
    for path in sorted(folder.glob(f"*{ending}")):
        with suppress(OSError):
            found.append((path, path.stat().st_mtime))
    return found


def read_files(paths: Sequence[Path]) -> Iterator[bytes]:
    """Read files of one folder, from a store all at once.

    Args:
        paths: All of one folder.

    Yields:
        What is in each.
    """
    if paths and (remote := as_remote(paths[0].parent)) is not None:
        yield from remote.read_files([path.name for path in paths])
        return
    for path in paths:
        yield path.read_bytes()
