"""A whole machine of a Ray cluster is lost: its raylet and all that it started, at once."""

import os
import signal
import time
from contextlib import suppress

from benchmarks.drill.comparing import check_equal
from benchmarks.drill.ground import Ground
from benchmarks.drill.outcome import check, check_time
from benchmarks.drill.processes import descendants
from benchmarks.drill.study import Begun, Study
from tests.ray_nodes import two_nodes

FAULT = "a whole Ray node killed, of two with token authentication"
DEMAND = "its packs are trained elsewhere within 60 s, no row differs"
_WITHIN_S = 60.0
# Enough for both to get some: on a busy machine one starts its worker a minute after the other.
_NUM_PACKS = 40


def drill(ground: Ground) -> str:
    """Kill the second node while it trains.

    Args:
        ground: Where.

    Returns:
        Figures.
    """
    with two_nodes() as nodes:
        study = ground.study(
            "node-killed",
            _NUM_PACKS,
            variables={"RAY_AUTH_TOKEN_PATH": str(nodes.token)},
            options=("--cluster", nodes.address, "--nodes", "2"),
        )
        with study.driven() as driver:
            driver.wait_until(lambda: len({one.node for one in study.begun()}) == 2, "both nodes")
            lost_pids = {nodes.second.pid, *descendants(nodes.second.pid)}
            lost = [one for one in study.begun() if one.pid in lost_pids][-1]
            killed_s = time.monotonic()
            for pid in lost_pids:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            driver.wait_until(lambda: study.begun_again(lost), "pack begun elsewhere")
            driver.wait_until(lambda: _is_stored(study, lost), "lost pack stored")
            seconds = time.monotonic() - killed_s
            status = driver.wait()
    check(status == 0, f"exit status {status}: {driver.stderr()}")
    num_rows = check_equal(study, ground.undisturbed(_NUM_PACKS))
    again = study.begun_again(lost)[0]
    check(again.node != lost.node, "a pack was begun on the machine that was lost")
    began = again.at_s - killed_s
    return check_time(
        seconds,
        _WITHIN_S,
        f"the lost pack began elsewhere after {began:.1f} s and was stored after {seconds:.1f} s; "
        f"{num_rows} rows equal",
    )


def _is_stored(study: Study, lost: Begun) -> bool:
    """Return whether the lost pack is stored."""
    import pandas as pd

    parts = study.out.glob("parts/*.parquet")
    return any(pd.read_parquet(part)["batch_size"].iloc[0] == lost.batch_size for part in parts)
