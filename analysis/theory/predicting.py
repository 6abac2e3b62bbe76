"""Every theory at once: the curves that the inputs allow, and why the others are missing."""

from dataclasses import dataclass

from analysis.theory.batch_spectra import (
    batch_hessian_curve,
    batch_sharpness_curve,
    ggn_curve,
    wigner_curve,
)
from analysis.theory.curves import Conditions, TheoryCurve, TheoryError
from analysis.theory.gradient_noise import (
    adam_mean_square_curve,
    adam_noise_scale_curve,
    adam_surge_curve,
    edge_of_stability_curve,
    noise_scale_curve,
)
from analysis.theory.inputs import CurvatureSummary
from analysis.theory.mean_square import (
    exact_curve,
    interpolation_curve,
    top_direction_curve,
    trace_curve,
)
from analysis.theory.second_moments import SampleHessians
from analysis.theory.subspace import top_and_bulk_curve

THEORIES = (
    wigner_curve,
    ggn_curve,
    batch_hessian_curve,
    batch_sharpness_curve,
    top_direction_curve,
    trace_curve,
    top_and_bulk_curve,
    interpolation_curve,
    edge_of_stability_curve,
    noise_scale_curve,
    adam_mean_square_curve,
    adam_surge_curve,
    adam_noise_scale_curve,
)
"""Theories that need no more than a :class:`~analysis.theory.inputs.CurvatureSummary`."""


@dataclass(frozen=True)
class Prediction:
    """What theory says of one model and one update rule.

    Attributes:
        curves: One per theory that has something to say.
        missing: One sentence per theory that has not.
    """

    curves: tuple[TheoryCurve, ...]
    missing: tuple[str, ...]


def predict_curves(
    summary: CurvatureSummary, conditions: Conditions, hessians: SampleHessians | None = None
) -> Prediction:
    """Draw every theory that the inputs allow.

    Args:
        summary: What was measured.
        conditions: What the prediction is for.
        hessians: Every example's Hessian, for the exact edge of small models.

    Returns:
        Curves, and reasons for those that are missing.

    Example:
        >>> import numpy as np
        >>> from analysis.theory.inputs import Measured
        >>> known = CurvatureSummary(hessian_top=Measured(2.0))
        >>> found = predict_curves(known, Conditions(np.array([1.0, 8.0])))
        >>> [(curve.name, curve.lr_max.tolist()) for curve in found.curves]
        [('edge of stability', [1.0, 1.0])]
        >>> found.missing[0]
        'spiked Wigner needs hessian_noise, not measured.'
    """
    curves, missing = [], []
    for theory in THEORIES:
        try:
            curves.append(theory(summary, conditions))
        except TheoryError as reason:
            missing.append(str(reason))
    if hessians is not None:
        try:
            curves.append(exact_curve(hessians, conditions, summary.point))
        except TheoryError as reason:
            missing.append(str(reason))
    return Prediction(tuple(curves), tuple(missing))
