"""The lowest point of a bowl of losses, found by interpolation."""

import numpy as np
import pytest

from analysis.optimal.bowls import Where, find_bottom, is_bowl
from analysis.optimal.curves import Bowl, fit_curve

STEP = np.log(2) / 4


def make_bowl(log_loss: np.ndarray, log_lr: np.ndarray, num_seeds: int = 4) -> Bowl:
    """Return a bowl whose seeds differ by a level only, a wide one at that."""
    seed = np.repeat(np.arange(num_seeds), log_lr.size)
    return Bowl(np.tile(log_lr, num_seeds), np.tile(log_loss, num_seeds) + 0.3 * seed, seed)


@pytest.mark.parametrize("truth", [-0.31, 0.0, 0.14])
def test_bottom_of_a_parabola_is_exact(truth: float) -> None:
    """Without noise the bottom of a parabola between learning rates is where algebra says."""
    log_lr = STEP * np.arange(-8, 9)

    bottom = find_bottom(make_bowl(0.7 * (log_lr - truth) ** 2 - 2, log_lr))

    assert bottom.log_lr == pytest.approx(truth, abs=1e-4)
    assert bottom.log_loss == pytest.approx(-2 + 0.3 * 1.5, abs=1e-4)  # the seeds' mean level
    assert (bottom.where, bottom.seeds.size) == (Where.INSIDE, 4)


def test_curve_agrees_with_a_dense_regression() -> None:
    """Levels taken out seed by seed give the weights of the regression with a column per seed."""
    rng = np.random.default_rng(0)
    seed = np.repeat([3, 5, 9], 7)
    x, y = rng.normal(size=21), rng.normal(size=21)

    curve = fit_curve(Bowl(x, y, seed), degree=3)

    u = x - x.mean()
    dense = np.column_stack([u, u**2, u**3, *(seed == s for s in (3, 5, 9))])
    assert curve.weights == pytest.approx(np.linalg.lstsq(dense, y, rcond=None)[0][:3])


def test_spread_of_balanced_seeds_is_that_of_their_own_fits() -> None:
    """Where seeds share their learning rates, the covariance is that of a mean of separate fits."""
    rng = np.random.default_rng(1)
    x = np.linspace(-1, 1, 6)
    y = rng.normal(size=(5, 6))

    curve = fit_curve(Bowl(np.tile(x, 5), y.ravel(), np.repeat(np.arange(5), 6)), degree=2)

    own = np.array([np.polyfit(x, one, 2)[1::-1] for one in y])
    assert curve.weights == pytest.approx(own.mean(0))
    assert curve.covariance == pytest.approx(np.cov(own.T) / 5)


def test_diverged_trials_are_no_numbers() -> None:
    """Whatever loss trials beyond the cliff ended with, infinite or large, nothing moves."""
    log_lr = STEP * np.arange(-8, 9)
    log_loss = log_lr**2
    worse = [
        find_bottom(make_bowl(np.where(log_lr > 0.6, beyond, log_loss), log_lr))
        for beyond in (np.inf, 700.0, 2.3)
    ]

    assert worse[0].log_lr == worse[1].log_lr == worse[2].log_lr == pytest.approx(0, abs=1e-3)


def test_one_lost_seed_is_left_out_where_the_others_go_on() -> None:
    """An early divergence of one seed of six neither ends the window nor enters it."""
    log_lr = STEP * np.arange(-8, 9)
    bowl = make_bowl(log_lr**2, log_lr, num_seeds=6)
    bowl.log_loss[np.flatnonzero(np.isclose(bowl.log_lr, STEP))[2]] = np.inf

    assert find_bottom(bowl).log_lr == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize(("slope", "where"), [(1, Where.LOW_END), (-1, Where.HIGH_END)])
def test_loss_that_falls_to_the_end_says_so(slope: int, where: Where) -> None:
    """A loss that falls to the grid's end has its optimum flagged and not bounded there."""
    log_lr = STEP * np.arange(9)

    bottom = find_bottom(make_bowl(slope * log_lr, log_lr))

    assert bottom.where is where
    assert np.isinf(bottom.low if slope > 0 else bottom.high)


def test_minimum_within_a_step_of_the_end_is_at_the_end() -> None:
    """An interior minimum closer to the grid's end than a step is flagged all the same."""
    log_lr = STEP * np.arange(9)

    near, far = (find_bottom(make_bowl((log_lr - x) ** 2, log_lr)) for x in (0.9 * STEP, 3 * STEP))

    assert (near.where, far.where) == (Where.LOW_END, Where.INSIDE)
    assert near.log_lr == pytest.approx(0.9 * STEP, abs=1e-3)


def test_loss_that_falls_to_a_cliff_is_bounded_by_it() -> None:
    """A loss that falls until trials diverge is best at the last that did not."""
    log_lr = STEP * np.arange(12)

    bottom = find_bottom(make_bowl(np.where(log_lr > 7.5 * STEP, np.inf, -log_lr), log_lr))

    assert bottom.where is Where.STEEP
    assert bottom.log_lr == pytest.approx(7 * STEP)
    assert bottom.high == pytest.approx(8 * STEP)


def test_bowl_narrower_than_the_grid_is_bracketed_by_neighbours() -> None:
    """Where both neighbours lose everything the optimum lies between them."""
    log_lr = np.arange(5.0)

    bottom = find_bottom(make_bowl(9 * np.abs(log_lr - 2), log_lr))

    assert (bottom.log_lr, bottom.low, bottom.high) == (2, 1, 3)
    assert bottom.where is Where.STEEP


def test_flat_noise_has_no_bounded_bottom() -> None:
    """Where learning rate changes nothing, closed intervals are the exception."""
    log_lr = np.tile(STEP * np.arange(-8, 9), 4)
    seed = np.repeat(np.arange(4), 17)
    bottoms = [
        find_bottom(Bowl(log_lr, np.random.default_rng(i).normal(0, 0.1, 68), seed))
        for i in range(20)
    ]

    assert np.mean([np.isfinite([b.low, b.high]).all() for b in bottoms]) < 0.25


def test_equal_losses_have_a_bottom_in_their_middle() -> None:
    """A plateau with rising sides is lowest in its middle, not at its first learning rate."""
    log_lr = STEP * np.arange(-10, 11)
    plateau = np.maximum(np.abs(log_lr) - 0.3, 0)

    assert find_bottom(make_bowl(plateau, log_lr)).log_lr == pytest.approx(0, abs=0.05)


def test_seeds_with_grids_of_their_own_are_one_bowl() -> None:
    """Learning rates staggered by seed give the bottom that a shared grid gives."""
    seed = np.repeat(np.arange(4), 12)
    log_lr = 2 * STEP * (np.tile(np.arange(-6, 6), 4) + seed / 4)

    bottom = find_bottom(Bowl(log_lr, (log_lr - 0.1) ** 2 + 0.2 * seed, seed))

    assert bottom.log_lr == pytest.approx(0.1, abs=1e-3)


@pytest.mark.parametrize("num_seeds", [1, 2])
def test_few_seeds_still_have_a_bottom(num_seeds: int) -> None:
    """One or two seeds give an estimate with an interval from the residuals."""
    rng = np.random.default_rng(0)
    log_lr = STEP * np.arange(-8, 9)
    seed = np.repeat(np.arange(num_seeds), 17)
    noise = rng.normal(0, 0.02, seed.size)

    bottom = find_bottom(
        Bowl(np.tile(log_lr, num_seeds), np.tile(log_lr**2, num_seeds) + noise, seed)
    )

    assert bottom.low < 0 < bottom.high
    assert bottom.high - bottom.low < 1
    assert not bottom.deviations.size


def test_what_is_no_bowl() -> None:
    """Two learning rates, no finite loss, or one learning rate per seed hold no bowl."""
    three = np.array([0.0, 1.0, 2.0])
    same, own = np.zeros(3, int), np.arange(3)

    assert is_bowl(Bowl(three, three, same))
    assert not is_bowl(Bowl(three[:2], three[:2], same[:2]))
    assert not is_bowl(Bowl(three, np.full(3, np.inf), same))
    assert not is_bowl(Bowl(three, three, own))
