"""The driver is killed again and again, at moments nobody chose."""

import random
import time

from benchmarks.drill.comparing import check_equal, check_whole
from benchmarks.drill.ground import Ground
from benchmarks.drill.outcome import check
from benchmarks.drill.processes import wait_until_gone
from benchmarks.drill.study import Driver, Study

FAULT = "driver killed (SIGKILL) at random moments, the same command each time"
DEMAND = "the table equals the undisturbed one, row for row"
_SEED = 0
# Of the moments, so many lie before the first pack of a life is stored: imports, a look at the
# task, Ray's start. The others come within this time after some pack.
_SHARE_EARLY, _WITHIN_S, _MOST_PACKS = 0.3, 2.0, 2


def drill(ground: Ground) -> str:
    """Kill, go on, and compare at the end.

    Args:
        ground: Where.

    Returns:
        Figures.
    """
    num_packs = 6 + 2 * ground.num_kills
    undisturbed = ground.undisturbed(num_packs)
    study, draw = ground.study("driver-killed", num_packs), random.Random(_SEED)
    start_s = _first_pack_s(undisturbed)
    stored_before, num_early, longest_s = 0, 0, 0.0
    for _ in range(ground.num_kills):
        before = study.parts()
        with study.driven() as driver:
            is_early = draw.random() < _SHARE_EARLY
            num_early += is_early
            if is_early:
                _pause(driver, draw.uniform(0, start_s))
            else:
                driver.wait_for_parts(len(before) + draw.randint(1, _MOST_PACKS))
                _pause(driver, draw.uniform(0, _WITHIN_S))
            driver.process.kill()
            driver.process.wait()
        check(study.parts().items() >= before.items(), "a finished pack was changed")
        longest_s = max(longest_s, wait_until_gone(driver.process.pid))
        stored_before = len(study.parts())
    study.finish()
    num_rows = check_equal(study, undisturbed)
    check_whole(study)
    return (
        f"{ground.num_kills} of {ground.num_kills} kills ({num_early} while it started), "
        f"{stored_before} of {num_packs} packs stored by then; {num_rows} rows equal; "
        f"processes of Ray were gone {longest_s:.1f} s after a kill at the latest"
    )


def _first_pack_s(study: Study) -> float:
    """Return how long a run takes until it has stored its first pack."""
    first = min(path.stat().st_mtime for path in study.out.glob("parts/*.parquet"))
    return first - (study.folder / "x.yaml").stat().st_mtime


def _pause(driver: Driver, seconds: float) -> None:
    """Wait, but not for a run that has ended."""
    deadline = time.monotonic() + seconds
    while driver.process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
