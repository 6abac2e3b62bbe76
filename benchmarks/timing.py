"""Time a command from start to exit, the processes it starts included."""

import os
import platform
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

ROOT = Path(__file__).parent.parent
# A process's CPU time is known up to its last sighting, so each loses at most this much.
_POLL_S = 0.2


@dataclass(frozen=True)
class Timed:
    """What a command cost.

    Attributes:
        begin_s: When it was started, seconds since the epoch.
        wall_time_s: From start to exit.
        cpu_time_s: Of all processes it started; NaN where there is no ``/proc``.
        output: What it printed, errors included.
    """

    begin_s: float
    wall_time_s: float
    cpu_time_s: float
    output: str


@dataclass(frozen=True)
class _Sighting:
    """One process as ``/proc`` shows it: pids are used again, start times are not."""

    pid: int
    parent: int
    cpu_time_s: float
    started: str


def time_command(command: Sequence[str], env: Mapping[str, str] | None = None) -> Timed:
    """Run a command in the repository and time it.

    Ray's workers are nobody's waited-for children, so ``getrusage`` does not see them; their CPU
    time is read from ``/proc`` while they live.

    Args:
        command: Program and arguments.
        env: What to add to the environment.

    Returns:
        What it cost.

    Raises:
        RuntimeError: If it fails.
    """
    begin_s, begin = time.time(), time.perf_counter()
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        clock = _FamilyClock(process.pid)
        clock.start()
        output = process.communicate()[0]
        wall_time_s = time.perf_counter() - begin
    cpu_time_s = clock.stop()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} failed:\n{output}")
    return Timed(begin_s, wall_time_s, cpu_time_s, output)


class _FamilyClock(threading.Thread):
    """Adds up the CPU time of a process and of all that descend from it."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._family = {pid}
        self._seen: dict[tuple[int, str], float] = {}
        self._stopped = threading.Event()

    def run(self) -> None:
        """Look again and again until told to stop."""
        while not self._stopped.wait(_POLL_S):
            self._look()

    def stop(self) -> float:
        """Return the total in seconds."""
        self._stopped.set()
        self.join()
        return sum(self._seen.values()) if self._seen else float("nan")

    def _look(self) -> None:
        # Parents come before children in order of pid, but for a wrap of the counter; a child
        # that is missed now is found on the next look.
        for process in _processes():
            if process.parent in self._family or process.pid in self._family:
                self._family.add(process.pid)
                self._seen[process.pid, process.started] = process.cpu_time_s


def _processes() -> list[_Sighting]:
    pids = sorted(int(path.name) for path in Path("/proc").glob("[0-9]*"))
    return [sighting for pid in pids if (sighting := _sight(pid)) is not None]


def _sight(pid: int) -> _Sighting | None:
    """Return a process, or None when it has just ended."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return None
    # proc(5): the second field is the name in parentheses and may hold spaces; then come state,
    # parent, …, utime (14th field), stime (15th), …, start time (22nd).
    rest = text.rpartition(")")[2].split()
    cpu_time_s = (int(rest[11]) + int(rest[12])) / os.sysconf("SC_CLK_TCK")
    return _Sighting(pid, int(rest[1]), cpu_time_s, rest[19])


def describe_conditions() -> str:
    """Return one line: the date, the processor, its cores, and how busy they are already."""
    load = f"{os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else "unknown"
    return (
        f"{date.today()}, {_processor()}, {os.cpu_count()} cores, no GPU used, "
        f"load average before the start {load}"
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
