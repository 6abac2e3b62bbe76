"""The theory figure: measured LR_max with every theory's curve, and what the closest miss."""

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.agreement import Agreement
from analysis.agreement_words import HOLDS
from analysis.figures import canvas, points
from analysis.summaries import Censoring, GroupFit
from analysis.theory.curves import TheoryCurve
from analysis.theory.inputs import FloatArray
from analysis.theory_beside import PointComparison

# The closest theories are bold, each told from the others by colour and by dashes.
_STYLES = ((canvas.STABLE, "-"), (canvas.DIVERGED_LINE, "--"), ("#009e73", "-."))
# A curve further than this from every measurement leaves the picture, with an arrow (by eye).
_REACH = 6.0
# Least distance between two names, as a share of the axis (by eye, at this figure's height).
_NAME_GAP = 0.062
# The names leave less room below than other figures have (by eye).
_NUM_LABELS = 10


@dataclass(frozen=True)
class TheoryLine:
    """One theory, ready to draw.

    Attributes:
        agreement: Its comparison with the measurement; holds the curve.
        label: What to write beside it.
        rank: 0 for the closest.
        anchor: Where its visible part ends: batch size and learning rate.
        place: Height of its label, as a share of the vertical axis.
    """

    agreement: Agreement
    label: str
    rank: int
    anchor: tuple[float, float]
    place: float

    @property
    def curve(self) -> TheoryCurve:
        """The theory's curve."""
        return self.agreement.curve

    @property
    def bold(self) -> bool:
        """Whether it is among the closest."""
        return self.rank < len(_STYLES)


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
    anchors = [_find_anchor(found.curve, lr_range) for found in comparison.agreements]
    heights = np.log([lr / lr_range[0] for _, lr in anchors]) / np.log(lr_range[1] / lr_range[0])
    places = spread_places(heights, _NAME_GAP)
    lines = tuple(
        TheoryLine(found, _label(found, lr_range), rank, anchor, float(place))
        for rank, (found, anchor, place) in enumerate(
            zip(comparison.agreements, anchors, places, strict=True)
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
    ends = np.array([end for edge in inside for end in (edge.lr_max, *edge.lr_max_ci)])
    ends = ends[(ends > 0) & np.isfinite(ends)]
    curves = [found.curve.lr_max for found in comparison.agreements]
    wanted = np.concatenate([ends, *curves[: len(_STYLES)]])
    others = np.concatenate(curves)
    near = (others > ends.min() / _REACH) & (others < ends.max() * _REACH)
    shown = np.concatenate([wanted[(wanted > 0) & np.isfinite(wanted)], others[near]])
    low, high = float(shown.min()) / 1.5, float(shown.max()) * 1.5
    # A decade at least, so that three round numbers fit on the axis.
    stretch = max(1.0, (10 * low / high) ** 0.5)
    return low / stretch, high * stretch


def _find_anchor(curve: TheoryCurve, lr_range: tuple[float, float]) -> tuple[float, float]:
    """Return the last place where a curve is seen, or the border where it would be."""
    known = np.flatnonzero(np.isfinite(curve.lr_max))
    if not known.size:
        return float(curve.batch_size[-1]), lr_range[0]
    inside = known[(curve.lr_max[known] >= lr_range[0]) & (curve.lr_max[known] <= lr_range[1])]
    last = inside[-1] if inside.size else known[-1]
    return float(curve.batch_size[last]), float(np.clip(curve.lr_max[last], *lr_range))


def _label(agreement: Agreement, lr_range: tuple[float, float]) -> str:
    """Return a theory's name, with an arrow where it is nowhere in the picture."""
    lr_max = agreement.curve.lr_max
    arrow = "↑ " if np.nanmin(lr_max) > lr_range[1] else ""
    arrow = "↓ " if np.nanmax(lr_max) < lr_range[0] else arrow
    return f"{arrow}{agreement.curve.name}"


def _find_ratio_range(lines: tuple[TheoryLine, ...]) -> tuple[float, float]:
    """Return an axis around 1, the same way up and down, that holds the closest theories."""
    ratios = [ratio for line in lines if line.bold for ratio in line.agreement.ratios]
    far = max([abs(ratio.log_ratio) for ratio in ratios] + [np.log(HOLDS)])
    end = float(np.exp(1.2 * far + 0.1))
    return 1 / end, end


def spread_places(places: FloatArray, gap: float) -> FloatArray:
    """Move labels apart, as little as their order allows.

    Args:
        places: Shape ``[n]``, wanted heights in [0, 1].
        gap: Least distance between two; smaller where they would not fit.

    Returns:
        Shape ``[n]``, in [0, 1] and in the same order.

    Example:
        >>> spread_places(np.array([0.5, 0.5, 0.9]), 0.2).round(2).tolist()
        [0.4, 0.6, 0.9]
        >>> spread_places(np.array([1.0, 1.0]), 0.2).round(2).tolist()
        [0.8, 1.0]
    """
    order = np.argsort(places, kind="stable")
    gap = min(gap, 1 / max(len(places) - 1, 1))
    # With multiples of the gap taken off, "at least the gap apart" is "not descending": the
    # closest such heights are an isotonic regression, made by pooling neighbours.
    shift = gap * np.arange(len(places))
    blocks: list[list[float]] = []
    for value in np.asarray(places, dtype=float)[order] - shift:
        blocks.append([float(value)])
        while len(blocks) > 1 and np.mean(blocks[-2]) > np.mean(blocks[-1]):
            blocks[-2:] = [blocks[-2] + blocks[-1]]
    level = np.concatenate([np.full(len(block), np.mean(block)) for block in blocks])
    spread = np.empty(len(places))
    spread[order] = np.clip(level, 0, 1 - shift[-1]) + shift
    return spread


def draw_theory(plot: TheoryPlot, axes: Axes) -> None:
    """Draw the measurement and the curves, each with its name.

    Args:
        plot: The numbers.
        axes: Changed in place; both axes become logarithmic.
    """
    for line in reversed(plot.lines):
        _draw_line(line, axes)
        _draw_name(line, axes)
    points.draw_max_lr(plot.group.edges, plot.lr_range, axes)
    canvas.style_axes(axes, "", "largest stable learning rate, LR_max")
    canvas.scale_log_axis(axes, *plot.lr_range)
    sizes = [edge.batch_size for edge in plot.group.edges]
    points.scale_batch_axis(sizes, plot.batch_range, axes, _NUM_LABELS)
    axes.set_title(
        f"theories from curvature at {plot.point}",
        loc="left",
        parse_math=False,  # a point may be called anything
        fontsize=canvas.FONT_SIZE,
        color=canvas.MUTED,
    )
    axes.grid(visible=True, color=canvas.GRID, linewidth=0.6)


def _draw_line(line: TheoryLine, axes: Axes) -> None:
    curve = line.curve
    color, dashes = _STYLES[line.rank] if line.bold else (canvas.MUTED, "-")
    bounds = np.clip(np.array([curve.low, curve.high]), 1e-30, 1e30)
    axes.fill_between(
        curve.batch_size, *bounds, color=color, alpha=0.16 if line.bold else 0.05, linewidth=0
    )
    axes.plot(
        curve.batch_size,
        curve.lr_max,
        color=color,
        linestyle=dashes,
        linewidth=2.2 if line.bold else 0.8,
        alpha=1.0 if line.bold else 0.75,
    )


def _draw_name(line: TheoryLine, axes: Axes) -> None:
    """Write a theory's name beyond the right border, with a thread to where its curve ends."""
    color = _STYLES[line.rank][0] if line.bold else canvas.MUTED
    axes.annotate(
        line.label,
        line.anchor,
        xytext=(1.04, line.place),
        textcoords="axes fraction",
        va="center",
        annotation_clip=False,
        fontsize=canvas.FONT_SIZE - (1 if line.bold else 1.5),
        fontweight="bold" if line.bold else "normal",
        color=color,
        arrowprops={
            "arrowstyle": "-",
            "color": color,
            "linewidth": 0.6,
            "alpha": 0.6,
            "shrinkA": 1,
            "shrinkB": 0,
            "relpos": (0, 0.5),
        },
    )


def draw_ratios(plot: TheoryPlot, axes: Axes) -> None:
    """Draw measured over predicted for the closest theories.

    Args:
        plot: The numbers.
        axes: Changed in place; both axes become logarithmic.
    """
    axes.axhspan(1 / HOLDS, HOLDS, color=canvas.GRID, alpha=0.7, linewidth=0)
    axes.axhline(1.0, color=canvas.MUTED, linewidth=0.9)
    for line in reversed([line for line in plot.lines if line.bold]):
        color, dashes = _STYLES[line.rank]
        sizes = [ratio.batch_size for ratio in line.agreement.ratios]
        logs = np.array([(r.log_ratio, r.low, r.high) for r in line.agreement.ratios])
        if not sizes:
            continue
        ratio, *ends = np.clip(np.exp(logs.T), *plot.ratio_range)
        axes.plot(sizes, ratio, color=color, linestyle=dashes, marker="o", ms=3.5, lw=1.4)
        axes.vlines(sizes, *ends, color=color, linewidth=1.2, alpha=0.7)
    canvas.style_axes(axes, "batch size B (examples)", "measured / theory")
    canvas.scale_log_axis(axes, *plot.ratio_range)
    measured = [edge.batch_size for edge in plot.group.edges]
    points.scale_batch_axis(measured, plot.batch_range, axes, _NUM_LABELS)


def theory_figure(group: GroupFit, comparison: PointComparison) -> Figure:
    """Compute and draw the theories of one group from one point.

    Args:
        group: A group with at least one edge inside the grid.
        comparison: Its theories from one point, with at least one.

    Returns:
        A figure 7 inches wide.
    """
    plot = compute_theory(group, comparison)
    figure = canvas.new_figure(7.0, 5.4)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    draw_theory(plot, above)
    draw_ratios(plot, below)
    canvas.legend_below(figure, 2)
    return figure
