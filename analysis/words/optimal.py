"""Sentences about the best learning rate, for the report, the terminal and recommendations."""

import numpy as np

from analysis.edge_summaries import Censoring
from analysis.optimal.bowls import Where
from analysis.optimal.summaries import OptimalFit, OptimalLR
from analysis.summaries import GroupFit, Outcome
from analysis.words.formatting import (
    format_exponent,
    format_interval,
    format_lr_interval,
    format_number,
    format_rate,
)

WHERE_NOTES = {
    Where.INSIDE: "",
    Where.LOW_END: "at the low end of the grid",
    Where.HIGH_END: "at the high end of the grid",
    Where.STEEP: "beside a cliff",
}
"""What a table says beside an optimum."""

_VERDICTS = {
    Outcome.CONFIRMED: "For it {edge} is confirmed.",
    Outcome.REFUTED: "For it {edge} is refuted.",
    Outcome.INCONCLUSIVE: "Whether {edge} holds for it stays open.",
}


def describe_growth(optimal: OptimalFit) -> str:
    """Say how the best learning rate grows with batch size.

    Args:
        optimal: What was found.

    Returns:
        A sentence or two.
    """
    what = optimal.loss_column.replace("_", " ")
    if optimal.exponent is None or optimal.exponent_ci is None:
        return f"No law was fitted to lr_opt, the best learning rate by {what}: {optimal.refused}"
    grew = (
        f"The learning rate with the lowest {what}, lr_opt, grew like "
        f"B^{format_exponent(optimal.exponent)} {format_interval(optimal.exponent_ci)} at small "
        f"batches ({optimal.law} law)."
    )
    if optimal.check.outcome is None or optimal.check.predicted is None:
        return grew
    edge = f"the exponent predicted for the edge, {format_number(optimal.check.predicted)},"
    return f"{grew} {_VERDICTS[optimal.check.outcome].format(edge=edge)}"


def find_share(group: GroupFit) -> tuple[float, float, float] | None:
    """Compute the best learning rate as a share of the largest stable one.

    Args:
        group: A group.

    Returns:
        Median, smallest and largest share over the batch sizes where both lie inside the grid;
        None where there is none.
    """
    known = {e.batch_size: e.median for e in group.edges if e.censored is Censoring.NONE}
    optima = group.optimal.lrs if group.optimal else ()
    shares = [
        one.lr_opt / known[one.batch_size]
        for one in optima
        if one.batch_size in known and not one.at_edge
    ]
    if not shares:
        return None
    return float(np.median(shares)), min(shares), max(shares)


def describe_share(group: GroupFit) -> str:
    """Say where the best learning rate lies below the edge.

    Args:
        group: A group.

    Returns:
        A sentence, empty where there is nothing to compare.
    """
    found = find_share(group)
    if found is None:
        return ""
    median, low, high = (format_number(share, 2) for share in found)
    return f"lr_opt is {median} of LR_max in the median batch size ({low} to {high})."


def describe_optimum(group: GroupFit) -> str:
    """Say what was found about the best learning rate of a group.

    Args:
        group: A group.

    Returns:
        Sentences; empty where the table has no losses.
    """
    if group.optimal is None:
        return ""
    return " ".join(
        part for part in (describe_growth(group.optimal), describe_share(group)) if part
    )


def describe_one(one: OptimalLR) -> str:
    """Write one optimum with its interval.

    Args:
        one: The optimum.

    Returns:
        Learning rates.

    Example:
        >>> describe_one(OptimalLR(8, 0.1, (0.05, 0.2), 1.0, Where.INSIDE))
        '0.100 [0.0500, 0.200]'
    """
    return f"{format_rate(one.lr_opt)} {format_lr_interval(one.lr_opt_ci)}"
