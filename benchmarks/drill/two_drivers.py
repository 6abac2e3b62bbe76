"""A second driver is started on the same run folder."""

import time

from benchmarks.drill.comparing import check_equal
from benchmarks.drill.disk_full import check_one_line
from benchmarks.drill.ground import Ground
from benchmarks.drill.outcome import check
from benchmarks.drill.study import Driver, Study

FAULT = "two drivers on one run folder"
DEMAND = "the second is turned away in one line, the first goes on"


def drill(ground: Ground) -> str:
    """Start another while the first trains.

    Args:
        ground: Where.

    Returns:
        Figures.
    """
    study = ground.study("two-drivers")
    with study.driven() as first:
        first.wait_for_parts(1)
        seconds = _turn_away(ground, study)
        status = first.wait()
    check(status == 0, f"the first ended with status {status}: {first.stderr()}")
    num_rows = check_equal(study, ground.undisturbed())
    return f"turned away in {seconds:.1f} s; {num_rows} rows equal"


def _turn_away(ground: Ground, study: Study) -> float:
    """Return how long the second run took to be refused."""
    other = ground.study("second-driver", study.num_packs)
    other.__dict__["out"] = study.out
    began = time.monotonic()
    with other.driven() as second:
        check_one_line(Driver(other, second.process), second.wait(), "in use by another run")
    return time.monotonic() - began
