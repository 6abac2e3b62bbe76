"""Paths in a store such as S3: bounded in time, and one line where the store does not answer."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from upath import UPath
from upath.extensions import ProxyUPath

from analysis.errors import StoreError

# A store that answers at all answers in less (guess); s3fs tries five times more by itself.
_CONNECT_S, _READ_S = 3, 20
_S3_OPTIONS = {
    "config_kwargs": {
        "connect_timeout": _CONNECT_S,
        "read_timeout": _READ_S,
        "retries": {"total_max_attempts": 1},
    }
}
_OPTIONS: dict[str, dict[str, Any]] = {"s3": _S3_OPTIONS, "s3a": _S3_OPTIONS}
# Stores of objects have no folders; s3fs would make a bucket where one is asked for.
_WITHOUT_FOLDERS = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az"})


class RemotePath(ProxyUPath):
    """A path whose methods raise `FileNotFoundError` or a `StoreError`, and nothing else."""

    __slots__ = ()

    def exists(self, *, follow_symlinks: bool = True) -> bool:
        """Return whether there is such an object, or any below it."""
        with self._spoken():
            return bool(self.fs.exists(self.path))

    def is_dir(self) -> bool:
        """Return whether there are objects below it."""
        with self._spoken():
            return bool(self.fs.isdir(self.path))

    def read_bytes(self) -> bytes:
        """Return the object."""
        with self._spoken():
            return bytes(self.fs.cat_file(self.path))

    def read_text(
        self, encoding: str | None = None, errors: str | None = None, newline: str | None = None
    ) -> str:
        """Return the object as text."""
        return self.read_bytes().decode(encoding or "utf-8", errors or "strict")

    def stat(self, *, follow_symlinks: bool = True) -> Any:  # noqa: ANN401  # UPath's own kind
        """Return what is known of the object; ``st_mtime`` is by the store's clock."""
        with self._spoken():
            return super().stat(follow_symlinks=follow_symlinks)

    def mkdir(self, mode: int = 0o777, parents: bool = False, exist_ok: bool = False) -> None:
        """Make a folder where the store has such things."""
        if self.protocol not in _WITHOUT_FOLDERS:
            with self._spoken():
                self.fs.makedirs(self.path, exist_ok=exist_ok)

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove the object."""
        try:
            with self._spoken():
                self.fs.rm_file(self.path)
        except FileNotFoundError:
            if not missing_ok:
                raise

    def put(self, data: bytes, *, new: bool = False) -> None:
        """Write an object in one request, which a store of objects takes whole or not at all.

        Args:
            data: What.
            new: Raise a `FileExistsError` where there is one already.
        """
        with self._spoken():
            self.fs.pipe_file(self.path, data, **({"mode": "create"} if new else {}))

    def list_files(self, ending: str) -> "list[tuple[RemotePath, float]]":
        """Return the objects right below with an ending, and when each was written, unordered."""
        try:
            with self._spoken():
                found = self.fs.ls(self.path, detail=True)
        except FileNotFoundError:
            return []
        names = {entry["name"].rpartition("/")[2]: entry for entry in found}
        return [
            (self / name, _written_at(entry))
            for name, entry in names.items()
            if name.endswith(ending)
        ]

    def read_files(self, names: Sequence[str]) -> list[bytes]:
        """Return several objects below at once, in the order of their names."""
        paths = [(self / name).path for name in names]
        with self._spoken():
            found = self.fs.cat(paths) if paths else {}
        return [bytes(found[path]) for path in paths]

    @contextmanager
    def _spoken(self) -> Iterator[None]:
        """Turn whatever a store's library raises into one line without secrets."""
        try:
            yield
        except (FileNotFoundError, FileExistsError, StoreError):
            raise
        except Exception as error:  # botocore's, aiohttp's and Google's have no base in common
            raise StoreError(f"{self} cannot be reached ({_reason(error)})") from error


def open_url(url: str, protocol: str) -> RemotePath:
    """Return the path of a URL, without asking its store.

    Args:
        url: Checked by `find_place`.
        protocol: Its protocol.

    Returns:
        The path.
    """
    # What was listed once may have changed: a run is watched by others while it grows.
    options = {"use_listings_cache": False, **_OPTIONS.get(protocol, {})}
    return RemotePath._from_upath(UPath(url.rstrip("/"), **options))


def _reason(error: Exception) -> str:
    """Return the first line of an error, or its kind where it has none."""
    text = str(error).strip().partition("\n")[0].rstrip(".")
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _written_at(entry: dict[str, Any]) -> float:
    """Return when an object was written, seconds since 1970; stores call it differently."""
    for key in ("LastModified", "mtime", "updated", "last_modified", "created"):
        value = entry.get(key)
        if isinstance(value, int | float):
            return float(value)
        if isinstance(value, datetime):
            return value.timestamp()
    return 0.0
