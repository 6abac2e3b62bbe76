"""How far the best learning rate is off, and how often its 95 % interval holds the truth.

Bowls of losses with a known lowest point are simulated and put through the same code as
``scaling-sweep fit``. Aim: bias within 3 %, coverage 93 to 99 %.

    python -m benchmarks.optimal [--repeats 200] [--wide]
"""

import argparse
from dataclasses import dataclass, replace

import numpy as np

from analysis.optimal.estimates import find_optimal_lrs
from analysis.optimal.summaries import OptimalLR
from analysis.simulate_bowls import BowlDesign, Shape, simulate_bowls, true_optimum

LR_OPT = 0.3
NUM_BATCH_SIZES = 10  # of one table; all have the same truth, so each is one more repeat


@dataclass(frozen=True)
class Row:
    """One row of the printed table.

    Attributes:
        design: What was simulated.
        bias: Mean error of log lr_opt.
        spread: Standard deviation of log lr_opt.
        coverage: Share of the intervals that hold the truth.
        width: Median width of the intervals, natural log.
        not_inside: Share of the optima that lie at a cliff or at the grid's end.
    """

    design: BowlDesign
    bias: float
    spread: float
    coverage: float
    width: float
    not_inside: float

    def __str__(self) -> str:
        """Return the row's words."""
        design = self.design
        cliff = "none" if design.cliff is None else f"{design.cliff:g}"
        return (
            f"{design.shape.name.lower():8} {cliff:>5} {design.grid_ratio:5.2f} "
            f"{design.num_seeds:5d} {design.sigma:5.2f} {design.noise:5.2f} {self.bias:+8.3f} "
            f"{self.spread:6.3f} {self.coverage:8.3f} {self.width:6.2f} {self.not_inside:6.2f}"
        )


def measure(design: BowlDesign, repeats: int) -> Row:
    """Simulate one design and hold its optima against the truth."""
    found: list[OptimalLR] = []
    for seed in range(repeats // NUM_BATCH_SIZES):
        rng = np.random.default_rng([seed, design.num_seeds])
        found += find_optimal_lrs(simulate_bowls(lambda b: LR_OPT + 0 * b, design, rng))
    truth = np.log(LR_OPT) + true_optimum(design)
    error = np.log([one.lr_opt for one in found]) - truth
    with np.errstate(divide="ignore"):
        ends = np.log([one.lr_opt_ci for one in found])
    return Row(
        design,
        bias=float(error.mean()),
        spread=float(error.std()),
        coverage=float(np.mean((ends[:, 0] <= truth) & (truth <= ends[:, 1]))),
        width=float(np.median(ends[:, 1] - ends[:, 0])),
        not_inside=float(np.mean([one.where != "inside" for one in found])),
    )


def designs(wide: bool) -> list[BowlDesign]:
    """Return what is simulated: shapes and cliffs; with ``wide`` what might break them too."""
    base = BowlDesign(batch_sizes=tuple(2**i for i in range(NUM_BATCH_SIZES)))
    main = [
        replace(base, shape=shape, cliff=cliff, grid_ratio=ratio)
        for shape in Shape
        for cliff in (None, 0.8, 0.4)
        for ratio in (2**0.25, 2**0.5)
    ]
    if not wide:
        return main
    hard = (Shape.LEANING, Shape.STEEP)
    changes = [{"num_seeds": n} for n in (2, 3, 4, 12)]
    noises = [{"noise": 0.02}, {"noise": 0.3}, {"sigma": 0.02}, {"sigma": 0.25}, {"level": 0.0}]
    grids = [{"grid_ratio": 2.0}, {"grid_ratio": 2**0.125}]
    varied = [replace(base, **change) for change in (*changes, *noises, *grids)]  # type: ignore[arg-type]
    return main + [replace(design, shape=shape) for design in varied for shape in hard]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=200, help="bowls per row")
    parser.add_argument("--wide", action="store_true", help="more noises, seeds and grids")
    options = parser.parse_args()
    print(f"{options.repeats} bowls a row; bias, sd and width in natural log of lr_opt")
    print(
        f"{'shape':8} {'cliff':>5} {'ratio':>5} {'seeds':>5} {'sigma':>5} {'noise':>5} "
        f"{'bias':>8} {'sd':>6} {'coverage':>8} {'width':>6} {'not in':>6}"
    )
    rows = []
    for design in designs(options.wide):
        rows.append(measure(design, options.repeats))
        print(rows[-1], flush=True)
    print(
        f"largest bias {max(abs(row.bias) for row in rows):.3f}, "
        f"coverage {min(row.coverage for row in rows):.3f} to "
        f"{max(row.coverage for row in rows):.3f}, mean {np.mean([r.coverage for r in rows]):.3f}"
    )


if __name__ == "__main__":
    main()
