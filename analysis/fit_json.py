"""A fit as JSON: fit.json, schema 1."""

import json
import math
from pathlib import Path
from typing import Any

from analysis.summaries import Fit, GroupFit, LawFit, MaxLR

FIT_SCHEMA = 1


def _number(value: float | None) -> float | None:
    """Return a number that JSON has, None for infinity and NaN."""
    return None if value is None or not math.isfinite(value) else float(value)


def _interval(ends: tuple[float, float] | None) -> list[float | None] | None:
    """Return both ends."""
    return None if ends is None else [_number(end) for end in ends]


def _edge(edge: MaxLR) -> dict[str, Any]:
    return {
        "batch_size": edge.batch_size,
        "num_seeds": edge.num_seeds,
        "lr_max": _number(edge.lr_max),
        "lr_max_ci": _interval(edge.lr_max_ci),
        "lr_stable": _number(edge.lr_stable),
        "lr_diverged": _number(edge.lr_diverged),
        "censored": edge.censored.value,
    }


def _law(law: LawFit) -> dict[str, Any]:
    return {
        "name": law.name,
        "parameters": {name: _number(value) for name, value in law.parameters.items()},
        "exponent": _number(law.exponent),
        "exponent_ci": _interval(law.exponent_ci),
        "log_likelihood": _number(law.log_likelihood),
        "aicc": _number(law.aicc),
    }


def _group(group: GroupFit) -> dict[str, Any]:
    naive, check, key = group.naive_slope, group.check, group.key
    return {
        "task": key.task,
        "method": key.method,
        "optimizer": key.optimizer,
        "start": key.start,
        "horizon": key.horizon,
        "num_trials": group.num_trials,
        "num_failed": group.num_failed,
        "edges": [_edge(edge) for edge in group.edges],
        "laws": [_law(law) for law in group.laws],
        "law": group.law,
        "exponent": _number(group.exponent),
        "exponent_ci": _interval(group.exponent_ci),
        "naive_slope": None
        if naive is None
        else {
            "exponent": _number(naive.exponent),
            "exponent_ci": _interval(naive.exponent_ci),
        },
        "check": {
            "predicted": _number(check.predicted),
            "margin": check.margin,
            "outcome": None if check.outcome is None else check.outcome.value,
            "reason": check.reason,
        },
        "warnings": list(group.warnings),
        "refused": group.refused,
    }


def to_json(fit: Fit) -> dict[str, Any]:
    """Return a fit as JSON-able data, schema 1.

    JSON has neither infinity nor NaN: an open end of an interval, an ``lr_diverged`` that no trial
    reached and the AICc of a law with too few edges are null. An ``lr_stable`` of 0 says that
    no learning rate was stable.

    Args:
        fit: The fit.

    Returns:
        Nested dicts and lists with the keys of schema 1.

    Example:
        >>> to_json(Fit("table.csv", ()))
        {'schema': 1, 'source': 'table.csv', 'groups': []}
    """
    return {
        "schema": FIT_SCHEMA,
        "source": fit.source,
        "groups": [_group(group) for group in fit.groups],
    }


def write_fit_json(fit: Fit, path: Path | str) -> None:
    """Write fit.json: to a temporary name first, then renamed.

    Args:
        fit: The fit.
        path: Where to write; replaced when it exists.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.tmp")
    text = json.dumps(to_json(fit), indent=2, ensure_ascii=False, allow_nan=False)
    temporary.write_text(text + "\n", encoding="utf-8")
    temporary.replace(path)
