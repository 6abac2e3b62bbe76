"""What is asked of derivatives of a loss around a point, and whether a model allows a way of them.

There are two: ``ForwardDerivatives``, fast, and ``ReverseDerivatives``, slow and for any model.
Both give the same numbers, and tests hold both against dense matrices.
"""

import functools
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Any, Protocol

from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

Outputs = Callable[[Tensor, Tensor], Tensor]
"""The model's outputs as a function of flat parameters and inputs."""
Loss = Callable[[Any, Any], Tensor]
"""The mean loss of a batch as a function of outputs and targets."""

# torch says so when it maps an operation by a loop of its own, with a warning at every place.
_SLOW_MAP = "There is a performance drop"


class Curvature(StrEnum):
    """Which matrix is multiplied."""

    HESSIAN = "Hessian"
    GGN = "generalised Gauss-Newton"


class Derivatives(Protocol):
    """First and second derivatives of one batch's loss at a fixed point.

    Directions have shape ``[size]``, inputs and targets ``[batch_size, ...]``.
    """

    def gradient(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return ``∇L``, shape ``[size]``."""
        ...

    def product(self, kind: Curvature, vector: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return ``H v`` or ``G v``, shape ``[size]``."""
        ...

    def slope(self, direction: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return ``gᵀd``."""
        ...

    def bend(self, kind: Curvature, direction: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
        """Return ``dᵀHd`` or ``dᵀGd``."""
        ...

    def over(
        self, function: Callable[..., Tensor], in_dims: tuple[int | None, ...]
    ) -> Callable[..., Tensor]:
        """Return a function of the above that maps over the first dimension of its arguments.

        Args:
            function: Of tensors, returns a tensor.
            in_dims: 0 for each argument that is mapped over, None for those that are shared.
        """
        ...


def find_obstacle(
    derivatives: Derivatives, vectors: Tensor, inputs: Tensor, targets: Tensor
) -> str:
    """Try every derivative on two small mini-batches at once.

    Args:
        derivatives: How.
        vectors: Shape ``[2, size]``.
        inputs: Shape ``[2, batch_size, ...]``.
        targets: As the inputs.

    Returns:
        What went wrong, in one line; empty when nothing did.
    """
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message=_SLOW_MAP)
            derivatives.over(derivatives.gradient, (0, 0))(inputs, targets)
            derivatives.over(derivatives.slope, (0, 0, 0))(vectors, inputs, targets)
            for kind in Curvature:
                for derivative in (derivatives.product, derivatives.bend):
                    along = functools.partial(derivative, kind)
                    derivatives.over(along, (0, 0, 0))(vectors, inputs, targets)
    except Exception as error:  # a user's model may raise anything, and another way may do
        lines = str(error).strip().splitlines() or [""]
        return f"{type(error).__name__}: {lines[0][:200]}"
    return ""


@contextmanager
def plain_attention() -> Iterator[None]:
    """Use the one attention kernel that has forward derivatives."""
    with sdpa_kernel(SDPBackend.MATH):
        yield
