"""All looks at a task, one after the other; what depends on a broken part is left out."""

import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
import yaml

from scaling_sweep.errors import UserError
from scaling_sweep.probing.cost import look_at_cost
from scaling_sweep.probing.data import look_at_data, look_at_order
from scaling_sweep.probing.findings import Checkup, Finding, Level
from scaling_sweep.probing.learning import (
    look_at_gradients,
    look_at_loss,
    look_at_repeats,
)
from scaling_sweep.probing.stacking import look_at_curvature, look_at_stacking
from scaling_sweep.probing.subject import Subject, one_line
from scaling_sweep.spec import LoadedSweep, check_against_task, load_sweep, parse_sweep
from scaling_sweep.tasks.loading import load_task
from scaling_sweep.training.preflight import load_sweep_task

_SUFFIXES = (".yaml", ".yml")


def check_task(name: str, args: Mapping[str, Any] | None = None, device: str = "cpu") -> Checkup:
    """Look at a task from all sides.

    Args:
        name: A sweep file, a built-in task, or ``package.module:attribute``.
        args: The task's arguments; a sweep file has its own.
        device: Where to try it, as torch writes it.

    Returns:
        What was found.

    Raises:
        UserError: If there is no such task, sweep file or device, or the task cannot be built.

    Example:
        >>> found = check_task("digits_mlp", {"width": 8})
        >>> found.possible, found.findings[0].topic
        (True, 'data')
    """
    subject = _find(name, args or {}, _usable(device))
    torch.set_num_threads(max(1, int(subject.spec.resources.cpus)))  # as a pack has
    findings: list[Finding] = []
    for topic, look in _LOOKS:
        findings += _try(topic, look, subject)
        if findings[-1].level is Level.PROBLEM and topic in _NEEDED:
            break
    task = subject.task
    return Checkup(name, task.description, subject.device.type, tuple(findings))


_Look = Callable[[Subject], tuple[Finding, ...]]
_LOOKS: tuple[tuple[str, _Look], ...] = (
    ("data", look_at_data),
    ("loss", look_at_loss),
    ("gradients", look_at_gradients),
    ("repeats", look_at_repeats),
    ("data order", look_at_order),
    ("packs", look_at_stacking),
    ("curvature", look_at_curvature),
    ("cost", look_at_cost),
)
# Without these nothing after them means anything.
_NEEDED = ("data", "loss", "gradients")


def _try(topic: str, look: _Look, subject: Subject) -> tuple[Finding, ...]:
    """Look, and make a finding of what goes wrong on the way."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a look that minds them catches them itself
            return look(subject)
    except UserError as error:
        return (Finding(topic, Level.PROBLEM, str(error)),)
    except Exception as error:  # a user's code may raise anything
        return (Finding(topic, Level.PROBLEM, one_line(error)),)


def _usable(name: str) -> torch.device:
    try:
        torch.empty(1, device=name)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"device {name!r} cannot be used: {one_line(error)}; write cpu") from None
    return torch.device(name)


def _find(name: str, args: Mapping[str, Any], device: torch.device) -> Subject:
    path = Path(name)
    if path.suffix not in _SUFFIXES:
        task = load_task(name, args, (str(Path.cwd()),))
        return Subject(_stand_in(name, args), task, device)
    if args:
        raise UserError(f"{name} is a sweep file, which has the task's args in it; give none.")
    sweep = load_sweep(path)
    task = load_sweep_task(sweep)
    check_against_task(sweep, task.num_examples)
    return Subject(sweep, task, device)


def _stand_in(name: str, args: Mapping[str, Any]) -> LoadedSweep:
    """Return the smallest sweep of a task that was named without one."""
    spec = {
        "name": "check",
        "task": {"name": name, "args": dict(args)},
        "parameters": {
            "optimizer": {"values": ["adam"]},
            "batch_size": {"values": [1]},
            "lr": {"values": [1e-3]},
        },
        "seeds": 2,
        "horizon": {"steps": 100},
    }
    return parse_sweep(yaml.safe_dump(spec), "check-task")
