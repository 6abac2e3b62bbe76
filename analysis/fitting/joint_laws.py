"""Laws of batch size and learning rate together, where the edge is that of another axis.

A law in ``b/lr`` alone says that only the ratio counts. Two ways to leave that are written here: a
bend that belongs to the batch size alone (:class:`BentInBatch`), and exponents of lr and batch
size that differ (:class:`Tilted`). Both wrap a law of :mod:`analysis.fitting.laws`, and are given
the log learning rate of each point beside ``log(b/lr)``.
"""

from enum import Enum

import numpy as np

from analysis.axes import Axis
from analysis.fitting.laws import LAWS, Law, Power, find_law
from analysis.fitting.likelihood import FloatArray
from analysis.summaries import LawFit

IN_BATCH = " in B"
"""What the name of a law ends with whose bend is one of the batch size alone."""

# As for the exponent itself; theory says 0.
_TILT_BOX = 4.0


class BentInBatch(Law):
    """``boldness = L(b)/lr^p``: the claim where noise rules, and a bend where the noise ends.

    An optimizer whose damping outweighs its preconditioner is SGD at the rate lr/damping, so its
    smallest damping is ``lr/LR_max(b)`` with SGD's law: proportional to lr at every batch size,
    but levelling off in b. Same parameters as the wrapped law, taken at lr = 1.

    Example:
        >>> log_lr = np.log([1.0, 2.0])
        >>> law = BentInBatch(find_law("saturating"), log_lr)
        >>> theta = np.array([[1.0, np.log(2 / 30), np.log(30)]])
        >>> np.exp(law.predict(theta, np.log(30.0) - log_lr)).round(6).tolist()
        [[1.0, 0.5]]
    """

    def __init__(self, law: Law, log_lr: FloatArray) -> None:
        """Wrap a law.

        Args:
            law: The law in b at lr = 1.
            log_lr: Shape ``[n]``, log learning rate of every point.
        """
        self._law, self._log_lr = law, log_lr
        self.name = f"{law.name}{IN_BATCH}"
        self.num_parameters = law.num_parameters
        self.min_batch_sizes = law.min_batch_sizes

    def predict(self, theta: FloatArray, log_b: FloatArray) -> FloatArray:
        """Return the log edge at ``log_b = log(b/lr)``."""
        edge: FloatArray = self._law.predict(theta, log_b + self._log_lr)
        return edge - theta[:, 0:1] * self._log_lr

    def gradient(self, theta: FloatArray, log_b: FloatArray) -> FloatArray:
        """Return the wrapped law's, with lr in the exponent's."""
        gradient = self._law.gradient(theta, log_b + self._log_lr).copy()
        gradient[:, :, 0] -= self._log_lr
        return gradient

    def bounds(self, log_b: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the wrapped law's bounds, over batch sizes."""
        return self._law.bounds(log_b + self._log_lr)

    def shapes(self, log_b: FloatArray) -> FloatArray:
        """Return the wrapped law's starts, over batch sizes."""
        return self._law.shapes(log_b + self._log_lr)

    def parameters(self, theta: FloatArray) -> dict[str, float]:
        """Return the wrapped law's parameters, at lr = 1."""
        return self._law.parameters(theta)


class Wanted(Enum):
    """Which exponent a tilted law is written in, as its first parameter."""

    BATCH_SIZE = "batch size"
    LR = "lr"
    DIFFERENCE = "difference"


class Tilted(Law):
    """``boldness = L lr^-d``: a law whose exponent in lr is ``a = p + d`` instead of ``p``.

    ``theta = (wanted, the law's others, other)``, where ``wanted`` is p, a or d and ``other``
    is d where p is wanted, else p or d's partner; so each can be profiled as an exponent is.

    Example:
        >>> law = Tilted(find_law("power"), np.log([1.0, 2.0]), Wanted.LR)
        >>> law.predict(np.array([[0.5, 0.0, 0.2]]), np.zeros(2)).round(4).tolist()
        [[0.0, -0.1386]]
    """

    def __init__(self, law: Law, log_lr: FloatArray, wanted: Wanted) -> None:
        """Wrap a law.

        Args:
            law: A law in ``b/lr``.
            log_lr: Shape ``[n]``, log learning rate of every point.
            wanted: What ``theta[0]`` is.
        """
        self._law, self._log_lr = law, log_lr
        self._to_law = _choose_parameters(law.num_parameters, wanted)
        self.name = law.name
        self.num_parameters = law.num_parameters + 1
        self.min_batch_sizes = law.min_batch_sizes

    def predict(self, theta: FloatArray, log_b: FloatArray) -> FloatArray:
        """Return the log edge at ``log_b = log(b/lr)``."""
        inner = theta @ self._to_law.T
        return self._law.predict(inner[:, :-1], log_b) - inner[:, -1:] * self._log_lr

    def gradient(self, theta: FloatArray, log_b: FloatArray) -> FloatArray:
        """Return the gradient by the chain rule."""
        inner = theta @ self._to_law.T
        slope = self._law.gradient(inner[:, :-1], log_b)
        tilt = np.broadcast_to(-self._log_lr[None, :, None], (*slope.shape[:2], 1))
        gradient: FloatArray = np.concatenate([slope, tilt], axis=2) @ self._to_law
        return gradient

    def bounds(self, log_b: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Return the wrapped law's bounds; what stands first or last is an exponent."""
        low, high = self._law.bounds(log_b)
        free = np.array([_TILT_BOX])
        low, high = np.append(low, -free), np.append(high, free)
        if self._to_law[0, 0] == 0:  # the difference is wanted, p stands last
            low[[0, -1]], high[[0, -1]] = low[[-1, 0]], high[[-1, 0]]
        return low, high

    def shapes(self, log_b: FloatArray) -> FloatArray:
        """Return the wrapped law's starts without a tilt."""
        inner = np.column_stack([self._law.shapes(log_b), np.zeros(len(self._law.shapes(log_b)))])
        starts: FloatArray = inner @ np.linalg.inv(self._to_law).T
        return starts

    def parameters(self, theta: FloatArray) -> dict[str, float]:
        """Return the wrapped law's parameters and the tilt."""
        inner = self._to_law @ theta
        return self._law.parameters(inner[:-1]) | {"tilt": float(inner[-1])}


def _choose_parameters(num: int, wanted: Wanted) -> FloatArray:
    """Return the matrix from ``theta`` to (the law's parameters, d)."""
    matrix = np.eye(num + 1)
    if wanted is Wanted.LR:  # theta = (a, ..., d): p = a - d
        matrix[0, -1] = -1.0
    elif wanted is Wanted.DIFFERENCE:  # theta = (d, ..., p)
        matrix[[0, -1]] = matrix[[-1, 0]]
    return matrix


def list_laws(log_lr: FloatArray, num_batch_sizes: int) -> tuple[Law, ...]:
    """List the laws that edges at these learning rates may follow.

    Args:
        log_lr: Shape ``[n]``, log learning rate that was held at every point, 0 where none was.
        num_batch_sizes: How many there are; through few of them every bend in B fits.

    Returns:
        The laws in ``b/lr``; with several learning rates also those bent in b alone.

    Example:
        >>> [law.name for law in list_laws(np.log([0.1, 0.4]), 8)]
        ['power', 'saturating', 'surge', 'saturating in B', 'surge in B']
    """
    if np.unique(log_lr).size < 2:
        return LAWS
    bent = [law for law in LAWS if not isinstance(law, Power)]
    enough = (law for law in bent if num_batch_sizes >= law.min_batch_sizes)
    return (*LAWS, *(BentInBatch(law, log_lr) for law in enough))


def find_joint_law(name: str, log_lr: FloatArray) -> Law:
    """Look a law up by its name, at points with these learning rates.

    Args:
        name: As a fit has it.
        log_lr: Shape ``[n]``, log learning rate that was held at every point.

    Returns:
        The law.
    """
    if name.endswith(IN_BATCH):
        return BentInBatch(find_law(name.removesuffix(IN_BATCH)), log_lr)
    return find_law(name)


def natural_parameters(law: LawFit, axis: Axis) -> dict[str, float]:
    """Return a law's parameters in the axis' own values.

    For a damping ``c`` is that of ``c (lr/b)^p``, ``damping_inf`` what it levels off at,
    ``damping_least`` its lowest value, and ``ratio_star`` the ratio lr/b of the bend. A law bent
    in B keeps its ``b_star``, and its dampings are those at lr = 1.

    Args:
        law: A fitted law.
        axis: What was searched.

    Returns:
        Values by name.

    Example:
        >>> from analysis.axes import DAMPING_AXIS
        >>> law = LawFit("power", {"c": 4.0, "p": 1.0}, 1.0, (0.9, 1.1), (0.9, 1.1), 0.0, 0.0,
        ...              0.1, 0.5, True)
        >>> natural_parameters(law, DAMPING_AXIS)
        {'c': 0.25, 'p': 1.0}
    """
    if not axis.inverse:
        return law.parameters
    inverse = {"c": "c", "eta_inf": "damping_inf", "eta_peak": "damping_least"}
    if not law.name.endswith(IN_BATCH):
        inverse["b_star"] = "ratio_star"
    return {
        inverse.get(name, name): axis.show(value) if name in inverse else value
        for name, value in law.parameters.items()
    }
