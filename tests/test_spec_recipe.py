"""The section `recipe` of a sweep file: labels, what is refused, and whose trials it names."""

from pathlib import Path
from typing import Any

import pytest

from scaling_sweep.errors import UserError
from scaling_sweep.planning import all_trials, check_extends, plan_packs
from scaling_sweep.spec import Recipe, SweepSpec, check_against_task, parse_sweep
from tests.spec_cases import message_of

FILE = """
name: t
task: digits_mlp
parameters:
  optimizer: {{values: [{optimizer}]}}
  batch_size: {{values: [8, 64]}}
  lr: {{values: [0.1, 1]}}
seeds: 2
horizon: {horizon}
recipe: {recipe}
"""


def text(recipe: str, optimizer: str = "adamw", horizon: str = "{steps: 300}") -> str:
    """Return a sweep file with a recipe."""
    return FILE.format(recipe=recipe, optimizer=optimizer, horizon=horizon)


def study(**recipe: Any) -> SweepSpec:  # noqa: ANN401
    """Return a study with a recipe."""
    whole = {"name": "t", "task": "digits_mlp", "seeds": 2, "horizon": {"steps": 300}}
    parameters = {
        "optimizer": {"values": ["sgd"]},
        "batch_size": {"values": [8]},
        "lr": {"values": [0.1]},
    }
    return SweepSpec.model_validate({**whole, "parameters": parameters, "recipe": recipe})


@pytest.mark.parametrize(
    ("recipe", "label"),
    [
        ("{}", "plain"),
        ("{clip_norm: 0.5}", "clip_norm=0.5"),
        ("{schedule: cosine}", "schedule=cosine to 0"),
        ("{schedule: {warmup: {steps: 50}}}", "schedule=constant after 50 steps"),
        (
            "{schedule: {shape: linear, final_share: 0.1, warmup: {epochs: 0.5}}, precision: bf16}",
            "schedule=linear to 0.1 after 0.5 epochs, precision=bf16",
        ),
        (
            "{batch_norm: frozen, label_smoothing: 0.1, weight_decay: 0}",
            "batch_norm=frozen, label_smoothing=0.1, weight_decay=0",
        ),
    ],
)
def test_a_label_says_what_is_not_usual(recipe: str, label: str) -> None:
    """Every trial of the study carries it."""
    spec = parse_sweep(text(recipe)).spec
    assert spec.recipe.label == label
    assert {trial.recipe for trial in all_trials(spec)} == {label}


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ("{schedule: {final_share: 0.1}}", "has no meaning with shape constant"),
        ("{schedule: exponential}", "must be one of constant, cosine, linear, got exponential"),
        ("{schedule: {warmup: 50}}", "must be a mapping, got 50"),
        ("{schedule: {warmup: {steps: 5, epochs: 1}}}", "exactly one of steps, epochs or examples"),
        ("{schedule: {warmup: {steps: 0}}}", "must be at least 1, got 0"),
        ("{precision: fp16}", "must be one of fp32, tf32, bf16, got fp16"),
        ("{clip_norm: 0}", "must be above 0, got 0"),
        ("{label_smoothing: 1}", "label_smoothing"),
        ("{clip_nrom: 1}", "did you mean clip_norm?"),
    ],
)
def test_a_recipe_that_cannot_be_meant_is_refused(recipe: str, message: str) -> None:
    """One line says what to write instead."""
    said = message_of(text(recipe))
    assert message in said
    assert "recipe" in said


def test_a_field_of_the_recipe_at_the_top_is_shown_its_place() -> None:
    """What belongs under `recipe` is said to."""
    with pytest.raises(UserError, match=r"belongs under recipe, as in `recipe: \{clip_norm: 1\}`"):
        parse_sweep(text("{}") + "clip_norm: 1\n")


@pytest.mark.parametrize(
    ("optimizer", "message"),
    [
        ("{name: adamw, weight_decay: 0.01}", "is given here and in recipe; delete one"),
        ("slq", "slq has no weight_decay"),
    ],
)
def test_weight_decay_has_one_place(optimizer: str, message: str) -> None:
    """Given twice it is refused, even where both are usual; so it is where there is none."""
    assert message in message_of(text("{weight_decay: 0.01}", optimizer))


@pytest.mark.parametrize(
    ("recipe", "horizon", "num_examples", "message"),
    [
        ("{schedule: {warmup: {steps: 300}}}", "{steps: 300}", 1000, "takes 300 steps at batch"),
        (
            "{schedule: {warmup: {epochs: 2}}}",
            "{steps: 40}",
            1000,
            "takes 250 steps at batch size 8, where the horizon has 40",
        ),
        ("{schedule: {warmup: {epochs: 1}}}", "{steps: 40}", None, "write steps or examples"),
    ],
)
def test_a_warm_up_must_end_before_training_does(
    recipe: str, horizon: str, num_examples: int | None, message: str
) -> None:
    """Only with the data at hand can it be told, at every batch size."""
    loaded = parse_sweep(text(recipe, horizon=horizon), Path("s.yaml"))
    with pytest.raises(UserError) as caught:
        check_against_task(loaded, num_examples)
    assert message in str(caught.value)
    assert "recipe" in str(caught.value)


def test_the_plain_recipe_names_the_trials_of_before() -> None:
    """Runs begun before there were recipes go on: this identifier was taken then."""
    [first, *_] = all_trials(study())
    assert first.trial_id == "615c7eb7e27a4379"


def test_another_recipe_is_another_study() -> None:
    """Its trials have other names, other packs, and a run cannot be turned into it."""
    plain, clipped = study(), study(clip_norm=1)
    ids = [{trial.trial_id for trial in all_trials(spec)} for spec in (plain, clipped)]
    assert not ids[0] & ids[1]
    assert plan_packs(plain)[0].pack_id != plan_packs(clipped)[0].pack_id
    with pytest.raises(UserError, match="recipe was plain, now clip_norm=1: a run may only grow"):
        check_extends(plain, clipped)
    check_extends(clipped, study(clip_norm=1.0))


@pytest.mark.parametrize("name", ["rprop", "asgd", "adafactor", "lbfgs", "LBFGS"])
def test_optimizers_without_a_factor_are_refused_with_the_reason(name: str) -> None:
    """What torch has and a sweep has not is not called unknown."""
    with pytest.raises(UserError, match=f"{name} cannot be swept, its steps are not proportional"):
        parse_sweep(text("{}", name))


def test_a_recipe_is_as_its_label_says() -> None:
    """Labels lose nothing: recipes with equal labels are equal."""
    recipes = [
        Recipe.model_validate(given)
        for given in (
            {},
            {"clip_norm": 0.123456789},
            {"clip_norm": 0.12345678},
            {"schedule": "linear"},
            {"schedule": {"shape": "linear", "warmup": {"steps": 1}}},
            {"schedule": {"shape": "linear", "warmup": {"epochs": 1}}},
        )
    ]
    assert len({recipe.label for recipe in recipes}) == len(recipes)
