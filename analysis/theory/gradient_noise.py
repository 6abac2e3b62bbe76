"""Edges that need no batch Hessian: full-batch edge of stability, gradient noise, and Adam's √B."""

import numpy as np

from analysis.theory.curves import About, Bound, Conditions, Confidence, TheoryCurve, build_curve
from analysis.theory.inputs import CurvatureSummary, FloatArray
from analysis.theory.rules import Family

_ADAM = (Family.ADAM,)
_NOT_ADAM = (Family.SGD, Family.MOMENTUM, Family.NESTEROV)


def edge_of_stability_curve(summary: CurvatureSummary, conditions: Conditions) -> TheoryCurve:
    """Predict the noiseless edge, the same at every batch size.

    ``2/λ`` for gradient descent, ``2(1 + β)/λ`` for heavy ball, ``2(1 + β)/((1 + 2β)λ)`` for
    Nesterov, ``2(1 + β₁)/((1 − β₁) λ_pre)`` for Adam with a frozen preconditioner: 38/λ_pre at 0.9
    (Cohen et al. 2021, arXiv:2103.00065, and 2022, arXiv:2207.14484; each derived and simulated
    here too).
    Fails at small batches, where it is too high: it is the limit of the others without noise.

    Args:
        summary: Needs ``hessian_top``; Adam needs ``preconditioned_sharpness``.
        conditions: What the prediction is for.

    Returns:
        The curve; exponent 0; no critical batch size.

    Example:
        >>> from analysis.theory.inputs import Measured
        >>> from analysis.theory.rules import find_rule
        >>> known = CurvatureSummary(preconditioned_sharpness=Measured(38.0))
        >>> adam = Conditions(np.array([1.0, 64.0]), find_rule("adam"))
        >>> edge_of_stability_curve(known, adam).lr_max.round(9).tolist()
        [1.0, 1.0]
    """
    adam = conditions.rule.family is Family.ADAM
    name = "preconditioned_sharpness" if adam else "hessian_top"
    about = About(
        name="edge of stability",
        needs=(name,),
        families=tuple(Family),
        exponent=0.0,
        confidence=Confidence.DERIVED,
        assumption="Batch noise does not matter.",
        # Adam's preconditioner itself moves with the batch size, so there it bounds nothing.
        bound=Bound.ESTIMATE if adam else Bound.UPPER,
    )

    def formula(known: CurvatureSummary, effective: FloatArray) -> FloatArray:
        return conditions.rule.edge(
            np.full(effective.shape, known.value(name)), np.zeros(effective.shape)
        )

    return build_curve(about, formula, summary, conditions)


def noise_scale_curve(summary: CurvatureSummary, conditions: Conditions) -> TheoryCurve:
    """Predict LR_max by McCandlish et al.: ``2 ε_max/(1 + B_noise/B)``.

    ``ε_max = ‖G‖²/(GᵀHG)`` is the best single step without noise, and twice the best step is where
    a quadratic loss stops falling on average. ``B_noise ≈ B_simple = tr Σ/‖G‖²`` (2018,
    arXiv:1812.06162, a public but secondary source; the factor 2 is derived). With momentum the
    noise part is treated as excess curvature, by analogy.
    Fails near a minimum, where G vanishes and B_simple runs away, and where noise and curvature are
    aligned: then B_simple is too small.

    Args:
        summary: Needs ``gradient_noise_scale``, and ``gradient_sharpness`` or, where that is not
            measured, ``hessian_top``, which makes the level a lower one.
        conditions: What the prediction is for; not Adam.

    Returns:
        The curve; exponent 1; critical batch size B_noise under SGD.

    Example:
        >>> from analysis.theory.inputs import Measured
        >>> known = CurvatureSummary(
        ...     gradient_sharpness=Measured(2.0), gradient_noise_scale=Measured(30.0))
        >>> noise_scale_curve(known, Conditions(np.array([10.0, 30.0]))).lr_max.tolist()
        [0.25, 0.5]
    """
    level = "gradient_sharpness" if summary.gradient_sharpness is not None else "hessian_top"
    stated = "Gradient noise is blind to curvature; a rate is stable if one step lowers the loss"
    ending = "." if level == "gradient_sharpness" else " along the top direction."
    about = About(
        name="gradient noise scale",
        needs=(level, "gradient_noise_scale"),
        families=_NOT_ADAM,
        exponent=1.0,
        confidence=Confidence.RECONSTRUCTION if conditions.rule.momentum else Confidence.SOURCE,
        assumption=stated + ending,
    )

    def formula(known: CurvatureSummary, effective: FloatArray) -> FloatArray:
        full = known.value(level)
        excess = full * known.value("gradient_noise_scale") / effective
        return conditions.rule.edge(np.full_like(excess, full), excess)

    return build_curve(about, formula, summary, conditions)


def adam_mean_square_curve(summary: CurvatureSummary, conditions: Conditions) -> TheoryCurve:
    """Predict Adam's LR_max from mean-square stability with √v that shrinks as the batch grows.

    ``λ_pre(B) = λ_pre(B₀) √(1 + B_noise/B₀)/√(1 + B_noise/B)``, because v is ‖G‖² + tr Σ/B on
    average, and ``η = 1/(λ_pre/sharp + λ_pre p (Var/λ₁²)/2)`` as for any averaged momentum
    [derived; the scaling of v as one number for all parameters is the assumption]. It rises as
    √B where ``B ≪ B_noise`` and as B beyond, until curvature noise no longer matters; where that is
    first, it peaks and falls back to the level of the full batch.
    Fails where ε rules the preconditioner, early in training before v has settled, and where the
    top direction's v is not typical.

    Args:
        summary: Needs ``preconditioned_sharpness`` with its ``state_batch_size``,
            ``gradient_noise_scale``, ``hessian_top`` and ``top_direction_variance``.
        conditions: What the prediction is for; Adam and relatives.

    Returns:
        The curve; exponent 1/2; the critical batch size, where LR_max is half of its limit, may be
        missing, because smaller batches may allow more.

    Example:
        >>> from analysis.theory.inputs import Measured
        >>> from analysis.theory.rules import find_rule
        >>> known = CurvatureSummary(
        ...     preconditioned_sharpness=Measured(19.0), state_batch_size=100.0,
        ...     gradient_noise_scale=Measured(100.0), hessian_top=Measured(2.0),
        ...     top_direction_variance=Measured(40.0))
        >>> adam = Conditions(np.array([1e-4, 4e-4, 100.0]), find_rule("adam"))
        >>> lr = adam_mean_square_curve(known, adam).lr_max
        >>> (lr[1:] / lr[:2]).round(3)[0].item(), lr[2].round(3).item()
        (2.0, 0.69)
    """
    about = About(
        name="Adam, mean-square stability",
        needs=(
            "preconditioned_sharpness",
            "state_batch_size",
            "gradient_noise_scale",
            "hessian_top",
            "top_direction_variance",
        ),
        families=_ADAM,
        exponent=0.5,
        confidence=Confidence.DERIVED,
        assumption="Adam's second moments all scale with the batch size as the gradient's "
        "squared norm does.",
    )

    def formula(known: CurvatureSummary, effective: FloatArray) -> FloatArray:
        noise_scale, gathered = known.value("gradient_noise_scale"), known.value("state_batch_size")
        root = np.sqrt((1 + noise_scale / gathered) / (1 + noise_scale / effective))
        sharpness = known.value("preconditioned_sharpness") * root
        relative = known.value("top_direction_variance") / known.value("hessian_top") ** 2
        return conditions.rule.edge(
            sharpness, sharpness * relative * conditions.noise_share(effective)
        )

    return build_curve(about, formula, summary, conditions)


def adam_surge_curve(summary: CurvatureSummary, conditions: Conditions) -> TheoryCurve:
    """Predict Adam's LR_max as a surge: ``2 η_peak/(√(B*/B) + √(B/B*))`` with ``B* = B_noise``.

    Noise-dominated √v ∝ B^(-1/2), so the edge is that of SGD, ``∝ 1/(1 + B*/B)``, times B^(-1/2)
    [derived]: up as √B, a peak at B*, down as 1/√B. The form and B* are Li et al.'s (2024,
    arXiv:2405.14578) for sign-like optimisers and the *best* rate; the level, ``sharp/λ_pre(B₀)
    √(B₀/B)/(1 + B*/B)``, is a reconstruction.
    Fails beyond B_noise, where v stops shrinking and the fall should end.

    Args:
        summary: Needs ``preconditioned_sharpness``, ``state_batch_size``, ``gradient_noise_scale``.
        conditions: What the prediction is for; Adam and relatives.

    Returns:
        The curve; exponent 1/2; critical batch size at the peak, B_noise.

    Example:
        >>> from analysis.theory.inputs import Measured
        >>> from analysis.theory.rules import find_rule
        >>> known = CurvatureSummary(preconditioned_sharpness=Measured(19.0),
        ...     state_batch_size=100.0, gradient_noise_scale=Measured(100.0))
        >>> adam = Conditions(np.array([25.0, 100.0, 400.0]), find_rule("adam"))
        >>> adam_surge_curve(known, adam).lr_max.round(6).tolist()
        [0.8, 1.0, 0.8]
    """
    about = About(
        name="Adam, surge",
        needs=("preconditioned_sharpness", "state_batch_size", "gradient_noise_scale"),
        families=_ADAM,
        exponent=0.5,
        confidence=Confidence.RECONSTRUCTION,
        assumption="Gradient noise rules Adam's second moments at every batch size.",
    )

    def formula(known: CurvatureSummary, effective: FloatArray) -> FloatArray:
        level = conditions.rule.sharp_limit / known.value("preconditioned_sharpness")
        drop = np.sqrt(known.value("state_batch_size") / effective)
        lr: FloatArray = level * drop / (1 + known.value("gradient_noise_scale") / effective)
        return lr

    scale = summary.gradient_noise_scale
    return build_curve(
        about, formula, summary, conditions, critical=None if scale is None else scale.value
    )


def adam_noise_scale_curve(summary: CurvatureSummary, conditions: Conditions) -> TheoryCurve:
    """Predict Adam's LR_max by the noise scale's Adam form: ``ε_max/√(1 + B_noise/B)``.

    McCandlish et al. (2018) report that Adam follows ``ε_max/(1 + B_noise/B)^α`` with α between 1/2
    and 1 [from memory]; α = 1/2 is the square-root rule, and ``ε_max = 2(1 + β₁)/((1 − β₁) λ_pre)``
    is our reading of the level.
    Fails where the peak and fall of the surge are real.

    Args:
        summary: Needs ``preconditioned_sharpness`` and ``gradient_noise_scale``.
        conditions: What the prediction is for; Adam and relatives.

    Returns:
        The curve; exponent 1/2; critical batch size B_noise/3, where the root is 2.

    Example:
        >>> from analysis.theory.inputs import Measured
        >>> from analysis.theory.rules import find_rule
        >>> known = CurvatureSummary(
        ...     preconditioned_sharpness=Measured(38.0), gradient_noise_scale=Measured(30.0))
        >>> adam = Conditions(np.array([10.0]), find_rule("adam"))
        >>> adam_noise_scale_curve(known, adam).lr_max.round(6).tolist()
        [0.5]
    """
    about = About(
        name="gradient noise scale, Adam form",
        needs=("preconditioned_sharpness", "gradient_noise_scale"),
        families=_ADAM,
        exponent=0.5,
        confidence=Confidence.RECONSTRUCTION,
        assumption="Adam's rate falls from its full-batch edge with the root of gradient noise.",
    )

    def formula(known: CurvatureSummary, effective: FloatArray) -> FloatArray:
        level = conditions.rule.sharp_limit / known.value("preconditioned_sharpness")
        lr: FloatArray = level / np.sqrt(1 + known.value("gradient_noise_scale") / effective)
        return lr

    return build_curve(about, formula, summary, conditions)
