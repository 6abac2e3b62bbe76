"""Words for a searched damping: what learning rate and batch size do, together and apart."""

from analysis.fitting.joint_laws import IN_BATCH, natural_parameters
from analysis.summaries import Exponents, GroupFit, LawFit
from analysis.words.formatting import format_exponent, format_interval, format_number


def growth_apart(apart: Exponents) -> str:
    """Write a damping as powers of learning rate and batch size.

    Args:
        apart: Exponents of boldness that were fitted apart.

    Returns:
        Both powers with their intervals.

    Example:
        >>> growth_apart(Exponents(1.0, (0.9, 1.1), 0.5, (0.4, 0.6), (0.3, 0.7)))
        'lr^1.00 [0.90, 1.10] times B^−0.50 [−0.60, −0.40]'
    """
    return (
        f"lr^{format_exponent(apart.lr)} {format_interval(apart.lr_ci)} times "
        f"B^{format_exponent(-apart.batch_size)} "
        f"{format_interval((-apart.batch_size_ci[1], -apart.batch_size_ci[0]))}"
    )


def describe_apart(group: GroupFit) -> str:
    """Say what learning rate and batch size do apart, where the axis is another.

    Args:
        group: A fitted or refused group.

    Returns:
        One or two sentences; empty where the two were not fitted apart.
    """
    if group.apart is None:
        return ""
    low, high = group.apart.difference_ci
    together = (
        "the two agree, as they must if only lr/B counts"
        if group.apart.agree
        else "the two differ, so lr/B alone is not what counts"
    )
    text = (
        f"Fitted apart, it grew like {growth_apart(group.apart)} at small batch sizes: {together} "
        f"(difference {format_interval((low, high))})."
    )
    if group.law is None or not group.law.endswith(IN_BATCH):
        return text
    return (
        f"{text} Where the growth ends, it is the batch size alone that ends it: beyond, the "
        f"{group.axis.edge} is still proportional to a power of the learning rate, and points at "
        "one lr/B part."
    )


def describe_ratio_shape(law: LawFit, group: GroupFit) -> str:
    """Say down to which lr/B a law's growth goes, and what comes below.

    Args:
        law: A law in lr/B.
        group: The group it was fitted to.

    Returns:
        The end of a sentence.
    """
    ratios = [
        float(group.axis.chart(edge.batch_size, edge.lr or 1.0, group.num_examples))
        for edge in group.edges
    ]
    smallest, largest = min(ratios), max(ratios)
    bend = natural_parameters(law, group.axis).get("ratio_star")
    if bend is None or bend < smallest:
        ends = f"{format_number(smallest, 2)} to {format_number(largest, 2)}"
        return f"over all lr/B measured ({ends})"
    turned = law.parameters.get("q", 0.0) > 0
    then = "turned up" if turned else "levelled off"
    if bend > largest:
        return (
            f"only above the lr/B measured: it had already {then} at {format_number(largest, 2)}, "
            "so this slope is extrapolated"
        )
    return f"down to about lr/B = {format_number(bend, 2)} and then {then}"
