"""Products with Hessian and GGN against dense matrices."""

import pytest
import torch
from torch import nn

from scaling_sweep.curvature.objective import Curvature, Objective, Policy
from scaling_sweep.curvature.operators import (
    BatchOperator,
    DataOperator,
    lane_gradients,
    mean_gradient,
    mean_loss,
)
from scaling_sweep.curvature.workspace import Examples, Workspace
from scaling_sweep.krylov import draw_starts
from tests.curvature.cases import Case, cnn, generator, least_squares, mlp

CASES = {"mlp": mlp, "cnn": cnn, "least_squares": least_squares}


@pytest.fixture(params=CASES)
def case(request: pytest.FixtureRequest) -> Case:
    """Return each small model in turn."""
    made: Case = CASES[request.param]()
    return made


def identity(case: Case) -> torch.Tensor:
    """Return all unit vectors, so that a product is the whole matrix."""
    return torch.eye(case.objective().size, dtype=torch.float64)


def test_hessian_products_make_up_the_dense_hessian(case: Case) -> None:
    """Multiplying every unit vector gives the matrix that torch.func.hessian gives."""
    product = DataOperator(case.objective(), case.examples)(identity(case))

    torch.testing.assert_close(product, case.dense_hessian(), rtol=1e-9, atol=1e-12)


def test_ggn_products_make_up_the_explicit_ggn(case: Case) -> None:
    """Multiplying every unit vector gives JᵀHJ from an explicit Jacobian."""
    product = DataOperator(case.objective(), case.examples, Curvature.GGN)(identity(case))

    torch.testing.assert_close(product, case.dense_ggn(), rtol=1e-9, atol=1e-12)


def test_ggn_equals_hessian_for_least_squares() -> None:
    """A model linear in its parameters has no curvature but the loss's."""
    case = least_squares()
    inputs = case.examples.inputs
    known = 2 * inputs.T @ inputs / len(inputs)

    for kind in Curvature:
        product = DataOperator(case.objective(), case.examples, kind)(identity(case))
        torch.testing.assert_close(product, known)


def test_micro_batches_do_not_change_a_product(case: Case) -> None:
    """A workspace too small for the data gives the same product in more portions."""
    objective = case.objective()
    vectors = draw_starts(5, objective.vector, generator())
    whole = DataOperator(objective, case.examples)(vectors)

    tight = Workspace(max_bytes=300, bytes_per_lane=100, bytes_per_example=30)
    portions = DataOperator(objective, case.examples, workspace=tight)(vectors)

    assert tight.micro_batch(len(case.examples)) == 6
    torch.testing.assert_close(portions, whole)


@pytest.mark.parametrize("kind", list(Curvature))
def test_lanes_multiply_by_their_own_batch(case: Case, kind: Curvature) -> None:
    """Each lane's product is that of its mini-batch alone, cut into portions or not."""
    objective = case.objective()
    batches = case.examples.select(torch.arange(30).reshape(5, 6))
    vectors = draw_starts(5, objective.vector, generator())
    alone = torch.stack(
        [
            objective.product(kind, vectors[i], batches.inputs[i], batches.targets[i])
            for i in range(5)
        ]
    )

    tight = Workspace(max_bytes=220, bytes_per_lane=100, bytes_per_example=30)
    torch.testing.assert_close(BatchOperator(objective, batches, kind)(vectors), alone)
    torch.testing.assert_close(BatchOperator(objective, batches, kind, tight)(vectors), alone)


@pytest.mark.parametrize("kind", list(Curvature))
def test_forward_mode_agrees_with_products(case: Case, kind: Curvature) -> None:
    """``dᵀMd`` by two forward passes is the inner product with ``M d``; the slope is ``gᵀd``."""
    objective = case.objective()
    direction = draw_starts(1, objective.vector, generator())[0]
    data = case.examples.inputs, case.examples.targets

    torch.testing.assert_close(
        objective.bend(kind, direction, *data),
        direction @ objective.product(kind, direction, *data),
    )
    torch.testing.assert_close(
        objective.slope(direction, *data), direction @ objective.gradient(*data)
    )


def test_gradients_agree_with_autograd(case: Case) -> None:
    """Single-example gradients and their mean are those of plain autograd."""
    objective = case.objective()
    space = Workspace(max_bytes=500, bytes_per_lane=100, bytes_per_example=30)
    singles = Examples(case.examples.inputs[:, None], case.examples.targets[:, None])
    expected = case.example_gradients()

    torch.testing.assert_close(torch.cat(list(lane_gradients(objective, singles, space))), expected)
    torch.testing.assert_close(mean_gradient(objective, case.examples, space), expected.mean(0))
    loss = case.loss(case.model(case.examples.inputs), case.examples.targets).item()
    assert mean_loss(objective, case.examples, space) == pytest.approx(loss)


def test_evaluation_mode_is_the_rule() -> None:
    """Dropout is off, BatchNorm uses running statistics, and the caller's model stays as it was."""
    case = cnn(nn.BatchNorm2d(4).double(), nn.Dropout(0.5))
    case.model.train()
    objective = case.objective()
    ones = torch.ones(1, objective.size, dtype=torch.float64)

    product = DataOperator(objective, case.examples)(ones)

    assert case.model.training
    assert objective.policy_word == "running statistics, dropout off"
    case.model.eval()
    torch.testing.assert_close(product[0], case.dense_hessian().sum(1))


def test_batch_statistics_are_those_of_each_lane() -> None:
    """With statistics by batch every mini-batch has the Hessian it has in training."""
    case = cnn(nn.BatchNorm2d(4, track_running_stats=False).double())
    usual = cnn(nn.BatchNorm2d(4).double())
    objective = usual.objective(Policy.BATCH)
    batches = case.examples.select(torch.arange(40).reshape(4, 10))
    vectors = draw_starts(4, objective.vector, generator())
    before = {name: value.clone() for name, value in usual.model.named_buffers()}

    product = BatchOperator(objective, batches)(vectors)

    for lane in range(4):
        dense = case.dense_hessian(Examples(batches.inputs[lane], batches.targets[lane]))
        torch.testing.assert_close(product[lane], dense @ vectors[lane])
    assert all(torch.equal(before[name], value) for name, value in usual.model.named_buffers())
    assert objective.policy_word.startswith("statistics of each batch")


def test_batches_are_never_cut_when_normalised_by_themselves() -> None:
    """A batch that does not fit whole is refused, since portions would change its statistics."""
    objective = cnn(nn.BatchNorm2d(4).double()).objective(Policy.BATCH)
    batches = cnn().examples.select(torch.arange(20).reshape(2, 10))

    with pytest.raises(ValueError, match="raise max_bytes"):
        BatchOperator(objective, batches, workspace=Workspace(500, 100, 100))


def test_frozen_statistics_are_those_of_the_data() -> None:
    """Frozen statistics make evaluation mode normalise by the measured data."""
    case = cnn(nn.BatchNorm2d(4, affine=False).double())
    objective = case.objective(Policy.FROZEN)
    inputs = case.examples.inputs

    objective.freeze_statistics(iter([inputs]))

    case.model[1].train()
    expected = case.model(inputs)
    torch.testing.assert_close(
        objective.outputs(objective.vector, inputs), expected, rtol=0.02, atol=1e-3
    )


def test_a_plain_model_says_that_no_policy_was_needed() -> None:
    """The report does not claim a policy where there is nothing to decide."""
    assert mlp().objective().policy_word == "neither BatchNorm nor dropout"


def test_attention_has_second_derivatives() -> None:
    """scaled_dot_product_attention, whose fused kernels lack them, goes through."""

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.mix = nn.Linear(4, 12)

        def forward(self, inputs: torch.Tensor) -> torch.Tensor:
            query, key, value = self.mix(inputs).chunk(3, dim=-1)
            return nn.functional.scaled_dot_product_attention(query, key, value).mean(1)

    model, inputs = Attention(), torch.randn(6, 5, 4, generator=generator())
    objective = Objective(model, nn.functional.mse_loss, dict(model.named_parameters()), {})
    vectors = draw_starts(2, objective.vector, generator())

    product = DataOperator(objective, Examples(inputs, torch.zeros(6, 4)))(vectors)

    assert product.isfinite().all()
    assert float(vectors[0] @ product[1]) == pytest.approx(float(vectors[1] @ product[0]), rel=1e-3)
