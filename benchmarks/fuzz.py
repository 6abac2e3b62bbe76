"""What becomes of ten thousand broken inputs: a result or one clear line, and nothing else.

    python -m benchmarks.fuzz [--examples 10000] [--seed 0]

Sweep files, tables, run folders and curvature are made by hypothesis from valid ones and from
nonsense (benchmarks/fuzz_inputs.py). Every input is read as the commands read it, and held against
this: a result, or one printable line that is meant for people; no traceback; no file opened for
writing outside the folder, no program started, no pickle loaded (Python's own audit events are
watched); JSON without NaN; pages and terminal lines in which a string of the input is only text.
"""

import argparse
import collections
import io
import json
import re
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import hypothesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DataObject

from benchmarks import fuzz_inputs as inputs

# A share of the tables goes on to the report, which takes a hundred times as long as the fit.
_ONE_REPORT_IN = 50
# Beyond it a study asks for more labels than it takes to find a fault in one.
_FEW_TRIALS = 2_000
_FORBIDDEN = frozenset(
    {"pickle.find_class", "os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "os.fork"}
    | {"socket.connect", "ctypes.dlopen"}
)
_WRITING = frozenset({"os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.symlink", "os.chmod"})
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


class FaultError(Exception):
    """The program did what no input may make it do."""


@dataclass
class Watch:
    """Notes what a piece of the program does to the machine, by Python's audit events.

    Attributes:
        folder: The only place that may be written; None while nothing is watched.
        seen: What was done that may not be.
    """

    folder: Path | None = None
    seen: list[str] = field(default_factory=list)

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Take one event."""
        if self.folder is None:
            return
        if event in _FORBIDDEN:
            self.seen.append(f"{event} {arguments!r:.200}")
        elif event == "open" and self._writes(arguments):
            self._judge(event, arguments[0])
        elif event in _WRITING:
            for path in arguments[: 2 if event in {"os.rename", "os.symlink"} else 1]:
                self._judge(event, path)

    @staticmethod
    def _writes(arguments: tuple[Any, ...]) -> bool:
        _, mode, flags = arguments
        return bool(set(mode or "") & set("wax+")) or bool((flags or 0) & 0o1103)

    def _judge(self, event: str, path: object) -> None:
        assert self.folder is not None
        if not isinstance(path, str | bytes | Path):  # a descriptor that is open already
            return
        text = path.decode(errors="replace") if isinstance(path, bytes) else str(path)
        if text == "/dev/null" or "__pycache__" in text:
            return
        if event == "os.mkdir" and Path(text).is_dir():  # asks whether it is there
            return
        # Through links: where would the bytes really go?
        place = Path(text).resolve() if event == "open" else Path(text).parent.resolve()
        if not place.is_relative_to(self.folder.resolve()):
            self.seen.append(f"{event} {text}")

    @contextmanager
    def over(self, folder: Path) -> Iterator[None]:
        """Watch while the body runs, then raise a FaultError for the first forbidden thing."""
        self.folder, self.seen = folder, []
        try:
            yield
        finally:
            self.folder = None
        if self.seen:
            raise FaultError(f"did what no input may make it do: {self.seen[0]}")


_WATCH = Watch()
sys.addaudithook(lambda event, arguments: _WATCH.hear(event, arguments))


@dataclass(frozen=True)
class Room:
    """One kind of input.

    Attributes:
        name: What it is.
        share: Of all examples.
        feed: Draws one input, reads it in a folder, and returns whether there was a result.
    """

    name: str
    share: float
    feed: Callable[[DataObject, Path], bool]


def check_line(text: str) -> None:
    """Raise a FaultError unless a text is one printable line that says something."""
    if "\n" in text or "\r" in text:
        raise FaultError(f"an error of several lines: {text!r:.300}")
    if _CONTROL.search(text):
        raise FaultError(f"an error that moves a terminal's cursor: {text!r:.300}")
    if not 10 < len(text) < 3000:
        raise FaultError(f"an error of {len(text)} characters: {text!r:.300}")


def check_screen(text: str) -> None:
    """Raise a FaultError where a printed text holds an escape sequence."""
    if found := _CONTROL.search(text):
        raise FaultError(
            f"prints {found[0]!r}: {text[max(0, found.start() - 40) : found.end() + 40]!r}"
        )


def check_page(html: str) -> None:
    """Raise a FaultError where a string of the input became a part of the page."""
    if "<script" in html.lower() or re.search(r"<[^>]*\sonerror\s*=|<svg/onload", html):
        raise FaultError("an input became HTML")


def _attempt(folder: Path, call: Callable[[], object]) -> bool:
    """Run what a command runs; return whether it gave a result instead of a line."""
    from analysis.errors import AnalysisError
    from scaling_sweep.cli.errors import one_line
    from scaling_sweep.errors import UserError

    try:
        with _WATCH.over(folder), warnings.catch_warnings():
            warnings.simplefilter("error")
            call()
    except (UserError, AnalysisError) as error:
        check_line(one_line(error))
        return False
    except FaultError:
        raise
    except Exception as error:
        where = traceback.extract_tb(error.__traceback__)[-1]
        raise FaultError(f"{type(error).__name__} in {where.name}: {error!s:.200}") from error
    return True


def feed_sweep(data: DataObject, folder: Path) -> bool:
    """Read a sweep file, and name its trials and its folder."""
    from scaling_sweep.planning import all_trials
    from scaling_sweep.running import default_folder
    from scaling_sweep.spec import load_sweep

    path = folder / "sweep.yaml"
    path.write_bytes(data.draw(inputs.sweep_files))

    def read() -> None:
        spec = load_sweep(path).spec
        place = Path("runs") / spec.name
        if default_folder(spec) != place or place.resolve().parent != Path("runs").resolve():
            raise FaultError(f"the study {spec.name!r} leaves its folder")
        num = len(spec.batch_sizes) * spec.seeds * sum(map(len, map(spec.lrs_for, spec.optimizers)))
        num *= sum(map(len, map(spec.dampings_for, spec.optimizers)))
        if num <= _FEW_TRIALS:
            for trial in all_trials(spec):
                check_screen(f"{trial.task}{trial.optimizer.label}{trial.recipe}{trial.trial_id}")

    return _attempt(folder, read)


def _fit(path: Path, *, with_report: bool) -> None:
    """Do what ``fit`` does, and look at all it shows."""
    from analysis.fit_json import to_json
    from scaling_sweep.cli.console import plain_console
    from scaling_sweep.cli.showing import show_fit
    from scaling_sweep.cli.showing_theory import show_theory
    from scaling_sweep.study import open_study

    study = open_study(path)
    json.dumps(to_json(study.fit), allow_nan=False)
    screen = io.StringIO()
    console = plain_console(screen)
    show_fit(study.fit, console)
    if study.curvature is not None:
        show_theory(study.fit, study.curvature, console)
    check_screen(screen.getvalue())
    if with_report:
        report = study.save(path.parent)
        check_page(report.read_text())
        check_screen(report.with_name("fit.json").read_text())


def _wants_report(data: DataObject) -> bool:
    return bool(data.draw(st.integers(1, _ONE_REPORT_IN)) == _ONE_REPORT_IN)


def feed_parquet(data: DataObject, folder: Path) -> bool:
    """Fit a parquet file."""
    path = folder / "results.parquet"
    path.write_bytes(data.draw(inputs.parquet_files()))
    with_report = _wants_report(data)
    return _attempt(folder, lambda: _fit(path, with_report=with_report))


def feed_csv(data: DataObject, folder: Path) -> bool:
    """Fit a CSV file."""
    path = folder / "table.csv"
    path.write_bytes(data.draw(inputs.csv_files()))
    with_report = _wants_report(data)
    return _attempt(folder, lambda: _fit(path, with_report=with_report))


def feed_curvature(data: DataObject, folder: Path) -> bool:
    """Fit a good table beside which lie curvature and curves, with any strings or torn."""
    for name, drawn in data.draw(inputs.beside()).items():
        (folder / name).write_bytes(drawn)
    path = folder / "results.parquet"
    path.write_bytes(inputs.to_parquet(inputs.study(), {}))
    with_report = _wants_report(data)
    return _attempt(folder, lambda: _fit(path, with_report=with_report))


def feed_folder(data: DataObject, folder: Path) -> bool:
    """Look at a run folder with foreign parts, and links that lead out of it, and write into it."""
    from scaling_sweep.store import RunFolder
    from scaling_sweep.watching import RunReader

    outside = folder.with_name(f"{folder.name}-outside")
    inputs.make_folder(data.draw(inputs.folders()), folder, outside)
    before = inputs.snapshot(outside)

    def use() -> None:
        check_screen(RunReader(folder).view().text())
        run = RunFolder(folder)
        run.write_environment({"made": "up"})
        run.assemble("name: x\n", {"made": "up"})

    try:
        return _attempt(folder, use)
    finally:
        if inputs.snapshot(outside) != before:
            raise FaultError("wrote through a link that leads out of the run folder")


ROOMS = (
    Room("sweep files", 0.5, feed_sweep),
    Room("parquet tables", 0.2, feed_parquet),
    Room("CSV tables", 0.15, feed_csv),
    Room("curvature and curves", 0.05, feed_curvature),
    Room("run folders", 0.1, feed_folder),
)


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
        num_examples: How many inputs.
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
        path.write_bytes(inputs.to_parquet(inputs.study(), {}))
        _fit(path, with_report=True)


def main() -> int:
    """Feed all rooms and print the table; return how many have a fault."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--examples", type=int, default=10_000, help="inputs altogether")
    parser.add_argument("--seed", type=int, default=0, help="makes the same inputs again")
    parser.add_argument("--only", default="", help="a word of the one room to feed")
    parser.add_argument("--keep", type=Path, help="folder for the inputs that show a fault")
    options = parser.parse_args()
    head = f"{'input':24}{'inputs':>8}{'a result':>10}{'one line':>10}{'faults':>8}{'s':>8}"
    print(head, flush=True)
    faults = []
    for room in (room for room in ROOMS if options.only in room.name):
        num = round(options.examples * room.share)
        tally = feed_many(room, num, options.seed, options.keep)
        faults += [f"{count} x {room.name}: {text}" for text, count in tally.faults.items()]
        num_fed = tally.results + tally.lines + tally.num_faults
        print(
            f"{room.name:24}{num_fed:8}{tally.results:10}{tally.lines:10}{tally.num_faults:8}"
            f"{tally.seconds:8.0f}",
            flush=True,
        )
    print("\n".join(faults))
    return len(faults)


if __name__ == "__main__":
    raise SystemExit(main())
