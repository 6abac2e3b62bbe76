"""When the copies of a pack that have diverged are let go, as pure arithmetic."""

# Letting go moves every copy that stays: about half a step of the digits MLP, under SGD and under
# Adam (measured). It is done where it saves at least so many steps of the whole pack.
_STEPS_SAVED_AT_LEAST = 2


def is_worth_dropping(num_dead: int, num_copies: int, num_steps_left: int) -> bool:
    """Tell whether letting go of diverged copies saves more than it costs.

    Args:
        num_dead: Copies whose loss is not finite any more, and never will be.
        num_copies: Copies that are still computed, those included.
        num_steps_left: Steps until the horizon.

    Returns:
        Whether the arrays should shrink now.

    Example:
        >>> is_worth_dropping(1, 48, 290), is_worth_dropping(1, 48, 30)
        (True, False)
    """
    return num_dead * num_steps_left >= _STEPS_SAVED_AT_LEAST * num_copies and num_dead > 0
