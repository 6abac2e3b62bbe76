"""What is wrong with a foreign table, in the words of an error that mends it."""

from collections.abc import Iterable
from difflib import get_close_matches

import numpy as np
import pandas as pd

from analysis.errors import AnalysisError

# What people call our columns elsewhere, for the hint in an error. A guess from public tables.
_ALIASES = {
    "batch_size": ("batch", "bs", "batchsize", "B", "train_batch_size", "global_batch_size"),
    "lr": ("learning_rate", "learningrate", "eta", "step_size", "max_lr", "base_lr"),
    "damping": ("eps", "epsilon", "lambda", "tikhonov", "ridge"),
    "verdict": ("status", "outcome", "state", "result"),
}


class ResultsError(AnalysisError):
    """A table that cannot be used, in one line that says what to do about it."""


def nearest_column(name: str, candidates: Iterable[str]) -> str | None:
    """Return the candidate that most likely means the same."""
    by_lower = {candidate.lower(): candidate for candidate in candidates}
    for alias in _ALIASES.get(name, ()):
        if alias.lower() in by_lower:
            return by_lower[alias.lower()]
    close = get_close_matches(name.lower(), by_lower, n=1, cutoff=0.6)
    return by_lower[close[0]] if close else None


def list_names(names: Iterable[object]) -> str:
    """Return the first dozen names, for an error."""
    words = [str(name) for name in names]
    return ", ".join(words[:12]) + (", …" if len(words) > 12 else "")


def first_row(bad: pd.Series | np.ndarray) -> str:
    """Name the first bad row as people count."""
    return f"row {int(np.flatnonzero(np.asarray(bad, dtype=bool))[0]) + 1}"
