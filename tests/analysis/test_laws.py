"""Laws: gradients, limits and a published fit."""

import numpy as np
import pytest
from scipy import optimize

from analysis.fitting.laws import (
    LAWS,
    Law,
    Power,
    Saturating,
    Surge,
    effective_batch_size,
    find_law,
)

THETA = {
    "power": [0.7, -2.0],
    "saturating": [0.8, -3.0, 3.4],
    "surge": [0.6, -2.5, 4.0, 0.3],
}
LOG_B = np.log(2.0 ** np.arange(10))


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.name)
def test_gradient_is_the_derivative(law: Law) -> None:
    """The analytic gradient equals central differences of the prediction."""
    theta = np.array(THETA[law.name])
    step = 1e-6
    for i in range(theta.size):
        up, down = theta.copy(), theta.copy()
        up[i] += step
        down[i] -= step
        difference = law.predict(up[None], LOG_B) - law.predict(down[None], LOG_B)
        analytic = law.gradient(theta[None], LOG_B)[:, :, i]
        assert analytic == pytest.approx(difference / (2 * step), abs=1e-7)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.name)
def test_prediction_is_the_formula_in_natural_units(law: Law) -> None:
    """The parameters put into the published formula give the prediction."""
    theta = np.array(THETA[law.name])
    b, found = np.exp(LOG_B), law.parameters(theta)
    p, bend = found["p"], found.get("b_star", 1.0)
    expected = {
        "power": lambda: found["c"] * b**p,
        "saturating": lambda: found["eta_inf"] / (1 + (bend / b) ** p),
        "surge": lambda: 2 * found["eta_peak"] / ((bend / b) ** p + (b / bend) ** found["q"]),
    }[law.name]()
    assert law.edge(theta, b) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.name)
def test_exponent_is_the_slope_at_small_batches(law: Law) -> None:
    """Far below the bend the log-log slope is theta[0]."""
    theta = np.array(THETA[law.name])
    log_lr = law.predict(theta[None], np.array([-40.0, -39.0]))[0]
    assert np.diff(log_lr)[0] == pytest.approx(theta[0], abs=1e-9)


def test_saturating_law_reaches_its_plateau_without_noise() -> None:
    """At infinite effective batch size LR_max is eta_inf, and a surge has fallen to 0."""
    assert Saturating().edge(np.array([1.0, np.log(2 / 30), np.log(30)]), [np.inf])[
        0
    ] == pytest.approx(2.0)
    assert Surge().edge(np.array([0.5, 0.0, 3.0, 0.5]), [np.inf])[0] == 0.0


def test_surge_without_fall_is_the_saturating_law() -> None:
    """At q = 0 a surge with the same p, c and B* predicts the same."""
    theta = np.array([[0.9, -3.0, 3.0]])
    flat = np.column_stack([theta, [0.0]])
    assert Surge().predict(flat, LOG_B) == pytest.approx(Saturating().predict(theta, LOG_B))


def test_least_squares_edge_is_a_saturating_law() -> None:
    """2B/(B + d + 1), the exact edge of Gaussian least squares, has p = 1 and B* = d + 1."""
    d = 64
    b = 2.0 ** np.arange(10)
    theta = np.array([1.0, np.log(2 / (d + 1)), np.log(d + 1)])
    assert Saturating().edge(theta, b) == pytest.approx(2 * b / (b + d + 1))


def test_power_law_gives_the_certified_fit_of_danwood() -> None:
    """NIST StRD DanWood, y = b1 x^b2: certified values and standard deviations."""
    x = np.array([1.309, 1.471, 1.490, 1.565, 1.611, 1.680])
    y = np.array([2.138, 3.421, 3.597, 4.340, 4.882, 5.660])
    law = Power()

    def jacobian(theta: np.ndarray) -> np.ndarray:
        return law.edge(theta, x)[:, None] * law.gradient(theta[None], np.log(x))[0]

    fit = optimize.least_squares(
        lambda theta: law.edge(theta, x) - y,
        np.array([3.0, 0.0]),
        jac=jacobian,
        xtol=1e-15,
        ftol=1e-15,
        gtol=1e-15,
    )
    found = law.parameters(fit.x)
    assert found["c"] == pytest.approx(0.76886226176, rel=1e-8)
    assert found["p"] == pytest.approx(3.8604055871, rel=1e-8)
    covariance = np.linalg.inv(fit.jac.T @ fit.jac) * 2 * fit.cost / (x.size - 2)
    errors = np.sqrt(np.diag(covariance)) * [1, found["c"]]  # of p, and of c = exp(theta[1])
    assert errors == pytest.approx([0.051726610913, 0.018281973860], rel=1e-6)


def test_effective_batch_size_has_the_noise_of_the_finite_population() -> None:
    """The mean of B of N numbers drawn without replacement varies like one of b drawn with."""
    rng = np.random.default_rng(0)
    population = rng.normal(size=40)
    means = [rng.permutation(population)[:30].mean() for _ in range(20_000)]
    # B/(1 - B/N) is the large-N form of the exact B (N - 1)/(N - B): 2.5 % off at N = 40.
    assert population.var() / np.var(means) == pytest.approx(
        float(effective_batch_size(30, 40)), rel=0.05
    )


def test_batches_beyond_the_data_are_refused() -> None:
    """A batch without replacement cannot exceed the data, and the message gives both numbers."""
    with pytest.raises(ValueError, match=r"100 examples.*200"):
        effective_batch_size([200], 100)


def test_unknown_law_names_the_known_ones() -> None:
    """Asking for a law that does not exist lists those that do."""
    with pytest.raises(ValueError, match="power, saturating, surge"):
        find_law("linear")
