"""Tables of trials whose best learning rate is known: bowls with noise, a cliff, or both."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum

import numpy as np
import pandas as pd

from analysis.criteria import Verdict
from analysis.fitting.likelihood import FloatArray

_OFF = 2.3  # log loss of a collapsed model, ln 10 for ten classes, above the bottom's 0


class Shape(Enum):
    """How log loss rises on both sides of the bottom; the value holds the two far slopes.

    ``f(u) = log((r e^(-l u) + l e^(r u))/(l + r))`` is lowest at u = 0, falls with slope ``-l`` on
    the far left and rises with slope ``r`` on the far right.
    """

    EVEN = (1.2, 1.2)
    LEANING = (1.0, 3.0)
    STEEP = (1.0, 6.0)

    def log_loss(self, u: FloatArray) -> FloatArray:
        """Return log loss above the bottom's at log distance u from the best learning rate.

        Example:
            >>> Shape.STEEP.log_loss(np.array([-9.0, -8.0, 0.0])).round(3).tolist()
            [8.846, 7.846, 0.0]
        """
        left, right = self.value
        rise: FloatArray = np.logaddexp(np.log(right) - left * u, np.log(left) + right * u)
        rise -= np.log(left + right)
        return rise


@dataclass(frozen=True)
class BowlDesign:
    """Which trials are run, how their bowls look and how they scatter.

    Attributes:
        batch_sizes: Examples per step.
        num_seeds: Replicates per batch size.
        grid_ratio: Ratio of neighbouring learning rates, above 1.
        shape: Of the bowls.
        cliff: Log distance from the best learning rate to where trials diverge; None: nowhere.
        sigma: Standard deviation between seeds of where their bowl lies, natural log.
        level: Standard deviation between seeds of log loss, common to all learning rates.
        noise: Standard deviation of a trial's own log loss at the best learning rate.
        growth: Log of the factor by which that grows per e-fold of the learning rate.
        drift: Correlation of one seed's place at neighbouring batch sizes, in [0, 1).
        below: Log distance by which the grid reaches below the smallest optimum.
        above: Log distance by which it reaches above the largest.
    """

    batch_sizes: Sequence[int] = field(default_factory=lambda: tuple(2**i for i in range(10)))
    num_seeds: int = 6
    grid_ratio: float = 2**0.25
    shape: Shape = Shape.LEANING
    cliff: float | None = 0.8
    sigma: float = 0.1
    level: float = 0.2
    noise: float = 0.1
    growth: float = 0.5
    drift: float = 0.0
    below: float = 2.0
    above: float = 1.5


def simulate_bowls(
    lr_opt: Callable[[FloatArray], FloatArray],
    design: BowlDesign,
    rng: np.random.Generator,
    optimizer: str = "sgd",
) -> pd.DataFrame:
    """Simulate a sweep whose losses form bowls.

    Args:
        lr_opt: The true best learning rate as a function of batch size.
        design: Which trials are run.
        rng: Source of randomness.
        optimizer: What the table says was swept.

    Returns:
        A table with ``final_loss``, infinite where a trial diverged, and verdicts.

    Example:
        >>> table = simulate_bowls(lambda b: 0.01 * b, BowlDesign(), np.random.default_rng(0))
        >>> bool(np.isinf(table["final_loss"]).equals(table["verdict"] == "diverged"))
        True
    """
    sizes = np.asarray(design.batch_sizes)
    truth = np.log(np.asarray(lr_opt(sizes.astype(float)), dtype=float))
    step = np.log(design.grid_ratio)
    # Where the lattice lies relative to the truth is chance, as in analysis.simulate.
    first, last = truth.min() - design.below, truth.max() + design.above
    lattice = np.arange(np.floor(first / step), np.ceil(last / step) + 1) + rng.uniform()
    seed, size, log_lr = np.meshgrid(
        np.arange(design.num_seeds), np.arange(sizes.size), lattice * step, indexing="ij"
    )
    own, level = _draw_seeds(design, sizes.size, rng)
    u = log_lr - truth[size] - own[seed, size]
    # Beyond two e-folds the noise grows no further: losses there end at the cliff or the ceiling.
    spread = design.noise * np.exp(design.growth * np.clip(u, -2, 2))
    log_loss = np.minimum(design.shape.log_loss(u), _OFF) + level[seed, size]
    log_loss += spread * rng.normal(size=u.shape)
    if design.cliff is not None:
        scatter = design.sigma * rng.normal(size=own.shape)
        log_loss[u > design.cliff + scatter[seed, size]] = np.inf
    diverged = np.isinf(log_loss)
    return pd.DataFrame(
        {
            "optimizer": optimizer,
            "batch_size": sizes[size.ravel()],
            "lr": np.exp(log_lr.ravel()),
            "seed": seed.ravel(),
            "final_loss": np.exp(log_loss.ravel()),
            "verdict": np.where(diverged.ravel(), Verdict.DIVERGED.value, Verdict.STABLE.value),
        }
    )


def _draw_seeds(
    design: BowlDesign, num_sizes: int, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray]:
    """Draw each seed's place and level at each batch size, shape ``[seeds, batch sizes]``."""
    place = rng.normal(size=(design.num_seeds, num_sizes))
    for i in range(1, num_sizes):
        place[:, i] = design.drift * place[:, i - 1] + np.sqrt(1 - design.drift**2) * place[:, i]
    level = design.level * rng.normal(size=place.shape)
    return design.sigma * place, level


def true_optimum(design: BowlDesign) -> float:
    """Compute how far the optimum of the typical loss lies from that of a single seed.

    Where bowls lean, the mean over seeds whose bowls lie apart is lowest a little to the gentle
    side. By quadrature over seeds, without noise and without a cliff.

    Args:
        design: The shape and the spread between seeds.

    Returns:
        Log distance.

    Example:
        >>> round(true_optimum(BowlDesign(shape=Shape.EVEN)), 3) + 0
        0.0
        >>> true_optimum(BowlDesign(shape=Shape.STEEP)) < -0.01
        True
    """
    node, weight = np.polynomial.hermite_e.hermegauss(40)
    u = np.linspace(-0.5, 0.5, 2001)
    typical = design.shape.log_loss(u[:, None] - design.sigma * node) @ weight
    return float(u[typical.argmin()])
