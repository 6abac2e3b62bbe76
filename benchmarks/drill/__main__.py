"""Do faults to real sweeps and write down what became of them: ``make drill``.

Each fault is done to a small sweep in processes of its own, on a Ray of its own, and the table is
compared row for row with that of an undisturbed run. What cannot be done on a machine (mounting a
small disk takes root, preempting a job takes Slurm) is said and not counted as held.

    python -m benchmarks.drill [--only NAME ...] [--kills 30] [--print-only]

Names are those of the files beside this one. The rows that are new replace those of
docs/reliability.md.
"""

import argparse
import os
import shutil
import signal
import tempfile
import time
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from types import ModuleType

from benchmarks.drill import (
    clock_jumps,
    disk_full,
    driver_killed,
    driver_stopped,
    folder_read_only,
    node_killed,
    pack_eats_memory,
    pack_hangs,
    slurm_preempts,
    two_drivers,
    worker_killed,
)
from benchmarks.drill.ground import Ground
from benchmarks.drill.outcome import (
    BrokenError,
    ImpossibleError,
    Outcome,
    TooBusyError,
    Verdict,
)
from benchmarks.drill.table import render_table, update_page

# In the order of the table.
FAULTS: dict[str, ModuleType] = {
    module.__name__.rpartition(".")[2]: module
    for module in (
        driver_killed,
        driver_stopped,
        worker_killed,
        node_killed,
        pack_hangs,
        pack_eats_memory,
        disk_full,
        folder_read_only,
        clock_jumps,
        two_drivers,
        slurm_preempts,
    )
}


def drill(name: str, ground: Ground) -> Outcome:
    """Do one fault to a sweep.

    Args:
        name: Of the fault.
        ground: Where.

    Returns:
        What became of it.
    """
    fault = FAULTS[name]
    load = os.getloadavg()[0]
    when = f"{date.today()}, load {load:.0f} on {os.cpu_count()} cores"
    try:
        seen, verdict = str(fault.drill(ground)), Verdict.HELD
    except BrokenError as error:
        seen, verdict = str(error), Verdict.BROKEN
    except ImpossibleError as error:
        seen, verdict = str(error), Verdict.SKIPPED
    except TooBusyError as error:
        seen, verdict = str(error), Verdict.UNSURE
    except Exception as error:  # the drill's own fault, or the machine's: others are drilled still
        seen, verdict = f"not drilled to the end: {error!r}", Verdict.BROKEN
    return Outcome(fault.FAULT, fault.DEMAND, seen, verdict, when)


def drill_all(names: Sequence[str], num_kills: int) -> list[Outcome]:
    """Do several faults, and say of each how it ended.

    Args:
        names: Which.
        num_kills: How often the driver is killed.

    Returns:
        What became of them.
    """
    outcomes = []
    # A short path, because sockets lie in it; kept when something broke.
    folder = Path(tempfile.mkdtemp(prefix="drill-"))
    ground = Ground(folder, num_kills)
    for name in names:
        began = time.monotonic()
        outcome = drill(name, ground)
        outcomes.append(outcome)
        seconds = time.monotonic() - began
        print(f"{name:18}{outcome.verdict:12}{outcome.seen} ({seconds:.0f} s)", flush=True)
    if any(outcome.verdict is Verdict.BROKEN for outcome in outcomes):
        print(f"Left for a look: {folder}")
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return outcomes


def main() -> int:
    """Read the options, drill, and return 1 if something did not hold."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.drill",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", nargs="+", choices=FAULTS, default=list(FAULTS))
    parser.add_argument("--kills", type=int, default=30, help="of the driver, one after the other")
    parser.add_argument("--print-only", action="store_true", help="leave docs/reliability.md alone")
    given = parser.parse_args()
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        # In the background of a script: what is started here would not hear Ctrl-C either.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    outcomes = drill_all(given.only, given.kills)
    print(f"\n{render_table(outcomes)}")
    if not given.print_only:
        update_page(outcomes, [fault.FAULT for fault in FAULTS.values()])
    return int(any(outcome.verdict is Verdict.BROKEN for outcome in outcomes))


if __name__ == "__main__":
    raise SystemExit(main())
