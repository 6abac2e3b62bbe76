"""What memory lets packs be: guessed on the safe side, measured where the guess does not do."""

from dataclasses import replace
from functools import cache
from itertools import product
from pathlib import Path

import pytest
import torch

from scaling_sweep.memory_room import describe_room, room_here, room_on_cpus, room_on_gpus
from scaling_sweep.planning import Basis, MemoryRoom
from scaling_sweep.probing import room as rooms
from scaling_sweep.probing.memory import CopySize, size_of_copy
from scaling_sweep.probing.room import find_room, find_room_on, guess_room
from scaling_sweep.probing.subject import Subject
from scaling_sweep.spec import LoadedSweep, parse_sweep
from scaling_sweep.spec.optimizers import OPTIMIZERS
from scaling_sweep.tasks.task import Task
from scaling_sweep.training.preflight import TaskFacts, inspect_task, load_sweep_task

CPU = torch.device("cpu")
MIB, GIB = 2**20, 2**30


def parsed(
    task: str = "digits_cnn", optimizers: str = "[adam]", resources: str = "{}", seeds: int = 12
) -> LoadedSweep:
    """Return a sweep of small and large batches."""
    return parse_sweep(
        f"""
name: room
task: {task}
parameters:
  optimizer: {{values: {optimizers}}}
  batch_size: {{values: [4, 128]}}
  lr: {{values: [0.01, 0.02, 0.04, 0.08]}}
seeds: {seeds}
horizon: {{steps: 20}}
resources: {resources}
""",
        Path("room.yaml"),
    )


def looked_at(sweep: LoadedSweep) -> tuple[LoadedSweep, Task, TaskFacts]:
    """Return a sweep with its task and what the task turned out to be."""
    task = load_sweep_task(sweep)
    return sweep, task, inspect_task(sweep, task)


@pytest.fixture
def unmeasured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let whoever would measure fail the test."""

    def refuse(*_: object) -> None:
        raise AssertionError("nothing had to be measured")

    monkeypatch.setattr(rooms, "_measure_laws", refuse)


NORMED, CNN = "{name: digits_mlp, args: {norm: batch}}", "digits_cnn"


@cache
def found(task: str, optimizers: str, num_bytes: int) -> MemoryRoom:
    """Return the room that is found with so much memory; where it is measured that takes time."""
    return find_room(*looked_at(parsed(task, optimizers)), num_bytes)


@pytest.mark.parametrize(
    ("task", "optimizers", "num_bytes"),
    [(NORMED, "[sgd]", 0), (CNN, "[sgd, adam, adamw]", 64 * MIB)],
)
def test_a_guess_is_on_the_safe_side(task: str, optimizers: str, num_bytes: int) -> None:
    """One forward pass tells no less than steps do, and at most three times as much."""
    sweep, built, facts = looked_at(parsed(task, optimizers))
    guessed = guess_room(Subject(sweep, built, CPU), facts, 0).laws
    measured = found(task, optimizers, num_bytes).laws

    assert guessed.keys() == measured.keys()
    for optimizer, (num_copies, batch_size) in product(guessed, ((8, 4), (8, 128), (40, 512))):
        peak = measured[optimizer].peak(num_copies, batch_size)
        assert 0.9 * peak < guessed[optimizer].peak(num_copies, batch_size) < 3 * peak


@pytest.mark.usefixtures("unmeasured")
def test_small_models_cost_nothing() -> None:
    """Where packs fit by the guess no step is taken, and packs are as large as without looking."""
    sweep, task, facts = looked_at(parsed())
    room = find_room(sweep, task, facts, 2 * GIB)

    assert room.basis is Basis.GUESS
    assert room.holds(facts.max_trials_per_pack, sweep.spec.batch_sizes)


def test_what_does_not_fit_by_a_guess_is_measured() -> None:
    """In 64 MiB go fewer copies than wanted: as many as steps say, for each kind of optimizer."""
    _, _, facts = looked_at(parsed(optimizers="[sgd, adam, adamw]"))
    room = found(CNN, "[sgd, adam, adamw]", 64 * MIB)

    assert room.basis is Basis.MEASURED
    assert list(room.laws) == ["sgd", "adam", "adamw"]
    assert room.laws["sgd"].per_copy < room.laws["adam"].per_copy
    assert room.laws["adam"] is room.laws["adamw"]
    assert 1 < room.most_copies("adam", 128) < facts.max_trials_per_pack


def test_nothing_is_tried_that_would_not_fit_here(
    monkeypatch: pytest.MonkeyPatch, unmeasured: None
) -> None:
    """A driver on a machine smaller than the workers' keeps to the guess."""
    monkeypatch.setattr(rooms, "free_memory", lambda: 4 * MIB)
    sweep, task, facts = looked_at(parsed())

    assert find_room(sweep, task, facts, 64 * MIB).basis is Basis.GUESS


def test_the_size_of_a_copy_is_counted_without_making_it() -> None:
    """For every optimizer weights, buffers and state are as many bytes as in a real copy."""
    task = "{name: digits_mlp, args: {width: 8, norm: batch}}"
    sweep, built, _ = looked_at(parsed(task, f"[{', '.join(OPTIMIZERS)}]"))

    for optimizer in sweep.spec.optimizers:
        subject = Subject(sweep, built, CPU, optimizer)
        copies = subject.copies(1)
        weights = [*copies.params.values(), *copies.buffers.values()]
        state = [value for values in copies.state.values() for value in values.values()]
        assert size_of_copy(subject) == CopySize(
            sum(value.nbytes for value in weights), sum(value.nbytes for value in state)
        )


def test_a_task_that_cannot_be_measured_is_guessed() -> None:
    """What raises in a step is left for training to report."""
    sweep, task, facts = looked_at(parsed("digits_mlp"))
    calls = [0]

    def brittle(outputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        calls[0] += 1
        raise ValueError("not with me")

    room = find_room(sweep, replace(task, loss=brittle), facts, 1 * MIB)

    assert calls[0] > 0
    assert room.basis is Basis.GUESS


def test_the_file_has_the_last_word() -> None:
    """Nothing is looked at where the sweep file says how large packs are."""
    sweep, task, facts = looked_at(parsed(resources="{max_trials_per_pack: 30}"))

    assert room_on_cpus(sweep, task, facts, 100 * MIB) is None
    assert room_here(sweep, task, facts, 1) is None


@pytest.mark.usefixtures("unmeasured")
def test_a_worker_s_limit_counts_where_it_is_less_than_what_is_free() -> None:
    """Of ``memory_gib`` and free memory the lesser, less what a worker takes; 70 % of that."""
    sweep, task, facts = looked_at(parsed("digits_mlp", resources="{memory_gib: 3}"))
    found = [room_on_cpus(sweep, task, facts, free) for free in (None, 16 * GIB, 2 * GIB)]

    sizes = [room.num_bytes / GIB for room in found if room is not None]
    assert sizes == pytest.approx([0.7 * 1.9, 0.7 * 1.9, 0.7 * 0.9], rel=0.01)


def test_nobody_knows_a_limit() -> None:
    """Without any figure there is no room to plan for, and packs are as they were."""
    sweep, task, facts = looked_at(parsed("digits_mlp"))

    assert room_on_cpus(sweep, task, facts, None) is None
    assert describe_room(None, sweep.spec) == {}


def test_what_was_decided_is_plain_data() -> None:
    """The metadata of a run say what a pack may take, on what basis, and how many that is."""
    sweep, task, facts = looked_at(parsed("digits_mlp"))
    room = room_on_cpus(sweep, task, facts, 2 * GIB)
    assert room is not None
    told = describe_room(room, sweep.spec)["memory"]

    assert told["pack_bytes"] == room.num_bytes
    assert told["basis"] == "a guess from one forward pass"
    assert told["packs"][1] == {
        "optimizer": "adam",
        "batch_size": 128,
        "most_copies": room.most_copies("adam", 128),
    }


def test_a_gpu_is_looked_at_where_packs_might_not_fit() -> None:
    """A small model fits any GPU and needs no look; a pack that takes gigabytes needs one."""
    answer = MemoryRoom(5, {}, Basis.MEASURED)
    small = looked_at(parsed("digits_mlp", resources="{gpus: 0.5}"))
    large = looked_at(parsed("{name: digits_mlp, args: {width: 1000}}", resources="{gpus: 0.5}"))

    kept = room_on_gpus(*small, lambda: answer)
    assert kept is not None
    assert kept.basis is Basis.GUESS
    assert room_on_gpus(*large, lambda: answer) is answer


def test_a_pack_on_a_share_of_a_gpu_has_that_share_of_its_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Half a GPU has half of what is free, looked at again when libraries have taken theirs."""
    free = iter([10 * GIB, 8 * GIB])
    monkeypatch.setattr(rooms, "device_memory", lambda device: next(free))
    sweep, task, facts = looked_at(parsed("digits_mlp", resources="{gpus: 0.5}"))

    # The device is a CPU here: on a GPU this was not measured.
    room = find_room_on(CPU, sweep, task, facts)

    assert room.num_bytes == pytest.approx(0.7 * 4 * GIB)
