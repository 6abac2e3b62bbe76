"""The cost of a plan: exact counts, and times from a model that timed packs determine."""

from collections.abc import Callable

import pytest

from scaling_sweep.planning import (
    StepTime,
    TimedPack,
    estimate_cost,
    fit_step_time,
    plan_packs,
)
from scaling_sweep.spec import SweepSpec

MakeStudy = Callable[..., SweepSpec]
TRUE = StepTime(fixed_s=2e-3, per_trial_s=3e-5, per_example_s=4e-7)


def timed(num_trials: int, batch_size: int, noise: float = 1.0) -> TimedPack:
    """Time a step by the true model."""
    examples = TRUE.per_example_s * batch_size
    seconds = TRUE.fixed_s + num_trials * (TRUE.per_trial_s + examples)
    return TimedPack(num_trials, batch_size, seconds * noise)


def test_three_exact_times_give_the_model_back() -> None:
    """Three packs that differ in trials and batch size determine three coefficients."""
    fitted = fit_step_time([timed(1, 1), timed(200, 1), timed(200, 512)])

    assert fitted.fixed_s == pytest.approx(TRUE.fixed_s)
    assert fitted.per_trial_s == pytest.approx(TRUE.per_trial_s)
    assert fitted.per_example_s == pytest.approx(TRUE.per_example_s)


def test_two_times_are_met_by_the_model_they_give() -> None:
    """Two packs leave the model open, but not what it says about those two."""
    points = [timed(1, 1), timed(100, 512)]

    fitted = fit_step_time(points)

    for point in points:
        examples = fitted.per_example_s * point.batch_size
        seconds = fitted.fixed_s + point.num_trials * (fitted.per_trial_s + examples)
        assert seconds == pytest.approx(point.seconds_per_step)


def test_noise_never_gives_a_negative_cost() -> None:
    """Times that fall with the batch size, as noise has it, give no negative coefficient."""
    fitted = fit_step_time([timed(1, 1, 2.0), timed(50, 1), timed(50, 64, 0.5), timed(1, 64)])

    assert min(fitted.fixed_s, fitted.per_trial_s, fitted.per_example_s) >= 0


@pytest.mark.parametrize(
    ("points", "reason"),
    [([timed(1, 1)], "at least 2"), ([timed(1, 1), TimedPack(1, 2, 0.0)], "positive")],
)
def test_a_probe_that_measured_nothing_is_refused(points: list[TimedPack], reason: str) -> None:
    """One time says nothing about the slope, and no step takes no time."""
    with pytest.raises(ValueError, match=reason):
        fit_step_time(points)


def test_counts_are_those_of_the_grid(study: MakeStudy) -> None:
    """Totals by multiplication: 2 optimizers, 4 learning rates, 3 seeds, 30 steps."""
    cost = estimate_cost(plan_packs(study(), max_trials_per_pack=4), TRUE)

    assert cost.num_packs == 2 * 3 * 3
    assert cost.num_trials == 2 * 3 * 4 * 3
    assert cost.num_steps == 72 * 30
    assert cost.num_examples == 2 * 4 * 3 * 30 * (1 + 8 + 64)


def test_the_time_of_a_pack_is_its_steps_times_the_model(study: MakeStudy) -> None:
    """One pack of 12 trials, 30 steps of 8 examples."""
    packs = plan_packs(study(optimizers=["sgd"], batch_sizes=[8]))

    cost = estimate_cost(packs, TRUE)

    assert cost.pack_time_s == pytest.approx(30 * (2e-3 + 12 * 3e-5 + 12 * 8 * 4e-7))


def test_workers_share_the_packs_and_wait_for_the_last(study: MakeStudy) -> None:
    """Packs of 64, 8 and 1 s: one worker takes 73 s, two or more wait for the longest."""
    packs = plan_packs(study(optimizers=["sgd"], lrs=[1], seeds=1, horizon={"steps": 1}))
    time = StepTime(fixed_s=0.0, per_trial_s=0.0, per_example_s=1.0)

    walls = [estimate_cost(packs, time, num_workers).wall_time_s for num_workers in (1, 2, 3, 9)]

    assert walls == [73, 64, 64, 64]


def test_an_empty_plan_costs_nothing() -> None:
    """A finished study is free."""
    cost = estimate_cost((), TRUE, 4)

    assert (cost.num_trials, cost.wall_time_s) == (0, 0.0)


def test_packs_need_a_worker() -> None:
    """No worker never finishes."""
    with pytest.raises(ValueError, match="at least 1 worker"):
        estimate_cost((), TRUE, 0)
