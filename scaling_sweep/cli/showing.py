"""How a fit, a plan and a recommendation look in a terminal."""

from dataclasses import replace
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from analysis.words.damping import describe_apart
from analysis.words.formatting import (
    format_exponent,
    format_interval,
    format_lr_interval,
    format_number,
    format_rate,
    group_title,
)
from analysis.words.optimal import describe_optimum
from analysis.words.sentences import (
    describe_naive_slope,
    describe_sensitivity,
    describe_trials,
    headline,
)

if TYPE_CHECKING:
    from analysis.forecasting.learning_rate import DampingRecommendation, Recommendation
    from analysis.optimal.summaries import OptimalLR
    from analysis.summaries import Fit, GroupFit

_OUTCOME_STYLES = {"confirmed": "green", "refuted": "red", "inconclusive": "yellow"}


def show_fit(fit: "Fit", console: Console) -> None:
    """Print what was found, group by group, then all exponents in one table."""
    keys = [group.key for group in fit.groups]
    shared = _shared_warnings(fit)
    for warning in shared:
        console.print(Text(f"Warning: {warning}", style="yellow"))
    for group in fit.groups:
        own = tuple(warning for warning in group.warnings if warning not in shared)
        _show_group(replace(group, warnings=own), group_title(group.key, keys), console)
    console.print()
    console.print(_summary(fit))
    console.print()


def _shared_warnings(fit: "Fit") -> tuple[str, ...]:
    """Return the warnings that all of several groups have, so that they are said once."""
    if len(fit.groups) < 2:
        return ()
    first, *others = fit.groups
    return tuple(w for w in first.warnings if all(w in group.warnings for group in others))


def _show_group(group: "GroupFit", title: str, console: Console) -> None:
    console.print()
    console.rule(Text(title, style="bold"), align="left", style="dim")
    console.print(Text(headline(group), style="bold"))
    console.print(Text(describe_naive_slope(group)))
    if group.apart is not None:
        console.print(Text(describe_apart(group)))
    if group.optimal is not None:
        console.print(Text(describe_optimum(group)))
    console.print(Text(describe_trials(group), style="dim"))
    if group.sensitivity:
        console.print(Text(describe_sensitivity(group), style="dim"))
    for warning in group.warnings:
        console.print(Text(f"Warning: {warning}", style="yellow"))
    console.print()
    console.print(_edges(group))


def _edges(group: "GroupFit") -> Table:
    """Return the median edges, in values of the axis that was searched."""
    axis, held = group.axis, ("learning rate",) if group.axis.inverse else ()
    beside = {"none": "", "left": "below the grid", "right": "above the grid"}
    best = {one.batch_size: one for one in group.optimal.lrs} if group.optimal else {}
    table = Table(box=None, pad_edge=False, header_style="dim")
    optimum = ("lr_opt",) if best else ()
    for name in ("batch size", *held, axis.symbol, "95 % interval", "seeds", *optimum, ""):
        table.add_column(name, justify="left" if name == "" else "right")
    for edge in group.edges:
        table.add_row(
            str(edge.batch_size),
            *([] if edge.lr is None else [format_number(edge.lr)]),
            format_rate(axis.show(edge.median)),
            format_lr_interval(axis.show_interval(edge.median_ci)),
            str(edge.num_seeds),
            *([_optimum(best.get(edge.batch_size))] if best else []),
            beside[edge.censored.seen_on(axis)],
        )
    return table


def _optimum(one: "OptimalLR | None") -> str:
    """Return a best learning rate, on the side of the grid's end where it may lie beyond."""
    if one is None:
        return "–"
    sign = {"low end": "≤ ", "high end": "≥ "}.get(one.where, "")
    return f"{sign}{format_rate(one.lr_opt)}"


def _summary(fit: "Fit") -> Table:
    keys = [group.key for group in fit.groups]
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("", "exponent", "95 % interval", "law", "straight\nline", "prediction"):
        table.add_column(name)
    for group in fit.groups:
        naive = group.naive_slope
        table.add_row(
            Text(group_title(group.key, keys), style="bold"),
            "–" if group.exponent is None else format_exponent(group.exponent),
            "–" if group.exponent_ci is None else format_interval(group.exponent_ci),
            group.law or "–",
            format_exponent(naive.exponent) if naive else "–",
            _prediction(group),
        )
    return table


def _prediction(group: "GroupFit") -> Text:
    """Return the predicted exponent and what became of it."""
    if group.refused and group.check.outcome is None:
        return Text("no law fitted", style="yellow")
    if group.check.outcome is None or group.check.predicted is None:
        return Text("none", style="dim")
    word = str(group.check.outcome)
    return Text(f"{format_number(group.check.predicted)} {word}", style=_OUTCOME_STYLES[word])


def show_recommendation(advice: "Recommendation | DampingRecommendation", console: Console) -> None:
    """Print what to train with at a batch size, what the rules say, and what to know."""
    from analysis.forecasting.learning_rate import Recommendation

    if isinstance(advice, Recommendation):
        _show_lr(advice, console)
    else:
        _show_damping(advice, console)
    for note in advice.notes:
        console.print(Text(note, style="yellow"))


def _show_damping(advice: "DampingRecommendation", console: Console) -> None:
    place = f"At batch size {advice.batch_size} and lr {advice.lr:g}"
    if advice.damping is None or advice.damping_min is None or advice.damping_min_ci is None:
        console.print(Text(advice.refused or "", style="yellow"))
        return
    use = f"{place}, train with damping = {format_rate(advice.damping)}."
    console.print(Text(use, style="bold"))
    console.print(
        Text(
            f"damping_min = {format_rate(advice.damping_min)} "
            f"{format_lr_interval(advice.damping_min_ci)}; safety factor {advice.safety:g}."
        )
    )


def _show_lr(advice: "Recommendation", console: Console) -> None:
    size = advice.batch_size
    if advice.lr is None or advice.lr_max is None or advice.lr_max_ci is None:
        console.print(Text(advice.refused or "", style="yellow"))
    else:
        console.print(
            Text(f"At batch size {size}, train with lr = {format_rate(advice.lr)}.", style="bold")
        )
        console.print(
            Text(
                f"LR_max({size}) = {format_rate(advice.lr_max)} "
                f"{format_lr_interval(advice.lr_max_ci)}; safety factor {advice.safety:g}."
            )
        )
    if advice.lr_opt is not None and advice.lr_opt_ci is not None:
        console.print(
            Text(
                f"The loss is lowest at about lr_opt({size}) = {format_rate(advice.lr_opt)} "
                f"{format_lr_interval(advice.lr_opt_ci)}."
            )
        )
    for rule in advice.rules:
        console.print(
            Text(
                f"The {rule.name} rule from the nearest measured batch size "
                f"{advice.nearest_batch_size} would say LR_max = {format_rate(rule.lr_max)}, "
                f"lr = {format_rate(rule.lr)}.",
                style="dim",
            )
        )
