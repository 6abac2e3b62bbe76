"""Packs that end without a result: given up when they take too long, and the reason in one line."""

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ray

# What Ray 2.60 says of a worker that is gone, in many lines with ids and settings, and what it
# comes down to; the first that is found.
_KNOWN = (
    (
        "memory monitor",
        "Ray ended the worker because the machine ran out of memory; "
        "write resources: {memory_gib: …}, or run fewer packs at a time: resources.cpus",
    ),
    ("node has died", "the machine was lost"),
    ("worker process has died", "the worker's process died: killed, out of memory, or crashed"),
)
_MAX_LENGTH = 300


@dataclass
class PackClock:
    """Ends the worker of a pack that takes longer than it may, whatever holds it up.

    It runs in the driver: a worker that hangs in foreign code, in a system call or because it was
    stopped could not end itself. Tune then tries the pack again, as after any death of a worker.

    Attributes:
        limit_s: Seconds a pack may take once its worker is there; None for as long as it likes.
    """

    limit_s: float | None
    _began_s: dict[str, float] = field(default_factory=dict)
    _overdue: set[str] = field(default_factory=set)

    def start(self, trial: Any) -> None:  # noqa: ANN401
        """Begin to count the seconds of an attempt at a pack."""
        self._overdue.discard(trial.trial_id)
        self._began_s[trial.trial_id] = time.monotonic()

    def stop(self, trial: Any) -> None:  # noqa: ANN401
        """Count no more."""
        self._began_s.pop(trial.trial_id, None)

    def end_overdue(self, trials: list[Any]) -> None:
        """Kill the workers of packs that are over their time.

        Args:
            trials: Tune's trials; only those that were started and not stopped are looked at.
        """
        if self.limit_s is None or not self._began_s:
            return
        latest = time.monotonic() - self.limit_s
        late = {trial_id for trial_id, began_s in self._began_s.items() if began_s < latest}
        for trial in trials if late else ():
            actor = trial.temporary_state.ray_actor
            if trial.trial_id in late and actor is not None:
                self.stop(trial)
                self._overdue.add(trial.trial_id)
                ray.kill(actor)

    def reason(self, trial: Any) -> str:  # noqa: ANN401
        """Return why a pack ended without a result."""
        if trial.trial_id in self._overdue:
            return (
                f"took longer than {self.limit_s:g} s (resources.pack_timeout); raise it, or look "
                "where the task hangs"
            )
        return _reason_of(trial)


def _reason_of(trial: Any) -> str:  # noqa: ANN401
    """Return the line of the trial's last traceback that says what went wrong."""
    try:
        text = Path(trial.error_file).read_text()
    except (OSError, TypeError):
        text = ""
    return short_reason(text)


def short_reason(text: str) -> str:
    r"""Return one line for what Ray says about a failure.

    Args:
        text: A traceback, or the message of an error of Ray's.

    Returns:
        The last line, or what is known of a worker that is gone.

    Example:
        >>> short_reason("Traceback ...\nValueError: no batches of 64 today")
        'ValueError: no batches of 64 today'
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines:
        return "the worker was lost"
    known = (reason for sign, reason in _KNOWN if sign in text)
    return next(known, lines[-1][:_MAX_LENGTH])
