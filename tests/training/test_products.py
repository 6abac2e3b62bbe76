"""Products that go to oneDNN: the same training to rounding, and nobody else's business."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from scaling_sweep.optimizers.making import make_rule
from scaling_sweep.tasks.digits import digits_mlp
from scaling_sweep.tasks.task import Task
from scaling_sweep.training import products
from scaling_sweep.training.copies import Copies, Point, stack_points
from scaling_sweep.training.engines import VmapEngine
from scaling_sweep.training.products import StackedProducts, is_onednn_faster

CPU = torch.device("cpu")
where_it_pays = pytest.mark.skipif(not is_onednn_faster(), reason="MKL is no slower here")


def setting() -> str:
    """Return what torch has been told about float32 products."""
    backend: Any = torch.backends.mkldnn
    return str(backend.matmul.fp32_precision)


def digits(num_copies: int, batch_size: int) -> tuple[Task, Copies, Tensor, Tensor]:
    """Return copies that begin differently, and a batch for each."""
    task = digits_mlp()
    assert task.inputs is not None
    assert task.targets is not None
    points = []
    for seed in range(num_copies):
        torch.manual_seed(seed)
        points.append(Point.of(task.make_model()))
    copies = stack_points(points, [0.05] * num_copies, make_rule("sgd"), CPU)
    index = torch.arange(num_copies * batch_size).view(num_copies, batch_size)
    return task, copies, task.inputs[index], task.targets[index]


def train(num_steps: int, kept: Tensor, name: str = "sgd") -> tuple[Tensor, Copies, VmapEngine]:
    """Train some of six copies of the digits MLP; the first step is one on scratch."""
    task, copies, inputs, targets = digits(6, 16)
    copies, inputs, targets = copies.select(kept), inputs[kept], targets[kept]
    engine = VmapEngine(task.make_model(), task, make_rule(name))
    engine.step(copies.select(torch.arange(len(kept))), inputs, targets, [], 1)
    losses = [engine.step(copies, inputs, targets, [], 1) for _ in range(num_steps)]
    return torch.stack(losses), copies, engine


@where_it_pays
def test_losses_and_weights_are_those_of_the_other_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten steps of the digits MLP differ by rounding."""
    losses, copies, engine = train(10, torch.arange(6))
    monkeypatch.setattr(products, "is_onednn_faster", lambda: False)
    expected, plain, plain_engine = train(10, torch.arange(6))

    assert (engine.products.go_to_onednn, plain_engine.products.go_to_onednn) == (True, False)
    torch.testing.assert_close(losses, expected, rtol=1e-5, atol=0)
    torch.testing.assert_close(copies.params, plain.params, rtol=1e-4, atol=1e-6)


@where_it_pays
@pytest.mark.parametrize("transposed", [False, True])
def test_products_are_as_exact_as_float32(transposed: bool) -> None:
    """Held against float64, none is off by more than some roundings of what is summed up."""
    torch.manual_seed(0)
    with products._by_onednn():
        for rows, size, columns in ((1, 64, 128), (8, 128, 10), (37, 300, 65), (512, 128, 128)):
            one, other = torch.randn(5, rows, size), torch.randn(5, size, columns)
            if transposed:
                one, other = (x.mT.contiguous().mT for x in (one, other))
            exact = one.double() @ other.double()
            scale = one.double().abs() @ other.double().abs()
            assert ((one @ other - exact).abs() / scale).max() < 16 * 2**-24


@where_it_pays
def test_a_copy_does_not_know_its_mates() -> None:
    """Alone, in pairs and among six: bit for bit."""
    expected, whole, _ = train(5, torch.arange(6))
    for kept in ([4], [0, 5], [5, 2, 3], [1, 0, 2, 4, 3]):
        rows = torch.tensor(kept)
        losses, copies, _ = train(5, rows)
        torch.testing.assert_close(losses, expected[:, rows], rtol=0, atol=0)
        for name, value in copies.params.items():
            torch.testing.assert_close(value, whole.params[name][rows], rtol=0, atol=0)


def test_small_products_stay_where_they_are() -> None:
    """What torch would divide between libraries by the number of copies is left to one."""
    chosen = StackedProducts()
    with chosen.of_stack(2, CPU):
        torch.bmm(torch.ones(2, 64, 128), torch.ones(2, 128, 128))
        torch.bmm(torch.ones(2, 8, 8), torch.ones(2, 8, 8))

    assert chosen.go_to_onednn is False


def test_the_setting_is_put_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """After a step, and after one that fails, torch multiplies as it did before."""
    monkeypatch.setattr(products, "is_onednn_faster", lambda: True)
    before, chosen, seen = setting(), StackedProducts(), []
    with chosen.of_stack(1, CPU):
        torch.mm(torch.ones(128, 128), torch.ones(128, 128))
    with chosen.of_stack(1, CPU):
        seen.append(setting())
    assert (chosen.go_to_onednn, seen, setting()) == (True, ["bf16"], before)

    with pytest.raises(ZeroDivisionError), chosen.chosen():
        _ = 1 / 0
    assert setting() == before


@pytest.mark.parametrize(
    "has",
    [
        {},
        {"cpu_name": "AMD EPYC", "avx512_f": True},
        {"cpu_name": "Intel Xeon", "avx512_vp2intersect": True},
        {"cpu_name": "AMD EPYC", "avx512_vp2intersect": True, "amx_tile": True},
    ],
)
def test_other_processors_keep_their_library(
    has: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Above all those with AMX, where oneDNN would round to bf16."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has, raising=False)

    assert not is_onednn_faster.__wrapped__()


def test_a_look_at_curvature_is_left_alone() -> None:
    """A step in which a rule looks at curvature multiplies as ever, second derivatives included."""
    seen = []

    class Spy(nn.Linear):
        def forward(self, inputs: Tensor) -> Tensor:
            seen.append(setting())
            return super().forward(inputs)

    task, copies, inputs, targets = digits(2, 64)
    rule = make_rule("slq")
    copies = stack_points([Point.of(nn.Sequential(Spy(64, 256)))] * 2, [0.01] * 2, rule, CPU)
    engine = VmapEngine(nn.Sequential(Spy(64, 256)), task, rule)
    for number in (1, 1, 0):
        engine.step(copies, inputs, targets, [], number)

    assert seen == ["none", "bf16" if is_onednn_faster() else "none", "none"]
