"""Environment variables that every process which trains should start with."""

import shlex
from collections.abc import Mapping

# Ray and the C library read these when a process starts. With glibc's defaults a big pack returns
# its memory to the kernel and asks for it again at every step (measured, LOG 2026-11-20). On a GPU
# segments that grow keep packs of different sizes from leaving gaps (torch's notes on CUDA memory;
# not measured); torch reads it there only.
WORKER_ENVIRONMENT: Mapping[str, str] = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "200000000000",
    "MALLOC_TOP_PAD_": "268435456",
    "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True",
}
# Nothing about a run is sent to anybody.
QUIET = {"RAY_USAGE_STATS_ENABLED": "0"}


def exports() -> str:
    """Return a line of shell that sets them.

    Example:
        >>> exports().split()[:2]
        ['export', 'MALLOC_MMAP_MAX_=0']
    """
    pairs = {**WORKER_ENVIRONMENT, **QUIET}
    return "export " + " ".join(f"{name}={shlex.quote(value)}" for name, value in pairs.items())
