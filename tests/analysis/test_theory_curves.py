"""Curves: bands, critical batch sizes, gradient noise, Adam, and all theories at once."""

from dataclasses import replace

import numpy as np
import pytest

from analysis.theory import (
    THEORIES,
    BatchCurve,
    Bound,
    Conditions,
    CurvatureSummary,
    Measured,
    Rule,
    SampleHessians,
    TheoryError,
    adam_mean_square_curve,
    adam_noise_scale_curve,
    adam_surge_curve,
    batch_sharpness_curve,
    edge_of_stability_curve,
    find_rule,
    noise_scale_curve,
    predict_curves,
    top_direction_curve,
)
from analysis.theory.curves import find_critical

SIZES = 2.0 ** np.arange(10)


def rule(label: str) -> Rule:
    """Return the rule of a label that is known."""
    found = find_rule(label)
    assert found is not None
    return found


def everything() -> CurvatureSummary:
    """Return a summary in which nothing is missing."""
    curve = BatchCurve(SIZES, 2 + 20 / SIZES, 0.1 + 0 * SIZES)
    return CurvatureSummary(
        point="at the end",
        num_parameters=1000,
        hessian_top=Measured(2.0, 0.1),
        ggn_top=Measured(2.0, 0.1),
        hessian_noise=Measured(40.0, 4.0),
        top_direction_variance=Measured(40.0, 4.0),
        top_direction_product_sq=Measured(50.0, 4.0),
        trace_hessian=Measured(10.0, 0.5),
        trace_ggn=Measured(10.0, 0.5),
        frobenius_sq=Measured(8.0, 0.5),
        mean_sample_frobenius_sq=Measured(90.0, 9.0),
        max_sample_top=Measured(80.0),
        gradient_noise_scale=Measured(50.0, 5.0),
        gradient_sharpness=Measured(1.0, 0.1),
        preconditioned_sharpness=Measured(500.0, 10.0),
        state_batch_size=64.0,
        batch_hessian_top=curve,
        batch_preconditioned_top=curve,
        batch_sharpness=curve,
    )


def test_band_is_the_spread_of_repeated_measurements() -> None:
    """The propagated band covers 95 % of curves drawn from the inputs' errors."""
    known = everything()
    curve = top_direction_curve(known, Conditions(np.array([4.0])))
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(2000):
        top = Measured(2.0 * np.exp(rng.normal(0, 0.05)))
        noise = Measured(40.0 * np.exp(rng.normal(0, 0.1)))
        moved = replace(known, hessian_top=top, top_direction_variance=noise)
        drawn.append(top_direction_curve(moved, Conditions(np.array([4.0]))).lr_max[0])
    covered = np.mean((curve.low[0] <= np.array(drawn)) & (np.array(drawn) <= curve.high[0]))
    # Binomial standard error at 2000 repeats is 0.005; allow three of them.
    assert covered == pytest.approx(0.95, abs=0.015)


@pytest.mark.parametrize("label", ["sgd", "momentum", "nesterov", "adam"])
def test_every_theory_speaks_of_its_rules_when_nothing_is_missing(label: str) -> None:
    """With all inputs a theory gives a positive curve in its band, or does not cover the rule."""
    found = predict_curves(everything(), Conditions(SIZES, rule(label), num_examples=10_000))
    assert len(found.curves) + len(found.missing) == len(THEORIES)
    assert all("says nothing of" in reason for reason in found.missing)
    for curve in found.curves:
        known = np.isfinite(curve.lr_max)
        assert known.sum() >= 9
        assert np.all(curve.lr_max[known] > 0)
        assert np.all(curve.low[known] <= curve.lr_max[known])
        assert np.all(curve.lr_max[known] <= curve.high[known])
        assert curve.point == "at the end"


def test_exact_edge_joins_the_others_when_hessians_are_given() -> None:
    """Small models get the exact curve, and a reason where the rule has none."""
    samples = SampleHessians(np.array([np.diag([1.0, 2.0]), np.diag([3.0, 4.0])]))
    summary = CurvatureSummary(hessian_top=Measured(3.0))
    plain = predict_curves(summary, Conditions(SIZES), samples)
    nesterov = predict_curves(summary, Conditions(SIZES, rule("nesterov")), samples)
    assert plain.curves[-1].name == "mean-square stability, exact"
    assert nesterov.missing[-1].startswith("mean-square stability, exact says nothing of nesterov")


@pytest.mark.parametrize("label", ["sgd", "momentum", "nesterov"])
def test_stated_exponents_are_the_slopes_at_small_batches(label: str) -> None:
    """Far below one example the log-log slope is the exponent a theory states."""
    tiny = np.array([1e-7, 1e-6])
    for curve in predict_curves(everything(), Conditions(tiny, rule(label))).curves:
        if np.isfinite(curve.lr_max).all():
            slope = np.diff(np.log(curve.lr_max))[0] / np.log(10)
            assert slope == pytest.approx(curve.exponent, abs=0.02), curve.name


@pytest.mark.parametrize("curve", [adam_surge_curve, adam_noise_scale_curve])
def test_adam_rises_as_the_square_root(curve: object) -> None:
    """Adam's small-batch slope is 1/2 in the surge and in the noise-scale form."""
    assert callable(curve)
    found = curve(everything(), Conditions(np.array([1e-6, 1e-5]), rule("adam")))
    assert np.log10(found.lr_max[1] / found.lr_max[0]) == pytest.approx(0.5, abs=1e-3)
    assert found.exponent == 0.5


def test_adam_edge_is_38_over_preconditioned_sharpness() -> None:
    """Without noise Adam at β₁ = 0.9 holds up to 38/λ_pre, at every batch size."""
    curve = edge_of_stability_curve(everything(), Conditions(SIZES, rule("adam")))
    assert curve.lr_max == pytest.approx(38 / 500)
    assert (curve.exponent, curve.critical_batch_size) == (0, None)
    assert curve.bound is Bound.ESTIMATE


def test_adam_mean_square_has_its_three_limits() -> None:
    """√B in noise, the frozen edge at the full batch, and 2/(λ p r) with averaged momentum."""
    known = everything()
    small, large = np.array([1e-6, 1e-5]), np.array([1e12])
    noisy = adam_mean_square_curve(known, Conditions(small, rule("adam")))
    assert np.log10(noisy.lr_max[1] / noisy.lr_max[0]) == pytest.approx(0.5, abs=1e-3)
    still = adam_mean_square_curve(known, Conditions(large, rule("adam")))
    assert still.lr_max[0] == pytest.approx(38 / 500 / np.sqrt(1 + 50 / 64), rel=1e-6)
    # At the batch size of the state: 1/(λ/38 + λ r/(2 b)) with r = 40/2² = 10.
    here = adam_mean_square_curve(known, Conditions(np.array([64.0]), rule("adam")))
    assert here.lr_max[0] == pytest.approx(1 / (500 / 38 + 500 * 10 / 128))


def test_surge_peaks_at_the_noise_scale() -> None:
    """Adam's surge is highest at B_noise, which it calls critical."""
    sizes = np.geomspace(1, 5000, 400)
    curve = adam_surge_curve(everything(), Conditions(sizes, rule("adam")))
    assert sizes[np.argmax(curve.lr_max)] == pytest.approx(50, rel=0.03)
    assert curve.critical_batch_size == 50


def test_surge_is_sgd_edge_over_the_root_of_the_batch_size() -> None:
    """The surge times √B is McCandlish's saturating form, up to a constant."""
    summary = everything()
    surge = adam_surge_curve(summary, Conditions(SIZES, rule("adam")))
    plain = noise_scale_curve(summary, Conditions(SIZES))
    ratio = surge.lr_max * np.sqrt(SIZES) / plain.lr_max
    assert ratio == pytest.approx(ratio[0])


def test_noise_scale_is_where_a_noisy_quadratic_stops_falling() -> None:
    """A step of LR_max leaves the mean loss of a simulated noisy quadratic unchanged."""
    rng, curvature, gradient, noise = np.random.default_rng(0), 2.0, 3.0, 5.0
    scale = noise**2 * 10 / gradient**2  # tr Σ over ten equal directions
    summary = CurvatureSummary(
        gradient_sharpness=Measured(curvature), gradient_noise_scale=Measured(scale)
    )
    curve = noise_scale_curve(summary, Conditions(np.array([4.0])))
    mean = np.zeros(10)
    mean[0] = gradient
    drawn = mean + rng.normal(size=(200_000, 10)) * noise / np.sqrt(4.0)
    lr = curve.lr_max[0]
    change = -lr * drawn @ mean + 0.5 * lr**2 * curvature * (drawn**2).sum(axis=1)
    error = change.std() / np.sqrt(change.size)
    assert abs(change.mean()) < 4 * error
    assert curve.critical_batch_size == pytest.approx(scale)


def test_noise_scale_falls_back_on_the_top_curvature() -> None:
    """Without gradient sharpness the level is that of λ₁, and the assumption says so."""
    known = replace(everything(), gradient_sharpness=None)
    curve = noise_scale_curve(known, Conditions(np.array([50.0])))
    assert curve.lr_max[0] == pytest.approx(0.5)
    assert curve.assumption.endswith("along the top direction.")


def test_critical_batch_size_is_in_examples_of_the_finite_data() -> None:
    """Without replacement from N the same noise is reached at b/(1 + b/N)."""
    known = CurvatureSummary(hessian_top=Measured(1.0), hessian_noise=Measured(100.0))
    whole = Conditions(np.array([10.0]), num_examples=300)
    assert predict_curves(known, whole).curves[0].critical_batch_size == pytest.approx(75.0)


def test_no_critical_batch_size_where_nothing_halves() -> None:
    """A flat curve, one without a limit and one measured only above half have none."""
    assert find_critical(lambda b: np.ones_like(b)) is None
    assert find_critical(lambda b: np.where(np.isinf(b), np.nan, b)) is None
    assert find_critical(lambda b: np.where(np.isinf(b), 1.0, np.where(b < 8, 0.1, np.nan))) is None


def test_missing_value_is_named() -> None:
    """Asking for what was not measured says which."""
    with pytest.raises(ValueError, match="ggn_top was not measured"):
        CurvatureSummary().value("ggn_top")


def test_a_gradient_along_negative_curvature_gives_no_edge() -> None:
    """Where GᵀHG < 0 a theory that divides by it says nothing, and nothing breaks."""
    curve = BatchCurve(np.array([1.0, 8.0]), np.array([4.0, 2.0]), np.zeros(2))
    known = CurvatureSummary(
        gradient_sharpness=Measured(-0.5),
        gradient_noise_scale=Measured(1.0),
        batch_sharpness=curve,
    )
    conditions = Conditions(np.array([1.0, 8.0]))

    assert np.isnan(noise_scale_curve(known, conditions).lr_max).all()
    sharpness = batch_sharpness_curve(known, conditions)
    assert sharpness.lr_max == pytest.approx([0.5, 1.0])
    assert sharpness.critical_batch_size is None


def test_no_curvature_at_all_is_a_reason() -> None:
    """A flat point gives a sentence instead of a division by zero."""
    flat = CurvatureSummary(hessian_top=Measured(0.0), top_direction_variance=Measured(0.0))

    with pytest.raises(TheoryError, match="divides by a curvature, which is 0"):
        top_direction_curve(flat, Conditions(np.array([1.0])))
