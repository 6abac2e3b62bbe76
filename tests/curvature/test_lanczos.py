"""Lanczos against dense eigendecompositions and against scipy's eigsh."""

import numpy as np
import pytest
import torch
from scipy.sparse.linalg import LinearOperator, eigsh

from scaling_sweep.curvature.lanczos import Convergence, find_extremes, find_top_values
from scaling_sweep.curvature.objective import Curvature, Objective
from scaling_sweep.curvature.operators import BatchOperator, DataOperator
from scaling_sweep.curvature.workspace import Examples
from scaling_sweep.krylov import build_krylov, draw_starts
from scaling_sweep.tasks.digits import digits_mlp
from tests.curvature.cases import Case, cnn, generator, least_squares, mlp

BIG_MLP = (20, 40, 20, 10)  # 1,870 parameters


@pytest.mark.parametrize(
    "case", [mlp(), mlp(BIG_MLP), cnn(), least_squares()], ids=["mlp", "mlp 1,870", "cnn", "line"]
)
@pytest.mark.parametrize("kind", list(Curvature))
def test_both_ends_agree_with_the_dense_spectrum(case: Case, kind: Curvature) -> None:
    """Extremal eigenvalues are right to 1e-5 of the largest, and the residual bounds the error."""
    dense = case.dense_hessian() if kind is Curvature.HESSIAN else case.dense_ggn()
    known = torch.linalg.eigvalsh(dense)
    objective = case.objective()
    start = draw_starts(1, objective.vector, generator())[0]

    ends = find_extremes(DataOperator(objective, case.examples, kind), start, 1e-6, 400)

    scale = float(known.abs().max())
    assert ends.convergence is Convergence.REACHED
    for pair, value in ((ends.top, known[-1]), (ends.bottom, known[0])):
        assert pair.value == pytest.approx(float(value), abs=1e-5 * scale)
        true = dense @ pair.vector - pair.value * pair.vector
        assert pair.residual == pytest.approx(float(true.norm()), abs=1e-9 * scale)
        assert abs(pair.value - float(value)) <= pair.residual + 1e-12
    if float(known[-1]) > 0:
        assert ends.top.value == pytest.approx(float(known[-1]), rel=1e-5)


def test_running_out_of_products_is_said() -> None:
    """Too few products give a value with a residual that says how far off it may be."""
    spectrum = torch.linspace(-1, 1, 200, dtype=torch.float64)
    start = draw_starts(1, spectrum, generator())[0]

    ends = find_extremes(lambda vectors: vectors * spectrum, start, 1e-8, 10)

    assert ends.convergence is Convergence.EXHAUSTED
    assert ends.num_products == 10
    assert 1 - ends.top.value <= ends.top.residual


def test_a_complete_krylov_space_adds_no_eigenvalue() -> None:
    """A matrix with two distinct eigenvalues, both negative, is not given a third."""
    spectrum = torch.tensor([-3.0, -3.0, -2.0, -2.0, -2.0], dtype=torch.float64)
    start = draw_starts(1, spectrum, generator())[0]

    ends = find_extremes(lambda vectors: vectors * spectrum, start)

    assert (ends.bottom.value, ends.top.value) == pytest.approx((-3.0, -2.0))


def test_the_basis_stays_orthonormal_in_single_precision() -> None:
    """Re-orthogonalised twice, vectors stay at right angles long after values have converged."""
    spectrum = torch.cat([torch.tensor([100.0, 50.0]), torch.rand(300, generator=generator())])
    starts = draw_starts(2, spectrum, generator())

    basis = build_krylov(lambda vectors: vectors * spectrum, starts, 60).basis

    gram = basis @ basis.transpose(1, 2)
    torch.testing.assert_close(gram, torch.eye(60).expand(2, -1, -1), rtol=0, atol=1e-5)


def test_many_batches_agree_with_one_by_one() -> None:
    """Side by side, mini-batch Hessians get the eigenvalues that dense ones have."""
    case = mlp()
    objective = case.objective()
    batches = case.examples.select(torch.arange(48).reshape(8, 6))
    known = [
        torch.linalg.eigvalsh(case.dense_hessian(Examples(x, y)))[-1]
        for x, y in zip(batches.inputs, batches.targets, strict=True)
    ]
    starts = draw_starts(8, objective.vector, generator())

    top = find_top_values(BatchOperator(objective, batches), starts, 1e-5, 200)

    torch.testing.assert_close(top.values, torch.stack(known), rtol=1e-6, atol=0)
    assert top.residuals.max() < 1e-4
    assert top.convergence is Convergence.REACHED


def test_a_run_is_decided_by_its_generator() -> None:
    """The same generator gives bitwise the same answer, another one the same to tolerance."""
    case = mlp()
    operator = DataOperator(case.objective(), case.examples)

    def top(seed: int) -> float:
        start = draw_starts(1, case.objective().vector, generator(seed))[0]
        return find_extremes(operator, start, 1e-6).top.value

    assert top(0) == top(0)
    assert top(0) == pytest.approx(top(1), rel=1e-9)


def test_bad_settings_are_refused() -> None:
    """A tolerance or a number of products that makes no sense is named."""
    start = torch.ones(3)
    with pytest.raises(ValueError, match="rtol must be between 0 and 1"):
        find_extremes(lambda vectors: vectors, start, rtol=0)
    with pytest.raises(ValueError, match="max_products must be at least 3"):
        find_extremes(lambda vectors: vectors, start, max_products=2)


def digits() -> tuple[Objective, Examples]:
    """Return the digits perceptron, 26,122 parameters, at an untrained point."""
    task = digits_mlp()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = task.make_model()
    assert task.inputs is not None
    assert task.targets is not None
    objective = Objective(model, task.loss, dict(model.named_parameters()), {})
    return objective, Examples(task.inputs[:512], task.targets[:512])


def as_scipy(operator: DataOperator, size: int) -> LinearOperator:
    """Return an operator of ours for scipy."""

    def multiply(vector: np.ndarray) -> np.ndarray:
        flat = torch.as_tensor(vector.reshape(-1), dtype=torch.float32)[None]
        return operator(flat)[0].numpy()

    return LinearOperator((size, size), matvec=multiply, dtype=np.float32)


def test_no_more_products_than_eigsh_on_the_digits() -> None:
    """On the digits perceptron our values are eigsh's, with no more products than it needs."""
    objective, examples = digits()
    ours, theirs = DataOperator(objective, examples), DataOperator(objective, examples)
    start = draw_starts(1, objective.vector, generator())[0]

    ends = find_extremes(ours, start, 1e-4)
    known = eigsh(
        as_scipy(theirs, objective.size),
        k=2,
        which="BE",
        tol=1e-4,
        v0=start.numpy(),
        return_eigenvectors=False,
    )

    assert [ends.bottom.value, ends.top.value] == pytest.approx(known.tolist(), rel=1e-5)
    assert ours.num_products == ends.num_products <= theirs.num_products


def test_products_agree_with_curvlinops() -> None:
    """An independent library multiplies the digits Hessian and GGN alike."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # theirs, at import
        curvlinops = pytest.importorskip(
            "curvlinops", reason="needs curvlinops-for-pytorch, a test oracle"
        )
    objective, examples = digits()
    task = digits_mlp()
    model = task.make_model()
    torch.nn.utils.vector_to_parameters(objective.vector, model.parameters())
    params = [value for value in model.parameters() if value.requires_grad]
    data = [(examples.inputs, examples.targets)]
    vector = draw_starts(1, objective.vector, generator())
    makers = {
        Curvature.HESSIAN: curvlinops.HessianLinearOperator,
        Curvature.GGN: curvlinops.GGNLinearOperator,
    }
    for kind, maker in makers.items():
        theirs = maker(model, torch.nn.CrossEntropyLoss(), params, data, check_deterministic=False)
        expected = theirs @ vector[0]

        product = DataOperator(objective, examples, kind)(vector)[0]

        torch.testing.assert_close(product, expected, rtol=1e-4, atol=1e-5)
