"""Small models with dense matrices to compare with."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, jacrev
from torch.nn import functional

from scaling_sweep.curvature.objective import Objective, Policy
from scaling_sweep.curvature.workspace import Examples
from scaling_sweep.tasks.task import Task

Loss = Callable[[Any, Any], Tensor]


@dataclass(frozen=True)
class Case:
    """A model with its data, in float64."""

    model: nn.Module
    loss: Loss
    examples: Examples

    def objective(self, policy: Policy = Policy.RUNNING) -> Objective:
        """Return the objective at the model's weights."""
        return Objective(
            self.model,
            self.loss,
            dict(self.model.named_parameters()),
            dict(self.model.named_buffers()),
            policy,
            dtype=torch.float64,
        )

    def task(self) -> Task:
        """Return the case as a task in float32."""
        inputs, targets = self.examples.inputs.float(), self.examples.targets
        targets = targets.float() if targets.is_floating_point() else targets
        return Task("case", "A case.", lambda: self.model, self.loss, inputs, targets)

    def _outputs(self, vector: Tensor, inputs: Tensor) -> Tensor:
        named = list(self.model.named_parameters())
        parts = torch.split(vector, [value.numel() for _, value in named])
        params = {n: part.view(p.shape) for (n, p), part in zip(named, parts, strict=True)}
        outputs: Tensor = functional_call(self.model, params, (inputs,))
        return outputs

    def _vector(self) -> Tensor:
        return torch.cat([value.detach().flatten() for value in self.model.parameters()])

    def dense_hessian(self, examples: Examples | None = None) -> Tensor:
        """Return the Hessian by two reverse passes, which share no rule with forward mode."""
        data = examples or self.examples
        slope = grad(lambda v: self.loss(self._outputs(v, data.inputs), data.targets))
        dense: Tensor = jacrev(slope)(self._vector())
        return dense.detach()

    def dense_ggn(self) -> Tensor:
        """Return ``Jᵀ (∇²ℓ) J`` from an explicit Jacobian."""
        inputs, targets = self.examples.inputs, self.examples.targets
        outputs = self._outputs(self._vector(), inputs).detach()
        jacobian = jacrev(lambda v: self._outputs(v, inputs))(self._vector())
        jacobian = jacobian.reshape(outputs.numel(), -1)
        curved = jacrev(grad(lambda z: self.loss(z, targets)))(outputs)
        dense: Tensor = jacobian.T @ curved.reshape(outputs.numel(), -1) @ jacobian
        return dense.detach()

    def example_gradients(self) -> Tensor:
        """Return the gradient of each example by plain autograd, shape ``[num_examples, size]``."""
        rows = []
        for inputs, targets in zip(self.examples.inputs, self.examples.targets, strict=True):
            loss = self.loss(self.model(inputs[None]), targets[None])
            grads = torch.autograd.grad(loss, list(self.model.parameters()))
            rows.append(torch.cat([part.flatten() for part in grads]))
        return torch.stack(rows)

    def example_hessians(self) -> Tensor:
        """Return the Hessian of each example, shape ``[num_examples, size, size]``."""
        count = torch.arange(len(self.examples))
        return torch.stack([self.dense_hessian(self.examples.select(i[None])) for i in count])


def mlp(sizes: tuple[int, ...] = (6, 20, 16, 4), num_examples: int = 50) -> Case:
    """Return a tanh perceptron with cross-entropy (548 parameters by default)."""
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(num_examples, sizes[0], generator=generator, dtype=torch.float64)
    labels = torch.randint(sizes[-1], (num_examples,), generator=generator)
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(sizes):
        layers += [nn.Linear(fan_in, fan_out), nn.Tanh()]
    return Case(
        _seeded(nn.Sequential(*layers[:-1])), functional.cross_entropy, Examples(inputs, labels)
    )


def cnn(*norms: nn.Module) -> Case:
    """Return a small convolutional net with cross-entropy."""
    generator = torch.Generator().manual_seed(2)
    inputs = torch.randn(40, 1, 6, 6, generator=generator, dtype=torch.float64)
    labels = torch.randint(3, (40,), generator=generator)
    first, second = nn.Conv2d(1, 4, 3, padding=1), nn.Conv2d(4, 6, 3, stride=2)
    net = nn.Sequential(
        first, *norms, nn.Softplus(), second, nn.Tanh(), nn.Flatten(), nn.Linear(24, 3)
    )
    return Case(_seeded(net), functional.cross_entropy, Examples(inputs, labels))


def least_squares(num_examples: int = 60) -> Case:
    """Return linear regression, whose Hessian is ``2 XᵀX / N``."""
    generator = torch.Generator().manual_seed(3)
    scales = 1 / torch.arange(1, 9, dtype=torch.float64)
    inputs = torch.randn(num_examples, 8, generator=generator, dtype=torch.float64) * scales.sqrt()
    targets = torch.randn(num_examples, 1, generator=generator, dtype=torch.float64)
    return Case(
        _seeded(nn.Linear(8, 1, bias=False)), functional.mse_loss, Examples(inputs, targets)
    )


def generator(seed: int = 0) -> torch.Generator:
    """Return a generator of its own."""
    return torch.Generator().manual_seed(seed)


def _seeded(model: nn.Module) -> nn.Module:
    source = torch.Generator().manual_seed(4)
    model = model.double()
    with torch.no_grad():
        for value in model.parameters():
            value.copy_(torch.randn(value.shape, generator=source, dtype=torch.float64))
            if value.dim() > 1:
                value.div_(value[0].numel() ** 0.5)
    return model
