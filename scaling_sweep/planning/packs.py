"""Which packs to run next: the trials that have no row yet, stacked and ordered."""

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from itertools import groupby

from scaling_sweep.planning.cost import GUESSED_STEP_TIME, StepTime
from scaling_sweep.planning.grid import all_trials
from scaling_sweep.planning.room import MemoryRoom
from scaling_sweep.planning.trials import Pack, SharedKey, Trial, shared_key
from scaling_sweep.spec import SweepSpec

# With four packs a slot, the longest first, slots end within a quarter of each other (guess).
_PACKS_PER_SLOT = 4
# Stacking has gained most of what it gains from about here (measured, LOG 2026-11-20).
_MIN_FAIR_TRIALS = 24


def plan_packs(
    spec: SweepSpec,
    done: Collection[str] = (),
    *,
    num_examples: int | None = None,
    max_trials_per_pack: int | None = None,
    num_slots: int = 1,
    step_time: StepTime = GUESSED_STEP_TIME,
    room: MemoryRoom | None = None,
) -> tuple[Pack, ...]:
    """Return the packs to run next; none when the study is finished.

    Missing trials are grouped by all but lr, damping and seed. A group larger than a pack may be is
    split evenly, whole seeds together where they fit, because the trials of one seed share
    their data. The most expensive pack comes first, so that none is left to run alone at the
    end (longest processing time first).

    Args:
        spec: The study.
        done: `trial_id` of the trials that need not run again.
        num_examples: Examples in the task's data, for a horizon in epochs; None when they never
            end.
        max_trials_per_pack: Most trials in one pack; by default what the study says, and
            without that no limit.
        num_slots: Packs that will train at the same time. With several, packs are made small
            enough that each slot gets some, but not so small that stacking gains nothing.
        step_time: What a step costs, to order the packs by.
        room: What memory lets packs be; None where it is not looked at.

    Returns:
        Packs with every missing trial exactly once.

    Raises:
        ValueError: If `max_trials_per_pack` is below 1.
    """
    limit = max_trials_per_pack or spec.resources.max_trials_per_pack
    if max_trials_per_pack is not None and max_trials_per_pack < 1:
        raise ValueError(f"A pack holds at least 1 trial, got {max_trials_per_pack}.")
    finished = frozenset(done)
    trials = all_trials(spec)
    # Names take long to work out for thousands of trials, and tell nothing where none is finished.
    missing = [item for item in trials if item.trial_id not in finished] if finished else trials
    groups, num_missing = group_trials(missing), len(missing)
    fair = _fair_limit(num_missing, num_slots) if num_slots > 1 else num_missing
    packs = [
        Pack(chunk, spec.horizon.num_steps(key.batch_size, num_examples))
        for key, trials in groups.items()
        for chunk in split_trials(trials, most_trials(key, min(limit or fair, fair), room))
    ]
    # Sorting is stable and the grid's order fixed, so the plan is too.
    return tuple(sorted(packs, key=step_time.seconds, reverse=True))


def _fair_limit(num_trials: int, num_slots: int) -> int:
    """Return the most trials a pack may have so that no slot waits long for another's last pack."""
    return max(_MIN_FAIR_TRIALS, math.ceil(num_trials / (num_slots * _PACKS_PER_SLOT)))


def group_trials(trials: Iterable[Trial]) -> dict[SharedKey, list[Trial]]:
    """Put trials together that can be stacked.

    Args:
        trials: Any.

    Returns:
        Groups in the order of their first trials, as their trials are.
    """
    groups: defaultdict[SharedKey, list[Trial]] = defaultdict(list)
    for key, some in groupby(trials, key=shared_key):
        groups[key] += some
    return groups


def most_trials(key: SharedKey, most: int, room: MemoryRoom | None) -> int:
    """Return the most trials of a pack, as far as memory allows so many.

    Args:
        key: What they share.
        most: How many there may be otherwise.
        room: What memory lets packs be; None where it is not looked at.

    Returns:
        At least 1: a trial that does not fit alone says so when it is trained.
    """
    if room is None:
        return most
    return max(1, min(most, room.most_copies(key.optimizer.label, key.batch_size)))


def split_trials(trials: Sequence[Trial], most: int) -> tuple[tuple[Trial, ...], ...]:
    """Split the trials of a group into even chunks, keeping a seed whole where it fits.

    Args:
        trials: Trials that differ in lr, damping and seed only.
        most: Most trials in a chunk, at least 1.

    Returns:
        Chunks with every trial exactly once, each ordered by seed, then lr, then damping.
    """
    by_seed: defaultdict[int, list[Trial]] = defaultdict(list)
    for trial in sorted(trials, key=_order):
        by_seed[trial.seed].append(trial)
    portions = [part for seed in by_seed.values() for part in _deal(seed, most)]
    num_chunks = math.ceil(len(trials) / most)
    while True:
        chunks = _level(portions, num_chunks)
        if all(len(chunk) <= most for chunk in chunks):
            return tuple(tuple(sorted(chunk, key=_order)) for chunk in chunks)
        num_chunks += 1


def _order(trial: Trial) -> tuple[int, float, float]:
    """Return what the trials of a pack are ordered by."""
    return trial.seed, trial.lr, trial.damping or 0.0


def _deal(trials: Sequence[Trial], most: int) -> Iterable[Sequence[Trial]]:
    """Return one seed's trials dealt out like cards when they are too many for a chunk.

    Every part then spans the whole range of boldness: bold trials diverge early and cost little,
    and no part should have them all.
    """
    num_parts = math.ceil(len(trials) / most)
    ranked = sorted(trials, key=lambda trial: trial.boldness)
    return [ranked[first::num_parts] for first in range(num_parts)]


def _level(portions: Iterable[Sequence[Trial]], num_chunks: int) -> list[list[Trial]]:
    """Return chunks, each portion, largest first, put where there is least so far."""
    chunks: list[list[Trial]] = [[] for _ in range(num_chunks)]
    for portion in sorted(portions, key=len, reverse=True):
        min(chunks, key=len).extend(portion)
    return [chunk for chunk in chunks if chunk]
