"""What the report says about theories, in words a newcomer understands."""

import numpy as np

from analysis.agreement import Agreement
from analysis.curvature_table import CurvatureTable
from analysis.edge_summaries import Censoring
from analysis.summaries import GroupFit
from analysis.theory.beside import TheoryComparison
from analysis.theory.curves import Bound, Confidence, TheoryCurve
from analysis.words.agreement import describe_exponents
from analysis.words.formatting import format_exponent, format_number, join_words

# Up to here a theory is said to explain a model, beyond the second to miss it (a choice: 25 % is
# about the step of a grid of learning rates, a factor of 2 what people retune for).
_EXPLAINS = float(np.log(1.25))
_MISSES = float(np.log(2))

MARKS = {
    Confidence.DERIVED: "derived",
    Confidence.SOURCE: "source",
    Confidence.RECONSTRUCTION: "reconstruction",
}
"""How sure we are of a formula, in one word."""

KINDS = {Bound.ESTIMATE: "", Bound.UPPER: "upper bound", Bound.LOWER: "lower bound"}
"""What a curve claims to be, where that is not simply an estimate."""


def describe_marks() -> str:
    """Explain the confidence marks in one sentence.

    Returns:
        Each mark with what it stands for.

    Example:
        >>> describe_marks().split(";")[0]
        'Derived: derived here and checked by simulation'
    """
    return f"{_capital('; '.join(f'{mark}: {what.value}' for what, mark in MARKS.items()))}."


def describe_basis(curve: TheoryCurve) -> str:
    """Say how sure we are of a curve and what it claims to be.

    Args:
        curve: A theory's curve.

    Returns:
        The confidence mark, and whether it is a bound.
    """
    kind = KINDS[curve.bound]
    return f"{MARKS[curve.confidence]}, {kind}" if kind else MARKS[curve.confidence]


def theory_claim(comparison: TheoryComparison) -> str:
    """Say in one sentence which theory explains a model best, and from where.

    Args:
        comparison: Of one group.

    Returns:
        The sentence; why there is nothing to compare, when there is not.
    """
    if comparison.silence:
        return comparison.silence
    best = comparison.nearest.agreements[0]
    if best.log_error is None:
        return "No theory speaks at any batch size where an edge was measured."
    name = f"{_name(best)} from curvature at {best.curve.point}"
    size = (
        f"typically off by a factor of {_factor(best.log_error)} "
        f"(r.m.s. log error {format_exponent(best.log_error)} over {_count(best)})"
    )
    if best.log_error > _MISSES:
        return f"No theory explains the measurement: {name} comes closest and is {size}."
    if best.log_error > _EXPLAINS:
        return f"No theory is close everywhere: {name} comes closest, {size}."
    return f"{name} explains the measurement best, {size}."


def theory_details(comparison: TheoryComparison) -> str:
    """Say where the closest theory fails, and what its closeness is worth.

    Args:
        comparison: Of one group.

    Returns:
        A few sentences; empty when there is nothing to compare.
    """
    if comparison.silence or comparison.nearest.agreements[0].log_error is None:
        return ""
    best = comparison.nearest.agreements[0]
    asides = (_describe_choice(comparison), _describe_first(comparison))
    parts = (theory_sentence(best), describe_exponents(best), *asides)
    return " ".join(part for part in parts if part)


def theory_sentence(agreement: Agreement) -> str:
    """Say where a theory holds and fails, without its name.

    Args:
        agreement: A comparison.

    Returns:
        One sentence.
    """
    return _capital(agreement.sentence.removeprefix(f"{agreement.curve.name}: "))


def _name(agreement: Agreement) -> str:
    """Return a theory's name with whatever makes it less than a sourced estimate."""
    curve = agreement.curve
    mark = MARKS[curve.confidence] if curve.confidence is Confidence.RECONSTRUCTION else ""
    less = ", ".join(word for word in (mark, KINDS[curve.bound]) if word)
    return f"“{curve.name}” ({less})" if less else f"“{curve.name}”"


def _count(agreement: Agreement) -> str:
    num = len(agreement.ratios)
    return f"{num} batch size{'' if num == 1 else 's'}"


def _factor(log_error: float) -> str:
    return format_number(float(np.exp(log_error)), 2 if log_error > np.log(1.1) else 3)


def _capital(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}"


def _describe_choice(comparison: TheoryComparison) -> str:
    """Say among how many curves the closest was chosen."""
    num = sum(len(point.agreements) for point in comparison.points)
    if num < 2:
        return "Nothing was fitted."
    theories, points = len(comparison.names), len(comparison.points)
    return (
        f"Nothing was fitted, but it is the closest of {num} curves ({theories} "
        f"{'theory' if theories == 1 else 'theories'} at {points} "
        f"point{'' if points == 1 else 's'}), chosen after the measurement."
    )


def _describe_first(comparison: TheoryComparison) -> str:
    """Say what the first point would have said, where another one is closest."""
    first = comparison.points[0]
    known = [found for found in first.agreements if found.log_error is not None]
    if first is comparison.nearest or not known or known[0].log_error is None:
        return ""
    return (
        f"From {first.point} alone, the closest would be {_name(known[0])}, off by a factor of "
        f"{_factor(known[0].log_error)}."
    )


def choose_sizes(group: GroupFit, num: int = 4) -> tuple[int, ...]:
    """Choose batch sizes to show ratios at: the ends and some between them.

    Args:
        group: A group with edges.
        num: How many at most, at least 2.

    Returns:
        Batch sizes with an edge inside the grid, ascending.
    """
    sizes = [edge.batch_size for edge in group.edges if edge.censored is Censoring.NONE]
    places = np.linspace(0, len(sizes) - 1, min(num, len(sizes))).round().astype(int)
    return tuple(sizes[place] for place in places)


def ratio_at(agreement: Agreement, batch_size: int) -> str:
    """Write measured over predicted at one batch size.

    Args:
        agreement: A comparison.
        batch_size: Examples per step.

    Returns:
        A factor, a dash where there is none.
    """
    found = [ratio for ratio in agreement.ratios if ratio.batch_size == batch_size]
    return format_number(float(np.exp(found[0].log_ratio)), 2) if found else "–"


def describe_measurement(table: CurvatureTable) -> str:
    """Say what the curvature was measured on, and at what cost.

    Args:
        table: What was measured.

    Returns:
        A few sentences.
    """
    facts, seeds = table.facts, len(table.seeds)
    over = "" if facts.num_examples is None else f" over {facts.num_examples:,} examples"
    parts = [
        f"Measured at {join_words(table.points)}, under {seeds} "
        f"seed{'' if seeds == 1 else 's'}{over}."
    ]
    if facts.policy:
        parts.append(f"BatchNorm and dropout: {facts.policy}.")
    if facts.num_products:
        parts.append(
            f"It took {facts.num_products:,} products with the matrix of all the data and "
            f"{format_number(facts.wall_time_s, 2)} s."
        )
    parts += [f"{_capital(note)}." for note in facts.notes]
    return " ".join(parts)
