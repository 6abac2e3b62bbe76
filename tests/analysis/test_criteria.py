"""Criteria: reading, judging one trial, judging a table."""

import numpy as np
import pandas as pd
import pytest

from analysis.criteria import (
    Criterion,
    Kind,
    Reference,
    Verdict,
    judge,
    judge_one,
    parse_criterion,
)

CRITERIA = ("final:0.5", "final:1", "final:2:start", "peak:2", "peak:1.5:start", "finite")


@pytest.mark.parametrize("text", CRITERIA)
def test_criterion_is_written_as_it_is_read(text: str) -> None:
    """Text to criterion and back gives the same text."""
    assert str(parse_criterion(text)) == text


@pytest.mark.parametrize(
    "text", ["", "final", "final:x", "final:-1", "final:nan", "best:2", "finite:2", "final:1:end"]
)
def test_unreadable_criterion_says_what_to_write(text: str) -> None:
    """A wrong criterion is named and the forms are listed."""
    with pytest.raises(ValueError, match=r"write final:0\.5, peak:2 or finite"):
        parse_criterion(text)


def test_default_criterion_is_the_one_of_the_method() -> None:
    """Without words a trial is stable when it ends below half of the initial loss."""
    assert Criterion() == Criterion(Kind.FINAL, 0.5, Reference.INITIAL)


def random_table(seed: int) -> pd.DataFrame:
    """Return trials with every kind of loss a run can leave behind."""
    rng = np.random.default_rng(seed)
    size = 200
    odd = np.array([np.nan, np.inf, 0.0])

    def losses(share: float) -> np.ndarray:
        return np.where(
            rng.uniform(size=size) < share, rng.choice(odd, size), rng.gamma(2, 1, size)
        )

    step = pd.array(rng.integers(0, 300, size), dtype="Int64")
    step[rng.uniform(size=size) < 0.8] = pd.NA
    return pd.DataFrame(
        {
            "verdict": rng.choice(["stable", "diverged"], size),
            "initial_loss": losses(0.05),
            "start_loss": losses(0.05),
            "final_loss": losses(0.2),
            "peak_loss": losses(0.2),
            "first_nonfinite_step": step,
        },
        index=rng.permutation(size),
    )


@pytest.mark.parametrize("text", CRITERIA)
def test_table_is_judged_like_its_trials_one_by_one(text: str) -> None:
    """The vectorised judge and the scalar one never disagree."""
    criterion, table = parse_criterion(text), random_table(0)
    one_by_one = [
        judge_one(
            criterion,
            initial_loss=row.initial_loss,
            start_loss=row.start_loss,
            final_loss=row.final_loss,
            peak_loss=row.peak_loss,
            first_nonfinite_step=None
            if pd.isna(row.first_nonfinite_step)
            else int(row.first_nonfinite_step),
        ).verdict.value
        for row in table.itertuples()
    ]
    judged = judge(criterion, table)
    assert judged.tolist() == one_by_one
    assert judged.index.equals(table.index)


def test_failed_trials_stay_failed() -> None:
    """No criterion turns a trial without a measurement into one."""
    table = random_table(1).assign(verdict="failed")
    for text in CRITERIA:
        assert set(judge(parse_criterion(text), table)) == {"failed"}


def test_loss_that_never_was_finite_is_a_failure_not_a_measurement() -> None:
    """Without a reference loss there is nothing to compare with."""
    judgement = judge_one(
        Criterion(),
        initial_loss=float("nan"),
        start_loss=2.0,
        final_loss=1.0,
        peak_loss=1.0,
        first_nonfinite_step=None,
    )
    assert judgement.verdict is Verdict.FAILED
    assert "nothing to compare with" in judgement.reason


def test_reason_gives_the_step_where_the_loss_blew_up() -> None:
    """A trial that left the finite numbers says when."""
    judgement = judge_one(
        parse_criterion("finite"),
        initial_loss=2.0,
        start_loss=2.0,
        final_loss=float("nan"),
        peak_loss=9.0,
        first_nonfinite_step=17,
    )
    assert judgement.verdict is Verdict.DIVERGED
    assert judgement.reason == "loss not finite at step 17"
