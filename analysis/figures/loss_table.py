"""The table of loss curves that lies beside the results: ``curves.parquet``."""

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from analysis.errors import AnalysisError

CURVES_SCHEMA = pa.schema(
    [
        pa.field("trial_id", pa.string(), nullable=False),
        pa.field("step", pa.list_(pa.int32()), nullable=False),
        pa.field("loss", pa.list_(pa.float32()), nullable=False),
    ]
)
"""One row per trial: the updates made so far (ascending, thinned) and the training loss there,
a mean over a window of examples in the unit of the task; it may end with a value not finite."""


def read_curves(path: Path) -> pd.DataFrame:
    """Read a table of loss curves.

    Args:
        path: A parquet file with at least the columns of ``CURVES_SCHEMA``.

    Returns:
        One row per trial with ``trial_id``, ``step`` and ``loss``.

    Raises:
        AnalysisError: If it is no parquet file, or lacks a column.
    """
    try:
        with pq.ParquetFile(pa.BufferReader(path.read_bytes())) as file:
            missing = [name for name in CURVES_SCHEMA.names if name not in file.schema_arrow.names]
            if missing:
                raise AnalysisError(f"{path} lacks the column {missing[0]!r} of a table of curves.")
            table = file.read(columns=CURVES_SCHEMA.names)
        table.validate(full=True)
        # Types too: a text or a number too large would else come up while a figure is drawn.
        frame: pd.DataFrame = table.cast(CURVES_SCHEMA).to_pandas(ignore_metadata=True)
    except AnalysisError:
        raise
    except (pa.ArrowException, OSError, ValueError) as error:
        what = str(error).strip().partition("\n")[0] or "no content"
        raise AnalysisError(
            f"{path} is no parquet file of loss curves ({what}): delete it, or assemble it again"
        ) from error
    return frame
