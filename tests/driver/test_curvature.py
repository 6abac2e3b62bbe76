"""Curvature beside a sweep on a real local Ray: measured, kept, resumed, never in the way."""

from pathlib import Path

import pytest

from analysis.curvature_table import read_curvature
from scaling_sweep.predicting import predict_sweep
from scaling_sweep.running import run_sweep
from scaling_sweep.spec import LoadedSweep, parse_sweep
from tests.run_cases import SWEEP, Silent
from tests.test_predicting import SECTION

# Ray warns of its own future; what it says is not ours to mend.
pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.usefixtures("_on_one_worker"),
]


def study(text: str = SWEEP + SECTION, **replacements: str) -> LoadedSweep:
    """Return a small study with a section for curvature, parts of its text replaced."""
    for old, new in replacements.items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return parse_sweep(text, Path("tiny.yaml"))


def test_a_run_measures_what_predict_measures(tmp_path: Path) -> None:
    """A section added later is measured without training any trial again, and nothing is left."""
    run_sweep(study(SWEEP), tmp_path, "local", Silent())
    assert not (tmp_path / "curvature.parquet").exists()

    added = run_sweep(study(), tmp_path, "local", display := Silent())
    before = (tmp_path / "curvature.parquet").stat().st_mtime_ns
    again = run_sweep(study(), tmp_path, "local", Silent())

    assert (added.num_new, again.num_new) == (0, 0)
    assert display.warned == []
    table = read_curvature(tmp_path / "curvature.parquet")
    assert table.points == ("init", "5 steps")
    assert table.seeds == (0, 1)
    assert (tmp_path / "curvature.parquet").stat().st_mtime_ns == before
    assert predict_sweep(study(), tmp_path).num_new == 0


def test_a_measurement_that_fails_leaves_the_run_alone(tmp_path: Path) -> None:
    """Beside trials, a short training that diverges costs one warning; all else is measured."""
    sweep = study(SWEEP + SECTION + "  training: {lr: 1.0e+12}\n")

    outcome = run_sweep(sweep, tmp_path, "local", display := Silent())

    assert outcome.complete
    assert len(outcome.rows) == 16
    [warning] = display.warned
    assert warning.startswith("2 of 4 measurements of curvature are missing (curvature: training")
    assert read_curvature(tmp_path / "curvature.parquet").points == ("init",)
