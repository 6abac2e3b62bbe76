"""Fits and intervals, against slow computations of the same thing."""

from dataclasses import replace

import numpy as np
import pytest
from scipy import optimize, stats

from analysis.checks import check_exponent
from analysis.edge_summaries import Edge
from analysis.edges import find_edges, find_median_edges
from analysis.fitting.bands import law_band, predict_edge
from analysis.fitting.bootstrap import bootstrap_half_width, resample_seeds
from analysis.fitting.cells import collect_cells
from analysis.fitting.fits import fit_laws
from analysis.fitting.laws import LAWS, find_law
from analysis.fitting.likelihood import bracket_likelihood
from analysis.fitting.maximize import Box, Problem, maximize
from analysis.fitting.medians import fit_medians
from analysis.fitting.profiles import compute_profile
from analysis.simulate import Design, simulate_table
from analysis.summaries import GroupFit, GroupKey, LawFit


def saturating(b: np.ndarray) -> np.ndarray:
    """Return the usual truth: p = 1, plateau 2, B* = 30."""
    return 2 / (1 + 30 / b)


def simulate_edges(seed: int = 0, design: Design | None = None) -> tuple[Edge, ...]:
    """Return edges of a table with the usual truth."""
    rng = np.random.default_rng(seed)
    return find_edges(simulate_table(saturating, design or Design(), rng))


def problem_of(edges: tuple[Edge, ...], name: str) -> Problem:
    """Return the search for a law's parameters, the noise's logarithm between -3 and 2."""
    cells, law = collect_cells(edges), find_law(name)
    log_b = np.log(cells.batch_size)
    low, high = law.bounds(log_b)
    return Problem(law, log_b, cells, Box(np.append(low, -3.0), np.append(high, 2.0)))


def slow_log_likelihood(edges: tuple[Edge, ...], name: str, x: np.ndarray) -> float:
    """Return the log-likelihood edge by edge, straight from the definition."""
    law, total = find_law(name), 0.0
    for edge in edges:
        log_lr = law.predict(x[None, :-1], np.log([float(edge.batch_size)]))[0, 0]
        with np.errstate(divide="ignore"):
            ends = np.log([edge.stable, edge.diverged])
        low, high = stats.norm.cdf(ends, log_lr, np.exp(x[-1]))
        total += np.log(max(high - low, 1e-300))
    return total


@pytest.mark.parametrize("low", [-np.inf, -0.3, 2.0, 30.0])
@pytest.mark.parametrize("high", [np.inf, 31.0])
def test_likelihood_derivatives_are_derivatives(low: float, high: float) -> None:
    """First and second derivatives equal central differences, far in the tail as well."""
    step = 1e-5

    def at(mean: float, log_sigma: float) -> np.ndarray:
        parts = bracket_likelihood(
            np.array(low), np.array(high), np.array(mean), np.array(log_sigma)
        )
        return np.array(
            [
                parts.value,
                parts.d_mean,
                parts.d_scale,
                parts.dd_mean,
                parts.dd_cross,
                parts.dd_scale,
            ]
        )

    here = at(0.4, -0.2)
    by_mean = (at(0.4 + step, -0.2) - at(0.4 - step, -0.2)) / (2 * step)
    by_scale = (at(0.4, -0.2 + step) - at(0.4, -0.2 - step)) / (2 * step)
    assert here[[1, 3, 4]] == pytest.approx(by_mean[[0, 1, 2]], rel=1e-6, abs=1e-7)
    assert here[[2, 4, 5]] == pytest.approx(by_scale[[0, 1, 2]], rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("name", ["power", "saturating", "surge"])
def test_fit_is_the_maximum_a_general_optimiser_finds(name: str) -> None:
    """Nelder and Mead, on the likelihood written edge by edge, find no higher point."""
    edges = simulate_edges(2, Design(num_seeds=3))
    fit = next(law for law in fit_laws(edges, bootstrap=False) if law.name == name)
    here = np.append(fit.theta, np.log(fit.sigma))
    assert slow_log_likelihood(edges, name, here) == pytest.approx(fit.log_likelihood, abs=1e-9)
    low, high = find_law(name).bounds(np.log(2.0 ** np.arange(10)))

    def loss(x: np.ndarray) -> float:
        inside = np.all((low <= x[:-1]) & (x[:-1] <= high))
        return -slow_log_likelihood(edges, name, x) if inside else np.inf

    slow = optimize.minimize(
        loss,
        here + 0.02 * np.random.default_rng(0).uniform(0.5, 1, here.size),
        method="Nelder-Mead",
        options={"maxiter": 600, "xatol": 1e-6, "fatol": 1e-9},
    )
    assert -slow.fun <= fit.log_likelihood + 1e-4


def test_exponent_interval_ends_where_the_deviance_meets_the_cut() -> None:
    """Refitted by a general optimiser at the interval's end, the likelihood is at the cut."""
    edges = simulate_edges(4, Design(num_seeds=3))
    problem = problem_of(edges, "saturating")
    start = np.array([[1.0, np.log(2 / 30), np.log(30.0), -2.0]])
    best = maximize(problem, problem.cells.weights, start)
    interval = compute_profile(problem, best, start, (5.0,), 0.05).interval(5.0)
    for end in (interval.low, interval.high):
        slow = optimize.minimize(
            lambda x, end=end: -slow_log_likelihood(edges, "saturating", np.append(end, x)),
            best.parameters[0, 1:],
            method="Nelder-Mead",
            options={"maxiter": 2000, "xatol": 1e-7, "fatol": 1e-9},
        )
        assert 2 * (best.log_likelihood[0] + slow.fun) == pytest.approx(5.0, abs=0.02)


def test_resampled_seeds_are_fits_to_the_resampled_edges() -> None:
    """A draw equals the fit to edges that were really copied as often as the seed was drawn."""
    edges = simulate_edges(5, Design(num_seeds=4))
    problem = problem_of(edges, "power")
    best = maximize(problem, problem.cells.weights, np.array([[0.5, -3.0, -1.0]]))
    draws = resample_seeds(problem, best)
    assert draws.shape == (200, 2)
    assert np.array_equal(draws, resample_seeds(problem, best))

    rng = np.random.default_rng(20201103)  # the generator of the module
    picks = rng.multinomial(4, np.full(4, 0.25), size=200)[7]
    copies = tuple(e for e in edges for _ in range(picks[e.seed]))
    again = collect_cells(copies)
    weights = np.array(
        [
            sum(e.batch_size == b and np.isclose(np.log(e.stable), lo) for e in copies)
            for b, lo in zip(again.batch_size, again.low, strict=True)
        ]
    )
    copied = Problem(problem.mean, np.log(again.batch_size), again, problem.box)
    refit = maximize(copied, weights, best.parameters)
    assert draws[7] == pytest.approx(refit.parameters[0, :-1], abs=1e-4)


def test_bootstrap_width_is_students_for_a_mean() -> None:
    """For means over seeds the half-width is t s/sqrt(G), up to the noise of 20,000 draws."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=6)
    draws = values[rng.integers(0, 6, (20_000, 6))].mean(1)
    expected = stats.t.ppf(0.975, 5) * values.std(ddof=1) / np.sqrt(6)
    assert bootstrap_half_width(draws, 0.95, 6) == pytest.approx(expected, rel=0.02)


def test_aicc_counts_sigma_and_the_units() -> None:
    """AICc is -2 l + 2 K + 2 K (K + 1)/(n - K - 1) with K = k + 1; laws come best first."""
    fits = fit_laws(simulate_edges(), bootstrap=False)
    assert [fit.aicc for fit in fits] == sorted(fit.aicc for fit in fits)
    assert fits[0].name == "saturating"
    for fit in fits:
        k = fit.theta.size + 1
        expected = -2 * fit.log_likelihood + 2 * k + 2 * k * (k + 1) / (60 - k - 1)
        assert fit.aicc == pytest.approx(expected)
        assert fit.kept == (fit.aicc <= fits[0].aicc + 4)


def test_lack_of_fit_is_the_f_test_when_edges_are_known() -> None:
    """On a very fine grid phi is the F statistic of the residuals of a straight line."""
    rng = np.random.default_rng(3)
    log_b = np.log(2.0 ** np.arange(6))
    log_edges = 0.5 * log_b[:, None] + 0.2 * log_b[:, None] ** 2 + rng.normal(0, 0.2, (6, 5))
    edges = [
        Edge(2**i, seed, float(np.exp(x - 1e-4)), float(np.exp(x + 1e-4)))
        for i, row in enumerate(log_edges)
        for seed, x in enumerate(row)
    ]
    line = np.polyfit(np.repeat(log_b, 5), log_edges.ravel(), 1)
    rest = ((log_edges - log_edges.mean(1, keepdims=True)) ** 2).sum()
    lack = ((log_edges.mean(1) - np.polyval(line, log_b)) ** 2).sum() * 5
    f = (lack / 4) / (rest / 24)
    power = next(fit for fit in fit_laws(edges, bootstrap=False) if fit.name == "power")
    assert power.phi == pytest.approx(f, rel=1e-3)
    assert power.lack_of_fit_p == pytest.approx(stats.f.sf(f, 4, 24), rel=0.02)
    assert power.exponent == pytest.approx(line[0], abs=1e-4)


def test_no_law_fits_better_than_free_medians() -> None:
    """Every law is a case of one free median per batch size."""
    edges = simulate_edges(7)
    top = fit_medians(collect_cells(edges)).log_likelihood
    assert all(fit.log_likelihood <= top + 1e-6 for fit in fit_laws(edges, bootstrap=False))


def test_more_parameters_never_fit_worse() -> None:
    """A surge can be a saturating law, so its likelihood is at least as high, on 20 tables."""
    for seed in range(20):
        fits = {fit.name: fit for fit in fit_laws(simulate_edges(seed), bootstrap=False)}
        assert fits["surge"].log_likelihood >= fits["saturating"].log_likelihood - 1e-4


def test_four_batch_sizes_bear_two_laws() -> None:
    """The surge needs five batch sizes; with four it is not offered."""
    edges = simulate_edges(0, Design(batch_sizes=(1, 8, 64, 512)))
    assert {fit.name for fit in fit_laws(edges)} == {"power", "saturating"}


def test_the_same_edges_give_the_same_interval() -> None:
    """Nothing in a fit is left to chance."""
    one, other = fit_laws(simulate_edges(8)), fit_laws(simulate_edges(8))
    assert [fit.exponent_ci for fit in one] == [fit.exponent_ci for fit in other]


def test_finite_population_moves_the_law_not_the_data() -> None:
    """Edges made with b = B/(1 - B/N) give back the exponent when N is told, and not otherwise."""
    design = Design(batch_sizes=(16, 32, 64, 128, 256, 512, 900), sigma=0.05, grid_ratio=1.1)
    rng = np.random.default_rng(0)
    table = simulate_table(lambda b: 0.001 * b / (1 - b / 1000), design, rng)
    edges = find_edges(table)
    told = next(fit for fit in fit_laws(edges, 1000) if fit.name == "power")
    untold = next(fit for fit in fit_laws(edges) if fit.name == "power")
    assert told.exponent == pytest.approx(1.0, abs=0.02)
    assert untold.exponent > 1.2


def group_of(laws: tuple[LawFit, ...], num_examples: int | None = None) -> GroupFit:
    """Return a group with these laws and little else."""
    return GroupFit(
        key=GroupKey("t", "m", "sgd", "init", "300 steps"),
        num_trials=0,
        num_failed=0,
        seed_edges=(),
        edges=(),
        laws=laws,
        law=laws[0].name if laws else None,
        exponent=None,
        exponent_ci=None,
        naive_slope=None,
        check=check_exponent(None, None, None),
        refused=None if laws else "too few edges",
        num_examples=num_examples,
    )


def test_band_of_a_known_line_is_the_textbook_one() -> None:
    """With edges known exactly and few seeds the power band is that of linear regression."""
    rng = np.random.default_rng(11)
    log_b = np.log(2.0 ** np.arange(8))
    y = 0.5 * log_b[:, None] - 3 + rng.normal(0, 0.2, (8, 2))
    edges = [
        Edge(2**i, seed, float(np.exp(x - 1e-4)), float(np.exp(x + 1e-4)))
        for i, row in enumerate(y)
        for seed, x in enumerate(row)
    ]
    power = next(fit for fit in fit_laws(edges) if fit.name == "power")
    x = np.repeat(log_b, 2)
    line = np.polyfit(x, y.ravel(), 1)
    s2 = ((y.ravel() - np.polyval(line, x)) ** 2).sum() / 14
    at = np.log(np.array([1.0, 20.0, 1000.0]))
    se = np.sqrt(power.phi * s2 * (1 / 16 + (at - x.mean()) ** 2 / ((x - x.mean()) ** 2).sum()))
    half = stats.t.ppf(0.975, 6) * se  # 8 batch sizes, 2 parameters
    band = law_band(group_of((power,)), power, np.exp(at))
    assert np.log(band.median) == pytest.approx(np.polyval(line, at), abs=1e-3)
    assert np.log(band.high) == pytest.approx(np.polyval(line, at) + half, abs=1e-2)
    assert np.log(band.low) == pytest.approx(np.polyval(line, at) - half, abs=1e-2)


def test_prediction_spans_all_kept_laws() -> None:
    """The band of a group is the union of its kept laws' bands, around the best law."""
    laws = fit_laws(simulate_edges(0))
    group = group_of(laws)
    size = np.array([1, 30, 512, 4096])
    band = predict_edge(group, size)
    bands = [law_band(group, law, size) for law in laws if law.kept]
    assert len(bands) > 1
    assert band.low.tolist() == np.min([b.low for b in bands], axis=0).tolist()
    assert band.high.tolist() == np.max([b.high for b in bands], axis=0).tolist()
    assert band.median.tolist() == law_band(group, laws[0], size).median.tolist()


def test_laws_that_are_ruled_out_can_be_left_out() -> None:
    """Those that are kept are the very same fits, intervals included."""
    edges = simulate_edges(0)
    every, kept = fit_laws(edges), fit_laws(edges, kept_only=True)

    assert 0 < len(kept) < len(every)
    for found, fit in zip(kept, (law for law in every if law.kept), strict=True):
        assert (found.name, found.exponent_ci, found.exponent_ci90) == (
            fit.name,
            fit.exponent_ci,
            fit.exponent_ci90,
        )


def test_prediction_at_the_full_batch_is_the_plateau() -> None:
    """Drawn without replacement, the full batch has no noise: a plateau, and no power law."""
    design = Design(batch_sizes=(16, 32, 64, 128, 256, 512, 900))
    rng = np.random.default_rng(0)
    truth = lambda b: 2 / (1 + 100 / (b / (1 - b / 1000)))  # noqa: E731
    laws = fit_laws(find_edges(simulate_table(truth, design, rng)), 1000)
    group = group_of(laws, 1000)
    plateau = next(law for law in laws if law.name == "saturating")
    band = law_band(group, plateau, 1000)
    assert band.median[0] == pytest.approx(plateau.parameters["eta_inf"])
    assert band.low[0] < 2 < band.high[0]
    power = next(law for law in laws if law.name == "power")
    assert np.isnan(law_band(group, power, 1000).median[0])


def test_band_far_beyond_the_data_stays_within_the_slopes_of_the_law() -> None:
    """Where the bend is hardly known, extrapolation is bounded by exponent and plateau."""
    rng = np.random.default_rng(1)
    edges = find_edges(simulate_table(lambda b: 2 / (1 + 3000 / b), Design(), rng))
    laws = fit_laws(edges)
    group = replace(group_of(laws), edges=find_median_edges(edges))
    law = next(law for law in laws if law.name == "saturating")
    inside, outside = law_band(group, law, 512), law_band(group, law, 512 * 16)
    assert inside.low[0] <= outside.low[0]
    assert outside.high[0] <= inside.high[0] * 16 ** law.exponent_ci[1] * (1 + 1e-9)
    assert outside.low[0] < 2 / (1 + 3000 / 8192) < outside.high[0]


def test_refused_group_predicts_nothing() -> None:
    """Where no law was fitted there is no prediction either, with the same reason."""
    with pytest.raises(ValueError, match="too few edges"):
        predict_edge(group_of(()), 8)


def test_every_law_is_tried() -> None:
    """A full table is fitted by all laws there are."""
    assert {fit.name for fit in fit_laws(simulate_edges())} == {law.name for law in LAWS}
