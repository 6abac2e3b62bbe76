"""How often the 95 % interval of ``scaling-sweep fit`` holds the true exponent.

Tables with a known truth are simulated and put through the same code as ``scaling-sweep fit``:
reading, brackets, laws, intervals, the union over laws, refusals. Aim: 93 to 99 %.

    python -m benchmarks.coverage [--repeats 200] [--wide]
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from analysis.groups import fit_results
from analysis.results import Results
from analysis.simulate import Design, simulate_table
from analysis.summaries import GroupFit, Outcome
from analysis.tables import normalize_table

LAST_BATCH_SIZE = 512


@dataclass(frozen=True)
class Truth:
    """What is simulated: ``LR_max = c b^p / (1 + (b/B*)^p)``, a power law when B* is None."""

    exponent: float
    bend: float | None = None
    wiggle: float = 0.0  # amplitude of a smooth departure from the law, in log lr

    @property
    def name(self) -> str:
        """Words for the table."""
        law = "power" if self.bend is None else f"saturating B*={self.bend:g}"
        return law + (f" ±{self.wiggle:g}" if self.wiggle else "")

    def lr_max(self) -> Callable[[np.ndarray], np.ndarray]:
        """Return LR_max as a function of batch size."""

        def curve(b: np.ndarray) -> np.ndarray:
            bend = 0.0 if self.bend is None else np.log1p((b / self.bend) ** self.exponent)
            off = self.wiggle * np.cos(2.1 * np.log2(b) + 0.4)
            return np.asarray(0.05 * b**self.exponent * np.exp(off - bend))

        return curve


@dataclass(frozen=True)
class Cell:
    """One row of the printed table."""

    truth: Truth
    design: Design


def fit_once(cell: Cell, rng: np.random.Generator) -> GroupFit:
    """Simulate one table and fit it."""
    optimizer = "sgd" if cell.truth.exponent > 0.75 else "adam"
    table = simulate_table(cell.truth.lr_max(), cell.design, rng, optimizer)
    results = Results(normalize_table(table, "simulated", {}).frame, "simulated")
    return fit_results(results).groups[0]


def stack(intervals: list[tuple[float, float] | None]) -> np.ndarray:
    """Return the ends of the intervals that were not refused, shape ``[intervals, 2]``."""
    return np.array([ends for ends in intervals if ends is not None]).reshape(-1, 2)


def covers(ends: np.ndarray, exponent: float) -> np.ndarray:
    """Return which intervals hold the exponent."""
    return np.asarray((ends[:, 0] <= exponent) & (exponent <= ends[:, 1]))


def measure(cell: Cell, row: int, repeats: int) -> str:
    """Return one row of the table."""
    begin = time.perf_counter()
    fits = [fit_once(cell, np.random.default_rng([row, seed])) for seed in range(repeats)]
    seconds = (time.perf_counter() - begin) / repeats
    p = cell.truth.exponent
    ends = stack([fit.exponent_ci for fit in fits])
    covered = covers(ends, p)
    covered90 = covers(stack([fit.exponent_ci90 for fit in fits]), p)
    half = (ends[:, 1] - ends[:, 0]) / 2
    share = {o: np.mean([fit.check.outcome is o for fit in fits]) for o in Outcome}
    design = cell.design
    return (
        f"{cell.truth.name:24} {p:4.1f} {design.sigma:5.2f} {design.grid_ratio:5.2f} "
        f"{design.num_seeds:5d} {design.drift:5.1f} {np.mean(covered):8.3f} "
        f"{np.mean(covered90):6.3f} {np.median(half):6.3f} {share[Outcome.CONFIRMED]:9.2f} "
        f"{share[Outcome.REFUTED]:7.3f} {1 - len(ends) / repeats:7.3f} {seconds * 1e3:6.0f}"
    )


def cells(wide: bool) -> list[Cell]:
    """Return what is simulated: the four truths asked for, and what might break them."""
    base = Design()  # 6 seeds, ratio sqrt 2, sigma .15: like the digits study
    main = [Cell(Truth(p, bend), base) for p in (1.0, 0.5) for bend in (None, 30.0)]
    if not wide:
        return main
    bends = [Cell(Truth(p, b), base) for p in (1.0, 0.5) for b in (150.0, 300.0, 3000.0)]
    designs = [
        replace(base, sigma=0.05),
        replace(base, sigma=0.3),
        replace(base, sigma=0.02),
        replace(base, grid_ratio=2.0),
        replace(base, grid_ratio=2.0, sigma=0.05, staggered=True),
        replace(base, grid_ratio=2**0.25),
        replace(base, num_seeds=3),
        replace(base, num_seeds=2),
        replace(base, num_seeds=12),
        replace(base, drift=0.8),
        replace(base, flipped=0.05),
    ]
    truths = (Truth(1.0), Truth(1.0, 30.0), Truth(0.5))
    off = [Cell(Truth(p, b, 0.08), base) for p, b in ((1.0, None), (1.0, 30.0), (0.5, None))]
    # Not quite 1, so "confirmed" is false here; it may happen in at most 6 % (statistics.md).
    near = [Cell(Truth(p, b), base) for p in (0.9, 1.1) for b in (None, 300.0)]
    swept = [Cell(truth, design) for design in designs for truth in truths]
    return main + bends + off + near + swept


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=200, help="tables per row")
    parser.add_argument("--wide", action="store_true", help="more truths and designs")
    options = parser.parse_args()
    print(f"B = 1 … {LAST_BATCH_SIZE}, {options.repeats} tables a row; half: median half-width")
    print(
        f"{'truth':24} {'p':>4} {'sigma':>5} {'ratio':>5} {'seeds':>5} {'drift':>5} "
        f"{'coverage':>8} {'at 90%':>6} {'half':>6} "
        f"{'confirmed':>9} {'refuted':>7} {'refused':>7} {'ms':>6}"
    )
    for row, cell in enumerate(cells(options.wide)):
        print(measure(cell, row, options.repeats), flush=True)


if __name__ == "__main__":
    main()
