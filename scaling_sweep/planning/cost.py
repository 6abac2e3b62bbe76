"""What a plan costs: counts that are exact, and a time estimated from a few timed packs."""

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from scaling_sweep.planning.trials import Pack


@dataclass(frozen=True)
class TimedPack:
    """One measured point of the probe.

    Attributes:
        num_trials: Trials that were trained together.
        batch_size: Examples per step and trial.
        seconds_per_step: Time of one step of the whole pack.
    """

    num_trials: int
    batch_size: int
    seconds_per_step: float


@dataclass(frozen=True)
class StepTime:
    """A linear model of the time of one step of a pack.

    `fixed_s + per_trial_s × trials + per_example_s × trials × batch size`: calling the
    kernels, updating the parameters, and the work on the examples.

    Attributes:
        fixed_s: Seconds per step, whatever the pack.
        per_trial_s: Seconds per step and trial.
        per_example_s: Seconds per step, trial and example.
    """

    fixed_s: float
    per_trial_s: float
    per_example_s: float

    def seconds(self, pack: Pack) -> float:
        """Return the time a pack takes if no trial diverges, in seconds.

        Diverged trials stop costing, so this is an upper estimate.
        """
        examples = self.per_example_s * pack.batch_size
        return pack.num_steps * (self.fixed_s + pack.num_trials * (self.per_trial_s + examples))


@dataclass(frozen=True)
class StepTimes:
    """What a step costs, for each optimizer of a study.

    Attributes:
        by_optimizer: Models by the optimizer's label.
    """

    by_optimizer: Mapping[str, StepTime]

    def seconds(self, pack: Pack) -> float:
        """Return the time a pack takes if no trial diverges, in seconds."""
        return self.by_optimizer[pack.optimizer.label].seconds(pack)


# A guess, good enough to order packs by: 1 ms to call the kernels, 5 µs to update the 26,000
# parameters of a small MLP, 1 µs for one example through it.
GUESSED_STEP_TIME = StepTime(fixed_s=1e-3, per_trial_s=5e-6, per_example_s=1e-6)


@dataclass(frozen=True)
class SweepCost:
    """What a plan would cost.

    Attributes:
        num_packs: Packs.
        num_trials: Trials.
        num_steps: Updates, summed over trials.
        num_examples: Examples seen, summed over trials.
        pack_time_s: Time of all packs one after the other, in seconds.
        wall_time_s: Time until the last pack is finished, in seconds.
    """

    num_packs: int
    num_trials: int
    num_steps: int
    num_examples: int
    pack_time_s: float
    wall_time_s: float


def fit_step_time(points: Sequence[TimedPack]) -> StepTime:
    """Fit the time of a step to timed packs.

    Least squares on relative errors, so that small packs count as much as large ones, with
    coefficients at or above zero (Lawson and Hanson 1974).

    Args:
        points: Two or more timed packs. To tell the three coefficients apart, at least three
            that differ in trials and in batch size.

    Returns:
        The model.

    Raises:
        ValueError: If fewer than two points are given, or a time is not positive.

    Example:
        >>> time = fit_step_time([TimedPack(1, 1, 2e-3), TimedPack(1, 1001, 3e-3),
        ...                       TimedPack(101, 1, 2.1e-3)])
        >>> round(time.per_example_s, 9)
        1e-06
    """
    import numpy as np  # both are slow to import and needed only for a probe
    from scipy.optimize import nnls

    if len(points) < 2:
        raise ValueError(f"A probe needs at least 2 timed packs, got {len(points)}.")
    measured = np.array([point.seconds_per_step for point in points])
    if not np.all(measured > 0):
        raise ValueError("A timed pack needs a positive time per step.")
    rows = [(1, point.num_trials, point.num_trials * point.batch_size) for point in points]
    relative = np.array(rows, dtype=float) / measured[:, None]
    # Columns differ by orders of magnitude; scaled, the solver's tolerance means the same to each.
    scale = relative.max(axis=0)
    coefficients = nnls(relative / scale, np.ones(len(points)))[0] / scale
    return StepTime(*map(float, coefficients))


def estimate_cost(
    packs: Sequence[Pack], step_time: StepTime | StepTimes, num_workers: int = 1
) -> SweepCost:
    """Add up what packs cost when workers take them in the order given.

    Args:
        packs: The plan.
        step_time: What a step costs.
        num_workers: Packs that train at the same time.

    Returns:
        The totals and the times.
    """
    seconds = [step_time.seconds(pack) for pack in packs]
    return SweepCost(
        num_packs=len(packs),
        num_trials=sum(pack.num_trials for pack in packs),
        num_steps=sum(pack.num_steps * pack.num_trials for pack in packs),
        num_examples=sum(pack.num_examples for pack in packs),
        pack_time_s=sum(seconds),
        wall_time_s=_finish_time(seconds, num_workers),
    )


def _finish_time(seconds: Iterable[float], num_workers: int) -> float:
    """Return when the last job ends, each going to the worker that is free first.

    Raises:
        ValueError: If there is no worker.
    """
    if num_workers < 1:
        raise ValueError(f"A sweep needs at least 1 worker, got {num_workers}.")
    free_at = [0.0] * num_workers
    for duration in seconds:
        heapq.heappush(free_at, heapq.heappop(free_at) + duration)
    return max(free_at)
