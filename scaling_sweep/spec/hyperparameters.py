"""Hyperparameters of optimizers: what each may be, said to a person and to an editor."""

import math
from dataclasses import dataclass
from typing import Any

from scaling_sweep.spec.section import refuse
from scaling_sweep.spec.wording import as_yaml


@dataclass(frozen=True)
class Hyperparameter:
    """A number or a word an optimizer takes beside the learning rate.

    Attributes:
        default: Value when the sweep file says nothing; those of `torch.optim` where it has them.
        below: Exclusive upper bound; every number is at least 0.
        meaning: One sentence for the documentation.
        is_damping: Whether it is what a sweep may search as `damping`; one per optimizer at most.
        least: Smallest whole number where only whole ones will do; None for any number.
        positive: Whether 0 is refused.
        words: What it may be where it is a word; empty for a number.
    """

    default: float | str
    below: float | None
    meaning: str
    is_damping: bool = False
    least: int | None = None
    positive: bool = False
    words: tuple[str, ...] = ()

    @property
    def default_text(self) -> str:
        """The default as a sweep file would write it."""
        return self.default if isinstance(self.default, str) else f"{self.default:g}"

    def check(self, value: object, *path: str | int) -> None:
        """Refuse a value that it may not be.

        Args:
            value: As given in a sweep file.
            path: Where, from the section being validated.
        """
        if self.words:
            if value not in self.words:
                refuse(f"must be one of {', '.join(self.words)}, got {as_yaml(value)}", *path)
        elif isinstance(value, bool) or not isinstance(value, int | float):
            refuse(f"must be a number, got {as_yaml(value)}", *path)
        elif not self._allows(value):
            refuse(f"must be a {self._bounds()}, got {as_yaml(value)}", *path)

    def schema(self) -> dict[str, Any]:
        """Return what it may be as JSON Schema."""
        meaning = {"default": self.default, "description": self.meaning}
        if self.words:
            return {"enum": list(self.words), **meaning}
        if self.least is not None:
            whole = {"type": "integer", "minimum": self.least}
            return {**whole, **meaning, "default": int(self.default)}
        lowest = "exclusiveMinimum" if self.positive else "minimum"
        highest = {} if self.below is None else {"exclusiveMaximum": self.below}
        return {"type": "number", lowest: 0, **highest, **meaning}

    def _allows(self, value: float) -> bool:
        """Return whether it may be a number."""
        if self.least is not None:
            return value >= self.least and math.isfinite(value) and value == int(value)
        above = value > 0 if self.positive else value >= 0
        return above and value < (self.below if self.below is not None else math.inf)

    def _bounds(self) -> str:
        """Say what numbers it may be."""
        if self.least is not None:
            return f"whole number from {self.least} up"
        begin = "above 0" if self.positive else "from 0"
        if self.below is not None:
            return f"finite number {begin} to below {self.below:g}"
        return f"finite number {begin}" if self.positive else "finite number from 0 up"
