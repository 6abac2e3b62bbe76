"""How long ``fit`` takes on tables of 10^3 to 10^6 trials, and a peer on the same likelihood.

The tables are simulated: two optimizers, ten batch sizes, as many seeds as it takes, a lattice of
learning rates. Timed is what ``scaling-sweep fit`` does before it draws: the parquet file read and
checked, edges bracketed, laws fitted with their intervals, exponents checked.

The peer is lifelines' interval-censored log-normal regression on log B: the likelihood of our
power law, without the other laws, the profiles and the bootstrap. It starts from the brackets that
we found. It comes with the extra ``bench``; without it the column says so. statsmodels has no
regression with interval-censored outcomes.

    python -m benchmarks.fit [--largest 1000000]
"""

import argparse
import importlib.util
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from analysis.edge_summaries import Edge
from analysis.edges import find_edges
from analysis.fitting.fits import fit_laws
from analysis.groups import fit_results
from analysis.results import read_results, write_results
from analysis.simulate import Design, simulate_table
from benchmarks.tables import markdown_table
from benchmarks.timing import describe_conditions

TARGET_S = 5.0
_TRUTHS = {"sgd": 1.0, "adam": 0.5}
_LAW_HEAD = ("laws s", "exponent", "lifelines s", "its exponent", "lifelines / laws")
SIZES = (10**3, 10**4, 10**5, 10**6)


@dataclass(frozen=True)
class FitTimes:
    """What one table cost.

    Attributes:
        num_rows: Trials in it.
        read_s: Reading and checking the file.
        fit_s: Everything that is said about it.
        law_s: Our power law alone, of one optimizer, from its brackets.
        exponent: What that law says.
        peer_s: The peer on the same brackets; None where it is not installed.
        peer_exponent: What it says.
    """

    num_rows: int
    read_s: float
    fit_s: float
    law_s: float
    exponent: float
    peer_s: float | None = None
    peer_exponent: float | None = None


def simulate_trials(num_rows: int, rng: np.random.Generator) -> pd.DataFrame:
    """Simulate at least so many trials, as nearly as whole seeds allow."""

    def simulate(num_seeds: int) -> pd.DataFrame:
        design = Design(num_seeds=num_seeds)
        tables = [simulate_table(_power(p), design, rng, name) for name, p in _TRUTHS.items()]
        return pd.concat(tables, ignore_index=True)

    return simulate(max(1, -(-num_rows // len(simulate(1)))))


def _power(exponent: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda b: np.asarray(0.03 * b**exponent)


def fit_peer(edges: tuple[Edge, ...]) -> float:
    """Return the exponent by lifelines' regression.

    Args:
        edges: Brackets, both ends of each positive and finite.

    Returns:
        The slope of log edge on log B.
    """
    from lifelines import LogNormalAFTFitter

    table = pd.DataFrame(
        {
            "low": [edge.stable for edge in edges],
            "high": [edge.diverged for edge in edges],
            "log_b": np.log([edge.batch_size for edge in edges]),
        }
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fitter = LogNormalAFTFitter().fit_interval_censoring(table, "low", "high")
    return float(fitter.params_["mu_", "log_b"])


def measure(num_rows: int, with_peer: bool) -> FitTimes:
    """Time one table."""
    table = simulate_trials(num_rows, np.random.default_rng(0))
    with tempfile.TemporaryDirectory(prefix="scaling-sweep-") as scratch:
        path = Path(scratch) / "results.parquet"
        write_results(table, path)
        begin = time.perf_counter()
        results = read_results(path)
        read = time.perf_counter()
        fit_results(results)
        done = time.perf_counter()
    edges = tuple(
        edge
        for edge in find_edges(results.frame[results.frame["optimizer"] == "sgd"])
        if edge.stable > 0 and np.isfinite(edge.diverged)
    )
    begin_law = time.perf_counter()
    laws = {law.name: law for law in fit_laws(edges, bootstrap=False)}
    ended = time.perf_counter()
    peer = fit_peer(edges) if with_peer else None
    peer_s = time.perf_counter() - ended if with_peer else None
    exponent = laws["power"].exponent
    times = (read - begin, done - read, ended - begin_law)
    return FitTimes(len(table), *times, exponent, peer_s, peer)


def main() -> None:
    """Read the options and print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--largest", type=int, default=SIZES[-1], help="trials in the last table")
    options = parser.parse_args()
    with_peer = importlib.util.find_spec("lifelines") is not None
    print(describe_conditions() + "\n", flush=True)
    if not with_peer:
        print("lifelines is not installed (pip install '.[bench]'): no peer\n")
    measure(SIZES[0], with_peer)  # imports and caches are not counted
    head = ("rows", "read s", "fit s", "both s", "/ aim of 5 s", *_LAW_HEAD)
    rows = [
        _row(measure(size, with_peer)) for size in SIZES if size <= max(options.largest, SIZES[0])
    ]
    print(markdown_table(head, rows))
    print(
        "\nread, fit: the file, and all that is said about it. laws: our laws with their profile "
        "intervals, one optimizer, from its brackets. lifelines: one law from the same brackets."
    )


def _row(found: FitTimes) -> list[str]:
    both = found.read_s + found.fit_s
    law = [f"{found.law_s:.2f}", f"{found.exponent:.4f}", "-", "-", "-"]
    if found.peer_s is not None:
        law[2:] = [
            f"{found.peer_s:.2f}",
            f"{found.peer_exponent:.4f}",
            f"{found.peer_s / found.law_s:.1f}",
        ]
    times = (found.read_s, found.fit_s, both, both / TARGET_S)
    return [f"{found.num_rows:,}", *(f"{value:.2f}" for value in times), *law]


if __name__ == "__main__":
    main()
