"""What to run next, as pure functions of a study and the rows it has."""

from scaling_sweep.planning.cost import StepTime, SweepCost, TimedPack, estimate_cost, fit_step_time
from scaling_sweep.planning.evidence import Measurement, measurement_of, read_measurements
from scaling_sweep.planning.extend import check_extends
from scaling_sweep.planning.grid import all_trials
from scaling_sweep.planning.outcome import EdgeCount, count_edges, describe_widening
from scaling_sweep.planning.packs import plan_packs
from scaling_sweep.planning.room import Basis, MemoryLaw, MemoryRoom, PackSize, most_together
from scaling_sweep.planning.searching import PackLimits, Search, current_needs
from scaling_sweep.planning.trials import Pack, Trial, start_id

__all__ = [
    "Basis",
    "EdgeCount",
    "Measurement",
    "MemoryLaw",
    "MemoryRoom",
    "Pack",
    "PackLimits",
    "PackSize",
    "Search",
    "StepTime",
    "SweepCost",
    "TimedPack",
    "Trial",
    "all_trials",
    "check_extends",
    "count_edges",
    "current_needs",
    "describe_widening",
    "estimate_cost",
    "fit_step_time",
    "measurement_of",
    "most_together",
    "plan_packs",
    "read_measurements",
    "start_id",
]
