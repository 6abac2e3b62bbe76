"""When the data cannot bear a law, and when they bear it only with a warning: in sentences."""

from collections.abc import Sequence

import numpy as np

from analysis.axes import LR_AXIS, Axis
from analysis.edge_summaries import Censoring, Edge, MedianEdge
from analysis.fitting.cells import collect_cells
from analysis.fitting.joint_laws import find_joint_law
from analysis.fitting.laws import effective_batch_size
from analysis.fitting.medians import SIGMA_FLOOR
from analysis.summaries import Exponents, GroupFit, LawFit

# Thresholds of statistics.md, "Refuse to fit" and "Warn".
_MIN_BATCH_SIZES = 4
_LACK_OF_FIT_P = 1e-3
_MIN_SEEDS = 3
_MAX_RATIO_TO_SIGMA = 4.0
_MAX_NON_MONOTONE = 0.25
# Where all brackets hold the law, the grid decides the interval. Up to this ratio that interval
# was found to cover (benchmarks/coverage.py); a coarser grid would fit any law.
_COARSE_GRID_RATIO = 2**0.5 * 1.01


def refuse_edges(edges: Sequence[Edge], axis: Axis = LR_AXIS) -> str | None:
    """Say why no law should be fitted to these edges, None when one may.

    Args:
        edges: Brackets of one group.
        axis: What was searched.

    Returns:
        A sentence, or None.

    Example:
        >>> refuse_edges([Edge(8, 0, 0.1, float("inf")), Edge(16, 0, 0.1, float("inf"))])
        'Every learning rate was stable: add larger ones until some diverge.'
    """
    milder, bolder = axis.mild[1], axis.daring[1]
    if not edges:
        return f"There is no edge: all trials failed, or no {axis.word} met the criterion."
    if all(edge.censored is Censoring.RIGHT for edge in edges):
        return f"Every {axis.word} was stable: add {bolder} ones until some diverge."
    if all(edge.censored is Censoring.LEFT for edge in edges):
        return f"Every {axis.word} diverged: add {milder} ones until some are stable."
    closed = {
        float(axis.variable(e.batch_size, 1.0 if e.lr is None else e.lr, None).round(9))
        for e in edges
        if e.censored is Censoring.NONE
    }
    if len(closed) < _MIN_BATCH_SIZES:
        one, several = axis.points
        sizes = {0: f"No {one} has", 1: f"Only 1 {one} has"}.get(
            len(closed), f"Only {len(closed)} {several} have"
        )
        return (
            f"{sizes} both a stable and a diverged {axis.word}, a law needs "
            f"at least {_MIN_BATCH_SIZES}: through fewer points any exponent fits."
        )
    return None


def refuse_laws(laws: Sequence[LawFit], edges: Sequence[Edge], axis: Axis = LR_AXIS) -> str | None:
    """Say why the fitted laws should not be believed, None when they may.

    Args:
        laws: All fits of one group, best first.
        edges: The brackets they were fitted to.
        axis: What was searched.

    Returns:
        A sentence, or None.
    """
    kept = [law for law in laws if law.kept]
    if not kept:
        return (
            f"Only {len(edges)} edges are known, too few to choose a law: add seeds or batch sizes."
        )
    if all(law.lack_of_fit_p < _LACK_OF_FIT_P for law in kept):
        names = " and ".join(law.name for law in kept)
        return (
            f"No law describes the edges: {names} miss{'es' if len(kept) == 1 else ''} them by "
            f"more than the spread between seeds allows (p < {_LACK_OF_FIT_P:g})."
        )
    ratio = float(np.exp(collect_cells(edges).log_ratio))
    if ratio > _COARSE_GRID_RATIO and is_perfect(kept[0], edges):
        return (
            f"The fit is perfect because the grid is too coarse: neighbouring {axis.words} differ "
            f"by a factor {ratio:.3g} and every bracket holds the law; use a factor of at most "
            f"1.41, or give each seed its own {axis.words}."
        )
    return _refuse_interval(kept, axis)


def _refuse_interval(kept: Sequence[LawFit], axis: Axis) -> str | None:
    """Refuse an exponent that the data do not bound."""
    low = min(kept, key=lambda law: law.exponent_ci[0])
    if low.exponent_ci[0] <= 0 or (low.on_box and low.exponent_ci[0] < 0.02):
        return (
            f"The data do not show that {axis.symbol} grows with {axis.against}: the 95 % interval "
            f"of the {low.name} law's exponent reaches {min(low.exponent_ci[0], 0.0):.2f}."
        )
    boxed = next((law for law in kept if law.on_box), None)
    if boxed is not None:
        return (
            f"The data do not bound the exponent of the {boxed.name} law, which fits as well as "
            f"any: its interval [{boxed.exponent_ci[0]:.2f}, {boxed.exponent_ci[1]:.2f}] ends "
            "where the search ends; add smaller batch sizes or seeds."
        )
    return None


def is_perfect(law: LawFit, edges: Sequence[Edge]) -> bool:
    """Say whether every bracket holds the law and no spread between seeds is seen.

    Args:
        law: A fitted law.
        edges: The brackets it was fitted to.

    Returns:
        Whether the grid, not the data, limits the fit.
    """
    cells = collect_cells(edges)
    if law.sigma > 1.01 * SIGMA_FLOOR * cells.log_ratio:
        return False
    log_lr = np.log(cells.lr)
    log_x = np.log(effective_batch_size(cells.batch_size, law.num_examples)) - log_lr
    edge = find_joint_law(law.name, log_lr).predict(law.theta[None], log_x)[0]
    return bool(np.all((cells.low <= edge) & (edge <= cells.high)))


def _join(edges: Sequence[MedianEdge]) -> str:
    """List batch sizes, with the learning rates that were held there."""
    sizes: dict[float | None, list[str]] = {}
    for edge in edges:
        sizes.setdefault(edge.lr, []).append(str(edge.batch_size))
    return ", ".join(
        ", ".join(found) + ("" if lr is None else f" (lr {lr:g})") for lr, found in sizes.items()
    )


def warn_edges(
    seed_edges: Sequence[Edge], edges: Sequence[MedianEdge], axis: Axis = LR_AXIS
) -> tuple[str, ...]:
    """Say what a reader must know about the edges themselves.

    Args:
        seed_edges: Brackets of one group.
        edges: Their medians.
        axis: What was searched.

    Returns:
        Sentences.
    """
    warnings = []
    seeds = max((edge.num_seeds for edge in edges), default=0)
    if 0 < seeds < _MIN_SEEDS:
        warnings.append(
            f"Only {seeds} seed{'s' if seeds > 1 else ''}: the spread between seeds is hardly "
            f"known, so intervals may be too narrow; use at least {_MIN_SEEDS}, better 6."
        )
    mixed = sum(edge.num_misplaced > 0 for edge in seed_edges)
    if seed_edges and mixed / len(seed_edges) > _MAX_NON_MONOTONE:
        warnings.append(
            f"{mixed} of {len(seed_edges)} ({axis.held_words}, seed) units are not monotone: a "
            "trial was stable above one that diverged. The criterion may not be a sharp one."
        )
    for side, words in (
        (Censoring.RIGHT, _suggest("were stable", axis.daring, axis)),
        (Censoring.LEFT, _suggest("diverged", axis.mild, axis)),
    ):
        outside = [edge for edge in edges if edge.censored is side]
        if outside and len(outside) < len(edges):
            warnings.append(f"At batch size {_join(outside)} {words}.")
    return tuple(warnings)


def _suggest(outcome: str, degrees: tuple[str, str, str], axis: Axis) -> str:
    """Say which way the grid should go on."""
    return f"most seeds {outcome} at the {degrees[2]} {axis.word}: add {degrees[1]} ones"


def warn_law(law: LawFit, edges: Sequence[Edge], axis: Axis = LR_AXIS) -> tuple[str, ...]:
    """Say what a reader must know about the law reported.

    Args:
        law: The law.
        edges: The brackets it was fitted to.
        axis: What was searched.

    Returns:
        Sentences.
    """
    log_ratio = collect_cells(edges).log_ratio
    if log_ratio / law.sigma <= _MAX_RATIO_TO_SIGMA:
        return ()
    return (
        f"The {axis.words} (factor {np.exp(log_ratio):.3g}) are coarse beside the spread of the "
        f"edges (factor {np.exp(law.sigma):.3g}): the grid limits the interval; a finer one, or "
        "one of its own for each seed, would sharpen it.",
    )


def warn_apart(apart: Exponents | None, edges: Sequence[MedianEdge]) -> tuple[str, ...]:
    """Say where nothing shows, or something denies, that lr/B is what a damping depends on.

    Args:
        apart: Exponents of learning rate and batch size, fitted apart; None when they were not.
        edges: Median edges of one group.

    Returns:
        One sentence, or none; none where the learning rate is the axis.
    """
    rates = {edge.lr for edge in edges} - {None}
    if len(rates) == 1:
        return (
            "Only one learning rate was held: the exponent is that of the batch size, and nothing "
            "here says whether lr/B is what counts; add learning rates.",
        )
    if apart is None or apart.agree:
        return ()
    low, high = apart.difference_ci
    return (
        "Learning rate and batch size have different exponents (difference "
        f"[{low:.2f}, {high:.2f}]): the damping does not depend on lr/B alone.",
    )


def warn_sensitivity(group: GroupFit) -> tuple[str, ...]:
    """Say under which other criteria the outcome would change.

    Args:
        group: A fit with its sensitivity filled in.

    Returns:
        One sentence, or none.
    """
    changed = [
        f"{'refused' if other.outcome is None else other.outcome} with {other.criterion}"
        for other in group.sensitivity
        if other.outcome is not group.check.outcome
    ]
    if not changed or group.check.predicted is None:
        return ()
    here = "refused" if group.check.outcome is None else str(group.check.outcome)
    return (f"Criterion-sensitive: {here} here, but {', '.join(changed)}.",)


def warn_recipe(recipe: str) -> tuple[str, ...]:
    """Say that predictions are about steps without a recipe, where there was one.

    Args:
        recipe: What a step did beside the optimizer, ``plain`` for nothing.

    Returns:
        One sentence, or none.

    Example:
        >>> warn_recipe("plain")
        ()
        >>> warn_recipe("precision=bf16")[0]
        'Trained with precision=bf16: predicted exponents and theories know nothing of it.'
    """
    if recipe == "plain":
        return ()
    clipped = recipe.startswith("clip_norm=")
    length = "; a clipped step has the same length whatever the noise" if clipped else ""
    return (f"Trained with {recipe}: predicted exponents and theories know nothing of it{length}.",)
