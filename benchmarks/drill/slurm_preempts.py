"""Slurm takes a job's machines away and gives them back: the test of CLUSTER=slurm, as a drill."""

import re
import subprocess
import sys

from benchmarks.drill.ground import Ground
from benchmarks.drill.outcome import ImpossibleError, check
from benchmarks.timing import ROOT
from tests.slurm_cluster import missing_programs

FAULT = "a Slurm job is preempted (requeued) in mid-sweep"
DEMAND = "the same job goes on, trains no pack twice and completes"
_TEST = "tests/test_clusters_slurm.py::test_a_preempted_job_goes_on_where_it_was"


def drill(ground: Ground) -> str:
    """Run the test that preempts a job of a real Slurm of two nodes.

    Args:
        ground: Not used: the test brings its own.

    Returns:
        Figures.
    """
    if missing := missing_programs():
        raise ImpossibleError(f"not installed: {', '.join(missing)} (make slurm)")
    command = [sys.executable, "-m", "pytest", "-q", "-n0", "-p", "no:cacheprovider", _TEST]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    check(done.returncode == 0, done.stdout[-500:])
    taken = re.search(r"in ([\d.]+)s", done.stdout)
    return f"requeued once, table whole; {taken[1] if taken else '?'} s in all"
