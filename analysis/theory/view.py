"""What the report shows of theory: pictures, and the batch sizes of its table."""

from dataclasses import dataclass

from analysis.curvature_table import CurvatureTable
from analysis.figures.album import Picture, draw_theories
from analysis.summaries import GroupFit
from analysis.theory.beside import TheoryComparison, compare_theories
from analysis.words.theory import choose_sizes


@dataclass(frozen=True)
class TheoryView:
    """Theory beside one group's measurement.

    Attributes:
        comparison: The numbers.
        pictures: One figure, none when there is nothing to compare.
        sizes: Batch sizes at which the table shows measured over predicted.
    """

    comparison: TheoryComparison
    pictures: tuple[Picture, ...]
    sizes: tuple[int, ...]


def view_theory(group: GroupFit, table: CurvatureTable) -> TheoryView:
    """Hold theory against one group and draw it.

    Args:
        group: A fitted or refused group.
        table: Curvature of its task.

    Returns:
        What to show.
    """
    comparison = compare_theories(group, table)
    return TheoryView(
        comparison=comparison,
        pictures=tuple(draw_theories(group, comparison)),
        sizes=choose_sizes(group),
    )
