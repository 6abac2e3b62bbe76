"""All figures of a study, drawn with a caption each."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO

import pandas as pd
from matplotlib.figure import Figure

from analysis.axes import AxisName
from analysis.curvature_table import CurvatureTable
from analysis.figures.density import density_figure
from analysis.figures.edges import edge_figure
from analysis.figures.losses import compute_losses, loss_figure
from analysis.figures.optimal import bowl_figure, compute_bowls, growth_figure
from analysis.figures.outcomes import outcome_figure
from analysis.figures.overview import overview_figure
from analysis.figures.sensitivity import sensitivity_figure
from analysis.figures.theory import theory_figure
from analysis.summaries import GroupFit
from analysis.theory.beside import TheoryComparison

_EDGES_CAPTIONS = {
    AxisName.LR: (
        "Each dot is the learning rate above which training no longer works at that batch size, "
        "with its 95 % interval; the grey bars are the brackets of the single seeds, from the last "
        "stable to the first diverged learning rate. Dots that climb along a dotted line follow "
        "that slope."
    ),
    AxisName.DAMPING: (
        "Each mark is the damping below which training no longer works at one batch size and "
        "learning rate, with its 95 % interval, over their ratio; every learning rate has a mark "
        "of its own, moved a little aside. The grey bars are the brackets of the single seeds, "
        "from the first diverged to the last stable damping. If only lr/B counts, marks of all "
        "learning rates fall on one curve; a law that depends on more has a curve in the colour of "
        "each. Marks along a dotted line follow that slope."
    ),
}
_LAWS_CAPTION = (
    " The bold curve is the law reported, a thin curve a law that fits nearly as well, and the "
    "shaded bands are their 95 % intervals."
)


@dataclass(frozen=True)
class Picture:
    """One figure of one group.

    Attributes:
        name: What it shows, usable in a file name.
        figure: The drawing.
        title: Its first words.
        caption: How to read it.
    """

    name: str
    figure: Figure
    title: str
    caption: str

    def _repr_png_(self) -> bytes:
        image = BytesIO()
        self.figure.savefig(image, format="png", dpi=110)
        return image.getvalue()


def draw_overview(groups: Sequence[GroupFit]) -> Iterator[Picture]:
    """Draw the groups of a study side by side, where there are several.

    Args:
        groups: Fitted or refused groups.

    Yields:
        One picture of all groups whose axis is the learning rate, none of fewer than two.
    """
    shown = [group for group in groups if group.key.axis is AxisName.LR and group.edges]
    if len(shown) > 1:
        yield Picture(
            "overview",
            overview_figure(shown),
            "All groups.",
            "Left, the largest stable learning rates, medians over seeds, without their intervals. "
            "Right, the exponent of each group at small batch sizes with its 95 % interval; the "
            "orange strokes are the exponents predicted.",
        )


def draw_pictures(
    group: GroupFit, trials: pd.DataFrame, curves: pd.DataFrame | None
) -> Iterator[Picture]:
    """Draw every figure that the data of one group allow.

    Args:
        group: A fitted or refused group.
        trials: Its rows.
        curves: The table of loss curves, None when there is none.

    Yields:
        The edges with the laws, the grid of outcomes, loss curves, the sensitivity.
    """
    axis = group.axis
    if group.edges:
        yield Picture(
            "edges",
            edge_figure(group),
            "Where stability ends.",
            _EDGES_CAPTIONS[group.key.axis] + (_LAWS_CAPTION if group.laws else ""),
        )
    if not trials.empty:
        yield Picture(
            "outcomes",
            outcome_figure(trials, group),
            "Every trial.",
            f"One cell per batch size and {axis.word}: blue where training was stable under every "
            "seed, orange where it diverged under every seed, paler in between. Light grey marks "
            f"{axis.words} too {axis.mild[0]} to meet the criterion within the horizon, which say "
            "nothing about the edge. The black line is the edge, a triangle at the border means "
            "that it lies outside the grid.",
        )
    panels = compute_losses(trials, curves, group) if curves is not None else ()
    if panels:
        yield Picture(
            "losses",
            loss_figure(panels),
            "Both sides of the edge.",
            "Training loss of the two trials of each seed that bracket its edge, as a multiple of "
            "the loss before training. A triangle marks where a curve left the picture or stopped "
            "being a finite number.",
        )
    if any(entry.exponent is not None for entry in group.sensitivity):
        yield Picture(
            "sensitivity",
            sensitivity_figure(group),
            "Does the answer hang on the criterion?",
            "The same trials judged again by other definitions of stable. Where these intervals do "
            "not overlap, the exponent says as much about the definition as about the optimizer.",
        )


def draw_optima(group: GroupFit, trials: pd.DataFrame) -> Iterator[Picture]:
    """Draw where the loss is lowest.

    Args:
        group: A fitted or refused group.
        trials: Its rows.

    Yields:
        The best learning rate beside the largest stable one, and the bowls; none without losses.
    """
    if group.optimal is None or not group.optimal.lrs:
        return
    yield Picture(
        "optimal",
        growth_figure(group),
        "Best beside largest stable.",
        "Squares are the learning rates with the lowest loss, dots the largest stable ones, both "
        "with 95 % intervals and their reported laws. A hollow triangle marks a lowest loss at the "
        "end of the grid: the best learning rate may lie beyond.",
    )
    yield Picture(
        "bowls",
        bowl_figure(compute_bowls(trials, group), group.optimal.loss_column),
        "Loss over learning rate.",
        "A line per seed; losses of trials that diverged are drawn at the upper border. The green "
        "dot is the lowest point of the interpolation over seeds, shaded its 95 % interval, the "
        "dashed line LR_max.",
    )


def draw_theories(group: GroupFit, comparison: TheoryComparison) -> Iterator[Picture]:
    """Draw theory beside one group's measurement.

    Args:
        group: A fitted or refused group.
        comparison: Its theories.

    Yields:
        One picture from the nearest point, none when there is nothing to compare.
    """
    if comparison.silence:
        return
    at = comparison.nearest
    yield Picture(
        "theory",
        theory_figure(group, at),
        "Theory beside the measurement.",
        "Dots are the measured LR_max with its 95 % interval, curves what theory says from "
        f"curvature measured at {at.point}; nothing is fitted. The three that come closest are "
        "bold, the others numbered where they start, in order; a dagger (†) marks reconstructions, "
        "whose formula is partly ours. Shaded is what the standard errors of the inputs allow "
        "(95 %), not whether a theory is true. Below: measured over predicted for the three, with "
        "the range within 25 % in grey; at 2 a theory is half of what was measured.",
    )


def draw_curvature(table: CurvatureTable) -> Iterator[Picture]:
    """Draw what was measured of curvature, apart from any group.

    Args:
        table: Measured curvature.

    Yields:
        The spectral densities, where there are any.
    """
    if table.spectra:
        yield Picture(
            "densities",
            density_figure(table),
            "What batches see of the curvature.",
            "How eigenvalues are spread, over batches of a few sizes and over all the data. "
            "Triangles at the bottom mark the largest eigenvalue seen: the smaller the batch, the "
            "further out it lies, and the smaller the learning rate that it allows. The "
            "horizontal axis is linear near zero and logarithmic beyond.",
        )
