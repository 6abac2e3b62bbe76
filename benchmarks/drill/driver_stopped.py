"""The driver is asked to stop: Ctrl-C in a terminal, and a polite kill in the background."""

import os
import signal
import time
from collections.abc import Callable

from benchmarks.drill.comparing import check_equal, check_whole
from benchmarks.drill.ground import Ground
from benchmarks.drill.outcome import check, check_time
from benchmarks.drill.processes import wait_until_gone
from benchmarks.drill.study import Driver

FAULT = "Ctrl-C, and SIGTERM in a script's background"
DEMAND = "the run ends within 10 s, with everything finished kept"
_WITHIN_S = 10.0
_AS_INTERRUPTED = 130


def drill(ground: Ground) -> str:
    """Stop one run each way and go on.

    Args:
        ground: Where.

    Returns:
        Figures.
    """
    ignoring = ("sh", "-c", "trap '' INT; exec \"$@\"", "sh")
    ctrl_c = _stop(ground, "ctrl-c", lambda pid: os.killpg(pid, signal.SIGINT))
    sigterm = _stop(ground, "sigterm", lambda pid: os.kill(pid, signal.SIGTERM), *ignoring)
    seen = f"Ctrl-C ended it in {ctrl_c:.1f} s, SIGTERM in {sigterm:.1f} s; rows equal afterwards"
    return check_time(max(ctrl_c, sigterm), _WITHIN_S, seen)


def _stop(ground: Ground, name: str, stop: Callable[[int], None], *before: str) -> float:
    """Return how long a run took to stop."""
    study = ground.study(name)
    with study.driven(*before) as driver:
        driver.wait_for_parts(2)
        kept = study.parts()
        began = time.monotonic()
        stop(driver.process.pid)
        status = driver.wait()
        seconds = time.monotonic() - began
    _check_said(name, driver, status)
    wait_until_gone(driver.process.pid)
    check(study.parts().items() >= kept.items(), f"{name}: a finished pack was lost")
    check_whole(study)
    study.finish()
    check_equal(study, ground.undisturbed())
    return seconds


def _check_said(name: str, driver: Driver, status: int) -> None:
    check(status == _AS_INTERRUPTED, f"{name}: exit status {status}: {driver.stderr()}")
    check("Traceback" not in driver.stderr(), f"{name}: a traceback")
    check("what is finished is kept" in driver.stdout(), f"{name}: no word on how to go on")
