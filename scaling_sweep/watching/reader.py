"""Reading a run folder again and again, each part once."""

import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pandas as pd

from analysis.summaries import GroupFit
from analysis.tables import normalize_table
from scaling_sweep.errors import UserError
from scaling_sweep.parts import join_parts, read_parts
from scaling_sweep.planning import all_trials, plan_packs
from scaling_sweep.progress import count_status
from scaling_sweep.spec import SweepSpec, parse_sweep
from scaling_sweep.store import RunFolder
from scaling_sweep.watching.edges import find_groups, list_edges
from scaling_sweep.watching.pace import Pace, Stored, measure_pace, work_of
from scaling_sweep.watching.view import RunView, StoredPack

# A screenful together with the edges (by eye).
NUM_LAST_PACKS = 5


@dataclass(frozen=True)
class Snapshot:
    """What lay in a run folder at one moment.

    Attributes:
        spec: The sweep.
        text: Its file.
        began_s: When its latest session began, seconds since 1970; None when there was none.
        parts: Its parts, the oldest first.
        rows: Their rows, each trial once, without curves.
        by_part: The rows of each part, in the order of ``parts``.
    """

    spec: SweepSpec
    text: str
    began_s: float | None
    parts: tuple[Stored, ...]
    rows: pd.DataFrame
    by_part: tuple[pd.DataFrame, ...]

    @cached_property
    def trials(self) -> pd.DataFrame:
        """The rows as figures take them; empty without any."""
        if self.rows.empty:
            return self.rows
        return normalize_table(self.rows, "the run folder", {}, own=True).frame

    @cached_property
    def groups(self) -> tuple[GroupFit, ...]:
        """The edges so far."""
        return () if self.rows.empty else find_groups(self.trials)

    def view(self, now_s: float) -> RunView:
        """Return what is shown of it.

        Args:
            now_s: The time now, seconds since 1970.

        Returns:
            Counts, pace, last packs and edges.
        """
        status = count_status(self.spec, self.rows)
        edges = status.edges
        complete = (
            status.num_left == 0 if edges is None else edges.num_found >= edges.num_wanted > 0
        )
        return RunView(
            status=status,
            complete=complete,
            pace=None if self.began_s is None else self._pace(self.began_s, complete, now_s),
            last_packs=self._last_packs(now_s),
            edges_so_far=tuple(list_edges(self.groups)),
        )

    def _pace(self, began_s: float, complete: bool, now_s: float) -> Pace:
        session = [
            (part, rows)
            for part, rows in zip(self.parts, self.by_part, strict=True)
            if part.at_s >= began_s
        ]
        num_trials = sum(len(rows) for _, rows in session)
        left = 0.0 if complete else self._share_left({i for _, r in session for i in r["trial_id"]})
        return measure_pace(began_s, [part for part, _ in session], num_trials, left, now_s)

    def _share_left(self, in_session: set[str]) -> float | None:
        """Return the work that is left over the work that the session did."""
        # A search by bisection decides what is left as it goes.
        if self.spec.bisection is not None or not in_session:
            return None
        known = "num_examples" in self.rows
        sizes = self.rows["num_examples"].dropna().tolist() if known else []
        num_examples = int(sizes[0]) if sizes else None
        done = set(self.rows["trial_id"])
        left = plan_packs(self.spec, done, num_examples=num_examples)
        others = {trial.trial_id for trial in all_trials(self.spec)} - in_session
        here = plan_packs(self.spec, others, num_examples=num_examples)
        return work_of(left) / work_of(here) if here else None

    def _last_packs(self, now_s: float) -> tuple[StoredPack, ...]:
        newest = list(zip(self.parts, self.by_part, strict=True))[: -NUM_LAST_PACKS - 1 : -1]
        return tuple(_describe_pack(part, rows, now_s) for part, rows in newest if len(rows))


class RunReader:
    """Reads one run folder; a part that was read once is not read again.

    Args:
        run: The folder, for example ``runs/digits``.
    """

    def __init__(self, run: Path) -> None:
        self._folder = RunFolder(run)
        self._known: dict[Stored, pd.DataFrame] = {}
        self._last: Snapshot | None = None

    def look(self) -> Snapshot:
        """Return what lies there now; the same object as before while nothing changed.

        Returns:
            The snapshot.

        Raises:
            UserError: If the folder holds no run, or something in it does not read.
        """
        text = self._read_sweep()
        began_s = _written_at(self._folder.environment)
        stored = [Stored(path, at_s) for path, at_s in self._folder.list_parts()]
        parts = tuple(sorted(stored, key=lambda part: part.at_s))
        last = self._last
        if last is not None and (last.text, last.began_s, last.parts) == (text, began_s, parts):
            return last
        new = [part for part in parts if part not in self._known]
        read = read_parts([part.path for part in new], curves=False)
        known = {**self._known, **dict(zip(new, read, strict=True))}
        # What is no longer there is forgotten with it.
        self._known = {part: known[part] for part in parts}
        by_part = tuple(self._known[part] for part in parts)
        spec = parse_sweep(text, self._folder.sweep).spec
        self._last = Snapshot(spec, text, began_s, parts, join_parts(by_part), by_part)
        return self._last

    def view(self) -> RunView:
        """Return what is shown of the run now.

        Returns:
            The view.

        Raises:
            UserError: As for ``look``.
        """
        return self.look().view(time.time())

    def _read_sweep(self) -> str:
        try:
            return self._folder.sweep.read_text()
        except FileNotFoundError:
            raise UserError(
                f"{self._folder.path} holds no run (no sweep.yaml); name a folder such as "
                "runs/digits"
            ) from None
        except (OSError, UnicodeDecodeError) as error:
            raise UserError(f"{self._folder.sweep} cannot be read ({error})") from error


def _written_at(path: Path) -> float | None:
    """Return when a file was written, None when it is not there."""
    try:
        return path.stat().st_mtime
    except OSError:
        return None


def _describe_pack(part: Stored, rows: pd.DataFrame, now_s: float) -> StoredPack:
    verdicts = rows["verdict"].value_counts()
    first = rows.iloc[0]
    return StoredPack(
        pack_id=part.path.stem,
        optimizer=str(first["optimizer"]),
        batch_size=int(first["batch_size"]),
        num_stable=int(verdicts.get("stable", 0)),
        num_diverged=int(verdicts.get("diverged", 0)),
        num_failed=int(verdicts.get("failed", 0)),
        age_s=max(0.0, now_s - part.at_s),
    )
