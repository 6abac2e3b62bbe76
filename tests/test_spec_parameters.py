"""Searching the damping: what it asks of a file, and one line for every way to get it wrong."""

import pytest

from scaling_sweep.spec import OPTIMIZERS, OptimizerSpec, SweepSpec, parse_sweep
from tests.spec_cases import message_of

GOOD = """\
# Line 1 is the question.
name: digits
task: digits_mlp
parameters:
  optimizer: {values: [adam, rmsprop]}
  batch_size: {min: 1, max: 512, per_octave: 1}
  lr: {values: [0.1, 0.4]}
  damping: {min: 1e-6, max: 10, per_octave: 4}
seeds: 6
horizon: {steps: 300}
"""
OPTIMIZER_LIST = "[adam, rmsprop]"
DAMPING = "{min: 1e-6, max: 10, per_octave: 4}"


def with_change(old: str, new: str) -> str:
    """Return the good file with one thing changed."""
    assert GOOD.count(old) == 1
    return GOOD.replace(old, new)


def read(old: str = "seeds: 6", new: str = "seeds: 6") -> SweepSpec:
    """Read the good file with one thing changed."""
    return parse_sweep(with_change(old, new), "x.yaml").spec


def test_a_study_of_damping_has_settings_and_a_searched_axis() -> None:
    """Learning rates stay as listed, the damping is a lattice from 2^(-79/4) to 2^(13/4)."""
    spec = read()
    (adam, _), dampings = spec.optimizers, spec.dampings_for(spec.optimizers[0])

    assert spec.parameters.searched == "damping"
    assert spec.lrs_for(adam) == (0.1, 0.4)
    assert len(dampings) == 79 + 13 + 1
    assert dampings[0] == pytest.approx(2 ** (-79 / 4), rel=1e-9)
    assert dampings[-1] == pytest.approx(2 ** (13 / 4), rel=1e-9)


@pytest.mark.parametrize("searched", ["", "  damping:\n", "  damping: null\n"])
def test_a_study_without_dampings_searches_the_learning_rate(searched: str) -> None:
    """An axis that is empty is not there."""
    spec = read(f"  damping: {DAMPING}\n", searched)

    assert spec.parameters.searched == "lr"
    assert spec.dampings_for(spec.optimizers[0]) == (None,)


def test_the_damping_of_an_optimizer_is_one_of_its_hyperparameters() -> None:
    """No optimizer has two, and what is named as its damping is in its table."""
    for name, table in OPTIMIZERS.items():
        own = [key for key, item in table.items() if item.is_damping]
        assert len(own) <= 1
        assert OptimizerSpec(name=name).damping == (own[0] if own else None)
    assert OptimizerSpec(name="adam").damping == "eps"
    assert OptimizerSpec(name="sgd").damping is None


@pytest.mark.parametrize(
    ("old", "new", "line", "expected"),
    [
        (
            OPTIMIZER_LIST,
            "[adam, sgd]",
            5,
            "parameters.optimizer.values[1]: sgd has no damping to search; delete it, or delete "
            "damping (adagrad, adam, adamw, ",
        ),
        (
            OPTIMIZER_LIST,
            "[rmsprop, {name: adam, eps: 1e-6}]",
            5,
            "parameters.optimizer.values[1].eps: is what damping searches; delete it here, or",
        ),
        # The default spelled out is the same optimizer, and a contradiction all the same.
        (OPTIMIZER_LIST, "[{name: adam, eps: 1e-8}]", 5, "is what damping searches"),
        (
            DAMPING,
            "{by_optimizer: {adam: {values: [1]}}}",
            8,
            "parameters.damping.by_optimizer: no dampings for rmsprop; write for example rmsprop",
        ),
        (DAMPING, "{by_optimizer: {adma: {values: [1]}}}", 8, "did you mean adam?"),
        (DAMPING, "0.1", 8, "parameters.damping: must be a mapping, got 0.1; did you mean {val"),
        (DAMPING, "{values: [0, 1]}", 8, "damping.values[0]: must be above 0, got 0; write for"),
        (DAMPING, "{values: [1, 1.0]}", 8, "values[1]: 1 is listed twice"),
        (DAMPING, "{min: 10, max: 1, per_octave: 2}", 8, "must not be above max, got 10"),
        (DAMPING, "{min: 1e-40, max: 1, per_octave: 2}", 8, "must be at least 1e-30"),
        ("  damping: ", "  eps: ", 8, "parameters.eps: unknown key; did you mean damping?"),
        ("seeds: 6", "seeds: 6\ndamping: 1", 10, "it belongs under parameters, as in `parameters"),
        # 2 optimizers × 2 learning rates × 1,488 dampings × 10 batch sizes × 17 seeds.
        (
            "{min: 1e-6, max: 10, per_octave: 4}\nseeds: 6",
            "{min: 1e-6, max: 10, per_octave: 64}\nseeds: 17",
            4,
            "parameters: asks for 1,011,840 trials, more than 1,000,000",
        ),
    ],
)
def test_a_mistake_about_damping_is_one_line_that_says_what_to_write(
    old: str, new: str, line: int, expected: str
) -> None:
    """The message names the line, what was given and the way out."""
    message = message_of(with_change(old, new))

    assert message.startswith(f"x.yaml:{line}: ")
    assert expected in message
