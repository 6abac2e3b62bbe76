"""A table with measured curvature beside it: theory in the report and in the terminal."""

from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from analysis.curvature_table import write_curvature
from analysis.results import write_results
from analysis.theory.beside import compare_theories
from analysis.words.theory import theory_claim
from scaling_sweep.cli import main
from scaling_sweep.opening import open_study
from tests.analysis.curvature_cases import make_table
from tests.analysis.report_cases import simulate_trials

TABLE = make_table()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a table of trials and one of curvature."""
    folder = tmp_path_factory.mktemp("run")
    write_results(simulate_trials(), folder / "results.parquet", sweep_text="", environment={})
    write_curvature(TABLE, folder / "curvature.parquet")
    return folder


def test_curvature_beside_a_table_is_read(run: Path) -> None:
    """The fit says what it found beside the table, and the report shows it."""
    study = open_study(run / "results.parquet")

    assert study.curvature is not None
    assert study.curvature.numbers == TABLE.numbers
    assert "spiked Wigner" in study.save().read_text()


def test_a_table_alone_has_no_theory(run: Path, tmp_path: Path) -> None:
    """Without curvature beside it, a report is written all the same."""
    alone = tmp_path / "results.parquet"
    alone.write_bytes((run / "results.parquet").read_bytes())

    study = open_study(alone)

    assert study.curvature is None
    assert "spiked Wigner" not in study.save().read_text()


def test_the_terminal_names_the_best_theory_and_every_error(run: Path) -> None:
    """After the fit come a claim in words and each theory's error at each point."""
    shown = CliRunner().invoke(main, ["fit", str(run / "results.parquet")])

    assert shown.exit_code == 0, shown.output
    assert "SGD: theory" in shown.output
    [group] = open_study(run / "results.parquet").fit.groups
    claim = theory_claim(compare_theories(group, TABLE))
    assert claim in " ".join(shown.output.split())
    assert "r.m.s. log error" in shown.output
    assert "1000 steps" in shown.output


def test_curvature_of_another_task_is_not_compared(run: Path, tmp_path: Path) -> None:
    """The terminal says why there is nothing to compare."""
    (tmp_path / "results.parquet").write_bytes((run / "results.parquet").read_bytes())
    other = replace(TABLE, facts=replace(TABLE.facts, task="another"))
    write_curvature(other, tmp_path / "curvature.parquet")

    shown = CliRunner().invoke(main, ["fit", str(tmp_path / "results.parquet")])

    assert "Curvature was measured on another" in shown.output


def test_a_torn_table_of_curvature_is_one_line(run: Path, tmp_path: Path) -> None:
    """The error names the file and says to measure again."""
    (tmp_path / "results.parquet").write_bytes((run / "results.parquet").read_bytes())
    (tmp_path / "curvature.parquet").write_bytes(b"torn")

    shown = CliRunner().invoke(main, ["fit", str(tmp_path / "results.parquet")])

    assert shown.exit_code == 1
    assert "measure again" in shown.output
    assert shown.output.count("\n") == 1
