"""Run every benchmark in turn, each in a process of its own: ``python -m benchmarks``."""

import subprocess
import sys

from benchmarks.timing import ROOT

# The quick ones first.
BENCHMARKS = (
    "startup",
    "known_answer",
    "throughput",
    "packs",
    "curvature",
    "optimal",
    "search",
    "coverage",
)


def main() -> int:
    """Run them and return how many failed."""
    num_failed = 0
    for name in BENCHMARKS:
        print(f"\n== {name}", flush=True)
        command = [sys.executable, "-m", f"benchmarks.{name}"]
        num_failed += subprocess.run(command, cwd=ROOT, check=False).returncode != 0
    return num_failed


if __name__ == "__main__":
    raise SystemExit(main())
