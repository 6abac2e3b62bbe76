"""What a piece of the program does to the machine, by Python's own audit events."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_FORBIDDEN = frozenset(
    {"pickle.find_class", "os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "os.fork"}
    | {"socket.connect", "ctypes.dlopen"}
)
_WRITING = frozenset({"os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.symlink", "os.chmod"})


class FaultError(Exception):
    """The program did what no input may make it do."""


@dataclass
class Watch:
    """Notes what a piece of the program does to the machine, by Python's audit events.

    Attributes:
        folder: The only place that may be written; None while nothing is watched.
        seen: What was done that may not be.
    """

    folder: Path | None = None
    seen: list[str] = field(default_factory=list)

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Take one event."""
        if self.folder is None:
            return
        if event in _FORBIDDEN:
            self.seen.append(f"{event} {arguments!r:.200}")
        elif event == "open" and self._writes(arguments):
            self._judge(event, arguments[0])
        elif event in _WRITING:
            for path in arguments[: 2 if event in {"os.rename", "os.symlink"} else 1]:
                self._judge(event, path)

    @staticmethod
    def _writes(arguments: tuple[Any, ...]) -> bool:
        _, mode, flags = arguments
        return bool(set(mode or "") & set("wax+")) or bool((flags or 0) & 0o1103)

    def _judge(self, event: str, path: object) -> None:
        assert self.folder is not None
        if not isinstance(path, str | bytes | Path):  # a descriptor that is open already
            return
        text = path.decode(errors="replace") if isinstance(path, bytes) else str(path)
        if text == "/dev/null" or "__pycache__" in text:
            return
        if event == "os.mkdir" and Path(text).is_dir():  # asks whether it is there
            return
        # Through links: where would the bytes really go?
        place = Path(text).resolve() if event == "open" else Path(text).parent.resolve()
        if not place.is_relative_to(self.folder.resolve()):
            self.seen.append(f"{event} {text}")

    @contextmanager
    def over(self, folder: Path) -> Iterator[None]:
        """Watch while the body runs, then raise a FaultError for the first forbidden thing."""
        self.folder, self.seen = folder, []
        try:
            yield
        finally:
            self.folder = None
        if self.seen:
            raise FaultError(f"did what no input may make it do: {self.seen[0]}")


WATCH = Watch()
"""Hears the events of this process; an audit hook cannot be taken away again."""
sys.addaudithook(lambda event, arguments: WATCH.hear(event, arguments))
