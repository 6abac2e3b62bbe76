"""Types of command-line options that more than one command takes."""

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from pathlib import Path

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


class _Place(click.ParamType["Path"]):
    """A path, or the URL of a store."""

    name = "PATH"

    def convert(
        self, value: "str | Path", param: click.Parameter | None, ctx: click.Context | None
    ) -> "Path":
        """Find out what is meant, or say why nothing here reaches it."""
        from analysis.errors import AnalysisError
        from analysis.files.places import find_place
        from scaling_sweep.cli.errors import one_line

        try:
            return find_place(value)
        except AnalysisError as error:
            raise click.ClickException(one_line(error)) from error


ARGUMENT = _Argument()
PLACE = _Place()
MAPPING = _Mapping()
CRITERION = _Criterion()
