"""Run every benchmark in turn, each in a process of its own: ``python -m benchmarks``.

Fewer repeats than each takes when it is run alone, so that all end within ten minutes on two idle
cores: Ray is started ten times, and 48 of the peers' trials start a process each, which takes two
of them.

    python -m benchmarks [--only NAME ...] [--list]
"""

import argparse
import subprocess
import sys
import time
from dataclasses import dataclass

from benchmarks.tables import markdown_table
from benchmarks.timing import ROOT

TARGET_S = 600


@dataclass(frozen=True)
class Benchmark:
    """One command.

    Attributes:
        name: Its module.
        answers: The question it answers.
        arguments: What makes it short enough.
    """

    name: str
    answers: str
    arguments: tuple[str, ...] = ()

    @property
    def command(self) -> str:
        """What to type for this one alone, with the repeats that figures in docs/ have."""
        return f"python -m benchmarks.{self.name}"


# The quick ones first.
BENCHMARKS = (
    Benchmark("startup", "How long does one wait for `--help`, and for `fit`?", ("--repeats", "3")),
    Benchmark("fit", "How long does `fit` take on 10³ to 10⁶ trials, and lifelines?"),
    Benchmark(
        "optimal",
        "Does the interval of the best learning rate hold the truth?",
        ("--repeats", "50"),
    ),
    Benchmark("coverage", "Does the interval of the exponent hold the truth?", ("--repeats", "30")),
    Benchmark(
        "search",
        "What do grid, bisection, halving and TPE take to find the same edges?",
        ("--repeats", "4"),
    ),
    Benchmark(
        "packs",
        "How long is a step, against JAX, hand-written bmm, one model at a time?",
        ("--repeats", "5"),
    ),
    Benchmark(
        "curvature",
        "Lanczos against eigsh, many batches at once?",
        ("--repeats", "1", "--tolerances", "1e-3"),
    ),
    Benchmark("driver", "What does the driver take, in time and memory? Are workers busy?"),
    Benchmark(
        "known_answer",
        "Does a whole run find the edges that are known exactly?",
        ("--no-curvature",),
    ),
    Benchmark("throughput", "How many trials a second, against Ray Tune in three manners?"),
)


def describe_benchmarks() -> str:
    """Return the list as a table, for docs/performance.md."""
    rows = [(f"`{benchmark.command}`", benchmark.answers) for benchmark in BENCHMARKS]
    return markdown_table(("command", "question"), rows, left=2)


def run_all(benchmarks: tuple[Benchmark, ...]) -> int:
    """Run them, print how long each took, and return how many failed."""
    rows, failed = [], 0
    for benchmark in benchmarks:
        print(f"\n== {benchmark.name}", flush=True)
        command = [sys.executable, "-m", f"benchmarks.{benchmark.name}", *benchmark.arguments]
        begin = time.perf_counter()
        done = subprocess.run(command, cwd=ROOT, check=False)
        rows.append((benchmark.name, time.perf_counter() - begin))
        failed += done.returncode != 0
    total_s = sum(seconds for _, seconds in rows)
    rows += [("all", total_s), ("all, share of ten minutes", total_s / TARGET_S)]
    print("\n" + markdown_table(("benchmark", "s"), [(name, f"{s:.4g}") for name, s in rows]))
    return failed


def main() -> int:
    """Read the options; the exit status is how many failed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    names = [benchmark.name for benchmark in BENCHMARKS]
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    parser.add_argument("--list", action="store_true", help="say what each answers, run nothing")
    options = parser.parse_args()
    if options.list:
        print(describe_benchmarks())
        return 0
    return run_all(tuple(item for item in BENCHMARKS if item.name in options.only))


if __name__ == "__main__":
    raise SystemExit(main())
