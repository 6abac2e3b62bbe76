"""Whether a changed sweep file only adds to the study it changes."""

from collections.abc import Callable, Hashable, Iterable

from scaling_sweep.errors import UserError
from scaling_sweep.planning.grid import all_trials
from scaling_sweep.planning.trials import Trial
from scaling_sweep.spec import SweepSpec
from scaling_sweep.spec.wording import as_yaml

_ADVICE = (
    "a run may only grow (more optimizers, batch sizes, learning rates, dampings, seeds); "
    "change it back or use another --out"
)


def check_extends(old: SweepSpec, new: SweepSpec) -> None:
    """Refuse a changed study unless it keeps every trial of the old one.

    Name, engine, resources, check and curvature define no trial and may change freely.

    Args:
        old: The study the run was begun with.
        new: The study asked for now.

    Raises:
        UserError: If a trial would be lost or judged by another definition of stable; the
            message names what changed.
    """
    if old.stability != new.stability:
        judged, judge = (as_yaml(spec.stability.model_dump()) for spec in (old, new))
        raise UserError(
            f"stability was {judged}, now {judge}: finished trials can be judged anew without "
            "running; change it back and use `scaling-sweep fit --criterion`"
        )
    for what, was, now in _definitions(old, new):
        if was != now:
            raise UserError(f"{what} was {was}, now {now}: {_ADVICE}")
    bisected = old.bisection is not None or new.bisection is not None
    # A bisection promises no trial of the searched axis: a grid may become one, and go on as one.
    lost = _lost(all_trials(old), all_trials(new), _cell if bisected else _id)
    if lost:
        raise UserError(f"{_describe(lost, old, new)}: {_ADVICE}")


def _definitions(old: SweepSpec, new: SweepSpec) -> Iterable[tuple[str, object, object]]:
    """Yield what all trials share, by its key in the file, as it was and as it is."""
    yield "task", old.task.label, new.task.label
    yield "method", old.method.label, new.method.label
    yield "horizon", old.horizon.label, new.horizon.label
    yield "sampling", old.sampling, new.sampling
    yield "recipe", old.recipe.label, new.recipe.label
    yield "start", old.start_label, new.start_label
    yield "sweep_seed", old.sweep_seed, new.sweep_seed
    yield "the searched axis", old.parameters.searched, new.parameters.searched


def _id(trial: Trial) -> Hashable:
    return trial.trial_id


def _cell(trial: Trial) -> Hashable:
    """Return what holds of a trial wherever on the searched axis it lies."""
    held = None if trial.damping is None else trial.lr
    return trial.optimizer.label, trial.batch_size, trial.seed, held


def _lost(
    old: Iterable[Trial], new: Iterable[Trial], name: Callable[[Trial], Hashable]
) -> list[Trial]:
    """Return the trials that are not asked for any more."""
    kept = {name(trial) for trial in new}
    return [trial for trial in old if name(trial) not in kept]


def _describe(lost: list[Trial], old: SweepSpec, new: SweepSpec) -> str:
    """Return the axis on which trials were lost, and what was lost from it."""
    kept = {optimizer.label for optimizer in new.optimizers}
    optimizers = [item.label for item in old.optimizers if item.label not in kept]
    if optimizers:
        return f"optimizer {', '.join(optimizers)} is gone"
    batch_sizes = sorted(set(old.batch_sizes) - set(new.batch_sizes))
    if batch_sizes:
        return f"batch_size {as_yaml(batch_sizes)} is gone"
    if old.seeds > new.seeds:
        return f"seeds was {old.seeds}, now {new.seeds}"
    first = lost[0].optimizer
    lrs = sorted(set(old.lrs_for(first)) - set(new.lrs_for(first)))
    if lrs:
        return f"lr {as_yaml(lrs)} of {first.label} is gone"
    gone = {trial.damping for trial in lost if trial.optimizer == first and trial.damping}
    return f"damping {as_yaml(sorted(gone))} of {first.label} is gone"
