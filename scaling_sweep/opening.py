"""A table of trials opened as a study: found, read and fitted; nothing is written."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

from analysis.files.places import find_place
from scaling_sweep.errors import UserError
from scaling_sweep.study import Study

if TYPE_CHECKING:
    import pandas as pd

    from analysis.criteria import Criterion
    from analysis.curvature_table import CurvatureTable
    from analysis.results import Results
    from scaling_sweep.spec import CheckSpec

LossName: TypeAlias = Literal["final", "validation"]
"""What the best learning rate makes low: the loss of verdicts, or that of held-out data."""


def open_study(
    source: "Path | str | pd.DataFrame",
    *,
    rename: Mapping[str, str] | None = None,
    criterion: "Criterion | str | None" = None,
    predicted: Mapping[str, float | None] | None = None,
    margin: float | None = None,
    loss: "LossName" = "final",
) -> Study:
    """Read a table and fit it; nothing is written.

    Where ``curves.parquet`` and ``curvature.parquet`` lie beside a table, they are read too.

    Args:
        source: A run folder, a parquet or CSV file, also by their URL, or a table in memory.
        rename: Our column names to the table's.
        criterion: Judge the trials anew, as in ``final:0.5``; None keeps the table's verdicts.
        predicted: Exponents to check against, by optimizer; what is not given comes from the
            sweep file in the table's metadata, then from theory.
        margin: Half-width of the region around a prediction that counts as equal to it.
        loss: Which loss the best learning rate makes low: ``final``, or ``validation`` on the
            task's held-out data.

    Returns:
        The study.

    Raises:
        UserError: If the criterion cannot be read, or the table lacks that loss.
    """
    from analysis.criteria import parse_criterion
    from analysis.groups import fit_results

    if isinstance(criterion, str):
        try:
            criterion = parse_criterion(criterion)
        except ValueError as error:
            raise UserError(str(error)) from error
    results, beside = _read(source, rename or {})
    check = _read_check(results.sweep_text)
    fit = fit_results(
        results,
        criterion,
        {**check.predicted, **(predicted or {})},
        check.margin if margin is None else margin,
        _loss_column(results, loss),
    )
    return Study(fit, results, _curves(beside), _curvature(beside), criterion, beside)


def _read(
    source: "Path | str | pd.DataFrame", rename: Mapping[str, str]
) -> "tuple[Results, Path | None]":
    """Return the checked table, and the folder it lies in."""
    import pandas as pd

    from analysis.results import Results, read_results
    from analysis.tables import normalize_table

    if not isinstance(source, pd.DataFrame):
        path = find_place(source)
        if (path / "results.parquet").exists():
            path /= "results.parquet"
        return read_results(path, rename), path.parent
    table = normalize_table(source, "the table", dict(rename))
    return Results(table.frame, "the table", warnings=table.warnings), None


def _loss_column(results: "Results", loss: str) -> str:
    """Return the column of a loss, or say why the table cannot tell it."""
    if loss not in get_args(LossName):
        words = " or ".join(get_args(LossName))
        raise UserError(f"loss must be {words}, got {loss!r}")
    column = f"{loss}_loss"
    if loss != "final" and (column not in results.frame or results.frame[column].isna().all()):
        raise UserError(
            f"{results.source} has no {column}: hold data out, as in the task's "
            "args: {validation: 0.2}, or leave --loss final"
        )
    return column


def _curves(folder: Path | None) -> "pd.DataFrame | None":
    """Return the loss curves of a run folder, where there are any."""
    from analysis.figures.loss_table import read_curves

    path = None if folder is None else folder / "curves.parquet"
    return read_curves(path) if path is not None and path.exists() else None


def _curvature(folder: Path | None) -> "CurvatureTable | None":
    """Return the curvature of a run folder, where it was measured."""
    from analysis.curvature_table import read_curvature

    path = None if folder is None else folder / "curvature.parquet"
    return read_curvature(path) if path is not None and path.exists() else None


def _read_check(sweep_text: str | None) -> "CheckSpec":
    """Return what the sweep file in the table's metadata holds its exponents against."""
    from scaling_sweep.spec import CheckSpec, parse_sweep

    # A table may be older than today's sweep files: only the section that matters is read.
    if sweep_text is None or "\ncheck:" not in sweep_text:
        return CheckSpec()
    return parse_sweep(sweep_text).spec.check
