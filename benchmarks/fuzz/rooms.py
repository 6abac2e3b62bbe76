"""The kinds of input, and what the commands make of each."""

import io
import json
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hypothesis import strategies as st
from hypothesis.strategies import DataObject

from benchmarks.fuzz import arguments, folders, sweeps, tables
from benchmarks.fuzz.looks import check_line, check_page, check_screen
from benchmarks.fuzz.watch import WATCH, FaultError

# A share of the tables goes on to the report, which takes a hundred times as long as the fit.
_ONE_REPORT_IN = 150
# Beyond it a study asks for more labels than it takes to find a fault in one.
_FEW_TRIALS = 2_000


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


def _attempt(folder: Path, call: Callable[[], object]) -> bool:
    """Run what a command runs; return whether it gave a result instead of a line."""
    from analysis.errors import AnalysisError
    from scaling_sweep.cli.errors import one_line
    from scaling_sweep.errors import UserError

    try:
        with WATCH.over(folder), warnings.catch_warnings():
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
    path.write_bytes(data.draw(sweeps.sweep_files))

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


def feed_arguments(data: DataObject, folder: Path) -> bool:
    """Build one of our tasks with arguments that are not meant for it."""
    from scaling_sweep.tasks.loading import load_task

    name, args = data.draw(arguments.tasks())
    return _attempt(folder, lambda: load_task(name, args))


def fit_and_show(path: Path, *, with_report: bool) -> None:
    """Do what ``fit`` does, and look at all it shows."""
    from analysis.fit_json import to_json
    from scaling_sweep.cli.console import plain_console
    from scaling_sweep.cli.showing import show_fit
    from scaling_sweep.cli.showing_theory import show_theory
    from scaling_sweep.opening import open_study

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
    path.write_bytes(data.draw(tables.parquet_files()))
    with_report = _wants_report(data)
    return _attempt(folder, lambda: fit_and_show(path, with_report=with_report))


def feed_csv(data: DataObject, folder: Path) -> bool:
    """Fit a CSV file."""
    path = folder / "table.csv"
    path.write_bytes(data.draw(tables.csv_files()))
    with_report = _wants_report(data)
    return _attempt(folder, lambda: fit_and_show(path, with_report=with_report))


def feed_curvature(data: DataObject, folder: Path) -> bool:
    """Fit a good table beside which lie curvature and curves, with any strings or torn."""
    for name, drawn in data.draw(folders.beside()).items():
        (folder / name).write_bytes(drawn)
    path = folder / "results.parquet"
    path.write_bytes(tables.to_parquet(tables.study(), {}))
    with_report = _wants_report(data)
    return _attempt(folder, lambda: fit_and_show(path, with_report=with_report))


def feed_folder(data: DataObject, folder: Path) -> bool:
    """Look at a run folder with foreign parts, and links that lead out of it, and write into it."""
    from scaling_sweep.store import RunFolder
    from scaling_sweep.watching import RunReader

    outside = folder.with_name(f"{folder.name}-outside")
    folders.make_folder(data.draw(folders.folders()), folder, outside)
    before = folders.snapshot(outside)

    def use() -> None:
        check_screen(RunReader(folder).view().text())
        run = RunFolder(folder)
        run.write_environment({"made": "up"})
        run.assemble("name: x\n", {"made": "up"})

    try:
        return _attempt(folder, use)
    finally:
        if folders.snapshot(outside) != before:
            raise FaultError("wrote through a link that leads out of the run folder")


ROOMS = (
    Room("sweep files", 0.45, feed_sweep),
    Room("arguments of tasks", 0.05, feed_arguments),
    Room("parquet tables", 0.2, feed_parquet),
    Room("CSV tables", 0.15, feed_csv),
    Room("curvature and curves", 0.05, feed_curvature),
    Room("run folders", 0.1, feed_folder),
)
