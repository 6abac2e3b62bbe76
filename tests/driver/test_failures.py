"""Packs that take too long, workers that take too much, and what is said of them; without Ray."""

import subprocess
import sys
from types import SimpleNamespace

import pytest

from scaling_sweep.driver import failures
from scaling_sweep.driver.failures import PackClock, short_reason

SPEND = """
import sys
from scaling_sweep.memory_limit import limit_memory
limit_memory(float(sys.argv[1]))
small = bytearray(2**25)
try:
    large = bytearray(2**29)
except MemoryError:
    print("refused")
"""


class Clock:
    """A monotonic clock that is set by hand, and a list of actors that were killed.

    Attributes:
        now_s: What it shows.
        killed: Actors.
    """

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.killed: list[str] = []


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Replace the clock and the killing."""
    clock = Clock()
    monkeypatch.setattr(failures.time, "monotonic", lambda: clock.now_s)
    monkeypatch.setattr(failures.ray, "kill", clock.killed.append)
    return clock


def made_up_trial(name: str) -> SimpleNamespace:
    """Return as much of a trial of Tune's as is looked at."""
    state = SimpleNamespace(ray_actor=f"actor of {name}")
    return SimpleNamespace(trial_id=name, temporary_state=state, error_file=None)


def test_a_pack_over_its_time_is_ended_once(clock: Clock) -> None:
    """Each attempt has the whole time, and only the one that is over it is ended."""
    packs, slow, quick = PackClock(10), made_up_trial("slow"), made_up_trial("quick")
    packs.start(slow)
    clock.now_s += 6
    packs.start(quick)
    packs.end_overdue([slow, quick])
    assert clock.killed == []

    clock.now_s += 5
    for _ in range(3):
        packs.end_overdue([slow, quick])
    assert clock.killed == ["actor of slow"]
    assert packs.reason(slow).startswith("took longer than 10 s (resources.pack_timeout)")

    packs.start(slow)  # Tune tries it again
    clock.now_s += 9
    packs.stop(quick)
    packs.end_overdue([slow, quick])
    assert clock.killed == ["actor of slow"]
    assert packs.reason(slow) == "the worker was lost"  # this time, something else


def test_without_a_limit_packs_take_as_long_as_they_like(clock: Clock) -> None:
    """Null waits for ever."""
    packs, slow = PackClock(None), made_up_trial("slow")
    packs.start(slow)
    clock.now_s += 1e9
    packs.end_overdue([slow])
    assert clock.killed == []


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "the worker was lost"),
        ("Traceback\n  File x\nValueError: no\n", "ValueError: no"),
        (
            "ray.exceptions.ActorDiedError: The actor died unexpectedly.\n\tclass_name: X\nThe "
            "actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR …",
            "the worker's process died: killed, out of memory, or crashed",
        ),
        (
            "ray.exceptions.ActorDiedError: The actor died because of an error raised in its "
            "creation task, (pid=1)\n  File x\nscaling_sweep.errors.UserError: Task 'a:b': no",
            "scaling_sweep.errors.UserError: Task 'a:b': no",
        ),
        (
            "ray.exceptions.OutOfMemoryError: Task was killed\nby the memory monitor\nSet RAY_x",
            "Ray ended the worker because the machine ran out of memory; write resources: "
            "{memory_gib: …}, or run fewer packs at a time: resources.cpus",
        ),
    ],
)
def test_a_failure_is_one_line(text: str, expected: str) -> None:
    """What Ray says at length is said in one line."""
    assert short_reason(text) == expected


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited on Linux only")
@pytest.mark.parametrize(("limit_gib", "shown"), [("0.4", "refused\n"), ("2", "")])
def test_a_worker_keeps_to_its_memory(limit_gib: str, shown: str) -> None:
    """Half a GiB more is refused under a limit of 0.4 GiB and had under one of 2."""
    done = subprocess.run(
        [sys.executable, "-c", SPEND, limit_gib], capture_output=True, text=True, check=True
    )
    assert done.stdout == shown


@pytest.mark.skipif(sys.platform != "linux", reason="memory is limited on Linux only")
def test_a_limit_below_what_a_worker_takes_says_so() -> None:
    """The reason names the key and what a worker takes before it trains."""
    done = subprocess.run([sys.executable, "-c", SPEND, "0.001"], capture_output=True, text=True)
    last = done.stderr.splitlines()[-1]
    assert last.startswith("MemoryError: resources.memory_gib is 0.001, and a worker takes 0.0")
