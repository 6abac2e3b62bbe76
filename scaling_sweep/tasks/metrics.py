"""Measures of held-out data, for ``Task.metric``."""

from torch import Tensor


def accuracy(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return the share of examples whose largest output is the right class.

    Args:
        outputs: Shape ``[batch_size, num_classes]``.
        targets: Shape ``[batch_size]``, class numbers.

    Returns:
        A scalar from 0 to 1.

    Example:
        >>> import torch
        >>> accuracy(torch.tensor([[0.1, 0.9], [0.8, 0.2]]), torch.tensor([1, 1]))
        tensor(0.5000)
    """
    return (outputs.argmax(-1) == targets).float().mean()
