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


class _Argument(click.ParamType[tuple[str, object]]):
    """``NAME=VALUE``, the value as a sweep file writes it."""

    name = "NAME=VALUE"

    def convert(
        self, value: str, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, object]:
        """Split at the first equals sign and read the value as YAML."""
        import yaml

        name, separator, written = value.partition("=")
        if not (name and separator):
            self.fail(f"{value!r} is not NAME=VALUE; write for example width=32")
        try:
            return name, yaml.safe_load(written)
        except yaml.YAMLError:
            self.fail(f"{written!r} is no value; write it as in a sweep file, e.g. width=32")


ARGUMENT = _Argument()
MAPPING = _Mapping()
CRITERION = _Criterion()
