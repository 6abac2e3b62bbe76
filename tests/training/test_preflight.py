"""One look at a task before a sweep is spent on it: its size, or one line on what is wrong."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from scaling_sweep.errors import UserError
from scaling_sweep.spec import LoadedSweep
from scaling_sweep.tasks.task import Task
from scaling_sweep.training import choosing
from scaling_sweep.training.preflight import inspect_task, load_sweep_task, time_packs
from tests.run_cases import tiny_sweep
from tests.training.cases import batchnorm_net, make_spec, net_task


def inspected(task: Task, **changes: str) -> str:
    """Return the line a task is refused with."""
    sweep = tiny_sweep(changes)
    with pytest.raises(UserError) as caught:
        inspect_task(sweep, task)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("tiny.yaml:")
    return message


def failing(*_: object) -> Tensor:
    """Raise as a user's code may."""
    raise RuntimeError("mat1 and mat2 shapes cannot be multiplied\nand more")


def test_a_good_task_is_measured() -> None:
    """Examples, parameters and the loss before training are the task's own."""
    task = net_task()
    facts = inspect_task(tiny_sweep(), task)

    assert facts.num_examples == 96
    assert facts.num_parameters == 4 * 5 + 5 + 5 + 1
    assert 0 < facts.initial_loss < 10
    assert facts.max_trials_per_pack == 512


def test_a_pack_on_a_cpu_keeps_its_parameters_near() -> None:
    """A model of the digits MLP's size packs 48 to 50 copies: five mebibytes of parameters."""
    digits_sized = net_task(lambda: nn.Sequential(nn.Linear(4, 4373), nn.Linear(4373, 1)))
    facts = inspect_task(tiny_sweep(), digits_sized)

    assert facts.num_parameters == 5 * 4373 + 4374 == 26_239
    assert facts.max_trials_per_pack == 5 * 2**20 // (4 * 26_239) == 49


def test_a_pack_is_as_large_as_the_file_says() -> None:
    """The sweep file's own limit on a pack is taken as it is."""
    sweep = tiny_sweep({"seeds: 2": "seeds: 2\nresources: {max_trials_per_pack: 5}"})

    assert inspect_task(sweep, net_task()).max_trials_per_pack == 5


def test_a_large_model_makes_small_packs() -> None:
    """A pack's weights, gradients and moments fit into a gibibyte, though one trial always may."""
    medium = net_task(lambda: nn.Sequential(nn.Linear(4, 10**6), nn.Linear(10**6, 1)))
    facts = inspect_task(tiny_sweep(), medium)

    assert facts.num_parameters == 6 * 10**6 + 1
    assert facts.max_trials_per_pack == 2**30 // (20 * facts.num_parameters) == 8


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"loss": lambda o, t: (o - t).square().flatten()}, "has shape [16]; it must be the mean"),
        ({"loss": lambda o, t: (o - t).square().mean() * math.nan}, "is nan before any training"),
        ({"loss": lambda o, t: (o - t).square().mean() * math.inf}, "is inf before any training"),
        ({"loss": lambda o, t: 3.0}, "TypeError: the loss is a float; it must be a scalar tensor"),
        ({"loss": failing}, "RuntimeError: mat1 and mat2 shapes cannot be multiplied"),
        ({"make_model": failing}, "RuntimeError: mat1 and mat2"),
        ({"make_model": lambda: nn.Linear(3, 1)}, "fails on its first batch: RuntimeError"),
        ({"loss": lambda o, t: t.square().mean()}, "does not require grad"),
    ],
    ids=["vector", "nan", "inf", "float", "loss", "model", "shapes", "no-gradient"],
)
def test_a_task_that_cannot_train_is_refused_in_one_line(
    change: dict[str, Callable[..., object]], expected: str
) -> None:
    """Whatever is wrong with model, data or loss is said before Ray starts, at the task's line."""
    message = inspected(replace(net_task(), **change))

    assert expected in message
    assert message.startswith("tiny.yaml:3: ")


def test_a_batch_larger_than_the_data_is_refused() -> None:
    """Without replacement a batch cannot hold more examples than there are."""
    message = inspected(net_task(num_examples=32), **{"seeds: 2": "seeds: 2\nsampling: epoch"})

    assert "64" in message
    assert "32" in message


def test_a_sweep_file_that_names_no_task_is_told_where() -> None:
    """An unknown task is an error at its line of the file."""
    sweep: LoadedSweep = tiny_sweep({"name: digits_mlp": "name: digits_mpl"})

    with pytest.raises(UserError, match=r"tiny\.yaml:3: .*Did you mean digits_mlp"):
        load_sweep_task(sweep)


def test_the_probe_times_packs_of_different_sizes() -> None:
    """Small and large packs at small and large batches: enough points to fit a cost."""
    spec = make_spec(batch_sizes=(2, 64))
    points = time_packs(spec, net_task(), spec.optimizers[0], 6)

    sizes = {(point.num_trials, point.batch_size) for point in points}
    assert sizes == {(1, 2), (6, 2), (1, 64), (6, 64)}
    assert all(0 < point.seconds_per_step < 1 for point in points)


def test_what_the_choice_of_an_engine_timed_is_not_timed_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A step of two copies takes twice what the faster engine's probe says of one."""
    monkeypatch.setattr(
        choosing._Probe,
        "seconds_per_copy",
        lambda probe: 3.0 if probe._engine.name == "vmap" else 2.0,
    )
    spec = make_spec(batch_sizes=(2,), engine="auto")
    points = time_packs(spec, net_task(), spec.optimizers[0], 6)

    assert {point.num_trials: point.seconds_per_step for point in points} == {1: 3.0, 2: 4.0}


def test_inspecting_leaves_the_global_generator_alone() -> None:
    """A look at a task moves no random numbers of whoever looks."""
    torch.manual_seed(0)
    before = torch.get_rng_state()
    inspect_task(tiny_sweep(), net_task())

    assert torch.equal(torch.get_rng_state(), before)


def test_portions_of_a_batch_and_batch_normalisation_are_warned_of() -> None:
    """One line where statistics would be those of a portion, none where no batch is cut."""
    task = net_task(batchnorm_net)
    cut = {"seeds: 2": "seeds: 2\nresources: {micro_batch: 4}"}
    whole = {"seeds: 2": "seeds: 2\nresources: {micro_batch: 4096}"}

    (warning,) = inspect_task(tiny_sweep(cut), task).warnings
    assert warning.startswith("micro_batch: above batch size 4, BatchNorm takes its statistics")
    assert inspect_task(tiny_sweep(whole), task).warnings == ()
    assert inspect_task(tiny_sweep(cut), net_task()).warnings == ()


def test_an_optimizer_that_looks_at_curvature_takes_whole_batches() -> None:
    """Portions and curvature together are refused where the file says so."""
    changes = {"seeds: 2": "seeds: 2\nresources: {micro_batch: 4}", "[sgd]": "[cauchy]"}

    assert "looks at the curvature of whole batches; delete micro_batch" in inspected(
        net_task(), **changes
    )
