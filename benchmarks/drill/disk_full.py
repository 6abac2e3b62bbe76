"""The disk fills up while packs are stored."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks.drill.comparing import check_equal, check_whole
from benchmarks.drill.ground import Ground
from benchmarks.drill.outcome import ImpossibleError, check
from benchmarks.drill.study import Driver

FAULT = "a full disk (a small tmpfs)"
DEMAND = "one line and exit 1, nothing torn; it goes on when there is space"
# Enough for the folder's first files and some parts, of 8 to 12 KiB each.
_SIZE, _LEFT = 1 << 20, 56 << 10


def drill(ground: Ground) -> str:
    """Run into a full disk, make space, go on.

    Args:
        ground: Where.

    Returns:
        Figures.
    """
    study = ground.study("disk-full")
    study.out.mkdir()
    with _small_disk(study.out):
        ballast = study.out / "ballast"
        ballast.write_bytes(bytes(_SIZE - _LEFT))
        with study.driven() as driver:
            status = driver.wait()
        check_one_line(driver, status, "No space left on device")
        num_parts = check_whole(study)
        check(0 < num_parts < study.num_packs, f"it was full after {num_parts} packs")
        ballast.unlink()
        study.finish()
        num_rows = check_equal(study, ground.undisturbed())
    return f"stopped after {num_parts} of {study.num_packs} packs, all whole; {num_rows} rows equal"


def check_one_line(driver: Driver, status: int, what: str) -> None:
    """Demand that a run ended with exit status 1 and one line that says something.

    Args:
        driver: The run.
        status: Its exit status.
        what: What the line must hold.
    """
    lines = driver.stderr().splitlines()
    check(status == 1 and len(lines) == 1, f"exit status {status}: {driver.stderr()[-500:]}")
    check(what in lines[0], f"it said: {lines[0]}")


@contextmanager
def _small_disk(folder: Path) -> Iterator[None]:
    """Mount a small file system in memory over a folder."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        raise ImpossibleError("only root may mount a small disk")
    mount = ["mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "tmpfs", str(folder)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ImpossibleError(f"no small disk: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
