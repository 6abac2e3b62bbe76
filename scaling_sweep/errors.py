"""The one exception that is shown to a person as one line."""


class UserError(Exception):
    """A mistake the user can mend: its message is the one line shown, and the exit status is 1.

    The message says where the mistake is, what was given and what to write instead.
    Anything else that goes wrong is ours to mend and keeps its traceback.

    Example:
        >>> str(UserError("sweeps/digits.yaml:9: seeds: must be at least 1, got 0"))
        'sweeps/digits.yaml:9: seeds: must be at least 1, got 0'
    """
