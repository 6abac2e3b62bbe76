"""Files written whole or not at all, and never through a link."""

import os
from pathlib import Path


def write_whole(path: Path, data: bytes) -> None:
    r"""Write a file under a temporary name and rename it.

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
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.unlink(missing_ok=True)
        with temporary.open("xb") as file:  # x: fails at a link instead of following it
            file.write(data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
