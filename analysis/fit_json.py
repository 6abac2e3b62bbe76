"""A fit as JSON: fit.json, schema 1."""

import json
import math
import re
from pathlib import Path
from typing import Any

from analysis.axes import LR_AXIS, Axis, AxisName
from analysis.edge_summaries import MedianEdge
from analysis.files.places import find_place
from analysis.files.whole_files import write_whole
from analysis.fitting.joint_laws import natural_parameters
from analysis.optimal.summaries import OptimalFit, OptimalLR
from analysis.summaries import Check, Exponents, Fit, GroupFit, LawFit

FIT_SCHEMA = 1

# What JSON may hold as it is, but a terminal that shows it would obey; json escapes the others.
_CONTROL = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def _number(value: float | None) -> float | None:
    """Return a number that JSON has, None for infinity and NaN."""
    return None if value is None or not math.isfinite(value) else float(value)


def _interval(ends: tuple[float, float] | None) -> list[float | None] | None:
    """Return both ends."""
    return None if ends is None else [_number(end) for end in ends]


def _edge(edge: MedianEdge, axis: Axis) -> dict[str, Any]:
    """Return an edge in the axis' own values, under keys that say which they are."""
    place = {"batch_size": edge.batch_size} | ({} if edge.lr is None else {"lr": edge.lr})
    symbol = "lr_max" if axis.name is AxisName.LR else "damping_min"
    return place | {
        "num_seeds": edge.num_seeds,
        symbol: _number(axis.show(edge.median)),
        f"{symbol}_ci": _interval(axis.show_interval(edge.median_ci)),
        f"{axis.name}_stable": _number(axis.show(edge.stable)),
        f"{axis.name}_diverged": _number(axis.show(edge.diverged)),
        "censored": edge.censored.seen_on(axis).value,
    }


def _law(law: LawFit, axis: Axis) -> dict[str, Any]:
    parameters = natural_parameters(law, axis)
    return {
        "name": law.name,
        "parameters": {name: _number(value) for name, value in parameters.items()},
        "exponent": _number(law.exponent),
        "exponent_ci": _interval(law.exponent_ci),
        "log_likelihood": _number(law.log_likelihood),
        "aicc": _number(law.aicc),
    }


def _exponents_apart(apart: Exponents | None) -> dict[str, Any] | None:
    """Return the exponents of ``damping_min ~ lr^a B^-b`` that were fitted apart."""
    return (
        None
        if apart is None
        else {
            "lr": _number(apart.lr),
            "lr_ci": _interval(apart.lr_ci),
            "batch_size": _number(apart.batch_size),
            "batch_size_ci": _interval(apart.batch_size_ci),
            "difference_ci": _interval(apart.difference_ci),
        }
    )


def _group(group: GroupFit) -> dict[str, Any]:
    naive, key = group.naive_slope, group.key
    apart = {} if key.axis is AxisName.LR else {"apart": _exponents_apart(group.apart)}
    return {
        "task": key.task,
        "method": key.method,
        "optimizer": key.optimizer,
        "start": key.start,
        "horizon": key.horizon,
        "recipe": key.recipe,
        "axis": key.axis.value,
        "num_trials": group.num_trials,
        "num_failed": group.num_failed,
        "edges": [_edge(edge, group.axis) for edge in group.edges],
        "laws": [_law(law, group.axis) for law in group.laws],
        "law": group.law,
        "exponent": _number(group.exponent),
        "exponent_ci": _interval(group.exponent_ci),
        **apart,
        "naive_slope": None
        if naive is None
        else {
            "exponent": _number(naive.exponent),
            "exponent_ci": _interval(naive.exponent_ci),
        },
        "check": _check(group.check),
        "warnings": list(group.warnings),
        "refused": group.refused,
        "optimal": None if group.optimal is None else _optimal(group.optimal),
    }


def _check(check: Check) -> dict[str, Any]:
    return {
        "predicted": _number(check.predicted),
        "margin": check.margin,
        "outcome": None if check.outcome is None else check.outcome.value,
        "reason": check.reason,
    }


def _optimum(one: OptimalLR) -> dict[str, Any]:
    return {
        "batch_size": one.batch_size,
        "num_seeds": one.num_seeds,
        "lr_opt": _number(one.lr_opt),
        "lr_opt_ci": _interval(one.lr_opt_ci),
        "loss": _number(one.loss),
        "at_edge": one.at_edge,
        "where": one.where.value,
    }


def _optimal(optimal: OptimalFit) -> dict[str, Any]:
    """Return the learning rates with the lowest loss, and their laws."""
    return {
        "loss_column": optimal.loss_column,
        "lrs": [_optimum(one) for one in optimal.lrs],
        "laws": [_law(law, LR_AXIS) for law in optimal.laws],
        "law": optimal.law,
        "exponent": _number(optimal.exponent),
        "exponent_ci": _interval(optimal.exponent_ci),
        "check": _check(optimal.check),
        "warnings": list(optimal.warnings),
        "refused": optimal.refused,
    }


def to_json(fit: Fit) -> dict[str, Any]:
    """Return a fit as JSON-able data, schema 1.

    JSON has neither infinity nor NaN: an open end of an interval, an ``lr_diverged`` that no trial
    reached and the AICc of a law with too few edges are null. An ``lr_stable`` of 0 says that
    no learning rate was stable.

    Where the damping was searched, an edge has ``lr``, ``damping_min``, ``damping_min_ci``,
    ``damping_stable`` and ``damping_diverged`` in place of the learning rates, in dampings (a
    ``damping_stable`` of null says that none was stable, a ``damping_diverged`` of 0 that all
    were); ``censored`` says on which side of the grid of dampings the edge lies; laws are those
    of damping_min in lr/B, and ``apart`` holds a and b of ``lr^a B^-b``, fitted apart.

    ``optimal`` holds the learning rates with the lowest ``loss_column`` and their laws; null where
    the damping was searched or the table has no losses. ``at_edge`` says that the optimum may lie
    beyond the grid, ``where`` is inside, low end, high end or steep (beside learning rates that
    lose everything); an end of ``lr_opt_ci`` that nothing bounds is 0 or null.

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
    path = find_place(path)
    text = json.dumps(to_json(fit), indent=2, ensure_ascii=False, allow_nan=False)
    write_whole(path, (_CONTROL.sub(_escape, text) + "\n").encode())


def _escape(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"
