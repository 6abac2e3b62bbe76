"""Tables as documents have them, so that a figure goes into docs/ as it was printed."""

from collections.abc import Iterable, Sequence


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table in Markdown, its columns aligned for people; all but the first to the right.

    Args:
        head: Names of the columns.
        rows: Cells, as many in each row as there are columns.

    Returns:
        The lines, without a newline at the end.

    Example:
        >>> print(markdown_table(("what", "s"), [("fit", "2.5"), ("--help", "0.04")]))
        | what   |    s |
        | ------ | ---: |
        | fit    |  2.5 |
        | --help | 0.04 |
    """
    table = [tuple(head), *map(tuple, rows)]
    widths = [max(3, *map(len, column)) for column in zip(*table, strict=True)]
    rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]

    def line(cells: Sequence[str]) -> str:
        first = cells[0].ljust(widths[0])
        others = [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
        return "| " + " | ".join([first, *others]) + " |"

    return "\n".join([line(table[0]), "| " + " | ".join(rule) + " |", *map(line, table[1:])])
