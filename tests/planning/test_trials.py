"""Trials and packs: named by all that defines them, and by nothing else."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling_sweep.planning import Pack, Trial, all_trials
from scaling_sweep.spec import OptimizerSpec, SweepSpec

ADAM = OptimizerSpec.model_validate("adam")
TRIAL = Trial(
    task="digits_mlp",
    method="plain",
    optimizer=ADAM,
    batch_size=64,
    lr=0.125,
    seed=3,
    start="init",
    horizon="300 steps",
    sampling="replacement",
    sweep_seed=0,
)
CHANGES = {
    "task": "digits_mlp(width=256)",
    "method": "hard",
    "optimizer": OptimizerSpec.model_validate({"name": "adam", "beta1": 0.95}),
    "batch_size": 65,
    "lr": 0.1250000000001,
    "seed": 4,
    "start": "1000 steps of sgd, lr 0.1, batch size 64",
    "horizon": "300 epochs",
    "sampling": "epoch",
    "sweep_seed": 1,
    "damping": 1e-3,
}


def test_a_trial_keeps_its_name_for_ever() -> None:
    """Rows on disk are found again by this name: a change here orphans every run there is."""
    assert TRIAL.trial_id == "1cc71d6051eddee2"


@pytest.mark.parametrize("field", CHANGES)
def test_a_trial_has_another_name_when_anything_about_it_changes(field: str) -> None:
    """Every field is part of the name."""
    assert replace(TRIAL, **{field: CHANGES[field]}).trial_id != TRIAL.trial_id


def test_a_trial_with_a_damping_is_named_by_it_and_not_by_the_one_it_replaces() -> None:
    """Its own damping is what it is trained with: another default makes no other trial."""
    damped = replace(TRIAL, damping=0.001)
    other = OptimizerSpec.model_validate({"name": "adam", "eps": 1e-4})

    assert damped.trial_id == "349c3f872c6266d3"
    assert replace(damped, damping=0.002).trial_id != damped.trial_id
    assert replace(damped, optimizer=other).trial_id == damped.trial_id
    assert replace(TRIAL, optimizer=other).trial_id != TRIAL.trial_id


def test_a_study_names_each_of_its_trials_once() -> None:
    """The grid has one trial per optimizer, batch size, lr and seed, and no two share a name."""
    trials = all_trials(
        SweepSpec.model_validate(
            {
                "name": "tiny",
                "task": "digits_mlp",
                "parameters": {
                    "optimizer": {"values": ["sgd", "adam"]},
                    "batch_size": {"min": 1, "max": 16, "per_octave": 1},
                    "lr": {
                        "by_optimizer": {
                            "sgd": {"values": [0.1, 1, 10]},
                            "adam": {"values": [0.01, 0.1]},
                        }
                    },
                },
                "seeds": 4,
                "horizon": {"steps": 30},
            }
        )
    )

    assert len(trials) == (3 + 2) * 5 * 4
    assert len({trial.trial_id for trial in trials}) == len(trials)
    assert {trial.lr for trial in trials if trial.optimizer == ADAM} == {0.01, 0.1}


@settings(max_examples=30, derandomize=True, deadline=None)
@given(st.permutations(range(5)))
def test_a_pack_is_named_by_its_trials_in_any_order(order: list[int]) -> None:
    """The name of a pack depends on the set of its trials."""
    trials = [replace(TRIAL, seed=seed) for seed in range(5)]

    shuffled = Pack(tuple(trials[index] for index in order), num_steps=300)

    assert shuffled.pack_id == Pack(tuple(trials), num_steps=300).pack_id
    assert shuffled.pack_id != Pack(tuple(trials[1:]), num_steps=300).pack_id


def test_a_pack_counts_its_examples() -> None:
    """Three trials of 300 steps of 64 examples."""
    pack = Pack(tuple(replace(TRIAL, seed=seed) for seed in range(3)), num_steps=300)

    assert (pack.num_trials, pack.batch_size, pack.optimizer) == (3, 64, ADAM)
    assert pack.num_examples == 57_600


def test_trials_that_differ_in_more_than_lr_damping_and_seed_are_no_pack() -> None:
    """A pack is one stacked model, so its trials share all else; and it is never empty."""
    damped = replace(TRIAL, damping=0.1)
    Pack((TRIAL, replace(TRIAL, lr=1.0, seed=9)), num_steps=1)
    Pack((damped, replace(damped, lr=1.0, damping=2.0, seed=9)), num_steps=1)

    with pytest.raises(ValueError, match="differ only in lr, damping and seed"):
        Pack((TRIAL, replace(TRIAL, batch_size=1)), num_steps=1)
    with pytest.raises(ValueError, match="differ only in lr, damping and seed"):
        Pack((TRIAL, damped), num_steps=1)
    with pytest.raises(ValueError, match="at least one"):
        Pack((), num_steps=1)
