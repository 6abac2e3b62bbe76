"""From the word in CLUSTER=… to a Ray that packs can be sent to."""

import logging
import os
import socket
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO

from scaling_sweep.errors import UserError

# Ray and the C library read these when a process starts. With glibc's defaults a big pack returns
# its memory to the kernel and asks for it again at every step (measured, LOG 2026-11-20).
WORKER_ENVIRONMENT: Mapping[str, str] = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "200000000000",
    "MALLOC_TOP_PAD_": "268435456",
}
_QUIET_ENVIRONMENT: Mapping[str, str] = {
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_WARN_THRESHOLD_S": "60",
    "TUNE_GLOBAL_CHECKPOINT_S": "100000",
    # Its handler waits 10 s and more for busy workers to end; shutting Ray down ends them at once.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
}
_REACH_TIMEOUT_S = 2.0


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


@contextmanager
def connected(cluster: str, *, verbose: bool = False) -> Iterator[Capacity]:
    """Start Ray here, or reach one that runs, and let go of it afterwards.

    Args:
        cluster: ``local``, ``auto``, or ``host:port`` of a running Ray.
        verbose: Let Ray speak.

    Yields:
        What the cluster offers.

    Raises:
        UserError: If the cluster cannot be reached.
    """
    _check_reachable(cluster)
    # Set before Ray is imported: it reads some of them on import, and local workers inherit them.
    os.environ.update({**_QUIET_ENVIRONMENT, **WORKER_ENVIRONMENT})
    import ray

    options = {} if cluster == "local" else {"address": cluster}
    quiet = {"log_to_driver": verbose, "logging_level": "info" if verbose else "critical"}
    logging.getLogger("ray.tune").setLevel(logging.INFO if verbose else logging.CRITICAL)
    try:
        with _hushed(verbose):
            ray.init(include_dashboard=False, **options, **quiet)
    except ConnectionError as error:
        raise UserError(
            f"cannot reach the Ray cluster {cluster!r}: {str(error).splitlines()[0]}; "
            "start one with `ray start --head`, or write CLUSTER=local"
        ) from error
    try:
        resources = ray.cluster_resources()
        yield Capacity(resources.get("CPU", 0.0), resources.get("GPU", 0.0))
    finally:
        ray.shutdown()


@contextmanager
def _hushed(verbose: bool) -> Iterator[None]:
    """Keep warnings and prints of a library to itself unless asked for."""
    if verbose:
        yield
        return
    with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
        warnings.simplefilter("ignore")
        yield


def _check_reachable(cluster: str) -> None:
    """Fail within seconds where Ray itself would try for minutes."""
    if cluster in ("local", "auto"):
        return
    host, separator, port = cluster.rpartition(":")
    if not separator or not port.isdigit():
        raise UserError(
            f"unknown cluster {cluster!r}; write local, auto, or host:port of a running Ray"
        )
    try:
        socket.create_connection((host, int(port)), timeout=_REACH_TIMEOUT_S).close()
    except OSError as error:
        raise UserError(
            f"nothing answers at {cluster}: {error}; is Ray running there? "
            "Start it with `ray start --head`, or write CLUSTER=local"
        ) from None
