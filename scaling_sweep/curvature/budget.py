"""How long a measurement may take: checked at every product, so that it ends in time."""

import time
from collections.abc import Callable
from typing import TypeVar

_T = TypeVar("_T")


class OutOfTime(Exception):  # noqa: N818  # not an error: what was found so far is kept
    """The budget is spent; whoever asked for more does without."""


class Budget:
    """Seconds of wall-clock time, counted from now.

    Args:
        max_seconds: How many; no bound when None.
        clock: Tells seconds.

    Attributes:
        max_seconds: As given.
        left_out: What there was no time for, in words.

    Example:
        >>> seconds = iter((0.0, 1.0, 3.0))
        >>> budget = Budget(2.0, lambda: next(seconds))
        >>> [budget.attempt(what, lambda: "done", "") for what in ("this", "that")]
        ['done', '']
        >>> budget.left_out
        ['that']
    """

    def __init__(
        self, max_seconds: float | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.max_seconds = max_seconds
        self.left_out: list[str] = []
        self._clock, self._begin = clock, clock()

    def check(self) -> None:
        """Do nothing while there is time.

        Raises:
            OutOfTime: If there is none left.
        """
        if self.max_seconds is not None and self._clock() - self._begin >= self.max_seconds:
            raise OutOfTime

    def attempt(self, what: str, measure: Callable[[], _T], otherwise: _T) -> _T:
        """Measure something, or note that it was left out.

        Args:
            what: What it is, in words.
            measure: Does it; may run out of time on the way.
            otherwise: What stands for it then.

        Returns:
            What was measured, or what stands for it.
        """
        try:
            self.check()
            return measure()
        except OutOfTime:
            self.left_out.append(what)
            return otherwise
