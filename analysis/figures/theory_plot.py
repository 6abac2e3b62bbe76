"""The numbers of the theory figure: which curve is seen where, and what is written beside it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from analysis.agreement import Agreement
from analysis.edge_summaries import Censoring
from analysis.figures.labels import spread_places
from analysis.summaries import GroupFit
from analysis.theory.beside import PointComparison
from analysis.theory.curves import Confidence, TheoryCurve
from analysis.words.agreement import HOLDS

# The closest theories are bold; the others have numbers instead of colours.
NUM_BOLD = 3
# A curve further than this from every measurement leaves the picture, with an arrow (by eye).
_REACH = 6.0
# Least distance between two names, as a share of the axis (by eye, at this figure's height).
_NAME_GAP = 0.062
# The same of two numbers.
_NUMBER_GAP = 0.04


@dataclass(frozen=True)
class TheoryLine:
    """One theory, ready to draw.

    Attributes:
        agreement: Its comparison with the measurement; holds the curve.
        label: What to write beside it: its name, after its rank where its colour does not tell it.
        rank: 0 for the closest.
        start: Where its visible part begins: batch size and learning rate.
        anchor: Where it ends.
        start_place: Height of its number at the start, as a share of the vertical axis.
        place: Height of its label at the end.
    """

    agreement: Agreement
    label: str
    rank: int
    start: tuple[float, float]
    anchor: tuple[float, float]
    start_place: float
    place: float

    @property
    def curve(self) -> TheoryCurve:
        """The theory's curve."""
        return self.agreement.curve

    @property
    def bold(self) -> bool:
        """Whether it is among the closest."""
        return self.rank < NUM_BOLD


@dataclass(frozen=True)
class TheoryPlot:
    """The numbers of the theory figure.

    Attributes:
        group: The group, whose ``edges`` are the points.
        point: Where the curves' inputs were measured.
        lines: The theories, the closest first.
        lr_range: Ends of the vertical axis.
        ratio_range: Ends of the lower vertical axis, measured over predicted.
        batch_range: Ends of the horizontal axis.
    """

    group: GroupFit
    point: str
    lines: tuple[TheoryLine, ...]
    lr_range: tuple[float, float]
    ratio_range: tuple[float, float]
    batch_range: tuple[float, float]


def compute_theory(group: GroupFit, comparison: PointComparison) -> TheoryPlot:
    """Collect what the theory figure shows.

    Args:
        group: A group with at least one edge inside the grid.
        comparison: Its theories from one point, with at least one.

    Returns:
        The numbers to draw.
    """
    sizes = [edge.batch_size for edge in group.edges]
    lr_range = _find_range(group, comparison)
    ends = [_find_ends(found.curve, lr_range) for found in comparison.agreements]
    places = _spread_ends([end for _, end in ends], lr_range, _NAME_GAP)
    # Those in colour need no number, so they take no room for one.
    thin = [start for start, _ in ends[NUM_BOLD:]]
    numbers = [0.0] * (len(ends) - len(thin)) + _spread_ends(thin, lr_range, _NUMBER_GAP)
    lines = tuple(
        TheoryLine(found, _label(found, rank, lr_range), rank, *ends[rank], number, place)
        for rank, (found, number, place) in enumerate(
            zip(comparison.agreements, numbers, places, strict=True)
        )
    )
    return TheoryPlot(
        group=group,
        point=comparison.point,
        lines=lines,
        lr_range=lr_range,
        ratio_range=_find_ratio_range(lines),
        batch_range=(min(sizes) / 2**0.5, max(sizes) * 2**0.5),
    )


def _find_range(group: GroupFit, comparison: PointComparison) -> tuple[float, float]:
    """Return an axis for the measurement and the closest theories, others up to a reach."""
    inside = [edge for edge in group.edges if edge.censored is Censoring.NONE]
    ends = np.array([end for edge in inside for end in (edge.median, *edge.median_ci)])
    ends = ends[(ends > 0) & np.isfinite(ends)]
    curves = [found.curve.lr_max for found in comparison.agreements]
    wanted = np.concatenate([ends, *curves[:NUM_BOLD]])
    others = np.concatenate(curves)
    near = (others > ends.min() / _REACH) & (others < ends.max() * _REACH)
    shown = np.concatenate([wanted[(wanted > 0) & np.isfinite(wanted)], others[near]])
    low, high = float(shown.min()) / 1.5, float(shown.max()) * 1.5
    # A decade at least, so that three round numbers fit on the axis.
    stretch = max(1.0, (10 * low / high) ** 0.5)
    return low / stretch, high * stretch


def _find_ends(
    curve: TheoryCurve, lr_range: tuple[float, float]
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Return where a curve is first and last seen, or the border where it would be."""
    known = np.flatnonzero(np.isfinite(curve.lr_max))
    inside = known[(curve.lr_max[known] >= lr_range[0]) & (curve.lr_max[known] <= lr_range[1])]
    seen = inside if inside.size else known if known.size else np.array([len(curve.lr_max) - 1])
    rates = np.clip(np.nan_to_num(curve.lr_max[seen[[0, -1]]]), *lr_range)
    first, last = curve.batch_size[seen[[0, -1]]]
    return (float(first), float(rates[0])), (float(last), float(rates[1]))


def _spread_ends(
    ends: Sequence[tuple[float, float]], lr_range: tuple[float, float], gap: float
) -> list[float]:
    """Return heights for what is written at the ends, as shares of the axis."""
    heights = np.log([lr / lr_range[0] for _, lr in ends]) / np.log(lr_range[1] / lr_range[0])
    # Clear of the frame, which would cut what is written on it.
    return [float(place) for place in np.clip(spread_places(heights, gap), 0.02, 0.98)]


def _label(agreement: Agreement, rank: int, lr_range: tuple[float, float]) -> str:
    """Return a theory's name, with an arrow where it is nowhere in the picture.

    A dagger marks a reconstruction, so that it is not taken for more.
    """
    lr_max = agreement.curve.lr_max[np.isfinite(agreement.curve.lr_max)]
    arrow = "↑ " if lr_max.min(initial=np.inf) > lr_range[1] else ""
    arrow = "↓ " if lr_max.max(initial=0.0) < lr_range[0] else arrow
    number = "" if rank < NUM_BOLD else f"{rank + 1}  "
    dagger = " †" if agreement.curve.confidence is Confidence.RECONSTRUCTION else ""
    return f"{number}{arrow}{agreement.curve.name}{dagger}"


def _find_ratio_range(lines: tuple[TheoryLine, ...]) -> tuple[float, float]:
    """Return an axis around 1, the same way up and down, that holds the closest theories."""
    ratios = [ratio for line in lines if line.bold for ratio in line.agreement.ratios]
    far = max([abs(ratio.log_ratio) for ratio in ratios] + [np.log(HOLDS)])
    end = float(np.exp(1.2 * far + 0.1))
    return 1 / end, end
