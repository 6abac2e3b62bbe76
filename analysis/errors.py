"""The exceptions of the analysis half that are shown to a person as one line."""


class AnalysisError(ValueError):
    """A table or a request that cannot be used; the message says what to do about it.

    Example:
        >>> str(AnalysisError("x.csv has no column lr: name it with --map lr=COLUMN"))
        'x.csv has no column lr: name it with --map lr=COLUMN'
    """


class StoreError(AnalysisError, OSError):
    """A store behind a URL that does not answer, or does not allow what is asked."""
