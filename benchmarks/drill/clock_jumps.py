"""The wall clock jumps while packs train: for the driver, for Ray and for the workers."""

import shutil
import subprocess
import sys
from pathlib import Path

from benchmarks.drill.comparing import check_equal
from benchmarks.drill.ground import Ground
from benchmarks.drill.outcome import ImpossibleError, check

FAULT = "the wall clock jumps: an hour back, two days ahead, back again"
DEMAND = "nothing is given up or trained again, no row differs"
_JUMPS_S = (-3600, 172_800, 0)
_SOURCE = Path(__file__).with_name("wall_clock.c")


def drill(ground: Ground) -> str:
    """Move the clock of all processes after each of three packs.

    Args:
        ground: Where.

    Returns:
        Figures.
    """
    offset = ground.folder / "offset"
    offset.write_text("0")
    study = ground.study(
        "clock-jumps",
        # Far beyond what a pack takes, far below the jumps.
        resources="cpus: 1, pack_timeout: 600",
        variables={
            "LD_PRELOAD": str(_build(ground.folder / "wall_clock.so")),
            "DRILL_CLOCK_OFFSET": str(offset),
        },
    )
    with study.driven() as driver:
        for num_parts, jump_s in enumerate(_JUMPS_S, start=1):
            driver.wait_for_parts(num_parts)
            offset.write_text(str(jump_s))
        status = driver.wait()
    check(status == 0, f"exit status {status}: {driver.stderr()}")
    num_begun = len(study.begun())
    check(num_begun == study.num_packs, f"{num_begun} packs begun instead of {study.num_packs}")
    num_rows = check_equal(study, ground.undisturbed())
    return f"jumps after packs 1, 2 and 3 of {study.num_packs}; {num_rows} rows equal"


def _build(library: Path) -> Path:
    """Compile the clock."""
    compiler = shutil.which("cc")
    if sys.platform != "linux" or compiler is None:
        raise ImpossibleError("moving a process's clock needs Linux and a C compiler")
    options = ["-shared", "-fPIC", "-O2", "-o", str(library), str(_SOURCE), "-ldl"]
    subprocess.run([compiler, *options], check=True)
    return library
