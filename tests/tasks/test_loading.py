"""From a name in a sweep file to a task, and one line for every way that fails."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scaling_sweep.errors import UserError
from scaling_sweep.tasks.builtin import BUILTIN_TASKS
from scaling_sweep.tasks.loading import load_task
from scaling_sweep.tasks.task import Task

# What the tasks say that cannot be built from what every machine has.
NEEDS_MORE = {
    "vision": "missing a required argument: 'data'",
    "mnist_cnn": "MNIST is not in",
    "cifar10_resnet18": "CIFAR10 is not in",
    "cifar100_vgg16": "CIFAR100 is not in",
    "cifar100_wrn": "CIFAR100 is not in",
    "imagenet_resnet50": "ImageNet is not in",
}
MODULE = '''
"""A user's own module."""

import torch
from torch import nn

from scaling_sweep.tasks.task import Task

number = 3


def my_task(width: int = 2) -> Task:
    if width < 1:
        raise ValueError("width must be at least 1")
    x = torch.zeros(4, width)
    return Task("mine", "My own.", lambda: nn.Linear(width, 1), nn.functional.mse_loss,
                inputs=x, targets=x[:, :1])


def not_a_task():
    return 3


ready = my_task(5)
'''


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Return a folder with a user's module in it; forget both afterwards."""
    (tmp_path / "own_module.py").write_text(MODULE)
    (tmp_path / "broken_module.py").write_text("import a_module_nobody_has\n")
    (tmp_path / "torn_module.py").write_text("def (:\n")
    (tmp_path / "angry_module.py").write_text("raise RuntimeError('no\\nnot today')\n")
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield str(tmp_path)
    for name in ("own_module", "broken_module", "torn_module", "angry_module"):
        sys.modules.pop(name, None)


def message_of(name: str, args: dict[str, object] | None = None, *search: str) -> str:
    """Return the line a name is refused with."""
    with pytest.raises(UserError) as caught:
        load_task(name, args, search)
    message = str(caught.value)
    assert "\n" not in message
    assert repr(name) in message
    return message


@pytest.mark.parametrize(
    "name", [task.name for task in BUILTIN_TASKS if task.name not in NEEDS_MORE]
)
def test_a_builtin_task_is_found_under_its_name(name: str) -> None:
    """Each listed task loads and calls itself what the list calls it."""
    assert load_task(name).name == name


@pytest.mark.parametrize("name", NEEDS_MORE)
def test_a_builtin_task_without_its_data_says_what_it_lacks(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line names what is missing."""
    monkeypatch.setenv("SCALING_SWEEP_DATA", str(tmp_path))

    assert NEEDS_MORE[name] in message_of(name)


def test_arguments_reach_the_task() -> None:
    """The args of the sweep file are the keyword arguments of the task's function."""
    model = load_task("digits_mlp", {"width": 9, "depth": 1}).make_model()

    assert [tuple(param.shape) for param in model.parameters()] == [(9, 64), (9,), (10, 9), (10,)]


def test_an_own_function_builds_a_task(folder: str) -> None:
    """A function of a module in a search folder is called with the args."""
    task = load_task("own_module:my_task", {"width": 3}, (folder,))

    assert isinstance(task, Task)
    assert task.inputs.shape == (4, 3)


def test_an_own_task_is_taken_as_it_is(folder: str) -> None:
    """An attribute that is a Task already needs no call."""
    task = load_task("own_module:ready", None, (folder,))

    assert task is sys.modules["own_module"].ready


def test_args_for_a_ready_task_are_refused(folder: str) -> None:
    """A Task takes no args; the line says so and what to name instead."""
    message = message_of("own_module:ready", {"width": 3}, folder)

    assert "takes no args, got ['width']" in message


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("digits_mpl", "Did you mean digits_mlp?"),
        ("least_square", "Did you mean least_squares?"),
        ("zebra", "Ours are digits_mlp, digits_cnn, least_squares"),
    ],
)
def test_an_unknown_name_is_answered_with_the_nearest(name: str, hint: str) -> None:
    """A slip of the pen is answered with what was meant, a stranger with what there is."""
    message = message_of(name)

    assert hint in message
    assert "package.module:attribute" in message


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("nowhere_module:task", "cannot import 'nowhere_module': ModuleNotFoundError"),
        ("broken_module:task", "No module named 'a_module_nobody_has'"),
        ("torn_module:task", "cannot import 'torn_module': SyntaxError"),
        ("angry_module:task", "cannot import 'angry_module': RuntimeError: no."),
        ("own_module:my_tusk", "has no 'my_tusk'. Did you mean own_module:my_task?"),
        ("own_module:zzz", "own_module has no 'zzz'."),
        ("own_module:number", "is a int; name a Task or a function"),
        ("own_module:not_a_task", "returned a int; it must return a"),
        ("own_module:", "has no ''."),
        (":my_task", "cannot import ''"),
    ],
)
def test_a_module_without_a_task_is_refused_in_one_line(
    folder: str, name: str, expected: str
) -> None:
    """Whatever is wrong with a user's module, one line says what."""
    assert expected in message_of(name, None, folder)


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        ({"widht": 3}, "it takes: width"),
        ({"width": 0}, "could not be built: ValueError: width must be at least 1"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(
    folder: str, args: dict[str, object], expected: str
) -> None:
    """An unknown argument is answered with the known ones, a bad value with the task's words."""
    assert expected in message_of("own_module:my_task", args, folder)


def test_a_builtin_task_refuses_an_unknown_argument() -> None:
    """Our own tasks name the arguments they take."""
    assert "it takes: width, depth" in message_of("digits_mlp", {"hidden": 3})
