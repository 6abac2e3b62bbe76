"""Which pack Tune trains next: the search's answer, asked anew each time something was learned."""

from collections import deque
from typing import Any, Self

from ray.tune.search import Searcher

from scaling_sweep.planning import Pack, Search, read_measurements
from scaling_sweep.planning.following import FollowedSearch
from scaling_sweep.rows import PackRows


class Parcel:
    """A pack on its way through Tune, which copies every trial's config and keeps the copies.

    A copy is the parcel itself, so that emptying it lets go of the pack everywhere at once; what
    is pickled, for a worker, is a parcel of its own.

    Args:
        pack: What is in it.
    """

    def __init__(self, pack: Pack) -> None:
        self._pack: Pack | None = pack

    @property
    def pack(self) -> Pack:
        """What is in it; a ValueError once it has been emptied."""
        if self._pack is None:
            raise ValueError("This pack has returned already.")
        return self._pack

    def empty(self) -> Pack:
        """Take the pack out and return it."""
        pack, self._pack = self.pack, None
        return pack

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Return itself."""
        return self

    def __repr__(self) -> str:
        """Return few words: Tune writes out every config it sees."""
        return "Parcel()"


class PackSearcher(Searcher):  # type: ignore[misc]  # Ray is untyped
    """Hands out packs, one a Tune trial, and asks the search for more when they have returned.

    Args:
        search: Says which packs, knowing what has been found so far.
    """

    def __init__(self, search: Search) -> None:
        super().__init__()
        self._followed = FollowedSearch(search) if search.learns else None
        self._waiting = deque(() if search.learns else search.next_packs())
        self._handed_out: dict[str, Parcel] = {}
        self._num_unheard = 0
        self._has_lost = False
        self._has_news = True

    def __getstate__(self) -> dict[str, Any]:
        """Leave everything behind when Tune saves its own state, which nobody reads."""
        return {}

    @property
    def is_done(self) -> bool:
        """Whether the search wants nothing more and everything has returned."""
        return self._next() is None and not self._num_unheard and not self._has_lost

    def take_back(self, trial_id: str) -> Pack | None:
        """Return the pack of a trial that has ended; None the second time."""
        parcel = self._handed_out.pop(trial_id, None)
        return None if parcel is None else parcel.empty()

    def hear(self, pack: Pack, rows: PackRows) -> None:
        """Take in what a pack that was handed out has found, or that it found nothing."""
        self._num_unheard -= 1
        if self._followed is not None:
            self._followed.hear(read_measurements(rows.results), pack.trials)
            self._has_news = True

    def lose(self) -> None:
        """Give a pack up that ended without saying what it found, for another run to train."""
        self._num_unheard -= 1
        self._has_lost = True

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        """Return the next pack as a trial's config, None for now, or that there is none left."""
        pack = self._next()
        if pack is None:
            return None if self._num_unheard else str(Searcher.FINISHED)
        self._waiting.popleft()
        self._num_unheard += 1
        parcel = self._handed_out[trial_id] = Parcel(pack)
        return {"parcel": parcel}

    def _next(self) -> Pack | None:
        """Return the pack to hand out next; the search is asked once for each time it learns."""
        if self._followed is not None and self._has_news:
            self._has_news = False
            self._waiting += self._followed.hand_out()
        return self._waiting[0] if self._waiting else None

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        """Need to learn nothing here: the rows come with `hear`."""

    def save(self, checkpoint_path: str) -> None:
        """Have nothing to save: a run resumes from its stored parts."""

    def restore(self, checkpoint_path: str) -> None:
        """Have nothing to restore."""
