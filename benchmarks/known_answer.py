"""Least squares, where the edge is known: what ``scaling-sweep run`` finds against 2B/(B + d + 1).

For inputs drawn afresh from ``N(0, I_d)`` SGD is mean-square stable up to ``η = 2B/(B + d + 1)``,
a saturating law with exponent 1.

    python -m benchmarks.known_answer [--sweep sweeps/least_squares.yaml] [--no-curvature]
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from benchmarks.timing import ROOT, Timed, describe_conditions, time_command
from scaling_sweep.spec import load_sweep

MAX_RELATIVE_ERROR = 0.05
MAX_HALF_WIDTH = 0.1
MAX_WALL_TIME_S = 120.0


@dataclass(frozen=True)
class EdgeError:
    """One measured edge beside the true one.

    Attributes:
        batch_size: Examples per step.
        lr_max: As measured.
        truth: ``2B/(B + d + 1)``.
    """

    batch_size: int
    lr_max: float
    truth: float

    @property
    def relative(self) -> float:
        """Error of the measured edge in units of the true one."""
        return self.lr_max / self.truth - 1


@dataclass(frozen=True)
class Finding:
    """What a run of the sweep found and what it cost.

    Attributes:
        timed: The cost from start to exit, fit and report included.
        errors: One per batch size.
        law: Name of the law reported.
        exponent_ci: Ends of the interval of the exponent; None when the fit was refused.
        outcome: Of the check against 1.
    """

    timed: Timed
    errors: tuple[EdgeError, ...]
    law: str | None
    exponent_ci: tuple[float, float] | None
    outcome: str | None

    @property
    def largest_error(self) -> float:
        """Largest relative error over batch sizes, without its sign."""
        return max(abs(error.relative) for error in self.errors)

    @property
    def narrow_and_true(self) -> bool:
        """Whether the interval covers 1 and is narrower than the target."""
        if self.exponent_ci is None:
            return False
        low, high = self.exponent_ci
        return low <= 1 <= high and (high - low) / 2 < MAX_HALF_WIDTH


def true_edge(batch_size: int, dim: int) -> float:
    """Return the largest learning rate at which the mean square of the weights stays bounded.

    Example:
        >>> true_edge(1, 64)
        0.030303030303030304
    """
    return 2 * batch_size / (batch_size + dim + 1)


def without_curvature(text: str) -> str:
    r"""Return a sweep file that measures no curvature, which the edges do not need.

    Example:
        >>> print(without_curvature("name: some\ncurvature: {points: [init]}"), end="")
        name: some
    """
    asked = yaml.safe_load(text)
    return yaml.safe_dump({key: value for key, value in asked.items() if key != "curvature"})


def run_known_answer(sweep: Path) -> Finding:
    """Run the sweep in a folder of its own and read what was found."""
    dim = int(load_sweep(sweep).spec.task.args.get("dim", 64))
    program = str(Path(sys.executable).parent / "scaling-sweep")
    with tempfile.TemporaryDirectory(prefix="scaling-sweep-") as folder:
        timed = time_command([program, "run", str(sweep), "--out", folder])
        (group,) = json.loads((Path(folder) / "fit.json").read_text())["groups"]
    errors = tuple(
        EdgeError(edge["batch_size"], edge["lr_max"], true_edge(edge["batch_size"], dim))
        for edge in group["edges"]
    )
    ends = group["exponent_ci"]
    return Finding(
        timed=timed,
        errors=errors,
        law=group["law"],
        exponent_ci=None if ends is None else (float(ends[0]), float(ends[1])),
        outcome=group["check"]["outcome"],
    )


def render_edges(errors: Sequence[EdgeError]) -> str:
    """Return the table of edges."""
    lines = [f"{'B':>6}{'LR_max':>10}{'2B/(B+d+1)':>12}{'error':>9}"]
    lines += [
        f"{error.batch_size:6}{error.lr_max:10.4f}{error.truth:12.4f}{error.relative:9.2%}"
        for error in errors
    ]
    return "\n".join(lines)


def render_targets(finding: Finding) -> str:
    """Return what was aimed at, what was found, and whether it was reached."""
    ends = finding.exponent_ci
    interval = "refused" if ends is None else f"[{ends[0]:.3f}, {ends[1]:.3f}], {finding.law} law"
    wall_time_s = finding.timed.wall_time_s
    rows = [
        ("largest error", f"{finding.largest_error:.2%}", f"< {MAX_RELATIVE_ERROR:.0%}"),
        ("exponent", interval, f"covers 1, within ± {MAX_HALF_WIDTH:g}"),
        ("check", str(finding.outcome), "confirmed"),
        ("wall time", f"{wall_time_s:.0f} s", f"< {MAX_WALL_TIME_S:.0f} s on 2 idle cores"),
        ("CPU time", f"{finding.timed.cpu_time_s:.0f} s", ""),
    ]
    reached = (
        finding.largest_error < MAX_RELATIVE_ERROR,
        finding.narrow_and_true,
        finding.outcome == "confirmed",
        wall_time_s < MAX_WALL_TIME_S,
    )
    said = [*("reached" if yes else "missed" for yes in reached), ""]
    return "\n".join(
        f"{name:15}{found:36}{target:28}{outcome}"
        for (name, found, target), outcome in zip(rows, said, strict=True)
    )


def main() -> None:
    """Run the sweep and print both tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = ROOT / "sweeps" / "least_squares.yaml"
    parser.add_argument("--sweep", type=Path, default=default, help="another sweep of that task")
    parser.add_argument("--no-curvature", action="store_true", help="the edges only, no theory")
    options = parser.parse_args()
    print(describe_conditions(), flush=True)
    with tempfile.TemporaryDirectory(prefix="scaling-sweep-") as scratch:
        sweep = options.sweep.resolve()
        if options.no_curvature:
            text = without_curvature(sweep.read_text())
            sweep = Path(scratch) / sweep.name
            sweep.write_text(text)
        finding = run_known_answer(sweep)
    print(render_edges(finding.errors))
    print(render_targets(finding))


if __name__ == "__main__":
    main()
