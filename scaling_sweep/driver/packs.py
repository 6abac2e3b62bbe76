"""All packs of a study, trained on the connected Ray."""

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import ray

from scaling_sweep.clusters import Capacity
from scaling_sweep.driver.collector import Watcher
from scaling_sweep.driver.nodes import check_nodes
from scaling_sweep.driver.relay import train_there
from scaling_sweep.driver.tuner import train_here
from scaling_sweep.driver.workers import WorkerOrder
from scaling_sweep.errors import UserError
from scaling_sweep.planning import Search
from scaling_sweep.rows import PackRows
from scaling_sweep.spec import Resources


def train_packs(
    search: Search,
    order: WorkerOrder,
    capacity: Capacity,
    store: Callable[[PackRows], None],
    watchers: Sequence[Watcher] = (),
) -> bool:
    """Train packs on the connected Ray and store each one's rows as it finishes.

    Args:
        search: Says which packs, and is asked again each time one has returned.
        order: What workers need beside.
        capacity: What the cluster offers.
        store: Stores the rows of one pack.
        watchers: Told after each pack.

    Returns:
        Whether all packs were trained or given up; False when the run was interrupted.

    Raises:
        UserError: If the cluster cannot hold one pack, a machine of it lacks the task, or rows
            cannot be stored.
    """
    at_once = _find_room(order.spec.resources, capacity)
    check_nodes(order)
    train = train_there if ray.util.client.ray.is_connected() else train_here
    with _sigterm_as_sigint():
        return train(search, order, at_once, store, watchers)


def _find_room(resources: Resources, capacity: Capacity) -> int:
    """Return how many packs train at the same time; a UserError where not even one does."""
    at_once = capacity.num_packs(resources.cpus, resources.gpus)
    if at_once < 1:
        raise UserError(
            f"a pack asks for {resources.cpus:g} CPUs and {resources.gpus:g} GPUs, the cluster has "
            f"{capacity.cpus:g} and {capacity.gpus:g}; lower resources in the sweep file"
        )
    return at_once


@contextmanager
def _sigterm_as_sigint() -> Iterator[None]:
    """Let a polite kill end the run as Ctrl-C does, with everything finished kept.

    The exception is raised here and not by way of SIGINT, which a command that was started in the
    background of a script ignores.
    """
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
