"""A worker process is killed while it trains."""

import os
import signal
import time

from benchmarks.drill.ground import Ground
from benchmarks.drill.outcome import check
from benchmarks.drill.study import Begun, Study, check_equal

FAULT = "worker killed (SIGKILL) in the middle of a pack"
DEMAND = "another trains its pack again, no row differs"


def drill(ground: Ground) -> str:
    """Kill a worker as soon as it trains.

    Args:
        ground: Where.

    Returns:
        Figures.
    """
    study = ground.study("worker-killed")
    with study.driven() as driver:
        driver.wait_until(study.begun, "pack begun")
        victim = study.begun()[0]
        killed_s = time.monotonic()
        os.kill(victim.pid, signal.SIGKILL)
        driver.wait_until(lambda: _again(study, victim), "pack begun again")
        status = driver.wait()
    check(status == 0, f"exit status {status}: {driver.stderr()}")
    num_rows = check_equal(study, ground.undisturbed())
    seconds = _again(study, victim)[0].at_s - killed_s
    return f"its pack began again after {seconds:.1f} s; {num_rows} rows equal"


def _again(study: Study, victim: Begun) -> list[Begun]:
    """Return where the victim's pack was begun by another worker."""
    return [
        begun
        for begun in study.begun()
        if begun.batch_size == victim.batch_size and begun.pid != victim.pid
    ]
