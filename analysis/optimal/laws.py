"""How the best learning rate grows with batch size: the laws of the edge, fitted to optima.

Every seed of a batch size gives what it is worth in the estimate (a linearised jackknife), spread
so that Student's interval of their mean is the interval of the estimate. That is an observation
of the same log-normal model that edges follow, known to a point instead of a bracket, and goes
through the same fit: likelihood, lack of fit, bootstrap over seeds, union over laws. Batch sizes
count by their precision. An optimum that is only bounded enters as a bracket: its interval.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pandas as pd

from analysis.axes import LR_AXIS
from analysis.checks import MARGIN, check_exponent
from analysis.edge_summaries import Censoring, Edge, MedianEdge
from analysis.fitting.cells import Cells, collect_cells
from analysis.fitting.fits import fit_cells
from analysis.fitting.intervals import hull, students_t
from analysis.fitting.likelihood import FloatArray
from analysis.optimal.bowls import Where
from analysis.optimal.curves import CONFIDENCE
from analysis.optimal.estimates import LOSS_COLUMN, find_optimal_lrs
from analysis.optimal.summaries import OptimalFit, OptimalLR
from analysis.refusals import refuse_laws
from analysis.summaries import GroupFit, LawFit

_MIN_BATCH_SIZES = 4  # as for edges: statistics.md, "Refuse to fit"
_LACK_OF_FIT_P = 1e-3  # the same
_MIN_SEEDS = 3
# A point is a bracket this wide, in log learning rate: a tenth of the smallest spread that
# matters, and far above rounding.
_POINT = 1e-3
# Degrees of freedom that the typical spread of all batch sizes adds to the spread of each. With 5
# of its own alone a batch size could weigh ten times too much. A guess.
_PRIOR_DF = 4
# Beyond this the interpolation itself is off by several per cent (benchmarks/optimal.py).
_COARSE_GRID_RATIO = 1.5

# Sentences about the optimum's laws say its symbol; all else is that of the learning rate.
_AXIS = replace(LR_AXIS, symbol="lr_opt", edge="best learning rate")


def _is_point(one: OptimalLR) -> bool:
    """Say whether an optimum is an estimate with a spread, not only a bracket."""
    return bool(one.seed_lrs) and one.bounded and not one.at_edge


def _spread_seeds(one: OptimalLR) -> FloatArray:
    """Return log learning rates of the seeds, spread so that their interval is the optimum's."""
    center, ends = np.log(one.lr_opt), np.log(one.lr_opt_ci)
    deviations = np.log(one.seed_lrs) - center
    t = students_t(CONFIDENCE, one.num_seeds - 1)
    half = t * deviations.std(ddof=1) / np.sqrt(one.num_seeds)
    wanted = (ends[1] - ends[0]) / 2
    spread: FloatArray = center + deviations * max(wanted / max(half, 1e-12), 1.0)
    return spread


def collect_optima(lrs: Sequence[OptimalLR]) -> Cells:
    """Turn the optima of a group into brackets: points by seed where they are known to a point.

    Args:
        lrs: One per batch size.

    Returns:
        The brackets, counted by precision.

    Example:
        >>> from analysis.optimal.bowls import Where
        >>> known = OptimalLR(8, 0.1, (0.05, 0.2), 1.0, Where.INSIDE, (0, 1, 2), (0.1, 0.09, 0.111))
        >>> bounded = OptimalLR(4, 0.05, (0.0, 0.1), 1.0, Where.LOW_END, (0, 1, 2))
        >>> cells = collect_optima([bounded, known])
        >>> cells.batch_size.tolist(), cells.finite.tolist()
        ([4.0, 8.0, 8.0, 8.0], [False, True, True, True])
    """
    edges, variances = [], {}
    for one in lrs:
        ends = [one.lr_opt_ci] * one.num_seeds
        if _is_point(one):
            spread = _spread_seeds(one)
            variances[one.batch_size] = (float(spread.var(ddof=1)), one.num_seeds - 1)
            ends = [(np.exp(at - _POINT / 2), np.exp(at + _POINT / 2)) for at in spread]
        edges += [
            Edge(one.batch_size, seed, float(low), float(high))
            for seed, (low, high) in zip(one.seeds, ends, strict=True)
        ]
    cells = collect_cells(edges)
    weights = _weigh(variances)
    by_cell = [weights.get(int(size), 1.0) for size in cells.batch_size]
    return replace(cells, counts=cells.counts * np.array(by_cell))


def _weigh(variances: dict[int, tuple[float, int]]) -> dict[int, float]:
    """Return the precision of each batch size's seeds, 1 on average; variances are shrunk."""
    if not variances:
        return {}
    typical = float(np.median([variance for variance, _ in variances.values()]))
    shrunk = {
        size: (_PRIOR_DF * typical + df * variance) / (_PRIOR_DF + df)
        for size, (variance, df) in variances.items()
    }
    mean = np.average(
        [1 / max(v, _POINT**2) for v in shrunk.values()],
        weights=[df + 1 for _, df in variances.values()],
    )
    return {size: float(1 / max(v, _POINT**2) / mean) for size, v in shrunk.items()}


def fit_optimum(
    rows: pd.DataFrame,
    predicted: float | None,
    margin: float = MARGIN,
    *,
    num_examples: int | None = None,
    loss_column: str = LOSS_COLUMN,
    refused: str | None = None,
) -> OptimalFit | None:
    """Find the best learning rates of one group and fit laws to them.

    Args:
        rows: Rows of one group, of which the learning rate is the axis.
        predicted: The exponent to check against, None when nothing is predicted. That of the
            edge is used: McCandlish et al. 2018 (``eps_max/(1 + B_noise/B)``, the saturating law
            with p = 1) and Li et al. 2024 (the surge) derive the same ones for the optimum.
        margin: Half-width of the region around the prediction that counts as equal to it.
        num_examples: Size of the data when batches are drawn without replacement, else None.
        loss_column: The loss that should be low.
        refused: Why these trials can bear no law, where that is known already.

    Returns:
        The fit; None where the table has no such loss, or no batch size has a bowl.

    Example:
        >>> from analysis.simulate_bowls import BowlDesign, simulate_bowls
        >>> truth = lambda b: 0.3 / (1 + 20 / b)
        >>> table = simulate_bowls(truth, BowlDesign(num_seeds=4), np.random.default_rng(0))
        >>> fit = fit_optimum(table, 1.0)
        >>> fit.law, fit.exponent_ci[0] < 1 < fit.exponent_ci[1]
        ('saturating', True)
    """
    if loss_column not in rows or rows[loss_column].isna().all():
        return None
    if (rows[loss_column] < 0).any():
        why = f"Some values of {loss_column} are negative, so they have no log to interpolate."
        return _say(loss_column, (), (), predicted, margin, num_examples, why)
    if (rows[loss_column] == 0).any():
        why = f"Some values of {loss_column} are 0: below what numbers hold, none is the lowest."
        return _say(loss_column, (), (), predicted, margin, num_examples, why)
    lrs = find_optimal_lrs(rows, loss_column)
    if not lrs:
        return None
    # A full batch has no noise, see analysis.groups.
    noisy = [one for one in lrs if num_examples is None or one.batch_size < num_examples]
    refused = refused or _refuse_optima(noisy)
    laws: tuple[LawFit, ...] = ()
    if refused is None:
        cells = collect_optima(noisy)
        laws = fit_cells(cells, num_examples)
        refused = _refuse_laws(laws)
    return _say(loss_column, lrs, laws, predicted, margin, num_examples, refused)


def as_group(group: GroupFit) -> GroupFit | None:
    """Return the best learning rates in place of the edges, for all that takes a group.

    Args:
        group: A group.

    Returns:
        The group with optima as its edges, those at the grid's end censored, and their laws; None
        where it has no optimum.
    """
    optimal = group.optimal
    if optimal is None or not optimal.lrs:
        return None
    sides = {Where.LOW_END: Censoring.LEFT, Where.HIGH_END: Censoring.RIGHT}
    edges = tuple(
        MedianEdge(
            batch_size=one.batch_size,
            num_seeds=one.num_seeds,
            median=one.lr_opt,
            median_ci=one.lr_opt_ci,
            stable=one.lr_opt,
            diverged=one.lr_opt,
            censored=sides.get(one.where, Censoring.NONE),
        )
        for one in optimal.lrs
    )
    return replace(
        group,
        edges=edges,
        seed_edges=(),
        laws=optimal.laws,
        law=optimal.law,
        exponent=optimal.exponent,
        exponent_ci=optimal.exponent_ci,
        check=optimal.check,
        warnings=optimal.warnings,
        refused=optimal.refused,
        num_examples=optimal.num_examples,
        naive_slope=None,
        sensitivity=(),
        optimal=None,
    )


def _say(
    loss_column: str,
    lrs: tuple[OptimalLR, ...],
    laws: tuple[LawFit, ...],
    predicted: float | None,
    margin: float,
    num_examples: int | None,
    refused: str | None,
) -> OptimalFit:
    """Put everything together."""
    laws = laws if refused is None else ()
    kept = [law for law in laws if law.kept]
    ci = hull([law.exponent_ci for law in kept])
    check = check_exponent(predicted, ci, hull([law.exponent_ci90 for law in kept]), margin)
    return OptimalFit(
        loss_column=loss_column,
        lrs=lrs,
        laws=laws,
        law=laws[0].name if laws else None,
        exponent=laws[0].exponent if laws else None,
        exponent_ci=ci,
        check=check,
        warnings=warn_optima(lrs),
        refused=refused,
        num_examples=num_examples,
    )


def _refuse_optima(lrs: Sequence[OptimalLR]) -> str | None:
    """Say why no law should be fitted to these optima, None when one may."""
    num = sum(one.bounded and not one.at_edge for one in lrs)
    if num >= _MIN_BATCH_SIZES:
        return None
    sizes = {0: "No batch size has", 1: "Only 1 batch size has"}.get(
        num, f"Only {num} batch sizes have"
    )
    return (
        f"{sizes} a best learning rate that is bounded on both sides, a law needs at least "
        f"{_MIN_BATCH_SIZES}."
    )


def _refuse_laws(laws: Sequence[LawFit]) -> str | None:
    """Say why the fitted laws should not be believed, None when they may."""
    kept = [law for law in laws if law.kept]
    if kept and all(law.lack_of_fit_p < _LACK_OF_FIT_P for law in kept):
        names = " and ".join(law.name for law in kept)
        return (
            f"No law describes the best learning rates: {names} miss"
            f"{'es' if len(kept) == 1 else ''} them by more than the spread between seeds allows "
            f"(p < {_LACK_OF_FIT_P:g})."
        )
    return refuse_laws(laws, (), _AXIS) if kept else "Too few optima are known to choose a law."


def warn_optima(lrs: Sequence[OptimalLR]) -> tuple[str, ...]:
    """Say what a reader must know about the best learning rates.

    Args:
        lrs: One per batch size.

    Returns:
        Sentences.

    Example:
        >>> from analysis.optimal.bowls import Where
        >>> one = OptimalLR(8, 0.1, (0.0, 0.2), 1.0, Where.LOW_END, (0, 1, 2))
        >>> warn_optima([one])
        ('At batch size 8 the loss is lowest at the smallest learning rates: add smaller ones.',)
    """
    warnings = []
    for where, words in (
        ("low end", "the smallest learning rates: add smaller ones"),
        ("high end", "the largest learning rates: add larger ones"),
    ):
        sizes = [str(one.batch_size) for one in lrs if one.where == where]
        if sizes:
            warnings.append(f"At batch size {', '.join(sizes)} the loss is lowest at {words}.")
    flat = [str(one.batch_size) for one in lrs if not one.bounded and not one.at_edge]
    if flat:
        warnings.append(
            f"At batch size {', '.join(flat)} the bottom is too flat for its noise to bound the "
            "best learning rate on both sides: add seeds."
        )
    few = min((one.num_seeds for one in lrs), default=_MIN_SEEDS)
    if few < _MIN_SEEDS:
        warnings.append(
            f"Only {few} seed{'s' if few > 1 else ''}: intervals of the best learning rate rest on "
            "the scatter around the interpolation and may be too narrow."
        )
    return tuple(warnings)
