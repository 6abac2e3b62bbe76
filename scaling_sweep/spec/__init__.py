"""The sweep file: what may be asked, read and checked."""

from scaling_sweep.spec.axes import PositiveByOptimizer
from scaling_sweep.spec.curvature import CurvatureSpec, ShortTrainingSpec
from scaling_sweep.spec.grids import (
    BatchSizeRange,
    BatchSizeValues,
    PositiveRange,
    PositiveValues,
)
from scaling_sweep.spec.hyperparameters import Hyperparameter
from scaling_sweep.spec.loading import LoadedSweep, check_against_task, load_sweep, parse_sweep
from scaling_sweep.spec.models import MethodSpec, SweepSpec, TaskSpec
from scaling_sweep.spec.optimizers import OPTIMIZER_DESCRIPTIONS, OPTIMIZERS, OptimizerSpec
from scaling_sweep.spec.parameters import Parameters
from scaling_sweep.spec.recipe import PLAIN, Recipe, Schedule
from scaling_sweep.spec.search import Bisection, BisectSearch
from scaling_sweep.spec.settings import CheckSpec, Horizon, Resources, Stability, TrainedStart

__all__ = [
    "OPTIMIZERS",
    "OPTIMIZER_DESCRIPTIONS",
    "PLAIN",
    "BatchSizeRange",
    "BatchSizeValues",
    "BisectSearch",
    "Bisection",
    "CheckSpec",
    "CurvatureSpec",
    "Horizon",
    "Hyperparameter",
    "LoadedSweep",
    "MethodSpec",
    "OptimizerSpec",
    "Parameters",
    "PositiveByOptimizer",
    "PositiveRange",
    "PositiveValues",
    "Recipe",
    "Resources",
    "Schedule",
    "ShortTrainingSpec",
    "Stability",
    "SweepSpec",
    "TaskSpec",
    "TrainedStart",
    "check_against_task",
    "load_sweep",
    "parse_sweep",
]
