"""From the name in a sweep file to a task: one of ours, or ``package.module:attribute``."""

import importlib
import inspect
import sys
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

from scaling_sweep.errors import UserError
from scaling_sweep.tasks.builtin import BUILTIN_TASKS
from scaling_sweep.tasks.task import Task


def load_task(
    name: str, args: Mapping[str, Any] | None = None, search: tuple[str, ...] = ()
) -> Task:
    """Build the task that a sweep file names.

    Args:
        name: One of ours, or ``package.module:attribute`` where the attribute is a ``Task`` or a
            function that returns one.
        args: Keyword arguments for that function.
        search: Folders to look for the module in, beside ``sys.path``: where the command was
            started and where the sweep file lies.

    Returns:
        The task, named as in the sweep file when it is a user's own.

    Raises:
        UserError: If there is no such task, it does not import, or its arguments are wrong.

    Example:
        >>> load_task("least_squares", {"dim": 32}).name
        'least_squares'
    """
    maker = import_task(name, search)
    if isinstance(maker, Task):
        if args:
            raise UserError(
                f"Task {name!r} is a Task, which takes no args, got {sorted(args)}; "
                "name a function that returns a Task instead."
            )
        return maker
    if not callable(maker):
        raise UserError(
            f"Task {name!r} is a {type(maker).__name__}; "
            "name a Task or a function that returns one."
        )
    return _make(maker, name, dict(args or {}))


def import_task(name: str, search: tuple[str, ...] = ()) -> Any:  # noqa: ANN401
    """Return what a task's name stands for, without building the task.

    Args:
        name: As for ``load_task``.
        search: As for ``load_task``.

    Returns:
        A task, or what makes one.

    Raises:
        UserError: If it does not import.

    Example:
        >>> import_task("digits_mlp").__name__
        'digits_mlp'
    """
    path = next((task.path for task in BUILTIN_TASKS if task.name == name), name)
    return _import_attribute(path, name, search)


def _import_attribute(path: str, name: str, search: tuple[str, ...]) -> Any:  # noqa: ANN401
    if ":" not in path:
        raise UserError(_unknown_task(name))
    module_name, _, attribute = path.partition(":")
    for folder in search:
        if folder not in sys.path:
            sys.path.append(folder)
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        raise UserError(
            f"Task {name!r}: cannot import {module_name!r}: {_one_line(error)}. "
            "Is its folder the one you started in, the sweep file's, or on PYTHONPATH?"
        ) from error
    try:
        return getattr(module, attribute)
    except AttributeError:
        near = get_close_matches(attribute, dir(module), n=1)
        hint = f" Did you mean {module_name}:{near[0]}?" if near else ""
        raise UserError(f"Task {name!r}: {module_name} has no {attribute!r}.{hint}") from None


def _make(maker: Callable[..., Any], name: str, args: dict[str, Any]) -> Task:
    try:
        inspect.signature(maker).bind(**args)
    except TypeError as error:
        takes = ", ".join(inspect.signature(maker).parameters) or "no arguments"
        raise UserError(f"Task {name!r}: {_one_line(error)}; it takes: {takes}.") from None
    try:
        task = maker(**args)
    except UserError as error:
        raise UserError(f"Task {name!r}: {error}") from error
    except Exception as error:
        raise UserError(f"Task {name!r} could not be built: {_one_line(error)}") from error
    if not isinstance(task, Task):
        raise UserError(
            f"Task {name!r} returned a {type(task).__name__}; it must return a "
            "scaling_sweep.tasks.task.Task."
        )
    return task


def _unknown_task(name: str) -> str:
    names = [task.name for task in BUILTIN_TASKS]
    near = get_close_matches(name, names, n=1)
    hint = f"Did you mean {near[0]}?" if near else f"Ours are {', '.join(names)}."
    return f"Unknown task {name!r}. {hint} Your own is written package.module:attribute."


def _one_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
