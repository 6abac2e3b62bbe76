"""The table of docs/reliability.md: read, brought up to date, written."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from benchmarks.drill.outcome import Outcome, Verdict
from benchmarks.timing import ROOT

PAGE = ROOT / "docs" / "reliability.md"
_HEADER = ("what goes wrong", "what must hold", "what was seen", "", "when")
_BEGIN, _END = "<!-- drill: begin -->", "<!-- drill: end -->"


def render_table(outcomes: Iterable[Outcome]) -> str:
    """Return outcomes as a table in Markdown.

    Args:
        outcomes: Its rows.

    Returns:
        The lines of the table.
    """
    rows = [(one.fault, one.demand, one.seen, str(one.verdict), one.when) for one in outcomes]
    lines = [_line(_HEADER), _line(["---"] * len(_HEADER)), *map(_line, rows)]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    # A bar or a line break in what a program said would end the cell.
    plain = (re.sub(r"\s+", " ", cell).replace("|", "/") for cell in cells)
    return "| " + " | ".join(plain) + " |"


def read_table(page: Path = PAGE) -> tuple[Outcome, ...]:
    """Return the rows that a page holds.

    Args:
        page: The page.

    Returns:
        Outcomes, in the page's order; none if there is no page.

    Raises:
        ValueError: If the table is not as this module writes it.
    """
    if not page.exists():
        return ()
    text = page.read_text()
    if text.count(_BEGIN) != 1 or text.count(_END) != 1:
        raise ValueError(f"{page} has no place for the table")
    body = text.split(_BEGIN)[1].split(_END)[0].strip().splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("| ").split(" | ")] for line in body]
    return tuple(
        Outcome(fault, demand, seen, Verdict(verdict), when)
        for fault, demand, seen, verdict, when in cells
    )


def update_page(outcomes: Sequence[Outcome], order: Sequence[str], page: Path = PAGE) -> None:
    """Put new rows in the place of older ones of the same name.

    Args:
        outcomes: New rows.
        order: Names of all faults, in the table's order; others are dropped.
        page: The page.
    """
    known = {one.fault: one for one in (*read_table(page), *outcomes)}
    rows = [known[name] for name in order if name in known]
    before, _, rest = page.read_text().partition(_BEGIN)
    after = rest.partition(_END)[2]
    page.write_text(f"{before}{_BEGIN}\n{render_table(rows)}\n{_END}{after}")
