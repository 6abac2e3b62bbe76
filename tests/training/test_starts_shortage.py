"""Out of memory while starts are trained: the stack is halved, and the points stay the same."""

import pytest
import torch
from torch import nn

from scaling_sweep.errors import UserError
from scaling_sweep.training import starts as starts_module
from scaling_sweep.training.starts import train_starts
from tests.training.cases import batchnorm_net, dropout_net, make_spec, net_task
from tests.training.test_shortage import limit

RECIPE = {"steps": 30, "optimizer": "momentum", "lr": 0.02, "batch_size": 16}
SEEDS = [0, 1, 2, 3, 4]
NO_ROOM = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.")


@pytest.mark.parametrize("most", [3, 1])
@pytest.mark.parametrize(
    ("engine", "make_model"),
    [("vmap", batchnorm_net), ("loop", batchnorm_net), ("auto", dropout_net)],
)
def test_starts_that_do_not_fit_are_trained_in_parts(
    engine: str, make_model: type[nn.Module], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Five copies where three or one fit: weights, buffers and velocity of the whole stack."""
    spec, task = make_spec(start=RECIPE, engine=engine), net_task(make_model)
    expected = train_starts(spec, task, SEEDS)
    seen = limit(monkeypatch, lambda num_copies, _: num_copies <= most, NO_ROOM)

    found = train_starts(spec, task, SEEDS)

    assert list(found) == SEEDS
    assert seen[-1] == {3: 2, 1: 1}[most]
    for seed, point in found.items():
        whole = expected[seed]
        close = {"rtol": 1e-4, "atol": 1e-6}  # float32 over 30 steps; one copy rounds otherwise
        torch.testing.assert_close(point.params, whole.params, **close)
        torch.testing.assert_close(point.buffers, whole.buffers, **close)
        torch.testing.assert_close(point.state, whole.state, **close)


def test_what_fits_is_trained_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of eight seeds where three fit, two go at a time, and none is begun again once it is done."""
    limit(monkeypatch, lambda num_copies, _: num_copies <= 3, MemoryError(), steps_before=0)
    parts: list[tuple[int, ...]] = []
    real = starts_module._train_stack

    def noted(*given: object) -> object:
        parts.append(given[3])  # type: ignore[arg-type]
        return real(*given)  # type: ignore[arg-type]

    monkeypatch.setattr(starts_module, "_train_stack", noted)
    train_starts(make_spec(start=RECIPE, engine="loop"), net_task(), range(8))

    assert [len(part) for part in parts] == [8, 4, 2, 2, 2, 2]
    assert parts[2:] == [(0, 1), (2, 3), (4, 5), (6, 7)]


@pytest.mark.parametrize("engine", ["vmap", "loop"])
def test_a_start_that_does_not_fit_alone_is_one_line(
    engine: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says how large it was, what the allocator said and what to write."""
    limit(monkeypatch, lambda *_: False, NO_ROOM)

    with pytest.raises(UserError) as caught:
        train_starts(make_spec(start=RECIPE, engine=engine), net_task(), SEEDS)

    assert str(caught.value) == (
        "start: out of memory with one copy at batch size 16 (CUDA out of memory. Tried to "
        "allocate 2 GiB.); write a smaller batch_size there, or take a smaller model"
    )


def test_other_errors_are_not_mistaken(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault of the model is raised as it is."""
    limit(monkeypatch, lambda *_: False, RuntimeError("shapes cannot be multiplied"))

    with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
        train_starts(make_spec(start=RECIPE, engine="loop"), net_task(), SEEDS)
