"""What is entered ahead is left again, whatever ends the block and whenever it was entered."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import pytest

from scaling_sweep.clusters.ahead import entered_ahead


class Door:
    """Notes who enters and leaves."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.opened = threading.Event()

    @contextmanager
    def enter(self) -> Iterator[str]:
        """Enter when it is open."""
        self.opened.wait()
        self.thread = threading.current_thread()
        self.log.append("entered")
        yield "inside"
        assert self.thread.is_alive()  # or Linux had killed what it started
        self.log.append("left")


def test_nothing_is_entered_that_nobody_asks_for() -> None:
    """Without `now` the context is not even made."""
    made = list[str]()

    def make() -> nullcontext[None]:
        made.append("made")
        return nullcontext()

    with entered_ahead(make, now=False):
        pass

    assert made == []


def test_what_is_asked_for_is_entered_here_and_left() -> None:
    """Without `now` the context is entered when it is asked for, in the thread that asks."""
    door = Door()
    door.opened.set()
    with entered_ahead(door.enter, now=False) as reach:
        assert door.log == []
        assert reach() == "inside"
        assert door.thread is threading.main_thread()
    assert door.log == ["entered", "left"]


def test_what_is_entered_meanwhile_is_left_by_a_thread_that_lives() -> None:
    """With `now` another thread enters, and lives until the context is left."""
    door = Door()
    with entered_ahead(door.enter, now=True) as reach:
        assert door.log == []
        door.opened.set()
        assert reach() == "inside"
        assert door.thread is not threading.main_thread()
    assert door.log == ["entered", "left"]


def test_an_error_before_it_is_entered_leaves_it_all_the_same() -> None:
    """A block that fails while the thread still enters waits for it, and the context is left."""
    door = Door()

    def fail() -> None:
        with entered_ahead(door.enter, now=True):
            threading.Timer(0.05, door.opened.set).start()
            raise ValueError("the task is broken")

    with pytest.raises(ValueError, match="the task is broken"):
        fail()
    assert door.log == ["entered"]


def test_an_error_of_entering_is_told_to_who_asks() -> None:
    """What entering raises is raised where the value is asked for, and nowhere else."""

    @contextmanager
    def locked() -> Iterator[str]:
        raise ConnectionError("no Ray")
        yield

    with entered_ahead(locked, now=True) as reach, pytest.raises(ConnectionError, match="no Ray"):
        reach()
    with entered_ahead(locked, now=True):
        pass
