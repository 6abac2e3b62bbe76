"""Where files lie: in a folder of this machine, or in a store that fsspec reaches by a URL."""

from pathlib import Path
from typing import TYPE_CHECKING, cast
from urllib.parse import urlsplit
from urllib.request import url2pathname

from analysis.errors import AnalysisError

if TYPE_CHECKING:
    from analysis.files.remote_path import RemotePath

# What a protocol needs, and our extra that brings it.
_EXTRAS = {
    **dict.fromkeys(("s3", "s3a"), ("s3fs", "s3")),
    **dict.fromkeys(("gs", "gcs"), ("gcsfs", "gs")),
}


def find_place(named: str | Path) -> Path:
    """Return where a path or a URL leads; nothing is asked of a store yet.

    Args:
        named: ``runs/digits``, ``s3://bucket/digits``, ``gs://…``, ``memory://…``, ``file:///…``.

    Returns:
        A path. That of a URL is no `pathlib.Path`, but has its methods of reading; it is written
        to by `write_whole`.

    Raises:
        AnalysisError: If the URL carries a secret, or nothing here reaches it.

    Example:
        >>> find_place("runs/digits"), find_place("file:///runs/digits")
        (PosixPath('runs/digits'), PosixPath('/runs/digits'))
    """
    if not isinstance(named, str) or "://" not in named:
        # What this function returned before stays what it is.
        return Path(named) if isinstance(named, str) else named
    protocol = _check_url(named)
    if protocol == "file":
        return Path(url2pathname(urlsplit(named).path))
    _check_package(protocol)
    from analysis.files.remote_path import open_url

    return cast("Path", open_url(named, protocol))


def as_remote(place: Path) -> "RemotePath | None":
    """Return a path as what it is where it came from a URL, None where it is on this machine.

    Args:
        place: From `find_place`, or anything below it.

    Returns:
        The path.
    """
    return None if isinstance(place, Path) else cast("RemotePath", place)


def _check_url(url: str) -> str:
    """Return a URL's protocol; refuse what would carry a secret into files and messages."""
    protocol = url.partition("://")[0].lower()
    try:
        parts = urlsplit(url)
        secret = parts.password is not None or bool(parts.query)
    except ValueError:
        secret = True
    if secret:
        raise AnalysisError(
            f"this {protocol}:// URL has a key or a ?query in it, which would be kept in files "
            f"and messages; write {protocol}://… without, and give the key in the environment "
            "or in the store's own configuration"
        )
    return protocol


def _check_package(protocol: str) -> None:
    """Refuse a protocol that nothing installed here speaks."""
    import fsspec

    try:
        fsspec.get_filesystem_class(protocol)
    except ImportError as error:
        package, extra = _EXTRAS.get(protocol, ("", ""))
        needs = (
            f"{package}: pip install 'scaling-sweep[{extra}]'" if package else str(error).strip()
        )
        raise AnalysisError(f"{protocol}:// needs {needs}") from error
    except ValueError as error:
        raise AnalysisError(
            f"{protocol}:// is no kind of store that fsspec knows; write for example "
            "s3://bucket/run, gs://bucket/run or a folder"
        ) from error
