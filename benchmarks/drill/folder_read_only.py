"""The run folder can no longer be written while packs are stored."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.drill.comparing import check_equal, check_whole
from benchmarks.drill.disk_full import check_one_line
from benchmarks.drill.ground import Ground
from benchmarks.drill.outcome import ImpossibleError, check

FAULT = "the run folder turns read-only"
DEMAND = "one line and exit 1, nothing torn; it goes on once it can be written"


def drill(ground: Ground) -> str:
    """Take the right to write away in mid-sweep, give it back, go on.

    Args:
        ground: Where.

    Returns:
        Figures.
    """
    study = ground.study("read-only")
    with study.driven() as driver:
        driver.wait_for_parts(2)
        with _unwritable(study.out / "parts"):
            status = driver.wait()
    check_one_line(driver, status, "cannot write to")
    num_parts = check_whole(study)
    check(num_parts < study.num_packs, "it was not stopped")
    study.finish()
    num_rows = check_equal(study, ground.undisturbed())
    return f"stopped after {num_parts} of {study.num_packs} packs, all whole; {num_rows} rows equal"


@contextmanager
def _unwritable(folder: Path) -> Iterator[None]:
    """Make a folder one that nothing can be added to, for root too."""
    if os.geteuid() != 0:
        folder.chmod(0o500)
        try:
            yield
        finally:
            folder.chmod(0o700)
        return
    # Root ignores modes, not this attribute of the file system.
    done = subprocess.run(["chattr", "+i", folder], capture_output=True, text=True, check=False)
    if done.returncode:
        raise ImpossibleError(f"root writes everywhere here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["chattr", "-i", folder], check=True)
