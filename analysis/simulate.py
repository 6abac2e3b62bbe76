"""Tables of trials with a known truth, to test the fit with and to plan with."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from analysis.criteria import Verdict


@dataclass(frozen=True)
class Design:
    """Which trials are run and how their edges scatter.

    Attributes:
        batch_sizes: Examples per step.
        num_seeds: Replicates per batch size.
        grid_ratio: Ratio of neighbouring learning rates, above 1.
        sigma: Standard deviation of the log edge between seeds, natural log.
        drift: Correlation of one seed's deviations at neighbouring batch sizes, in [0, 1).
        margin: Log distance by which the grid reaches beyond the smallest and largest edge.
        staggered: Whether each seed has its own lattice of learning rates.
        flipped: Share of the trials whose verdict is the wrong one.
    """

    batch_sizes: Sequence[int] = field(default_factory=lambda: tuple(2**i for i in range(10)))
    num_seeds: int = 6
    grid_ratio: float = 2**0.5
    sigma: float = 0.15
    drift: float = 0.0
    margin: float = 1.0
    staggered: bool = False
    flipped: float = 0.0


def draw_log_edges(log_lr_max: np.ndarray, design: Design, rng: np.random.Generator) -> np.ndarray:
    """Draw one log edge per (seed, batch size).

    Args:
        log_lr_max: Shape ``[batch sizes]``, log of the true median edge.
        design: How edges scatter.
        rng: Source of randomness.

    Returns:
        Shape ``[seeds, batch sizes]``.
    """
    noise = rng.normal(size=(design.num_seeds, log_lr_max.size))
    for i in range(1, log_lr_max.size):
        noise[:, i] = design.drift * noise[:, i - 1] + np.sqrt(1 - design.drift**2) * noise[:, i]
    edges: np.ndarray = log_lr_max + design.sigma * noise
    return edges


def simulate_table(
    lr_max: Callable[[np.ndarray], np.ndarray],
    design: Design,
    rng: np.random.Generator,
    optimizer: str = "sgd",
) -> pd.DataFrame:
    """Simulate a sweep over a lattice of learning rates.

    Every seed has one edge per batch size; a trial diverges when its learning rate exceeds it.

    Args:
        lr_max: The true LR_max as a function of batch size.
        design: Which trials are run.
        rng: Source of randomness.
        optimizer: What the table says was swept.

    Returns:
        A table with the columns that a fit needs.

    Example:
        >>> table = simulate_table(lambda b: 0.01 * b, Design(), np.random.default_rng(0))
        >>> sorted(table["verdict"].unique()), int(table["batch_size"].nunique())
        (['diverged', 'stable'], 10)
    """
    sizes = np.asarray(design.batch_sizes)
    trials = _try_lattice(np.log(np.asarray(lr_max(sizes.astype(float)), dtype=float)), design, rng)
    return pd.DataFrame(
        {
            "optimizer": optimizer,
            "batch_size": sizes[trials.place],
            "lr": np.exp(trials.log_boldness),
            "seed": trials.seed,
            "verdict": trials.verdict,
        }
    )


def simulate_damping_table(
    damping_min: Callable[[np.ndarray, np.ndarray], np.ndarray],
    lrs: Sequence[float],
    design: Design,
    rng: np.random.Generator,
    optimizer: str = "adam",
) -> pd.DataFrame:
    """Simulate a sweep over a lattice of dampings, at a few learning rates.

    Every seed has one edge per (learning rate, batch size); a trial diverges when its damping is
    below it.

    Args:
        damping_min: The true smallest stable damping as a function of lr and batch size.
        lrs: Learning rates.
        design: Which trials are run.
        rng: Source of randomness.
        optimizer: What the table says was swept.

    Returns:
        A table with the columns that a fit needs.

    Example:
        >>> claim = lambda lr, b: 0.3 * lr / b
        >>> table = simulate_damping_table(claim, [0.1, 0.4], Design(), np.random.default_rng(0))
        >>> table.groupby("verdict")["damping"].median().idxmax(), int(table["lr"].nunique())
        ('stable', 2)
    """
    sizes, rates = np.asarray(design.batch_sizes), np.asarray(lrs, dtype=float)
    lr, size = (grid.ravel() for grid in np.meshgrid(rates, sizes, indexing="ij"))
    trials = _try_lattice(-np.log(damping_min(lr, size.astype(float))), design, rng)
    return pd.DataFrame(
        {
            "optimizer": optimizer,
            "batch_size": size[trials.place],
            "lr": lr[trials.place],
            "damping": np.exp(-trials.log_boldness),
            "seed": trials.seed,
            "verdict": trials.verdict,
        }
    )


@dataclass(frozen=True)
class _Trials:
    """Every trial of a lattice.

    Attributes:
        place: Shape ``[trials]``, index of what was held.
        seed: Shape ``[trials]``.
        log_boldness: Shape ``[trials]``.
        verdict: Shape ``[trials]``.
    """

    place: np.ndarray
    seed: np.ndarray
    log_boldness: np.ndarray
    verdict: np.ndarray


def _try_lattice(log_truth: np.ndarray, design: Design, rng: np.random.Generator) -> _Trials:
    """Judge the same lattice of boldness at every place by edges that scatter between seeds."""
    edges = draw_log_edges(log_truth, design, rng)
    step = np.log(design.grid_ratio)
    first = np.floor((log_truth.min() - design.margin) / step)
    last = np.ceil((log_truth.max() + design.margin) / step)
    # Where the lattice lies relative to the truth is chance: a fixed place would favour truths
    # that keep step with it (p = 1 and p = 1/2 do, with doubling batch sizes and ratio sqrt 2).
    lattice = step * (np.arange(first, last + 1) + rng.uniform())
    shift = step * np.arange(design.num_seeds) / design.num_seeds * design.staggered
    seed, place, value = np.meshgrid(
        np.arange(design.num_seeds), np.arange(log_truth.size), lattice, indexing="ij"
    )
    log_boldness = (value + shift[seed]).ravel()
    diverged = log_boldness > edges[seed.ravel(), place.ravel()]
    if design.flipped:
        diverged ^= rng.uniform(size=diverged.size) < design.flipped
    verdict = np.where(diverged, Verdict.DIVERGED.value, Verdict.STABLE.value)
    return _Trials(place.ravel(), seed.ravel(), log_boldness, verdict)
