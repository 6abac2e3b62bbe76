"""Whether intervals hold the truth as often as they say, through the whole fit."""

import json
import warnings

import numpy as np
import pytest

from analysis.groups import fit_results, to_json
from analysis.results import Results
from analysis.simulate import Design, simulate_table
from analysis.summaries import GroupFit, Outcome
from analysis.tables import normalize_table

TRUTHS = {
    "power, p = 1": (1.0, lambda b: 0.01 * b),
    "power, p = 1/2": (0.5, lambda b: 0.01 * b**0.5),
    "saturating, p = 1": (1.0, lambda b: 2 / (1 + 30 / b)),
    "saturating, p = 1/2": (0.5, lambda b: 2 / (1 + (30 / b) ** 0.5)),
}


def fit_simulated(truth: str, seed: int, design: Design | None = None) -> GroupFit:
    """Simulate one table and fit it as a foreign one."""
    rng = np.random.default_rng(seed)
    table = simulate_table(TRUTHS[truth][1], design or Design(), rng)
    results = Results(normalize_table(table, "simulated", {}).frame, "simulated")
    [group] = fit_results(results).groups
    return group


@pytest.mark.slow
@pytest.mark.parametrize("truth", TRUTHS)
def test_interval_covers_the_true_exponent_as_often_as_it_says(truth: str) -> None:
    """The 95 % interval holds the true exponent in nearly all tables like the digits study."""
    exponent = TRUTHS[truth][0]
    intervals = [fit_simulated(truth, seed).exponent_ci for seed in range(24)]
    held = [ci[0] <= exponent <= ci[1] for ci in intervals if ci is not None]
    assert len(held) == 24  # good tables are not refused
    # The same tables each time: these have at most two misses, where intervals that hold the truth
    # in 85 % would have more in 7 of 10 cases. The share itself is printed by
    # benchmarks/coverage.py.
    assert sum(not one for one in held) <= 2


def test_ten_tables_hold_the_truth_and_refute_nothing() -> None:
    """A quick look at the same: at most one miss in ten."""
    fits = [fit_simulated("saturating, p = 1", seed) for seed in range(10)]
    assert sum(fit.check.outcome is Outcome.REFUTED for fit in fits) <= 1
    assert all(fit.refused is None for fit in fits)


@pytest.mark.parametrize("seed", range(25))
def test_any_table_gets_an_answer(seed: int) -> None:
    """However poor the table, the fit ends in numbers or a reason, and in valid JSON."""
    rng = np.random.default_rng(seed)
    sizes = tuple(sorted({int(2 ** rng.uniform(0, 10)) for _ in range(rng.integers(1, 9))}))
    design = Design(
        sizes,
        num_seeds=int(rng.integers(1, 4)),
        grid_ratio=float(rng.choice([1.1, 2, 10])),
        sigma=float(rng.choice([0, 0.1, 2])),
        margin=float(rng.choice([0, 1])),
        staggered=bool(rng.integers(2)),
        flipped=float(rng.choice([0, 0.05, 0.5])),
    )
    table = simulate_table(TRUTHS["saturating, p = 1"][1], design, rng)
    table = table[rng.uniform(size=len(table)) < 0.8]
    table.loc[rng.uniform(size=len(table)) < 0.1, "verdict"] = "failed"
    results = Results(normalize_table(table, "poor", {}).frame, "poor")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit = fit_results(results)
    json.dumps(to_json(fit), allow_nan=False)
    [group] = fit.groups
    assert (group.refused is None) == (group.exponent_ci is not None) == bool(group.laws)
    for edge in group.edges:
        assert edge.median_ci[0] <= edge.median <= edge.median_ci[1]
