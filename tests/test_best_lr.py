"""The best learning rate by either loss: from Python, on the command line and in W&B."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import scaling_sweep
from analysis.groups import fit_results
from analysis.results import Results
from analysis.simulate_bowls import BowlDesign, simulate_bowls
from analysis.tables import normalize_table
from scaling_sweep.cli import main
from scaling_sweep.errors import UserError
from scaling_sweep.tracking.findings import find_findings

DESIGN = BowlDesign(batch_sizes=(4, 8, 16, 32), num_seeds=3)
# Held-out data are best served by a learning rate of half the size.
HELD_OUT_SHARE = 0.5


@pytest.fixture(scope="module")
def trials() -> pd.DataFrame:
    """Return bowls around 0.01 B by the final loss, around half of that by the held-out one."""
    table = simulate_bowls(lambda b: 0.01 * b, DESIGN, np.random.default_rng(0))
    moved = []
    for row in table.itertuples():
        own = table[(table["batch_size"] == row.batch_size) & (table["seed"] == row.seed)]
        at = np.log(row.lr / HELD_OUT_SHARE)
        moved.append(np.interp(at, np.log(own["lr"]), own["final_loss"]))
    return table.assign(validation_loss=moved)


def test_the_best_lr_by_held_out_loss_is_another(trials: pd.DataFrame, tmp_path: Path) -> None:
    """Each loss finds the bottom of its own bowls, in Python and on the command line alike."""
    trials.to_csv(tmp_path / "t.csv", index=False)
    for loss, share in (("final", 1.0), ("validation", HELD_OUT_SHARE)):
        optimal = scaling_sweep.fit(trials, loss=loss).group().optimal
        shown = CliRunner().invoke(main, ["fit", str(tmp_path / "t.csv"), "--loss", loss, "--json"])
        [group] = json.loads(shown.stdout)["groups"]

        assert optimal is not None
        assert group["optimal"]["loss_column"] == optimal.loss_column == f"{loss}_loss"
        for one, same in zip(optimal.lrs, group["optimal"]["lrs"], strict=True):
            assert one.lr_opt == pytest.approx(share * 0.01 * one.batch_size, rel=0.15)
            assert same["lr_opt"] == pytest.approx(one.lr_opt)


def test_the_terminal_says_which_loss_is_low(trials: pd.DataFrame, tmp_path: Path) -> None:
    """The sentence about lr_opt names the loss, and so does a recommendation's number follow it."""
    trials.to_csv(tmp_path / "t.csv", index=False)
    path = str(tmp_path / "t.csv")
    shown = CliRunner().invoke(main, ["fit", path, "--loss", "validation"])
    words = " ".join(shown.stdout.split())

    assert "lowest validation loss" in words or "best learning rate by validation loss" in words
    advice = scaling_sweep.recommend(trials, 8, loss="validation")
    assert advice.lr_opt == pytest.approx(HELD_OUT_SHARE * 0.08, rel=0.15)


@pytest.mark.parametrize("loss", ["validation", "test"])
def test_a_loss_that_is_not_there_is_one_line(
    trials: pd.DataFrame, tmp_path: Path, loss: str
) -> None:
    """A table without held-out losses says how to have them; another word is no loss."""
    table = trials.drop(columns="validation_loss")
    words = "hold data out" if loss == "validation" else "loss must be final or validation"
    with pytest.raises(UserError, match=words) as caught:
        scaling_sweep.fit(table, loss=loss)
    table.to_csv(tmp_path / "t.csv", index=False)
    shown = CliRunner().invoke(main, ["fit", str(tmp_path / "t.csv"), "--loss", loss])

    assert "\n" not in str(caught.value)
    assert shown.exit_code == (1 if loss == "validation" else 2)


def test_wandb_has_the_best_learning_rates(trials: pd.DataFrame) -> None:
    """Summary, table and figures of a group say what the fit says of every batch size."""
    results = Results(normalize_table(trials, "bowls", {}).frame, "bowls")
    fit = fit_results(results)
    optimal = fit.groups[0].optimal
    assert optimal is not None
    [findings] = find_findings(fit, results, None)
    table = next(table for table in findings.tables if table.name == "tables/optima")
    rows = [dict(zip(table.columns, row, strict=True)) for row in table.rows]

    assert [row["batch_size"] for row in rows] == [4, 8, 16, 32]
    for row, one in zip(rows, optimal.lrs, strict=True):
        assert row["lr_opt_low"] < row["lr_opt"] < row["lr_opt_high"]
        assert row["lr_opt"] == findings.summary[f"lr_opt/{one.batch_size}"] == one.lr_opt
    assert findings.summary["lr_opt_exponent"] == optimal.exponent
    assert findings.summary["lr_opt_loss"] == "final_loss"
    names = {picture.name for picture in findings.pictures}
    assert {"figures/optimal", "figures/bowls"} <= names
