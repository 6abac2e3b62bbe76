"""All figures of a study as files of their own."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from analysis.criteria import Criterion
from analysis.curvature_table import CurvatureTable
from analysis.figures.album import (
    Picture,
    draw_curvature,
    draw_optima,
    draw_overview,
    draw_pictures,
    draw_theories,
)
from analysis.figures.canvas import save_figure
from analysis.grouping import select_trials
from analysis.results import Results
from analysis.summaries import Fit
from analysis.theory.beside import compare_theories
from analysis.words.formatting import group_title


def save_figures(
    fit: Fit,
    results: Results,
    curves: pd.DataFrame | None,
    folder: Path,
    formats: Sequence[str] = ("png", "svg"),
    criterion: Criterion | None = None,
    curvature: CurvatureTable | None = None,
) -> tuple[Path, ...]:
    """Write every figure of a study to files of its own.

    Args:
        fit: Of one table.
        results: The table.
        curves: The table of loss curves, None when there is none.
        folder: Made if it is missing.
        formats: Endings out of ``canvas.FORMATS``.
        criterion: How the trials were judged again, None when by the table's own verdicts.
        curvature: Measured curvature, None when there is none.

    Returns:
        The files written, ``<number of the group>-<optimizer>-<figure>.<format>``; those of all
        groups and of curvature begin with ``all`` and ``curvature``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for stem, picture in _draw(fit, results.judged_by(criterion).frame, curves, curvature):
        for ending in formats:
            path = folder / f"{stem}-{picture.name}.{ending}"
            save_figure(picture.figure, path)
            written.append(path)
    return tuple(written)


def _draw(
    fit: Fit, frame: pd.DataFrame, curves: pd.DataFrame | None, curvature: CurvatureTable | None
) -> Iterator[tuple[str, Picture]]:
    """Yield every figure with the beginning of its file's name."""
    yield from (("all", picture) for picture in draw_overview(fit.groups))
    keys = [group.key for group in fit.groups]
    for number, group in enumerate(fit.groups, start=1):
        stem = f"{number}-{_file_name(group_title(group.key, keys))}"
        trials = select_trials(frame, group.key)
        pictures = [*draw_pictures(group, trials, curves), *draw_optima(group, trials)]
        if curvature is not None:
            pictures += draw_theories(group, compare_theories(group, curvature))
        yield from ((stem, picture) for picture in pictures)
    if curvature is not None:
        yield from (("curvature", picture) for picture in draw_curvature(curvature))


def _file_name(title: str) -> str:
    """Return a title as part of a file name: plain letters and digits, at most 60 of them."""
    kept = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in title)
    return "-".join(part for part in kept.lower().split("-") if part)[:60].strip("-") or "group"
