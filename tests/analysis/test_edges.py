"""Edges and their medians, against brute force, published values and exact formulas."""

import numpy as np
import pandas as pd
import pytest
from scipy import optimize, stats

from analysis.edge_summaries import Censoring, Edge, Place
from analysis.edges import bracket_edge, find_edges, find_median_edges
from analysis.fitting.cells import Cells, collect_cells
from analysis.fitting.likelihood import bracket_likelihood
from analysis.fitting.medians import fit_medians
from analysis.simulate import Design, simulate_table

# Nelson 1982, turbine wheels: hours, wheels without a crack, wheels with one.
HOURS = np.array([4, 10, 14, 18, 22, 26, 30, 34, 38, 42, 46.0])
SOUND = np.array([39, 49, 31, 66, 25, 30, 33, 7, 12, 19, 15.0])
CRACKED = np.array([0, 4, 2, 7, 5, 9, 9, 6, 22, 21, 21.0])


def count_misplaced(lr: np.ndarray, diverged: np.ndarray, split: float) -> int:
    """Count trials on the wrong side of a split, one by one."""
    return sum(bool(bad) if x < split else not bad for x, bad in zip(lr, diverged, strict=True))


@pytest.mark.parametrize("seed", range(20))
def test_bracket_spans_exactly_the_splits_with_fewest_misplaced_trials(seed: int) -> None:
    """No split is better than the bracket's, and splits outside of it are worse."""
    rng = np.random.default_rng(seed)
    lr = np.unique(rng.uniform(0.1, 10, 9))
    diverged = rng.uniform(size=lr.size) < stats.logistic.cdf(2 * np.log(lr))
    splits = np.concatenate([[0.05], np.sqrt(lr[:-1] * lr[1:]), [20.0]])
    counts = np.array([count_misplaced(lr, diverged, split) for split in splits])
    best = splits[counts == counts.min()]

    shuffled = rng.permutation(lr.size)
    low, high, misplaced = bracket_edge(lr[shuffled], diverged[shuffled])

    assert misplaced == counts.min()
    assert low < best.min()
    assert best.max() < high
    inside = splits[(splits > low) & (splits < high)]
    assert inside.min() == best.min()
    assert inside.max() == best.max()


def test_bracket_is_open_where_the_grid_ended() -> None:
    """All stable leaves the bracket open above, all diverged below."""
    lr = np.array([1.0, 2.0])
    assert bracket_edge(lr, np.array([False, False])) == (2.0, np.inf, 0)
    assert bracket_edge(lr, np.array([True, True])) == (0.0, 1.0, 0)


def test_failed_trials_are_no_measurement() -> None:
    """A failed trial neither closes a bracket nor counts as misplaced."""
    frame = pd.DataFrame(
        {
            "batch_size": 4,
            "seed": 1,
            "lr": [1.0, 2.0, 4.0],
            "verdict": ["stable", "failed", "diverged"],
        }
    )
    assert find_edges(frame) == (Edge(4, 1, 1.0, 4.0),)
    assert find_edges(frame[frame["verdict"] == "failed"]) == ()


def test_edges_of_a_simulated_table_bracket_every_unit() -> None:
    """There is one edge per (batch size, seed), and its bracket is one step of the grid wide."""
    table = simulate_table(lambda b: 0.01 * b, Design(), np.random.default_rng(0))
    edges = find_edges(table.sample(frac=1, random_state=0))
    assert len(edges) == 60
    ratios = [edge.diverged / edge.stable for edge in edges]
    assert ratios == pytest.approx([2**0.5] * 60)


def turbine_cells() -> Cells:
    """Return the turbine wheels as cells of a single batch size."""
    low = np.concatenate([np.full(HOURS.size, -np.inf), np.log(HOURS)])
    high = np.concatenate([np.log(HOURS), np.full(HOURS.size, np.inf)])
    return Cells(
        np.zeros(low.size, int), low, high, np.concatenate([CRACKED, SOUND])[None], (Place(1),)
    )


def test_turbine_wheels_give_the_published_estimates() -> None:
    """Intercept 3.6999, log scale -.3287, log-likelihood -190.7 (Nelson 1982, log-normal)."""
    medians = fit_medians(turbine_cells())
    assert medians.log_median[0] == pytest.approx(3.6999, abs=5e-5)
    assert np.log(medians.sigma) == pytest.approx(-0.3287, abs=5e-5)
    assert medians.log_likelihood == pytest.approx(-190.7, abs=0.05)


def test_turbine_wheels_give_the_published_standard_errors() -> None:
    """The analytic Hessian gives the errors .0708 and .1232 at the published estimates."""
    cells = turbine_cells()
    parts = bracket_likelihood(cells.low, cells.high, np.array(3.6999), np.array(-0.3287))
    w = cells.weights
    hessian = np.array(
        [
            [(w * parts.dd_mean).sum(), (w * parts.dd_cross).sum()],
            [(w * parts.dd_cross).sum(), (w * parts.dd_scale).sum()],
        ]
    )
    errors = np.sqrt(np.diag(np.linalg.inv(-hessian)))
    assert errors == pytest.approx([0.0708, 0.1232], abs=5e-5)


def test_medians_agree_with_a_general_purpose_optimiser() -> None:
    """Nelder and Mead find no better medians and spread than the Newton steps."""
    table = simulate_table(
        lambda b: 0.1 * b**0.5, Design(batch_sizes=(1, 8, 64)), np.random.default_rng(3)
    )
    cells = collect_cells(find_edges(table))
    index = np.searchsorted([1, 8, 64], cells.batch_size)

    def loss(x: np.ndarray) -> float:
        mass = stats.norm.cdf(cells.high, x[index], np.exp(x[3])) - stats.norm.cdf(
            cells.low, x[index], np.exp(x[3])
        )
        return -float((cells.weights * np.log(np.maximum(mass, 1e-300))).sum())

    start = np.array([*np.log(0.1 * np.array([1, 8, 64]) ** 0.5), np.log(0.15)])
    slow = optimize.minimize(
        loss, start, method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-10, "maxiter": 4000}
    )
    fast = fit_medians(cells)
    assert fast.log_likelihood == pytest.approx(-slow.fun, abs=1e-6)
    assert fast.log_median == pytest.approx(slow.x[:3], abs=1e-4)
    assert np.log(fast.sigma) == pytest.approx(slow.x[3], abs=1e-3)


def test_median_interval_is_students_when_edges_are_known_exactly() -> None:
    """On a very fine grid the interval is mean ± t s/sqrt(m) with the pooled spread."""
    rng = np.random.default_rng(1)
    log_edges = rng.normal(0, 0.2, (3, 6))
    edges = [
        Edge(2**i, seed, float(np.exp(x - 1e-4)), float(np.exp(x + 1e-4)))
        for i, row in enumerate(log_edges)
        for seed, x in enumerate(row)
    ]
    pooled = np.sqrt(log_edges.var(1, ddof=1).mean())
    half = stats.t.ppf(0.975, 15) * pooled / np.sqrt(6)
    for found, row in zip(find_median_edges(edges), log_edges, strict=True):
        assert np.log(found.median) == pytest.approx(row.mean(), abs=1e-4)
        expected = [row.mean() - half, row.mean() + half]
        assert np.log(found.median_ci) == pytest.approx(expected, abs=2e-3)


def test_median_beyond_the_grid_has_an_open_interval() -> None:
    """Where every seed was stable at the largest lr, only a lower end is known."""
    table = simulate_table(
        lambda b: 0.1 * b, Design(batch_sizes=(1, 2, 4, 8)), np.random.default_rng(0)
    )
    *_, last = find_median_edges(find_edges(table[table["lr"] < 0.35]))
    assert last.censored is Censoring.RIGHT
    assert last.median == pytest.approx(last.stable)
    assert 0 < last.median_ci[0] < 0.8
    assert last.median_ci[1] == np.inf
    first, *_ = find_median_edges(find_edges(table[table["lr"] > 0.25]))
    assert first.censored is Censoring.LEFT
    assert first.median == pytest.approx(first.diverged)
    assert first.median_ci[0] == 0
    assert first.median_ci[1] < np.inf


def test_interval_holds_the_known_end_where_seeds_have_grids_of_their_own() -> None:
    """One seed stable far up, the other's grid ended early: LR_max is known to exceed both."""
    edges = [Edge(8, 0, 1.0, np.inf), Edge(8, 1, 4.0, np.inf)]
    edges += [Edge(size, seed, 0.1, 0.2) for size in (1, 2, 4) for seed in (0, 1)]
    *_, last = find_median_edges(edges)
    assert last.censored is Censoring.RIGHT
    assert last.median_ci[0] <= last.median == pytest.approx(2.0)
    assert last.median_ci[1] == np.inf


def test_bracket_open_at_both_ends_is_no_edge() -> None:
    """Splits that are equally good everywhere say nothing of where the edge is."""
    assert find_median_edges([Edge(8, 0, 0.0, np.inf)]) == ()
    [found] = find_median_edges(
        [Edge(8, 0, 0.0, np.inf), Edge(8, 1, 0.0, np.inf), Edge(8, 2, 0.5, np.inf)]
    )
    assert (found.num_seeds, found.median) == (1, 0.5)


def test_one_seed_reports_its_bracket() -> None:
    """Without a second seed there is no spread: the interval is the bracket."""
    edges = [Edge(2**i, 0, 0.1 * 2**i, 0.2 * 2**i) for i in range(5)]
    assert [m.median_ci for m in find_median_edges(edges)] == [
        pytest.approx((e.stable, e.diverged)) for e in edges
    ]


def test_median_interval_covers_as_often_as_it_says() -> None:
    """The 95 % interval of LR_max(B) holds the true median in about 95 % of tables."""
    design = Design(batch_sizes=(1, 4, 16, 64))
    rng = np.random.default_rng(5)
    hits = []
    for _ in range(150):
        table = simulate_table(lambda b: 0.1 * b**0.7, design, rng)
        for found in find_median_edges(find_edges(table)):
            low, high = found.median_ci
            hits.append(low <= 0.1 * found.batch_size**0.7 <= high)
    # 600 intervals, four at a time share a spread: standard error about .01.
    assert np.mean(hits) == pytest.approx(0.95, abs=0.035)
