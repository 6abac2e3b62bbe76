"""How a run looks while it goes: a bar in a terminal, a line now and then elsewhere, or silence."""

import time
import warnings
from collections.abc import Sequence
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from scaling_sweep.planning import Pack
from scaling_sweep.planning.cost import GUESSED_STEP_TIME
from scaling_sweep.previewing import format_duration
from scaling_sweep.rows import PackRows

# Where no terminal redraws, a line at every tenth of the work says enough.
_SHARE_BETWEEN_LINES = 0.1
_PACKS_BETWEEN_LINES = 10


class SilentDisplay:
    """Shows nothing; warnings are not lost, they become Python's."""

    def on_plan(self, packs: Sequence[Pack], num_done: int) -> None:
        """Say nothing."""

    def on_stage(self, text: str) -> None:
        """Say nothing."""

    def on_pack(self, pack: Pack, rows: PackRows, wall_time_s: float) -> None:
        """Say nothing."""

    def on_warning(self, text: str) -> None:
        """Warn once about what went wrong without failing the run."""
        warnings.warn(text, stacklevel=2)


class TerminalDisplay:
    """Shows packs, trials, how many diverged so far, and the time left.

    Args:
        console: Where to.
        name: The study.
        is_search: Whether packs follow that are not planned yet, so that there is no end to show.
    """

    def __init__(self, console: Console, name: str, is_search: bool = False) -> None:
        self._console = console
        self._is_search = is_search
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("[bold]{task.fields[name]}[/]"),
            BarColumn(bar_width=28),
            TextColumn("{task.description}"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._task: TaskID = self._progress.add_task("", name=name, total=None)
        self._num_packs = self._num_trials = self._packs_done = self._trials_done = 0
        self._num_diverged = self._num_failed = 0
        self._work = self._work_done = self._last_line = 0.0
        self._began = time.monotonic()

    def __enter__(self) -> Self:
        """Begin to draw."""
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the terminal clean."""
        self._progress.stop()

    def on_stage(self, text: str) -> None:
        """Show what is being waited for."""
        self._began = time.monotonic()
        self._progress.update(self._task, description=text)

    def on_plan(self, packs: Sequence[Pack], num_done: int) -> None:
        """Show what will run."""
        self._num_packs = len(packs)
        self._num_trials = sum(pack.num_trials for pack in packs)
        self._work = sum(GUESSED_STEP_TIME.seconds(pack) for pack in packs)
        self._progress.update(self._task, total=None if self._is_search else self._work or 1.0)
        there = f", {num_done:,} trials are there already" if num_done else ""
        begin = " to begin with; more as edges show" if self._is_search and packs else ""
        self._console.print(
            f"{self._num_trials:,} trials in {self._num_packs:,} packs to run{begin}{there}."
        )

    def on_pack(self, pack: Pack, rows: PackRows, wall_time_s: float) -> None:
        """Show that a pack is finished."""
        self._packs_done += 1
        self._trials_done += pack.num_trials
        self._num_diverged += int((rows.results["verdict"] == "diverged").sum())
        self._num_failed += int((rows.results["verdict"] == "failed").sum())
        self._work_done += GUESSED_STEP_TIME.seconds(pack)
        text = self._describe()
        self._progress.update(self._task, completed=self._work_done, description=text)
        if self._console.is_terminal:
            return
        if self._is_search:
            if self._packs_done % _PACKS_BETWEEN_LINES == 0:
                self._console.print(text)
            return
        share = self._work_done / self._work
        finished = self._packs_done == self._num_packs
        if share - self._last_line >= _SHARE_BETWEEN_LINES or finished:
            self._last_line = share
            self._console.print(f"{share:4.0%}  {text}")

    def on_warning(self, text: str) -> None:
        """Print one line about what went wrong without failing the run."""
        self._console.print(f"Warning: {text}", style="yellow", markup=False, soft_wrap=True)

    def _describe(self) -> str:
        failed = f", {self._num_failed:,} failed" if self._num_failed else ""
        if self._is_search:
            return (
                f"packs {self._packs_done:,}  trials {self._trials_done:,}, "
                f"{self._num_diverged:,} diverged{failed}"
            )
        elapsed = time.monotonic() - self._began
        left = elapsed * (self._work / self._work_done - 1)
        return (
            f"packs {self._packs_done:,}/{self._num_packs:,}  "
            f"trials {self._trials_done:,}/{self._num_trials:,}, "
            f"{self._num_diverged:,} diverged{failed}  {format_duration(left)} left"
        )
