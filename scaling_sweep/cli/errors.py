"""How commands fail: one line for what a person can mend, a traceback for what is ours."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import click

P = ParamSpec("P")
R = TypeVar("R")


def plain_errors(function: Callable[P, R]) -> Callable[P, R]:
    """Turn the errors a user can mend into one line on standard error and exit status 1.

    Args:
        function: The body of a command.

    Returns:
        The same, speaking plainly.
    """

    @functools.wraps(function)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        from analysis.errors import AnalysisError
        from scaling_sweep.errors import UserError

        try:
            return function(*args, **kwargs)
        except (UserError, AnalysisError) as error:
            raise click.ClickException(str(error)) from error

    return wrapped
