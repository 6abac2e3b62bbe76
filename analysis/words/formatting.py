"""Numbers and names as a reader likes them, the same in the terminal, the report and figures."""

from collections.abc import Sequence

import numpy as np

from analysis.axes import AXES
from analysis.summaries import GroupKey

# How the optimizers that we know are written in a sentence; any other name is shown as it stands.
_OPTIMIZER_NAMES = {
    "sgd": "SGD",
    "momentum": "momentum SGD",
    "nesterov": "Nesterov SGD",
    "adam": "Adam",
    "adamw": "AdamW",
    "rmsprop": "RMSprop",
    "nadam": "NAdam",
    "radam": "RAdam",
    "adagrad": "Adagrad",
    "adadelta": "Adadelta",
    "adamax": "Adamax",
    "muon": "Muon",
}


# The word before a part of a group's name that would not speak for itself.
_BEFORE = {"start": "from ", "recipe": "recipe "}


def format_number(value: float, digits: int = 3) -> str:
    """Write a number with so many significant digits, without an exponent where that is short.

    Args:
        value: Any float; infinities are written with the sign for them.
        digits: Significant digits to keep, at least 1.

    Returns:
        The shortest text that has these digits.

    Example:
        >>> format_number(0.0312499), format_number(512.0), format_number(2e-6)
        ('0.0312', '512', '2e-6')
    """
    if np.isinf(value):
        return "∞" if value > 0 else "−∞"
    if value == 0 or np.isnan(value):
        return "0" if value == 0 else "not a number"
    rounded = float(f"{value:.{digits - 1}e}")
    # The bounds are a matter of taste: 0.00012 can still be read, 0.000012 has to be counted.
    if 1e-4 <= abs(rounded) < 1e6:
        decimals = max(0, digits - 1 - int(np.floor(np.log10(abs(rounded)))))
        text = f"{rounded:.{decimals}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    mantissa, _, power = f"{rounded:.{digits - 1}e}".partition("e")
    mantissa = mantissa.rstrip("0").rstrip(".") if "." in mantissa else mantissa
    return f"{mantissa}e{int(power)}"


def format_exponent(exponent: float) -> str:
    """Write an exponent with two decimals, as all of them are shown.

    Args:
        exponent: A log-log slope.

    Returns:
        Two decimals, with a true minus sign.

    Example:
        >>> format_exponent(0.849), format_exponent(-0.5)
        ('0.85', '−0.50')
    """
    text = f"{exponent:.2f}"
    return "0.00" if text == "-0.00" else text.replace("-", "−")


def format_interval(interval: tuple[float, float]) -> str:
    """Write the interval of an exponent.

    Args:
        interval: Its lower and upper end.

    Returns:
        Both ends with two decimals, in brackets.

    Example:
        >>> format_interval((0.7, 0.934))
        '[0.70, 0.93]'
    """
    return f"[{format_exponent(interval[0])}, {format_exponent(interval[1])}]"


def format_rate(lr: float) -> str:
    """Write a learning rate with three significant digits, all of them shown.

    Args:
        lr: Not negative; infinite where the grid ended first. A damping is written alike.

    Returns:
        Text that lines up with other rates in a table.

    Example:
        >>> format_rate(0.13), format_rate(2.0), format_rate(float("inf")), format_rate(0.0)
        ('0.130', '2.00', '∞', '0')
    """
    text = format_number(lr)
    if not np.isfinite(lr) or lr == 0 or "e" in text:
        return text
    decimals = max(0, 2 - int(np.floor(np.log10(float(text)))))
    return f"{float(text):.{decimals}f}"


def format_lr_interval(interval: tuple[float, float]) -> str:
    """Write the interval of a learning rate.

    Args:
        interval: Its lower and upper end; 0 or infinity where the grid ended first.

    Returns:
        Both ends with three significant digits, in brackets.

    Example:
        >>> format_lr_interval((0.0442, float("inf")))
        '[0.0442, ∞]'
    """
    return f"[{format_rate(interval[0])}, {format_rate(interval[1])}]"


def join_words(words: Sequence[str], last: str = "and") -> str:
    """Join words as a sentence does.

    Args:
        words: What is listed.
        last: The word before the last one.

    Returns:
        The list as text; empty for no words.

    Example:
        >>> join_words(["1", "2", "4"])
        '1, 2 and 4'
    """
    if len(words) < 2:
        return "".join(words)
    return f"{', '.join(words[:-1])} {last} {words[-1]}"


UNKNOWN = "unknown"
"""What a table says that does not know its task, optimizer or horizon."""


def optimizer_name(optimizer: str) -> str:
    """Write an optimizer as people do.

    Args:
        optimizer: The name in the table, perhaps followed by its hyperparameters.

    Returns:
        The usual spelling, or the name as it stands where we know none.

    Example:
        >>> optimizer_name("adamw"), optimizer_name("adam(beta2=0.99)"), optimizer_name("lion")
        ('AdamW', 'Adam (beta2=0.99)', 'lion')
    """
    name, bracket, rest = optimizer.partition("(")
    known = _OPTIMIZER_NAMES.get(name.strip().lower())
    if known is None:
        return optimizer
    return f"{known} {bracket}{rest}" if bracket else known


def group_title(key: GroupKey, others: Sequence[GroupKey] = ()) -> str:
    """Name a group by its optimizer and by whatever else sets it apart.

    Args:
        key: The group to name.
        others: All groups of the table, this one may be among them.

    Returns:
        The optimizer, then the other parts of the key that differ between the groups.

    Example:
        >>> short = GroupKey("digits", "plain", "sgd", "init", "100 steps")
        >>> long = GroupKey("digits", "plain", "sgd", "init", "300 steps")
        >>> group_title(long, [short, long])
        'SGD · 300 steps'
    """
    known = key.optimizer not in ("", UNKNOWN)
    parts = [optimizer_name(key.optimizer)] if known else []
    for field in ("task", "method", "start", "horizon", "recipe"):
        value = getattr(key, field)
        if value and any(getattr(other, field) != value for other in others):
            parts.append(f"{_BEFORE.get(field, '')}{value}")
    if any(other.axis is not key.axis for other in others):
        parts.append(AXES[key.axis].word)
    return " · ".join(parts) or "All trials"
