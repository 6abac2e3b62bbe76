"""Loss curves on both sides of the edge, for a few batch sizes."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.axes import Axis
from analysis.edge_summaries import Censoring, Edge
from analysis.figures import canvas
from analysis.summaries import GroupFit
from analysis.words.formatting import format_number

_NUM_PANELS = 3
# The top of the axis; above it all that matters is that a curve left, and whether it came back
# (guess).
_CEILING = 20.0
# A trained network may reach 1e-6 of its initial loss; nothing is to be seen down there (guess).
_FLOOR = 1e-4


@dataclass(frozen=True)
class LossCurve:
    """The training loss of one trial.

    Attributes:
        step: Shape ``[n]``, updates made.
        ratio: Shape ``[n]``, training loss as a multiple of the initial loss, finite.
        stable: Whether the trial was judged stable.
        left_at: The first step where the curve was above the axes or not finite; NaN if it never
            was.
    """

    step: np.ndarray
    ratio: np.ndarray
    stable: bool
    left_at: float


@dataclass(frozen=True)
class LossPanel:
    """The curves of one batch size.

    Attributes:
        batch_size: Examples per step.
        curves: For every seed the trials on both sides of its edge.
        lr: The learning rate that was held, None where it is the axis.
    """

    batch_size: int
    curves: tuple[LossCurve, ...]
    lr: float | None = None

    @property
    def title(self) -> str:
        """What was held."""
        held = "" if self.lr is None else f", lr = {format_number(self.lr)}"
        return f"B = {self.batch_size}{held}"


def compute_losses(
    trials: pd.DataFrame, curves: pd.DataFrame, group: GroupFit
) -> tuple[LossPanel, ...]:
    """Pick the trials next to the edge and bring their losses to one scale.

    Args:
        trials: One row per trial of this group, with ``trial_id``, ``batch_size``, ``lr``,
            ``seed`` and ``verdict``; ``initial_loss`` where it is known.
        curves: The table of loss curves, see ``loss_table``.
        group: Where the edges come from.

    Returns:
        At most three panels, from small to large batch sizes; none if no trial next to an edge
        has a curve.
    """
    if "trial_id" not in trials or curves.empty:
        return ()
    inside = [edge.place for edge in group.edges if edge.censored is Censoring.NONE]
    spots = np.linspace(0, max(len(inside) - 1, 0), _NUM_PANELS).round().astype(int)
    chosen = {inside[spot] for spot in spots} if inside else set()
    panels = []
    for place in sorted(chosen):
        beside = [
            edge
            for edge in group.seed_edges
            if edge.place == place and edge.censored is Censoring.NONE
        ]
        picked = _pick_trials(trials, beside, group.axis).merge(curves, on="trial_id")
        if not picked.empty:
            panels.append(LossPanel(place.batch_size, tuple(_scale_curves(picked)), place.lr))
    return tuple(panels)


def _pick_trials(trials: pd.DataFrame, edges: list[Edge], axis: Axis) -> pd.DataFrame:
    """Return the measured trials at the two ends of these brackets, all of one place."""
    keys = pd.DataFrame(
        [
            (edge.batch_size, edge.seed, end)
            for edge in edges
            for end in (edge.stable, edge.diverged)
        ],
        columns=["batch_size", "seed", "bold"],
    )
    if keys.empty:
        return trials.iloc[:0]
    here = trials[trials["verdict"] != "failed"]
    if edges[0].lr is not None:
        here = here[here["lr"] == edges[0].lr]
    here = here.assign(bold=axis.bold(here[axis.name]))
    return here.merge(keys, on=["batch_size", "seed", "bold"])


def _scale_curves(rows: pd.DataFrame) -> Iterator[LossCurve]:
    for row in rows.itertuples():
        step, loss = np.asarray(row.step), np.asarray(row.loss, dtype=float)
        if loss.size == 0:
            continue
        initial = float(getattr(row, "initial_loss", np.nan))
        ratio = loss / (initial if initial > 0 else loss[0])
        left = np.flatnonzero(~np.isfinite(ratio) | (ratio > _CEILING))
        lost = np.flatnonzero(~np.isfinite(ratio))
        end = lost[0] if lost.size else ratio.size
        yield LossCurve(
            step=step[:end],
            ratio=np.maximum(ratio[:end], _FLOOR),
            stable=bool(row.verdict == "stable"),
            left_at=float(step[left[0]]) if left.size else _find_blow_up(row),
        )


def _find_blow_up(row: Any) -> float:  # noqa: ANN401 - a row of itertuples has no nameable type
    """Return the first step that was not finite, where the table knows it."""
    step = getattr(row, "first_nonfinite_step", None)
    return np.nan if step is None or pd.isna(step) or step < 0 else float(step)


def draw_panel(panel: LossPanel, axes: Axes) -> None:
    """Draw the curves of one batch size.

    Args:
        panel: The numbers.
        axes: Changed in place; its vertical axis becomes logarithmic.
    """
    for curve in sorted(panel.curves, key=lambda curve: not curve.stable):
        color = canvas.STABLE if curve.stable else canvas.DIVERGED_LINE
        label = f"{'stable' if curve.stable else 'diverged'}, next to the edge"
        axes.plot(curve.step, curve.ratio, color=color, linewidth=1.1, alpha=0.8, label=label)
        if np.isfinite(curve.left_at):
            axes.plot(
                [curve.left_at],
                [_CEILING],
                "^",
                color=color,
                markersize=6,
                clip_on=False,
                zorder=5,
                label="left the picture",
            )
    axes.axhline(
        1.0, color=canvas.MUTED, linewidth=0.9, linestyle=":", label="loss before training"
    )
    axes.set_title(panel.title, fontsize=canvas.FONT_SIZE, color=canvas.INK)
    canvas.style_axes(axes, "step (updates)", "")


def draw_losses(panels: tuple[LossPanel, ...], figure: Figure) -> None:
    """Draw the panels side by side on one scale.

    Args:
        panels: At least one.
        figure: Changed in place.
    """
    lowest = min(curve.ratio.min(initial=1.0) for panel in panels for curve in panel.curves)
    row = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for panel, axes in zip(panels, row, strict=True):
        draw_panel(panel, axes)
        canvas.scale_log_axis(axes, lowest / 1.5, _CEILING)
    row[0].set_ylabel("training loss / initial loss", fontsize=canvas.FONT_SIZE, color=canvas.INK)


def loss_figure(panels: tuple[LossPanel, ...]) -> Figure:
    """Draw the loss curves of one group.

    Args:
        panels: What ``compute_losses`` gave, at least one.

    Returns:
        A figure 7 inches wide.
    """
    figure = canvas.new_figure(7.0, 3.1)
    draw_losses(panels, figure)
    canvas.legend_below(figure, 4)
    return figure
