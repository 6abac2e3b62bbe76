"""Mean-square stability as curves: the exact edge, two bounds above it and one below.

All of them speak of plain or momentum SGD near a point with ``H ⪰ 0``, where all examples share the
minimum, and of the *second moment*: a single run of few steps may hold a little longer.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from analysis.theory.curves import (
    About,
    Bound,
    Conditions,
    Confidence,
    TheoryCurve,
    TheoryError,
    build_curve,
)
from analysis.theory.inputs import CurvatureSummary, FloatArray
from analysis.theory.rules import Family
from analysis.theory.second_moments import SampleHessians, gaussian_edge

_HEAVY_BALL = (Family.SGD, Family.MOMENTUM)


def exact_curve(hessians: SampleHessians, conditions: Conditions, point: str = "") -> TheoryCurve:
    """Predict LR_max exactly in mean square: ``η* = 2/λ_max(C† D)``.

    Mulayoff and Michaeli 2024 (arXiv:2306.07850), extended to heavy ball [derived]. Needs every
    example's Hessian, so only small models.
    Fails where the loss is not quadratic over the distance that parameters move.

    Args:
        hessians: Every example's Hessian at the minimum.
        conditions: What the prediction is for; ``num_examples`` is None or the number of Hessians.
        point: Where they were measured.

    Returns:
        The curve without a band; exponent 1.

    Raises:
        TheoryError: If the rule is not SGD or heavy ball, or ``num_examples`` disagrees.

    Example:
        >>> x = np.array([[1.0, 0.0], [0.0, 2.0]])
        >>> samples = SampleHessians(np.einsum("ni,nj->nij", x, x))
        >>> curve = exact_curve(samples, Conditions(np.array([1.0, 2.0]), num_examples=2))
        >>> curve.lr_max.round(6).tolist()
        [0.5, 1.0]
    """
    if conditions.num_examples not in (None, hessians.num_examples):
        raise TheoryError(
            f"There are {hessians.num_examples} Hessians, but num_examples is "
            f"{conditions.num_examples}: give all examples, or None for draws with replacement."
        )
    about = About(
        name="mean-square stability, exact",
        needs=(),
        families=_HEAVY_BALL,
        exponent=1.0,
        confidence=Confidence.SOURCE if not conditions.rule.momentum else Confidence.DERIVED,
        assumption="Near a minimum that all examples share, the loss is quadratic.",
    )

    def formula(_: CurvatureSummary, effective: FloatArray) -> FloatArray:
        shares, beta = conditions.noise_share(effective), conditions.rule.momentum
        return np.array([hessians.edge(float(share), beta) for share in shares])

    critical = None
    if conditions.rule.family in about.families:
        # Solved in p: a search over batch sizes would take five times as many eigenproblems.
        share = hessians.halving_share(conditions.rule.momentum)
        critical = float(conditions.noise_share(1.0)) / share if np.isfinite(share) else None
    return build_curve(about, formula, CurvatureSummary(point=point), conditions, critical)


def gaussian_curve(eigenvalues: ArrayLike, conditions: Conditions) -> TheoryCurve:
    """Predict LR_max of least squares on fresh Gaussian inputs: ``2B/(B + d + 1)`` for Σ = I.

    Derived, and the tool's known answer: see :func:`~analysis.theory.second_moments.gaussian_edge`.

    Args:
        eigenvalues: Shape ``[d]``, of the inputs' covariance, positive.
        conditions: What the prediction is for; ``num_examples`` None, for examples are fresh.

    Returns:
        The curve; exponent 1; critical batch size ``d + 1`` for Σ = I.

    Raises:
        TheoryError: If the rule is not SGD or heavy ball, or the data finite.

    Example:
        >>> gaussian_curve(np.ones(64), Conditions(np.array([1.0, 65.0]))).lr_max.round(6).tolist()
        [0.030303, 1.0]
    """
    if conditions.num_examples is not None:
        raise TheoryError("Fresh Gaussian inputs have no finite number of examples.")
    about = About(
        name="Gaussian least squares, exact",
        needs=(),
        families=_HEAVY_BALL,
        exponent=1.0,
        confidence=Confidence.DERIVED,
        assumption="Inputs are Gaussian and fresh in every step, and the minimum is shared.",
    )
    beta = conditions.rule.momentum
    return build_curve(
        about,
        lambda _, effective: gaussian_edge(eigenvalues, effective, beta),
        CurvatureSummary(point="everywhere"),
        conditions,
    )


def top_direction_curve(summary: CurvatureSummary, conditions: Conditions) -> TheoryCurve:
    """Bound LR_max by the noise along the top eigenvector: ``2λ/(λ² + p Var)``.

    ``Var = mean (vᵀH_i v − λ)²``. It is the exact theory's Rayleigh quotient at ``vvᵀ``, so an
    upper bound on it for SGD [source] and, as ``2λ/(λ²/(1 + β) + p Var/(1 − β))``, for heavy ball
    [derived]; for Nesterov the one-dimensional edge, solved numerically [derived].
    Fails, too high, where noise feeds from one direction into others: many parameters, small B.

    Args:
        summary: Needs ``hessian_top`` and ``top_direction_variance``.
        conditions: What the prediction is for.

    Returns:
        The curve; exponent 1.

    Example:
        >>> from analysis.theory.inputs import Measured
        >>> known = CurvatureSummary(
        ...     hessian_top=Measured(2.0), top_direction_variance=Measured(12.0))
        >>> top_direction_curve(known, Conditions(np.array([1.0, 3.0]))).lr_max.tolist()
        [0.25, 0.5]
    """
    return _bound_curve(
        About(
            name="mean-square bound, top direction",
            needs=("hessian_top", "top_direction_variance"),
            families=(*_HEAVY_BALL, Family.NESTEROV),
            exponent=1.0,
            confidence=Confidence.DERIVED if conditions.rule.momentum else Confidence.SOURCE,
            assumption="Only the top eigenvector of the Hessian matters.",
            bound=Bound.UPPER,
        ),
        lambda known: known.value("hessian_top"),
        lambda known: known.value("top_direction_variance") / known.value("hessian_top"),
        summary,
        conditions,
    )


def trace_curve(summary: CurvatureSummary, conditions: Conditions) -> TheoryCurve:
    """Bound LR_max by traces: ``2 Tr H/((1 − p)‖H‖² + p mean‖H_i‖²)``, Frobenius norms.

    It is the exact theory's Rayleigh quotient at the identity, so an upper bound on it for SGD
    [source], and with the two parts over 1 + β and 1 − β for heavy ball [derived].
    Fails, too high, at large batches, where one direction decides; tightest deep in noise.

    Args:
        summary: Needs ``trace_hessian``, ``frobenius_sq`` and ``mean_sample_frobenius_sq``.
        conditions: What the prediction is for.

    Returns:
        The curve; exponent 1.

    Raises:
        TheoryError: If the trace is not positive, so that the Hessian has negative eigenvalues.

    Example:
        >>> from analysis.theory.inputs import Measured
        >>> known = CurvatureSummary(trace_hessian=Measured(4.0), frobenius_sq=Measured(4.0),
        ...                          mean_sample_frobenius_sq=Measured(32.0))
        >>> trace_curve(known, Conditions(np.array([1.0, 7.0]))).lr_max.tolist()
        [0.25, 1.0]
    """
    if summary.trace_hessian is not None and summary.trace_hessian.value <= 0:
        raise TheoryError(
            "mean-square bound, traces needs a positive semidefinite Hessian, but its trace is "
            "not positive. Use the Gauss-Newton matrix instead."
        )
    return _bound_curve(
        About(
            name="mean-square bound, traces",
            needs=("trace_hessian", "frobenius_sq", "mean_sample_frobenius_sq"),
            families=_HEAVY_BALL,
            exponent=1.0,
            confidence=Confidence.DERIVED if conditions.rule.momentum else Confidence.SOURCE,
            assumption="Parameters err equally in all directions.",
            bound=Bound.UPPER,
        ),
        lambda known: known.value("frobenius_sq") / known.value("trace_hessian"),
        lambda known: (
            (known.value("mean_sample_frobenius_sq") - known.value("frobenius_sq"))
            / known.value("trace_hessian")
        ),
        summary,
        conditions,
    )


def interpolation_curve(summary: CurvatureSummary, conditions: Conditions) -> TheoryCurve:
    """Bound LR_max from below by Ma, Bassily and Belkin: ``2m/(β + (m − 1) λ₁)``.

    Their optimal rate is half of it, ``m/(β + (m − 1)λ₁)`` (2018, arXiv:1712.06559; EigenPro's
    code), and their linear regime ends at ``m* = β/λ₁ + 1``; twice the optimal rate is where
    ``mean H_B² ⪯ (2/η) H`` still holds [derived], so it never exceeds the exact edge.
    Fails, too low, where the largest example is not typical.

    Args:
        summary: Needs ``hessian_top`` and ``max_sample_top``, β.
        conditions: What the prediction is for; SGD only.

    Returns:
        The curve; exponent 1; the critical batch size is where LR_max is halved, ``β/λ₁ − 1``.

    Example:
        >>> from analysis.theory.inputs import Measured
        >>> known = CurvatureSummary(hessian_top=Measured(1.0), max_sample_top=Measured(9.0))
        >>> interpolation_curve(known, Conditions(np.array([1.0, 8.0]))).lr_max.round(6).tolist()
        [0.222222, 1.0]
    """
    return _bound_curve(
        About(
            name="Ma–Bassily–Belkin",
            needs=("hessian_top", "max_sample_top"),
            families=(Family.SGD,),
            exponent=1.0,
            confidence=Confidence.SOURCE,
            assumption="Every example is as sharp as the sharpest, and the minimum is shared.",
            bound=Bound.LOWER,
        ),
        lambda known: known.value("hessian_top"),
        lambda known: known.value("max_sample_top") - known.value("hessian_top"),
        summary,
        conditions,
    )


def _bound_curve(
    about: About,
    full: Callable[[CurvatureSummary], float],
    noise: Callable[[CurvatureSummary], float],
    summary: CurvatureSummary,
    conditions: Conditions,
) -> TheoryCurve:
    """Build ``edge(full, p · noise)``, the form that all three bounds have."""

    def formula(known: CurvatureSummary, effective: FloatArray) -> FloatArray:
        excess = conditions.noise_share(effective) * max(noise(known), 0.0)
        return conditions.rule.edge(np.full_like(excess, full(known)), excess)

    return build_curve(about, formula, summary, conditions)
