"""W&B's files read back, record by record, with W&B's own message types."""

import json
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

pb = pytest.importorskip("wandb.proto.wandb_internal_pb2")


@dataclass(frozen=True)
class RunFile:
    """One W&B run as it lies on disk.

    Attributes:
        folder: Where.
        records: Everything in its log.
    """

    folder: Path
    records: list[Any]

    @property
    def config(self) -> dict[str, Any]:
        """The last value of every config key."""
        start = next(record.run for record in self.records if record.HasField("run"))
        return {item.key: json.loads(item.value_json) for item in start.config.update}

    @property
    def history(self) -> list[dict[str, Any]]:
        """The history's points."""
        return self.points("pack/batch_size")

    def points(self, name: str) -> list[dict[str, Any]]:
        """The history's points that hold a key, in order."""
        points = [_values(r.history.item) for r in self.records if r.HasField("history")]
        return [point for point in points if name in point]

    @property
    def summary(self) -> dict[str, Any]:
        """The last value of every summary key."""
        merged: dict[str, Any] = {}
        for record in self.records:
            if record.HasField("summary"):
                merged.update(_values(record.summary.update))
        return merged

    def table(self, name: str) -> pd.DataFrame:
        """Return a table as W&B shows it."""
        (path,) = (self.folder / "files" / "media" / "table").glob(f"{name}_*.table.json")
        stored = json.loads(path.read_text())
        return pd.DataFrame(stored["data"], columns=stored["columns"])


def _values(items: Iterable[Any]) -> dict[str, Any]:
    return {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in items}


def read_records(path: Path) -> Iterator[Any]:
    """Read W&B's log: LevelDB's log format with a 7-byte header of its own before the first block.

    Blocks of 32,768 bytes hold chunks: checksum (4), length (2), kind (1: whole, 2: first,
    3: middle, 4: last), then the data. A tail too short for a chunk's header is padding.
    """
    data, position, parts = path.read_bytes(), 7, b""
    assert data[:4] == b":W&B"
    while position + 7 <= len(data):
        left = 32_768 - position % 32_768
        if left < 7:
            position += left
            continue
        length, kind = struct.unpack_from("<HB", data, position + 4)
        parts += data[position + 7 : position + 7 + length]
        position += 7 + length
        if kind in {1, 4}:
            record = pb.Record()
            record.ParseFromString(parts)
            yield record
            parts = b""


def read_runs(folder: Path) -> dict[str, RunFile]:
    """Return the runs in a run folder by optimizer."""
    files = (folder / "wandb").glob("offline-run-*/run-*.wandb")
    runs = [RunFile(path.parent, list(read_records(path))) for path in files]
    return {run.config["optimizer"]: run for run in runs}
