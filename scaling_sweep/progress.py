"""How far a run is, read from its folder by any process."""

from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from analysis.axes import AXES
from analysis.words.plain_text import plain_line
from scaling_sweep.errors import UserError
from scaling_sweep.planning import EdgeCount, all_trials, count_edges, read_measurements
from scaling_sweep.spec import SweepSpec, parse_sweep
from scaling_sweep.store import RunFolder


@dataclass(frozen=True)
class Failure:
    """Trials that could not be measured for the same reason.

    Attributes:
        reason: Why.
        num_trials: How many.
    """

    reason: str
    num_trials: int


@dataclass(frozen=True)
class RunStatus:
    """How far a run is.

    Attributes:
        name: The study.
        searched: The axis whose edge is looked for: ``lr`` or ``damping``.
        num_trials: Trials the sweep file asks for; by bisection, those that are finished.
        num_stable: Of them measured as stable.
        num_diverged: Measured as diverged.
        num_failed: Without a measurement after retries; the next run tries them again.
        failures: The failed ones by reason, most first.
        edges: How many edges a bisection has found; None for a grid.
    """

    name: str
    searched: str
    num_trials: int
    num_stable: int
    num_diverged: int
    num_failed: int
    failures: tuple[Failure, ...]
    edges: EdgeCount | None = None

    @property
    def num_left(self) -> int:
        """Trials without a row yet."""
        return self.num_trials - self.num_stable - self.num_diverged - self.num_failed

    def text(self) -> str:
        """Return the status as people read it."""
        done = self.num_trials - self.num_left
        first = (
            f"{self.name}: {done:,} of {self.num_trials:,} trials finished "
            f"({done / self.num_trials:.0%}), {self.num_left:,} left"
            if self.edges is None
            else f"{self.name}: {self.edges.text()}, {done:,} trials finished"
        )
        lines = [
            first,
            f"  searched: the {AXES[self.searched].edge}",
            f"  stable {self.num_stable:,}, diverged {self.num_diverged:,}, "
            f"failed {self.num_failed:,}",
        ]
        lines += [
            f"  failed {item.num_trials:,}: {plain_line(item.reason)}" for item in self.failures
        ]
        return "\n".join(lines)


def read_status(run: Path) -> RunStatus:
    """Read a run folder.

    Args:
        run: The folder, for example ``runs/digits``.

    Returns:
        Counts of its trials.

    Raises:
        UserError: If the folder holds no run.
    """
    folder = RunFolder(run)
    if not folder.sweep.exists():
        raise UserError(f"{run} holds no run (no sweep.yaml); name a folder such as runs/digits")
    spec = parse_sweep(folder.sweep.read_text(), folder.sweep).spec
    return count_status(spec, folder.read_rows())


def count_status(spec: SweepSpec, rows: pd.DataFrame) -> RunStatus:
    """Count the rows of a run against what its sweep asks for.

    Args:
        spec: The sweep.
        rows: From ``RunFolder.read_rows``.

    Returns:
        The counts.
    """
    counts = rows["verdict"].value_counts()
    measured = read_measurements(rows[rows["verdict"] != "failed"])
    failed = rows.loc[rows["verdict"] == "failed", "reason"].value_counts()
    return RunStatus(
        name=spec.name,
        searched=spec.parameters.searched,
        num_trials=len(rows) if spec.bisection else len(all_trials(spec)),
        num_stable=int(counts.get("stable", 0)),
        num_diverged=int(counts.get("diverged", 0)),
        num_failed=int(counts.get("failed", 0)),
        failures=tuple(Failure(str(reason), int(n)) for reason, n in failed.items()),
        edges=count_edges(spec, measured) if spec.bisection else None,
    )
