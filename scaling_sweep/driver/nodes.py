"""Whether every machine of the cluster has what a worker needs, asked before packs go there.

A machine without the task's module would fail its packs at once and so draw more and more of them.
"""

from importlib.metadata import version
from typing import Any

import ray

from scaling_sweep.driver.failures import short_reason
from scaling_sweep.driver.workers import WorkerOrder
from scaling_sweep.errors import UserError

# A guess: importing torch from a slow shared disk takes less. Who is later is not waited for.
_PATIENCE_S = 120.0


def check_nodes(order: WorkerOrder) -> None:
    """Ask every machine but this one whether the task can be imported there.

    Args:
        order: The sweep and where its task lies.

    Raises:
        UserError: If a machine has another version of scaling-sweep, or not the task's module.
    """
    here = _node_of_driver()
    nodes = [node for node in ray.nodes() if node["Alive"] and node["Resources"].get("CPU")]
    asked = {_ask(node, order): node for node in nodes if node["NodeID"] != here}
    answered, _ = ray.wait(list(asked), num_returns=len(asked), timeout=_PATIENCE_S)
    for answer in answered:
        _judge(answer, asked[answer]["NodeManagerAddress"])


def _node_of_driver() -> str | None:
    """Return the id of the node that the driver is on; None where it is on none."""
    if ray.util.client.ray.is_connected():
        return None
    return str(ray.get_runtime_context().get_node_id())


def _ask(node: dict[str, Any], order: WorkerOrder) -> ray.ObjectRef:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
    # No cores of its own: machines that are busy with others' work answer too.
    ask = ray.remote(num_cpus=0, max_retries=0, scheduling_strategy=there)(_look)
    return ask.remote(order.spec.task.name, order.search)


def _look(name: str, search: tuple[str, ...]) -> str | UserError:
    """Import a task; runs on each machine."""
    from scaling_sweep.tasks.loading import import_task

    try:
        import_task(name, search)
    except UserError as error:
        return error
    return version("scaling-sweep")


def _judge(answer: ray.ObjectRef, address: str) -> None:
    try:
        found: str | UserError = ray.get(answer)
    except ray.exceptions.RayTaskError as error:
        raise UserError(
            f"the machine {address} cannot run scaling-sweep: {short_reason(str(error))}; "
            "install it there, in the version that is installed here"
        ) from error
    except ray.exceptions.RayError:
        return  # a machine that was just lost: its packs go elsewhere
    if isinstance(found, UserError):
        raise UserError(
            f"on the machine {address}: {found} A task's folder must lie under the same path on "
            "every machine."
        )
    if found != version("scaling-sweep"):
        raise UserError(
            f"the machine {address} has scaling-sweep {found}, here it is "
            f"{version('scaling-sweep')}; install the same version"
        )
