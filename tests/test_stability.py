"""The sweep file's words on stability, as a criterion on the numbers of one trial."""

import math

import pytest

from scaling_sweep.spec import Stability
from scaling_sweep.stability import criterion_of, judge

LOSSES = {"initial_loss": 2.0, "start_loss": 0.1, "final_loss": 0.9, "peak_loss": 5.0}


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ({}, "stable"),  # 0.9 <= 0.5 × 2
        ({"max_loss_ratio": 0.45}, "stable"),  # on the line is stable
        ({"max_loss_ratio": 0.44}, "diverged"),
        ({"reference": "start"}, "diverged"),  # 0.9 > 0.5 × 0.1
        ({"reference": "start", "max_loss_ratio": 9.1}, "stable"),
        ({"measure": "peak", "max_loss_ratio": 2.5}, "stable"),
        ({"measure": "peak", "max_loss_ratio": 2.4}, "diverged"),
        ({"measure": "finite", "max_loss_ratio": 1e-9}, "stable"),
    ],
)
def test_each_setting_draws_its_line(words: dict[str, object], expected: str) -> None:
    """Measure, ratio and reference together decide, as their inequality says."""
    judged = judge(criterion_of(Stability(**words)), **LOSSES, first_nonfinite_step=None)

    assert str(judged.verdict) == expected
    assert judged.reason


@pytest.mark.parametrize("measure", ["final", "peak", "finite"])
def test_a_loss_that_was_not_finite_is_divergence_by_any_measure(measure: str) -> None:
    """Ending well does not undo a step that was lost."""
    criterion = criterion_of(Stability(measure=measure, max_loss_ratio=1e9))
    judged = judge(criterion, **LOSSES, first_nonfinite_step=7)

    assert str(judged.verdict) == "diverged"
    assert "7" in judged.reason


@pytest.mark.parametrize("measure", ["final", "finite"])
@pytest.mark.parametrize("final", [math.inf, math.nan])
def test_a_final_loss_that_is_not_finite_is_divergence(measure: str, final: float) -> None:
    """Infinity and NaN are below no ratio."""
    criterion = criterion_of(Stability(measure=measure, max_loss_ratio=1e30))
    judged = judge(criterion, **{**LOSSES, "final_loss": final}, first_nonfinite_step=None)

    assert str(judged.verdict) == "diverged"
