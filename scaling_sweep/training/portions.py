"""Batches that are computed in portions, because all of one would not fit into memory."""

from torch import Tensor

from scaling_sweep.training.copies import Tensors


class WholeBatch:
    """Adds up losses and gradients of a batch that is computed in portions.

    Attributes:
        losses: Mean over what was added, without its graph.
        grads: Their gradients.

    Example:
        >>> import torch
        >>> whole = WholeBatch()
        >>> whole.add(torch.tensor([1.0]), {"w": torch.tensor([2.0])}, 0.25)
        >>> whole.add(torch.tensor([3.0]), {"w": torch.tensor([6.0])}, 0.75)
        >>> whole.losses, whole.grads
        (tensor([2.5000]), {'w': tensor([5.])})
    """

    losses: Tensor
    grads: Tensors

    def __init__(self) -> None:
        self._is_empty = True

    def add(self, losses: Tensor, grads: Tensors, share: float) -> None:
        """Take in a portion.

        Args:
            losses: Mean losses of its examples, any shape.
            grads: Their gradients.
            share: Of the batch; 1 leaves everything as it is, graph of the gradients included.
        """
        losses = losses.detach()
        if share == 1:
            self.losses, self.grads = losses, grads
        elif self._is_empty:
            self.losses = losses * share
            self.grads = {name: grad * share for name, grad in grads.items()}
        else:
            self.losses += losses * share
            for name, grad in grads.items():
                self.grads[name].add_(grad, alpha=share)
        self._is_empty = False
