"""The best learning rate of simulated bowls: unbiased, and its interval holds the truth."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from analysis.optimal.bowls import Where
from analysis.optimal.estimates import collect_bowl, find_optimal_lrs
from analysis.simulate_bowls import BowlDesign, Shape, simulate_bowls, true_optimum

ONE_SIZE = BowlDesign(batch_sizes=(32,))
DESIGNS = {
    "even": replace(ONE_SIZE, shape=Shape.EVEN, cliff=None),
    "leaning": replace(ONE_SIZE, cliff=None),
    "leaning with a cliff": ONE_SIZE,
    "steep with a cliff": replace(ONE_SIZE, shape=Shape.STEEP),
    "coarser grid": replace(ONE_SIZE, grid_ratio=2**0.5),
    "cliff half an octave off": replace(ONE_SIZE, cliff=0.4),
    "three seeds": replace(ONE_SIZE, num_seeds=3),
}


def find_misses(design: BowlDesign, num_tables: int) -> tuple[float, float]:
    """Return the mean log error over tables, and the share of intervals that hold the truth."""
    truth = np.log(0.3) + true_optimum(design)
    errors, held = [], []
    for i in range(num_tables):
        table = simulate_bowls(lambda b: 0.3 + 0 * b, design, np.random.default_rng([7, i]))
        [found] = find_optimal_lrs(table)
        errors.append(np.log(found.lr_opt) - truth)
        held.append(found.lr_opt_ci[0] <= np.exp(truth) <= found.lr_opt_ci[1])
    return float(np.mean(errors)), float(np.mean(held))


@pytest.mark.slow
@pytest.mark.parametrize("name", DESIGNS)
def test_estimate_is_unbiased_and_its_interval_covers(name: str) -> None:
    """Bias is below 3 %, and intervals hold the truth in at least 94 of 100 tables."""
    bias, coverage = find_misses(DESIGNS[name], 100)

    assert abs(bias) < 0.03
    # The same tables each time: these have at most six misses, where intervals that hold the truth
    # in 90 % would have more in 9 of 10 cases.
    assert coverage >= 0.94


def test_twenty_tables_hold_the_truth() -> None:
    """A quick look at the same: at most three misses in twenty, and no gross bias."""
    bias, coverage = find_misses(ONE_SIZE, 20)

    assert abs(bias) < 0.06
    assert coverage >= 0.85


def test_mean_of_leaning_bowls_is_lowest_to_the_gentle_side() -> None:
    """The quadrature of the simulated truth agrees with the mean of many drawn bowls."""
    design = replace(ONE_SIZE, shape=Shape.STEEP, sigma=0.2)
    places = 0.2 * np.random.default_rng(0).normal(size=20_000)
    u = np.linspace(-0.3, 0.2, 101)

    typical = np.mean([design.shape.log_loss(u - place) for place in places], axis=0)

    assert true_optimum(design) == pytest.approx(u[typical.argmin()], abs=0.01)


def test_any_loss_column_can_be_low() -> None:
    """The optimum follows the column that is asked for."""
    lr = 2.0 ** np.arange(-4, 5)
    table = pd.DataFrame(
        {
            "batch_size": 8,
            "seed": 0,
            "lr": lr,
            "verdict": "stable",
            "final_loss": np.exp(np.log(lr) ** 2),
            "validation_loss": np.exp((np.log(lr) - np.log(0.5)) ** 2),
        }
    )

    [final], [held_out] = find_optimal_lrs(table), find_optimal_lrs(table, "validation_loss")

    assert final.lr_opt == pytest.approx(1, rel=1e-3)
    assert held_out.lr_opt == pytest.approx(0.5, rel=1e-3)
    assert held_out.loss == pytest.approx(1, rel=1e-3)


def test_failed_trials_say_nothing_and_zero_is_a_loss() -> None:
    """A failed trial is left out, a missing loss too, and a loss of 0 has a finite log."""
    rows = pd.DataFrame(
        {
            "lr": [0.1, 0.2, 0.3, 0.4],
            "seed": 0,
            "verdict": ["failed", "stable", "stable", "diverged"],
            "final_loss": [0.1, 0.0, np.nan, np.nan],
        }
    )

    bowl = collect_bowl(rows)

    assert np.exp(bowl.log_lr) == pytest.approx([0.2, 0.4])
    assert np.isfinite(bowl.log_loss).tolist() == [True, False]


def test_grid_that_ends_too_early_is_flagged() -> None:
    """A grid that does not reach the optimum has it at its edge, and no closed interval."""
    design = replace(ONE_SIZE, cliff=None, above=-0.6)
    table = simulate_bowls(lambda b: 0.3 + 0 * b, design, np.random.default_rng(0))

    [found] = find_optimal_lrs(table)

    assert found.at_edge
    assert found.where is Where.HIGH_END
    assert not found.bounded


def test_batch_sizes_without_losses_are_missing() -> None:
    """A batch size of which every trial diverged has no best learning rate."""
    table = simulate_bowls(
        lambda b: 0.01 * b, replace(ONE_SIZE, batch_sizes=(8, 64)), np.random.default_rng(0)
    )
    table.loc[table["batch_size"] == 8, "final_loss"] = np.inf

    assert [found.batch_size for found in find_optimal_lrs(table)] == [64]


def test_order_of_rows_does_not_matter() -> None:
    """Shuffled rows give the same optimum."""
    table = simulate_bowls(lambda b: 0.3 + 0 * b, ONE_SIZE, np.random.default_rng(0))

    [one], [other] = find_optimal_lrs(table), find_optimal_lrs(table.sample(frac=1, random_state=1))

    assert one.lr_opt == pytest.approx(other.lr_opt, rel=1e-9)
    assert one.lr_opt_ci == pytest.approx(other.lr_opt_ci, rel=1e-9)
