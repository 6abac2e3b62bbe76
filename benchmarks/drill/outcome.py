"""What a drill found, and the words for it."""

import os
from dataclasses import dataclass
from enum import StrEnum

# Load by core from which seconds are not held against a limit: everything then takes several times
# as long (a guess; 11 to 18 s instead of 2 were seen at 17 to 21).
_BUSY = 4.0


class Verdict(StrEnum):
    """How a drill ended; the values stand in the table."""

    HELD = "held"
    BROKEN = "**broken**"
    UNSURE = "machine too busy"
    SKIPPED = "not drilled"


@dataclass(frozen=True)
class Outcome:
    """One row of the table.

    Attributes:
        fault: What was done to the sweep; also the row's name.
        demand: What must hold.
        seen: Figures, or what was broken, or why it could not be drilled.
        verdict: Whether it held.
        when: Date and load of the machine.
    """

    fault: str
    demand: str
    seen: str
    verdict: Verdict
    when: str


class BrokenError(Exception):
    """Something that must hold did not; the message says what."""


class ImpossibleError(Exception):
    """This machine cannot do such a thing to a sweep; the message says what is missing."""


class TooBusyError(Exception):
    """All held but a time, on a machine that has far more to do than it can; the message says."""


def check_time(seconds: float, limit_s: float, seen: str) -> str:
    """Hold a time against its limit, after everything else was held against its own.

    Args:
        seconds: What it took.
        limit_s: What it may take.
        seen: Figures, for the table.

    Returns:
        The figures.

    Raises:
        BrokenError: If it took longer.
        TooBusyError: If it took longer where several processes wait for each core, so that the
            time says nothing about this program.

    Example:
        >>> check_time(2.0, 10.0, "ended in 2 s")
        'ended in 2 s'
    """
    if seconds <= limit_s:
        return seen
    if os.getloadavg()[0] > _BUSY * (os.cpu_count() or 1):
        raise TooBusyError(seen)
    raise BrokenError(seen)


def check(holds: object, text: str) -> None:
    """Raise a `BrokenError` unless something holds.

    Args:
        holds: What must be true.
        text: What to say if it is not.

    Raises:
        BrokenError: If it is not.

    Example:
        >>> check(1 + 1 == 2, "arithmetic")
    """
    if not holds:
        raise BrokenError(text)
