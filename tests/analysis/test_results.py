"""The table: what is read, what is written, and every way it can be wrong."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis.results import (
    COLUMN_NAMES,
    COLUMNS,
    Results,
    ResultsError,
    read_results,
    write_results,
)
from analysis.simulate import Design, simulate_table


def small_table() -> pd.DataFrame:
    """Return four trials as this tool writes them."""
    return pd.DataFrame(
        {
            "trial_id": list("abcd"),
            "task": "digits_mlp",
            "method": "plain",
            "optimizer": "sgd",
            "batch_size": [1, 1, 2, 2],
            "lr": [0.1, 0.2, 0.1, 0.2],
            "seed": 0,
            "start": "init",
            "horizon": "300 steps",
            "sampling": "replacement",
            "num_examples": 1797,
            "verdict": ["stable", "diverged", "stable", "failed"],
            "initial_loss": 2.3,
            "final_loss": [0.1, np.nan, 0.2, np.nan],
            "first_nonfinite_step": [None, 3, None, None],
        }
    )


def write_csv(folder: Path, **columns: object) -> Path:
    """Write a small foreign table."""
    path = folder / "table.csv"
    pd.DataFrame(columns).to_csv(path, index=False)
    return path


def test_written_table_is_read_back_the_same(tmp_path: Path) -> None:
    """Values, types, the sweep's text and the environment survive the file."""
    path = tmp_path / "results.parquet"
    write_results(small_table(), path, sweep_text="name: x\n", environment={"torch": "2.8"})
    results = read_results(path)
    assert results.sweep_text == "name: x\n"
    assert results.environment == {"torch": "2.8"}
    assert results.warnings == ()
    assert tuple(results.frame.columns) == COLUMN_NAMES
    for name in small_table().columns:
        written, read = (
            [None if pd.isna(value) else value for value in table[name]]
            for table in (small_table(), results.frame)
        )
        assert read == written
    assert {c.name: str(results.frame[c.name].dtype) for c in COLUMNS} == {
        c.name: c.dtype for c in COLUMNS
    }
    assert [p.name for p in tmp_path.iterdir()] == ["results.parquet"]


def test_every_column_is_described() -> None:
    """The generated documentation has a line and no doubt about each column."""
    assert len(set(COLUMN_NAMES)) == len(COLUMNS)
    assert all(column.description.endswith(".") for column in COLUMNS)
    assert COLUMN_NAMES[-2:] == ("device", "engine")


def test_unknown_column_is_not_written(tmp_path: Path) -> None:
    """A column that nobody described does not slip into the file."""
    with pytest.raises(ValueError, match="no column 'colour'"):
        write_results(small_table().assign(colour=1), tmp_path / "results.parquet")
    assert list(tmp_path.iterdir()) == []


def test_failed_write_leaves_the_old_table(tmp_path: Path) -> None:
    """A write that breaks half-way neither harms what was there nor leaves a stray file."""
    path = tmp_path / "results.parquet"
    write_results(small_table(), path)
    with pytest.raises(TypeError):
        write_results(small_table(), path, environment={"torch": object()})
    assert len(read_results(path).frame) == 4
    assert [p.name for p in tmp_path.iterdir()] == ["results.parquet"]


def test_foreign_table_needs_three_columns_only(tmp_path: Path) -> None:
    """Batch size, lr and an outcome are enough; the rest gets plain defaults."""
    path = write_csv(tmp_path, batch_size=[8, 8], lr=[0.1, 0.2], verdict=["stable", " Diverged"])
    frame = read_results(path).frame
    assert frame["verdict"].tolist() == ["stable", "diverged"]
    assert frame.loc[0, ["task", "method", "optimizer", "start", "sampling"]].tolist() == [
        "unknown",
        "plain",
        "unknown",
        "init",
        "replacement",
    ]
    assert frame["seed"].tolist() == [0, 0]


@pytest.mark.parametrize("flags", [[False, True], [0, 1], [0.0, 1.0], ["no", "Yes"]])
def test_diverged_may_be_said_in_many_ways(tmp_path: Path, flags: list[object]) -> None:
    """Booleans, 0 and 1, yes and no mean the same."""
    path = write_csv(tmp_path, batch_size=[8, 8], lr=[0.1, 0.2], diverged=flags)
    assert read_results(path).frame["verdict"].tolist() == ["stable", "diverged"]


def test_map_renames_the_files_columns_to_ours(tmp_path: Path) -> None:
    """``--map lr=learning_rate`` reads the file's learning_rate as lr, over a column named lr."""
    path = write_csv(
        tmp_path, B=[8, 8], learning_rate=[0.1, 0.2], lr=["a", "b"], diverged=[False, True]
    )
    frame = read_results(path, {"lr": "learning_rate", "batch_size": "B"}).frame
    assert frame["lr"].tolist() == [0.1, 0.2]
    assert frame["batch_size"].tolist() == [8, 8]


def test_table_with_losses_only_waits_for_a_criterion(tmp_path: Path) -> None:
    """Losses without verdicts are read; that they are not judged yet can be asked."""
    path = write_csv(tmp_path, batch_size=[8], lr=[0.1], initial_loss=[2.0], final_loss=[0.5])
    assert not read_results(path).has_verdicts


def test_missing_outcome_counts_as_failed_and_is_said(tmp_path: Path) -> None:
    """A blank outcome is no measurement."""
    path = write_csv(tmp_path, batch_size=[8, 8], lr=[0.1, 0.2], diverged=[False, None])
    results = read_results(path)
    assert results.frame["verdict"].tolist() == ["stable", "failed"]
    assert results.warnings == ("1 row has no outcome and counts as failed.",)


def test_repeats_without_seeds_are_numbered(tmp_path: Path) -> None:
    """Three runs at one (batch size, lr) without a seed column become seeds 0, 1, 2."""
    path = write_csv(tmp_path, batch_size=[8] * 4, lr=[0.1, 0.1, 0.1, 0.2], diverged=[0, 0, 0, 1])
    results = read_results(path)
    assert results.frame["seed"].tolist() == [0, 1, 2, 0]
    assert "up to 3 rows" in results.warnings[0]


def test_named_seeds_are_numbered(tmp_path: Path) -> None:
    """Seeds may be words."""
    path = write_csv(
        tmp_path, batch_size=[8, 8], lr=[0.1, 0.1], diverged=[0, 1], seed=["run-b", "run-a"]
    )
    assert read_results(path).frame["seed"].tolist() == [1, 0]
    lists = pd.read_csv(path).assign(seed=[[2], [1, 1]])
    lists.to_parquet(tmp_path / "lists.parquet")
    assert read_results(tmp_path / "lists.parquet").frame["seed"].tolist() == [1, 0]


def test_horizon_is_taken_from_the_steps(tmp_path: Path) -> None:
    """Without a horizon, trials of different length still are not mixed."""
    path = write_csv(
        tmp_path, batch_size=[8, 8], lr=[0.1, 0.1], diverged=[0, 0], num_steps=[100, 300]
    )
    assert read_results(path).frame["horizon"].tolist() == ["100 steps", "300 steps"]


GOOD = {"batch_size": [8, 8], "lr": [0.1, 0.2], "verdict": ["stable", "diverged"]}


@pytest.mark.parametrize(
    ("columns", "rename", "message"),
    [
        ({"batch_size": [8], "learning_rate": [1]}, {}, "no column 'lr'.*--map lr=learning_rate"),
        ({"bs": [8], "lr": [1], "verdict": ["stable"]}, {}, "--map batch_size=bs"),
        ({"width": [8], "lr": [1]}, {}, "no column 'batch_size': it has width, lr"),
        ({"batch_size": [8], "lr": [1]}, {}, "does not say what diverged.*--criterion final:0.5"),
        ({"batch_size": [8], "lr": [1], "status": ["ok"]}, {}, "--map verdict=status"),
        (GOOD | {"lr": [0.1, "fast"]}, {}, "lr in row 2 is 'fast', it must be a number"),
        (GOOD | {"lr": [0.1, -0.2]}, {}, "lr in row 2 is -0.2, it must be positive"),
        (GOOD | {"lr": [0.0, 0.2]}, {}, "lr in row 1 is 0, it must be positive"),
        (GOOD | {"lr": [0.1, None]}, {}, "lr in row 2 is empty, it must be positive"),
        (GOOD | {"batch_size": [8, 0]}, {}, "batch_size in row 2 is 0, it must be at least 1"),
        (GOOD | {"batch_size": [8, 8.5]}, {}, "batch_size in row 2 is 8.5, .*whole number"),
        (GOOD | {"batch_size": [8, None]}, {}, "batch_size in row 2 is empty"),
        (GOOD | {"verdict": ["stable", "divergd"]}, {}, "'divergd'.*did you mean 'diverged'"),
        (GOOD | {"sampling": ["epoch", "often"]}, {}, "sampling in row 2 is 'often'"),
        ({"batch_size": [8], "lr": [1], "diverged": ["maybe"]}, {}, "'maybe'.*true or false"),
        (GOOD | {"seed": [1, 1], "lr": [0.1, 0.1]}, {}, "row 2 repeats.*--map seed=COLUMN"),
        (GOOD, {"lrr": "lr"}, "'lrr' is no column of ours.*did you mean lr=lr"),
        (GOOD, {"lr": "LR2"}, "has no column 'LR2'; did you mean 'lr'"),
        ({"batch_size": [], "lr": [], "verdict": []}, {}, "has no rows"),
    ],
)
def test_wrong_table_is_refused_in_one_line_that_helps(
    tmp_path: Path, columns: dict[str, list[object]], rename: dict[str, str], message: str
) -> None:
    """Each mistake is named, with what was given and what to write instead."""
    path = write_csv(tmp_path, **columns)
    with pytest.raises(ResultsError, match=message) as error:
        read_results(path, rename)
    assert "\n" not in str(error.value)


def test_unreadable_files_are_refused_in_one_line(tmp_path: Path) -> None:
    """A missing, truncated, empty, binary or misnamed file and a folder each say what to do."""
    whole = tmp_path / "whole.parquet"
    write_results(small_table(), whole)
    truncated = tmp_path / "truncated.parquet"
    truncated.write_bytes(whole.read_bytes()[:-100])
    empty, binary = tmp_path / "empty.csv", tmp_path / "binary.csv"
    empty.touch()
    binary.write_bytes(bytes(range(128, 256)))
    (tmp_path / "table.xlsx").touch()
    for name, message in (
        ("missing.csv", "does not exist"),
        ("truncated.parquet", "cannot be read as parquet"),
        ("empty.csv", "cannot be read as csv"),
        ("binary.csv", "cannot be read as csv"),
        ("table.xlsx", r"neither \.parquet nor \.csv"),
        (".", "is a folder"),
    ):
        with pytest.raises(ResultsError, match=message) as error:
            read_results(tmp_path / name)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(("version", "remedy"), [("2", "update"), ("0", "run the sweep again")])
def test_another_schema_is_refused(tmp_path: Path, version: str, remedy: str) -> None:
    """A table of a newer or older version is not guessed at."""
    path = tmp_path / "results.parquet"
    write_results(small_table(), path)
    metadata = {b"scaling_sweep.schema_version": version.encode()}
    pq.write_table(pq.read_table(path).replace_schema_metadata(metadata), path)
    with pytest.raises(ResultsError, match=f"has schema {version}.*{remedy}"):
        read_results(path)


def test_foreign_parquet_is_read_like_csv(tmp_path: Path) -> None:
    """A parquet file without our metadata is a foreign table."""
    table = simulate_table(lambda b: 0.01 * b, Design(num_seeds=2), np.random.default_rng(0))
    pq.write_table(pa.Table.from_pandas(table), tmp_path / "x.parquet")
    table.to_csv(tmp_path / "x.csv", index=False)
    one, other = (read_results(tmp_path / name) for name in ("x.parquet", "x.csv"))
    assert isinstance(one, Results)
    pd.testing.assert_frame_equal(one.frame, other.frame)


def test_own_table_with_a_trial_twice_is_refused(tmp_path: Path) -> None:
    """A trial that was written twice is a fault of the run, not a second seed."""
    path = tmp_path / "results.parquet"
    write_results(pd.concat([small_table(), small_table().tail(1)]), path)
    with pytest.raises(ResultsError, match="row 5 repeats an earlier trial"):
        read_results(path)


def test_nested_and_doubled_columns_are_refused_in_one_line(tmp_path: Path) -> None:
    """What parquet can hold and a table of numbers cannot is named."""
    path = tmp_path / "x.parquet"
    columns = {"batch_size": [8], "lr": [[0.1, 0.2]], "verdict": ["stable"]}
    pq.write_table(pa.table(columns), path)
    with pytest.raises(ResultsError, match=r"lr in row 1 is .*it must be a number"):
        read_results(path)
    twice = pa.table([[8], [0.1], [0.1]], names=["batch_size", "lr", "lr"])
    pq.write_table(twice, path)
    with pytest.raises(ResultsError, match=r"two columns 'lr'|cannot be read"):
        read_results(path)
