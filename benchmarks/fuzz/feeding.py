"""Feeding a room: many inputs drawn by hypothesis, and what became of them."""

import collections
import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import hypothesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DataObject

from benchmarks.fuzz.rooms import Room, fit_and_show
from benchmarks.fuzz.tables import study, to_parquet
from benchmarks.fuzz.watch import FaultError


@dataclass(frozen=True)
class Tally:
    """What became of the inputs of a room.

    Attributes:
        results: Inputs that gave one.
        lines: Inputs that were refused in one line.
        seconds: It took.
        faults: How often an input gave neither, by what happened.
    """

    results: int
    lines: int
    seconds: float
    faults: Mapping[str, int]

    @property
    def num_faults(self) -> int:
        """Inputs that gave neither."""
        return sum(self.faults.values())


def feed_many(room: Room, num_examples: int, seed: int = 0, keep: Path | None = None) -> Tally:
    """Feed a room.

    Args:
        room: The kind of input.
        num_examples: How many
        seed: Makes the same inputs again.
        keep: Where to copy the inputs that show a fault; nowhere unless given.

    Returns:
        What became of them.
    """
    _warm_up()
    counts: collections.Counter[bool] = collections.Counter()
    faults: collections.Counter[str] = collections.Counter()
    begin = time.perf_counter()

    @hypothesis.seed(seed)
    @settings(
        max_examples=num_examples,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    @given(st.data())
    def feed(data: DataObject) -> None:
        with tempfile.TemporaryDirectory(prefix="fuzz-") as scratch:
            folder = Path(scratch) / "run"
            folder.mkdir()
            try:
                counts[room.feed(data, folder)] += 1
            except FaultError as fault:
                faults[str(fault)] += 1
                if keep is not None:
                    shutil.copytree(folder, keep / f"{room.name}-{faults.total()}", symlinks=True)

    feed()
    return Tally(counts[True], counts[False], time.perf_counter() - begin, faults)


def _warm_up() -> None:
    """Draw once: matplotlib makes a folder for its fonts, which no input asks for."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as scratch:
        path = Path(scratch) / "results.parquet"
        path.write_bytes(to_parquet(study(), {}))
        fit_and_show(path, with_report=True)
