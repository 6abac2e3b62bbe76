"""A number estimated from random draws, with its standard error."""

import math
from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Estimate:
    """A mean over independent draws.

    Attributes:
        value: The estimate.
        stderr: Its standard error; 0 where nothing was drawn, NaN where one draw cannot tell.
    """

    value: float
    stderr: float

    @classmethod
    def of(cls, samples: Tensor) -> "Estimate":
        """Average independent draws, shape ``[num_samples]``.

        Returns:
            The mean with ``std / √n``.

        Example:
            >>> import torch
            >>> Estimate.of(torch.tensor([1.0, 3.0]))
            Estimate(value=2.0, stderr=1.0)
        """
        samples = samples.double()
        if len(samples) == 1:
            return cls(float(samples), math.nan)
        return cls(float(samples.mean()), float(samples.std()) / math.sqrt(len(samples)))

    @classmethod
    def exact(cls, value: float) -> "Estimate":
        """Return a number that is known without error."""
        return cls(value, 0.0)

    def scaled(self, factor: float) -> "Estimate":
        """Return the estimate in other units."""
        return Estimate(self.value * factor, self.stderr * abs(factor))


def ratio_of_means(numerators: Tensor, denominators: Tensor) -> Estimate:
    """Estimate ``E[a] / E[b]`` from paired draws: a ratio of averages, never the reverse.

    The standard error is the delta method's, ``std(a − r b) / (|mean b| √n)``.

    Args:
        numerators: Shape ``[num_samples]``, at least 2.
        denominators: Shape ``[num_samples]``.

    Returns:
        The ratio; infinite, and so is its error, where the mean of ``b`` is not positive: the
        draws are then too noisy to tell a denominator from nothing.

    Example:
        >>> import torch
        >>> ratio_of_means(torch.tensor([2.0, 4.0]), torch.tensor([1.0, 2.0]))
        Estimate(value=2.0, stderr=0.0)
    """
    numerators, denominators = numerators.double(), denominators.double()
    below = float(denominators.mean())
    if not below > 0:
        return Estimate(math.inf, math.inf)
    ratio = float(numerators.mean()) / below
    spread = float((numerators - ratio * denominators).std())
    return Estimate(ratio, spread / (below * math.sqrt(len(numerators))))
