"""Starting the process that serves the live page, and ending it with the run."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import scaling_sweep
from analysis.files.places import as_remote

# It holds nothing that would have to be written.
_END_S = 1.0


@contextmanager
def serving(folder: Path, port: int | None, say: Callable[[str], None]) -> Iterator[None]:
    """Serve the live page of a run while the block runs.

    Args:
        folder: The run folder; need not exist yet.
        port: Of the loopback interface; 0 takes a free one, None serves nothing.
        say: Shows one line to a person: the page's address, or why there is none. Called from
            another thread.

    Yields:
        Nothing, at once; the page may come a second later.
    """
    if port is None:
        yield
        return
    try:
        process = _start(folder, port)
    except OSError as error:
        say(f"The live page could not be started ({error}); the run goes on.")
        yield
        return
    listener = threading.Thread(target=_listen, args=(process, say), name="live-page", daemon=True)
    listener.start()
    try:
        yield
    finally:
        _end(process)
        listener.join(_END_S)


def _start(folder: Path, port: int) -> "subprocess.Popen[bytes]":
    """Start the server; it ends when the pipe to its standard input does, so it outlives nobody."""
    package = Path(scaling_sweep.__file__).resolve().parent.parent
    # `-m` would put the working directory first, where people keep code of their own.
    start = (
        "import sys; sys.path.append(sys.argv.pop()); "
        "from scaling_sweep.serving.server import main; main()"
    )
    return subprocess.Popen(
        [sys.executable, "-P", "-c", start, _absolute(folder), str(port), str(package)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "MPLBACKEND": "agg"},
        start_new_session=True,  # Ctrl-C is for the run; the page follows when the run is over
    )


def _absolute(folder: Path) -> str:
    return str(folder.resolve() if as_remote(folder) is None else folder)


def _listen(process: "subprocess.Popen[bytes]", say: Callable[[str], None]) -> None:
    assert process.stdout is not None
    with process.stdout as lines:
        for line in lines:
            say(line.decode(errors="replace").rstrip())


def _end(process: "subprocess.Popen[bytes]") -> None:
    with suppress(OSError):
        assert process.stdin is not None
        process.stdin.close()
    try:
        process.wait(_END_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
