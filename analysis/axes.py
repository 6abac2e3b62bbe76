"""The axis that a sweep searches for the edge of stability: which column, in which direction.

Bold is what endangers training: a large learning rate, or a small damping. Brackets, medians, laws
and checks know boldness only, of which stability always ends at the upper end, and one variable
that it grows with; here the two are made from a table's columns and put back into words.

For the learning rate, boldness is the learning rate itself and the variable is the batch size.
For the damping of a preconditioner, boldness is ``1/damping`` and the variable is
``batch size / lr``, so that "the smallest stable damping grows like ``(lr/B)^p``" and "the largest
stable boldness grows like ``(B/lr)^p``" are one statement.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from analysis.fitting.laws import effective_batch_size
from analysis.fitting.likelihood import FloatArray


class AxisName(StrEnum):
    """Which column of the table is searched."""

    LR = "lr"
    DAMPING = "damping"


@dataclass(frozen=True)
class Axis:
    """What is searched for its edge, with a direction.

    Attributes:
        name: The column of the table.
        inverse: Whether small values are the bold ones.
        word: What people call it.
        words: The same, of several.
        edge: What the edge is.
        symbol: The edge, as a name in tables and sentences.
        mild: The adjective towards stability, its comparative and superlative.
        daring: The same away from it.
        held_words: What is held while the axis is searched, as a list without brackets.
        points: Different values of the laws' variable, as one and as several are counted.
        against: What the edge is held against.
        ratio: The same, as a power is taken of it.
        heading: What a report is about.
        claim: What it asks.
    """

    name: AxisName
    inverse: bool
    word: str
    words: str
    edge: str
    symbol: str
    mild: tuple[str, str, str]
    daring: tuple[str, str, str]
    held_words: str
    points: tuple[str, str]
    against: str
    ratio: str
    heading: str
    claim: str

    @property
    def held(self) -> tuple[str, ...]:
        """Columns that are held while the axis is searched under one seed."""
        return ("batch_size", "lr") if self.inverse else ("batch_size",)

    def bold(self, values: ArrayLike) -> FloatArray:
        """Turn values of the axis into boldness, or back: it is its own inverse.

        Args:
            values: Any shape, not negative; 0 and infinity stand for an open end.

        Returns:
            The same shape.

        Example:
            >>> AXES["damping"].bold([0.0, 0.5, np.inf]).tolist()
            [inf, 2.0, 0.0]
        """
        with np.errstate(divide="ignore"):
            values = np.asarray(values, dtype=float)
            bold: FloatArray = 1 / values if self.inverse else values
        return bold

    def show(self, boldness: float) -> float:
        """Turn boldness back into one value of the axis, without the last bit of a reciprocal.

        Args:
            boldness: Not negative.

        Returns:
            The value, to 15 digits where it was inverted.

        Example:
            >>> AXES["damping"].show(1 / 0.3), AXES["lr"].show(0.3)
            (0.3, 0.3)
        """
        value = float(self.bold(boldness))
        return float(f"{value:.15g}") if self.inverse else value

    def show_interval(self, ends: tuple[float, float]) -> tuple[float, float]:
        """Turn an interval of boldness into one of the axis, lower end first."""
        low, high = sorted(self.show(end) for end in ends)
        return low, high

    def variable(
        self, batch_size: ArrayLike, lr: ArrayLike, num_examples: int | None
    ) -> FloatArray:
        """Compute what laws are a function of: ``b`` or ``b/lr``, b the effective batch size.

        Args:
            batch_size: Examples per step, any shape.
            lr: Learning rates that were held, 1 where it is the axis; broadcasts.
            num_examples: Size of the data when sampling without replacement, else None.

        Returns:
            The variable.

        Example:
            >>> AXES["damping"].variable([8, 50], 0.5, 100).round(3).tolist()
            [17.391, 200.0]
        """
        variable: FloatArray = effective_batch_size(batch_size, num_examples) / np.asarray(lr)
        return variable

    def chart(self, batch_size: ArrayLike, lr: ArrayLike, num_examples: int | None) -> FloatArray:
        """Compute the horizontal place in a figure: B itself, or the ratio ``lr/b``."""
        if not self.inverse:
            return np.asarray(batch_size, dtype=float)
        place: FloatArray = 1 / self.variable(batch_size, lr, num_examples)
        return place


AXES: dict[str, Axis] = {
    AxisName.LR: Axis(
        name=AxisName.LR,
        inverse=False,
        word="learning rate",
        words="learning rates",
        edge="largest stable learning rate",
        symbol="LR_max",
        mild=("small", "smaller", "smallest"),
        daring=("large", "larger", "largest"),
        held_words="batch size",
        points=("batch size", "batch sizes"),
        against="batch size",
        ratio="B",
        heading="learning rate against batch size",
        claim="How does the largest stable learning rate grow with the batch size?",
    ),
    AxisName.DAMPING: Axis(
        name=AxisName.DAMPING,
        inverse=True,
        word="damping",
        words="dampings",
        edge="smallest stable damping",
        symbol="damping_min",
        mild=("large", "larger", "largest"),
        daring=("small", "smaller", "smallest"),
        held_words="batch size, lr",
        points=("value of lr/B", "values of lr/B"),
        against="lr/B",
        ratio="(lr/B)",
        heading="damping against lr/B",
        claim="How does the smallest stable damping grow with learning rate over batch size, lr/B?",
    ),
}
"""Every axis that can be searched, by its column."""

LR_AXIS, DAMPING_AXIS = AXES[AxisName.LR], AXES[AxisName.DAMPING]


def name_axes(frame: pd.DataFrame) -> pd.Series:
    """Tell which axis each trial belongs to: damping where the table gives one.

    Args:
        frame: A table of trials.

    Returns:
        Names of axes with the frame's index.

    Example:
        >>> name_axes(pd.DataFrame({"damping": [0.1, np.nan]})).tolist()
        ['damping', 'lr']
    """
    if "damping" not in frame:
        return pd.Series(str(AxisName.LR), index=frame.index)
    names = np.where(frame["damping"].notna(), str(AxisName.DAMPING), str(AxisName.LR))
    return pd.Series(names, index=frame.index)
