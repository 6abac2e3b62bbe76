"""A trial and a pack of trials, named by what defines them."""

import hashlib
import json
from dataclasses import dataclass, fields
from functools import cached_property
from operator import attrgetter

from scaling_sweep.spec import PLAIN, OptimizerSpec, SweepSpec

# 64 bits: among a million trials two share a name with a chance below 1e-7.
_ID_BYTES = 8


@dataclass(frozen=True)
class Trial:
    """One (task, method, optimizer, batch_size, lr, seed) trained for the horizon: one row.

    The labels lose nothing, so two trials with equal labels and numbers are the same trial.

    Attributes:
        task: Label of what is trained, arguments included.
        method: Label of how a batch becomes a gradient.
        optimizer: How a gradient becomes a direction.
        batch_size: Examples per step.
        lr: Learning rate.
        seed: The replicate.
        start: Where it begins: `init` or the recipe.
        horizon: How long it trains, for example `300 steps`.
        sampling: `replacement` or `epoch`.
        sweep_seed: The study's own seed.
        damping: In place of the optimizer's own damping; None where it is not searched.
        recipe: Label of what a step does beside the optimizer.
    """

    task: str
    method: str
    optimizer: OptimizerSpec
    batch_size: int
    lr: float
    seed: int
    start: str
    horizon: str
    sampling: str
    sweep_seed: int
    damping: float | None = None
    recipe: str = PLAIN

    @property
    def searched(self) -> str:
        """The axis the trial is a point of: `damping` where it has one, else `lr`."""
        return "lr" if self.damping is None else "damping"

    @property
    def boldness(self) -> float:
        """What endangers it, up to a factor its pack-mates share: lr, or lr / damping."""
        return self.lr / (1.0 if self.damping is None else self.damping)

    @cached_property
    def trial_id(self) -> str:
        """16 hexadecimal digits that depend on all that defines the trial, on nothing else."""
        parts: dict[str, object] = {item.name: getattr(self, item.name) for item in fields(self)}
        # All hyperparameters, defaults too: a trial is another one when a default changes.
        hyperparameters = dict(self.optimizer.hyperparameters)
        if self.damping is None:
            del parts["damping"]  # trials had names before they could have a damping
        else:
            hyperparameters.pop(str(self.optimizer.damping), None)  # not the one it is trained with
        if self.recipe == PLAIN:
            del parts["recipe"]  # nor had they a recipe
        parts["optimizer"] = [self.optimizer.name, hyperparameters]
        return _digest(json.dumps(parts, sort_keys=True))


@dataclass(frozen=True)
class Pack:
    """Trials that share everything but lr, damping and seed, trained as one stacked model.

    Attributes:
        trials: At least one trial, ordered by seed, then lr, then damping.
        num_steps: Updates each trial makes if it does not diverge.
    """

    trials: tuple[Trial, ...]
    num_steps: int

    def __post_init__(self) -> None:
        """Refuse trials that cannot be stacked.

        Raises:
            ValueError: If there is no trial, or two differ in more than lr, damping and seed.
        """
        if len(self.trials) == 0 or any(
            _shared(trial) != _shared(self.trials[0]) for trial in self.trials
        ):
            raise ValueError(
                "A pack needs trials that differ only in lr, damping and seed, at least one."
            )

    @cached_property
    def pack_id(self) -> str:
        """16 hexadecimal digits that depend on the trials, not on their order."""
        return _digest(" ".join(sorted(trial.trial_id for trial in self.trials)))

    @property
    def optimizer(self) -> OptimizerSpec:
        """The optimizer of all trials."""
        return self.trials[0].optimizer

    @property
    def batch_size(self) -> int:
        """Examples per step of all trials."""
        return self.trials[0].batch_size

    @property
    def num_trials(self) -> int:
        """Trials in the pack."""
        return len(self.trials)

    @property
    def num_examples(self) -> int:
        """Examples all trials see together if none diverges."""
        return self.num_steps * self.num_trials * self.batch_size


def start_id(spec: SweepSpec) -> str:
    """Return 16 hexadecimal digits that name what all trained starts of a study depend on."""
    parts = [spec.task.label, spec.start_label, spec.sampling, spec.sweep_seed]
    return _digest(json.dumps(parts))


@dataclass(frozen=True)
class SharedKey:
    """What the trials of one pack share; a trial without lr, damping and seed.

    Attributes: as of `Trial`.
    """

    task: str
    method: str
    optimizer: OptimizerSpec
    batch_size: int
    start: str
    horizon: str
    sampling: str
    sweep_seed: int
    searched: str
    recipe: str


_shared = attrgetter(*(item.name for item in fields(SharedKey)))


def shared_key(trial: Trial) -> SharedKey:
    """Return what a trial shares with those it may be packed with."""
    return SharedKey(*_shared(trial))


def _digest(text: str) -> str:
    """Return a hash of a text, the same on every machine."""
    return hashlib.blake2b(text.encode(), digest_size=_ID_BYTES).hexdigest()
