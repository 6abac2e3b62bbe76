"""Types of command-line options that more than one command takes."""

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from analysis.criteria import Criterion


class _Mapping(click.ParamType[tuple[str, str]]):
    """``OURS=THEIRS``, two column names."""

    name = "OURS=THEIRS"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, str]:
        """Split at the first equals sign."""
        ours, separator, theirs = value.partition("=")
        if not (ours and separator and theirs):
            self.fail(f"{value!r} is not OURS=THEIRS; write for example lr=learning_rate")
        return ours, theirs


class _Criterion(click.ParamType["Criterion"]):
    """When a trial is stable, as ``final:0.5``."""

    name = "CRITERION"

    def convert(
        self, value: "str | Criterion", param: click.Parameter | None, ctx: click.Context | None
    ) -> "Criterion":
        """Read it, or say how it is written."""
        from analysis.criteria import parse_criterion

        if not isinstance(value, str):
            return value
        try:
            return parse_criterion(value)
        except ValueError as error:
            self.fail(str(error))


MAPPING = _Mapping()
CRITERION = _Criterion()
