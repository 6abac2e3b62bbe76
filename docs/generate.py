"""Write the pages of docs/ that are made from the code: the schema, the commands, the columns."""

from pathlib import Path

import click

from analysis.columns import COLUMNS, Column
from analysis.curvature_columns import CURVATURE_COLUMNS, Quantity
from scaling_sweep.cli import COMMANDS, main
from scaling_sweep.spec.schema import schema_text

DOCS = Path(__file__).parent
_NOTE = "<!-- Made by `make docs` from the code; edit the code. -->\n"


def render_pages() -> dict[Path, str]:
    """Return every generated page by its path.

    Example:
        >>> sorted(path.name for path in render_pages())
        ['cli.md', 'columns.md', 'sweep.schema.json']
    """
    return {
        DOCS / "sweep.schema.json": schema_text(),
        DOCS / "cli.md": _commands(),
        DOCS / "columns.md": _columns(),
    }


def _commands() -> str:
    context = click.Context(main, info_name="scaling-sweep", terminal_width=80)
    parts = [_NOTE, "# Commands\n", _help(main, context)]
    for name in COMMANDS:
        command = main.get_command(context, name)
        assert command is not None
        inner = click.Context(command, info_name=name, parent=context, terminal_width=80)
        parts += [f"## {name}\n", _help(command, inner)]
    return "\n".join(parts)


def _help(command: click.Command, context: click.Context) -> str:
    return f"```text\n{command.get_help(context)}\n```\n"


def _columns() -> str:
    parts = [
        _NOTE,
        "# Columns of results.parquet\n",
        "One row per trial. `fit` needs `batch_size`, `lr` and `verdict` only.\n",
        *_table(COLUMNS),
        "\n# Columns of curvature.parquet\n",
        "One row per measured number, or per density of eigenvalues. Optional, beside the table of",
        "trials; the report then holds theory against the measurement.\n",
        *_table(CURVATURE_COLUMNS),
        "\n`quantity` is one of:\n",
        "| quantity | unit |",
        "| --- | --- |",
        *(f"| {quantity} | {quantity.unit} |" for quantity in Quantity),
    ]
    return "\n".join(parts) + "\n"


def _table(columns: tuple[Column, ...]) -> list[str]:
    rows = [
        f"| `{column.name}` | {column.dtype.lower()} | {column.unit} | {column.description} |"
        for column in columns
    ]
    return ["| column | type | unit | meaning |", "| --- | --- | --- | --- |", *rows]


if __name__ == "__main__":
    for path, text in render_pages().items():
        path.write_text(text)
        print(f"wrote docs/{path.name}")
