"""What memory lets the packs of a sweep be: guessed for nothing, measured where that matters."""

from dataclasses import replace

import torch

from scaling_sweep.memory_free import free_memory, usable
from scaling_sweep.optimizers.curvature_rule import CurvatureRule
from scaling_sweep.planning import Basis, MemoryLaw, MemoryRoom, most_together
from scaling_sweep.probing.memory import (
    device_memory,
    evaluated_at_once,
    example_bytes,
    measure_memory,
    size_of_copy,
    stored_bytes,
)
from scaling_sweep.probing.stacking import obstacle_of
from scaling_sweep.probing.subject import Subject
from scaling_sweep.spec import LoadedSweep, OptimizerSpec
from scaling_sweep.tasks.task import Task
from scaling_sweep.training.preflight import TaskFacts

_CPU = torch.device("cpu")
# A step holds so many times what autograd says it keeps: 1.9 to 2.4 were measured for nets and
# convolutions, stacked; rules that differentiate twice keep more (a guess).
_PER_SAVED, _PER_SAVED_TWICE = 2.5, 8.0
# Gradients, and what the optimizer works out of them, in copies of the weights (a guess: Adam's
# kernels make two and a half, measured on the digits MLP).
_PER_WEIGHT = 3
# Evaluation keeps nothing, but holds inputs and outputs of its widest operation at once: up to
# 1.45 times what a step keeps of as many examples (measured on the digits CNN).
_PER_EVALUATED = 1.5
# Steps are tried with at least so many examples (`scaling_sweep.probing.memory`).
_PROBED_BATCH = 16


def find_room(
    sweep: LoadedSweep, task: Task, facts: TaskFacts, num_bytes: int, device: torch.device = _CPU
) -> MemoryRoom:
    """Say what memory lets packs be.

    The guess is on the safe side. It costs nothing, and nothing more is done where packs fit by it
    that are as large as they shall be; else a few small steps of each kind of optimizer are
    measured.

    Args:
        sweep: The sweep and its file.
        task: Its task.
        facts: What the task turned out to be.
        num_bytes: What a pack may be planned with.
        device: Where packs are trained.

    Returns:
        The room; a guess still where the steps that would tell do not fit or fail.
    """
    subject = Subject(sweep, task, device)
    guessed = guess_room(subject, facts, num_bytes)
    wanted = most_together(sweep.spec, facts.max_trials_per_pack)
    if guessed.holds(wanted, sweep.spec.batch_sizes) or not _can_measure(guessed, device):
        return guessed
    try:
        return replace(guessed, laws=_measure_laws(subject), basis=Basis.MEASURED)
    except Exception:  # a user's code may raise anything, and packs that do not fit are halved
        return guessed


def find_room_on(
    device: torch.device, sweep: LoadedSweep, task: Task, facts: TaskFacts
) -> MemoryRoom:
    """Say what the memory of a GPU lets packs be.

    Args:
        device: The GPU; a pack that asks for a share of one has that share of what is free.
        sweep: The sweep and its file.
        task: Its task.
        facts: What the task turned out to be.

    Returns:
        The room.
    """
    share = min(1.0, sweep.spec.resources.gpus)

    def num_bytes() -> int:
        return usable(int(share * device_memory(device)))

    room = find_room(sweep, task, facts, num_bytes(), device)
    # Once steps were taken, the libraries of the GPU have taken theirs.
    return replace(room, num_bytes=num_bytes())


def guess_room(subject: Subject, facts: TaskFacts, num_bytes: int) -> MemoryRoom:
    """Say what memory lets packs be, from the size of a copy and one forward pass.

    Args:
        subject: The task and its sweep.
        facts: What the task turned out to be.
        num_bytes: What a pack may be planned with.

    Returns:
        The room.
    """
    spec = subject.spec
    laws = {item.label: _guess_law(_with(subject, item), facts) for item in spec.optimizers}
    most = spec.resources.micro_batch
    return MemoryRoom(num_bytes, laws, Basis.GUESS, most if isinstance(most, int) else None)


def _guess_law(subject: Subject, facts: TaskFacts) -> MemoryLaw:
    size, rule, saved = size_of_copy(subject), subject.rule(), facts.saved_per_example
    twice = isinstance(rule, CurvatureRule)
    kept = rule.num_kept * size.weights if isinstance(rule, CurvatureRule) else 0
    evaluated = int(_PER_EVALUATED * evaluated_at_once(subject) * saved)
    moved = 2 * size.whole + (1 + _PER_WEIGHT) * size.weights + kept
    return MemoryLaw(
        fixed=stored_bytes(subject),
        fixed_per_example=0,
        least_per_copy=max(moved, size.whole + size.weights + evaluated),
        per_copy=moved,
        per_copy_example=int((_PER_SAVED_TWICE if twice else _PER_SAVED) * saved),
        drawn_per_example=example_bytes(subject),
    )


def _measure_laws(subject: Subject) -> dict[str, MemoryLaw]:
    """Measure one optimizer of each kind: those whose state takes as much are alike."""
    engine = "loop" if _takes_turns(subject) else "vmap"
    by_kind: dict[object, MemoryLaw] = {}
    laws = {}
    for item in subject.spec.optimizers:
        own = _with(subject, item)
        rule = own.rule()
        kind = item.label if isinstance(rule, CurvatureRule) else size_of_copy(own).state
        if kind not in by_kind:
            by_kind[kind] = measure_memory(own, engine, subject.spec.batch_sizes[-1])
        laws[item.label] = by_kind[kind]
    return laws


def _can_measure(guessed: MemoryRoom, device: torch.device) -> bool:
    """Return whether steps of two copies fit here: a driver may sit on a small machine."""
    free = device_memory(device) if device.type == "cuda" else free_memory()
    return free is None or all(
        law.peak(2, _PROBED_BATCH) < usable(free) for law in guessed.laws.values()
    )


def _takes_turns(subject: Subject) -> bool:
    engine = subject.spec.engine
    return engine == "loop" or (engine == "auto" and obstacle_of(subject) is not None)


def _with(subject: Subject, optimizer: OptimizerSpec) -> Subject:
    return replace(subject, optimizer=optimizer)
