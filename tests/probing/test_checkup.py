"""What check-task says of tasks with one fault each, and of one without."""

import json
import math
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import Dataset

from scaling_sweep.cli import main
from scaling_sweep.probing import checkup
from scaling_sweep.probing.checkup import check_task
from scaling_sweep.probing.findings import Checkup, Finding, Level
from scaling_sweep.tasks.task import Batch, Task
from tests.training.cases import Branching, batchnorm_net, dropout_net, net_task, small_net

X = torch.randn(64, 4, generator=torch.Generator().manual_seed(3))
Y = (X[:, 0] > 0).long()
# Nobody seeds it.
DICE = random.Random()


@pytest.fixture(autouse=True)
def _without_cost(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the measurements of cost to the one test that is about them."""
    if "cost" not in request.node.name:
        looks = tuple(look for look in checkup._LOOKS if look[0] != "cost")
        monkeypatch.setattr(checkup, "_LOOKS", looks)


def check(task: Task, monkeypatch: pytest.MonkeyPatch) -> dict[str, Finding]:
    """Return the findings about a task by topic."""
    monkeypatch.setattr(checkup, "load_task", lambda *_: task)
    return {finding.topic: finding for finding in check_task("own").findings}


def classifier(make_model: Callable[[], nn.Module] = lambda: nn.Linear(4, 2), **kw: object) -> Task:
    """Return a sound classification in which parts can be replaced."""
    parts = {"loss": functional.cross_entropy, "inputs": X, "targets": Y, **kw}
    return Task("own", "Own.", make_model, **parts)


def test_a_sound_task_has_nothing_but_ok(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every look at a plain classifier is fine, and they come in the order of dependence."""
    found = check(classifier(), monkeypatch)

    assert [finding.level for finding in found.values()] == [Level.OK] * 8
    assert list(found) == [
        "data", "loss", "mean", "gradients", "repeats", "data order", "packs", "curvature",
    ]  # fmt: skip
    assert "inputs float32 [32, 4], targets int64 [32]" in found["data"].text
    assert "10 parameters in 2 tensors" in found["gradients"].text


def test_chance_is_the_log_of_the_number_of_classes(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first loss is held against log C, and said to be far from it when it is."""
    assert "chance, log 2, is 0.6931" in check(classifier(), monkeypatch)["loss"].text

    loud = check(classifier(lambda: Sure(4, 2)), monkeypatch)["loss"]
    assert loud.level is Level.NOTE
    assert "smaller last weights" in loud.advice


class Sure(nn.Linear):
    """A model that begins with large outputs."""

    def forward(self, inputs: Tensor) -> Tensor:
        """Return outputs a hundred times too large."""
        return 100 * super().forward(inputs)


@pytest.mark.parametrize(("ratio", "meets"), [(0.95, True), (0.001, False), (1.0, False)])
def test_a_criterion_that_chance_meets_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ratio: float, meets: bool
) -> None:
    """Where the first loss is so high that chance is below the ratio, the largest ratio is said."""
    sweep = tmp_path / "own.yaml"
    sweep.write_text(
        "name: own\ntask: own\nseeds: 2\nhorizon: {steps: 9}\nparameters:\n"
        "  optimizer: {values: [sgd]}\n  batch_size: {values: [4]}\n  lr: {values: [0.1]}\n"
        f"stability: {{max_loss_ratio: {ratio}}}\n"
    )
    task = classifier(lambda: Sure(4, 2))
    monkeypatch.setattr(checkup, "load_sweep_task", lambda _: task)
    found = {finding.topic: finding for finding in check_task(str(sweep)).findings}["loss"]

    assert ("learns nothing" in found.text) == meets
    assert ("a max_loss_ratio below" in found.advice) == meets
    first = float(found.text.split()[1])
    if meets:
        limit = float(found.advice.split("below ")[1])
        assert limit == pytest.approx(math.log(2) / first, rel=0.05)


def test_long_findings_fold_under_their_text() -> None:
    """No line of a checkup is wider than 100 columns, and no word is lost."""
    text = " ".join(str(number) for number in range(80))
    shown = Checkup("t", "T.", "cpu", (Finding("time", Level.OK, text),)).text()
    lines = shown.splitlines()[1:-1]

    assert len(lines) > 2
    assert max(map(len, lines)) <= 100
    assert {line[:22].strip() for line in lines[1:]} == {""}
    assert " ".join(" ".join(lines).split()[2:]) == text


def test_chance_of_a_regression_is_predicting_the_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    """With targets of known variance, chance is that variance over the batch."""
    targets = torch.tensor([[0.0], [2.0]]).repeat(16, 1)
    task = Task(
        "own", "Own.", lambda: nn.Linear(4, 1), functional.mse_loss, inputs=X[:32], targets=targets
    )
    text = check(task, monkeypatch)["loss"].text

    assert float(text.split("mean is ")[1].split(";")[0]) == pytest.approx(1, abs=0.2)


@pytest.mark.parametrize(
    ("loss", "topic", "words"),
    [
        (lambda o, t: functional.cross_entropy(o, t, reduction="sum"), "mean", "not the sum"),
        (lambda o, t: functional.cross_entropy(o, t, reduction="none"), "loss", "a scalar"),
        (lambda o, t: functional.cross_entropy(o, t).item(), "loss", "return a scalar tensor"),
        (lambda o, t: functional.cross_entropy(o, t) / 0, "loss", "must be finite"),
        (lambda o, t: functional.cross_entropy(o.detach(), t), "gradients", ""),
        (lambda o, t: ((o - o).abs().sum() + 1e-30).sqrt() * 0 + o.norm(dim=0).mean() * 0
         + (o - o).norm(), "gradients", ""),
        (lambda o, t: 1 / 0, "loss", ""),
    ],
    ids=["sum", "shape", "float", "infinite", "detached", "zero-gradient", "raises"],
)  # fmt: skip
def test_a_faulty_loss_is_a_problem(
    loss: Callable[..., object], topic: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loss that is a sum, no scalar, not finite, without gradients, or that raises is named."""
    found = check(classifier(loss=loss), monkeypatch)

    assert found[topic].level is Level.PROBLEM
    assert words in found[topic].advice


def test_parameters_without_gradient_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A layer that forward leaves out is a note with its name."""

    class Forgetful(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.spare = nn.Linear(4, 2), nn.Linear(4, 2)

        def forward(self, inputs: Tensor) -> Tensor:
            return self.used(inputs)

    found = check(classifier(Forgetful), monkeypatch)["gradients"]
    assert found.level is Level.NOTE
    assert "none in spare.weight, spare.bias" in found.text


def test_weights_from_elsewhere_are_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights from an unseeded generator are other ones each time; the same for all are noted."""

    def from_numpy() -> nn.Module:
        model = nn.Linear(4, 2)
        model.weight.data = torch.tensor(np.random.default_rng().normal(size=(2, 4))).float()
        return model

    def seeded() -> nn.Module:
        torch.manual_seed(0)
        return nn.Linear(4, 2)

    assert check(classifier(from_numpy), monkeypatch)["repeats"].level is Level.PROBLEM
    same = check(classifier(seeded), monkeypatch)["repeats"]
    assert (same.level, same.text) == (Level.NOTE, "every seed begins at the same weights")


def test_noise_from_elsewhere_is_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model that draws from a generator of its own in forward does not repeat its steps."""

    class Noisy(nn.Linear):
        def forward(self, inputs: Tensor) -> Tensor:
            return super().forward(inputs) + (DICE.random() if self.training else 0)

    targets = torch.zeros(64, 1)
    task = classifier(lambda: Noisy(4, 1), loss=functional.mse_loss, targets=targets)
    assert check(task, monkeypatch)["repeats"].level is Level.PROBLEM


def test_data_that_do_not_obey_the_seed_are_a_problem(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stream must draw from its generator, a dataset not from one of its own."""

    def deaf(generator: torch.Generator, batch_size: int) -> Batch:
        return torch.randn(batch_size, 4), torch.zeros(batch_size, dtype=torch.int64)

    class Shaky(Dataset[tuple[Tensor, Tensor]]):
        def __len__(self) -> int:
            return 64

        def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
            return X[index] + DICE.random(), Y[index]

    for data in ({"stream": deaf}, {"dataset": Shaky()}):
        task = classifier(inputs=None, targets=None, **data)
        assert check(task, monkeypatch)["data order"].level is Level.PROBLEM


def test_items_of_differing_length_need_a_collate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a collate the advice is to pad; with one the data are fine."""

    class Ragged(Dataset[tuple[Tensor, Tensor]]):
        def __len__(self) -> int:
            return 64

        def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
            return X[index, : 1 + index % 4], Y[index]

    def pad(items: list[tuple[Tensor, Tensor]]) -> Batch:
        padded = [functional.pad(x, (0, 4 - len(x))) for x, _ in items]
        return torch.stack(padded), torch.stack([y for _, y in items])

    without = check(classifier(inputs=None, targets=None, dataset=Ragged()), monkeypatch)
    assert list(without) == ["data"]
    assert "collate that pads" in without["data"].advice
    task = classifier(inputs=None, targets=None, dataset=Ragged(), collate=pad)
    assert check(task, monkeypatch)["data"].level is Level.OK


def test_missing_values_and_raw_columns_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """NaN in the inputs is a problem, a scale of thousands a note."""
    assert check(classifier(inputs=X / 0), monkeypatch)["data"].level is Level.PROBLEM
    assert check(classifier(inputs=1000 * X), monkeypatch)["inputs"].level is Level.NOTE


@pytest.mark.parametrize(
    ("make_model", "words"), [(dropout_net, "random numbers"), (Branching, "item()")]
)
def test_what_does_not_pack_says_why(
    make_model: Callable[[], nn.Module], words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dropout and `.item()` are notes: the loop engine trains them."""
    found = check(net_task(make_model), monkeypatch)["packs"]

    assert found.level is Level.NOTE
    assert words in found.text
    assert "loop engine" in found.advice


def test_batchnorm_packs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Running statistics are no obstacle."""
    assert check(net_task(batchnorm_net), monkeypatch)["packs"].level is Level.OK


def test_a_loss_that_stands_still_twice_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    """An operation without a forward derivative leaves sweeps possible and curvature not."""

    class Once(torch.autograd.Function):
        @staticmethod
        def forward(ctx: object, values: Tensor) -> Tensor:
            return values.clone()

        @staticmethod
        def backward(ctx: object, gradient: Tensor) -> Tensor:
            return gradient

    def loss(outputs: Tensor, targets: Tensor) -> Tensor:
        return functional.cross_entropy(Once.apply(outputs), targets)

    found = check(classifier(loss=loss), monkeypatch)["curvature"]
    assert found.level is Level.NOTE
    assert "sweeps do" in found.advice


def test_a_broken_loss_ends_the_look() -> None:
    """A checkup with a problem says so in its last line; without, that a sweep can run."""
    bad = Finding("loss", Level.PROBLEM, "it is nan", "mend it")
    good = Finding("data", Level.OK, "fine")

    assert not Checkup("t", "T.", "cpu", (good, bad)).possible
    assert Checkup("t", "T.", "cpu", (good, bad)).text().endswith(
        "1 problem, 0 notes: mend the problems before a sweep."
    )  # fmt: skip
    assert Checkup("t", "T.", "cpu", (good,)).text().endswith("a sweep can run.")


def run(*arguments: str) -> tuple[int, str]:
    """Run the command and return its exit status and everything it said."""
    result = CliRunner().invoke(main, ["check-task", *arguments])
    return result.exit_code, result.output


def test_the_command_reads_sweeps_names_and_arguments(tmp_path: Path) -> None:
    """A sweep file and a name with arguments say the same of the same task, also as JSON."""
    sweep = tmp_path / "s.yaml"
    sweep.write_text(
        "name: s\ntask: {name: diabetes, args: {width: 4}}\nparameters:\n"
        "  optimizer: {values: [adam]}\n  batch_size: {values: [8]}\n  lr: {values: [0.1]}\n"
        "seeds: 1\nhorizon: {steps: 4}\n"
    )
    status, text = run(str(sweep), "--json")
    named = run("diabetes", "--arg", "width=4", "--json")
    found = json.loads(text)

    assert (status, named[0]) == (0, 0)
    assert found["findings"] == json.loads(named[1])["findings"]
    assert found["possible"] is True
    assert found["device"] == "cpu"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["digits_mpl"], "Did you mean digits_mlp?"),
        (["digits_mlp", "--arg", "width"], "is not NAME=VALUE"),
        (["digits_mlp", "--device", "tpu9"], "write cpu"),
        (["nowhere.yaml"], "nowhere.yaml"),
        (["sweeps/smoke.yaml", "--arg", "width=3"], "give none"),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], words: str) -> None:
    """What a user can mend is said in one line, without a traceback."""
    status, text = run(*arguments)

    assert status in {1, 2}
    assert words in text
    assert "Traceback" not in text


def test_cost_is_measured_when_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time and memory come last, with the largest pack and batch that fit."""
    found = check(net_task(small_net), monkeypatch)

    assert list(found)[-3:] == ["time", "memory", "fits"]
    assert "stacked (vmap)" in found["time"].text
    assert "(estimate)" in found["fits"].text
    assert math.isfinite(float(found["time"].text.split(" ms")[0]))
