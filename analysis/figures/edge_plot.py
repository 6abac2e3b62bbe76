"""The numbers of the main figure: edges against batch size, or against lr/B, with the laws."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from analysis.edge_summaries import Censoring, Edge
from analysis.figures import points
from analysis.fitting.bands import law_band
from analysis.fitting.joint_laws import IN_BATCH
from analysis.summaries import GroupFit, LawFit

# A law is drawn a little beyond the data, enough to be seen as a line and not as a forecast.
_OVERHANG_OCTAVES = 0.3
_GUIDE_SLOPES = ((1.0, "slope 1"), (0.5, "slope ½"))
# Neighbouring values of lr/B may lie arbitrarily close; marks need this much room, in octaves.
_LEAST_GAP = 0.3


@dataclass(frozen=True)
class LawCurve:
    """One law that counts, ready to draw.

    Attributes:
        law: The fitted law.
        x: Shape ``[n]``, batch sizes or lr/B, ascending.
        y: Shape ``[n]``, the edge there.
        low: Shape ``[n]``, lower end of its interval.
        high: Shape ``[n]``, upper end.
        reported: Whether this is the law of the headline.
        lr: The learning rate it holds at; None for all.
    """

    law: LawFit
    x: np.ndarray
    y: np.ndarray
    low: np.ndarray
    high: np.ndarray
    reported: bool
    lr: float | None = None


@dataclass(frozen=True)
class Guide:
    """A straight line of known slope to hold the data against.

    Attributes:
        label: What to write at its end.
        x: Its two ends, batch sizes or lr/B.
        y: Its two ends, in units of the edge.
    """

    label: str
    x: tuple[float, float]
    y: tuple[float, float]


@dataclass(frozen=True)
class EdgePlot:
    """The numbers of the main figure.

    Attributes:
        group: The group, whose ``edges`` are the points.
        points: The median edges; those of several learning rates stand side by side.
        brackets: One bracket per seed and place.
        positions: Where each bracket stands: seeds are spread around the true place.
        curves: The laws that count, the reported one last, so that it is drawn on top.
        guides: Lines of slope 1 and 1/2 through the point with the smallest batch, relative to
            the learning rate where that was held.
        y_range: Ends of the vertical axis.
        x_range: Ends of the horizontal axis.
    """

    group: GroupFit
    points: tuple[points.EdgePoint, ...]
    brackets: tuple[Edge, ...]
    positions: np.ndarray
    curves: tuple[LawCurve, ...]
    guides: tuple[Guide, ...]
    y_range: tuple[float, float]
    x_range: tuple[float, float]


def compute_edges(group: GroupFit) -> EdgePlot:
    """Collect what the main figure shows.

    Args:
        group: A fitted or refused group with at least one edge.

    Returns:
        The numbers to draw.

    Raises:
        ValueError: If the group has no edge.
    """
    if not group.edges:
        raise ValueError("There is no edge to draw: the group has no measured trial.")
    found = points.place_points(group)
    x = np.array([point.x for point in found])
    kept = [law for law in group.laws if law.kept or law.name == group.law]
    curves = sorted(
        (curve for law in kept for curve in _draw_law_curves(group, law)),
        key=lambda curve: curve.reported,
    )
    y_range = _find_range(group, found)
    offsets = _choose_offsets(group, x)
    return EdgePlot(
        group=group,
        points=_part_rates(found, offsets),
        brackets=group.seed_edges,
        positions=_place_seeds(group, offsets),
        curves=tuple(curves),
        guides=_make_guides(group, found, curves, y_range),
        y_range=y_range,
        x_range=_find_x_range(group, x),
    )


def _draw_law_curves(group: GroupFit, law: LawFit) -> Iterator[LawCurve]:
    """Return a law as one curve, or as one for each learning rate where it depends on that."""
    reported = law.name == group.law
    pieces = [_trace(group, law, lr) for lr in sorted({edge.lr or 1.0 for edge in group.edges})]
    if law.name.endswith(IN_BATCH):
        yield from pieces
        return
    joined = [
        np.concatenate([getattr(piece, name) for piece in pieces])
        for name in ("x", "y", "low", "high")
    ]
    order = np.argsort(joined[0], kind="stable")
    x, y, low, high = (values[order] for values in joined)
    yield LawCurve(law, x, y, low, high, reported)


def _trace(group: GroupFit, law: LawFit, lr: float) -> LawCurve:
    """Return a law at one learning rate, over the batch sizes measured there."""
    axis = group.axis
    sizes = [edge.batch_size for edge in group.edges if edge.lr in (None, lr)]
    reach = 1.0 if axis.inverse else 2.0**_OVERHANG_OCTAVES
    end = min(max(sizes) * reach, group.num_examples or np.inf)
    dense = np.geomspace(min(sizes) / reach, end, 80)
    band = law_band(group, law, dense, lr)
    low, high = np.sort(axis.bold([band.low, band.high]), axis=0)
    x, y = axis.chart(dense, lr, group.num_examples), axis.bold(band.median)
    if axis.inverse:  # the ratio falls where the batch size grows
        x, y, low, high = x[::-1], y[::-1], low[::-1], high[::-1]
    return LawCurve(law, x, y, low, high, law.name == group.law, lr)


def _find_x_range(group: GroupFit, x: np.ndarray) -> tuple[float, float]:
    """Return a horizontal axis with room for the names of the guides at their end."""
    if not group.axis.inverse:
        return x.min() / 2**0.6, x.max() * 2**1.25
    room = max(2**1.25, (x.max() / x.min()) ** 0.12)
    return x.min() / room, x.max() * 2**0.6


def _find_range(group: GroupFit, found: tuple[points.EdgePoint, ...]) -> tuple[float, float]:
    """Return an axis with room for every bracket, but not for infinities."""
    bold = [end for edge in group.seed_edges for end in (edge.stable, edge.diverged)]
    ends = [*group.axis.bold(bold).tolist(), *(point.y for point in found)]
    finite = [end for end in ends if 0 < end < np.inf]
    low, high = min(finite) / 1.6, max(finite) * 2.0
    # A decade at least, so that three round numbers fit on the axis.
    stretch = max(1.0, (10 * low / high) ** 0.5)
    return low / stretch, high * stretch


def _find_gap(group: GroupFit, x: np.ndarray) -> float:
    """Return the smallest step between places, in octaves, or what marks need at least."""
    # Six decimals join what differs by rounding only: B/lr may be reached in several ways.
    octaves = np.unique(np.log2(x).round(6))
    gap = float(np.diff(octaves).min()) if octaves.size > 1 else 1.0
    return max(gap, _LEAST_GAP) if group.axis.inverse else gap


def _choose_offsets(group: GroupFit, x: np.ndarray) -> dict[tuple[float | None, int], float]:
    """Return how far aside each seed stands, in octaves: within a third of the gap between places.

    Those of one learning rate stand together.
    """
    reach = _find_gap(group, x) / 6
    seeds = {(edge.lr, edge.seed) for edge in group.seed_edges}
    names = sorted(seeds, key=lambda name: (name[0] or 0.0, name[1]))
    offsets = np.linspace(-reach, reach, len(names)) if len(names) > 1 else np.zeros(1)
    return dict(zip(names, offsets.tolist(), strict=True))


def _part_rates(
    found: tuple[points.EdgePoint, ...], offsets: dict[tuple[float | None, int], float]
) -> tuple[points.EdgePoint, ...]:
    """Move the points of each learning rate into the middle of its seeds."""
    middle = {
        lr: float(np.mean([offset for (other, _), offset in offsets.items() if other == lr]))
        for lr, _ in offsets
    }
    return tuple(replace(point, x=point.x * 2 ** middle[point.lr]) for point in found)


def _place_seeds(group: GroupFit, offsets: dict[tuple[float | None, int], float]) -> np.ndarray:
    """Return where each bracket stands."""
    size, lr = np.array([(edge.batch_size, edge.lr or 1.0) for edge in group.seed_edges]).T
    aside = np.array([offsets[edge.lr, edge.seed] for edge in group.seed_edges])
    places: np.ndarray = group.axis.chart(size, lr, group.num_examples) * 2.0**aside
    return places


def _make_guides(
    group: GroupFit,
    found: tuple[points.EdgePoint, ...],
    curves: list[LawCurve],
    y_range: tuple[float, float],
) -> tuple[Guide, ...]:
    """Return the slopes from where noise rules most to the other side, until they leave the axes.

    That is the smallest batch size; it stands left, or right where lr/B is drawn.
    """
    inside = sorted(
        (point for point in found if point.censored is Censoring.NONE),
        key=lambda point: -point.x if group.axis.inverse else point.x,
    )
    if len(inside) < 2:
        return ()
    first = inside[0]
    reported = [curve for curve in curves if curve.reported and curve.lr in (None, first.lr)]
    start = first.y
    if reported:
        start = float(np.interp(first.x, reported[0].x, reported[0].y))
    guides = []
    for slope, label in _GUIDE_SLOPES:
        if group.axis.inverse:
            left = min(point.x for point in found) / 2**_OVERHANG_OCTAVES
            end = max(left, first.x * (y_range[0] / start) ** (1 / slope))
        else:
            right = max(point.x for point in found) * 2**_OVERHANG_OCTAVES
            end = min(right, first.x * (y_range[1] / start) ** (1 / slope))
        guides.append(Guide(label, (first.x, end), (start, start * (end / first.x) ** slope)))
    return tuple(guides)
