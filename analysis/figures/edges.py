"""The main figure: the largest stable learning rate against the batch size, with the laws."""

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.bands import law_band
from analysis.figures import canvas, points
from analysis.formatting import format_exponent
from analysis.summaries import Band, Censoring, Edge, GroupFit, LawFit

# A law is drawn a little beyond the data, enough to be seen as a line and not as a forecast.
_OVERHANG_OCTAVES = 0.3
# How far the open side of a bracket is drawn: the arrow says that it goes on.
_OPEN_STUB = 1.4
_GUIDE_SLOPES = ((1.0, "slope 1"), (0.5, "slope ½"))


@dataclass(frozen=True)
class LawCurve:
    """One law that counts, ready to draw.

    Attributes:
        law: The fitted law.
        band: LR_max over batch sizes with its interval.
        reported: Whether this is the law of the headline.
    """

    law: LawFit
    band: Band
    reported: bool


@dataclass(frozen=True)
class Guide:
    """A straight line of known slope to hold the data against.

    Attributes:
        label: What to write at its end.
        batch_size: Its two ends, examples.
        lr: Its two ends, learning rates.
    """

    label: str
    batch_size: tuple[float, float]
    lr: tuple[float, float]


@dataclass(frozen=True)
class EdgePlot:
    """The numbers of the main figure.

    Attributes:
        group: The group, whose ``edges`` are the points.
        brackets: One bracket per seed and batch size.
        positions: Where each bracket stands: batch sizes, seeds spread around the true one.
        curves: The laws that count, the reported one last, so that it is drawn on top.
        guides: Lines of slope 1 and 1/2 through the first point.
        lr_range: Ends of the vertical axis.
        batch_range: Ends of the horizontal axis.
    """

    group: GroupFit
    brackets: tuple[Edge, ...]
    positions: np.ndarray
    curves: tuple[LawCurve, ...]
    guides: tuple[Guide, ...]
    lr_range: tuple[float, float]
    batch_range: tuple[float, float]


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
    sizes = np.array([edge.batch_size for edge in group.edges], dtype=float)
    reach = 2.0**_OVERHANG_OCTAVES
    end = min(sizes.max() * reach, group.num_examples or np.inf)
    dense = np.geomspace(sizes.min() / reach, end, 80)
    kept = [law for law in group.laws if law.kept or law.name == group.law]
    curves = [LawCurve(law, law_band(group, law, dense), law.name == group.law) for law in kept]
    lr_range = _find_range(group)
    return EdgePlot(
        group=group,
        brackets=group.seed_edges,
        positions=_spread_seeds(group.seed_edges, sizes),
        curves=tuple(sorted(curves, key=lambda curve: curve.reported)),
        guides=_make_guides(group, curves, lr_range),
        lr_range=lr_range,
        batch_range=(sizes.min() / 2**0.6, sizes.max() * 2**1.25),
    )


def _find_range(group: GroupFit) -> tuple[float, float]:
    """Return an axis with room for every bracket, but not for infinities."""
    ends = [end for edge in group.seed_edges for end in (edge.lr_stable, edge.lr_diverged)]
    ends += [edge.lr_max for edge in group.edges]
    finite = [end for end in ends if 0 < end < np.inf]
    low, high = min(finite) / 1.6, max(finite) * 2.0
    # A decade at least, so that three round numbers fit on the axis.
    stretch = max(1.0, (10 * low / high) ** 0.5)
    return low / stretch, high * stretch


def _spread_seeds(brackets: tuple[Edge, ...], sizes: np.ndarray) -> np.ndarray:
    """Return places side by side for the seeds, within a third of the gap between batch sizes."""
    gap = np.diff(np.log2(np.unique(sizes))).min() if np.unique(sizes).size > 1 else 1.0
    seeds = {seed: rank for rank, seed in enumerate(sorted({edge.seed for edge in brackets}))}
    offsets = np.linspace(-gap / 6, gap / 6, len(seeds)) if len(seeds) > 1 else np.zeros(1)
    return np.array([edge.batch_size * 2 ** offsets[seeds[edge.seed]] for edge in brackets])


def _make_guides(
    group: GroupFit, curves: list[LawCurve], lr_range: tuple[float, float]
) -> tuple[Guide, ...]:
    """Return the slopes from the first point on, until they leave the axes."""
    inside = [edge for edge in group.edges if edge.censored is Censoring.NONE]
    if len(inside) < 2:
        return ()
    first, last = inside[0].batch_size, group.edges[-1].batch_size
    reported = [curve.band for curve in curves if curve.reported]
    start = (
        float(np.interp(first, reported[0].batch_size, reported[0].lr_max))
        if reported
        else inside[0].lr_max
    )
    guides = []
    for slope, label in _GUIDE_SLOPES:
        end = min(last * 2**_OVERHANG_OCTAVES, first * (lr_range[1] / start) ** (1 / slope))
        guides.append(Guide(label, (first, end), (start, start * (end / first) ** slope)))
    return tuple(guides)


def draw_edges(plot: EdgePlot, axes: Axes) -> None:
    """Draw the main figure.

    Args:
        plot: The numbers.
        axes: Changed in place; both axes become logarithmic.
    """
    _draw_guides(plot, axes)
    for curve in plot.curves:
        _draw_law(curve, axes)
    _draw_brackets(plot, axes)
    points.draw_max_lr(plot.group.edges, plot.lr_range, axes)
    canvas.style_axes(axes, "batch size B (examples)", "largest stable learning rate, LR_max")
    canvas.scale_log_axis(axes, *plot.lr_range)
    sizes = [edge.batch_size for edge in plot.group.edges]
    points.scale_batch_axis(sizes, plot.batch_range, axes)
    axes.grid(visible=True, color=canvas.GRID, linewidth=0.6)


def _draw_guides(plot: EdgePlot, axes: Axes) -> None:
    for guide in plot.guides:
        axes.plot(guide.batch_size, guide.lr, ":", color=canvas.MUTED, linewidth=1.1)
        # A line that ends at the top is named to its left, one that ends at the right beside it.
        at_top = guide.lr[1] >= plot.lr_range[1] * 0.999
        axes.annotate(
            guide.label,
            (guide.batch_size[1], guide.lr[1]),
            xytext=(-10, -1) if at_top else (4, 0),
            textcoords="offset points",
            ha="right" if at_top else "left",
            va="top" if at_top else "center",
            fontsize=canvas.FONT_SIZE - 1,
            color=canvas.MUTED,
        )


def _draw_law(curve: LawCurve, axes: Axes) -> None:
    band, law = curve.band, curve.law
    color = canvas.LAW_COLORS.get(law.name, canvas.MUTED)
    bounds = np.clip(np.array([band.low, band.high]), 1e-30, 1e30)
    axes.fill_between(
        band.batch_size, *bounds, color=color, alpha=0.16 if curve.reported else 0.08, linewidth=0
    )
    what = f"{law.name}, exponent {format_exponent(law.exponent)}"
    axes.plot(
        band.batch_size,
        band.lr_max,
        color=color,
        linewidth=2.4 if curve.reported else 1.0,
        label=f"{what} (reported)" if curve.reported else what,
    )


def _draw_brackets(plot: EdgePlot, axes: Axes) -> None:
    low = np.array([edge.lr_stable for edge in plot.brackets])
    high = np.array([edge.lr_diverged for edge in plot.brackets])
    axes.vlines(
        plot.positions,
        np.where(low > 0, low, np.minimum(high, plot.lr_range[1]) / _OPEN_STUB),
        np.where(np.isfinite(high), high, np.maximum(low, plot.lr_range[0]) * _OPEN_STUB),
        color=canvas.MUTED,
        linewidth=1.4,
        alpha=0.65,
        label="bracket of one seed",
    )


def edge_figure(group: GroupFit) -> Figure:
    """Compute and draw the main figure of one group.

    Args:
        group: A fitted or refused group with at least one edge.

    Returns:
        A figure 7 inches wide.
    """
    figure = canvas.new_figure(7.0, 4.8)
    draw_edges(compute_edges(group), figure.subplots())
    canvas.legend_below(figure, 2)
    return figure
