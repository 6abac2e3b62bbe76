"""From a table to what a person reads: fit it, write fit.json and the report beside it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scaling_sweep.errors import UserError

if TYPE_CHECKING:
    from analysis.criteria import Criterion
    from analysis.curvature_table import CurvatureTable
    from analysis.results import Results
    from analysis.summaries import Fit
    from scaling_sweep.spec import CheckSpec


@dataclass(frozen=True)
class FittedTable:
    """A table with its fit and the files that say so.

    Attributes:
        results: The table.
        fit: What was found in it.
        fit_json: Where the fit was written.
        report: Where the report was written.
        curvature: Measured curvature that lay beside the table, None when there was none.
    """

    results: "Results"
    fit: "Fit"
    fit_json: Path
    report: Path
    curvature: "CurvatureTable | None" = None


def fit_table(
    table: Path,
    *,
    out: Path | None = None,
    rename: Mapping[str, str] | None = None,
    criterion: "Criterion | None" = None,
    figures: tuple[str, ...] = (),
) -> FittedTable:
    """Fit a table and write ``fit.json`` and ``report.html``.

    Where ``curvature.parquet`` lies beside the table, the report holds theory against it.

    Args:
        table: A parquet or CSV file.
        out: Folder to write to; the table's own unless given.
        rename: Our column names to the table's.
        criterion: Judge the trials anew; None keeps the table's verdicts.
        figures: Formats, ``png`` or ``svg``, to save the report's figures in as well.

    Returns:
        The fit and where it lies.

    Raises:
        UserError: If the folder cannot be written.
    """
    from analysis.curvature_table import read_curvature
    from analysis.figures.album import save_figures
    from analysis.figures.loss_table import read_curves
    from analysis.groups import write_fit_json
    from analysis.report import write_report

    results, fit = _fit(table, rename, criterion)
    folder = out or table.parent
    beside = table.parent / "curves.parquet"
    curves = read_curves(beside) if beside.exists() else None
    measured = table.parent / "curvature.parquet"
    curvature = read_curvature(measured) if measured.exists() else None
    fitted = FittedTable(results, fit, folder / "fit.json", folder / "report.html", curvature)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_fit_json(fit, fitted.fit_json)
        write_report(fit, results, curves, fitted.report, criterion, curvature)
        if figures:
            save_figures(fit, results, curves, folder / "figures", figures, criterion, curvature)
    except OSError as error:
        raise UserError(
            f"cannot write to {folder}: {error.strerror or error}; write another --out"
        ) from error
    return fitted


def read_and_fit(
    table: Path, rename: Mapping[str, str] | None = None, criterion: "Criterion | None" = None
) -> "Fit":
    """Fit a table and write nothing."""
    return _fit(table, rename, criterion)[1]


def _fit(
    table: Path, rename: Mapping[str, str] | None, criterion: "Criterion | None"
) -> "tuple[Results, Fit]":
    from analysis.groups import fit_results
    from analysis.results import read_results

    results = read_results(table, rename or {})
    check = _read_check(results.sweep_text)
    return results, fit_results(results, criterion, check.predicted, check.margin)


def _read_check(sweep_text: str | None) -> "CheckSpec":
    """Return what the sweep file in the table's metadata holds its exponents against."""
    from scaling_sweep.spec import CheckSpec, parse_sweep

    # A table may be older than today's sweep files: only the section that matters is read.
    if sweep_text is None or "\ncheck:" not in sweep_text:
        return CheckSpec()
    return parse_sweep(sweep_text).spec.check
