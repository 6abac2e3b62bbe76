"""A worker process is killed while it trains."""

import os
import signal
import time

from benchmarks.drill.comparing import check_equal
from benchmarks.drill.ground import Ground
from benchmarks.drill.outcome import check

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
        driver.wait_until(lambda: study.begun_again(victim), "pack begun again")
        status = driver.wait()
    check(status == 0, f"exit status {status}: {driver.stderr()}")
    num_rows = check_equal(study, ground.undisturbed())
    seconds = study.begun_again(victim)[0].at_s - killed_s
    return f"its pack began again after {seconds:.1f} s; {num_rows} rows equal"
