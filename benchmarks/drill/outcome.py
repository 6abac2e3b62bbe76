"""What a drill found, and the words for it."""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How a drill ended; the values stand in the table."""

    HELD = "held"
    BROKEN = "**broken**"
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
