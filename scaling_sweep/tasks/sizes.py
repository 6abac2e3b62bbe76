"""Sizes of models, as sweep files give them."""


def check_at_least(name: str, value: object, least: int) -> None:
    """Refuse a size that is no whole number, or too small.

    Args:
        name: As the sweep file writes it.
        value: What was given.
        least: The smallest that can be built.

    Raises:
        ValueError: If it cannot be a size; it says which and what was given.

    Example:
        >>> check_at_least("width", 0, 1)
        Traceback (most recent call last):
        ValueError: width must be a whole number, at least 1; got 0.
    """
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be a whole number, at least {least}; got {value!r}.")


def check_share(name: str, value: object) -> None:
    """Raise ValueError unless a value is a number from 0 to below 1.

    Args:
        name: How the sweep file calls it.
        value: What it says.

    Raises:
        ValueError: If it is something else.

    Example:
        >>> check_share("dropout", 1.5)
        Traceback (most recent call last):
        ValueError: dropout must be a number from 0 to below 1; got 1.5.
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1:
        raise ValueError(f"{name} must be a number from 0 to below 1; got {value!r}.")
