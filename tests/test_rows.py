"""From a pack's result to rows: every column filled from where it belongs."""

import numpy as np

from analysis.columns import COLUMN_NAMES
from scaling_sweep.rows import rows_of_failure, rows_of_result
from tests.run_cases import damped_sweep, made_up_result, tiny_packs, tiny_sweep


def test_a_row_says_what_was_trained_and_what_came_out() -> None:
    """Every column of the table is there, and holds the trial's or the record's own value."""
    (pack, _), result = tiny_packs(), made_up_result(tiny_packs()[0])
    table = rows_of_result(result).results

    assert set(table.columns) == set(COLUMN_NAMES)
    for (_, row), trial, record in zip(table.iterrows(), pack.trials, result.records, strict=True):
        assert row["trial_id"] == trial.trial_id
        assert row["pack_id"] == pack.pack_id
        assert row["task"] == "digits_mlp(width=4)"
        assert (row["method"], row["optimizer"], row["start"]) == ("plain", "sgd", "init")
        assert (row["batch_size"], row["lr"], row["seed"]) == (
            trial.batch_size,
            trial.lr,
            trial.seed,
        )
        assert (row["horizon"], row["num_steps"], row["sampling"]) == (
            "12 steps",
            12,
            "replacement",
        )
        assert (row["num_examples"], row["device"], row["engine"]) == (1797, "cpu", "vmap")
        for name in ("verdict", "reason", "steps_run", "initial_loss", "start_loss", "final_loss"):
            assert row[name] == getattr(record, name)
        for name in ("min_loss", "peak_loss", "wall_time_s"):
            assert row[name] == getattr(record, name)
        step = row["first_nonfinite_step"]
        assert (None if np.isnan(step) else step) == record.first_nonfinite_step


def test_a_row_of_a_study_of_dampings_says_its_damping() -> None:
    """Measured or failed, a trial has its own damping; the optimizer keeps its plain label."""
    pack = tiny_packs(damped_sweep())[0]

    for rows in (rows_of_result(made_up_result(pack)), rows_of_failure(pack, "lost")):
        assert rows.results["lr"].tolist() == [0.1, 0.1, 1.0, 1.0] * 2
        assert rows.results["damping"].tolist() == [0.01, 1.0] * 4
        assert set(rows.results["optimizer"]) == {"adam"}


def test_curves_are_kept_by_trial() -> None:
    """One row of lists per trial, equally long."""
    result = made_up_result(tiny_packs()[0])
    curves = rows_of_result(result).curves

    assert curves["trial_id"].tolist() == [record.trial_id for record in result.records]
    assert curves["step"].tolist() == [[4, 8, 12]] * len(result.records)
    assert curves["loss"].tolist() == [list(record.curve_losses) for record in result.records]


def test_a_pack_that_failed_leaves_rows_without_a_measurement() -> None:
    """Each of its trials is there as failed, with the reason and no loss."""
    pack = tiny_packs()[0]
    rows = rows_of_failure(pack, "out of memory")

    assert rows.pack_id == pack.pack_id
    assert rows.results["trial_id"].tolist() == [trial.trial_id for trial in pack.trials]
    assert set(rows.results["verdict"]) == {"failed"}
    assert set(rows.results["reason"]) == {"out of memory"}
    assert not {"final_loss", "initial_loss", "wall_time_s"} & set(rows.results)
    assert rows.curves.empty


def test_the_label_of_a_task_keeps_its_arguments() -> None:
    """Rows of the same task with other arguments are another group."""
    other = tiny_sweep({"width: 4": "width: 5"})

    assert rows_of_failure(tiny_packs(other)[0], "").results["task"][0] == "digits_mlp(width=5)"
