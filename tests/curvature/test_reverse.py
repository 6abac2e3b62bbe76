"""Models that the fast derivatives refuse, by the slow ones, against dense matrices."""

import dataclasses

import pytest
import torch
from torch import Tensor, nn

from scaling_sweep.curvature.forward import ForwardDerivatives
from scaling_sweep.curvature.kept import KeptGradients, keep_gradients
from scaling_sweep.curvature.measure import measure_curvature
from scaling_sweep.curvature.objective import Curvature, Objective
from scaling_sweep.curvature.operators import BatchOperator, DataOperator, lane_gradients
from scaling_sweep.curvature.reverse import ReverseDerivatives
from scaling_sweep.curvature.workspace import Examples, Workspace
from scaling_sweep.errors import UserError
from scaling_sweep.krylov import draw_starts
from scaling_sweep.training.copies import Point
from tests.curvature.cases import Case, cnn, generator, least_squares, mlp
from tests.curvature.test_measure import SMALL

PLAIN = {"mlp": mlp, "cnn": cnn, "least_squares": least_squares}


class Recurrent(nn.Module):
    """A recurrent layer, which has no forward rule on a CPU."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.LSTM(3, 4, batch_first=True), nn.Linear(4, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        """Read the last hidden state."""
        hidden: Tensor = self.layer(inputs)[0]
        outputs: Tensor = self.head(hidden[:, -1])
        return outputs


class Branching(nn.Module):
    """A model that looks at its numbers in Python, which vmap cannot."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        """Squash, and halve what is huge."""
        outputs: Tensor = self.head(inputs.mean(1))
        return outputs.tanh() * (1.0 if outputs.detach().abs().sum().item() < 1e6 else 0.5)


class Drawing(nn.Module):
    """A model that draws random numbers even when it is evaluated."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 2)

    def forward(self, inputs: Tensor) -> Tensor:
        """Drop half of the outputs."""
        return nn.functional.dropout(self.head(inputs.mean(1)).tanh(), 0.5)


def sequences(model: nn.Module) -> Case:
    """Return a model on 12 short sequences with made-up labels."""
    inputs = torch.randn(12, 5, 3, generator=generator(3), dtype=torch.float64)
    labels = torch.arange(12) % 2
    return Case(model.double(), nn.functional.cross_entropy, Examples(inputs, labels))


def settled(case: Case) -> Objective:
    """Return the objective after it chose how to take derivatives."""
    objective = case.objective()
    objective.settle(case.examples.inputs, case.examples.targets)
    return objective


@pytest.mark.parametrize("name", PLAIN)
def test_both_ways_give_the_same_numbers(name: str) -> None:
    """Gradient, products, slopes and bends of the slow way are those of the fast one."""
    case: Case = PLAIN[name]()
    objective, data = case.objective(), (case.examples.inputs, case.examples.targets)
    point = objective.vector, objective.outputs, case.loss
    fast, slow = ForwardDerivatives(*point), ReverseDerivatives(*point)
    vector = draw_starts(1, objective.vector, generator())[0]

    torch.testing.assert_close(slow.gradient(*data), fast.gradient(*data))
    torch.testing.assert_close(slow.slope(vector, *data), fast.slope(vector, *data))
    for kind in Curvature:
        torch.testing.assert_close(
            slow.product(kind, vector, *data), fast.product(kind, vector, *data)
        )
        torch.testing.assert_close(slow.bend(kind, vector, *data), fast.bend(kind, vector, *data))


@pytest.mark.parametrize("model", [Recurrent, Branching])
def test_models_that_refuse_the_fast_way_get_their_dense_matrices(model: type[nn.Module]) -> None:
    """Both matrices of a recurrent and of a branching model are those of explicit Jacobians."""
    torch.manual_seed(0)
    case = sequences(model())
    objective = settled(case)
    eye = torch.eye(objective.size, dtype=torch.float64)

    assert not objective.maps_at_once
    assert objective.notes[0].startswith("products one by one, by two reverse passes")
    torch.testing.assert_close(DataOperator(objective, case.examples)(eye), case.dense_hessian())
    torch.testing.assert_close(
        DataOperator(objective, case.examples, Curvature.GGN)(eye), case.dense_ggn()
    )


def test_lanes_that_are_looped_have_their_own_batches() -> None:
    """Mini-batch products and gradients of a recurrent model are those of each batch alone."""
    torch.manual_seed(0)
    case = sequences(Recurrent())
    objective = settled(case)
    batches = case.examples.select(torch.arange(12).reshape(3, 4))
    vectors = draw_starts(3, objective.vector, generator())
    space = Workspace(10**9, 1, 1)

    products = BatchOperator(objective, batches, workspace=space)(vectors)

    for lane in range(3):
        alone = Examples(batches.inputs[lane], batches.targets[lane])
        torch.testing.assert_close(products[lane], case.dense_hessian(alone) @ vectors[lane])
    singles = Examples(case.examples.inputs[:, None], case.examples.targets[:, None])
    gradients = torch.cat(list(lane_gradients(objective, singles, space)))
    torch.testing.assert_close(gradients, case.example_gradients())


def test_random_draws_are_the_same_at_every_evaluation() -> None:
    """A model that draws has one loss and one symmetric Hessian, and torch's generator is left."""
    case = sequences(Drawing())
    objective = settled(case)
    before = torch.get_rng_state()
    eye = torch.eye(objective.size, dtype=torch.float64)

    first, second = (DataOperator(objective, case.examples)(eye) for _ in range(2))

    assert objective.notes[1] == "the model draws random numbers: the same at every evaluation"
    torch.testing.assert_close(first, second)
    torch.testing.assert_close(first, first.T)
    assert torch.equal(before, torch.get_rng_state())
    step = 1e-5 * eye[0]
    data = case.examples.inputs, case.examples.targets
    rise = [objective.loss(objective.vector + s, *data) for s in (step, 0 * step, -step)]
    assert float(first[0, 0]) == pytest.approx(
        float(rise[0] - 2 * rise[1] + rise[2]) / 1e-10, abs=1e-4
    )


def test_usual_models_are_settled_without_a_note() -> None:
    """A perceptron keeps the fast way."""
    objective = settled(mlp())

    assert objective.maps_at_once
    assert objective.notes == ()


def test_a_model_without_second_derivatives_is_one_line() -> None:
    """An operation that cannot be differentiated twice is named, not a traceback."""

    class Slope(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, slopes: Tensor) -> Tensor:
            return slopes.clone()

        @staticmethod
        def backward(ctx: object, slopes: Tensor) -> Tensor:
            raise RuntimeError("no second derivative")

    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, values: Tensor) -> Tensor:
            return values.clone()

        @staticmethod
        def backward(ctx: object, slopes: Tensor) -> Tensor:
            applied: Tensor = Slope.apply(slopes)
            return applied

    class Model(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(3, 2)

        def forward(self, inputs: Tensor) -> Tensor:
            outputs: Tensor = Once.apply(self.head(inputs.mean(1)))
            return outputs

    with pytest.raises(UserError, match=r"cannot be differentiated twice .*no second derivative"):
        settled(sequences(Model()))


def test_everything_is_measured_of_a_recurrent_model() -> None:
    """The whole measurement goes through, finds the dense eigenvalue and tells how."""
    torch.manual_seed(0)
    case = sequences(Recurrent())
    expected = float(torch.linalg.eigvalsh(case.dense_hessian())[-1])
    options = dataclasses.replace(
        SMALL, batch_sizes=(4,), density_batch_sizes=(4,), num_moment_steps=3, num_batches=3
    )

    task = dataclasses.replace(case.task(), make_model=lambda: Recurrent())
    found = measure_curvature(task, Point.of(case.model.float()), options)

    ends = found.matrix(Curvature.HESSIAN).ends
    assert ends is not None
    assert ends.top.value == pytest.approx(expected, rel=1e-4)
    assert "two reverse passes" in found.notes[0]
    assert found.left_out == ()


@pytest.mark.parametrize("name", PLAIN)
def test_kept_gradients_multiply_like_dense_matrices(name: str) -> None:
    """From the second product on lanes go through kept gradients, idle ones stay zero."""
    case: Case = PLAIN[name]()
    objective = case.objective()
    batches = case.examples.select(torch.arange(30).reshape(10, 3))
    vectors = draw_starts(10, objective.vector, generator())
    vectors[1], vectors[8:] = 0, 0
    operator = BatchOperator(objective, batches)

    first, second = operator(vectors), operator(vectors)

    assert isinstance(keep_gradients(objective, batches), KeptGradients)
    torch.testing.assert_close(first, second)
    for lane in (0, 7):
        alone = Examples(batches.inputs[lane], batches.targets[lane])
        torch.testing.assert_close(second[lane], case.dense_hessian(alone) @ vectors[lane])
    assert not second[1].any()
    assert not second[8:].any()
    assert operator.num_products == 14


def test_lanes_may_go_and_come_back() -> None:
    """However many lanes rest, and whichever wake up again, each product is its batch's own."""
    case = mlp()
    objective = case.objective()
    batches = case.examples.select(torch.arange(30).reshape(10, 3))
    vectors = draw_starts(10, objective.vector, generator())
    anew = Workspace(450, 100, 30)  # has no room to keep anything
    expected = BatchOperator(objective, batches, workspace=anew)(vectors)
    operator = BatchOperator(objective, batches)

    for busy in (range(10), range(10), range(2, 8), (3, 5), (5,), (), (5, 9), range(10)):
        some = torch.zeros(10, 1, dtype=torch.float64)
        some[list(busy)] = 1
        torch.testing.assert_close(operator(some * vectors), some * expected)


def test_gradients_are_kept_only_where_they_fit() -> None:
    """With room for fewer lanes than there are, every product goes through the model anew."""
    case = mlp()
    objective = case.objective()
    batches = case.examples.select(torch.arange(20).reshape(5, 4))
    tight = BatchOperator(objective, batches, workspace=Workspace(450, 100, 30))
    vectors = draw_starts(5, objective.vector, generator())

    products = [tight(vectors) for _ in range(2)]

    assert tight._keep() is None
    torch.testing.assert_close(products[1], BatchOperator(objective, batches)(vectors))
