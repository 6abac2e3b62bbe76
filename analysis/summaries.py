"""What is said about one group of trials: the words that edges, laws, checks and reports share."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

from analysis.axes import AXES, Axis, AxisName
from analysis.edge_summaries import Edge, MedianEdge

if TYPE_CHECKING:
    from analysis.optimal.summaries import OptimalFit


class Outcome(StrEnum):
    """How a measured exponent stands to the predicted one."""

    CONFIRMED = "confirmed"
    REFUTED = "refuted"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True)
class GroupKey:
    """What all trials of one group share; laws never mix groups.

    Attributes:
        task: What is trained.
        method: How a batch becomes a gradient.
        optimizer: How a gradient becomes a direction, with its hyperparameters where not default.
        start: Where trials begin: ``init`` or the recipe of the trained point.
        horizon: How long they train, for example ``300 steps``.
        axis: What was searched for its edge.
        recipe: What a step does beside the optimizer, ``plain`` for nothing.
    """

    task: str
    method: str
    optimizer: str
    start: str
    horizon: str
    axis: AxisName = AxisName.LR
    recipe: str = "plain"

    def __str__(self) -> str:
        """Return a name of the group: that of before there were recipes where it has none."""
        return repr(self).replace(", recipe='plain')", ")")


@dataclass(frozen=True)
class NaiveSlope:
    """Least-squares slope of log(boldest stable value), as people usually report it.

    Of the largest stable learning rate on log B, or of the smallest stable damping on log(lr/B).

    Attributes:
        exponent: The slope, dimensionless.
        exponent_ci: Its 95 % interval by Student's t.
    """

    exponent: float
    exponent_ci: tuple[float, float]


@dataclass(frozen=True)
class Check:
    """The exponent held against the predicted one.

    Attributes:
        predicted: The predicted exponent; None when no theory gives one for this optimizer.
        margin: Half-width of the equivalence region around ``predicted``.
        outcome: What follows; None when nothing is predicted or the fit was refused.
        reason: One sentence with the numbers the outcome rests on.
    """

    predicted: float | None
    margin: float
    outcome: Outcome | None
    reason: str


@dataclass(frozen=True)
class LawFit:
    """One law fitted to one group's edges.

    Attributes:
        name: ``power``, ``saturating`` or ``surge``; followed by ``in B`` where the bend is one
            of the batch size alone (:class:`analysis.fitting.joint_laws.BentInBatch`).
        parameters: Fitted values by name, of the law of boldness (learning rates, examples).
        exponent: Log-log slope at small batches.
        exponent_ci: 95 % interval of the exponent: hull of quasi-profile and bootstrap-t.
        exponent_ci90: The same at 90 %, for the equivalence check.
        log_likelihood: Of the interval-censored log-normal model at its maximum.
        aicc: Akaike's criterion with the small-sample correction.
        sigma: Standard deviation of log edge between seeds, natural log.
        lack_of_fit_p: p-value of the law against one free median per batch size.
        kept: Whether the law is within 4 AICc units of the best, so that its interval counts.
        phi: Lack-of-fit factor, at least 1: how much wider than the seeds' spread alone allows
            intervals must be because the law is a little off at each batch size.
        on_box: Whether the exponent's interval reached the edge of the parameter box, so that the
            data do not bound it.
        num_units: (Place, seed) units in the fit.
        num_seeds: Seeds among them.
        num_places: Places with a closed bracket.
        num_examples: Size of the data when batches are drawn without replacement, else None.
        theta: Shape ``[k]``, the law's own parameters (see :mod:`analysis.fitting.laws`).
        covariance: Shape ``[k, k]``, their inverse information, without ``phi``.
        draws: Shape ``[draws, k]``, their values over resampled seeds; empty below 3 seeds.
    """

    name: str
    parameters: dict[str, float]
    exponent: float
    exponent_ci: tuple[float, float]
    exponent_ci90: tuple[float, float]
    log_likelihood: float
    aicc: float
    sigma: float
    lack_of_fit_p: float
    kept: bool
    phi: float = 1.0
    on_box: bool = False
    num_units: int = 0
    num_seeds: int = 0
    num_places: int = 0
    num_examples: int | None = None
    theta: np.ndarray = field(default_factory=lambda: np.empty(0), repr=False, compare=False)
    covariance: np.ndarray = field(
        default_factory=lambda: np.empty((0, 0)), repr=False, compare=False
    )
    draws: np.ndarray = field(default_factory=lambda: np.empty((0, 0)), repr=False, compare=False)


@dataclass(frozen=True)
class Band:
    """The edge that a law gives over batch sizes, in boldness, with a pointwise 95 % interval.

    Attributes:
        batch_size: Shape ``[n]``, examples per step.
        median: Shape ``[n]``, the median edge the law gives.
        low: Shape ``[n]``, lower end of the interval.
        high: Shape ``[n]``, upper end.
    """

    batch_size: np.ndarray
    median: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True)
class Exponents:
    """Separate exponents of learning rate and batch size: boldness like ``B^b lr^-a``.

    That a damping depends on the two through lr/B alone says ``a = b``.

    Attributes:
        lr: Exponent ``a`` of the learning rate.
        lr_ci: Its 95 % interval.
        batch_size: Exponent ``b`` of the batch size, at small ones.
        batch_size_ci: Its 95 % interval.
        difference_ci: 95 % interval of ``a - b``; 0 lies in it where they agree.
    """

    lr: float
    lr_ci: tuple[float, float]
    batch_size: float
    batch_size_ci: tuple[float, float]
    difference_ci: tuple[float, float]

    @property
    def agree(self) -> bool:
        """Whether one exponent of lr/B may stand for both."""
        return self.difference_ci[0] <= 0 <= self.difference_ci[1]


@dataclass(frozen=True)
class Sensitivity:
    """What the same trials say under another criterion of "stable".

    Attributes:
        criterion: The criterion, as written on the command line.
        law: The law reported, None when refused.
        exponent: Its exponent, None when refused.
        exponent_ci: 95 % profile interval over the kept laws (no bootstrap), None when refused.
        outcome: What the check would say, None when nothing is predicted or the fit was refused.
        refused: Why no law was fitted, None when one was.
    """

    criterion: str
    law: str | None
    exponent: float | None
    exponent_ci: tuple[float, float] | None
    outcome: Outcome | None
    refused: str | None = None


@dataclass(frozen=True)
class GroupFit:
    """Everything that is said about one group.

    Attributes:
        key: What the group's trials share.
        num_trials: Trials with a row, failed ones included.
        num_failed: Trials without a measurement.
        seed_edges: One bracket per (place, seed).
        edges: One median edge per place (batch size, with the learning rate where that is not
            the axis), ascending.
        laws: Every law that could be fitted, best AICc first; empty when refused.
        law: Name of the law reported, None when refused.
        exponent: Its exponent, None when refused.
        exponent_ci: Union of the kept laws' 95 % intervals, None when refused.
        naive_slope: What a straight line would say, None with fewer than 3 usable places.
        check: The exponent held against theory.
        warnings: Sentences a reader must see before trusting the numbers.
        refused: Why no law was fitted, None when one was.
        exponent_ci90: Union of the kept laws' 90 % intervals, None when refused.
        sensitivity: The same group under a few other criteria; empty without loss columns.
        num_examples: Size of the data when batches are drawn without replacement, else None.
        apart: Separate exponents of lr and batch size; None where lr is the axis, or was not
            varied, or the edges cannot bear them.
        optimal: The learning rates with the lowest loss; None where lr is not the axis, or the
            table has no losses.
    """

    key: GroupKey
    num_trials: int
    num_failed: int
    seed_edges: tuple[Edge, ...]
    edges: tuple[MedianEdge, ...]
    laws: tuple[LawFit, ...]
    law: str | None
    exponent: float | None
    exponent_ci: tuple[float, float] | None
    naive_slope: NaiveSlope | None
    check: Check
    warnings: tuple[str, ...] = ()
    refused: str | None = None
    exponent_ci90: tuple[float, float] | None = None
    sensitivity: tuple[Sensitivity, ...] = ()
    num_examples: int | None = None
    apart: Exponents | None = None
    optimal: "OptimalFit | None" = None

    @property
    def axis(self) -> Axis:
        """What was searched for its edge."""
        return AXES[self.key.axis]

    def best_law(self) -> LawFit | None:
        """Return the law that is reported, None when the fit was refused."""
        return next((law for law in self.laws if law.name == self.law), None)


@dataclass(frozen=True)
class Fit:
    """Everything that is said about one table.

    Attributes:
        source: Where the table came from.
        groups: One fit per group, in the order of their keys.
    """

    source: str
    groups: tuple[GroupFit, ...]
