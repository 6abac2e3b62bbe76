"""A task of one's own: the files it begins with, the examples, and the way to a report."""

import importlib.util
import json
import math
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from torch.func import functional_call

from scaling_sweep.cli import main
from scaling_sweep.probing.checkup import _stand_in
from scaling_sweep.probing.findings import Level
from scaling_sweep.probing.learning import look_at_loss
from scaling_sweep.probing.stacking import look_at_stacking
from scaling_sweep.probing.subject import Subject
from scaling_sweep.spec import load_sweep
from scaling_sweep.tasks.loading import load_task
from scaling_sweep.training.preflight import inspect_task, load_sweep_task
from tests.training.cases import make_spec, train_all

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "docs" / "examples"
# Each example, the package it needs, and whether its copies can be stacked.
OWN = {
    "timm_vit:timm_vit": ("timm", True),
    "hugging_face:small_gpt2": ("transformers", True),
    "normalised:normalised": (None, False),
    "looks_at_data:looks_at_data": (None, False),
    "variable_length:variable_length": (None, True),
}


def new_task(*arguments: str) -> tuple[int, str]:
    """Run the command and return its exit status and everything it said."""
    result = CliRunner().invoke(main, ["new-task", *arguments])
    return result.exit_code, result.output


def example(name: str) -> Subject:
    """Return an example to look at, or skip the test where its package is missing."""
    package, _ = OWN[name]
    if package is not None and importlib.util.find_spec(package) is None:
        pytest.skip(f"{package} is not installed")
    return Subject(_stand_in(name, {}), load_task(name, {}, (str(EXAMPLES),)), torch.device("cpu"))


def test_a_new_task_runs_as_it_is(tmp_path: Path) -> None:
    """The written sweep file loads, and its task has the loss of chance over three classes."""
    status, text = new_task(str(tmp_path / "iris_of_mine.py"))
    sweep = load_sweep(tmp_path / "iris_of_mine.yaml")
    task = load_sweep_task(sweep)

    assert status == 0
    assert "scaling-sweep check-task" in text
    assert inspect_task(sweep, task).initial_loss == pytest.approx(math.log(3), rel=0.3)
    assert task.num_examples == 150


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    """A module or a sweep file that is there stays, and nothing else is written."""
    for name in ("a.py", "a.yaml"):
        folder = tmp_path / name.replace(".", "_")
        folder.mkdir()
        (folder / name).write_text("mine")
        status, text = new_task(str(folder / "a.py"))

        assert status == 1
        assert f"{name} exists already" in text
        assert [file.name for file in folder.iterdir()] == [name]
        assert (folder / name).read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("json.py", "installed Python module"),
        ("torch.py", "installed Python module"),
        ("my-task.py", "write for example my_task.py"),
        ("class.py", "cannot be imported"),
        ("task", "cannot be imported"),
    ],
)
def test_a_name_that_cannot_be_imported_is_refused(name: str, words: str, tmp_path: Path) -> None:
    """Names that Python would take for something else are refused in one line."""
    status, text = new_task(str(tmp_path / name))

    assert status == 1
    assert words in text
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", list(OWN))
def test_an_example_begins_near_chance_and_packs_or_not_as_it_says(name: str) -> None:
    """Each example has a sound loss, and stacks exactly when its page says so."""
    subject = example(name)
    levels = {finding.topic: finding.level for finding in look_at_loss(subject)}
    (packs,) = look_at_stacking(subject)

    assert levels["loss"] is Level.OK
    assert (packs.level is Level.OK) == OWN[name][1], packs.line()


# The transformer needs its time; the others take seconds.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "lr", "steps"),
    [(name, 0.003, 160) if "vit" in name else (name, 0.01, 40) for name in OWN],
)
def test_an_example_learns(name: str, lr: float, steps: int) -> None:
    """A short training by Adam brings its loss down in the engine that a sweep would take."""
    subject = example(name)
    spec = make_spec(["adam"], batch_sizes=[16], lrs=[lr], steps=steps)
    (result,) = train_all(spec, subject.task)

    assert result.engine == "loop" or OWN[name][1]
    # The product of two normals is the hardest: it comes down to 0.95.
    assert max(record.final_loss / record.initial_loss for record in result.records) < 0.97


def test_padding_changes_nothing() -> None:
    """The masked mean of a padded line is the plain mean over its own characters."""
    task = example("variable_length:variable_length").task
    model = task.make_model()
    assert task.dataset is not None
    items = [task.dataset[i] for i in range(5)]
    logits = model(task.collate(items)[0])

    for row, (numbers, _) in enumerate(items):
        mean = model.embedding(torch.tensor(numbers)).mean(0)
        torch.testing.assert_close(logits[row], model.layers(mean))
    assert len({len(numbers) for numbers, _ in items}) > 1


def test_gpt2_of_hugging_face_sees_no_later_token() -> None:
    """The wrapped model is causal, and functional_call finds its parameters."""
    task = example("hugging_face:small_gpt2").task
    model = task.make_model().eval()
    assert task.inputs is not None
    tokens = task.inputs[:2].clone()
    before = functional_call(model, dict(model.named_parameters()), (tokens,))
    tokens[:, -1] = (tokens[:, -1] + 1) % 50
    after = model(tokens)

    torch.testing.assert_close(before[:, :-1], after[:, :-1])


def commands() -> list[list[str]]:
    """Return the commands of the page's way from nothing to a report."""
    page = (ROOT / "docs/own_task.md").read_text()
    block = re.search(r"## From nothing to a report\n.*?```sh\n(.*?)```", page, re.DOTALL)
    assert block is not None
    lines = [line.split("#")[0].strip() for line in block[1].splitlines()]
    return [shlex.split(line) for line in lines if line]


def test_the_way_to_a_report_is_short() -> None:
    """It takes at most six commands, all of them ours."""
    assert len(commands()) <= 6
    assert {command[0] for command in commands()} == {"scaling-sweep"}


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.filterwarnings("ignore")  # Ray warns of its own future
@pytest.mark.usefixtures("_on_one_worker")
def test_from_nothing_to_a_report(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's commands, typed in an empty folder, end in a report and a recommendation."""
    monkeypatch.chdir(tmp_path)
    first, *others, last = commands()
    program = Path(sys.executable).with_name("scaling-sweep")

    subprocess.run([str(program), *first[1:]], check=True, capture_output=True)
    for command in others:
        done = CliRunner().invoke(main, command[1:], catch_exceptions=False)
        assert done.exit_code == 0, done.output
    said = subprocess.run([str(program), *last[1:]], check=True, capture_output=True, text=True)

    fit = json.loads((tmp_path / "runs/my_task/fit.json").read_text())
    assert (tmp_path / "runs/my_task/report.html").stat().st_size > 10_000
    assert fit["groups"][0]["num_trials"] == 432
    assert "train with lr" in said.stdout
    shutil.rmtree(tmp_path / "runs")
