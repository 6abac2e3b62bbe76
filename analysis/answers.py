"""What the laws say about one set of edges: fitted, chosen, held against the prediction."""

from dataclasses import dataclass

import pandas as pd

from analysis.axes import Axis
from analysis.checks import check_apart, check_exponent
from analysis.edge_summaries import Edge
from analysis.fitting.fits import fit_apart, fit_laws
from analysis.fitting.intervals import hull
from analysis.refusals import refuse_edges, refuse_laws
from analysis.summaries import Check, Exponents, LawFit
from analysis.tables import ResultsError


@dataclass(frozen=True)
class Expected:
    """What the exponent is held against, and of which axis it is.

    Attributes:
        exponent: The exponent predicted, None where nothing is.
        margin: Half-width of the region around it that counts as equal to it.
        axis: The axis whose edges are meant.
    """

    exponent: float | None
    margin: float
    axis: Axis


@dataclass(frozen=True)
class Usable:
    """What the laws may be fitted to.

    Attributes:
        edges: The edges that carry noise of mini-batches.
        num_examples: How many examples batches were drawn from without replacement, None where
            they were drawn with replacement or nobody knows.
        warnings: What was left out or assumed.
        refused: Why no law may be fitted, None where one may.
    """

    edges: tuple[Edge, ...]
    num_examples: int | None
    warnings: tuple[str, ...] = ()
    refused: str | None = None


def select_usable(rows: pd.DataFrame, edges: tuple[Edge, ...]) -> Usable:
    """Leave out full batches, and settle how batches were drawn.

    Args:
        rows: Trials of one group, with columns ``sampling``, ``num_examples``, ``batch_size``.
        edges: Their edges.

    Returns:
        The edges that laws may be fitted to.

    Raises:
        ResultsError: If a batch is larger than the data it was drawn from without replacement.
    """
    samplings = rows["sampling"].unique()
    sizes = rows["num_examples"].dropna().unique()
    if len(samplings) > 1 or (samplings[0] == "epoch" and len(sizes) > 1):
        return Usable(
            edges,
            None,
            refused="The trials drew their batches in different ways or from data of different "
            "sizes: give them different task names, so that they are fitted apart.",
        )
    if samplings[0] != "epoch":
        return Usable(edges, None)
    if not len(sizes):
        warning = (
            "Batches were drawn without replacement, but the table does not say from how many "
            "examples (num_examples): treated as with replacement."
        )
        return Usable(edges, None, (warning,))
    num_examples = int(sizes[0])
    if rows["batch_size"].max() > num_examples:
        raise ResultsError(
            f"batch size {rows['batch_size'].max()} is larger than num_examples {num_examples}, "
            "which cannot be when sampling without replacement (sampling: epoch)"
        )
    kept = tuple(edge for edge in edges if edge.batch_size < num_examples)
    full = f"Batch size {num_examples} is all the data and has no noise: left out of the laws."
    return Usable(kept, num_examples, (full,) if len(kept) < len(edges) else ())


@dataclass(frozen=True)
class Answer:
    """What the laws say about one set of edges.

    Attributes:
        usable: What they were fitted to.
        laws: Every law, the one reported first; empty where no law is.
        refused: Why there is none.
        exponent_ci: Hull of the intervals of the laws that the data do not rule out.
        check: The exponent against the predicted one.
        apart: Exponents of lr and 1/B where no joint law describes the edges.
    """

    usable: Usable
    laws: tuple[LawFit, ...]
    refused: str | None
    exponent_ci: tuple[float, float] | None
    check: Check
    apart: Exponents | None = None

    @property
    def best(self) -> LawFit | None:
        """The law reported."""
        return self.laws[0] if self.laws else None


def answer_edges(
    rows: pd.DataFrame, edges: tuple[Edge, ...], expected: Expected, *, kept_only: bool = False
) -> Answer:
    """Fit the laws and hold their exponent against the predicted one, or say why not.

    Args:
        rows: Trials of one group.
        edges: Their edges, one for each seed and place.
        expected: What is predicted.
        kept_only: Whether laws that the data rule out are left out, because nobody will read them.

    Returns:
        The answer.
    """
    usable = select_usable(rows, edges)
    refused = usable.refused or refuse_edges(usable.edges, expected.axis)
    laws: tuple[LawFit, ...] = ()
    fitted = refused is None
    if fitted:
        laws = fit_laws(usable.edges, usable.num_examples, kept_only=kept_only)
        refused = refuse_laws(laws, usable.edges, expected.axis)
    laws = laws if refused is None else ()
    kept = [law for law in laws if law.kept]
    ci = hull([law.exponent_ci for law in kept])
    ci90 = hull([law.exponent_ci90 for law in kept])
    check = check_exponent(expected.exponent, ci, ci90, expected.margin)
    if fitted and refused:
        # Perhaps one exponent of lr/B is what does not fit.
        apart = fit_apart(usable.edges, usable.num_examples)
        check = check_apart(expected.exponent, apart, expected.margin) if apart else check
        return Answer(usable, laws, refused, ci, check, apart)
    return Answer(usable, laws, refused, ci, check)
