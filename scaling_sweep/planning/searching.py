"""What to train now: one protocol for a grid, which asks once, and for a bisection."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

from scaling_sweep.planning.cost import GUESSED_STEP_TIME
from scaling_sweep.planning.evidence import Measurement, tabulate
from scaling_sweep.planning.packs import group_trials, most_trials, plan_packs, split_trials
from scaling_sweep.planning.room import MemoryRoom
from scaling_sweep.planning.trials import Pack, Trial
from scaling_sweep.spec import OptimizerSpec, SweepSpec

if TYPE_CHECKING:
    from scaling_sweep.planning.bisection import Need


@dataclass(frozen=True)
class PackLimits:
    """What a pack has to fit.

    Attributes:
        num_examples: Examples in the task's data; None when they never end.
        max_trials_per_pack: Most trials in one pack; None for what the study says.
        num_slots: Packs that will train at the same time.
        room: What memory lets packs be; None where it is not looked at.
    """

    num_examples: int | None = None
    max_trials_per_pack: int | None = None
    num_slots: int = 1
    room: MemoryRoom | None = None


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
        limits = self.limits
        if self.spec.bisection is None:
            known = {item.trial_id for item in (*self.earlier, *found)}
            done = known | {trial.trial_id for trial in in_flight}
            return plan_packs(
                self.spec,
                done,
                num_examples=limits.num_examples,
                max_trials_per_pack=limits.max_trials_per_pack,
                num_slots=limits.num_slots,
                room=limits.room,
            )
        from scaling_sweep.planning.following import FollowedSearch  # a grid needs no pandas

        followed = FollowedSearch(self)
        followed.hear(found)
        followed.ask(in_flight)
        return followed.hand_out()

    def stack(self, trials: Iterable[Trial]) -> tuple[Pack, ...]:
        """Stack what can be stacked; a search asks for few trials at a time and splits none."""
        limit = self.limits.max_trials_per_pack or self.spec.resources.max_trials_per_pack
        packs = [
            Pack(chunk, self.spec.horizon.num_steps(key.batch_size, self.limits.num_examples))
            for key, group in group_trials(trials).items()
            for chunk in split_trials(
                group, most_trials(key, limit or len(group), self.limits.room)
            )
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
    from scaling_sweep.planning.following import OptimizerSearch  # a grid needs no pandas

    search = OptimizerSearch(spec, optimizer)
    search.surveyor.hear(known)
    search.surveyor.ask(in_flight)
    return search.needs()


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
    from analysis.answers import Expected, answer_edges
    from analysis.axes import AXES, AxisName
    from analysis.checks import MARGIN
    from analysis.edges import find_edges

    # Our own trials of one optimizer: nothing to check, to fill in or to split.
    rows = tabulate(measured).assign(sampling="replacement", num_examples=None)
    axis = AXES[AxisName.LR if measured[0].damping is None else AxisName.DAMPING]
    # What the exponent is held against does not move its interval.
    expected = Expected(None, MARGIN, axis)
    answer = answer_edges(rows, find_edges(rows, axis), expected, kept_only=True)
    if answer.refused is not None or answer.exponent_ci is None:
        return None
    low, high = answer.exponent_ci
    return (high - low) / 2
