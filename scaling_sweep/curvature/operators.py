"""Matrix-vector products over data: streamed in micro-batches, many vectors or batches at once.

Every operator maps vectors of shape ``[num_lanes, size]`` to the same shape. In a ``DataOperator``
all lanes share one matrix, that of the whole data; in a ``BatchOperator`` each lane has the matrix
of its own mini-batch, and lanes of zeros cost nothing. Both stay within a stated number of bytes
beside their arguments.
"""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from scaling_sweep.curvature.kept import KeptGradients, keep_gradients
from scaling_sweep.curvature.objective import Curvature, Objective, Policy
from scaling_sweep.curvature.workspace import Examples, Workspace
from scaling_sweep.krylov import Operator


class DataOperator:
    """The Hessian or GGN of the mean loss over all examples; every lane has the same matrix.

    Under ``Policy.BATCH`` BatchNorm's statistics are those of each micro-batch.

    Args:
        objective: The point.
        examples: The data, shape ``[num_examples, ...]``.
        kind: Which matrix.
        workspace: How much memory; measured with the usual bound when None.

    Attributes:
        num_products: Products with the whole data so far, lanes counted singly.
    """

    def __init__(
        self,
        objective: Objective,
        examples: Examples,
        kind: Curvature = Curvature.HESSIAN,
        workspace: Workspace | None = None,
    ) -> None:
        self.num_products = 0
        self._objective, self._examples, self._kind = objective, examples, kind
        self._workspace = workspace or Workspace.of(objective, examples)

    def __call__(self, vectors: Tensor) -> Tensor:
        """Multiply, shape ``[num_lanes, size]`` to the same."""
        self.num_products += len(vectors)
        size = self._workspace.micro_batch(len(self._examples))
        lanes = self._workspace.num_lanes(size)
        result = torch.zeros_like(vectors)
        for part in self._examples.split(size):
            self._workspace.budget.check()
            inputs = self._objective.to_like(part.inputs)
            targets = self._objective.to_like(part.targets)
            share = len(part) / len(self._examples)
            for some, out in zip(
                torch.split(vectors, lanes), torch.split(result, lanes), strict=True
            ):
                out.add_(self._multiply(some, inputs, targets), alpha=share)
        return result

    def _multiply(self, vectors: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
        def product(vector: Tensor) -> Tensor:
            return self._objective.product(self._kind, vector, inputs, targets)

        # One lane needs no vmap, which costs a small model a fifth of its time.
        if len(vectors) == 1:
            return product(vectors[0])[None]
        return self._objective.over(product, (0,))(vectors)


class BatchOperator:
    """The Hessians or GGNs of many mini-batches at once: lane ``i`` has that of batch ``i``.

    Where the lanes fit into memory whole, Hessians are multiplied through kept gradients from the
    second product on: keeping them costs about as much as one product.

    Args:
        objective: The point.
        batches: The mini-batches, shape ``[num_lanes, batch_size, ...]``.
        kind: Which matrix.
        workspace: How much memory; measured with the usual bound when None.

    Attributes:
        num_products: Products so far, lanes counted singly.

    Raises:
        ValueError: If a batch does not fit whole although BatchNorm normalises by it.
    """

    def __init__(
        self,
        objective: Objective,
        batches: Examples,
        kind: Curvature = Curvature.HESSIAN,
        workspace: Workspace | None = None,
    ) -> None:
        self.num_products = 0
        self._objective, self._kind = objective, kind
        self._batches = batches
        self._kept: KeptGradients | None = None
        self._tried = False
        self._workspace = workspace or Workspace.of(objective, batches.select(torch.tensor(0)))
        self._micro_batch = self._workspace.micro_batch(self.batch_size)
        if self._micro_batch < self.batch_size and objective.policy is Policy.BATCH:
            raise ValueError(
                f"Batches of {self.batch_size} examples do not fit into "
                f"{self._workspace.max_bytes} bytes, and BatchNorm normalises by whole batches: "
                "raise max_bytes, or use running statistics."
            )

    @property
    def batch_size(self) -> int:
        """Examples in each lane."""
        return self._batches.inputs.shape[1]

    def __call__(self, vectors: Tensor) -> Tensor:
        """Multiply, shape ``[num_lanes, size]`` to the same."""
        busy = (vectors.norm(dim=1) > 0).nonzero()[:, 0]
        kept = self._keep() if self.num_products else None
        self.num_products += len(busy)
        if kept is not None:
            self._workspace.budget.check()
            return kept.multiply(vectors, busy)
        result = torch.zeros_like(vectors)
        for lanes in torch.split(busy, self._workspace.num_lanes(self._micro_batch)):
            self._workspace.budget.check()
            if len(lanes):
                batches = self._batches.select(lanes.to(self._batches.inputs.device))
                result[lanes] = self._multiply(vectors[lanes], batches)
        return result

    def _keep(self) -> KeptGradients | None:
        """Return the lanes' gradients where they can be kept; made for the second product."""
        if not self._tried:
            self._tried = True
            whole = self._micro_batch == self.batch_size
            fits = len(self._batches) <= self._workspace.num_lanes(self.batch_size)
            if self._kind is Curvature.HESSIAN and whole and fits:
                self._kept = keep_gradients(self._objective, self._batches)
        return self._kept

    def _multiply(self, vectors: Tensor, batches: Examples) -> Tensor:
        def product(vector: Tensor, inputs: Tensor, targets: Tensor) -> Tensor:
            return self._objective.product(self._kind, vector, inputs, targets)

        products = self._objective.over(product, (0, 0, 0))
        result = torch.zeros_like(vectors)
        for begin in range(0, self.batch_size, self._micro_batch):
            part = slice(begin, begin + self._micro_batch)
            inputs = self._objective.to_like(batches.inputs[:, part])
            targets = self._objective.to_like(batches.targets[:, part])
            share = inputs.shape[1] / self.batch_size
            result.add_(products(vectors, inputs, targets), alpha=share)
        return result


def precondition(apply: Operator, diagonal: Tensor) -> Operator:
    """Return the operator ``P^{-1/2} H P^{-1/2}``.

    Args:
        apply: ``H``, of any number of lanes.
        diagonal: Shape ``[size]``, positive: ``P``.

    Returns:
        The operator.

    Example:
        >>> half = precondition(lambda vectors: 8 * vectors, torch.tensor([4.0, 16.0]))
        >>> half(torch.ones(1, 2))
        tensor([[2.0000, 0.5000]])
    """
    scale = 1 / diagonal.sqrt()
    return lambda vectors: scale * apply(scale * vectors)


def lane_gradients(
    objective: Objective, batches: Examples, workspace: Workspace
) -> Iterator[Tensor]:
    """Yield the gradients of many mini-batches, as many at once as fit.

    Args:
        objective: The point.
        batches: Shape ``[num_lanes, batch_size, ...]``.
        workspace: How much memory.

    Yields:
        Shape ``[some_lanes, size]``, all lanes in order.
    """
    batch_size = batches.inputs.shape[1]
    micro_batch = workspace.micro_batch(batch_size)
    gradients = objective.over(objective.gradient, (0, 0))
    for lanes in batches.split(workspace.num_lanes(micro_batch)):
        workspace.budget.check()
        total = objective.vector.new_zeros(len(lanes), objective.size)
        for begin in range(0, batch_size, micro_batch):
            part = slice(begin, begin + micro_batch)
            inputs = objective.to_like(lanes.inputs[:, part])
            targets = objective.to_like(lanes.targets[:, part])
            share = inputs.shape[1] / batch_size
            total.add_(gradients(inputs, targets), alpha=share)
        yield total


def lane_derivatives(
    objective: Objective,
    derivative: Callable[[Tensor, Tensor, Tensor], Tensor],
    batches: Examples,
    direction: Tensor,
    workspace: Workspace,
) -> Tensor:
    """Take a directional derivative of every mini-batch's loss, shape ``[num_batches]``.

    Args:
        objective: The point.
        derivative: ``objective.slope`` or ``objective.bend``.
        batches: Shape ``[num_batches, batch_size, ...]``.
        direction: Shape ``[size]``, shared by all.
        workspace: How much memory; a mini-batch is never cut.

    Returns:
        The derivatives, float64 on the CPU.
    """
    batch_size = batches.inputs.shape[1]
    num_lanes = max(1, workspace.micro_batch(len(batches) * batch_size) // batch_size)
    derivatives = objective.over(derivative, (None, 0, 0))
    parts = []
    for lanes in batches.split(num_lanes):
        workspace.budget.check()
        inputs, targets = objective.to_like(lanes.inputs), objective.to_like(lanes.targets)
        parts.append(derivatives(direction, inputs, targets))
    return torch.cat(parts).double().cpu()


def mean_gradient(objective: Objective, examples: Examples, workspace: Workspace) -> Tensor:
    """Return the gradient of the mean loss over all examples, shape ``[size]``."""
    total = torch.zeros_like(objective.vector)
    for part in examples.split(workspace.micro_batch(len(examples))):
        gradient = objective.gradient(
            objective.to_like(part.inputs), objective.to_like(part.targets)
        )
        total.add_(gradient, alpha=len(part) / len(examples))
    return total


def mean_loss(objective: Objective, examples: Examples, workspace: Workspace) -> float:
    """Return the mean loss over all examples."""
    total = 0.0
    with torch.no_grad():
        for part in examples.split(workspace.micro_batch(len(examples))):
            inputs, targets = objective.to_like(part.inputs), objective.to_like(part.targets)
            total += float(objective.loss(objective.vector, inputs, targets)) * len(part)
    return total / len(examples)
