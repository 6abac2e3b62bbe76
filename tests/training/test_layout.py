"""Weights of a stack lie in memory as their gradients do, and nobody sees a difference."""

import pytest
import torch
from torch import Tensor, nn

from scaling_sweep.optimizers.making import make_rule
from scaling_sweep.tasks.digits import digits_mlp
from scaling_sweep.training.copies import Copies, Point, point_of, stack_points
from scaling_sweep.training.engines import LoopEngine, VmapEngine
from tests.training.cases import make_spec, net_task, train_only

# The last layer has ten outputs: its columns are no whole lines of the cache.
LINEAR = frozenset({"0.weight", "2.weight"})


def digits_copies(optimizer: str) -> Copies:
    """Return five copies of a small perceptron on the digits with rates of their own."""
    point = Point.of(digits_mlp(width=16).make_model())
    return stack_points(
        [point] * 5, [0.01, 0.02, 0.05, 0.1, 0.2], make_rule(optimizer), torch.device("cpu")
    )


@pytest.mark.parametrize("optimizer", ["sgd", "nesterov", "adam", "nadam"])
def test_turned_copies_train_as_single_ones(optimizer: str) -> None:
    """Losses, weights and moments are those of one copy after the other, whose weights stay."""
    torch.manual_seed(0)
    task, rule, copies = digits_mlp(width=16), make_rule(optimizer), digits_copies(optimizer)
    single = copies.select(torch.arange(5))
    assert task.inputs is not None
    assert task.targets is not None
    inputs, targets = task.inputs[:40].view(5, 8, -1), task.targets[:40].view(5, 8)
    stacked = VmapEngine(task.make_model(), task, rule)
    loop = LoopEngine(task.make_model(), task, rule)
    for number in range(4):
        losses = stacked.step(copies, inputs, targets, [], number)
        expected = loop.step(single, inputs, targets, [], number)
        torch.testing.assert_close(losses, expected, rtol=1e-4, atol=0)

    assert stacked.turned == LINEAR
    moments = [values for values in copies.state.values() if values.keys() & LINEAR]
    for values in (copies.params, *moments):
        assert all(values[name].mT.is_contiguous() for name in values.keys() & LINEAR)
    torch.testing.assert_close(copies.params, single.params, rtol=1e-3, atol=1e-5)
    for moment, others in single.state.items():
        torch.testing.assert_close(copies.state[moment], others, rtol=1e-3, atol=1e-5)


def test_fewer_copies_lie_as_before_and_points_row_by_row() -> None:
    """What leaves a pack, for measuring curvature or as a start, has the order models have."""
    copies = digits_copies("momentum")
    copies.turn(LINEAR)
    point = point_of(copies, 1)

    fewer = copies.select(torch.tensor([3, 1]))
    assert fewer.params["0.weight"].stride() == copies.params["0.weight"].stride()
    assert torch.equal(fewer.params["0.weight"][0], copies.params["0.weight"][3])
    assert not copies.params["0.weight"].is_contiguous()
    for values in (point.params, *(point.state or {}).values()):
        assert all(value.is_contiguous() for value in values.values())
    assert torch.equal(point.params["2.weight"], copies.params["2.weight"][1])


class Flattening(nn.Module):
    """A model that takes a view of its weights, which exists only where they lie row by row."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 16)

    def forward(self, inputs: Tensor) -> Tensor:
        """Add a share of all weights to what the layer makes."""
        outputs: Tensor = self.linear(inputs).sum(1, keepdim=True)
        return outputs + self.linear.weight.detach().view(-1).mean()


def test_a_model_that_needs_its_weights_row_by_row_is_looped() -> None:
    """The probe takes a step with weights that lie otherwise, so no pack fails later."""
    assert train_only(make_spec(engine="auto"), net_task(Flattening)).engine == "loop"


@pytest.mark.parametrize("num_outputs", [16, 48, 128])
@pytest.mark.parametrize("batch_size", [1, 3, 16])
def test_where_a_copy_lies_does_not_round_turned_weights(num_outputs: int, batch_size: int) -> None:
    """Permuted and fewer copies have the same outputs and gradients, to the bit."""
    generator = torch.Generator().manual_seed(num_outputs + batch_size)
    weights = torch.randn(12, num_outputs, 27, generator=generator)
    inputs = torch.randn(12, batch_size, 27, generator=generator)
    together = _products(weights, inputs)
    for num_copies in (2, 7, 12):
        rows = torch.randperm(12, generator=generator)[:num_copies]
        for whole, part in zip(together, _products(weights[rows], inputs[rows]), strict=True):
            assert torch.equal(whole[rows], part)


def _products(weights: Tensor, inputs: Tensor) -> tuple[Tensor, ...]:
    """Return outputs of stacked linear layers whose weights are turned, and all gradients."""
    copies = Copies({"w": weights}, {}, {}, torch.ones(len(weights)))
    copies.turn({"w"})
    turned = copies.params["w"].requires_grad_()
    inputs = inputs.clone().requires_grad_()
    outputs = torch.func.vmap(nn.functional.linear)(inputs, turned)
    return (outputs, *torch.autograd.grad(outputs.square().sum(), (turned, inputs)))
