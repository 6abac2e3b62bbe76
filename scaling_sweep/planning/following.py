"""A bisection followed from pack to pack, without looking at all of it each time one returns.

`Search.next_packs` is a pure function of all that is known. Following keeps what it works out, and
asks for the very same trials.
"""

from collections.abc import Collection, Iterable, Sequence

from analysis.criteria import Verdict
from scaling_sweep.planning.bisection import Need, Surveyor
from scaling_sweep.planning.evidence import Measurement
from scaling_sweep.planning.searching import Search, measure_precision
from scaling_sweep.planning.trials import Pack, Trial
from scaling_sweep.spec import OptimizerSpec, SweepSpec

# Where a precision is asked for, a quarter more seeds at a time: a single one is a thin pack, and
# the last step overshoots by a quarter at most.
_SHARE_OF_SEEDS_ADDED = 4


class FollowedSearch:
    """A search whose packs are handed out and return.

    Args:
        search: A study that is searched by bisection.

    Raises:
        ValueError: If the study is a grid.
    """

    def __init__(self, search: Search) -> None:
        self._search = search
        self._optimizers = [OptimizerSearch(search.spec, item) for item in search.spec.optimizers]
        self.hear(search.earlier)

    def hear(self, found: Sequence[Measurement], landed: Collection[Trial] = ()) -> None:
        """Take in what trials have found.

        Args:
            found: What is known, of trials that were handed out or not.
            landed: Trials that are not in flight any more.
        """
        for optimizer in self._optimizers:
            optimizer.surveyor.land(landed)
            optimizer.surveyor.hear(found)

    def hand_out(self) -> tuple[Pack, ...]:
        """Return the packs to train now, which are in flight from then on."""
        packs = self._search.stack(
            trial for optimizer in self._optimizers for trial in optimizer.wanted()
        )
        self.ask(trial for pack in packs for trial in pack.trials)
        return packs

    def ask(self, trials: Iterable[Trial]) -> None:
        """Take note of trials that are in flight."""
        asked = tuple(trials)
        for optimizer in self._optimizers:
            optimizer.surveyor.ask(asked)


class OptimizerSearch:
    """One optimizer's edges, with as many seeds as the precision takes so far.

    Args:
        spec: A study that is searched by bisection.
        optimizer: One of its optimizers.

    Attributes:
        surveyor: Knows what every edge lacks.

    Raises:
        ValueError: If the study is a grid.
    """

    def __init__(self, spec: SweepSpec, optimizer: OptimizerSpec) -> None:
        if spec.bisection is None:
            raise ValueError("A grid is not searched by bisection.")
        self.surveyor = Surveyor(spec, optimizer, spec.seeds)
        self._precision, self._most_seeds = spec.bisection.precision, spec.most_seeds
        self._num_seeds = spec.seeds

    def needs(self) -> tuple[Need, ...]:
        """Return what every edge lacks, by place and seed."""
        self._add_seeds()
        return self.surveyor.needs()

    def wanted(self) -> tuple[Trial, ...]:
        """Return the trials to train now, by place and seed."""
        self._add_seeds()
        return self.surveyor.wanted()

    def _add_seeds(self) -> None:
        """Look for more edges where all are found and the exponent is not known well enough."""
        while self._num_seeds < self._most_seeds and self._is_too_wide():
            added = max(1, self._num_seeds // _SHARE_OF_SEEDS_ADDED)
            self._num_seeds = min(self._num_seeds + added, self._most_seeds)
            self.surveyor.add_seeds(self._num_seeds)

    def _is_too_wide(self) -> bool:
        """Return whether a precision was asked for that all the edges so far do not reach."""
        if self._precision is None or not self.surveyor.is_finished:
            return False
        # Only the seeds that were complete are looked at, so a resumed run decides the same.
        told = (item for item in self.surveyor.measured() if item.seed < self._num_seeds)
        half_width = measure_precision(
            tuple(item for item in told if item.verdict is not Verdict.FAILED)
        )
        return half_width is None or half_width > self._precision
