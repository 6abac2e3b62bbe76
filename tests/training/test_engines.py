"""Which engine trains what: models that branch on data, draw random numbers, keep statistics."""

import warnings
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from scaling_sweep.errors import UserError
from scaling_sweep.optimizers.sgd import sgd
from scaling_sweep.tasks.task import Task
from scaling_sweep.training import choosing
from scaling_sweep.training.copies import Copies, Point, stack_points
from scaling_sweep.training.engines import LoopEngine, VmapEngine
from scaling_sweep.training.pack import initial_model, train_pack
from tests.training.cases import (
    Branching,
    batchnorm_net,
    by_trial,
    dropout_net,
    features,
    make_spec,
    mixed_packs,
    net_task,
    only_pack,
    small_net,
    train_only,
)
from tests.training.test_reference import draw_indices

CPU = torch.device("cpu")


def noisy_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return a loss on targets with fresh noise."""
    return nn.functional.mse_loss(outputs, targets + torch.randn(targets.shape))


UNSTACKABLE = {
    "dropout": net_task(dropout_net),
    "branching": net_task(Branching),
    "noisy-loss": replace(net_task(), loss=noisy_loss),
}
each_unstackable = pytest.mark.parametrize("task", UNSTACKABLE.values(), ids=UNSTACKABLE)


@each_unstackable
def test_a_model_that_cannot_be_stacked_is_looped(task: Task) -> None:
    """Left to itself the tool finds the engine that can train it."""
    result = train_only(make_spec(engine="auto"), task)

    assert result.engine == "loop"
    assert all(record.final_loss < record.initial_loss for record in result.records)


@each_unstackable
def test_demanding_the_impossible_is_one_line(task: Task) -> None:
    """A sweep file that insists on vmap hears why not, and what to write."""
    with pytest.raises(UserError) as caught:
        train_only(make_spec(engine="vmap"), task)
    message = str(caught.value)

    assert "\n" not in message
    assert message.startswith("engine: vmap cannot train this model (")
    assert message.endswith("write engine: auto")


@each_unstackable
def test_a_random_models_noise_is_its_trials_own(task: Task) -> None:
    """Masks and noise do not depend on pack-mates, order, or what drew before."""
    spec = make_spec(lrs=(0.01, 0.05, 0.2), engine="auto")
    pack = only_pack(spec, task)
    torch.manual_seed(1)
    expected = by_trial(train_pack(pack, spec, task))
    torch.manual_seed(2)
    state = torch.get_rng_state()

    for mixed in mixed_packs(pack):
        for trial_id, record in by_trial(train_pack(mixed, spec, task)).items():
            assert record == expected[trial_id]
    assert torch.equal(torch.get_rng_state(), state)


def test_dropout_drops_anew_at_every_step_and_for_every_seed() -> None:
    """Masks of a seed differ from step to step, are shared by its lrs, and differ between seeds."""
    masks: list[list[bool]] = []

    class Spy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.zeros(1))
            self.dropout = nn.Dropout(0.5)

        def forward(self, inputs: Tensor) -> Tensor:
            mask: Tensor = self.dropout(torch.ones(16))
            if self.training and torch.is_grad_enabled():
                masks.append((mask > 0).tolist())
            return inputs[:, :1] * self.weight * mask.mean()

    train_only(make_spec(lrs=(0.01, 0.02), seeds=2, steps=5, engine="loop"), net_task(Spy))

    assert len(masks) == 20
    distinct = set()
    for step in range(5):
        first, second, other, same = masks[4 * step : 4 * step + 4]
        assert first == second
        assert other == same
        distinct |= {tuple(first), tuple(other)}
    # 10 masks of 16 coins: two alike have a chance below 1e-3.
    assert len(distinct) == 10


def test_dropout_is_off_when_the_model_is_judged() -> None:
    """The initial loss is that of the model in evaluation mode, the mean of no masks."""
    task = net_task(dropout_net)
    result = train_only(make_spec(seeds=1), task)
    model = initial_model(task, make_spec(), 0).eval()
    inputs, targets = features()
    expected = task.loss(model(inputs), targets).item()

    assert result.records[0].initial_loss == pytest.approx(expected, rel=1e-6)


def test_batch_normalisation_keeps_its_statistics_alike_in_both_engines() -> None:
    """Running means, variances and counts of each copy are those of the module itself."""
    task = net_task(batchnorm_net)
    torch.manual_seed(0)
    models = [batchnorm_net() for _ in range(3)]
    inputs = torch.randn(4, 3, 8, 4)
    targets = torch.randn(4, 3, 8, 1)

    def trained(engine: VmapEngine | LoopEngine) -> Copies:
        points = [Point.of(model) for model in models]
        copies = stack_points(points, [0.1, 0.2, 0.3], sgd(), CPU)
        for step in range(4):
            engine.step(copies, inputs[step], targets[step], [])
        return copies

    stacked = trained(VmapEngine(batchnorm_net(), task, sgd()))
    looped = trained(LoopEngine(batchnorm_net(), task, sgd()))
    for row, model in enumerate(models):
        optimizer = torch.optim.SGD(model.parameters(), 0.1 * (row + 1))
        for step in range(4):
            optimizer.zero_grad()
            task.loss(model(inputs[step, row]), targets[step, row]).backward()
            optimizer.step()
        assert dict(model.named_buffers())["1.num_batches_tracked"] == 4
        for copies in (stacked, looped):
            for own, values in (
                (copies.params, model.named_parameters()),
                (copies.buffers, model.named_buffers()),
            ):
                for name, value in values:
                    torch.testing.assert_close(own[name][row], value.detach(), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("faster", ["vmap", "loop"])
def test_the_faster_engine_is_chosen(faster: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where both can train a model, a probe's clock decides."""
    monkeypatch.setattr(
        choosing._Probe,
        "seconds_per_copy",
        lambda probe: 1.0 if probe._engine.name == faster else 2.0,
    )

    assert train_only(make_spec(engine="auto"), net_task()).engine == faster


@pytest.mark.parametrize("engine", ["vmap", "loop"])
def test_an_engine_that_is_asked_for_is_used(engine: str) -> None:
    """The sweep file has the last word."""
    assert train_only(make_spec(engine=engine), net_task()).engine == engine


def test_probing_leaves_the_copies_as_they_were() -> None:
    """Timing an engine moves scratch copies, not those that will train."""
    task, model = net_task(), small_net()
    copies = stack_points([Point.of(model)] * 3, [0.1, 0.2, 0.3], sgd(), CPU)
    before = {name: value.clone() for name, value in copies.params.items()}
    inputs, targets = features()
    batch = choosing.ProbeBatch(inputs.expand(3, -1, -1), targets.expand(3, -1, -1), 100)

    for wanted in ("auto", "vmap", "loop"):
        choosing.choose_engine(wanted, model, task, sgd(), copies, batch)
        assert choosing.time_step(LoopEngine(model, task, sgd()), copies, batch) > 0

    torch.testing.assert_close(copies.params, before, rtol=0, atol=0)


def test_shared_and_unused_weights_train() -> None:
    """A weight used twice gets both gradients; one that is not used stays where it began."""

    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first = nn.Linear(4, 4, bias=False)
            self.second = nn.Linear(4, 4, bias=False)
            self.second.weight = self.first.weight
            self.idle = nn.Parameter(torch.ones(2))

        def forward(self, inputs: Tensor) -> Tensor:
            return self.second(torch.tanh(self.first(inputs))).sum(1, keepdim=True)

    finals = {}
    for engine in ("vmap", "loop"):
        result = train_only(make_spec(lrs=(0.01, 0.05), engine=engine), net_task(Tied))
        finals[engine] = [record.final_loss for record in result.records]
        assert all(record.final_loss < record.initial_loss for record in result.records)
    assert finals["vmap"] == pytest.approx(finals["loop"], rel=1e-5)


class FusedAttention(nn.Module):
    """Two tokens of two features that attend to each other in one call of torch."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(2, 12)
        self.out = nn.Linear(8, 1)

    def forward(self, inputs: Tensor) -> Tensor:
        """Attend."""
        query, key, value = self.linear(inputs.view(-1, 2, 2)).unsqueeze(1).chunk(3, -1)
        mixed = nn.functional.scaled_dot_product_attention(query, key, value)
        outputs: Tensor = self.out(mixed.flatten(1))
        return outputs


def test_fused_attention_trains_as_a_stack_without_a_word() -> None:
    """Where torch would warn that it loops over copies, attention is written out instead."""
    finals = {}
    for engine in ("vmap", "loop"):
        result = train_only(make_spec(engine=engine), net_task(FusedAttention))
        finals[engine] = [record.final_loss for record in result.records]

    assert finals["vmap"] == pytest.approx(finals["loop"], rel=1e-5)


def test_other_warnings_of_a_stacked_model_are_heard() -> None:
    """Only what is mended is kept quiet: a model's own warning is heard."""

    def warning_loss(outputs: Tensor, targets: Tensor) -> Tensor:
        warnings.warn("mind the gap", UserWarning, stacklevel=1)
        return nn.functional.mse_loss(outputs, targets)

    task = replace(net_task(), loss=warning_loss)
    with pytest.warns(UserWarning, match="mind the gap"):
        assert train_only(make_spec(engine="vmap"), task).engine == "vmap"


@pytest.mark.parametrize("engine", ["vmap", "loop"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_frozen_parameters_stay_as_they_begin(engine: str, optimizer: str) -> None:
    """What has requires_grad=False is used and never moved, as torch.optim leaves it alone."""

    def half_frozen() -> nn.Module:
        net = small_net()
        next(net.children()).requires_grad_(requires_grad=False)
        return net

    task, spec = net_task(half_frozen), make_spec([optimizer], engine=engine, seeds=1)
    result = train_only(spec, task)

    for lr, record in zip((0.05, 0.2), result.records, strict=True):
        model = initial_model(task, spec, 0)
        kinds = {"sgd": torch.optim.SGD, "adamw": torch.optim.AdamW}
        stepper = kinds[optimizer]([p for p in model.parameters() if p.requires_grad], lr)
        inputs, targets = features()
        for index in draw_indices(len(inputs), 8, 24, 0, "replacement"):
            stepper.zero_grad()
            task.loss(model(inputs[index]), targets[index]).backward()
            stepper.step()
        expected = task.loss(model(inputs), targets).item()
        assert record.final_loss == pytest.approx(expected, rel=1e-4)
