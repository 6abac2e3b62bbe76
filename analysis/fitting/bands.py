"""The edge at any batch size, with its interval, from the laws that were fitted."""

import numpy as np
from numpy.typing import ArrayLike

from analysis.fitting.bootstrap import bootstrap_half_width
from analysis.fitting.intervals import students_t
from analysis.fitting.joint_laws import find_joint_law
from analysis.fitting.laws import Law
from analysis.fitting.likelihood import FloatArray
from analysis.summaries import Band, GroupFit, LawFit

_CONFIDENCE = 0.95
# A surge whose fall has not been measured may fall like Li et al. 2024 say, b^(-1/2).
_LEAST_FALL = 0.5


def law_band(group: GroupFit, law: LawFit, batch_size: ArrayLike, lr: float = 1.0) -> Band:
    """Predict the edge by one law, with a pointwise 95 % interval.

    The interval is the wider of the delta method, inflated by the law's lack of fit, and the
    bootstrap over seeds, both symmetric in log boldness.

    Args:
        group: The group the law was fitted to.
        law: One of its laws.
        batch_size: Examples per step, any number of them.
        lr: The learning rate that is held, where it is not the axis.

    Returns:
        The band; NaN where the law says nothing (a power law at the full batch, drawn without
        replacement, where noise is zero).
    """
    size = np.atleast_1d(np.asarray(batch_size, dtype=float))
    variable = group.axis.variable(size, lr, group.num_examples)
    shape = find_joint_law(law.name, np.full(size.size, np.log(lr)))
    median = shape.edge(law.theta, variable)
    median[np.isinf(median)] = np.nan
    # At infinite b a law has reached its limit, and so has its gradient a little before.
    beyond = np.nanmax(np.where(np.isinf(variable), np.nan, variable), initial=1.0) * 1e6
    half = _log_half_width(law, shape, np.log(np.minimum(variable, beyond)))
    band = Band(size, median, median * np.exp(-half), median * np.exp(half))
    return _limit_slope(group, law, band, lr) if _reaches_out(group, size) else band


def _reaches_out(group: GroupFit, size: FloatArray) -> bool:
    """Say whether a batch size lies beyond the measured ones."""
    measured = [edge.batch_size for edge in group.edges]
    return bool(measured) and bool(size.min() < min(measured) or size.max() > max(measured))


def _limit_slope(group: GroupFit, law: LawFit, band: Band, lr: float) -> Band:
    """Keep the band beyond the measured batch sizes within the slopes the law can have.

    The delta method knows the law's tangent only, and a bend that is hardly known makes it
    absurdly wide far out. But no law rises faster than its exponent, and only a surge falls.

    Returns:
        The band, narrower or the same.
    """
    measured = np.array(
        [min(e.batch_size for e in group.edges), max(e.batch_size for e in group.edges)]
    )
    ends = law_band(group, law, measured, lr)
    here = group.axis.variable(band.batch_size, lr, group.num_examples)
    known = group.axis.variable(measured, lr, group.num_examples)
    steepest = law.exponent_ci[1]
    fall = max(law.parameters.get("q", 0.0), _LEAST_FALL)
    flattest = {"power": law.exponent_ci[0], "saturating": 0.0}.get(law.name.split()[0], -fall)
    low, high = band.low.copy(), band.high.copy()
    with np.errstate(invalid="ignore"):  # at infinite b a power law says nothing, see law_band
        above, below = here > known[1], here < known[0]
        up, down = np.log(here[above] / known[1]), np.log(here[below] / known[0])
        low[above] = np.fmax(low[above], ends.low[1] * np.exp(flattest * up))
        high[above] = np.fmin(high[above], ends.high[1] * np.exp(steepest * up))
        low[below] = np.fmax(low[below], ends.low[0] * np.exp(steepest * down))
        high[below] = np.fmin(high[below], ends.high[0] * np.exp(flattest * down))
    return Band(band.batch_size, band.median, np.fmin(low, band.median), np.fmax(high, band.median))


def _log_half_width(law: LawFit, shape: Law, log_b: FloatArray) -> FloatArray:
    """Return half the width of the interval in log boldness."""
    k = law.theta.size
    gradient = shape.gradient(law.theta[None], log_b)[0]
    variance = np.einsum("ni,ij,nj->n", gradient, law.covariance, gradient)
    variance *= law.phi * law.num_units / max(law.num_units - k, 1)
    t = students_t(_CONFIDENCE, max(law.num_places - k, 1))
    delta = t * np.sqrt(np.maximum(variance, 0.0))
    if not len(law.draws):
        return np.asarray(delta)
    drawn = shape.predict(law.draws, log_b)
    half: FloatArray = np.maximum(delta, bootstrap_half_width(drawn, _CONFIDENCE, law.num_seeds))
    return half


def predict_edge(group: GroupFit, batch_size: ArrayLike, lr: float = 1.0) -> Band:
    """Predict the edge by the law reported, with the union of the kept laws' 95 % intervals.

    Args:
        group: A group whose fit was not refused.
        batch_size: Examples per step, any number of them.
        lr: The learning rate that is held, where it is not the axis.

    Returns:
        The band; NaN where no law says anything.

    Raises:
        ValueError: If the fit was refused, or a batch exceeds the data it is drawn from without
            replacement.
    """
    best = group.best_law()
    if best is None:
        raise ValueError(f"No law was fitted: {group.refused}")
    bands = [law_band(group, law, batch_size, lr) for law in group.laws if law.kept]
    center = law_band(group, best, batch_size, lr)
    return Band(
        center.batch_size,
        center.median,
        np.fmin.reduce([band.low for band in bands]),
        np.fmax.reduce([band.high for band in bands]),
    )
