"""Curvature against its peers, in one run: eigsh over curvlinops, and one mini-batch at a time.

    python -m benchmarks.curvature [--width 256] [--repeats 3] [--tolerances 1e-3 1e-5]

Aims: no more products and no more time than eigsh over curvlinops at equal tolerance on 1e5
parameters; 64 mini-batch Hessians of the digits perceptron at B = 32 at least 3 times faster at
once than one by one; densities within a Kolmogorov distance of .05. Needs curvlinops-for-pytorch.
"""

import argparse
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from scipy.sparse.linalg import eigsh
from torch import Tensor, nn

from scaling_sweep.curvature.density import estimate_density
from scaling_sweep.curvature.lanczos import find_extremes, find_top_values
from scaling_sweep.curvature.objective import Curvature, Objective
from scaling_sweep.curvature.operators import BatchOperator, DataOperator
from scaling_sweep.curvature.workspace import Examples
from scaling_sweep.krylov import draw_starts
from scaling_sweep.tasks.digits import digits_mlp
from scaling_sweep.training.randomness import call_seeded, make_generator

TOLERANCES = (1e-3, 1e-5)
NUM_BATCHES, BATCH_SIZE = 64, 32
TRAINING_STEPS, TRAINING_LR = 200, 0.1
DENSITY_SIZE, NUM_PROBES = 1000, 10


@dataclass(frozen=True)
class Timed:
    """An answer and the seconds it took, the best of some repeats."""

    values: np.ndarray
    num_products: int
    seconds: float


@dataclass(frozen=True)
class Problem:
    """The digits perceptron at a point."""

    model: nn.Module
    objective: Objective
    examples: Examples

    @classmethod
    def make(cls, width: int, num_steps: int) -> "Problem":
        """Build it and train for some steps, so that the spectrum is that of a real net."""
        task = digits_mlp(width=width)
        assert task.inputs is not None
        assert task.targets is not None
        model = call_seeded(task.make_model, "benchmark")
        optimizer = torch.optim.SGD(model.parameters(), lr=TRAINING_LR)
        for _ in range(num_steps):
            optimizer.zero_grad()
            task.loss(model(task.inputs), task.targets).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        objective = Objective(model, task.loss, dict(model.named_parameters()), {})
        return cls(model, objective, Examples(task.inputs, task.targets))


def best_of(repeats: int, run: Callable[[], Timed]) -> Timed:
    """Return the fastest of some runs; machines only ever lag."""
    return min((run() for _ in range(repeats)), key=lambda timed: timed.seconds)


def by_lanczos(problem: Problem, kind: Curvature, rtol: float) -> Timed:
    """Find both ends of the Hessian, the top of the GGN, by our own code."""
    begin = time.perf_counter()
    operator = DataOperator(problem.objective, problem.examples, kind)
    start = draw_starts(1, problem.objective.vector, make_generator("benchmark"))[0]
    top_only = kind is Curvature.GGN
    ends = find_extremes(operator, start, rtol, 200, top_only=top_only)
    seconds = time.perf_counter() - begin
    values = [ends.top.value] if top_only else [ends.bottom.value, ends.top.value]
    return Timed(np.array(values), ends.num_products, seconds)


def by_eigsh(problem: Problem, kind: Curvature, rtol: float) -> Timed:
    """Find the same by scipy's eigsh over curvlinops.

    Only the top of the GGN: its smallest eigenvalue is 0, which eigsh never finds to a tolerance
    relative to itself.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import curvlinops  # type: ignore[import-untyped]
    maker = (
        curvlinops.HessianLinearOperator
        if kind is Curvature.HESSIAN
        else curvlinops.GGNLinearOperator
    )
    params = [value for value in problem.model.parameters() if value.requires_grad]
    data = [(problem.examples.inputs, problem.examples.targets)]
    begin = time.perf_counter()
    operator = maker(
        problem.model, nn.CrossEntropyLoss(), params, data, check_deterministic=False
    ).to_scipy()
    num_products = 0
    multiply = operator._matvec

    def counted(vector: np.ndarray) -> np.ndarray:
        nonlocal num_products
        num_products += 1
        return np.asarray(multiply(vector))

    operator._matvec = counted
    start = draw_starts(1, problem.objective.vector, make_generator("benchmark"))[0].numpy()
    num_values, which = (1, "LA") if kind is Curvature.GGN else (2, "BE")
    values = eigsh(
        operator, k=num_values, which=which, tol=rtol, v0=start, return_eigenvectors=False
    )
    return Timed(np.sort(values), num_products, time.perf_counter() - begin)


def compare_eigenvalues(
    width: int, num_steps: int, repeats: int, tolerances: Sequence[float]
) -> None:
    """Print products, time and agreement at equal tolerance."""
    problem = Problem.make(width, num_steps)
    print(
        f"\n{problem.objective.size:,} parameters, {num_steps} steps: "
        "both ends of the Hessian, top of the GGN"
    )
    for kind in Curvature:
        for rtol in tolerances:
            ours = best_of(repeats, lambda k=kind, r=rtol: by_lanczos(problem, k, r))  # type: ignore[misc]
            theirs = best_of(repeats, lambda k=kind, r=rtol: by_eigsh(problem, k, r))  # type: ignore[misc]
            off = np.abs(ours.values - theirs.values).max() / np.abs(theirs.values).max()
            print(
                f"  {kind:27s} tol {rtol:.0e}: products {ours.num_products} against "
                f"{theirs.num_products}; {ours.seconds:.2f} s against {theirs.seconds:.2f} s, "
                f"{theirs.seconds / ours.seconds:.2f} times faster; values differ by {off:.1e}"
            )


def compare_batches(num_steps: int, repeats: int) -> None:
    """Print how much faster many mini-batch Hessians are at once than one by one."""
    problem = Problem.make(128, num_steps)
    generator = make_generator("benchmark", "batches")
    size = (NUM_BATCHES, BATCH_SIZE)
    index = torch.randint(len(problem.examples), size, generator=generator)
    batches = problem.examples.select(index)
    starts = draw_starts(NUM_BATCHES, problem.objective.vector, generator)

    def find(lanes: Examples, some: Tensor) -> Timed:
        begin = time.perf_counter()
        found = find_top_values(BatchOperator(problem.objective, lanes), some)
        return Timed(found.values.numpy(), found.num_products, time.perf_counter() - begin)

    def one_by_one() -> Timed:
        begin = time.perf_counter()
        values, num_products = [], 0
        for lane in range(NUM_BATCHES):
            data = Examples(batches.inputs[lane], batches.targets[lane])
            operator = DataOperator(problem.objective, data)
            ends = find_extremes(operator, starts[lane], 1e-3, 50, top_only=True)
            values.append(ends.top.value)
            num_products += ends.num_products
        return Timed(np.array(values), num_products, time.perf_counter() - begin)

    together = best_of(repeats, lambda: find(batches, starts))
    alone = best_of(repeats, one_by_one)
    off = np.abs(together.values / alone.values - 1).max()
    print(
        f"\n{NUM_BATCHES} mini-batch Hessians, B = {BATCH_SIZE}, {num_steps} steps: at once "
        f"{together.seconds:.2f} s ({together.num_products} products), one by one "
        f"{alone.seconds:.2f} s ({alone.num_products}): {alone.seconds / together.seconds:.1f} "
        f"times faster; values differ by {off:.0e}; mean {together.values.mean():.2f}"
    )


def print_density_errors() -> None:
    """Print Kolmogorov distances to the exact spectra of two random matrices."""
    generator = make_generator("benchmark", "densities")
    noise = torch.randn(DENSITY_SIZE, DENSITY_SIZE, generator=generator, dtype=torch.float64)
    spike = torch.full((DENSITY_SIZE,), DENSITY_SIZE**-0.5, dtype=torch.float64)
    matrices = {
        "spiked semicircle": (noise + noise.T) / (2 * DENSITY_SIZE) ** 0.5
        + 3 * torch.outer(spike, spike),
        "sample covariance": noise[: DENSITY_SIZE // 2]
        @ noise[: DENSITY_SIZE // 2].T
        / DENSITY_SIZE,
    }
    print()
    for name, matrix in matrices.items():
        starts = draw_starts(NUM_PROBES, matrix, generator)
        density = estimate_density(lambda vectors, m=matrix: vectors @ m, starts)  # type: ignore[misc]
        exact = torch.linalg.eigvalsh(matrix)
        points = torch.linspace(float(exact[0]) - 1, float(exact[-1]) + 1, 5001)
        true = torch.searchsorted(exact, points.double(), right=True) / len(exact)
        distance = float((density.cdf(points) - true).abs().max())
        print(f"density of a {name}, {NUM_PROBES} probes: Kolmogorov distance {distance:.3f}")


def main() -> None:
    """Print everything."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--width", type=int, default=256, help="of the hidden layers; 256: 85,002")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--tolerances", type=float, nargs="+", default=TOLERANCES)
    args = parser.parse_args()
    torch.set_num_threads(1)
    for num_steps in (0, TRAINING_STEPS):
        compare_eigenvalues(args.width, num_steps, args.repeats, args.tolerances)
    for num_steps in (0, TRAINING_STEPS):
        compare_batches(num_steps, args.repeats)
    print_density_errors()


if __name__ == "__main__":
    main()
