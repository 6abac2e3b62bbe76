"""Plans: every missing trial once, in even packs, the expensive ones first."""

import math
from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling_sweep.planning import StepTime, all_trials, plan_packs
from scaling_sweep.spec import SweepSpec

MakeStudy = Callable[..., SweepSpec]


@settings(max_examples=100, derandomize=True, deadline=None)
@given(data=st.data(), most=st.integers(1, 15))
def test_a_plan_has_every_missing_trial_exactly_once(
    study: MakeStudy, data: st.DataObject, most: int
) -> None:
    """Whatever is done and however small packs are, nothing is lost and nothing runs twice."""
    spec = study()
    every = [trial.trial_id for trial in all_trials(spec)]
    done = data.draw(st.sets(st.sampled_from(every)))

    packs = plan_packs(spec, done, max_trials_per_pack=most)

    planned = Counter(trial.trial_id for pack in packs for trial in pack.trials)
    assert planned == Counter(set(every) - done)
    assert all(pack.num_trials <= most for pack in packs)


def test_a_finished_study_has_no_plan(study: MakeStudy) -> None:
    """When every trial has a row there is nothing to run."""
    spec = study()

    assert plan_packs(spec, {trial.trial_id for trial in all_trials(spec)}) == ()


def test_without_a_limit_a_pack_is_a_whole_group(study: MakeStudy) -> None:
    """One pack for each optimizer and batch size."""
    packs = plan_packs(study())

    assert len(packs) == 2 * 3
    assert {pack.num_trials for pack in packs} == {4 * 3}


@pytest.mark.parametrize(
    ("most", "expected"),
    [
        (12, [12]),
        (11, [8, 4]),  # 3 seeds of 4 learning rates: two seeds fit
        (8, [8, 4]),
        (7, [4, 4, 4]),  # only one seed fits
        (4, [4, 4, 4]),
        (3, [2, 2, 2, 2, 2, 2]),  # a seed does not fit, so it is halved
        (1, [1] * 12),
    ],
)
def test_a_group_is_split_into_whole_seeds_where_they_fit(
    study: MakeStudy, most: int, expected: list[int]
) -> None:
    """Trials of one seed share their data, so they stay together."""
    packs = plan_packs(study(optimizers=["sgd"], batch_sizes=[8]), max_trials_per_pack=most)

    assert sorted((pack.num_trials for pack in packs), reverse=True) == expected
    if most >= 4:
        seeds = [seed for pack in packs for seed in {trial.seed for trial in pack.trials}]
        assert sorted(seeds) == [0, 1, 2]


def test_the_parts_of_a_seed_all_span_the_learning_rates(study: MakeStudy) -> None:
    """No part gets all the large learning rates, which diverge early and cost little."""
    spec = study(optimizers=["sgd"], batch_sizes=[8], seeds=1)

    packs = plan_packs(spec, max_trials_per_pack=2)

    lrs = sorted([trial.lr for trial in pack.trials] for pack in packs)
    assert lrs == [[0.1, 0.4], [0.2, 0.8]]


@settings(max_examples=50, derandomize=True, deadline=None)
@given(data=st.data(), most=st.integers(1, 30))
def test_a_plan_of_dampings_has_every_missing_trial_exactly_once(
    study: MakeStudy, data: st.DataObject, most: int
) -> None:
    """Each learning rate is trained with each damping, whatever is done already."""
    spec = study(optimizers=["adam"], lrs=(0.1, 0.4), dampings=(1e-3, 1e-2, 0.1))
    every = [trial.trial_id for trial in all_trials(spec)]
    done = data.draw(st.sets(st.sampled_from(every)))

    packs = plan_packs(spec, done, max_trials_per_pack=most)

    planned = Counter(trial.trial_id for pack in packs for trial in pack.trials)
    assert len(every) == len(set(every)) == 3 * 3 * 2 * 3
    assert planned == Counter(set(every) - done)
    assert all(pack.num_trials <= most for pack in packs)


@pytest.mark.parametrize("most", [2, 3, 4])
def test_no_part_of_a_seed_gets_all_the_bold_trials(study: MakeStudy, most: int) -> None:
    """Bold is a large lr over a small damping; every part has about as many of either half."""
    spec = study(
        optimizers=["adam"], batch_sizes=[8], seeds=1, lrs=(0.1, 0.2), dampings=(0.1, 1, 10, 100)
    )

    packs = plan_packs(spec, max_trials_per_pack=most)

    ratios = sorted(trial.lr / (trial.damping or 0) for trial in all_trials(spec))
    bold = [
        sum(trial.lr / (trial.damping or 0) > ratios[3] for trial in pack.trials) for pack in packs
    ]
    assert len(packs) == math.ceil(8 / most)
    assert sum(bold) == 4
    assert max(bold) - min(bold) <= 1


def test_the_study_may_limit_packs_itself(study: MakeStudy) -> None:
    """`resources.max_trials_per_pack` is the default limit; the caller's goes first."""
    spec = study(resources={"max_trials_per_pack": 4})

    assert {pack.num_trials for pack in plan_packs(spec)} == {4}
    assert {pack.num_trials for pack in plan_packs(spec, max_trials_per_pack=12)} == {12}


@pytest.mark.parametrize("horizon", [{"steps": 30}, {"epochs": 2}, {"examples": 500}])
def test_the_most_expensive_pack_comes_first(study: MakeStudy, horizon: dict[str, int]) -> None:
    """With few examples to a step many steps are what costs; with equal steps, large batches."""
    time = StepTime(fixed_s=1.0, per_trial_s=0.0, per_example_s=1e-3)

    packs = plan_packs(study(horizon=horizon), num_examples=100, step_time=time)

    seconds = [pack.num_steps * (1 + 1e-3 * 12 * pack.batch_size) for pack in packs]
    assert seconds == sorted(seconds, reverse=True)
    assert packs[0].batch_size == (64 if "steps" in horizon else 1)


def test_steps_of_a_pack_follow_its_batch_size(study: MakeStudy) -> None:
    """Two epochs of 100 examples are 200 steps of 1, 25 of 8 and, rounded up, 4 of 64."""
    packs = plan_packs(study(horizon={"epochs": 2}), num_examples=100)

    assert {(pack.batch_size, pack.num_steps) for pack in packs} == {(1, 200), (8, 25), (64, 4)}


def test_a_plan_is_the_same_every_time(study: MakeStudy) -> None:
    """The plan depends on the study and the rows, not on the order of the rows."""
    spec = study()
    done = [trial.trial_id for trial in all_trials(spec)][::5]

    assert plan_packs(spec, done) == plan_packs(spec, list(reversed(done)))


@pytest.mark.parametrize("most", [0, -1])
def test_a_pack_of_no_trials_is_a_bug_of_the_caller(study: MakeStudy, most: int) -> None:
    """Zero is no way to say that there is no limit."""
    with pytest.raises(ValueError, match="at least 1 trial"):
        plan_packs(study(), max_trials_per_pack=most)


def test_many_slots_get_smaller_packs(study: MakeStudy) -> None:
    """With more slots than packs the packs shrink, but not below what stacking gains from."""
    spec = study(seeds=12)
    on_one, on_many = plan_packs(spec), plan_packs(spec, num_slots=64)

    # 288 trials in 6 groups of 48: four packs for each of 64 slots would be packs of 2.
    assert [pack.num_trials for pack in on_one] == [48] * 6
    assert [pack.num_trials for pack in on_many] == [24] * 12
    assert sorted(t.trial_id for p in on_many for t in p.trials) == sorted(
        t.trial_id for p in on_one for t in p.trials
    )
