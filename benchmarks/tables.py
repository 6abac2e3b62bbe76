"""Tables as documents have them, so that a figure goes into docs/ as it was printed."""

from collections.abc import Iterable, Sequence


def markdown_table(head: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> str:
    """Return a table in Markdown, its columns aligned for people.

    Args:
        head: Names of the columns.
        rows: Cells, as many in each row as there are columns.
        left: How many columns hold words; the others hold numbers, aligned to the right.

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
    ends = ["-" if place < left else ":" for place in range(len(widths))]
    rule = ["-" * (width - 1) + end for width, end in zip(widths, ends, strict=True)]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.ljust(width) if end == "-" else cell.rjust(width)
            for cell, width, end in zip(cells, widths, ends, strict=True)
        ]
        return "| " + " | ".join(padded) + " |"

    return "\n".join([line(table[0]), line(rule), *map(line, table[1:])])
