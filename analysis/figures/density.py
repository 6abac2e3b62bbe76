"""Densities of eigenvalues: what batches of a few sizes see, at a few points of training."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator
from scipy.ndimage import gaussian_filter1d

from analysis.curvature_table import CurvatureTable, Matrix, PointDensity
from analysis.figures import canvas
from analysis.theory.inputs import FloatArray
from analysis.words.formatting import format_number

# More panels than these are too narrow at seven inches; more lines cannot be told apart (by eye).
_MAX_PANELS = 3
_MAX_LINES = 4
_NUM_BINS = 480
# Width of the smoothing, as a share of the axis: two peaks 2 % apart stay two (by eye).
_SMOOTHING = 0.008
# The axis is linear up to this share of the largest eigenvalue, where most of them lie (by eye).
_LINEAR_SHARE = 1e-3
# Less than this share of the highest peak is not drawn: one eigenvalue in a million.
_FLOOR = 1e-6
# Dark to light, so that a grey print keeps the order; told apart under colour blindness (viridis).
_COLORS = ("#440154", "#31688e", "#35b779", "#d8b30c")
_T = TypeVar("_T")


@dataclass(frozen=True)
class DensityLine:
    """One density, ready to draw.

    Attributes:
        label: Whose it is.
        height: Shape ``[n]``, share of the eigenvalues per unit of the transformed axis.
        largest: The largest eigenvalue seen.
        color: Of the line; the same for the same batch size in every panel.
    """

    label: str
    height: FloatArray
    largest: float
    color: str


@dataclass(frozen=True)
class DensityPanel:
    """The densities at one point.

    Attributes:
        point: Where.
        lines: By batch size, ascending, all the data last.
    """

    point: str
    lines: tuple[DensityLine, ...]


@dataclass(frozen=True)
class DensityPlot:
    """The numbers of the density figure.

    Attributes:
        matrix: Whose eigenvalues.
        panels: At most three points: the first, the middle one and the last.
        position: Shape ``[n]``, places on the axis: ``asinh(eigenvalue / linear)``.
        linear: The eigenvalue up to which the axis is linear.
    """

    matrix: Matrix
    panels: tuple[DensityPanel, ...]
    position: FloatArray
    linear: float


def compute_density(table: CurvatureTable) -> DensityPlot:
    """Collect what the density figure shows: of the Hessian, else of what there is.

    Args:
        table: Measured curvature with at least one density.

    Returns:
        The numbers to draw.

    Raises:
        ValueError: If there is no density.
    """
    found = table.densities()
    if not found:
        raise ValueError("There is no density to draw: none was measured.")
    matrices = [density.matrix for density in found]
    matrix = Matrix.HESSIAN if Matrix.HESSIAN in matrices else matrices[0]
    shown = [density for density in found if density.matrix is matrix]
    points = _thin(list(dict.fromkeys(density.point for density in shown)), _MAX_PANELS)
    sizes = _thin(sorted({_size(density) for density in shown}), _MAX_LINES)
    shown = [d for d in shown if d.point in points and _size(d) in sizes]
    nodes = np.concatenate([density.nodes for density in shown])
    linear = float(np.abs(nodes).max()) * _LINEAR_SHARE or 1.0
    ends = np.arcsinh(np.array([nodes.min(), nodes.max()]) / linear)
    margin = 0.04 * (ends[1] - ends[0]) + 0.1
    position = np.linspace(ends[0] - margin, ends[1] + margin, _NUM_BINS)
    colors = dict(zip(reversed(sizes), _COLORS, strict=False))
    panels = tuple(
        DensityPanel(
            point,
            tuple(
                _make_line(d, position, linear, colors[_size(d)]) for d in shown if d.point == point
            ),
        )
        for point in points
    )
    return DensityPlot(matrix, panels, position, linear)


def _size(density: PointDensity) -> float:
    """Return a batch size that sorts: infinite for all the data."""
    return np.inf if density.batch_size is None else density.batch_size


def _thin(values: Sequence[_T], num: int) -> list[_T]:
    """Return at most so many values, the ends among them."""
    places = np.linspace(0, len(values) - 1, min(num, len(values))).round().astype(int)
    return [values[place] for place in places]


def _make_line(
    density: PointDensity, position: FloatArray, linear: float, color: str
) -> DensityLine:
    """Smear the nodes of one density over the transformed axis."""
    step = position[1] - position[0]
    bounds = np.append(position - step / 2, position[-1] + step / 2)
    share, _ = np.histogram(np.arcsinh(density.nodes / linear), bounds, weights=density.weights)
    height = gaussian_filter1d(share / step, _SMOOTHING * _NUM_BINS, mode="constant")
    label = "all data" if density.batch_size is None else f"B = {density.batch_size:g}"
    return DensityLine(label, height, float(density.nodes.max()), color)


def draw_density(plot: DensityPlot, panel: DensityPanel, axes: Axes) -> None:
    """Draw the densities at one point.

    Args:
        plot: The numbers of the whole figure.
        panel: Those of one point.
        axes: Changed in place; its horizontal axis holds ``asinh(eigenvalue / linear)``.
    """
    for line in panel.lines:
        axes.plot(plot.position, line.height, color=line.color, linewidth=1.3, label=line.label)
        axes.plot(
            [np.arcsinh(line.largest / plot.linear)],
            [0.02],
            "v",
            color=line.color,
            markersize=5,
            transform=axes.get_xaxis_transform(),
        )
    # A point may be called anything, formulas too.
    axes.set_title(panel.point, fontsize=canvas.FONT_SIZE, color=canvas.INK, parse_math=False)
    canvas.style_axes(axes, "eigenvalue (loss/parameter²)", "")
    ticks = _find_ticks(plot)
    axes.set_xlim(plot.position[0], plot.position[-1])
    axes.xaxis.set_major_locator(FixedLocator([float(np.arcsinh(t / plot.linear)) for t in ticks]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: _write_tick(x, plot.linear)))


def _find_ticks(plot: DensityPlot) -> list[float]:
    """Return zero and powers of ten to both sides, at most about seven."""
    low, high = np.sinh(plot.position[[0, -1]]) * plot.linear
    top = int(np.floor(np.log10(max(-low, high))))
    sides = [10.0**power for power in range(top - 2, top + 1)]
    ticks = [*(-side for side in sides), 0.0, *sides]
    return [tick for tick in ticks if low <= tick <= high]


def _write_tick(x: float, linear: float) -> str:
    """Return the eigenvalue at a place of the transformed axis."""
    return format_number(float(np.sinh(x)) * linear, 1).replace("-", "−")


def density_figure(table: CurvatureTable) -> Figure:
    """Compute and draw the densities of a measurement.

    Args:
        table: Measured curvature with at least one density.

    Returns:
        A figure 7 inches wide.
    """
    plot = compute_density(table)
    figure = canvas.new_figure(7.0, 3.3)
    row = figure.subplots(1, len(plot.panels), sharey=True, squeeze=False)[0]
    highest = max(float(line.height.max()) for panel in plot.panels for line in panel.lines)
    for panel, axes in zip(plot.panels, row, strict=True):
        draw_density(plot, panel, axes)
        canvas.scale_log_axis(axes, highest * _FLOOR, highest * 2)
    label = f"density of {plot.matrix} eigenvalues"
    row[0].set_ylabel(label, fontsize=canvas.FONT_SIZE, color=canvas.INK)
    canvas.legend_below(figure, _MAX_LINES)
    return figure
