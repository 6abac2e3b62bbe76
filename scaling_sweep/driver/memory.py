"""Memory where packs will train: what Ray says of machines, and what a worker sees of its GPU."""

from typing import TYPE_CHECKING

import ray

from scaling_sweep.planning import MemoryRoom
from scaling_sweep.spec import LoadedSweep, Resources

if TYPE_CHECKING:
    from scaling_sweep.training.preflight import TaskFacts

# A guess: to import torch, build the task and take a few steps. Who is later is not waited for.
_PATIENCE_S = 300.0


def free_of_workers(resources: Resources) -> int | None:
    """Return the main memory that each worker has on the machine where it has least.

    Args:
        resources: What a pack occupies.

    Returns:
        Bytes, as Ray counts what is free for tasks; None where it does not.
    """
    shares = [
        node["Resources"].get("memory", 0.0) / node["Resources"]["CPU"] * resources.cpus
        for node in ray.nodes()
        if node["Alive"] and node["Resources"].get("CPU")
    ]
    return int(min(shares)) if shares and min(shares) > 0 else None


def look_at_gpu(
    sweep: LoadedSweep, facts: "TaskFacts", search: tuple[str, ...]
) -> MemoryRoom | None:
    """Let a worker say what the memory of its GPU lets packs be.

    Args:
        sweep: The sweep and its file.
        facts: What the task turned out to be.
        search: Folders where a user's own task may lie.

    Returns:
        The room; None where no worker answers: packs that do not fit are halved all the same.
    """
    resources = sweep.spec.resources
    ask = ray.remote(num_cpus=resources.cpus, num_gpus=resources.gpus, max_retries=0)(_look)
    try:
        room: MemoryRoom | None = ray.get(ask.remote(sweep, facts, search), timeout=_PATIENCE_S)
    except ray.exceptions.RayError:
        return None
    return room


def _look(sweep: LoadedSweep, facts: "TaskFacts", search: tuple[str, ...]) -> MemoryRoom | None:
    """Look at memory; runs on a worker."""
    import torch

    from scaling_sweep.probing.room import find_room_on
    from scaling_sweep.tasks.loading import load_task

    if not torch.cuda.is_available():
        return None
    task = load_task(sweep.spec.task.name, sweep.spec.task.args, search)
    return find_room_on(torch.device("cuda"), sweep, task, facts)
