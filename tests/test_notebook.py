"""The notebook in docs/ runs, and shows what it says it shows."""

from pathlib import Path

import pytest

from docs.notebook import NOTEBOOK, execute, texts


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.filterwarnings("ignore")  # of the notebook client's own sockets
def test_the_notebook_runs_and_finds_what_it_shows(tmp_path: Path) -> None:
    """Run anew in an empty folder, it counts the same verdicts and reads the same headline."""
    nbformat = pytest.importorskip("nbformat", reason="nbformat is not installed")

    shown = texts(execute(tmp_path))

    kept = texts(nbformat.read(NOTEBOOK, as_version=4))
    assert [text for text in shown if "stable," in text] == [
        text for text in kept if "stable," in text
    ]
    assert [text for text in shown if text.startswith("Study of")] == [
        text for text in kept if text.startswith("Study of")
    ]
    assert any("slope 1 is confirmed" in text for text in kept)
    assert (tmp_path / "runs" / "notebook" / "report.html").exists()
