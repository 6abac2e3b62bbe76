"""Batch spectra: known tables, random matrices at small size, and measured curves."""

import numpy as np
import pytest

from analysis.theory import (
    BatchCurve,
    Conditions,
    CurvatureSummary,
    Measured,
    TheoryError,
    baik_silverstein_top,
    batch_hessian_curve,
    batch_sharpness_curve,
    find_rule,
    ggn_curve,
    spiked_wigner_top,
    wigner_curve,
)

SPIKED_WIGNER = {0.2: 1.040, 0.5: 1.250, 0.8: 1.640, 1.0: 2.0, 1.5: 3.0, 2.0: 4.0}
BAIK_SILVERSTEIN = {40: 1.202, 80: 1.101, 200: 1.0404, 800: 1.0101}


@pytest.mark.parametrize("strength", SPIKED_WIGNER)
def test_spiked_wigner_matches_table_and_simulation(strength: float) -> None:
    """The formula gives the table, and a spike in seeded noise of 700 dimensions its value."""
    expected = SPIKED_WIGNER[strength]
    assert spiked_wigner_top(1.0, strength**2) == pytest.approx(expected, abs=5e-4)

    rng, size = np.random.default_rng(0), 700
    noise = rng.normal(size=(size, size))
    noise = (noise + noise.T) * (strength / np.sqrt(2 * size))
    spike = np.zeros(size)
    spike[0] = 1.0
    top = np.linalg.eigvalsh(noise + np.outer(spike, spike))[-1]
    # The spike's own entry fluctuates by s √(2/P); fluctuations at the transition are larger.
    assert top == pytest.approx(expected, abs=0.06 * expected)


@pytest.mark.parametrize("batch_size", BAIK_SILVERSTEIN)
def test_baik_silverstein_matches_table_and_simulation(batch_size: int) -> None:
    """The formula gives the table, and so does a seeded sample covariance, P = 800."""
    expected = BAIK_SILVERSTEIN[batch_size]
    found = baik_silverstein_top(1.0, 0.01, 800 / batch_size)
    assert found == pytest.approx(expected, abs=5e-4)

    rng, tops = np.random.default_rng(0), []
    for _ in range(8 if batch_size < 800 else 2):
        rows = rng.normal(size=(batch_size, 800)) * 0.1
        # The spike's own fluctuation √(2/b) is conditioned out, or it would hide the shift.
        rows[:, 0] *= np.sqrt(batch_size) / np.linalg.norm(rows[:, 0])
        tops.append(np.linalg.norm(rows, ord=2) ** 2 / batch_size)
    assert np.mean(tops) == pytest.approx(expected, rel=0.01)


def test_without_a_spike_the_bulk_edge_rules() -> None:
    """Below the threshold the top eigenvalue is the Marchenko–Pastur edge, .0900 at b = 200."""
    rows = np.random.default_rng(0).normal(size=(200, 800)) * 0.1
    simulated = np.linalg.norm(rows, ord=2) ** 2 / 200
    assert baik_silverstein_top(0.01, 0.01, 4.0) == pytest.approx(0.09)
    assert baik_silverstein_top(0.02, 0.01, 4.0) == pytest.approx(0.09)
    assert simulated == pytest.approx(0.09, rel=0.03)


def test_formulas_are_continuous_at_their_thresholds() -> None:
    """Both branches meet where the spike drowns."""
    wigner = spiked_wigner_top(1.5, np.array([1.5**2 * (1 - 1e-9), 1.5**2 * (1 + 1e-9)]))
    assert wigner[0] == pytest.approx(wigner[1])
    threshold = (1.0 / 0.01 - 1) ** 2
    sample = baik_silverstein_top(1.0, 0.01, threshold * np.array([1 - 1e-9, 1 + 1e-9]))
    assert sample[0] == pytest.approx(sample[1])


def test_literal_wigner_slope_never_exceeds_one_half() -> None:
    """The additive theorem taken literally is no linear rule at any batch size."""
    summary = CurvatureSummary(hessian_top=Measured(1.0), hessian_noise=Measured(50.0))
    sizes = np.geomspace(1e-3, 1e6, 400)
    curve = wigner_curve(summary, Conditions(sizes))
    slopes = np.diff(np.log(curve.lr_max)) / np.diff(np.log(sizes))
    assert slopes.max() <= 0.5 + 1e-9
    assert slopes[0] == pytest.approx(curve.exponent)
    assert curve.critical_batch_size == pytest.approx(50.0)


def test_gauss_newton_edge_is_linear_deep_in_noise() -> None:
    """Baik and Silverstein's bulk grows as 1/b, so LR_max grows as b."""
    summary = CurvatureSummary(
        num_parameters=10_000, ggn_top=Measured(1.0), trace_ggn=Measured(100.99)
    )
    curve = ggn_curve(summary, Conditions(np.array([1e-6, 1e-5, 1e9])))
    slope = np.log10(curve.lr_max[1] / curve.lr_max[0])
    assert slope == pytest.approx(curve.exponent, abs=0.01)
    assert curve.lr_max[2] == pytest.approx(2.0, rel=1e-6)
    assert curve.critical_batch_size == pytest.approx(10_000 * 0.01 / 0.99, rel=1e-3)


def test_full_batch_without_replacement_has_no_noise() -> None:
    """At B = N all noise is gone, and half the data counts as twice the batch."""
    summary = CurvatureSummary(hessian_top=Measured(2.0), hessian_noise=Measured(8.0))
    whole = wigner_curve(summary, Conditions(np.array([50.0, 100.0]), num_examples=100))
    drawn = wigner_curve(summary, Conditions(np.array([100.0])))
    assert whole.lr_max[0] == pytest.approx(drawn.lr_max[0])
    assert whole.lr_max[1] == 1.0


def measured() -> CurvatureSummary:
    """Return a batch curve that falls as 1/b towards 1."""
    sizes = 2.0 ** np.arange(0, 10)
    curve = BatchCurve(sizes, 1 + 30 / sizes, 0.02 * (1 + 30 / sizes))
    return CurvatureSummary(
        hessian_top=Measured(1.0),
        gradient_sharpness=Measured(1.0),
        batch_hessian_top=curve,
        batch_sharpness=curve,
    )


def test_measured_batches_give_two_over_their_curvature() -> None:
    """Under SGD the edge is 2/mean at the measured sizes, with its error as a band."""
    sizes = np.array([1.0, 8.0, 512.0, 600.0])
    curve = batch_hessian_curve(measured(), Conditions(sizes))
    assert curve.lr_max[:3] == pytest.approx(2 / (1 + 30 / sizes[:3]))
    assert np.isnan(curve.lr_max[3])
    assert np.log(curve.high / curve.low)[:3] == pytest.approx(2 * 1.96 * 0.02, rel=1e-3)
    assert curve.exponent == pytest.approx(np.log2(31 / 16))
    assert curve.critical_batch_size == pytest.approx(30, rel=0.01)


def test_momentum_runs_from_the_noisy_to_the_sharp_plateau() -> None:
    """λ_B η is 2(1 − β) where noise rules and 2(1 + β) at the full batch."""
    noisy = BatchCurve(np.array([1.0, 2.0]), np.array([1e6, 5e5]), np.zeros(2))
    summary = CurvatureSummary(gradient_sharpness=Measured(1.0), batch_sharpness=noisy)
    rule = find_rule("momentum")
    assert rule is not None
    small = batch_sharpness_curve(summary, Conditions(np.array([1.0]), rule))
    full = batch_sharpness_curve(summary, Conditions(np.array([100.0]), rule, num_examples=100))
    assert small.lr_max[0] * 1e6 == pytest.approx(0.2, rel=1e-4)
    assert full.lr_max[0] == pytest.approx(3.8)


def test_a_theory_says_what_it_needs() -> None:
    """Missing inputs and foreign rules are refused by name."""
    adam = find_rule("adam")
    assert adam is not None
    with pytest.raises(TheoryError, match="spiked Wigner needs hessian_noise, not measured"):
        wigner_curve(CurvatureSummary(hessian_top=Measured(1.0)), Conditions(np.ones(1)))
    with pytest.raises(TheoryError, match="batch sharpness says nothing of adam"):
        batch_sharpness_curve(measured(), Conditions(np.ones(1), adam))
    with pytest.raises(TheoryError, match="batch_preconditioned_top"):
        batch_hessian_curve(measured(), Conditions(np.ones(1), adam))


def test_a_batch_curve_refuses_what_it_cannot_read() -> None:
    """Sizes must ascend, arrays agree, means be positive."""
    one = np.ones(1)
    with pytest.raises(ValueError, match="one length"):
        BatchCurve(one, np.ones(2), one)
    with pytest.raises(ValueError, match="ascend"):
        BatchCurve(np.ones(2), np.ones(2), np.ones(2))
    with pytest.raises(ValueError, match="positive"):
        BatchCurve(one, -one, one)
