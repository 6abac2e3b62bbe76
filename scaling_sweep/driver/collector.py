"""What becomes of a pack: its rows stored the moment they arrive, or rows that say why not."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ray import tune

from scaling_sweep.driver.failures import PackClock
from scaling_sweep.driver.searcher import PackSearcher
from scaling_sweep.errors import UserError
from scaling_sweep.planning import Pack
from scaling_sweep.rows import PackRows, rows_of_failure, rows_of_result
from scaling_sweep.training.records import PackResult


class Watcher(Protocol):
    """Told of a run as it goes; what it does must be quick and must not raise."""

    def on_pack(self, pack: Pack, rows: PackRows, wall_time_s: float) -> None:
        """Hear that a pack's rows are stored."""
        ...


@dataclass
class Collector(tune.Callback):  # type: ignore[misc]  # Ray is untyped
    """Stores every pack's rows the moment they arrive.

    Attributes:
        searcher: Handed the packs out, and takes them back.
        store: Stores the rows of one pack.
        watchers: Told after each pack.
        clock: Ends packs that take too long.
        problem: Why rows could not be stored; None as long as they could.
    """

    searcher: PackSearcher
    store: Callable[[PackRows], None]
    watchers: Sequence[Watcher]
    clock: PackClock
    problem: UserError | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave everything behind when Tune saves its own state, which nobody reads."""
        return {}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:  # noqa: ANN401
        """Begin to count a pack's seconds."""
        self.clock.start(trial)

    def on_step_end(self, iteration: int, trials: list[Any], **_: Any) -> None:  # noqa: ANN401
        """End packs that take too long; Tune calls this about ten times a second."""
        self.clock.end_overdue(trials)

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:  # noqa: ANN401
        """Store the rows of a pack that trained, and let go of them."""
        self.clock.stop(trial)
        pack, last = self.searcher.take_back(trial.trial_id), trial.last_result or {}
        last.pop("config", None)  # a copy of the pack, for which Tune has no use any more
        result: PackResult | None = last.pop("pack_result", None)
        if result is not None:
            self._keep(result.pack, rows_of_result(result), result.wall_time_s)
        elif pack is not None:
            self.searcher.lose()

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **_: Any) -> None:  # noqa: ANN401
        """Store rows that say why a pack could not be trained, after the last retry."""
        self.clock.stop(trial)
        pack = self.searcher.take_back(trial.trial_id)
        if pack is not None:
            self._keep(pack, rows_of_failure(pack, self.clock.reason(trial)), 0.0)

    def _keep(self, pack: Pack, rows: PackRows, wall_time_s: float) -> None:
        if self.problem is not None:
            return
        try:
            self.store(rows)
        except UserError as error:
            # Raising inside Tune would bury the line in a traceback: the stopper ends the run.
            self.problem = error
            return
        self.searcher.hear(pack, rows)
        for watcher in self.watchers:
            watcher.on_pack(pack, rows, wall_time_s)


class StopOnProblem(tune.Stopper):  # type: ignore[misc]  # Ray is untyped
    """Ends the run when rows cannot be stored.

    Args:
        collector: Stores them.
    """

    def __init__(self, collector: Collector) -> None:
        self._collector = collector

    def __getstate__(self) -> dict[str, Any]:
        """Leave everything behind when Tune saves its own state, which nobody reads."""
        return {}

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Stop no single pack."""
        return False

    def stop_all(self) -> bool:
        """Stop all packs once there is a problem."""
        return self._collector.problem is not None
