"""Try a task once before a sweep is spent on it: what is wrong with it, how large it is."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from scaling_sweep.errors import UserError
from scaling_sweep.methods import METHODS
from scaling_sweep.optimizers.curvature_rule import CurvatureRule
from scaling_sweep.optimizers.making import make_rule
from scaling_sweep.planning import TimedPack
from scaling_sweep.spec import LoadedSweep, OptimizerSpec, Recipe, SweepSpec, check_against_task
from scaling_sweep.tasks.loading import load_task
from scaling_sweep.tasks.task import Task
from scaling_sweep.training.choosing import ProbeBatch, choose_and_time, time_step
from scaling_sweep.training.copies import Point, stack_points
from scaling_sweep.training.engines import LoopEngine
from scaling_sweep.training.pack import initial_model, make_batches
from scaling_sweep.training.treatment import Treatment, batch_norms, why_not_treated

# On a CPU packs gain up to about here and then lose: the parameters of 48 copies of the digits MLP
# (measured, LOG 2026-11-20). Large models are packed all the same, to keep trials of Ray few.
_CPU_PACK_BYTES, _MIN_COPIES = 5 * 2**20, 8
# A GPU is filled by more; beyond this a pack says too seldom how far it is (guesses).
_MAX_COPIES = 512
# All copies together may take this much memory for weights, gradients and moments (guess).
_MAX_PACK_BYTES = 2**30
_BYTES_PER_PARAMETER = 4 * 5
# So many copies are timed together as take this long one after the other: a person waits for a
# dozen such steps, and times grow in proportion from a few copies on (a guess).
_TIMED_S = 0.04


@dataclass(frozen=True)
class TaskFacts:
    """What a task turned out to be.

    Attributes:
        num_examples: Size of the training set; None for a stream.
        num_parameters: Trainable numbers of one model.
        initial_loss: Loss of the untrained model of seed 0 on its first batch.
        max_trials_per_pack: How many copies train well together, memory apart.
        saved_per_example: Bytes that the forward pass of an example keeps for the backward pass.
        warnings: What a user should know before the run; one line each.
    """

    num_examples: int | None
    num_parameters: int
    initial_loss: float
    max_trials_per_pack: int
    saved_per_example: int
    warnings: tuple[str, ...] = ()


def load_sweep_task(sweep: LoadedSweep) -> Task:
    """Build the task a sweep file names, with errors that point into the file.

    Args:
        sweep: The sweep and its file.

    Returns:
        The task.

    Raises:
        UserError: If it cannot be built.
    """
    try:
        return load_task(sweep.spec.task.name, sweep.spec.task.args, search_folders(sweep))
    except UserError as error:
        raise sweep.error(str(error), "task") from error


def search_folders(sweep: LoadedSweep) -> tuple[str, ...]:
    """Return where a user's own module may lie: where one started, and beside the sweep file."""
    return (str(Path.cwd()), str(sweep.path.resolve().parent))


def inspect_task(sweep: LoadedSweep, task: Task) -> TaskFacts:
    """Take one look at the task: one batch forward and back.

    Args:
        sweep: The sweep and its file.
        task: Its task.

    Returns:
        What the planner needs to know.

    Raises:
        UserError: If model, data or loss do not work together; one line that says how.
    """
    spec = sweep.spec
    check_against_task(sweep, task.num_examples)
    _check_method(sweep)
    try:
        loss, num_parameters, saved = _first_loss(spec, task)
    except UserError:
        raise
    except Exception as error:
        text = str(error).strip().splitlines() or [""]
        raise sweep.error(
            f"task {task.name!r} fails on its first batch: {type(error).__name__}: {text[0]}",
            "task",
        ) from error
    if loss.dim() != 0:
        raise sweep.error(
            f"the loss of task {task.name!r} has shape {list(loss.shape)}; "
            "it must be the mean over the batch, a scalar",
            "task",
        )
    if not torch.isfinite(loss):
        raise sweep.error(
            f"the loss of task {task.name!r} is {loss.item()} before any training; "
            "it must be finite there",
            "task",
        )
    _check_recipe(sweep, task)
    _check_curvature(sweep, task)
    return TaskFacts(
        task.num_examples,
        num_parameters,
        loss.item(),
        _max_copies(num_parameters, spec),
        saved // spec.batch_sizes[0],
        _warnings_of(spec, task),
    )


def _warnings_of(spec: SweepSpec, task: Task) -> tuple[str, ...]:
    """Say where batches computed in portions are not the batches of the file."""
    most, largest = spec.resources.micro_batch, spec.batch_sizes[-1]
    if most is None or (most != "auto" and most >= largest) or spec.recipe.batch_norm == "frozen":
        return ()
    if not batch_norms(initial_model(task, spec, 0)):
        return ()
    when = "where a batch is cut" if most == "auto" else f"above batch size {most}"
    return (
        f"micro_batch: {when}, BatchNorm takes its statistics of portions, not of the batch; "
        "GroupNorm or recipe: {batch_norm: frozen} would not",
    )


def _check_curvature(sweep: LoadedSweep, task: Task) -> None:
    """Refuse an optimizer that looks at curvature where the model has no second derivative."""
    spec, device = sweep.spec, torch.device("cpu")
    for place, optimizer in enumerate(spec.optimizers):
        rule = make_rule(optimizer.name, optimizer.hyperparameters)
        if not isinstance(rule, CurvatureRule):
            continue
        if isinstance(spec.resources.micro_batch, int):
            raise sweep.error(
                f"{optimizer.name} looks at the curvature of whole batches; delete micro_batch",
                "resources",
                "micro_batch",
            )
        model = initial_model(task, spec, 0)
        copies = stack_points([Point.of(model)], [0.0], rule, device)
        inputs, targets = make_batches(task, spec, [0], spec.batch_sizes[0], device).draw([0])
        try:
            LoopEngine(model, task, rule).step(copies, inputs, targets, [0])
        except (RuntimeError, NotImplementedError) as error:
            text = str(error).strip().splitlines() or [""]
            raise sweep.error(
                f"{optimizer.name} needs second derivatives, and task {task.name!r} has none "
                f"({text[0][:160]}); take an optimizer that needs gradients only",
                f"parameters.optimizer.values[{place}]",
            ) from error


def _check_recipe(sweep: LoadedSweep, task: Task) -> None:
    """Refuse a recipe that the task's loss or model cannot follow."""
    recipe = sweep.spec.recipe
    if recipe == Recipe():
        return
    obstacle = why_not_treated(recipe, task, initial_model(task, sweep.spec, 0))
    if obstacle is not None:
        field, reason = obstacle
        raise sweep.error(reason, "recipe", field)


def _check_method(sweep: LoadedSweep) -> None:
    known = [method.name for method in METHODS]
    if sweep.spec.method.name not in known:
        raise sweep.error(
            f"unknown method {sweep.spec.method.name!r}; known are {', '.join(known)}", "method"
        )
    if sweep.spec.method.args:
        raise sweep.error(f"method {sweep.spec.method.name} takes no args; delete them", "method")


def _first_loss(spec: SweepSpec, task: Task) -> tuple[torch.Tensor, int, int]:
    """Return the first loss, the number of parameters, and the bytes kept for the way back."""
    device = torch.device("cpu")
    model = initial_model(task, spec, 0)
    inputs, targets = make_batches(task, spec, [0], spec.batch_sizes[0], device).draw([0])
    saved = {param.untyped_storage().data_ptr(): 0 for param in model.parameters()}

    def note(kept: torch.Tensor) -> torch.Tensor:
        storage = kept.untyped_storage()
        saved.setdefault(storage.data_ptr(), storage.nbytes())
        return kept

    with torch.autograd.graph.saved_tensors_hooks(note, lambda kept: kept):
        loss = task.loss(model(inputs[0]), targets[0])
    if not isinstance(loss, torch.Tensor):
        raise TypeError(f"the loss is a {type(loss).__name__}; it must be a scalar tensor")
    if loss.dim() == 0:
        loss.backward()  # type: ignore[no-untyped-call]
    num_parameters = sum(param.numel() for param in model.parameters() if param.requires_grad)
    return loss.detach(), num_parameters, sum(saved.values())


def _max_copies(num_parameters: int, spec: SweepSpec) -> int:
    if spec.resources.max_trials_per_pack is not None:
        return spec.resources.max_trials_per_pack
    size = max(1, num_parameters)
    rules = [make_rule(item.name, item.hyperparameters) for item in spec.optimizers]
    kept = max(rule.num_kept if isinstance(rule, CurvatureRule) else 0 for rule in rules)
    fitting = _MAX_PACK_BYTES // ((_BYTES_PER_PARAMETER + 4 * kept) * size)
    fast = _MAX_COPIES if spec.resources.gpus else max(_MIN_COPIES, _CPU_PACK_BYTES // (4 * size))
    return max(1, min(fitting, fast, _MAX_COPIES))


def time_packs(
    spec: SweepSpec, task: Task, optimizer: OptimizerSpec, num_trials: int
) -> tuple[TimedPack, ...]:
    """Time one step of a few packs of different sizes and batch sizes, in seconds, on the CPU.

    Args:
        spec: The sweep.
        task: Its task.
        optimizer: Whose packs; one that looks at curvature takes many times as long as another.
        num_trials: Trials in the largest pack.

    Returns:
        Three points or more, enough for ``fit_step_time``.
    """
    sizes = sorted({spec.batch_sizes[0], spec.batch_sizes[-1]})
    with _threads_of_a_pack(spec):
        alone = [_time_pack(spec, task, optimizer, 1, size) for size in sizes]
        return (
            *alone,
            *(
                _time_pack(spec, task, optimizer, _num_timed(one, num_trials), one.batch_size)
                for one in alone
            ),
        )


def _num_timed(alone: TimedPack, num_trials: int) -> int:
    """Return how many copies to time together: fewer than the pack has where they take long."""
    affordable = int(_TIMED_S / alone.seconds_per_step)
    return max(2, min(num_trials, affordable))


@contextmanager
def _threads_of_a_pack(spec: SweepSpec) -> Iterator[None]:
    """Let torch use as many threads as a worker will."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, int(spec.resources.cpus)))
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _time_pack(
    spec: SweepSpec, task: Task, optimizer: OptimizerSpec, num_trials: int, batch_size: int
) -> TimedPack:
    device = torch.device("cpu")
    rule = make_rule(optimizer.name, optimizer.hyperparameters)
    model = initial_model(task, spec, 0)
    copies = stack_points([Point.of(model)] * num_trials, [1e-6] * num_trials, rule, device)
    inputs, targets = make_batches(task, spec, [0], batch_size, device).draw([0] * num_trials)
    batch = ProbeBatch(inputs, targets, num_steps=10**6)
    treatment = Treatment.of(spec.recipe)
    chosen = choose_and_time(spec.engine, model, task, rule, copies, batch, treatment)
    if chosen.seconds_per_copy is None:
        return TimedPack(num_trials, batch_size, time_step(chosen.engine, copies, batch))
    return TimedPack(num_trials, batch_size, num_trials * chosen.seconds_per_copy)
