"""The compiled engine: the same training as the others, one graph for all shapes."""

import shutil
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from scaling_sweep.errors import UserError
from scaling_sweep.planning import plan_packs
from scaling_sweep.tasks.digits import digits_mlp
from scaling_sweep.tasks.task import Task
from scaling_sweep.training.compiled import compilable_loss
from scaling_sweep.training.pack import train_pack
from tests.training.cases import (
    Branching,
    by_trial,
    dropout_net,
    make_spec,
    mixed_packs,
    net_task,
    only_pack,
    train_all,
    train_only,
)

pytestmark = [
    pytest.mark.slow,  # it compiles
    pytest.mark.skipif(shutil.which("g++") is None, reason="compiling needs a C++ compiler"),
    # Of torch's own, about what it asks of its dependencies while it compiles.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
]


def classifier(make_model: Callable[[], nn.Module]) -> Task:
    """Return three classes of 96 examples."""
    task = net_task(make_model)
    assert task.targets is not None
    labels = torch.bucketize(task.targets.flatten(), torch.tensor([-0.4, 0.4]))
    return replace(task, targets=labels, loss=functional.cross_entropy)


def three_classes(*, batch_norm: bool = False) -> nn.Module:
    """Build a perceptron."""
    middle = nn.BatchNorm1d(6) if batch_norm else nn.Identity()
    return nn.Sequential(nn.Linear(4, 6), middle, nn.Tanh(), nn.Linear(6, 3))


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_the_loss_without_look_ups_is_cross_entropy(smoothing: float) -> None:
    """Value and gradient are torch's, with labels left out and logarithms that are infinite."""
    from functools import partial

    torch.manual_seed(0)
    outputs, targets = torch.randn(12, 5), torch.randint(5, (12,))
    targets[3] = -100
    if not smoothing:
        outputs[0, 0], targets[0] = -torch.inf, 2
    loss = functional.cross_entropy
    loss = partial(loss, label_smoothing=smoothing) if smoothing else loss

    def value_and_gradient(function: Callable[[Tensor, Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        leaf = outputs.clone().requires_grad_()
        value = function(leaf, targets)
        return value.detach(), torch.autograd.grad(value, leaf)[0]

    expected = value_and_gradient(loss)
    torch.testing.assert_close(value_and_gradient(compilable_loss(loss)), expected)


@pytest.mark.parametrize("optimizer", ["sgd", "adamw", "nadam"])
def test_a_compiled_pack_ends_where_a_stacked_one_does(optimizer: str) -> None:
    """Clipping, a schedule and BatchNorm's statistics included."""
    # Adam makes a step of the rounding of a bias before BatchNorm, whose gradient is nought.
    task = classifier(lambda: three_classes(batch_norm=optimizer == "sgd"))
    recipe = {"clip_norm": 0.5, "schedule": "cosine"}
    finals = {}
    for engine in ("vmap", "compile"):
        result = train_only(make_spec([optimizer], engine=engine, recipe=recipe), task)
        assert result.engine == engine
        finals[engine] = [record.final_loss for record in result.records]

    assert finals["compile"] == pytest.approx(finals["vmap"], rel=1e-3)


def test_one_graph_serves_all_sizes_and_is_kept() -> None:
    """Batch sizes of 2 and more, packs of 2 and more: one graph, in whichever pack."""
    task = classifier(three_classes)
    torch._dynamo.reset()  # graphs of other tests count against the same code
    torch._dynamo.utils.counters.clear()
    for lrs, seeds in (((0.1, 0.2), 2), ((0.1, 0.2, 0.3), 1)):
        train_all(
            make_spec(batch_sizes=(2, 5, 16), lrs=lrs, steps=2, seeds=seeds, engine="compile"), task
        )

    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1


def test_a_compiled_trial_does_not_know_its_mates() -> None:
    """Bit for bit in packs of every size from 2 on, NaN beside it or not."""
    task = classifier(three_classes)
    stability = {"max_loss_ratio": 1.0}
    spec = make_spec(lrs=(0.05, 0.2, 1e30), engine="compile", stability=stability)
    pack = only_pack(spec, task)
    expected = by_trial(train_pack(pack, spec, task))
    assert {record.verdict for record in expected.values()} == {"diverged", "stable"}

    for mixed in mixed_packs(pack):
        for trial_id, record in by_trial(train_pack(mixed, spec, task)).items():
            assert record.verdict == expected[trial_id].verdict
            if record.verdict == "stable":
                assert record == expected[trial_id]


@pytest.mark.parametrize("make_model", [dropout_net, Branching])
def test_what_cannot_be_compiled_is_refused_in_one_line(
    make_model: Callable[[], nn.Module],
) -> None:
    """A sweep file that insists hears why not, and what to write."""
    with pytest.raises(UserError, match=r"^engine: compile cannot .* write engine: auto$"):
        train_only(make_spec(engine="compile"), net_task(make_model))


def test_a_rule_that_looks_at_curvature_is_stacked() -> None:
    """A sweep may compile what can be and still have other optimizers beside."""
    assert train_only(make_spec(["slq"], engine="compile"), net_task()).engine == "vmap"


def test_compiled_digits_have_the_verdicts_of_stacked_ones() -> None:
    """At least 99 % of 300 trials around the edge of the digits MLP."""
    lrs = tuple(4.0 * 2 ** (-k / 4) for k in range(25))
    task = digits_mlp()
    verdicts = {}
    for engine in ("vmap", "compile"):
        spec = make_spec(
            batch_sizes=(2, 8, 32), lrs=lrs, steps=60, seeds=4, engine=engine, task="digits_mlp"
        )
        packs = plan_packs(spec, num_examples=task.num_examples)
        results = [train_pack(pack, spec, task) for pack in packs]
        verdicts[engine] = {n: r.verdict for n, r in by_trial(*results).items()}
    pairs = [(verdict, verdicts["compile"][n]) for n, verdict in verdicts["vmap"].items()]

    assert len(pairs) == 300
    assert len({one for one, _ in pairs}) > 1
    assert sum(one == other for one, other in pairs) >= 297
