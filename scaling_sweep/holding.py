"""One driver to a run folder: a lock of the disk, or an owner file where there is none."""

import errno
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.files.places import as_remote
from analysis.files.whole_files import write_whole
from scaling_sweep.errors import UserError

if TYPE_CHECKING:
    from filelock import FileLock

# How often an owner says that it lives, and how long another waits for that before it takes over:
# an owner may be held up for some seconds, and a person waits that long after a kill (guesses).
BEAT_S, PATIENCE_S = 5.0, 20.0
# Longer than a store takes to answer, so that of two that take over at once one finds out.
_SETTLE_S = 1.0
_ID_BYTES = 8
# What disks say that have no locks, such as NFS without its lock service.
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP})


class Hold:
    """A folder that is held by a lock, which nobody can take away."""

    def check(self) -> None:
        """Raise a `UserError` where the folder is no longer held."""


class OwnerFile(Hold):
    """A file that says who writes to a folder, renewed for as long as the owner lives.

    No clock is compared with another: who waits looks whether the file changes.

    Args:
        folder: Which must exist where it is on this machine.
        beat_s: Seconds between two renewals.
        patience_s: Seconds without one after which the owner counts as gone.
    """

    def __init__(
        self, folder: Path, beat_s: float = BEAT_S, patience_s: float = PATIENCE_S
    ) -> None:
        self._folder, self._file = folder, folder / ".owner"
        self._beat_s, self._patience_s = beat_s, patience_s
        self._id, self._num_beats = secrets.token_hex(_ID_BYTES), 0
        self._lost = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._live, name="run-folder-owner", daemon=True)

    def take(self) -> None:
        """Become the owner.

        Raises:
            UserError: If another one lives.
        """
        if not self._create():
            self._wait_for_silence()
            self._remove()
            if not self._create():
                raise UserError(_in_use(self._folder))
            time.sleep(min(_SETTLE_S, self._patience_s))
            if not self._is_mine():
                raise UserError(_in_use(self._folder))
        self._thread.start()

    def release(self) -> None:
        """Let another one in."""
        self._over.set()
        self._thread.join()
        with suppress(OSError):
            if self._is_mine():
                self._remove()

    def check(self) -> None:
        """Raise where another driver has taken over, as after minutes without a network."""
        if self._lost:
            raise UserError(
                f"{self._folder} was taken over by another run, so this one stops; what is "
                "finished is kept"
            )

    def _wait_for_silence(self) -> None:
        """Return when the owner has been silent for too long; raise as soon as it lives."""
        seen, deadline = self._read(), time.monotonic() + self._patience_s
        while seen and time.monotonic() < deadline:
            time.sleep(self._beat_s / 5)
            if (now := self._read()) and now != seen:
                raise UserError(_in_use(self._folder))
            seen = now

    def _live(self) -> None:
        while not self._over.wait(self._beat_s):
            # A store that does not answer now may do so at the next beat.
            with suppress(OSError):
                if not self._is_mine():
                    self._lost = True
                    return
                self._num_beats += 1
                write_whole(self._file, self._text())

    def _text(self) -> bytes:
        return f"{self._id} {self._num_beats}\n".encode()

    def _is_mine(self) -> bool:
        return self._read().startswith(self._id.encode())

    def _read(self) -> bytes:
        """Return what the file says, nothing where there is none."""
        try:
            return self._file.read_bytes()
        except FileNotFoundError:
            return b""

    def _create(self) -> bool:
        """Make the file unless there is one; whoever is second hears so."""
        try:
            if (remote := as_remote(self._file)) is not None:
                remote.put(self._text(), new=True)
            else:
                with self._file.open("xb") as file:
                    file.write(self._text())
        except FileExistsError:
            return False
        return True

    def _remove(self) -> None:
        self._file.unlink(missing_ok=True)


@contextmanager
def held(folder: Path) -> Iterator[Hold]:
    """Hold a folder while the block runs.

    Args:
        folder: It exists where it is on this machine.

    Yields:
        The hold.

    """
    lock = _lock(folder) if as_remote(folder) is None else None
    if lock is not None:
        try:
            yield Hold()
        finally:
            lock.release()
        return
    owner = OwnerFile(folder)
    owner.take()
    try:
        yield owner
    finally:
        owner.release()


def _lock(folder: Path) -> "FileLock | None":
    """Take the lock of a folder on a disk; return None where the disk has no locks."""
    from filelock import FileLock, Timeout

    lock = FileLock(folder / ".lock", timeout=0)
    try:
        lock.acquire()
    except Timeout:
        raise UserError(_in_use(folder)) from None
    except NotImplementedError:
        return None
    except OSError as error:
        if error.errno in _NO_LOCKS:
            return None
        raise
    return lock


def _in_use(folder: Path) -> str:
    return f"{folder} is in use by another run; wait for it, or write another --out"
