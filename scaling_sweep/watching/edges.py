"""What is known of the edges while a run still goes on: medians without a law."""

from collections.abc import Iterator
from dataclasses import dataclass

import pandas as pd

from analysis.axes import AXES
from analysis.edges import find_edges, find_median_edges
from analysis.groups import split_groups
from analysis.summaries import Check, GroupFit
from analysis.words.formatting import group_title

_NOT_YET = "the run is not finished"


@dataclass(frozen=True)
class EdgeSoFar:
    """The median edge at one place, from the seeds that are there.

    Attributes:
        group: The group's title.
        batch_size: Examples per step.
        lr: The learning rate that was held, None where it is the axis.
        edge: The edge, in the values of the axis; the end of the grid where it lies outside.
        low: Lower end of its 95 % interval; None where it is open.
        high: Upper end; None where it is open.
        censored: ``none``, ``left`` or ``right``: on which side of the grid the edge lies.
        num_seeds: Seeds it is the median of.
    """

    group: str
    batch_size: int
    lr: float | None
    edge: float
    low: float | None
    high: float | None
    censored: str
    num_seeds: int


def find_groups(frame: pd.DataFrame) -> tuple[GroupFit, ...]:
    """Find the edges of every group, and nothing that needs a law.

    Args:
        frame: A checked table of trials.

    Returns:
        Groups as the report's figures take them, refused because trials are missing.
    """
    return tuple(
        GroupFit(
            key=key,
            num_trials=len(rows),
            num_failed=int((rows["verdict"] == "failed").sum()),
            seed_edges=(seed_edges := find_edges(rows, AXES[key.axis])),
            edges=find_median_edges(seed_edges),
            laws=(),
            law=None,
            exponent=None,
            exponent_ci=None,
            naive_slope=None,
            check=Check(None, 0.0, None, _NOT_YET),
            refused=_NOT_YET,
        )
        for key, rows in split_groups(frame)
    )


def list_edges(groups: tuple[GroupFit, ...]) -> Iterator[EdgeSoFar]:
    """List the edges of all groups in the values of their axes.

    Args:
        groups: From ``find_groups``.

    Yields:
        One edge per place that has one.
    """
    keys = [group.key for group in groups]
    for group in groups:
        axis = group.axis
        for edge in group.edges:
            low, high = axis.show_interval(edge.median_ci)
            yield EdgeSoFar(
                group=group_title(group.key, keys),
                batch_size=edge.batch_size,
                lr=edge.lr,
                edge=axis.show(edge.median),
                low=low if low > 0 else None,
                high=high if high < float("inf") else None,
                censored=edge.censored.seen_on(axis).value,
                num_seeds=edge.num_seeds,
            )
