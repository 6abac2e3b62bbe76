"""What a person or a program sees of a run from outside, in words and as JSON."""

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass

from analysis.words.formatting import format_lr_interval, format_rate
from analysis.words.plain_text import neutralize, plain_line
from scaling_sweep.previewing import format_duration
from scaling_sweep.progress import RunStatus
from scaling_sweep.watching.edges import EdgeSoFar
from scaling_sweep.watching.pace import Pace


@dataclass(frozen=True)
class StoredPack:
    """A pack whose rows are stored.

    Attributes:
        pack_id: Its name.
        optimizer: As the table has it.
        batch_size: Examples per step.
        num_stable: Trials measured as stable.
        num_diverged: Measured as diverged.
        num_failed: Without a measurement.
        age_s: Seconds since it was stored.
    """

    pack_id: str
    optimizer: str
    batch_size: int
    num_stable: int
    num_diverged: int
    num_failed: int
    age_s: float

    def text(self) -> str:
        """Return one line for people.

        Example:
            >>> StoredPack("ab", "sgd", 16, 6, 5, 1, 3.2).text()
            'sgd, B = 16: 6 stable, 5 diverged, 1 failed, 3 s ago'
        """
        failed = f", {self.num_failed:,} failed" if self.num_failed else ""
        return (
            f"{plain_line(self.optimizer)}, B = {self.batch_size}: {self.num_stable:,} stable, "
            f"{self.num_diverged:,} diverged{failed}, {format_duration(self.age_s)} ago"
        )


@dataclass(frozen=True)
class RunView:
    """A run as it is now.

    Attributes:
        status: Its counts.
        complete: Whether nothing is left to run; failed trials count as run.
        pace: How fast it goes; None before it began to train.
        last_packs: The packs stored last, the newest first.
        edges_so_far: Median edges of what is stored.
    """

    status: RunStatus
    complete: bool
    pace: Pace | None
    last_packs: tuple[StoredPack, ...]
    edges_so_far: tuple[EdgeSoFar, ...]

    def text(self) -> str:
        """Return what ``status`` prints. Nothing in it can move a terminal's cursor."""
        lines = neutralize(self.status.text()).splitlines()
        if self.pace is not None and not self.complete:
            lines.append(f"  {self.pace.text()}")
        if self.last_packs:
            lines += ["  last packs", *(f"    {pack.text()}" for pack in self.last_packs)]
        lines += self._edge_lines()
        return "\n".join(lines)

    def _edge_lines(self) -> Iterator[str]:
        group = None
        for edge in self.edges_so_far:
            if edge.group != group:
                group = edge.group
                yield f"  edges so far, {plain_line(group)}"
            yield f"    {describe_edge(edge)}"

    def json(self) -> str:
        """Return what ``status --json`` prints: the counts, then everything else by name."""
        rest = {
            "complete": self.complete,
            "pace": None
            if self.pace is None
            else {**asdict(self.pace), "trials_per_s": self.pace.trials_per_s},
            "last_packs": [asdict(pack) for pack in self.last_packs],
            "edges_so_far": [asdict(edge) for edge in self.edges_so_far],
        }
        return json.dumps({**asdict(self.status), **rest}, indent=2)


def describe_edge(edge: EdgeSoFar) -> str:
    """Return one line about an edge.

    Args:
        edge: The edge.

    Returns:
        Batch size, value, interval and number of seeds.

    Example:
        >>> describe_edge(EdgeSoFar("SGD", 16, None, 0.3, 0.25, None, "none", 2))
        'B = 16: 0.300 [0.250, ∞], 2 seeds'
        >>> describe_edge(EdgeSoFar("SGD", 16, None, 1.0, None, None, "right", 1))
        'B = 16: above 1.00, 1 seed'
    """
    held = "" if edge.lr is None else f", lr = {format_rate(edge.lr)}"
    ends = (0.0 if edge.low is None else edge.low, edge.high or float("inf"))
    beyond = {"left": "below ", "right": "above "}.get(edge.censored)
    value = f"{beyond or ''}{format_rate(edge.edge)}"
    interval = "" if beyond else f" {format_lr_interval(ends)}"
    seeds = f"{edge.num_seeds} seed{'' if edge.num_seeds == 1 else 's'}"
    return f"B = {edge.batch_size}{held}: {value}{interval}, {seeds}"
