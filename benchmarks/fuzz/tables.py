"""Tables of results: fitted ones with spoilt cells, columns, metadata and bytes."""

import io
import json
import os
import pickle
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy, composite

from benchmarks.fuzz.strings import MARK, nasty_text, plain, plain_data, scalars
from benchmarks.fuzz.sweeps import sweep_texts


def study(num_seeds: int = 2, batch_sizes: Sequence[int] = (1, 2, 4, 8, 16)) -> pd.DataFrame:
    """Return a small table that can be fitted; a law takes at least 4 batch sizes."""
    return pd.DataFrame(
        [
            {
                "task": "t",
                "optimizer": "sgd",
                "batch_size": size,
                "lr": lr,
                "seed": seed,
                "verdict": "diverged" if lr > 0.03 * size * (1 + 0.2 * seed) else "stable",
                "reason": "",
                "initial_loss": 2.0,
                "final_loss": 3.0 if lr > 0.03 * size else abs(lr - 0.01 * size) + 0.1,
            }
            for size in batch_sizes
            for seed in range(num_seeds)
            for lr in (0.01 * 2**k for k in range(9))
        ]
    )


COLUMNS = tuple(study(1).columns)
OTHER_COLUMNS = (
    *("damping", "start", "horizon", "recipe", "sampling", "num_examples", "num_steps"),
    *("diverged", "start_loss", "peak_loss", "first_nonfinite_step", "trial_id", "x", MARK),
)


@composite
def tables(draw: DrawFn) -> pd.DataFrame:
    """Draw a table that can be fitted, then spoil some of its cells and columns."""
    # Without a law it is quick.
    sizes = draw(st.sampled_from([(1, 4)] * 7 + [(1, 2, 4, 8, 16)]))
    table = study(2, sizes).astype(object)
    for _ in range(draw(st.integers(1, 3))):
        name = draw(st.sampled_from(COLUMNS + OTHER_COLUMNS))
        match draw(st.sampled_from(["cell", "column", "drop", "double", "list", "cut", "text"])):
            case "cell" if name in table:
                table.loc[draw(st.integers(0, len(table) - 1)), name] = draw(scalars)
            case "column" | "cell":
                table[name] = draw(scalars)
            case "drop" if name in table:
                table = table.drop(columns=name)
            case "double" if name in table:
                table = pd.concat([table, table[[name]]], axis=1)
                break
            case "list":
                table[name] = [draw(st.lists(scalars, max_size=2))] * len(table)
            case "cut":
                table = table.head(draw(st.integers(0, 30))).reset_index(drop=True)
            case _:
                table[name] = [draw(nasty_text) for _ in range(2)] * (len(table) // 2) + [""] * (
                    len(table) % 2
                )
        if table.empty:
            break
        table = table.astype(object)  # what is all text takes no number else
    return table


def to_parquet(table: pd.DataFrame, metadata: Mapping[str, str | bytes]) -> bytes:
    """Return a table as a parquet file; what arrow cannot hold becomes text."""
    names = [str(name) for name in table.columns]
    columns = []
    for place in range(len(names)):
        values = table.iloc[:, place]
        try:
            columns.append(pa.array(values.tolist()))
        except (pa.ArrowException, OverflowError, TypeError, ValueError, UnicodeError):
            columns.append(pa.array([plain(str(value)) for value in values]))
    buffer = io.BytesIO()
    whole = pa.Table.from_arrays(columns, names=[plain(name) for name in names])
    pq.write_table(whole.replace_schema_metadata(dict(metadata)), buffer, compression="none")
    return buffer.getvalue()


@composite
def metadata(draw: DrawFn) -> dict[str, str | bytes]:
    """Draw the metadata of a parquet file: ours, another's, or nonsense."""
    entries: dict[str, SearchStrategy[Any]] = {
        "scaling_sweep.schema_version": st.sampled_from(["1", "2", "", "x", "١", "9" * 5000]),
        "scaling_sweep.sweep": sweep_texts,
        "scaling_sweep.environment": st.one_of(
            plain_data.map(lambda data: json.dumps(data)), nasty_text, st.just("[" * 10**5)
        ).map(lambda text: text.encode("utf-8", "replace")),
        "pandas": st.sampled_from(["{}", "[]", "x", '{"index_columns": [{"kind": "range"}]}']),
        "ARROW:schema": st.sampled_from(["", "AAAA", "x" * 50]),
    }
    chosen = draw(st.sets(st.sampled_from(sorted(entries)), max_size=3))
    return {name: draw(entries[name]) for name in sorted(chosen)}


def tear(data: bytes, at: int, piece: bytes) -> bytes:
    """Return bytes with a piece written over them somewhere."""
    at = at % (len(data) + 1)
    return data[:at] + piece + data[at + len(piece) :]


@composite
def parquet_files(draw: DrawFn) -> bytes:
    """Draw a parquet file: of a spoilt table, with metadata, perhaps torn, or no parquet at all."""
    data = to_parquet(draw(tables() | st.just(study(2, (1, 4)))), draw(metadata() | st.just({})))
    match draw(st.sampled_from(["whole", "whole", "whole", "torn", "cut", "pickle", "junk"])):
        case "torn":
            return tear(data, draw(st.integers(0, 10**6)), draw(st.binary(min_size=1, max_size=8)))
        case "cut":
            return data[: draw(st.integers(0, len(data)))]
        case "pickle":
            return pickle.dumps(_Bomb())
        case "junk":
            return draw(st.binary(max_size=200))
    return data


class _Bomb:
    """An object that would run a command if it were unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("touch /tmp/scaling-sweep-fuzz-was-here",)


PICKLE = pickle.dumps(_Bomb(), protocol=2)  # the one that torch.load expects
"""A pickle that runs a command when it is loaded."""


@composite
def csv_files(draw: DrawFn) -> bytes:
    """Draw a CSV file of a spoilt table, perhaps torn, or no CSV at all."""
    text = draw(tables() | st.just(study(2, (1, 4)))).to_csv(index=False)
    data = str(text).encode("utf-8", "replace")
    if draw(st.booleans()):
        return data
    return tear(data, draw(st.integers(0, 10**6)), draw(st.binary(min_size=1, max_size=8)))
