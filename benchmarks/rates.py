"""Figures of programs that train trials, and our ratios to the others."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmarks.tables import markdown_table
from benchmarks.timing import Timed


@dataclass(frozen=True)
class Entry:
    """One program's figures.

    Attributes:
        name: What ran.
        num_trials: Trials it trained.
        timed: Its cost from start to exit.
        training_s: From the first trial's begin to the last one's end.
        num_workers: Processes that trained.
        final_losses: By trial key, of those that reached a verdict; infinite when not finite.
        busy_share: Share of the workers' time in ``training_s`` that packs took; None for peers.
    """

    name: str
    num_trials: int
    timed: Timed
    training_s: float
    num_workers: int | None
    final_losses: Mapping[str, float]
    busy_share: float | None = None

    @property
    def num_verdicts(self) -> int:
        """Trials that ended as stable or diverged."""
        return len(self.final_losses)

    @property
    def startup_s(self) -> float:
        """All time outside training: start of the program and of Ray, and the way out."""
        return self.timed.wall_time_s - self.training_s

    @property
    def training_rate(self) -> float:
        """Trials per second while it trained."""
        return self.num_trials / self.training_s

    @property
    def whole_rate(self) -> float:
        """Trials per second from start to exit."""
        return self.num_trials / self.timed.wall_time_s

    def rate_at(self, num_trials: int) -> float:
        """Return the trials per second, start to exit, were there that many trials."""
        return num_trials / (self.startup_s + num_trials / self.training_rate)

    @property
    def cpu_s_per_trial(self) -> float:
        """CPU seconds of all its processes, start-up included, per trial."""
        return self.timed.cpu_time_s / self.num_trials


def count_agreeing(ours: Entry, peer: Entry, stable_below: Mapping[str, float]) -> str:
    """Say how the verdicts of the trials that both trained compare.

    Args:
        ours: Our own program.
        peer: Another.
        stable_below: The loss up to which a trial counts as stable, by its key.

    Returns:
        One sentence.
    """
    keys = list(peer.final_losses)
    own, other = (
        [entry.final_losses[key] <= stable_below[key] for key in keys] for entry in (ours, peer)
    )
    if not keys:
        return f"No trial of {peer.name} reached a verdict"
    agreeing = sum(mine == theirs for mine, theirs in zip(own, other, strict=True))
    return (
        f"{agreeing} of {len(keys)} verdicts agree with {peer.name}; "
        f"stable: ours {sum(own) / len(keys):.1%}, theirs {sum(other) / len(keys):.1%}"
    )


def render_table(ours: Entry, peers: Sequence[Entry]) -> str:
    """Return the figures of each program and our ratios to the peers."""
    head = (
        *("program", "trials", "verdicts", "workers", "wall s", "start s", "whole /s"),
        *(f"at {ours.num_trials} /s", "training /s", "CPU s/trial"),
    )
    rows = [_entry_row(entry, ours.num_trials) for entry in (ours, *peers)]
    for peer in peers:
        ratios = (
            ours.whole_rate / peer.whole_rate,
            ours.whole_rate / peer.rate_at(ours.num_trials),
            ours.training_rate / peer.training_rate,
            peer.cpu_s_per_trial / ours.cpu_s_per_trial,
        )
        rows.append([f"ours × {peer.name}", *[""] * 5, *(f"{ratio:.1f}" for ratio in ratios)])
    return markdown_table(head, rows)


def _entry_row(entry: Entry, num_trials: int) -> list[str]:
    rates = (entry.whole_rate, entry.rate_at(num_trials), entry.training_rate)
    return [
        entry.name,
        f"{entry.num_trials}",
        f"{entry.num_verdicts}",
        f"{entry.num_workers}",
        f"{entry.timed.wall_time_s:.1f}",
        f"{entry.startup_s:.1f}",
        *(f"{rate:.3g}" for rate in rates),
        f"{entry.cpu_s_per_trial:.3f}",
    ]
