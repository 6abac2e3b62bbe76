"""What a study says once it is read: labels, defaults and step counts."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling_sweep.spec import OPTIMIZERS, Horizon, OptimizerSpec, SweepSpec, TaskSpec


def study(**parameters: object) -> SweepSpec:
    """Return a small study with the parameters given."""
    return SweepSpec.model_validate(
        {
            "name": "tiny",
            "task": "digits_mlp",
            "parameters": {
                "optimizer": {"values": ["sgd"]},
                "batch_size": {"values": [8, 1]},
                "lr": {"values": [1, 0.1]},
                **parameters,
            },
            "seeds": 2,
            "horizon": {"steps": 30},
        }
    )


def optimizer(given: object) -> OptimizerSpec:
    """Read an optimizer as a file would spell it."""
    return OptimizerSpec.model_validate(given)


def test_an_optimizer_with_its_defaults_spelled_out_is_the_same() -> None:
    """Spelling out a default makes no other optimizer."""
    spelled = optimizer({"name": "adam", "beta1": 0.9, "eps": 1e-8})

    assert spelled == optimizer("adam")
    assert hash(spelled) == hash(optimizer("adam"))
    assert spelled.hyperparameters == {
        "beta1": 0.9,
        "beta2": 0.999,
        "eps": 1e-8,
        "weight_decay": 0.0,
    }


def test_a_label_shows_what_is_not_default() -> None:
    """Labels name the hyperparameters that differ, keys sorted, whatever the file's order."""
    given = {"eps": 1e-6, "name": "adam", "beta1": 0.95, "beta2": 0.999}

    assert optimizer(given).label == "adam(beta1=0.95, eps=1e-06)"
    assert optimizer("nesterov").label == "nesterov"


@settings(max_examples=100, derandomize=True, deadline=None)
@given(
    st.floats(0, 1, exclude_max=True),
    st.floats(0, 1, exclude_max=True),
)
def test_two_optimizers_share_a_label_only_if_they_are_the_same(one: float, other: float) -> None:
    """A label loses nothing: it is the optimizer's identity in tables."""
    first, second = (optimizer({"name": "momentum", "momentum": value}) for value in (one, other))

    assert (first.label == second.label) == (one == other)


def test_the_table_of_optimizers_is_within_its_own_bounds() -> None:
    """Every default could be written into a file."""
    for name, table in OPTIMIZERS.items():
        defaults = {key: item.default for key, item in table.items()}
        assert optimizer({"name": name, **defaults}).label == name


def test_a_task_label_tells_arguments_apart() -> None:
    """The label of a task holds its arguments, sorted and typed."""
    task = TaskSpec.model_validate({"name": "t", "args": {"width": 256, "act": "relu"}})

    assert task.label == 't(act="relu", width=256)'
    assert TaskSpec.model_validate("t").label == "t"


@pytest.mark.parametrize(
    ("horizon", "batch_size", "num_examples", "expected"),
    [
        ({"steps": 300}, 512, 100, 300),
        ({"examples": 1000}, 512, None, 2),
        ({"examples": 1024}, 512, None, 2),
        ({"examples": 1}, 512, None, 1),
        ({"epochs": 3}, 512, 1797, 11),  # 5,391 / 512 = 10.5
        ({"epochs": 0.1}, 1, 30, 3),  # 0.1 × 30 in floats is above 3
        ({"epochs": 1e-6}, 1, 30, 1),
    ],
)
def test_a_horizon_counts_a_part_of_a_batch_as_a_step(
    horizon: dict[str, float], batch_size: int, num_examples: int | None, expected: int
) -> None:
    """Steps are rounded up, and a trial makes at least one."""
    read = Horizon.model_validate(horizon)

    assert read.num_steps(batch_size, num_examples) == expected


def test_epochs_of_data_that_never_ends_have_no_steps() -> None:
    """Without a size there is no epoch."""
    with pytest.raises(ValueError, match="no end"):
        Horizon.model_validate({"epochs": 1}).num_steps(1, None)


@pytest.mark.parametrize(
    ("horizon", "expected"),
    [
        ({"steps": 1000000}, "1000000 steps"),
        ({"epochs": 0.5}, "0.5 epochs"),
        ({"epochs": 3}, "3 epochs"),
        ({"examples": 1e5}, "100000 examples"),
    ],
)
def test_a_horizon_is_named_in_its_own_unit(horizon: dict[str, float], expected: str) -> None:
    """The label is the file's number and unit."""
    assert Horizon.model_validate(horizon).label == expected


def test_an_optimizer_gets_the_grid_of_its_label_before_that_of_its_name() -> None:
    """A variant may have its own learning rates beside those of its family."""
    grids: dict[str, Any] = {"adam": {"values": [0.1]}, "adam(beta1=0.5)": {"values": [0.2]}}
    spec = study(
        optimizer={"values": ["adam", {"name": "adam", "beta1": 0.5}]}, lr={"by_optimizer": grids}
    )

    assert [spec.lrs_for(item) for item in spec.optimizers] == [(0.1,), (0.2,)]


def test_values_are_used_in_ascending_order() -> None:
    """The order of a list in the file does not matter to the plan."""
    spec = study()

    assert spec.batch_sizes == (1, 8)
    assert spec.lrs_for(spec.optimizers[0]) == (0.1, 1.0)


def test_asking_for_an_optimizer_that_is_not_swept_is_a_bug_of_ours() -> None:
    """A grid that does not exist is no empty grid."""
    spec = study(lr={"by_optimizer": {"sgd": {"values": [0.1]}}})

    with pytest.raises(KeyError, match="adam"):
        spec.lrs_for(optimizer("adam"))


def test_a_damping_is_an_axis_like_the_learning_rate() -> None:
    """It takes every spelling the learning rate has, and its points are the same lattice."""
    adam = {"values": ["adam", "rmsprop"]}
    grid = {"min": 1e-3, "max": 10, "per_octave": 3}
    spec = study(optimizer=adam, lr=grid, damping=grid)
    split = study(optimizer=adam, damping={"by_optimizer": {"adam": grid, "rmsprop": grid}})
    listed = study(optimizer=adam, damping={"values": [1, 0.1]})

    for item in spec.optimizers:
        assert spec.dampings_for(item) == spec.lrs_for(item) == split.dampings_for(item)
        assert listed.dampings_for(item) == (0.1, 1.0)
    assert {item.parameters.searched for item in (spec, split, listed)} == {"damping"}


def test_without_the_axis_every_optimizer_keeps_its_own_damping() -> None:
    """The learning rate is searched, and a trial has no damping of its own."""
    spec = study(optimizer={"values": ["adam"]})

    assert spec.dampings_for(spec.optimizers[0]) == (None,)
    assert spec.parameters.searched == "lr"


def test_a_study_cannot_be_changed_once_read() -> None:
    """What was checked stays as it was checked."""
    with pytest.raises(ValueError, match="frozen"):
        study().seeds = 3  # type: ignore[misc]
