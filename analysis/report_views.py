"""What the report shows of each group beside its numbers: an outcome, figures, failures."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pandas as pd

from analysis.curvature_table import CurvatureTable
from analysis.figures.album import Picture, draw_optima, draw_pictures
from analysis.grouping import select_trials
from analysis.results import Results
from analysis.summaries import Fit, GroupFit, Outcome
from analysis.theory.view import TheoryView, view_theory
from analysis.words import formatting


@dataclass(frozen=True)
class Badge:
    """A group's outcome in a word.

    Attributes:
        text: The word.
        tone: The style sheet's class for it.
    """

    text: str
    tone: str


_BADGES = {
    Outcome.CONFIRMED: Badge("confirmed", "good"),
    Outcome.REFUTED: Badge("refuted", "bad"),
    Outcome.INCONCLUSIVE: Badge("inconclusive", "open"),
}


@dataclass(frozen=True)
class Failure:
    """Trials that failed for the same reason.

    Attributes:
        reason: As the table has it.
        num_trials: How many.
        batch_sizes: Where, ascending.
    """

    reason: str
    num_trials: int
    batch_sizes: tuple[int, ...]


@dataclass(frozen=True)
class Fact:
    """One line about where the trials ran.

    Attributes:
        name: What it is about.
        value: What it says.
    """

    name: str
    value: str


@dataclass(frozen=True)
class GroupView:
    """What the page shows of one group beside its numbers.

    Attributes:
        fit: The numbers.
        title: Its name among the groups.
        badge: Its outcome.
        pictures: Its figures.
        failures: Its failed trials by reason, the most frequent first.
        optima: Figures of its best learning rates, none without losses.
        theory: Theory beside its edge, None when no curvature was measured.
    """

    fit: GroupFit
    title: str
    badge: Badge
    pictures: tuple[Picture, ...]
    failures: tuple[Failure, ...]
    optima: tuple[Picture, ...] = ()
    theory: TheoryView | None = None


def collect_groups(
    fit: Fit,
    results: Results,
    curves: pd.DataFrame | None,
    curvature: CurvatureTable | None = None,
) -> Iterator[GroupView]:
    """Gather what the page shows, group by group.

    Args:
        fit: What was found.
        results: The table it was found in.
        curves: The table of loss curves, None when there is none.
        curvature: Measured curvature of the task, None when there is none.

    Yields:
        One view per group, in the order of the fit.
    """
    keys = [group.key for group in fit.groups]
    for group in fit.groups:
        trials = select_trials(results.frame, group.key)
        yield GroupView(
            fit=group,
            title=formatting.group_title(group.key, keys),
            badge=choose_badge(group),
            pictures=tuple(draw_pictures(group, trials, curves)),
            failures=tuple(count_failures(trials)),
            optima=tuple(draw_optima(group, trials)),
            theory=None if curvature is None else view_theory(group, curvature),
        )


def choose_badge(group: GroupFit) -> Badge:
    """Return a group's outcome in a word."""
    apart = group.apart is not None and group.check.outcome is not None
    if group.best_law() is None and not apart:
        return Badge("refused", "none")
    if group.check.outcome is None:
        return Badge("no prediction", "none")
    return _BADGES[group.check.outcome]


def count_failures(trials: pd.DataFrame) -> Iterator[Failure]:
    """Count the trials that gave no measurement, by reason.

    Args:
        trials: Rows of one group.

    Yields:
        One entry per reason, the most frequent first.
    """
    failed = trials[trials["verdict"] == "failed"]
    reasons = (
        failed["reason"].fillna("no reason given") if "reason" in failed else "no reason given"
    )
    grouped = failed.assign(reason=reasons).groupby("reason")["batch_size"]
    for reason in grouped.size().sort_values(ascending=False, kind="stable").index:
        sizes = grouped.get_group(reason)
        yield Failure(reason, len(sizes), tuple(sorted({int(size) for size in sizes})))


def list_facts(environment: dict[str, Any] | None) -> Iterator[Fact]:
    """Flatten what a sweep ran on into lines.

    Args:
        environment: As the table has it, perhaps nested.

    Yields:
        One fact per entry; nested names are joined with dots.
    """
    for name, value in (environment or {}).items():
        if isinstance(value, dict):
            for fact in list_facts(value):
                yield Fact(f"{name}.{fact.name}", fact.value)
        else:
            yield Fact(str(name), str(value))
