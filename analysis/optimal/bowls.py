"""Where a bowl of losses over learning rates is lowest, by local interpolation over seeds.

Loss over learning rate, both in logs, is a bowl that falls gently, is flat at the bottom, and then
rises like a cliff: beyond it trials diverge, and a diverged trial has no loss to average. Around
the bottom a polynomial of degree 4 is fitted, with a level of its own for every seed (a seed has
the same start and batches at all learning rates, so most of its noise is a common shift). A
parabola would be simpler and is biased: the two sides of real bowls are not alike.
"""

from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from analysis.fitting.intervals import students_t
from analysis.fitting.likelihood import FloatArray
from analysis.optimal.curves import CONFIDENCE, MIN_SEEDS, Bowl, Curve, fit_curve

# A trial that ends this much (in log loss: 4.5-fold) above the lowest typical loss is lost: it is
# no candidate for the best learning rate, however bad it is, infinite or not. A guess.
_LOST = 1.5
# A learning rate that loses more than this share of its seeds is not interpolated over. A guess.
_MOST_LOST = 0.25
# Half-width of the window in log learning rate: a factor of 2 to each side, and at least 2 steps
# of the grid. Measured (benchmarks/optimal.py): wide enough for noise of .1, narrow enough for a
# polynomial of degree 4; with degree 3 bowls of a grid of ratio 1.41 were up to 4 % off, with a
# parabola 10 %.
_REACH = float(np.log(2))
_LEAST_STEPS = 2
_DEGREE = 4
_FEWEST_BINS = 3  # a parabola's
# Coarser grids cannot follow bowls whose sides rise in half a step: at ratio 2 intervals held the
# truth in 63 to 81 %. There the interval reaches half a step to both sides at least.
_COARSE = float(np.log(1.5))
# Seeds beyond this are left out in groups of nearly equal size (the delete-a-group jackknife, Kott
# 2001): one at a time takes hours at a thousand. A guess: the t quantile hardly moves from here on.
_MOST_LEFT_OUT = 40
_MAX_MOVES = 10  # of the window; it settles after one or two


class Where(StrEnum):
    """Where the lowest loss lies among the learning rates that were run."""

    INSIDE = "inside"
    LOW_END = "low end"  # within a step of the smallest: the optimum may lie below the grid
    HIGH_END = "high end"  # within a step of the largest: the optimum may lie above the grid
    STEEP = "steep"  # next to learning rates that lose everything: known to a step of the grid


@dataclass(frozen=True)
class Bottom:
    """The lowest point of a bowl.

    Attributes:
        log_lr: Log of the best learning rate.
        low: Lower end of its 95 % interval; ``-inf`` where nothing bounds it.
        high: Upper end; ``inf`` where nothing bounds it.
        log_loss: Typical log loss there, the mean over seeds.
        where: Where it lies among the learning rates.
        seeds: Shape ``[seeds]``, the replicates.
        deviations: Shape ``[seeds]``, how far each seed pulls from ``log_lr``: their mean is 0,
            their variance over their number the squared standard error. Empty where no slope
            changes its sign, and with fewer than 3 seeds.
    """

    log_lr: float
    low: float
    high: float
    log_loss: float
    where: Where
    seeds: np.ndarray
    deviations: FloatArray


@dataclass(frozen=True)
class _Lattice:
    """A bowl's learning rates, those of different seeds closer than half a step taken as one."""

    bowl: Bowl
    bin: np.ndarray  # [n]
    position: FloatArray  # [bins]
    step: float
    typical: FloatArray  # [bins], median log loss; inf where most diverged
    lost: np.ndarray  # [n]

    def usable(self) -> np.ndarray:
        """Return the run of bins around the lowest that lose few seeds."""
        share = np.bincount(self.bin, self.lost) / np.bincount(self.bin)
        spoilt = np.flatnonzero(share > _MOST_LOST)
        lowest = int(self.typical.argmin())
        first = spoilt[spoilt < lowest].max(initial=-1) + 1
        last = spoilt[spoilt > lowest].min(initial=share.size) - 1
        return np.arange(first, last + 1)


def _lay_out(bowl: Bowl) -> _Lattice:
    """Group the learning rates into steps of the grid."""
    order = np.lexsort((bowl.log_lr, bowl.seed))
    gaps = np.diff(bowl.log_lr[order])[np.diff(bowl.seed[order]) == 0]
    step = float(np.median(gaps[gaps > 0]))
    rounded = np.round((bowl.log_lr - bowl.log_lr.min()) / step)
    _, place = np.unique(rounded, return_inverse=True)
    position = np.bincount(place, bowl.log_lr) / np.bincount(place)
    order = np.argsort(place, kind="stable")
    losses = np.split(bowl.log_loss[order], np.cumsum(np.bincount(place))[:-1])
    typical = np.array([_median(values) for values in losses])
    lost = bowl.log_loss > typical.min() + _LOST
    return _Lattice(bowl, place, position, step, typical, lost)


def _median(values: FloatArray) -> float:
    """Return the upper median: infinite when half of the values are, never NaN."""
    return float(np.partition(values, values.size // 2)[values.size // 2])


def _fit_window(lattice: _Lattice, usable: np.ndarray, center: float) -> Curve:
    """Fit the curve to the usable learning rates near a center."""
    distance = np.abs(lattice.position[usable] - center)
    reach = max(_REACH, _LEAST_STEPS * lattice.step) * (1 + 1e-9)
    near = np.argsort(distance, kind="stable")
    near = near[: max((distance <= reach).sum(), _DEGREE + 1)]
    kept = np.isin(lattice.bin, usable[near]) & ~lattice.lost
    bowl = lattice.bowl
    window = Bowl(bowl.log_lr[kept], bowl.log_loss[kept], bowl.seed[kept])
    return fit_curve(window, min(near.size - 1, _DEGREE))


def _settle(lattice: _Lattice, usable: np.ndarray) -> tuple[Curve, float | None]:
    """Move the window until its bottom is in its middle; return the curve and the bottom's u."""
    center, seen = float(lattice.position[lattice.typical.argmin()]), set()
    for _ in range(_MAX_MOVES):
        curve = _fit_window(lattice, usable, center)
        u = curve.find_minimum()
        lower = min(curve.ends, key=curve.value) if u is None else u
        moved = curve.center + lower
        if abs(moved - center) < lattice.step / 2 or curve.center in seen:
            break
        seen.add(curve.center)
        center = moved
    return curve, u


def _locate(lattice: _Lattice, log_lr: float, turns: bool) -> Where:
    """Say where a bottom lies; only at the grid's end can it lie outside."""
    usable, step = lattice.usable(), lattice.step * (1 + 1e-6)
    if usable[0] == 0 and log_lr - lattice.position[0] <= step:
        return Where.LOW_END
    if usable[-1] == lattice.position.size - 1 and lattice.position[-1] - log_lr <= step:
        return Where.HIGH_END
    return Where.INSIDE if turns else Where.STEEP


def _walls(lattice: _Lattice, usable: np.ndarray) -> tuple[float, float]:
    """Return the nearest learning rates that lose too many, infinite where none does."""
    ends = np.concatenate([[-np.inf], lattice.position, [np.inf]])
    return float(ends[usable[0]]), float(ends[usable[-1] + 2])


def _find_bottom(bowl: Bowl) -> Bottom:
    """Find the bottom with Fieller's interval."""
    lattice = _lay_out(bowl)
    usable = lattice.usable()
    walls = _walls(lattice, usable)
    seeds = np.unique(bowl.seed)
    if usable.size < _FEWEST_BINS:
        return _take_lowest(lattice, seeds)
    curve, u = _settle(lattice, usable)
    turns = u is not None
    lowest = u if u is not None else min(curve.ends, key=curve.value)
    log_lr = curve.center + lowest
    low, high = curve.bound(lowest)
    return Bottom(
        log_lr=log_lr,
        low=max(curve.center + low, walls[0]),
        high=min(curve.center + high, walls[1]),
        log_loss=curve.value(lowest),
        where=_locate(lattice, log_lr, turns),
        seeds=curve.seeds,
        deviations=curve.deviations(lowest)
        if turns and curve.seeds.size >= MIN_SEEDS
        else np.empty(0),
    )


def _take_lowest(lattice: _Lattice, seeds: np.ndarray) -> Bottom:
    """Return the lowest learning rate between its neighbours: too few to interpolate."""
    lowest = int(lattice.typical.argmin())
    ends = np.concatenate([[-np.inf], lattice.position, [np.inf]])
    log_lr = float(lattice.position[lowest])
    return Bottom(
        log_lr=log_lr,
        low=float(ends[lowest]),
        high=float(ends[lowest + 2]),
        log_loss=float(lattice.typical[lowest]),
        where=_locate(lattice, log_lr, turns=False),
        seeds=seeds,
        deviations=np.empty(0),
    )


def is_bowl(bowl: Bowl) -> bool:
    """Say whether there is anything to find: some losses, at three learning rates or more."""
    finite = np.isfinite(bowl.log_loss)
    if np.unique(bowl.log_lr).size < _FEWEST_BINS or not finite.any():
        return False
    seeds = np.unique(bowl.seed)
    return any(np.unique(bowl.log_lr[bowl.seed == seed]).size > 1 for seed in seeds) and bool(
        np.isfinite(_lay_out(bowl).typical).any()
    )


def find_bottom(bowl: Bowl) -> Bottom:
    """Find the learning rate with the lowest typical loss, with its 95 % interval.

    The interval is the hull of two: Fieller's for the slope of the polynomial, seeds as the unit
    (exact were the window given), and the jackknife over seeds, which moves the window too.
    Simulated: bias at most 2 %, coverage .94 to .99 at grid ratios up to 1.41
    (benchmarks/optimal.py).

    Args:
        bowl: Trials of one batch size, for which :func:`is_bowl` holds.

    Returns:
        The bottom.

    Example:
        >>> lr, seed = np.tile(0.1 * 2 ** np.arange(7.0), 3), np.repeat([0, 1, 2], 7)
        >>> log_loss = (np.log(lr) - np.log(0.9)) ** 2 + 0.1 * seed
        >>> bottom = find_bottom(Bowl(np.log(lr), log_loss, seed))
        >>> round(float(np.exp(bottom.log_lr)), 6), str(bottom.where)
        (0.9, 'inside')
    """
    bottom, lattice = _find_bottom(bowl), _lay_out(bowl)
    half = max(_jackknife(bowl, bottom), _least_half_width(bottom, lattice))
    walls = _walls(lattice, lattice.usable())
    return replace(
        bottom,
        low=min(bottom.low, max(bottom.log_lr - half, walls[0])),
        high=max(bottom.high, min(bottom.log_lr + half, walls[1])),
    )


def _least_half_width(bottom: Bottom, lattice: _Lattice) -> float:
    """Return what the grid alone leaves open: a step beside a cliff, half of a coarse step."""
    if bottom.where is Where.STEEP:
        return lattice.step
    return lattice.step / 2 if lattice.step > _COARSE else 0.0


def _jackknife(bowl: Bowl, bottom: Bottom) -> float:
    """Return the half-width of the jackknife over seeds, 0 where there is none to be had."""
    if not bottom.deviations.size:
        return 0.0
    parts = np.array_split(bottom.seeds, min(bottom.seeds.size, _MOST_LEFT_OUT))
    others = [bowl.without(part) for part in parts]
    if not all(is_bowl(other) for other in others):
        return 0.0
    left_out = np.array([_find_bottom(other).log_lr for other in others])
    num = left_out.size
    variance = (num - 1) / num * ((left_out - left_out.mean()) ** 2).sum()
    return students_t(CONFIDENCE, num - 1) * float(np.sqrt(variance))
