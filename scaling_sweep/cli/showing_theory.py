"""How theory beside a measurement looks in a terminal."""

from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from analysis.theory.beside import TheoryComparison, compare_theories
from analysis.words.formatting import format_exponent, group_title
from analysis.words.theory import theory_claim, theory_details, theory_sentence

if TYPE_CHECKING:
    from analysis.curvature_table import CurvatureTable
    from analysis.summaries import Fit


def show_theory(fit: "Fit", table: "CurvatureTable", console: Console) -> None:
    """Print which theory explains each group best, and how far off every one is."""
    keys = [group.key for group in fit.groups]
    for group in fit.groups:
        comparison = compare_theories(group, table)
        title = Text(f"{group_title(group.key, keys)}: theory", style="bold")
        console.rule(title, align="left", style="dim")
        console.print(Text(theory_claim(comparison), style="bold"))
        details = theory_details(comparison)
        if details:
            console.print(Text(details))
            console.print()
            console.print(_errors(comparison))
        console.print()


def _errors(comparison: TheoryComparison) -> Table:
    """Return every theory's error at every point, and where it fails at the nearest one."""
    nearest = comparison.nearest
    table = Table(box=None, pad_edge=False, header_style="dim")
    table.add_column("r.m.s. log error")
    for point in comparison.points:
        table.add_column(Text(point.point), justify="right", no_wrap=True)
    table.add_column(Text(f"from {nearest.point}"))
    for name in comparison.names:
        found = [point.find(name) for point in comparison.points]
        errors = [None if one is None else one.log_error for one in found]
        here = nearest.find(name)
        table.add_row(
            name,
            *("–" if error is None else format_exponent(error) for error in errors),
            Text("" if here is None else theory_sentence(here), style="dim"),
        )
    return table
