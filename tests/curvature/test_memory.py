"""Products stay within the memory they were given."""

import os
import subprocess
import sys

import pytest
import torch

from scaling_sweep.clusters.worker_environment import WORKER_ENVIRONMENT
from scaling_sweep.curvature.workspace import Workspace
from tests.curvature.cases import mlp

# Peak resident bytes beyond those of the model and the vectors, for 1e7 parameters: printed by a
# process of its own, because a peak never falls.
_SCRIPT = """
import resource, torch
from torch import nn
from scaling_sweep.krylov import draw_starts
from scaling_sweep.curvature.objective import Curvature, Objective
from scaling_sweep.curvature.operators import BatchOperator, DataOperator
from scaling_sweep.curvature.workspace import Examples, Workspace

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

torch.set_num_threads(1)
width = {width}
model = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(),
                      nn.Linear(width, 10))
generator = torch.Generator().manual_seed(0)
inputs = torch.randn(256, width, generator=generator)
examples = Examples(inputs, torch.randint(10, (256,), generator=generator))
objective = Objective(model, nn.functional.cross_entropy, dict(model.named_parameters()), {{}})
vectors = draw_starts(8, objective.vector, generator)
space = Workspace.of(objective, examples, {max_bytes})
kind = Curvature({kind!r})
DataOperator(objective, examples.select(torch.arange(1)), kind, space)(vectors[:1, :] * 0)
before = peak()
batches = examples.select(torch.arange(256).reshape(8, 32))
data = examples if {operator} is DataOperator else batches
operator = {operator}(objective, data, kind, space)
operator(vectors)
print(objective.size, peak() - before)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("operator", "kind"),
    [
        ("DataOperator", "Hessian"),
        ("BatchOperator", "Hessian"),
        ("BatchOperator", "generalised Gauss-Newton"),
    ],
)
def test_ten_million_parameters_stay_within_bounds(operator: str, kind: str) -> None:
    """Eight lanes of 1e7 parameters take no more working memory than they were given."""
    max_bytes = 1_000_000_000
    script = _SCRIPT.format(width=2236, max_bytes=max_bytes, kind=kind, operator=operator)

    # Beside the result, which is the caller's.
    assert working_bytes(script) <= max_bytes


def working_bytes(script: str) -> int:
    """Return the most that a process took beside the result, whatever tests before have set."""
    # Workers of Ray are told to keep what they once had (`MALLOC_…`), which is not what is used.
    environment = {name: os.environ[name] for name in os.environ if name not in WORKER_ENVIRONMENT}
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
        env=environment,
    )
    size, used = (int(word) for word in done.stdout.split())
    assert size > 1e7
    return used - 8 * size * 4


def test_a_plan_keeps_to_its_bound() -> None:
    """Lanes and micro-batches together never plan for more bytes than there are."""
    for max_bytes in (2_000, 10_000, 1_000_000):
        space = Workspace(max_bytes, bytes_per_lane=1_000, bytes_per_example=70)
        for num_examples in (1, 5, 300):
            size = space.micro_batch(num_examples)
            lanes = space.num_lanes(size)
            assert 1 <= size <= num_examples
            assert lanes >= 1
            assert lanes * (1_000 + size * 70) <= max_bytes


def test_a_kept_basis_counts() -> None:
    """Vectors that a caller keeps for each lane leave room for fewer lanes."""
    space = Workspace(max_bytes=60_000, bytes_per_lane=600, bytes_per_example=1)

    assert space.num_lanes(0) == 100
    assert space.num_lanes(0, vectors_per_lane=6) == 50


def test_a_workspace_knows_a_model_by_its_activations() -> None:
    """Twice as wide a hidden layer takes more bytes for an example; parameters count for lanes."""
    narrow, wide = mlp((6, 20, 4)), mlp((6, 200, 4))

    spaces = [Workspace.of(case.objective(), case.examples) for case in (narrow, wide)]

    assert spaces[0].bytes_per_example < spaces[1].bytes_per_example
    assert spaces[1].bytes_per_lane == 6 * 8 * wide.objective().size
    assert torch.get_default_dtype() is torch.float32
