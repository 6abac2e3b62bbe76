"""What to train now: one protocol for a grid, which asks once, and for a bisection."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from scaling_sweep.planning.cost import GUESSED_STEP_TIME
from scaling_sweep.planning.evidence import Measurement, tabulate
from scaling_sweep.planning.packs import plan_packs, split_trials
from scaling_sweep.planning.trials import Pack, SharedKey, Trial, shared_key
from scaling_sweep.spec import OptimizerSpec, SweepSpec

if TYPE_CHECKING:
    from scaling_sweep.planning.bisection import Need

# Where a precision is asked for, a quarter more seeds at a time: a single one is a thin pack, and
# the last step overshoots by a quarter at most.
_SHARE_OF_SEEDS_ADDED = 4


@dataclass(frozen=True)
class PackLimits:
    """What a pack has to fit.

    Attributes:
        num_examples: Examples in the task's data; None when they never end.
        max_trials_per_pack: Most trials in one pack; None for what the study says.
        num_slots: Packs that will train at the same time.
    """

    num_examples: int | None = None
    max_trials_per_pack: int | None = None
    num_slots: int = 1


@dataclass(frozen=True)
class Search:
    """A study on its way: asked again each time a pack has returned.

    Attributes:
        spec: The study.
        limits: What packs have to fit.
        earlier: What was known before this run; failed trials left out are tried again.
    """

    spec: SweepSpec
    limits: PackLimits = PackLimits()
    earlier: tuple[Measurement, ...] = ()

    @property
    def learns(self) -> bool:
        """Whether what was found changes what is asked for; a grid asks for all at once."""
        return self.spec.bisection is not None

    def next_packs(
        self, found: Sequence[Measurement] = (), in_flight: Collection[Trial] = ()
    ) -> tuple[Pack, ...]:
        """Choose the packs to train now.

        Args:
            found: What this run has found so far, trials that failed included.
            in_flight: Trials that were asked for and have not returned.

        Returns:
            Packs without any trial that is known or in flight, the most expensive first. None
            while packs are in flight means "ask again when one returns", none otherwise that the
            study is finished.
        """
        known = (*self.earlier, *found)
        limits = self.limits
        if self.spec.bisection is None:
            done = {item.trial_id for item in known} | {trial.trial_id for trial in in_flight}
            return plan_packs(
                self.spec,
                done,
                num_examples=limits.num_examples,
                max_trials_per_pack=limits.max_trials_per_pack,
                num_slots=limits.num_slots,
            )
        needs = (
            need
            for optimizer in self.spec.optimizers
            for need in current_needs(self.spec, optimizer, known, in_flight)
        )
        return self._pack(trial for need in needs for trial in need.trials)

    def _pack(self, trials: Iterable[Trial]) -> tuple[Pack, ...]:
        """Stack what can be stacked; a search asks for few trials at a time and splits none."""
        groups: defaultdict[SharedKey, list[Trial]] = defaultdict(list)
        for trial in trials:
            groups[shared_key(trial)].append(trial)
        limit = self.limits.max_trials_per_pack or self.spec.resources.max_trials_per_pack
        packs = [
            Pack(chunk, self.spec.horizon.num_steps(key.batch_size, self.limits.num_examples))
            for key, group in groups.items()
            for chunk in split_trials(group, limit or len(group))
        ]
        return tuple(sorted(packs, key=GUESSED_STEP_TIME.seconds, reverse=True))


def current_needs(
    spec: SweepSpec,
    optimizer: OptimizerSpec,
    known: Sequence[Measurement],
    in_flight: Collection[Trial] = (),
) -> "tuple[Need, ...]":
    """Say what every edge of an optimizer lacks, with as many seeds as the precision takes so far.

    Args:
        spec: A study that is searched by bisection.
        optimizer: One of its optimizers.
        known: What is known.
        in_flight: Trials that were asked for and have not returned.

    Returns:
        One need per unit.

    Raises:
        ValueError: If the study is a grid.
    """
    # A grid needs neither, and both load pandas and scipy.
    from analysis.criteria import Verdict
    from scaling_sweep.planning.bisection import survey

    if spec.bisection is None:
        raise ValueError("A grid is not searched by bisection.")
    label = optimizer.label
    own = tuple(sorted((item for item in known if item.optimizer == label), key=_by_id))
    precision, num_seeds = spec.bisection.precision, spec.seeds
    while True:
        needs = survey(spec, optimizer, num_seeds, own, in_flight)
        if precision is None or num_seeds >= spec.most_seeds:
            return needs
        if not all(need.finished for need in needs):
            return needs
        # Only the seeds that were complete are looked at, so a resumed run decides the same.
        told = tuple(m for m in own if m.seed < num_seeds and m.verdict is not Verdict.FAILED)
        half_width = measure_precision(told)
        if half_width is not None and half_width <= precision:
            return needs
        added = max(1, num_seeds // _SHARE_OF_SEEDS_ADDED)
        num_seeds = min(num_seeds + added, spec.most_seeds)


def _by_id(item: Measurement) -> str:
    return item.trial_id


@lru_cache(maxsize=256)
def measure_precision(measured: tuple[Measurement, ...]) -> float | None:
    """Fit one optimizer's trials and return how well its exponent is known.

    The verdict on the exponent is not looked at: stopping by it would be dishonest. Batches count
    as drawn with replacement; without, the width differs a little where B is near the data's size.

    Args:
        measured: Trials of one optimizer.

    Returns:
        Half the width of the exponent's 95 % interval; None where no law can be fitted.
    """
    # Slow to import, and needed by studies that ask for a precision only.
    from analysis.groups import fit_results
    from analysis.results import Results
    from analysis.tables import normalize_table

    table = normalize_table(tabulate(measured), "trials so far", {}).frame
    # A column that is not there: the best learning rate is not asked for.
    (group,) = fit_results(Results(table, "trials so far"), loss_column="min_loss").groups
    if group.refused is not None or group.exponent_ci is None:
        return None
    low, high = group.exponent_ci
    return (high - low) / 2
