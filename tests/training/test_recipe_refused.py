"""Recipes that a task cannot follow: one line before anything trains."""

import pytest
from torch import nn

from scaling_sweep.errors import UserError
from scaling_sweep.spec import Recipe
from scaling_sweep.tasks.task import Task
from scaling_sweep.training.preflight import inspect_task
from scaling_sweep.training.treatment import why_not_treated
from tests.run_cases import tiny_sweep
from tests.training.cases import (
    batchnorm_net,
    classification,
    dropout_net,
    net_task,
    small_net,
)


@pytest.mark.parametrize(
    ("recipe", "task", "expected"),
    [
        ({"batch_norm": "batch"}, net_task(small_net), ("batch_norm", "has no BatchNorm layer")),
        ({"batch_norm": "frozen"}, net_task(dropout_net), ("batch_norm", "has no BatchNorm layer")),
        (
            {"batch_norm": "frozen"},
            net_task(lambda: nn.BatchNorm1d(4, track_running_stats=False)),
            ("batch_norm", "no running statistics to freeze"),
        ),
        ({"label_smoothing": 0.1}, net_task(small_net), ("label_smoothing", "knows no label smo")),
        ({"batch_norm": "frozen", "label_smoothing": 0}, net_task(batchnorm_net), None),
        ({"label_smoothing": 0.1}, classification(), None),
    ],
)
def test_what_a_task_cannot_follow_is_refused(
    recipe: dict[str, object], task: Task, expected: tuple[str, str] | None
) -> None:
    """The field is named, with the reason, before anything trains."""
    found = why_not_treated(Recipe.model_validate(recipe), task, task.make_model())
    if expected is None:
        assert found is None
    else:
        assert found is not None
        assert found[0] == expected[0]
        assert expected[1] in found[1]


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("{batch_norm: batch}", "recipe.batch_norm: the model of task 'own' has no BatchNorm"),
        ("{label_smoothing: 0.1}", "recipe.label_smoothing: the loss of task 'own' knows no"),
    ],
)
def test_a_sweep_file_is_told_before_anything_trains(recipe: str, message: str) -> None:
    """One line, at the recipe's place in the file."""
    sweep = tiny_sweep({"seeds: 2": f"seeds: 2\nrecipe: {recipe}"})
    with pytest.raises(UserError) as caught:
        inspect_task(sweep, net_task())
    assert message in str(caught.value)
    assert str(caught.value).startswith("tiny.yaml:")
    assert "\n" not in str(caught.value)
