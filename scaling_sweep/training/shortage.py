"""Out of memory: work is halved and goes on, a batch is cut where the sweep file allows it."""

import gc
import traceback
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from typing import Generic, TypeVar

import torch

from scaling_sweep.planning import Pack, Trial
from scaling_sweep.training.records import PackResult, TrialRecord

T = TypeVar("T")
Item = TypeVar("Item")
# How allocators other than torch's on a GPU say it; torch 2.15 with glibc, oneDNN and cuBLAS.
_SIGNS = (
    "not enough memory",
    "can't allocate memory",
    "cannot allocate memory",
    "bad_alloc",
    "out of memory",
    "alloc_failed",
    "could not create a memory object",
)
# train(pack, micro_batch) as a generator that gives the word back now and then.
Train = Callable[[Pack, int | None], Generator[int, None, PackResult]]


def is_shortage(error: BaseException) -> bool:
    """Tell whether an error means that memory did not suffice, on a CPU or a GPU.

    Args:
        error: Anything that was raised.

    Returns:
        Whether less work at once might do.

    Example:
        >>> is_shortage(RuntimeError("DefaultCPUAllocator: can't allocate memory: 8 bytes"))
        True
        >>> is_shortage(ValueError("shapes differ"))
        False
    """
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in _SIGNS)


@dataclass(frozen=True)
class _Shortage:
    """What was heard of the allocator; not the error itself, which holds on to tensors."""

    reason: str


@dataclass(frozen=True)
class WhatFits(Generic[Item, T]):
    """What was done where memory did not always suffice for all at once.

    Attributes:
        results: One of each part, in the order of the items.
        waiting: Items that were not done: not even one fits. Empty where all are.
        reason: What the allocator said last; empty where memory sufficed.
    """

    results: tuple[T, ...]
    waiting: tuple[Item, ...]
    reason: str


def do_what_fits(
    items: Sequence[Item],
    work: Callable[[tuple[Item, ...]], Generator[int, None, T]],
    cut: Callable[[], bool] = lambda: False,
) -> Generator[int, None, WhatFits[Item, T]]:
    """Do some work, in parts where memory does not suffice for the whole.

    What has been found to fit is kept for the rest.

    Args:
        items: What is worked on; memory grows with their number.
        work: Does some of them, from the beginning; it gives the word back now and then.
        cut: Makes the work on a single item smaller and says whether it could.

    Yields:
        What the work does.

    Returns:
        The results, and the items that do not fit.

    Example:
        >>> def add(items):
        ...     yield 0
        ...     if len(items) > 2:
        ...         raise MemoryError("no room")
        ...     return sum(items)
        >>> run_through(do_what_fits([1, 2, 3, 4, 5], add))
        WhatFits(results=(3, 7, 5), waiting=(), reason='no room')
    """
    waiting, results, most, reason = tuple(items), [], len(items), ""
    while waiting:
        part = waiting[:most]
        outcome = yield from _attempt(work(part))
        if not isinstance(outcome, _Shortage):
            results.append(outcome)
            waiting = waiting[most:]
            continue
        reason = outcome.reason
        if len(part) > 1:
            most = (len(part) + 1) // 2
        elif not cut():
            break  # those that wait are as large
    return WhatFits(tuple(results), waiting, reason)


def train_what_fits(
    pack: Pack, train: Train, micro_batch: int | None = None, *, may_cut: bool = False
) -> Generator[int, None, PackResult]:
    """Train a pack, in parts where memory does not suffice for the whole.

    A part begins anew with the same seeds and batches, so that it ends where it would have ended
    in the whole pack.

    Args:
        pack: The trials.
        train: Trains some of them, with batches taken in portions of so many examples.
        micro_batch: Examples computed at once; None for whole batches.
        may_cut: Whether a single copy that does not fit may be tried with smaller portions.

    Yields:
        Steps taken so far, of the part in hand.

    Returns:
        One record per trial; ``failed`` where not even one copy fits.
    """

    def work(trials: tuple[Trial, ...]) -> Generator[int, None, PackResult]:
        return train(Pack(trials, pack.num_steps), micro_batch)

    def cut() -> bool:
        nonlocal micro_batch
        whole = micro_batch or pack.batch_size
        if not may_cut or whole == 1:
            return False
        micro_batch = (whole + 1) // 2
        return True

    done = yield from do_what_fits(pack.trials, work, cut)
    text = _describe(done.reason, pack.batch_size, may_cut=may_cut)
    lost = [TrialRecord.of_failure(trial.trial_id, text) for trial in done.waiting]
    return _joined(pack, done.results, lost)


def run_through(work: Generator[int, None, T]) -> T:
    """Let some work go on whenever it gives the word back, and return its result."""
    while True:
        try:
            next(work)
        except StopIteration as finished:
            result: T = finished.value
            return result


def _attempt(work: Generator[int, None, T]) -> Generator[int, None, T | _Shortage]:
    """Do some work; when memory runs out let go of all it holds, and say so."""
    try:
        return (yield from work)
    except Exception as error:
        if not is_shortage(error):
            raise
        lines = str(error).strip().splitlines() or [type(error).__name__]
        found = _Shortage(lines[0][:120])
        traceback.clear_frames(error.__traceback__)
    # After the except clause: until its end Python keeps the error, and with it the tensors.
    release_memory()
    return found


def release_memory() -> None:
    """Give back what nobody uses any more, so that the next attempt finds room."""
    gc.collect()
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.empty_cache()


def _describe(reason: str, batch_size: int, *, may_cut: bool) -> str:
    portions = "" if may_cut else "write resources: {micro_batch: auto}, or take "
    return (
        f"out of memory with one copy at batch size {batch_size} ({reason}); "
        f"{portions}a smaller model or batch size"
    )


def _joined(pack: Pack, results: Sequence[PackResult], lost: Sequence[TrialRecord]) -> PackResult:
    """Return the parts as one pack's result."""
    records = {record.trial_id: record for result in results for record in result.records}
    records |= {record.trial_id: record for record in lost}
    whole = tuple(records[trial.trial_id] for trial in pack.trials)
    if not results:
        return PackResult(pack, whole, None, "", "", 0.0)
    seconds = sum(result.wall_time_s for result in results)
    return replace(results[0], pack=pack, records=whole, wall_time_s=seconds)
