"""The table of hyperparameters against the rules that take them."""

import inspect

import pytest
from pydantic import ValidationError

from scaling_sweep.optimizers import (
    adagrad,
    adam,
    adam_relatives,
    cauchy,
    muon,
    newton,
    rmsprop,
    sgd,
    slq,
)
from scaling_sweep.spec import OPTIMIZER_DESCRIPTIONS, OPTIMIZERS, OptimizerSpec

RULES = {
    "sgd": sgd.sgd,
    "momentum": sgd.momentum,
    "nesterov": sgd.nesterov,
    "adam": adam.adam,
    "adamw": adam.adamw,
    "rmsprop": rmsprop.rmsprop,
    "nadam": adam_relatives.nadam,
    "radam": adam_relatives.radam,
    "adamax": adam_relatives.adamax,
    "adagrad": adagrad.adagrad,
    "adadelta": adagrad.adadelta,
    "muon": muon.muon,
    "cauchy": cauchy.cauchy,
    "slq": slq.slq,
    "newton": newton.newton,
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_sweep_file_may_set_what_the_rule_takes(name: str) -> None:
    """The table, which needs no torch, has the rule's own hyperparameters and defaults."""
    parameters = inspect.signature(RULES[name]).parameters

    taken = {key: parameter.default for key, parameter in parameters.items()}

    assert {key: item.default for key, item in OPTIMIZERS[name].items()} == taken


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"name": "slq", "lambda_n": "middle"}, "must be one of bulk, smallest, got middle"),
        ({"name": "slq", "lambda_n": 1}, "must be one of bulk, smallest, got 1"),
        ({"name": "slq", "refresh_every": 0}, "must be a whole number from 1 up, got 0"),
        ({"name": "slq", "num_lanczos": 2.5}, "must be a whole number from 2 up, got 2.5"),
        ({"name": "slq", "safety": 0}, "must be a finite number above 0, got 0"),
        ({"name": "newton", "damping": float("inf")}, "must be a finite number above 0"),
        ({"name": "slq", "max_momentum": 1}, "must be a finite number from 0 to below 1, got 1"),
        ({"name": "adam", "beta1": "much"}, "must be a number, got much"),
    ],
)
def test_words_and_whole_numbers_are_checked(given: dict[str, object], message: str) -> None:
    """What a hyperparameter may not be is refused with what it may be."""
    with pytest.raises(ValidationError) as caught:
        OptimizerSpec.model_validate(given)

    assert message in str(caught.value)


def test_a_label_shows_words_that_are_not_default() -> None:
    """A word stands in the label as in the file, and a default spelled out does not."""
    given = {"name": "slq", "lambda_n": "smallest", "refresh_every": 10, "batch_noise": "batch"}

    assert OptimizerSpec.model_validate(given).label == "slq(batch_noise=batch, lambda_n=smallest)"


def test_every_optimizer_is_described_and_reconstructions_say_so() -> None:
    """The lists that people see say of slq and cauchy that the paper was not reachable."""
    assert set(OPTIMIZER_DESCRIPTIONS) == set(OPTIMIZERS)
    assert {n for n, text in OPTIMIZER_DESCRIPTIONS.items() if "reconstruction" in text} == {
        "slq",
        "cauchy",
    }
