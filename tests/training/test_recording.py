"""Steps that are played back do, bit for bit, what the usual steps do."""

from collections.abc import Callable, Iterator

import pytest
import torch
from torch import Tensor, nn

from scaling_sweep.optimizers.making import make_rule
from scaling_sweep.tasks.task import Task
from scaling_sweep.training import recording
from scaling_sweep.training.copies import Copies, Point, stack_points
from scaling_sweep.training.engines import VmapEngine
from scaling_sweep.training.recording import Playback, Step
from scaling_sweep.training.treatment import PLAIN_TREATMENT, Treatment
from tests.training.cases import batchnorm_net, features, net_task, small_net

NUM_COPIES, BATCH_SIZE, NUM_STEPS = 4, 6, 12


class Attentive(nn.Module):
    """One head of attention over the features, the mask a plain attribute."""

    def __init__(self) -> None:
        super().__init__()
        self.into, self.out = nn.Linear(1, 8), nn.Linear(8, 1)
        self.mask = torch.ones(4, 4).tril().bool()

    def forward(self, inputs: Tensor) -> Tensor:
        """Attend to the features before."""
        tokens = self.into(inputs.unsqueeze(-1))
        mixed = nn.functional.scaled_dot_product_attention(
            tokens, tokens, tokens, attn_mask=self.mask
        )
        outputs: Tensor = self.out(mixed.mean(-2))
        return outputs


class Counting(nn.Module):
    """A model whose outputs hang on how often it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.linear, self.num_calls = nn.Linear(4, 1), 0

    def forward(self, inputs: Tensor) -> Tensor:
        """Scale the outputs by the number of calls."""
        self.num_calls += 1
        outputs: Tensor = self.linear(inputs) * self.num_calls
        return outputs


def batches(num_copies: int = NUM_COPIES) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield batches, other ones at every step."""
    generator = torch.Generator().manual_seed(1)
    inputs, targets = features()
    for _ in range(NUM_STEPS):
        index = torch.randint(len(inputs), (num_copies, BATCH_SIZE), generator=generator)
        yield inputs[index], targets[index]


def begin(task: Task, optimizer: str) -> Copies:
    """Return copies of which the last one will diverge."""
    torch.manual_seed(0)
    points = [Point.of(task.make_model()) for _ in range(NUM_COPIES)]
    lr = [0.001, 0.01, 0.1, 1e30]
    return stack_points(points, lr, make_rule(optimizer), torch.device("cpu"))


def usually(playback: Playback, copies: Copies, inputs: Tensor, targets: Tensor) -> Tensor:
    """Take the step that a playback would record."""
    return playback._step(copies, inputs, targets)


def train(
    task: Task, optimizer: str, treatment: Treatment = PLAIN_TREATMENT
) -> tuple[list[Tensor], Copies, VmapEngine]:
    """Take some steps and return all losses."""
    copies = begin(task, optimizer)
    engine = VmapEngine(task.make_model(), task, make_rule(optimizer), treatment)
    losses = [engine.step(copies, *batch, [], step) for step, batch in enumerate(batches())]
    return losses, copies, engine


def all_values(copies: Copies) -> list[Tensor]:
    """Return everything that a step changes."""
    groups = (copies.params, copies.buffers, *copies.state.values())
    return [value for group in groups for value in group.values()]


CASES: dict[str, tuple[Callable[[], nn.Module], str, Treatment]] = {
    "sgd": (small_net, "sgd", PLAIN_TREATMENT),
    "adam": (small_net, "adam", PLAIN_TREATMENT),
    "muon": (small_net, "muon", PLAIN_TREATMENT),
    "slq": (small_net, "slq", PLAIN_TREATMENT),
    "clipped": (small_net, "momentum", Treatment(clip_norm=0.1)),
    "portions": (small_net, "sgd", Treatment(micro_batch=4)),
    "bf16": (small_net, "sgd", Treatment(precision="bf16")),
    "batch-norm": (batchnorm_net, "nesterov", PLAIN_TREATMENT),
    "attention": (Attentive, "adamw", PLAIN_TREATMENT),
}


@pytest.mark.parametrize(("model", "optimizer", "treatment"), CASES.values(), ids=CASES)
def test_what_is_played_is_what_is_usual(
    model: Callable[[], nn.Module],
    optimizer: str,
    treatment: Treatment,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Losses, weights, statistics and moments agree bit for bit, of a diverged copy too."""
    task = net_task(model)
    losses, copies, engine = train(task, optimizer, treatment)
    monkeypatch.setattr(Playback, "take", usually)
    usual_losses, usual, _ = train(task, optimizer, treatment)

    assert engine.playback.is_playing
    assert not usual_losses[-1].isfinite().all()
    for found, expected in zip(
        [*losses, *all_values(copies)], [*usual_losses, *all_values(usual)], strict=True
    ):
        assert torch.equal(found.nan_to_num(7.0), expected.nan_to_num(7.0))
        assert torch.equal(found.isnan(), expected.isnan())


def test_fewer_copies_are_recorded_anew() -> None:
    """Copies that are let go change the shapes; the rest train on as they would alone."""
    task = net_task()
    rows = torch.tensor([0, 2])
    _, copies, engine = train(task, "adam")
    fewer = copies.select(rows)
    alone, other = copies.select(rows), VmapEngine(task.make_model(), task, make_rule("adam"))
    was_playing = engine.playback.is_playing
    for inputs, targets in [*batches(2), *batches(2)]:
        engine.step(fewer, inputs, targets, [])
        other.step(alone, inputs, targets, [])

    assert was_playing
    assert engine.playback.is_playing
    torch.testing.assert_close(all_values(fewer), all_values(alone), rtol=0, atol=0)


def test_a_model_that_counts_its_calls_is_never_played(monkeypatch: pytest.MonkeyPatch) -> None:
    """The recorded step disagrees with the next one, so every step is taken the usual way."""
    task = net_task(Counting)
    losses, copies, engine = train(task, "sgd")
    monkeypatch.setattr(Playback, "take", usually)
    usual_losses, usual, _ = train(task, "sgd")

    assert not engine.playback.is_playing
    assert torch.equal(torch.stack(losses)[:, 0], torch.stack(usual_losses)[:, 0])
    assert torch.equal(copies.params["linear.weight"][0], usual.params["linear.weight"][0])


def test_a_step_that_computes_much_is_not_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recording would hold all of it at once."""
    monkeypatch.setattr(recording, "_MOST_BYTES", 100)
    losses, _, engine = train(net_task(), "sgd")
    assert not engine.playback.is_playing
    assert losses[-1][0] < losses[0][0]


def count(step: Step) -> tuple[Step, list[int]]:
    """Return a step that notes its calls."""
    calls: list[int] = []

    def counted(copies: Copies, inputs: Tensor, targets: Tensor) -> Tensor:
        calls.append(len(copies))
        return step(copies, inputs, targets)

    return counted, calls


def test_inputs_that_are_their_own_targets_are_not_told_apart() -> None:
    """One tensor in two places would be one in the recording: such steps stay the usual ones."""

    def step(copies: Copies, inputs: Tensor, targets: Tensor) -> Tensor:
        copies.params["w"].add_((inputs - targets).mean(1))
        return targets.sum(1)

    counted, calls = count(step)
    playback = Playback(counted)
    copies = Copies({"w": torch.zeros(2)}, {}, {}, torch.ones(2))
    for _ in range(NUM_STEPS):
        same = torch.ones(2, 3)
        playback.take(copies, same, same)
    playback.take(copies, torch.ones(2, 3), torch.zeros(2, 3))

    assert len(calls) == NUM_STEPS + 1
    assert copies.params["w"].tolist() == [1.0, 1.0]


def test_the_usual_step_is_left_alone_once_one_is_recorded() -> None:
    """Three steps, one of them recorded, and one that it is compared with; no more."""
    task = net_task(small_net)
    copies = begin(task, "sgd")
    engine = VmapEngine(task.make_model(), task, make_rule("sgd"))
    counted, calls = count(engine._step)
    playback = Playback(counted)
    for inputs, targets in batches():
        playback.take(copies, inputs, targets)
    assert len(calls) == 4
