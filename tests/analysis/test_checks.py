"""The three-way check: which interval says what."""

import pytest

from analysis.checks import check_exponent, predict_exponent
from analysis.summaries import Outcome


@pytest.mark.parametrize("name", ["sgd", "momentum", "nesterov", "SGD", "sgd(weight_decay=0.1)"])
def test_noise_that_averages_predicts_one(name: str) -> None:
    """Plain gradient methods are predicted to scale linearly, whatever their hyperparameters."""
    assert predict_exponent(name) == 1.0


@pytest.mark.parametrize("name", ["adam", "adamw", "rmsprop", "nadam", "radam", "adam(beta1=0.95)"])
def test_second_moments_predict_one_half(name: str) -> None:
    """Methods that divide by the root of the second moment scale with the square root."""
    assert predict_exponent(name) == 0.5


def test_own_prediction_comes_first_and_the_full_label_before_the_bare_name() -> None:
    """A user's table overrides theory; its label for one variant overrides that for all."""
    own = {"adam": 0.6, "adam(beta1=0)": 0.7, "sgd": None}
    assert predict_exponent("adam(beta1=0)", own) == 0.7
    assert predict_exponent("adam(beta1=0.5)", own) == 0.6
    assert predict_exponent("sgd", own) is None
    assert predict_exponent("muon", own) is None


@pytest.mark.parametrize(
    ("wide", "narrow", "outcome"),
    [
        ((0.93, 1.08), (0.94, 1.07), Outcome.CONFIRMED),
        ((0.88, 1.08), (0.90, 1.10), Outcome.CONFIRMED),  # the margin itself is inside
        ((0.88, 1.08), (0.89, 1.07), Outcome.INCONCLUSIVE),
        ((0.70, 0.83), (0.72, 0.81), Outcome.REFUTED),
        ((1.01, 1.30), (1.03, 1.28), Outcome.REFUTED),
        ((0.20, 1.80), (0.30, 1.70), Outcome.INCONCLUSIVE),
    ],
)
def test_outcome_follows_the_two_intervals(
    wide: tuple[float, float], narrow: tuple[float, float], outcome: Outcome
) -> None:
    """Equivalence by the 90 % interval first, exclusion by the 95 % one second."""
    assert check_exponent(1.0, wide, narrow).outcome is outcome


def test_close_and_excluded_is_confirmed_with_both_numbers() -> None:
    """An interval inside the margin that misses the value itself says so."""
    check = check_exponent(1.0, (1.01, 1.07), (1.02, 1.06))
    assert check.outcome is Outcome.CONFIRMED
    assert check.reason == (
        "The 90 % interval [1.020, 1.060] lies inside 1 ± 0.1, "
        "although the 95 % interval [1.010, 1.070] excludes 1."
    )


def test_nothing_predicted_or_fitted_gives_no_outcome() -> None:
    """Neither a missing theory nor a refused fit is inconclusive: there is no outcome."""
    assert check_exponent(None, (0.4, 0.6), (0.45, 0.55)).outcome is None
    refused = check_exponent(0.5, None, None)
    assert refused.outcome is None
    assert refused.predicted == 0.5
