"""What to run next, as pure functions of a study and the rows it has."""

from scaling_sweep.planning.cost import StepTime, SweepCost, TimedPack, estimate_cost, fit_step_time
from scaling_sweep.planning.extend import check_extends
from scaling_sweep.planning.grid import all_trials
from scaling_sweep.planning.packs import plan_packs
from scaling_sweep.planning.trials import Pack, Trial, start_id

__all__ = [
    "Pack",
    "StepTime",
    "SweepCost",
    "TimedPack",
    "Trial",
    "all_trials",
    "check_extends",
    "estimate_cost",
    "fit_step_time",
    "plan_packs",
    "start_id",
]
