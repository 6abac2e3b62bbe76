"""Broken and hostile inputs: a result or one clear line, nothing written elsewhere, nothing run."""

import ast
import io
import json
from pathlib import Path

import pytest

from analysis.errors import AnalysisError
from analysis.results import read_results
from benchmarks.fuzz.feeding import feed_many
from benchmarks.fuzz.looks import check_screen
from benchmarks.fuzz.rooms import ROOMS, Room
from benchmarks.fuzz.schema import sections
from benchmarks.fuzz.strings import MARK
from benchmarks.fuzz.tables import PICKLE, study, to_parquet
from scaling_sweep.errors import UserError
from scaling_sweep.opening import open_study
from scaling_sweep.spec import SweepSpec
from scaling_sweep.store import RunFolder

ROOT = Path(__file__).parent.parent
NAMES = [room.name for room in ROOMS]


@pytest.mark.parametrize("room", ROOMS[:1], ids=NAMES[:1])
def test_any_sweep_file_gives_a_study_or_a_line(room: Room) -> None:
    """Some dozen broken sweep files: no traceback, no name that climbs, no command run."""
    assert feed_many(room, 60).faults == {}


@pytest.mark.slow
@pytest.mark.parametrize("room", ROOMS, ids=NAMES)
def test_any_input_gives_a_result_or_a_line(room: Room) -> None:
    """Some dozen inputs of every kind: no traceback, nothing written elsewhere, nothing run."""
    assert feed_many(room, round(150 * room.share)).faults == {}


def test_every_field_of_a_sweep_file_is_fuzzed() -> None:
    """Sections are drawn from the schema: each top-level field of the file has its strategy."""
    assert set(sections()) == set(SweepSpec.model_fields)


@pytest.mark.parametrize("name", ["results.parquet", "table.csv", "parts"])
def test_a_pickle_is_no_table(tmp_path: Path, name: str) -> None:
    """A pickle that would run a command is refused where a table or a part should be."""
    path = tmp_path / name
    if name == "parts":
        path.mkdir()
        path /= "0.parquet"
    path.write_bytes(PICKLE)

    with pytest.raises((AnalysisError, UserError), match="cannot be read"):
        read_results(path) if name != "parts" else RunFolder(tmp_path).read_rows()
    assert not Path("/tmp/scaling-sweep-fuzz-was-here").exists()


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [("verdict", "odd", "'odd' is none of stable"), ("final_loss", "much", "holds no numbers")],
)
def test_a_part_that_no_pack_left_is_one_line(
    tmp_path: Path, column: str, value: str, reason: str
) -> None:
    """A part with a verdict that is none, or words where losses should be, is named and refused."""
    rows = study(1).assign(**{"trial_id": "t", column: value})
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "0.parquet").write_bytes(to_parquet(rows, {}))

    with pytest.raises(UserError, match=reason):
        RunFolder(tmp_path).read_rows()


def test_a_pickle_is_no_trained_start() -> None:
    """A start that holds anything but tensors is refused in one line, not run."""
    pytest.importorskip("torch")
    from scaling_sweep.training.starts import parse_point

    for data in (PICKLE, b"", b"PK\x03\x04"):
        with pytest.raises(UserError, match="delete its folder starts"):
            parse_point(data)
    assert not Path("/tmp/scaling-sweep-fuzz-was-here").exists()


def test_nothing_that_reads_files_can_unpickle() -> None:
    """No module that reads tables, run folders or sweep files imports pickle or its kin."""
    readers = [
        *(ROOT / "analysis").rglob("*.py"),
        *(ROOT / "scaling_sweep" / "spec").glob("*.py"),
        *(ROOT / "scaling_sweep" / "watching").glob("*.py"),
        *(ROOT / "scaling_sweep").glob("*.py"),
    ]
    imported = {
        (path.name, name)
        for path in readers
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
    }

    banned = {"pickle", "cloudpickle", "dill", "joblib", "shelve", "marshal"}
    assert {pair for pair in imported if pair[1].partition(".")[0] in banned} == set()


@pytest.mark.parametrize("name", ["fit.json", "report.html"])
def test_a_link_is_replaced_and_not_followed(tmp_path: Path, name: str) -> None:
    """What a link in a run folder points at is as it was after a fit has written there."""
    run, precious = tmp_path / "run", tmp_path / "precious"
    run.mkdir()
    precious.write_text("mine")
    study(2).to_csv(run / "table.csv", index=False)
    (run / name).symlink_to(precious)
    (run / f".{name}.tmp").symlink_to(precious)
    open_study(run / "table.csv").save()

    assert precious.read_text() == "mine"
    assert not (run / name).is_symlink()
    assert (run / name).read_text() != "mine"


def test_a_linked_folder_of_parts_is_refused(tmp_path: Path) -> None:
    """A link among the folders of a run cannot lead its files elsewhere."""
    run, outside = tmp_path / "run", tmp_path / "outside"
    run.mkdir()
    outside.mkdir()
    (run / "starts").symlink_to(outside)

    with pytest.raises(UserError, match="leads out of the run folder"):
        RunFolder(run).write_start("recipe", 0, b"data")
    assert [path for path in outside.rglob("*") if path.is_file()] == []


def test_strings_of_a_table_are_only_shown(tmp_path: Path) -> None:
    """HTML, markup and escape sequences in a table are text in the report and the terminal."""
    from scaling_sweep.cli.console import plain_console
    from scaling_sweep.cli.showing import show_fit

    evil = f"\x1b[2J{MARK}[/bold]\x9b31m"
    study(2).assign(optimizer=evil, task=evil).to_csv(tmp_path / "table.csv", index=False)
    found = open_study(tmp_path / "table.csv")
    screen = io.StringIO()
    show_fit(found.fit, plain_console(screen))

    check_screen(screen.getvalue())
    assert "[/bold]" in screen.getvalue()
    page = found.save().read_text()
    assert MARK not in page
    assert "&lt;script&gt;" in page
    stored = (tmp_path / "fit.json").read_text()
    check_screen(stored)
    assert json.loads(stored)["groups"][0]["optimizer"] == evil
