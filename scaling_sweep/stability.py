"""When a trial counts as stable: the sweep file's words as a criterion on a curve's summary.

The criterion itself lives in ``analysis.criteria``, so that a finished table can be judged anew
by the same rule.
"""

from analysis.criteria import Criterion, Judgement, Kind, Reference, judge_one
from scaling_sweep.spec import Stability

__all__ = ["Judgement", "criterion_of", "judge"]

judge = judge_one


def criterion_of(stability: Stability) -> Criterion:
    """Return the criterion a sweep file asks for.

    Example:
        >>> str(criterion_of(Stability(max_loss_ratio=0.5)))
        'final:0.5'
    """
    return Criterion(
        Kind(stability.measure), stability.max_loss_ratio, Reference(stability.reference)
    )
