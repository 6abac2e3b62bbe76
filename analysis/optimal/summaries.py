"""What is said about the best learning rate of each batch size, and the laws it follows."""

from dataclasses import dataclass

from analysis.optimal.bowls import Where
from analysis.summaries import Check, LawFit


@dataclass(frozen=True)
class OptimalLR:
    """The learning rate with the lowest typical loss at one batch size.

    Attributes:
        batch_size: Examples per step.
        lr_opt: The learning rate; that with the lowest loss of the grid where the loss falls to
            the grid's end.
        lr_opt_ci: Its 95 % interval; an end is 0 or infinity where nothing bounds it.
        loss: Typical loss there: the geometric mean over seeds, by the interpolation.
        where: Where it lies among the learning rates that were run.
        seeds: The replicates.
        seed_lrs: One per seed, what the best learning rate of that seed is worth in the estimate:
            their logs scatter around log ``lr_opt`` as much as seeds do. Empty where that is
            unknown.
    """

    batch_size: int
    lr_opt: float
    lr_opt_ci: tuple[float, float]
    loss: float
    where: Where
    seeds: tuple[int, ...] = ()
    seed_lrs: tuple[float, ...] = ()

    @property
    def num_seeds(self) -> int:
        """Seeds with a loss."""
        return len(self.seeds)

    @property
    def at_edge(self) -> bool:
        """Whether it lies at the grid's end or within a step of it, so may lie beyond."""
        return self.where in {Where.LOW_END, Where.HIGH_END}

    @property
    def bounded(self) -> bool:
        """Whether its interval is closed at both ends."""
        return self.lr_opt_ci[0] > 0 and self.lr_opt_ci[1] < float("inf")


@dataclass(frozen=True)
class OptimalFit:
    """Everything that is said about the best learning rates of one group.

    Attributes:
        loss_column: The loss that is lowest, a column of the table.
        lrs: One per batch size, ascending.
        laws: Every law that could be fitted, best AICc first; empty when refused.
        law: Name of the law reported, None when refused.
        exponent: Its exponent, None when refused.
        exponent_ci: Union of the kept laws' 95 % intervals, None when refused.
        check: The exponent held against the one predicted for the edge.
        warnings: Sentences a reader must see before trusting the numbers.
        refused: Why no law was fitted, None when one was.
        num_examples: Size of the data when batches are drawn without replacement, else None.
    """

    loss_column: str
    lrs: tuple[OptimalLR, ...]
    laws: tuple[LawFit, ...]
    law: str | None
    exponent: float | None
    exponent_ci: tuple[float, float] | None
    check: Check
    warnings: tuple[str, ...] = ()
    refused: str | None = None
    num_examples: int | None = None

    def best_law(self) -> LawFit | None:
        """Return the law that is reported, None when the fit was refused."""
        return next((law for law in self.laws if law.name == self.law), None)
