"""Run docs/study.ipynb from top to bottom and keep what it shows: `python -m docs.notebook`."""

import tempfile
from pathlib import Path
from typing import Any

NOTEBOOK = Path(__file__).parent / "study.ipynb"
# A run of the notebook's sweep takes half a minute; on a busy machine many times that.
_TIMEOUT_S = 900


def execute(folder: Path) -> Any:  # noqa: ANN401  # nbformat has no types
    """Run the notebook in a folder and return it with its outputs."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(NOTEBOOK, as_version=4)
    resources = {"metadata": {"path": str(folder)}}
    return NotebookClient(notebook, timeout=_TIMEOUT_S, resources=resources).execute()


def texts(notebook: Any) -> list[str]:  # noqa: ANN401
    """Return the plain text of every output, in order."""
    outputs = [out for cell in notebook.cells for out in cell.get("outputs", ())]
    return ["".join(out.get("text") or out["data"]["text/plain"]) for out in outputs]


def main() -> None:
    """Run the notebook and write it back."""
    import nbformat

    with tempfile.TemporaryDirectory() as folder:
        executed = execute(Path(folder))
    for cell in executed.cells:
        cell.metadata.pop("execution", None)  # times differ on every run
    nbformat.write(executed, NOTEBOOK)


if __name__ == "__main__":
    main()
