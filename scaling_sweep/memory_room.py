"""What memory lets the packs of a run be: decided once, for the place where they will train."""

import json
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scaling_sweep.clusters import Capacity, Place, find_cluster
from scaling_sweep.memory_free import free_memory, usable, usable_of_worker
from scaling_sweep.planning import MemoryRoom, most_together
from scaling_sweep.spec import LoadedSweep, SweepSpec

if TYPE_CHECKING:
    from scaling_sweep.tasks.task import Task
    from scaling_sweep.training.preflight import TaskFacts

# Less than any GPU for training has free; what fits here by a guess fits there (a guess).
_SMALL_GPU_BYTES = 4 * 2**30


def room_on_cpus(
    sweep: LoadedSweep, task: "Task", facts: "TaskFacts", free: int | None
) -> MemoryRoom | None:
    """Say what main memory lets packs be.

    Args:
        sweep: The sweep and its file.
        task: Its task.
        facts: What the task turned out to be.
        free: What each worker finds free, in bytes; None where nobody says.

    Returns:
        The room; None where the file says itself how large packs are, or no limit is known.
    """
    from scaling_sweep.probing.room import find_room

    resources = sweep.spec.resources
    data = sum(part.nbytes for part in (task.inputs, task.targets) if part is not None)
    num_bytes = usable_of_worker(resources, free, data)
    if resources.max_trials_per_pack is not None or num_bytes is None:
        return None
    return find_room(sweep, task, facts, num_bytes)


def room_on_gpus(
    sweep: LoadedSweep,
    task: "Task",
    facts: "TaskFacts",
    look: Callable[[], MemoryRoom | None],
) -> MemoryRoom | None:
    """Say what the memory of GPUs lets packs be.

    Args:
        sweep: The sweep and its file.
        task: Its task.
        facts: What the task turned out to be.
        look: Looks at the GPU that a pack gets; None where there is none to look at. Not called
            where packs fit into any GPU by a guess.

    Returns:
        The room; None where the file says itself how large packs are, or nobody could look.
    """
    import torch

    from scaling_sweep.probing.room import guess_room
    from scaling_sweep.probing.subject import Subject

    resources = sweep.spec.resources
    if resources.max_trials_per_pack is not None:
        return None
    small = usable(int(min(1.0, resources.gpus) * _SMALL_GPU_BYTES))
    guessed = guess_room(Subject(sweep, task, torch.device("cpu")), facts, small)
    wanted = most_together(sweep.spec, facts.max_trials_per_pack)
    return guessed if guessed.holds(wanted, sweep.spec.batch_sizes) else look()


def room_of_run(
    sweep: LoadedSweep, task: "Task", facts: "TaskFacts", capacity: Capacity, cluster: str
) -> MemoryRoom | None:
    """Say what memory lets packs be on the connected Ray.

    Args:
        sweep: The sweep and its file.
        task: Its task.
        facts: What the task turned out to be.
        capacity: What the cluster offers.
        cluster: What ``CLUSTER=`` named.

    Returns:
        The room; None where it is not known, or the cluster cannot hold a single pack.
    """
    resources = sweep.spec.resources
    num_workers = capacity.num_packs(resources.cpus, resources.gpus)
    if num_workers < 1:
        return None
    if find_cluster(cluster) == Place("local") and not resources.gpus:
        return room_here(sweep, task, facts, num_workers)
    # Slow to import, and Ray reads its settings then.
    from scaling_sweep.driver.memory import free_of_workers, look_at_gpu
    from scaling_sweep.training.preflight import search_folders

    if not resources.gpus:
        return room_on_cpus(sweep, task, facts, free_of_workers(resources))
    look = partial(look_at_gpu, sweep, facts, search_folders(sweep))
    return room_on_gpus(sweep, task, facts, look)


def describe_room(room: MemoryRoom | None, spec: SweepSpec) -> dict[str, Any]:
    """Return what was decided as plain data, for the metadata of a run."""
    if room is None:
        return {}
    sizes = [asdict(size) for size in room.sizes(spec.batch_sizes)]
    return {"memory": {"pack_bytes": room.num_bytes, "basis": str(room.basis), "packs": sizes}}


def read_room(environment: Path) -> dict[str, Any]:
    """Return what an earlier run decided, for one that has nothing left to train.

    Args:
        environment: The run folder's ``environment.json``, which need not be there.

    Returns:
        As ``describe_room`` gave it.
    """
    try:
        told = json.loads(environment.read_text())
    except (OSError, ValueError):
        return {}
    return {key: told[key] for key in ("memory",) if isinstance(told, dict) and key in told}


def room_here(
    sweep: LoadedSweep, task: "Task", facts: "TaskFacts", num_workers: int
) -> MemoryRoom | None:
    """Say what memory lets packs be on this machine.

    Args:
        sweep: The sweep and its file.
        task: Its task.
        facts: What the task turned out to be.
        num_workers: Packs that will train at the same time.

    Returns:
        The room; None where it is not known.
    """
    if sweep.spec.resources.gpus:
        return room_on_gpus(sweep, task, facts, lambda: _look_here(sweep, task, facts))
    free = free_memory()
    return room_on_cpus(sweep, task, facts, None if free is None else free // num_workers)


def _look_here(sweep: LoadedSweep, task: "Task", facts: "TaskFacts") -> MemoryRoom | None:
    import torch

    from scaling_sweep.probing.room import find_room_on

    if not torch.cuda.is_available():
        return None
    return find_room_on(torch.device("cuda"), sweep, task, facts)
