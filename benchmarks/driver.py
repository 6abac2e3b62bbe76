"""What the driver costs: time and memory per pack, and the share of time that workers train.

First packs of up to 8 trials that do nothing, on a real Ray, through the whole of a run: planned,
sent to a worker, which answers at once with made-up curves of 64 points, stored as parts,
assembled. What is left of the time is the driver's, Ray's and Tune's own. Each size runs in a
process of its own.

Then a real sweep, with the time that workers spend in training summed up inside them: its share of
the time of all workers from the first pack's begin to the last one's end. By default that is
one seed of sweeps/digits.yaml, a sixth of it.

    python -m benchmarks.driver [--trials 10 100 1000 10000] [--sweep FILE | --no-sweep]
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks.driver_run import Clocks
from benchmarks.tables import markdown_table
from benchmarks.timing import ROOT, describe_conditions, time_command

SIZES = (10, 100, 1_000, 10_000)
BUSY_TARGET = 0.9
_IDLE_SWEEP = """
name: nothing
task: {{name: least_squares, args: {{dim: 2}}}}
parameters:
  optimizer: {{values: [sgd]}}
  batch_size: {{values: [1, 2, 4, 8, 16]}}
  lr: {{values: [0.1, 0.2]}}
seeds: {seeds}
horizon: {{steps: 100}}
resources: {{max_trials_per_pack: 8}}
"""
_TRIALS_PER_SEED = 10


def idle_sweep(num_trials: int) -> str:
    """Return a sweep file of at least so many trials that train next to nothing.

    Example:
        >>> from scaling_sweep.planning import all_trials
        >>> from scaling_sweep.spec import parse_sweep
        >>> len(all_trials(parse_sweep(idle_sweep(100)).spec))
        100
    """
    return _IDLE_SWEEP.format(seeds=max(1, -(-num_trials // _TRIALS_PER_SEED)))


def one_seed(text: str) -> str:
    """Return a sweep file with one seed in place of its own number."""
    lines = [line for line in text.splitlines() if not line.startswith("seeds:")]
    return "\n".join([*lines, "seeds: 1", ""])


def run_apart(way: str, text: str) -> Clocks:
    """Run a sweep in a process of its own.

    Args:
        way: ``idle`` or ``train``.
        text: The sweep file.

    Returns:
        What its clocks said.
    """
    with tempfile.TemporaryDirectory(prefix="scaling-sweep-") as scratch:
        sweep, out = Path(scratch) / "sweep.yaml", Path(scratch) / "clocks.json"
        sweep.write_text(text)
        command = [sys.executable, "-m", "benchmarks.driver_run", way, str(sweep), str(out)]
        # Workers import the idle one from the repository.
        time_command(command, {"PYTHONPATH": str(ROOT)})
        return Clocks.load(out)


def cost_row(clocks: Clocks) -> list[str]:
    """Return one row of the first table."""
    grown = clocks.memory_mib[-1] / clocks.memory_mib[0]
    return [
        f"{clocks.num_trials:,}",
        f"{clocks.num_packs:,}",
        f"{clocks.ended_s[0]:.1f}",
        f"{1e3 * clocks.s_per_pack:.0f}",
        f"{1e3 * clocks.cpu_s_per_pack:.0f}",
        f"{clocks.memory_mib[0]:.0f}",
        f"{clocks.memory_mib[-1]:.0f}",
        f"{grown:.3f}",
        f"{clocks.peak_mib:.0f}",
    ]


def measure_idle(sizes: Sequence[int]) -> None:
    """Print what packs cost that do nothing."""
    rows = [cost_row(run_apart("idle", idle_sweep(size))) for size in sizes]
    head = (
        *("trials", "packs", "first pack s", "ms/pack", "driver CPU ms/pack"),
        *("first MiB", "last MiB", "last / first", "peak MiB"),
    )
    print(markdown_table(head, rows))
    print(
        "\nfirst pack: from the program's start to its first pack stored. ms/pack: from there to "
        "the last one. MiB: memory of the driver after its first and its last pack, and at most, "
        "while the table is assembled."
    )


def measure_busy(name: str, text: str) -> None:
    """Print which share of the time workers train."""
    clocks = run_apart("train", text)
    share = clocks.busy_share
    head = ("sweep", "trials", "packs", "workers", "first pack s", "busy", "/ aim of 0.9")
    row = (
        *(name, f"{clocks.num_trials:,}", f"{clocks.num_packs:,}", str(clocks.num_workers)),
        *(f"{clocks.ended_s[0]:.1f}", f"{share:.3f}", f"{share / BUSY_TARGET:.2f}"),
    )
    print("\n" + markdown_table(head, [row]))


def main() -> None:
    """Read the options and print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, nargs="+", default=SIZES)
    parser.add_argument("--sweep", type=Path, help="trained whole instead of the digits' one seed")
    parser.add_argument("--no-sweep", action="store_true", help="packs that do nothing only")
    options = parser.parse_args()
    print(describe_conditions() + "\n", flush=True)
    measure_idle(options.trials)
    if options.no_sweep:
        return
    if options.sweep is not None:
        measure_busy(options.sweep.name, options.sweep.read_text())
    else:
        digits = (ROOT / "sweeps" / "digits.yaml").read_text()
        measure_busy("digits.yaml, one seed", one_seed(digits))


if __name__ == "__main__":
    main()
