"""Rules that look at curvature, trained in packs: the same in both engines, on real losses."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.functional import hessian
from torch.func import functional_call

from scaling_sweep.errors import UserError
from scaling_sweep.optimizers.curvature_rule import CurvatureRule
from scaling_sweep.optimizers.making import make_rule
from scaling_sweep.planning import Pack
from scaling_sweep.spec import parse_sweep
from scaling_sweep.tasks.task import Task
from scaling_sweep.training.copies import Point, stack_points
from scaling_sweep.training.engines import LoopEngine, VmapEngine
from scaling_sweep.training.pack import train_pack
from scaling_sweep.training.preflight import inspect_task
from tests.training.cases import (
    batchnorm_net,
    by_trial,
    dropout_net,
    features,
    make_spec,
    mixed_packs,
    net_task,
    only_pack,
    train_only,
)

CPU = torch.device("cpu")
NAMES = ["slq", "cauchy", "newton"]
each_name = pytest.mark.parametrize("name", NAMES)


def class_task(dtype: torch.dtype = torch.float32) -> Task:
    """Return a classification by cross entropy."""
    inputs, targets = features()
    classes = (targets.flatten() * 2).round().long().clamp(-1, 1) + 1

    def make_model() -> nn.Module:
        return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).to(dtype)

    loss = nn.functional.cross_entropy
    return Task("own", "Classes.", make_model, loss, inputs=inputs.to(dtype), targets=classes)


class Attention(nn.Module):
    """A model with fused attention, whose kernel has no second derivative."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 12)
        self.out = nn.Linear(8, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        """Attend over two tokens of two features."""
        query, key, value = self.linear(inputs.view(-1, 2, 2)).chunk(3, -1)
        mixed = nn.functional.scaled_dot_product_attention(query, key, value)
        outputs: Tensor = self.out(mixed.flatten(1))
        return outputs


def products(engine: str, task: Task, vectors: Tensor, index: Tensor) -> Tensor:
    """Return what a rule that multiplies once is given by an engine, one model per row."""
    seen: list[Tensor] = []
    rule = CurvatureRule(
        init=lambda params: {},
        update=lambda grads, state, params: (grads, state),
        refresh=lambda multiply, grads, state: (
            seen.append(multiply(vectors[len(seen)][None]))
            if engine == "loop"
            else seen.append(multiply(vectors))
        ),
        refresh_every=2,
        num_kept=1,
    )
    torch.manual_seed(0)
    models = [task.make_model() for _ in vectors]
    copies = stack_points([Point.of(m) for m in models], [0.0] * len(models), rule, CPU)
    assert task.inputs is not None
    assert task.targets is not None
    batch = task.inputs[index], task.targets[index]
    kind = {"loop": LoopEngine, "vmap": VmapEngine}[engine]
    kind(models[0], task, rule).step(copies, *batch, [], 4)
    kind(models[0], task, rule).step(copies, *batch, [], 3)  # not due
    return torch.cat(seen)


@pytest.mark.parametrize("engine", ["loop", "vmap"])
def test_products_are_those_of_the_dense_hessian_of_each_copys_batch(engine: str) -> None:
    """Cross entropy, three models, a batch each: the products equal torch's dense Hessians."""
    task = class_task(torch.float64)
    generator = torch.Generator().manual_seed(1)
    index = torch.randint(96, (3, 8), generator=generator)
    vectors = torch.randn(3, 43, generator=generator, dtype=torch.float64)
    actual = products(engine, task, vectors, index)

    torch.manual_seed(0)
    for row in range(3):
        model = task.make_model()
        params = dict(model.named_parameters())
        sizes = [value.numel() for value in params.values()]

        def loss(
            flat: Tensor,
            model: nn.Module = model,
            shapes: dict[str, nn.Parameter] = params,  # type: ignore[assignment]
            sizes: list[int] = sizes,
            row: int = row,
        ) -> Tensor:
            parts = zip(shapes.items(), flat.split(sizes), strict=True)
            own = {name: part.view(value.shape) for (name, value), part in parts}
            assert task.inputs is not None
            assert task.targets is not None
            outputs = functional_call(model, own, (task.inputs[index[row]],))
            return task.loss(outputs, task.targets[index[row]])

        flat = torch.cat([value.detach().flatten() for value in params.values()])
        expected = hessian(loss, flat) @ vectors[row]
        torch.testing.assert_close(actual[row], expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("task", [net_task(), class_task(), net_task(batchnorm_net)])
@each_name
def test_both_engines_train_alike(name: str, task: Task) -> None:
    """Losses under vmap and in the loop differ by rounding only."""
    finals = []
    for engine in ("vmap", "loop"):
        spec = make_spec([name], lrs=(0.05, 0.2), steps=12, engine=engine)
        finals.append([record.final_loss for record in train_only(spec, task).records])

    assert finals[0] == pytest.approx(finals[1], rel=1e-3)


@each_name
def test_attention_and_dropout_train(name: str) -> None:
    """Fused attention is replaced while curvature is looked at; masks are those of the step."""
    for task in (net_task(Attention), net_task(dropout_net)):
        result = train_only(make_spec([name], lrs=(0.05, 0.1), steps=24, engine="loop"), task)
        assert all(record.final_loss < record.initial_loss for record in result.records)


@each_name
def test_a_trial_that_looks_at_curvature_does_not_know_its_mates(name: str) -> None:
    """Bit for bit the same in packs of other sizes and orders."""
    spec = make_spec([name], lrs=(0.1, 0.3, 0.5), steps=24, engine="vmap")
    task = net_task()
    pack = only_pack(spec, task)
    expected = by_trial(train_pack(pack, spec, task))

    for mixed in mixed_packs(pack):
        for trial_id, record in by_trial(train_pack(mixed, spec, task)).items():
            assert record == expected[trial_id]


@pytest.mark.parametrize("name", ["adam", "newton"])
def test_a_trials_own_damping_is_what_it_trains_with(name: str) -> None:
    """Trials of one pack with a damping each equal those of an optimizer given that number."""
    task, dampings = net_task(), (0.5, 3.0)
    key = {"adam": "eps", "newton": "damping"}[name]
    spec = make_spec([name], lrs=(0.1,), seeds=1, engine="vmap")
    trial = only_pack(spec, task).trials[0]
    searched = Pack(tuple(replace(trial, damping=value) for value in dampings), 24)
    actual = [record.final_loss for record in train_pack(searched, spec, task).records]

    expected = []
    for value in dampings:
        given = make_spec([{"name": name, key: value}], lrs=(0.1,), seeds=1, engine="vmap")
        expected.append(train_only(given, task).records[0].final_loss)
    assert actual == pytest.approx(expected, rel=1e-5)
    assert actual[0] != pytest.approx(actual[1], rel=1e-2)


class _Once(torch.autograd.Function):
    """An operation that can be differentiated once only, as fused kernels can."""

    @staticmethod
    def forward(ctx: object, value: Tensor) -> Tensor:
        return value.clone()

    @staticmethod
    def backward(ctx: object, grad: Tensor) -> Tensor:  # type: ignore[override]
        if torch.is_grad_enabled():
            raise NotImplementedError("derivative for once_backward is not implemented")
        return grad


class Unbendable(nn.Module):
    """A model with such an operation."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Linear(4, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the layer's outputs."""
        outputs: Tensor = _Once.apply(self.net(inputs))
        return outputs


def test_a_model_without_second_derivatives_is_refused_in_one_line() -> None:
    """The sweep hears before it starts that slq cannot train this model."""
    sweep = parse_sweep(
        "name: t\ntask: own\nparameters:\n  optimizer: {values: [sgd, slq]}\n"
        "  batch_size: {values: [8]}\n  lr: {values: [1]}\nseeds: 1\nhorizon: {steps: 9}\n"
    )
    with pytest.raises(UserError, match="slq needs second derivatives") as caught:
        inspect_task(sweep, net_task(Unbendable))

    assert "\n" not in str(caught.value)


def test_a_plain_rule_never_looks() -> None:
    """An engine of a plain rule says so, one of a curvature rule says how often it looks."""
    model, task = nn.Linear(4, 1), net_task()

    assert LoopEngine(model, task, make_rule("adam")).refresh_every is None
    assert VmapEngine(model, task, make_rule("slq", {"refresh_every": 7})).refresh_every == 7
