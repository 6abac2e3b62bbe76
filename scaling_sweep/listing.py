"""The names a sweep file may use, each with one line."""

from dataclasses import dataclass

from scaling_sweep.methods import METHODS
from scaling_sweep.spec import OPTIMIZER_DESCRIPTIONS, OPTIMIZERS
from scaling_sweep.tasks.builtin import BUILTIN_TASKS


@dataclass(frozen=True)
class Entry:
    """A name and what it is.

    Attributes:
        name: As a sweep file writes it.
        description: One line.
    """

    name: str
    description: str


@dataclass(frozen=True)
class Section:
    """Names of one kind.

    Attributes:
        title: The kind, in the plural.
        entries: In the order people look for them.
    """

    title: str
    entries: tuple[Entry, ...]


def list_names() -> tuple[Section, ...]:
    """Return tasks, optimizers with their hyperparameters and defaults, and methods.

    Example:
        >>> [section.title for section in list_names()]
        ['tasks', 'optimizers', 'methods']
    """
    optimizers = [
        Entry(
            name,
            f"{OPTIMIZER_DESCRIPTIONS[name]} "
            f"({', '.join(f'{key}={item.default_text}' for key, item in table.items())})",
        )
        for name, table in OPTIMIZERS.items()
    ]
    return (
        Section("tasks", tuple(Entry(task.name, task.description) for task in BUILTIN_TASKS)),
        Section("optimizers", tuple(optimizers)),
        Section("methods", tuple(Entry(method.name, method.description) for method in METHODS)),
    )
