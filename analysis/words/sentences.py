"""The words: what a fit says, in sentences that a newcomer understands.

The terminal and the report print the same sentences, so they are made here and nowhere else.
All of it is plain text; an exponent is written ``B^0.85`` and whoever shows it may raise it.
"""

from analysis.criteria import Criterion, Kind, Reference
from analysis.edge_summaries import Censoring
from analysis.fitting.joint_laws import IN_BATCH
from analysis.summaries import GroupFit, GroupKey, Outcome
from analysis.words.damping import describe_ratio_shape, growth_apart
from analysis.words.formatting import (
    UNKNOWN,
    format_exponent,
    format_interval,
    format_number,
    optimizer_name,
)
from analysis.words.laws import describe_shape

OUTCOME_MEANINGS = {
    Outcome.CONFIRMED: "the 90 % interval lies within the margin around the predicted slope",
    Outcome.REFUTED: "the 95 % interval excludes the predicted slope",
    Outcome.INCONCLUSIVE: "the interval neither excludes the predicted slope nor pins it down",
}

CENSORING_NOTES = {
    Censoring.NONE: "",
    Censoring.LEFT: "edge below the grid",
    Censoring.RIGHT: "edge above the grid",
}
"""Beside which end of the grid an edge lies, in the axis' own values."""

REFUSAL_MEANING = (
    "Refused means that these trials cannot carry an exponent: a number could be computed, but it "
    "would say more about the grid or the law than about the optimizer."
)


def headline(group: GroupFit) -> str:
    """Say in one sentence what was found for a group.

    Args:
        group: A fitted or refused group.

    Returns:
        How the largest stable learning rate grew with the batch size, or the smallest stable
        damping with lr/B, and how that stands to the prediction; or why nothing can be said.

    Example:
        >>> from analysis.summaries import Check
        >>> check = Check(predicted=1.0, margin=0.1, outcome=None, reason="")
        >>> key = GroupKey("digits", "plain", "sgd", "init", "300 steps")
        >>> empty = GroupFit(key, 12, 0, (), (), (), None, None, None, None, check,
        ...                  refused="Every learning rate was stable.")
        >>> headline(empty)
        'Under SGD no exponent can be given. Every learning rate was stable.'
    """
    nameless = group.key.optimizer in ("", UNKNOWN)
    subject = "Here" if nameless else f"Under {optimizer_name(group.key.optimizer)}"
    best, axis = group.best_law(), group.axis
    if best is None or group.exponent is None or group.exponent_ci is None:
        if group.check.outcome is not None and group.apart is not None:
            return (
                f"{subject} the {axis.edge} grew like {growth_apart(group.apart)}, so not like a "
                f"power of lr/B; {_verdict(group)}."
            )
        return f"{subject} no exponent can be given. {group.refused or ''}".strip()
    growth = f"{axis.ratio}^{format_exponent(group.exponent)} {format_interval(group.exponent_ci)}"
    if not axis.inverse or best.name.endswith(IN_BATCH):
        shape = describe_shape(best, [edge.batch_size for edge in group.edges])
    else:
        shape = describe_ratio_shape(best, group)
    return f"{subject} the {axis.edge} grew like {growth} {shape}; {_verdict(group)}."


def _verdict(group: GroupFit) -> str:
    predicted, outcome = group.check.predicted, group.check.outcome
    if predicted is None:
        return "no slope is predicted for this optimizer"
    slope = f"slope {format_number(predicted)}"
    if outcome is None:
        return f"{slope} was not checked"
    return {
        Outcome.CONFIRMED: f"{slope} is confirmed",
        Outcome.REFUTED: f"{slope} is refuted",
        Outcome.INCONCLUSIVE: f"whether the slope is {format_number(predicted)} stays open",
    }[outcome]


def describe_naive_slope(group: GroupFit) -> str:
    """Say what the usual straight line would have claimed, and why it may mislead.

    Args:
        group: A fitted or refused group.

    Returns:
        One or two sentences.
    """
    naive, axis = group.naive_slope, group.axis
    if naive is None:
        return f"There are too few {axis.points[1]} with a stable {axis.word} for a straight line."
    line = (
        f"A straight line through the {axis.edge}s, as people usually draw it, has "
        f"slope {format_exponent(naive.exponent)} {format_interval(naive.exponent_ci)}."
    )
    if group.exponent is None or group.exponent_ci is None:
        return f"{line} It says nothing about whether a straight line is the right law."
    if group.exponent_ci[0] <= naive.exponent <= group.exponent_ci[1]:
        return f"{line} Here it lies inside the interval of the fitted laws."
    cause = (
        f"It averages the growth at {'large lr/B' if axis.inverse else 'small batch sizes'} with "
        "what comes after."
        if group.law != "power"
        else "It ignores where the grid ended before the edge did."
    )
    return f"{line} {cause}"


def describe_setting(key: GroupKey) -> str:
    """Say what was trained and how, as far as the table knows.

    Args:
        key: What the trials of a group share.

    Returns:
        One sentence; empty when the table knows nothing.

    Example:
        >>> describe_setting(GroupKey("digits_mlp", "plain", "sgd", "init", "300 steps"))
        'Task digits_mlp, method plain, start init, horizon 300 steps.'
    """
    known = [
        f"{name} {getattr(key, name)}"
        for name in ("task", "method", "start", "horizon", "recipe")
        if getattr(key, name) not in ("", UNKNOWN)
        and (name, getattr(key, name)) != ("recipe", "plain")
    ]
    text = ", ".join(known)
    return f"{text[:1].upper()}{text[1:]}." if known else ""


def describe_trials(group: GroupFit) -> str:
    """Say how many trials a group rests on, and what became of those that failed.

    Args:
        group: A fitted or refused group.

    Returns:
        One or two sentences.
    """
    seeds = len({edge.seed for edge in group.seed_edges})
    sizes = len({edge.batch_size for edge in group.edges})
    rates = len({edge.lr for edge in group.edges if edge.lr is not None})
    held = f"{rates} learning rate{_plural(rates)}, " if rates else ""
    text = (
        f"{group.num_trials:,} trials: {sizes} batch size{_plural(sizes)}, {held}"
        f"{seeds} seed{_plural(seeds)}."
    )
    if group.num_failed == 0:
        return text
    failed = f"{group.num_failed:,} of them failed, that is, gave no measurement"
    return f"{text} {failed}; they count neither as stable nor as diverged."


def describe_sensitivity(group: GroupFit) -> str:
    """Say how far the exponent moves with what is called stable.

    Args:
        group: With at least one entry in ``sensitivity``.

    Returns:
        One sentence.
    """
    exponents = [entry.exponent for entry in group.sensitivity if entry.exponent is not None]
    if not exponents:
        return "Under none of the other criteria tried can a law be fitted."
    span = f"{format_exponent(min(exponents))} to {format_exponent(max(exponents))}"
    return (
        f"Under {len(exponents)} of {len(group.sensitivity)} other criteria a law can be fitted; "
        f"its exponent spans {span}."
    )


def describe_criterion(criterion: Criterion | None) -> str:
    """Say when a trial counted as stable.

    Args:
        criterion: What was applied; None when a table came with verdicts of unknown origin.

    Returns:
        One or two sentences.

    Example:
        >>> describe_criterion(Criterion(Kind.FINITE))
        'A trial is stable when its loss stayed finite at every step.'
    """
    if criterion is None:
        return (
            "The table came with its verdicts, and they were taken as they stand: whoever made it "
            "judged the trials."
        )
    if criterion.kind is Kind.FINITE:
        return "A trial is stable when its loss stayed finite at every step."
    loss = {
        Kind.FINAL: "the loss after its last update",
        Kind.PEAK: "the highest training loss on its way, a mean over a window of examples,",
    }[criterion.kind]
    reference = {
        Reference.INITIAL: "the loss of the untrained model",
        Reference.START: "the loss where the trial began",
    }[criterion.reference]
    return (
        f"A trial is stable when its loss stayed finite and {loss} was at most "
        f"{format_number(criterion.ratio)} times {reference}. Otherwise it diverged."
    )


def _plural(count: int) -> str:
    return "" if count == 1 else "s"
