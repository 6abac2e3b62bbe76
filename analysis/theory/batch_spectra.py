"""The largest eigenvalue of a batch Hessian, from random matrices or measured, and its edge.

The founding paper (Granziol, Zohren and Roberts 2020/2022, arXiv:2006.09092) says in its abstract
that extremal eigenvalues of the batch Hessian exceed the full-data ones and that maximal learning
rates follow from them. Its full text was not reachable: the two formulas here are the random-matrix
theorems as commonly stated, and ``edge = 2/λ₁(B)`` is taken literally. With momentum the part of
λ₁(B) beyond λ₁ is treated as noise (:meth:`~analysis.theory.rules.Rule.edge`), by analogy; its two
plateaus are from a public, secondary source (arXiv:2604.14108).
"""

import numpy as np
from numpy.typing import ArrayLike

from analysis.theory.curves import About, Conditions, Confidence, TheoryCurve, build_curve
from analysis.theory.inputs import BatchCurve, CurvatureSummary, FloatArray
from analysis.theory.rules import Family, Rule

_NOT_ADAM = (Family.SGD, Family.MOMENTUM, Family.NESTEROV)


def spiked_wigner_top(top: float, noise: ArrayLike) -> FloatArray:
    """Return the top eigenvalue of a rank-one spike plus Wigner noise.

    ``λ₁ + s²/λ₁`` if ``λ₁ > s``, else ``2 s``, with ``s² = (P/b) σ²``, s half the semicircle's
    radius. Source: the transition of Baik, Ben Arous and Péché for additive noise [from memory],
    checked by simulation.

    Args:
        top: λ₁ of the noiseless matrix, positive.
        noise: ``s²``, not negative, any shape.

    Returns:
        The limit for many dimensions, same shape.

    Example:
        >>> spiked_wigner_top(1.0, [0.25, 1.0, 4.0]).tolist()
        [1.25, 2.0, 4.0]
    """
    noise = np.asarray(noise, dtype=float)
    value: FloatArray = np.where(noise < top**2, top + noise / top, 2 * np.sqrt(noise))
    return value


def baik_silverstein_top(top: float, bulk: float, ratio: ArrayLike) -> FloatArray:
    """Return the top eigenvalue of a sample covariance with one spike.

    ``λ₁ (1 + γσ²/(λ₁ − σ²))`` if ``λ₁ > σ²(1 + √γ)``, else ``σ²(1 + √γ)²``. Source: Baik and
    Silverstein 2006, checked by simulation.

    Args:
        top: λ₁, the population covariance's spike, positive.
        bulk: σ², every other eigenvalue of the population covariance, positive.
        ratio: ``γ = P/b``, not negative, any shape.

    Returns:
        The limit for many dimensions and samples, same shape.

    Example:
        >>> baik_silverstein_top(1.0, 0.01, [1.0, 20.0]).round(4).tolist()
        [1.0101, 1.202]
        >>> baik_silverstein_top(0.01, 0.01, 4.0).round(4).item()
        0.09
    """
    ratio = np.asarray(ratio, dtype=float)
    root = np.sqrt(ratio)
    bulk_edge = bulk * (1 + root) ** 2
    if top <= bulk:
        return np.asarray(bulk_edge)
    spike = top * (1 + ratio * bulk / (top - bulk))
    value: FloatArray = np.where(top > bulk * (1 + root), spike, bulk_edge)
    return value


def wigner_curve(summary: CurvatureSummary, conditions: Conditions) -> TheoryCurve:
    """Predict LR_max by the additive spiked theorem taken literally: ``2/λ₁(B)``.

    ``λ₁(B) = λ₁ + Pσ²/(b λ₁)`` above ``B* = Pσ²/λ₁²``, ``2√(Pσ²/b)`` below it. Its log-log slope
    never exceeds 1/2 [derived]: the linear rule is not its corollary.
    Fails where Hessian noise sits in the top directions instead of being spread evenly: 2.2 × too
    high at B = 1 on a small regression.

    Args:
        summary: Needs ``hessian_top`` and ``hessian_noise``.
        conditions: What the prediction is for.

    Returns:
        The curve; exponent 1/2; critical batch size B*.

    Example:
        >>> from analysis.theory.inputs import Measured
        >>> noisy = CurvatureSummary(hessian_top=Measured(1.0), hessian_noise=Measured(16.0))
        >>> curve = wigner_curve(noisy, Conditions(np.array([1.0, 4.0, 16.0, 1600.0])))
        >>> curve.lr_max.round(3).tolist(), round(curve.critical_batch_size, 6)
        ([0.25, 0.5, 1.0, 1.98], 16.0)
    """
    about = About(
        name="spiked Wigner",
        needs=("hessian_top", "hessian_noise"),
        families=_NOT_ADAM,
        exponent=0.5,
        confidence=Confidence.RECONSTRUCTION,
        assumption="Hessian noise is independent between entries and equally strong everywhere.",
    )

    def formula(known: CurvatureSummary, effective: FloatArray) -> FloatArray:
        top = known.value("hessian_top")
        batch_top = spiked_wigner_top(top, known.value("hessian_noise") / effective)
        return conditions.rule.edge(np.full_like(batch_top, top), batch_top - top)

    return build_curve(about, formula, summary, conditions)


def ggn_curve(summary: CurvatureSummary, conditions: Conditions) -> TheoryCurve:
    """Predict LR_max by Baik and Silverstein's spike in a batch Gauss-Newton matrix: ``2/λ₁(B)``.

    The bulk is taken as flat: ``σ² = (Tr − λ₁)/(P − 1)``. Deep in noise λ₁(B) ∝ 1/b: the
    linear rule.
    Fails where the bulk is far from flat, as in trained networks, or examples are not independent
    rank-one terms.

    Args:
        summary: Needs ``ggn_top``, ``trace_ggn`` and ``num_parameters``.
        conditions: What the prediction is for.

    Returns:
        The curve; exponent 1.

    Example:
        >>> from analysis.theory.inputs import Measured
        >>> known = CurvatureSummary(
        ...     num_parameters=101, ggn_top=Measured(1.0), trace_ggn=Measured(2.0))
        >>> ggn_curve(known, Conditions(np.array([1.01, 101.0]))).lr_max.round(3).tolist()
        [0.995, 1.98]
    """
    about = About(
        name="Baik–Silverstein (GGN)",
        needs=("ggn_top", "trace_ggn", "num_parameters"),
        families=_NOT_ADAM,
        exponent=1.0,
        confidence=Confidence.RECONSTRUCTION,
        assumption="Examples' Jacobians are independent draws, equally spread but for one "
        "direction.",
    )

    def formula(known: CurvatureSummary, effective: FloatArray) -> FloatArray:
        top, size = known.value("ggn_top"), known.value("num_parameters")
        bulk = max(known.value("trace_ggn") - top, 0.0) / max(size - 1, 1.0)
        batch_top = baik_silverstein_top(top, bulk, size / effective)
        return conditions.rule.edge(np.full_like(batch_top, top), batch_top - top)

    return build_curve(about, formula, summary, conditions)


def batch_hessian_curve(summary: CurvatureSummary, conditions: Conditions) -> TheoryCurve:
    """Predict LR_max from measured batch Hessians: ``2/E[λ₁(H_B)]``, no matrix model in between.

    Adam takes the preconditioned batch Hessian. With momentum the edge runs from
    ``2(1 − β)/E[λ₁(H_B)]`` at small batches to ``2(1 + β)/λ₁`` at large ones (plateaus: public,
    secondary source; what lies between: by analogy with one noisy direction).

    Args:
        summary: Needs ``batch_hessian_top`` (Adam: ``batch_preconditioned_top``), and with momentum
            ``hessian_top`` (Adam: ``preconditioned_sharpness``).
        conditions: What the prediction is for.

    Returns:
        The curve; NaN outside the measured batch sizes; exponent between the smallest two.

    Example:
        >>> curve = BatchCurve(np.array([1.0, 4.0]), np.array([8.0, 2.0]), np.zeros(2))
        >>> known = CurvatureSummary(batch_hessian_top=curve)
        >>> batch_hessian_curve(known, Conditions(np.array([1.0, 2.0]))).lr_max.round(6).tolist()
        [0.25, 0.5]
    """
    adam = conditions.rule.family is Family.ADAM
    return _measured_curve(
        "measured λ₁ of batches",
        "batch_preconditioned_top" if adam else "batch_hessian_top",
        "preconditioned_sharpness" if adam else "hessian_top",
        summary,
        conditions,
    )


def batch_sharpness_curve(summary: CurvatureSummary, conditions: Conditions) -> TheoryCurve:
    """Predict LR_max from batch sharpness: ``2/E[gᵀH_B g/‖g‖²]``.

    Under SGD this quantity, not λ₁, is what settles at 2/η (arXiv:2412.20553). At a point that is
    not at its edge it only says which rate would put it there now, without the drift to come.

    Args:
        summary: Needs ``batch_sharpness``, and with momentum ``gradient_sharpness``.
        conditions: What the prediction is for; Adam is not covered.

    Returns:
        The curve; NaN outside the measured batch sizes; exponent between the smallest two.

    Example:
        >>> curve = BatchCurve(np.array([1.0, 4.0]), np.array([8.0, 2.0]), np.zeros(2))
        >>> known = CurvatureSummary(batch_sharpness=curve)
        >>> batch_sharpness_curve(known, Conditions(np.array([4.0]))).lr_max.round(6).tolist()
        [1.0]
    """
    return _measured_curve(
        "batch sharpness", "batch_sharpness", "gradient_sharpness", summary, conditions
    )


def _measured_curve(
    name: str, noisy: str, full: str, summary: CurvatureSummary, conditions: Conditions
) -> TheoryCurve:
    """Turn a measured mean over batches into an edge."""
    rule = conditions.rule
    has_full = getattr(summary, full) is not None
    measured = getattr(summary, noisy)
    about = About(
        name=name,
        needs=(noisy, full) if rule.momentum or has_full else (noisy,),
        families=tuple(Family) if noisy != "batch_sharpness" else _NOT_ADAM,
        exponent=None if measured is None else _first_slope(measured, summary, full, rule),
        confidence=Confidence.RECONSTRUCTION if rule.momentum else Confidence.SOURCE,
        assumption="Training is stable up to the rate at which a typical batch is, where it was "
        "measured.",
    )

    def formula(known: CurvatureSummary, effective: FloatArray) -> FloatArray:
        return _edge_of_batches(getattr(known, noisy), known, full, rule, effective)

    return build_curve(about, formula, summary, conditions)


def _edge_of_batches(
    curve: BatchCurve, known: CurvatureSummary, full: str, rule: Rule, effective: FloatArray
) -> FloatArray:
    """Split a measured curvature into its full-data part and the excess, and find the edge."""
    batch = curve.at(effective)
    if getattr(known, full) is None:
        return rule.edge(batch, np.zeros_like(batch))
    limit = known.value(full)
    batch = np.where(np.isinf(effective), limit, batch)
    mean = np.minimum(limit, batch)
    return rule.edge(mean, batch - mean)


def _first_slope(curve: BatchCurve, known: CurvatureSummary, full: str, rule: Rule) -> float | None:
    """Return the log-log slope of the edge between the two smallest measured batch sizes."""
    if np.size(curve.mean) < 2 or (rule.momentum and getattr(known, full) is None):
        return None
    sizes = curve.batch_size[:2]
    edge = _edge_of_batches(curve, known, full, rule, sizes)
    return float(np.diff(np.log(edge))[0] / np.diff(np.log(sizes))[0])
