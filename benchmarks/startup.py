"""How long one waits for ``scaling-sweep --help`` and for ``scaling-sweep fit``, start to exit.

The table that is fitted is simulated at the size of sweeps/digits.yaml: two optimizers, ten batch
sizes, six seeds, about 28 learning rates, losses and loss curves included, so that the report has
all its pages. Medians of five runs; a first one, which finds the disk cold, is not counted.

    python -m benchmarks.startup [--repeats 5]
"""

import argparse
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.criteria import Verdict
from analysis.results import write_results
from analysis.simulate import Design, simulate_table
from benchmarks.tables import markdown_table
from benchmarks.timing import describe_conditions, time_command

HELP_TARGET_S, FIT_TARGET_S = 0.15, 5.0
NUM_CURVE_POINTS = 64
# Twice 28 learning rates: the edges of SGD span nine octaves and Adam's half of that, so the
# margins differ.
_STUDIES = (("sgd", 1.0, 1.5), ("adam", 0.5, 3.1))


def simulate_digits(rng: np.random.Generator) -> pd.DataFrame:
    """Simulate the table of a study like sweeps/digits.yaml, without its curves."""
    tables = [
        simulate_table(_power_law(p), Design(margin=margin), rng, optimizer)
        for optimizer, p, margin in _STUDIES
    ]
    table = pd.concat(tables, ignore_index=True)
    diverged = table["verdict"] == Verdict.DIVERGED.value
    final_loss = np.where(diverged, rng.lognormal(2, 1, len(table)), rng.uniform(0, 1, len(table)))
    return table.assign(
        trial_id=[f"{row:016x}" for row in range(len(table))],
        task="digits_mlp",
        horizon="300 steps",
        num_steps=300,
        steps_run=300,
        num_examples=1797,
        initial_loss=2.3,
        start_loss=2.3,
        final_loss=final_loss,
        peak_loss=np.maximum(final_loss, 2.3),
        min_loss=np.minimum(final_loss, 2.3),
    )


def _power_law(exponent: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda b: np.asarray(0.03 * b**exponent)


def simulate_curves(table: pd.DataFrame) -> pd.DataFrame:
    """Return a straight loss curve for every trial, as curves.parquet holds them."""
    steps = np.linspace(1, 300, NUM_CURVE_POINTS).astype(int)
    ends = zip(table["initial_loss"], table["final_loss"], strict=True)
    return pd.DataFrame(
        {
            "trial_id": table["trial_id"],
            "step": [steps.tolist()] * len(table),
            "loss": [np.linspace(*pair, NUM_CURVE_POINTS).tolist() for pair in ends],
        }
    )


def time_program(arguments: Sequence[str], repeats: int) -> list[float]:
    """Return the seconds of several runs of ``scaling-sweep``, after one that is not counted."""
    program = str(Path(sys.executable).parent / "scaling-sweep")
    runs = [time_command([program, *arguments]).wall_time_s for _ in range(repeats + 1)]
    return runs[1:]


def render_row(name: str, seconds: Sequence[float], target_s: float) -> list[str]:
    """Return one row of the table."""
    median = statistics.median(seconds)
    spread = f"{min(seconds):.3f}–{max(seconds):.3f}"
    return [name, f"{median:.3f}", spread, f"{target_s:g}", f"{median / target_s:.2f}"]


def measure(repeats: int) -> None:
    """Print the table."""
    print(describe_conditions() + "\n", flush=True)
    table = simulate_digits(np.random.default_rng(0))
    with tempfile.TemporaryDirectory(prefix="scaling-sweep-") as scratch:
        results = Path(scratch) / "results.parquet"
        write_results(table, results)
        simulate_curves(table).to_parquet(results.with_name("curves.parquet"))
        rows = [
            render_row("`--help`", time_program(["--help"], repeats), HELP_TARGET_S),
            render_row(
                f"`fit`, {len(table):,} trials",
                time_program(["fit", str(results)], repeats),
                FIT_TARGET_S,
            ),
        ]
        print(markdown_table(("command", "median s", "range s", "aim s", "median / aim"), rows))


def main() -> None:
    """Read the options and measure."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=5, help="runs of each command")
    measure(parser.parse_args().repeats)


if __name__ == "__main__":
    main()
