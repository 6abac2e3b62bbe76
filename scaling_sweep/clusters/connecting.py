"""A Ray that packs can be sent to: started here, or reached where it runs."""

import logging
import os
import threading
import warnings
from collections.abc import Iterator, Mapping
from contextlib import (
    AbstractContextManager,
    contextmanager,
    redirect_stderr,
    redirect_stdout,
    suppress,
)
from dataclasses import dataclass
from io import StringIO
from typing import Any

from scaling_sweep.clusters.preflight import CLIENT, check_cluster
from scaling_sweep.clusters.tokens import MODE, secure_local, use_token
from scaling_sweep.clusters.words import Site, find_cluster
from scaling_sweep.clusters.worker_environment import WORKER_ENVIRONMENT
from scaling_sweep.errors import UserError

_QUIET_ENVIRONMENT: Mapping[str, str] = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_WARN_THRESHOLD_S": "60",
    "TUNE_GLOBAL_CHECKPOINT_S": "100000",
    # Its handler waits 10 s and more for busy workers to end; shutting Ray down ends them at once.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # Tune's actors have an environment of their own (PL_DISABLE_FORK) and never take the workers
    # that Ray starts beforehand: those cost two cores a second each, for nothing.
    "RAY_prestart_worker_first_driver": "0",
    # Ray's client gives up after three times 5 to 15 s; a busy head has needed longer.
    "RAY_CLIENT_INITIAL_CONNECTION_TIMEOUT_S": "30",
}

# What the head of `ray://` says (Ray 2.60) when the process it starts for a client is not there.
_SERVER_DIED = ("Starting Ray client server failed", "Proxy failed to Connect")
_NUM_TRIES = 3


@dataclass(frozen=True)
class Capacity:
    """What a cluster offers.

    Attributes:
        cpus: CPU cores.
        gpus: GPUs.
    """

    cpus: float
    gpus: float

    def num_packs(self, cpus: float, gpus: float) -> int:
        """Return how many packs of that size train at the same time."""
        by_cpu = int(self.cpus / cpus + 1e-9)
        return min(by_cpu, int(self.gpus / gpus + 1e-9)) if gpus else by_cpu


def connected(cluster: str, *, verbose: bool = False) -> AbstractContextManager[Capacity]:
    """Start Ray here, or reach one that runs, and let go of it afterwards.

    What can be known beforehand is checked at once, the rest when the context is entered.

    Args:
        cluster: ``local``, ``auto``, ``host:port`` or ``ray://host:port`` of a running Ray.
        verbose: Let Ray speak.

    Returns:
        A context whose value is what the cluster offers.

    Raises:
        UserError: If the cluster cannot be reached, or is one that runs are submitted to.
    """
    place = find_cluster(cluster)
    if isinstance(place, Site):
        raise UserError(
            f"{cluster} takes whole runs; submit one with `scaling-sweep run … --cluster {cluster}`"
        )
    # Set before Ray is imported: it reads some of them on import, and local workers inherit them.
    os.environ.update({**_QUIET_ENVIRONMENT, **WORKER_ENVIRONMENT})
    options = _options(place.word, verbose)
    import ray  # noqa: F401  # before another thread imports what Ray imports too

    return _connection(cluster, options, verbose)


@contextmanager
def _connection(cluster: str, options: dict[str, Any], verbose: bool) -> Iterator[Capacity]:
    import ray

    logging.getLogger("ray.tune").setLevel(logging.INFO if verbose else logging.CRITICAL)
    quiet = {"log_to_driver": verbose, "logging_level": "info" if verbose else "critical"}
    try:
        with _hushed(verbose):
            _remind_of_token()
            _begin({**options, **quiet})
    # Ray says with a bare Exception that a node is late, with a RuntimeError that its version or
    # Python's is another one, with a ConnectionError that nobody answers.
    except Exception as error:
        raise _explain(cluster, error) from error
    try:
        resources = ray.cluster_resources()
        yield Capacity(resources.get("CPU", 0.0), resources.get("GPU", 0.0))
    finally:
        ray.shutdown()


def _begin(options: dict[str, Any]) -> None:
    """Call `ray.init`; where a head could not start the server of this client, ask again."""
    import ray

    for tries_left in reversed(range(_NUM_TRIES)):
        try:
            ray.init(**options)
            return
        except ConnectionAbortedError as error:
            # A process of its own for each client: killed, or without its port, on a full machine.
            if not tries_left or not any(words in str(error) for words in _SERVER_DIED):
                raise


def _explain(cluster: str, error: Exception) -> UserError:
    """Say in a line why there is no Ray, and what to do."""
    reason = " ".join(str(error).split())[:300] or type(error).__name__
    if cluster == "local":
        return UserError(
            f"Ray did not start on this machine: {reason}; "
            "is it very busy, or is its disk full? Run again, what is finished is kept"
        )
    return UserError(
        f"cannot reach the Ray cluster {cluster!r}: {reason}; "
        "start one with `ray start --head`, or write CLUSTER=local"
    )


def _remind_of_token() -> None:
    """Let Ray read its settings again: a task that imports Ray does so before they are made."""
    # Ray's own way when it switches tokens on by itself (2.60); elsewhere there is none to follow.
    with suppress(ImportError, AttributeError):
        from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]

        if os.environ.get(MODE, "").lower() == "token":
            Config.initialize("")
            AuthenticationTokenLoader.instance().reset_cache()


def _options(word: str, verbose: bool) -> dict[str, Any]:
    """Return what `ray.init` is called with, after asking a running cluster whether it is there."""
    if word == "local":
        secure_local()
        # By name: without it Ray would follow RAY_ADDRESS.
        return {"address": "local", "include_dashboard": False}
    address = running_address(verbose) if word == "auto" else word
    check_cluster(address)
    # What is not started here does not inherit our environment.
    variables = {**_QUIET_ENVIRONMENT, **WORKER_ENVIRONMENT}
    options: dict[str, Any] = {"address": address, "runtime_env": {"env_vars": variables}}
    return options if address.startswith(CLIENT) else {**options, "include_dashboard": False}


def running_address(verbose: bool = False) -> str:
    """Return where ``auto`` leads: RAY_ADDRESS, or the Ray that was started on this machine.

    Args:
        verbose: Let Ray speak.

    Returns:
        ``host:port``.

    Raises:
        UserError: If there is none.
    """
    use_token()
    from ray._private.services import get_ray_address_from_environment

    try:
        with _hushed(verbose):
            return str(get_ray_address_from_environment("auto", None))
    except ConnectionError:
        raise UserError(
            "no Ray runs on this machine, and RAY_ADDRESS is not set; "
            "start one with `ray start --head`, or write CLUSTER=local"
        ) from None


@contextmanager
def _hushed(verbose: bool) -> Iterator[None]:
    """Keep warnings and prints of a library to itself unless asked for."""
    # In a thread of its own it would hush the whole process; a Ray started here says nothing.
    if verbose or threading.current_thread() is not threading.main_thread():
        yield
        return
    with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        warnings.simplefilter("ignore")
        yield
