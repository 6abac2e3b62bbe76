"""The measured exponent held against theory: confirmed, refuted, or not enough known."""

from collections.abc import Mapping

from analysis.axes import AxisName
from analysis.summaries import Check, Exponents, Outcome

# An exponent this close to the predicted one counts as the predicted one (statistics.md).
MARGIN = 0.1

# 1: the noise of a step is what lr^2/B leaves (mean-square stability, Ma, Bassily, Belkin 2018).
# 1/2: the second moment's root shrinks like B^(-1/2) in noise (method.md, "Adam, sqrt B").
# NAdam and RAdam have Adam's second moment; Adamax has a maximum of |g| over a window, which in
# noise shrinks like its deviation, B^(-1/2), too. RAdam's first five steps are momentum's.
# Adagrad (its steps shrink, so the first decide), Adadelta (numerator and denominator shrink
# alike), Muon (steps of one length), Lion, LAMB and others have no entry: no derivation we would
# stand by.
_PREDICTED = {
    **dict.fromkeys(("sgd", "momentum", "nesterov"), 1.0),
    **dict.fromkeys(("adam", "adamw", "amsgrad", "nadam", "radam", "adamax", "rmsprop"), 0.5),
}

# For any optimizer: "minimal damping is proportional to lr over batch size", a claim of the
# abstract that started this project, tested here and not derived (method.md, "The damping").
_PREDICTED_DAMPING = 1.0


def base_name(optimizer: str) -> str:
    """Strip the hyperparameters from an optimizer's label.

    Args:
        optimizer: A label such as ``adam(beta1=0.95)``.

    Returns:
        The bare name in lower case.

    Example:
        >>> base_name("Adam(beta1=0.95)")
        'adam'
    """
    return optimizer.split("(", maxsplit=1)[0].strip().lower()


def predict_exponent(
    optimizer: str,
    predicted: Mapping[str, float | None] | None = None,
    axis: AxisName = AxisName.LR,
) -> float | None:
    """Look up the exponent that theory gives an optimizer.

    Args:
        optimizer: Its label.
        predicted: The user's own predictions, by label or bare name; they come first.
        axis: What is searched; the claim about the damping is the same for every optimizer.

    Returns:
        The exponent, None when no theory gives one.

    Example:
        >>> predict_exponent("sgd"), predict_exponent("adamw(weight_decay=0.1)")
        (1.0, 0.5)
        >>> predict_exponent("lion") is None, predict_exponent("lion", {"lion": 0.5})
        (True, 0.5)
        >>> predict_exponent("adam", axis=AxisName.DAMPING)
        1.0
    """
    name = base_name(optimizer)
    theory = {name: _PREDICTED_DAMPING} if axis is AxisName.DAMPING else _PREDICTED
    for table in (predicted or {}, theory):
        for label in (optimizer, name):
            if label in table:
                return table[label]
    return None


def check_exponent(
    predicted: float | None,
    exponent_ci: tuple[float, float] | None,
    exponent_ci90: tuple[float, float] | None,
    margin: float = MARGIN,
) -> Check:
    """Compare an interval with the predicted exponent.

    Confirmed when the 90 % interval lies inside ``predicted ± margin`` (two one-sided tests at
    5 %), refuted when the 95 % interval excludes ``predicted``, else inconclusive. Both can hold
    (at most 6 % of the time): then it is confirmed, and the reason says so.

    Args:
        predicted: What theory says, None when nothing.
        exponent_ci: 95 % interval, None when the fit was refused.
        exponent_ci90: 90 % interval, None when the fit was refused.
        margin: Half-width of the equivalence region.

    Returns:
        The check with a sentence of numbers.

    Example:
        >>> check_exponent(0.5, (0.44, 0.55), (0.45, 0.54)).reason
        'The 90 % interval [0.450, 0.540] lies inside 0.5 ± 0.1.'
        >>> check_exponent(1.0, (0.70, 0.83), (0.72, 0.81)).outcome.value
        'refuted'
    """
    if exponent_ci is None or exponent_ci90 is None:
        return Check(predicted, margin, None, "No law was fitted, so there is nothing to check.")
    if predicted is None:
        return Check(None, margin, None, "No exponent is predicted for this optimizer.")
    low, high = exponent_ci
    wide, narrow = _show(exponent_ci), _show(exponent_ci90)
    region = f"{predicted:g} ± {margin:g}"
    excluded = not low <= predicted <= high
    if predicted - margin <= exponent_ci90[0] and exponent_ci90[1] <= predicted + margin:
        also = f", although the 95 % interval {wide} excludes {predicted:g}" if excluded else ""
        reason = f"The 90 % interval {narrow} lies inside {region}{also}."
        return Check(predicted, margin, Outcome.CONFIRMED, reason)
    if excluded:
        reason = f"The 95 % interval {wide} excludes {predicted:g}."
        return Check(predicted, margin, Outcome.REFUTED, reason)
    reason = (
        f"The 95 % interval {wide} includes {predicted:g}, "
        f"but the 90 % interval {narrow} does not lie inside {region}."
    )
    return Check(predicted, margin, Outcome.INCONCLUSIVE, reason)


def check_apart(predicted: float | None, apart: Exponents, margin: float = MARGIN) -> Check:
    """Hold the claim "like a power of lr/B" against exponents fitted apart, where no law held.

    Args:
        predicted: The exponent claimed for lr/B, None when nothing.
        apart: Exponents of learning rate and batch size that differ.
        margin: Half-width of the equivalence region, for the record.

    Returns:
        Refuted, unless nothing was claimed or the exponents may be the same.

    Example:
        >>> apart = Exponents(1.0, (0.9, 1.1), 0.5, (0.4, 0.6), (0.4, 0.6))
        >>> check_apart(1.0, apart).outcome.value
        'refuted'
    """
    if predicted is None or apart.agree:
        return check_exponent(predicted, None, None, margin)
    reason = (
        "Learning rate and batch size have exponents of their own: the 95 % interval of their "
        f"difference {_show(apart.difference_ci)} excludes 0, so no power of lr/B describes it."
    )
    return Check(predicted, margin, Outcome.REFUTED, reason)


def _show(interval: tuple[float, float]) -> str:
    """Write an interval with three decimals."""
    return f"[{interval[0]:.3f}, {interval[1]:.3f}]"
