"""LR_max as theory predicts it from measured curvature and noise, one file per family."""

from analysis.theory.batch_spectra import (
    baik_silverstein_top,
    batch_hessian_curve,
    batch_sharpness_curve,
    ggn_curve,
    spiked_wigner_top,
    wigner_curve,
)
from analysis.theory.curves import (
    Bound,
    Conditions,
    Confidence,
    TheoryCurve,
    TheoryError,
)
from analysis.theory.gradient_noise import (
    adam_mean_square_curve,
    adam_noise_scale_curve,
    adam_surge_curve,
    edge_of_stability_curve,
    noise_scale_curve,
)
from analysis.theory.inputs import BatchCurve, CurvatureSummary, Measured
from analysis.theory.mean_square import (
    exact_curve,
    gaussian_curve,
    interpolation_curve,
    top_direction_curve,
    trace_curve,
)
from analysis.theory.predicting import THEORIES, Prediction, predict_curves
from analysis.theory.rules import Family, Rule, find_rule
from analysis.theory.second_moments import SampleHessians, gaussian_edge
from analysis.theory.subspace import top_and_bulk_curve

__all__ = [
    "THEORIES",
    "BatchCurve",
    "Bound",
    "Conditions",
    "Confidence",
    "CurvatureSummary",
    "Family",
    "Measured",
    "Prediction",
    "Rule",
    "SampleHessians",
    "TheoryCurve",
    "TheoryError",
    "adam_mean_square_curve",
    "adam_noise_scale_curve",
    "adam_surge_curve",
    "baik_silverstein_top",
    "batch_hessian_curve",
    "batch_sharpness_curve",
    "edge_of_stability_curve",
    "exact_curve",
    "find_rule",
    "gaussian_curve",
    "gaussian_edge",
    "ggn_curve",
    "interpolation_curve",
    "noise_scale_curve",
    "predict_curves",
    "spiked_wigner_top",
    "top_and_bulk_curve",
    "top_direction_curve",
    "trace_curve",
    "wigner_curve",
]
