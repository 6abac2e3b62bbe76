"""How fast a run is going, from the times at which its parts were written."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from analysis.words.formatting import format_number
from scaling_sweep.planning import Pack
from scaling_sweep.planning.cost import GUESSED_STEP_TIME
from scaling_sweep.previewing import format_duration

# A run that stores nothing for so many times its longest pause so far may have stopped (guess).
_PATIENCE = 5.0
# Ray alone may take half of this to start (measured, LOG 2026-11-20).
_LEAST_PATIENCE_S = 60.0


@dataclass(frozen=True)
class Stored:
    """A part and when it was written.

    Attributes:
        path: The file.
        at_s: Seconds since 1970, by the clock of the disk.
    """

    path: Path
    at_s: float


@dataclass(frozen=True)
class Pace:
    """How fast the latest session of a run is going.

    A session begins when the run command writes the folder's ``environment.json``.

    Attributes:
        num_trials: Trials that it stored.
        elapsed_s: From its beginning to the last part, or to now while it goes on.
        quiet_s: Since its last part, or since its beginning.
        stalled: Whether it has been quiet for so long that it may have stopped.
        left_s: Time that the rest would take at this pace; None where that cannot be said.
    """

    num_trials: int
    elapsed_s: float
    quiet_s: float
    stalled: bool
    left_s: float | None

    @property
    def trials_per_s(self) -> float:
        """Trials stored per second, start-up included."""
        return self.num_trials / self.elapsed_s if self.elapsed_s > 0 else 0.0

    def text(self) -> str:
        """Return one line for people.

        Example:
            >>> Pace(120, 60.0, 2.0, False, 300.0).text()
            '2 trials/s, about 5.0 min left'
            >>> Pace(0, 10.0, 900.0, True, None).text()
            'nothing stored for 15.0 min: where it was stopped, the same run command goes on'
        """
        if self.stalled:
            return (
                f"nothing stored for {format_duration(self.quiet_s)}: where it was stopped, the "
                "same run command goes on"
            )
        if not self.num_trials:
            return f"no pack stored yet, {format_duration(self.quiet_s)} after the start"
        left = "" if self.left_s is None else f", about {format_duration(self.left_s)} left"
        return f"{format_number(self.trials_per_s)} trials/s{left}"


def measure_pace(
    began_s: float,
    stored: Sequence[Stored],
    num_trials: int,
    share_left: float | None,
    now_s: float,
) -> Pace:
    """Measure the pace of a session.

    Args:
        began_s: When it began, seconds since 1970.
        stored: Its parts, in any order.
        num_trials: Trials in them.
        share_left: Work that is left, as a multiple of the session's work so far; 0 when nothing
            is left, None where the rest is not known.
        now_s: The time now.

    Returns:
        The pace.

    Example:
        >>> parts = [Stored(Path("a"), 10.0), Stored(Path("b"), 20.0)]
        >>> pace = measure_pace(0.0, parts, num_trials=40, share_left=2.0, now_s=25.0)
        >>> pace.trials_per_s, pace.left_s, pace.stalled
        (1.6, 50.0, False)
    """
    times = [began_s, *sorted(part.at_s for part in stored)]
    # A disk's clock may be ahead of ours.
    quiet_s = max(0.0, now_s - times[-1])
    pauses = [after - before for before, after in pairwise(times)]
    finished = share_left == 0
    stalled = not finished and quiet_s > max(_LEAST_PATIENCE_S, _PATIENCE * max(pauses, default=0))
    over = finished or stalled
    elapsed_s = max(0.0, times[-1] - began_s if over else now_s - began_s)
    known = share_left is not None and stored and not over
    left_s = elapsed_s * share_left if known and share_left is not None else None
    return Pace(num_trials, elapsed_s, quiet_s, stalled, left_s)


def work_of(packs: Iterable[Pack]) -> float:
    """Return the work in packs, in the units that plans are ordered by."""
    return sum(GUESSED_STEP_TIME.seconds(pack) for pack in packs)
