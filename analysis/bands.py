"""LR_max at any batch size, with its interval, from the laws that were fitted."""

import numpy as np
from numpy.typing import ArrayLike

from analysis.bootstrap import bootstrap_half_width
from analysis.intervals import students_t
from analysis.laws import effective_batch_size, find_law
from analysis.likelihood import FloatArray
from analysis.summaries import Band, GroupFit, LawFit

_CONFIDENCE = 0.95


def law_band(group: GroupFit, law: LawFit, batch_size: ArrayLike) -> Band:
    """Predict LR_max by one law, with a pointwise 95 % interval.

    The interval is the wider of the delta method, inflated by the law's lack of fit, and the
    bootstrap over seeds, both symmetric in log learning rate.

    Args:
        group: The group the law was fitted to.
        law: One of its laws.
        batch_size: Examples per step, any number of them.

    Returns:
        The band; NaN where the law says nothing (a power law at the full batch, drawn without
        replacement, where noise is zero).
    """
    size = np.atleast_1d(np.asarray(batch_size, dtype=float))
    effective = effective_batch_size(size, group.num_examples)
    lr_max = find_law(law.name).lr_max(law.theta, effective)
    lr_max[np.isinf(lr_max)] = np.nan
    # At infinite b a law has reached its limit, and so has its gradient a little before.
    beyond = np.nanmax(np.where(np.isinf(effective), np.nan, effective), initial=1.0) * 1e6
    half = _log_half_width(law, np.log(np.minimum(effective, beyond)))
    return Band(size, lr_max, lr_max * np.exp(-half), lr_max * np.exp(half))


def _log_half_width(law: LawFit, log_b: FloatArray) -> FloatArray:
    """Return half the width of the interval in log learning rate."""
    shape, k = find_law(law.name), law.theta.size
    gradient = shape.gradient(law.theta[None], log_b)[0]
    variance = np.einsum("ni,ij,nj->n", gradient, law.covariance, gradient)
    variance *= law.phi * law.num_units / max(law.num_units - k, 1)
    t = students_t(_CONFIDENCE, max(law.num_batch_sizes - k, 1))
    delta = t * np.sqrt(np.maximum(variance, 0.0))
    if not len(law.draws):
        return np.asarray(delta)
    drawn = shape.predict(law.draws, log_b)
    half: FloatArray = np.maximum(delta, bootstrap_half_width(drawn, _CONFIDENCE, law.num_seeds))
    return half


def predict_lr_max(group: GroupFit, batch_size: ArrayLike) -> Band:
    """Predict LR_max by the law reported, with the union of the kept laws' 95 % intervals.

    Args:
        group: A group whose fit was not refused.
        batch_size: Examples per step, any number of them.

    Returns:
        The band; NaN where no law says anything.

    Raises:
        ValueError: If the fit was refused, or a batch exceeds the data it is drawn from without
            replacement.
    """
    best = group.best_law()
    if best is None:
        raise ValueError(f"No law was fitted: {group.refused}")
    bands = [law_band(group, law, batch_size) for law in group.laws if law.kept]
    center = law_band(group, best, batch_size)
    return Band(
        center.batch_size,
        center.lr_max,
        np.fmin.reduce([band.low for band in bands]),
        np.fmax.reduce([band.high for band in bands]),
    )
