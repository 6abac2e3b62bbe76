"""How commands fail: one line for what a person can mend, a traceback for what is ours."""

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

import click

from analysis.words.plain_text import plain_line

P = ParamSpec("P")
R = TypeVar("R")


def one_line(error: Exception) -> str:
    r"""Return an error as the one line that is shown.

    Args:
        error: A mistake that a person can mend.

    Returns:
        Its message; what strings of a file brought into it can no longer move a cursor.

    Example:
        >>> one_line(ValueError("no column \x1b[2J"))
        'no column �[2J'
    """
    return plain_line(str(error))


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
            raise click.ClickException(one_line(error)) from error

    return wrapped
