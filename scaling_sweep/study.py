"""A study in Python: a table of trials, what was found in it, and how to look at it."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from analysis.files.places import find_place
from scaling_sweep.errors import UserError

if TYPE_CHECKING:
    import pandas as pd

    from analysis.criteria import Criterion
    from analysis.curvature_table import CurvatureTable
    from analysis.figures.album import Picture
    from analysis.forecasting.learning_rate import DampingRecommendation, Recommendation
    from analysis.results import Results
    from analysis.summaries import Fit, GroupFit


@dataclass(frozen=True, repr=False)
class Study:
    """A table of trials with everything that was found in it.

    Made by ``scaling_sweep.fit``. Its text is what the headline of each group says; a notebook
    shows the edges beside it.

    Attributes:
        fit: Edges, laws, exponents and checks of every group.
        results: The table.
        curves: Loss curves by trial, None when there are none.
        curvature: Measured curvature that lay beside the table, None when there was none.
        criterion: How the trials were judged again, None when by the table's own verdicts.
        folder: Where the table lies, None when it was only in memory.

    Example:
        >>> import pandas as pd
        >>> import scaling_sweep
        >>> table = pd.DataFrame([
        ...     {"batch_size": b, "lr": lr, "seed": s, "diverged": lr > 0.03 * b * (1 + 0.1 * s)}
        ...     for b in (1, 2, 4, 8, 16) for s in range(3)
        ...     for lr in [0.01 * 2 ** (k / 4) for k in range(32)]])
        >>> study = scaling_sweep.fit(table)
        >>> study.group().law, round(study.group().exponent, 1)
        ('power', 1.0)
        >>> study.edges()["batch_size"].tolist()
        [1, 2, 4, 8, 16]
        >>> study.recommend(8).batch_size
        8
    """

    fit: "Fit"
    results: "Results"
    curves: "pd.DataFrame | None" = None
    curvature: "CurvatureTable | None" = None
    criterion: "Criterion | None" = None
    folder: Path | None = None

    @property
    def groups(self) -> "tuple[GroupFit, ...]":
        """One fit per group of trials, in the order of their keys."""
        return self.fit.groups

    def group(self, optimizer: str | None = None) -> "GroupFit":
        """Return the one group that is meant.

        Args:
            optimizer: Its optimizer, or the group's title as the report shows it; None where the
                table has one group.

        Returns:
            The group.
        """
        from analysis.forecasting.learning_rate import select_group

        return select_group(self.groups, optimizer)

    def edges(self, optimizer: str | None = None) -> "pd.DataFrame":
        """Return the edges of a group, a row for each batch size.

        Args:
            optimizer: As for ``group``.

        Returns:
            A table with the keys of an edge in fit.json as columns.
        """
        import pandas as pd

        from analysis.groups import to_json

        [group] = to_json(_only(self.fit, self.group(optimizer)))["groups"]
        return pd.DataFrame(group["edges"])

    def exponents(self) -> "pd.DataFrame":
        """Return what was found about each group's exponent, a row for each group."""
        import pandas as pd

        from analysis.words.formatting import group_title

        keys = [group.key for group in self.groups]
        return pd.DataFrame(
            [
                {
                    "group": group_title(group.key, keys),
                    "law": group.law,
                    "exponent": group.exponent,
                    "exponent_ci": group.exponent_ci,
                    "predicted": group.check.predicted,
                    "outcome": None if group.check.outcome is None else str(group.check.outcome),
                    "refused": group.refused,
                }
                for group in self.groups
            ]
        )

    def recommend(
        self,
        batch_size: int,
        optimizer: str | None = None,
        *,
        safety: float = 0.5,
        lr: float | None = None,
    ) -> "Recommendation | DampingRecommendation":
        """Recommend a learning rate for a batch size, or a damping where it was searched.

        Args:
            batch_size: Examples per step; need not have been measured.
            optimizer: As for ``group``.
            safety: Share of the largest stable learning rate, in (0, 1].
            lr: The learning rate to train at, where the damping was searched.

        Returns:
            What to train with, its interval and what to know about it; or why there is none.
        """
        from analysis.forecasting.learning_rate import recommend

        return recommend(self.fit, batch_size, optimizer, safety, lr)

    def pictures(self, optimizer: str | None = None) -> "Iterator[Picture]":
        """Draw the figures of a group's report, one after the other.

        Args:
            optimizer: As for ``group``.

        Yields:
            Pictures: ``name``, ``caption``, and ``figure``, a matplotlib figure.
        """
        from analysis.figures.album import draw_pictures, draw_theories
        from analysis.grouping import select_trials
        from analysis.theory.beside import compare_theories

        group = self.group(optimizer)
        trials = self.results.judged_by(self.criterion).frame
        yield from draw_pictures(group, select_trials(trials, group.key), self.curves)
        if self.curvature is not None:
            yield from draw_theories(group, compare_theories(group, self.curvature))

    def save(self, folder: Path | str | None = None, figures: tuple[str, ...] = ()) -> Path:
        """Write ``fit.json`` and ``report.html``.

        Args:
            folder: Where to, made when it is missing; where the table lies unless given.
            figures: Formats, ``png`` or ``svg``, to write the figures in as well.

        Returns:
            Where the report lies; ``fit.json`` is beside it.

        Raises:
            UserError: If the folder cannot be written, or there is none.
        """
        from analysis.figures.files import save_figures
        from analysis.groups import write_fit_json
        from analysis.report import write_report

        if folder is None and self.folder is None:
            raise UserError("a table in memory lies in no folder; write one, as in save('runs/x')")
        folder = find_place(folder or self.folder or "")
        report, beside = folder / "report.html", (self.criterion, self.curvature)
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_fit_json(self.fit, folder / "fit.json")
            write_report(self.fit, self.results, self.curves, report, *beside)
            if figures:
                pictures = folder / "figures"
                if pictures.is_symlink():
                    raise UserError(
                        f"{pictures} is a link and may lead anywhere; delete it, or write to "
                        "another folder"
                    )
                save_figures(self.fit, self.results, self.curves, pictures, figures, *beside)
        except OSError as error:
            raise UserError(
                f"cannot write to {folder}: {error.strerror or error}; write to another folder"
            ) from error
        return report

    def __repr__(self) -> str:
        from analysis.notebook import describe_fit

        return describe_fit(self.fit)

    def _repr_html_(self) -> str:
        from analysis.notebook import render_fit

        return render_fit(self.fit)


def _only(fit: "Fit", group: "GroupFit") -> "Fit":
    """Return a fit of one group."""
    from analysis.summaries import Fit

    return Fit(fit.source, (group,))
