"""Trained points where trials begin, made on one worker before the packs."""

from collections.abc import Sequence

import ray

from scaling_sweep.driver.failures import short_reason
from scaling_sweep.driver.workers import MAX_RETRIES, WorkerOrder, make_worker
from scaling_sweep.errors import UserError


def train_missing_starts(order: WorkerOrder, seeds: Sequence[int]) -> dict[int, bytes]:
    """Train the starts of some seeds on one worker, together as far as memory suffices.

    Args:
        order: The sweep and where its task lies.
        seeds: Which replicates.

    Returns:
        The points as bytes, by seed.

    Raises:
        UserError: If the recipe diverges, memory does not suffice for one copy, or the worker is
            lost or takes too long.
    """
    resources = order.spec.resources

    @ray.remote(num_cpus=resources.cpus, num_gpus=resources.gpus, max_retries=MAX_RETRIES)  # type: ignore[untyped-decorator]
    def train() -> dict[int, bytes] | UserError:
        try:
            return make_worker(order).train_starts(seeds)
        except UserError as error:
            return error

    try:
        points: dict[int, bytes] | UserError = ray.get(
            train.remote(), timeout=resources.pack_timeout
        )
    except ray.exceptions.GetTimeoutError:
        raise UserError(
            f"the starts took longer than {resources.pack_timeout:g} s (resources.pack_timeout)"
        ) from None
    except ray.exceptions.RayError as error:
        raise UserError(f"the starts could not be trained: {short_reason(str(error))}") from error
    if isinstance(points, UserError):
        raise points
    return points
