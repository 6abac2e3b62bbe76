"""The table of hyperparameters against the rules that take them."""

import inspect

import pytest

from scaling_sweep.optimizers import adam, rmsprop, sgd
from scaling_sweep.spec import OPTIMIZERS

RULES = {
    "sgd": sgd.sgd,
    "momentum": sgd.momentum,
    "nesterov": sgd.nesterov,
    "adam": adam.adam,
    "adamw": adam.adamw,
    "rmsprop": rmsprop.rmsprop,
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_sweep_file_may_set_what_the_rule_takes(name: str) -> None:
    """The table, which needs no torch, has the rule's own hyperparameters and defaults."""
    parameters = inspect.signature(RULES[name]).parameters

    taken = {key: parameter.default for key, parameter in parameters.items()}

    assert {key: item.default for key, item in OPTIMIZERS[name].items()} == taken
