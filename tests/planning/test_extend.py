"""A changed sweep file: what adds is welcome, what loses is refused by name."""

from collections.abc import Callable
from typing import Any

import pytest

from scaling_sweep.errors import UserError
from scaling_sweep.planning import all_trials, check_extends, plan_packs
from scaling_sweep.spec import SweepSpec

MakeStudy = Callable[..., SweepSpec]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"seeds": 9},
        {"batch_sizes": (1, 2, 8, 64)},
        {"lrs": (0.8, 0.4, 0.2, 0.1, 0.05)},
        {"optimizers": ["adam", "momentum", "sgd"]},
        {"optimizers": [{"name": "adam", "beta1": 0.9}, "sgd"]},
        {"lrs": {"by_optimizer": {"sgd": {"values": (0.1, 0.2, 0.4, 0.8, 9)}, "adam": None}}},
        {"name": "other", "engine": "loop", "resources": {"cpus": 2}},
        {"check": {"margin": 0.2}},
    ],
)
def test_a_study_may_grow(study: MakeStudy, changes: dict[str, Any]) -> None:
    """More of anything is an extension: only what is new will run."""
    old = study()
    lrs = changes.get("lrs")
    if isinstance(lrs, dict):  # the other optimizer keeps its grid
        lrs["by_optimizer"]["adam"] = {"values": (0.1, 0.2, 0.4, 0.8)}
    new = study(**changes)

    check_extends(old, new)

    done = {trial.trial_id for trial in all_trials(old)}
    to_run = sum(pack.num_trials for pack in plan_packs(new, done))
    assert to_run == len(all_trials(new)) - len(done)


def test_a_finer_and_wider_lattice_is_an_extension(study: MakeStudy) -> None:
    """The promise of the anchored lattice, seen by the one who extends."""
    old = study(lrs={"min": 0.1, "max": 1, "per_octave": 2})
    new = study(lrs={"min": 0.07, "max": 3, "per_octave": 6})

    check_extends(old, new)


DAMPED = {"optimizers": ["adam"], "lrs": (0.1, 0.4), "dampings": (0.01, 0.1, 1)}


@pytest.mark.parametrize(
    "changes",
    [
        {"dampings": (0.01, 0.02, 0.1, 1, 10)},
        {"lrs": (0.1, 0.2, 0.4)},
        {"optimizers": ["adam", "rmsprop"], "seeds": 4},
    ],
)
def test_a_study_of_dampings_may_grow(study: MakeStudy, changes: dict[str, Any]) -> None:
    """More dampings, or more settings to search them at: only what is new will run."""
    old, new = study(**DAMPED), study(**{**DAMPED, **changes})

    check_extends(old, new)

    done = {trial.trial_id for trial in all_trials(old)}
    to_run = sum(pack.num_trials for pack in plan_packs(new, done))
    assert to_run == len(all_trials(new)) - len(done) > 0


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"dampings": (0.01, 0.2)}, "damping [0.1, 1.0] of adam is gone: a run may only grow"),
        ({"lrs": (0.1, 0.2)}, "lr [0.4] of adam is gone"),
        ({"dampings": None}, "the searched axis was damping, now lr: a run may only grow"),
    ],
)
def test_a_study_that_loses_a_damping_is_refused(
    study: MakeStudy, changes: dict[str, Any], expected: str
) -> None:
    """The message names the axis that lost something; one that is not searched any more is gone."""
    with pytest.raises(UserError) as caught:
        check_extends(study(**DAMPED), study(**{**DAMPED, **changes}))

    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"horizon": {"steps": 40}}, "horizon was 30 steps, now 40 steps: a run may only grow"),
        ({"horizon": {"epochs": 30}}, "horizon was 30 steps, now 30 epochs"),
        ({"task": "digits_cnn"}, "task was digits_mlp, now digits_cnn"),
        ({"task": {"name": "digits_mlp", "args": {"width": 9}}}, "now digits_mlp(width=9)"),
        ({"method": "hard"}, "method was plain, now hard"),
        ({"sampling": "epoch"}, "sampling was replacement, now epoch"),
        ({"sweep_seed": 1}, "sweep_seed was 0, now 1"),
        (
            {"start": {"steps": 9, "optimizer": "sgd", "lr": 0.1, "batch_size": 4}},
            "start was init, now 9 steps of sgd, lr 0.1, batch size 4",
        ),
        ({"seeds": 2}, "seeds was 3, now 2"),
        ({"optimizers": ["sgd"]}, "optimizer adam is gone"),
        ({"optimizers": ["sgd", {"name": "adam", "eps": 1e-6}]}, "optimizer adam is gone"),
        ({"batch_sizes": (1, 128)}, "batch_size [8, 64] is gone"),
        ({"lrs": (0.1, 0.25, 0.8)}, "lr [0.2, 0.4] of sgd is gone"),
        ({"stability": {"max_loss_ratio": 1}}, "use `scaling-sweep fit --criterion`"),
    ],
)
def test_a_study_that_loses_a_trial_is_refused(
    study: MakeStudy, changes: dict[str, Any], expected: str
) -> None:
    """The message names what changed, and what to do instead."""
    with pytest.raises(UserError) as caught:
        check_extends(study(), study(**changes))

    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "change it back" in str(caught.value)
