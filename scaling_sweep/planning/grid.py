"""Every trial a study asks for."""

from dataclasses import dataclass

from scaling_sweep.planning.trials import Trial
from scaling_sweep.spec import OptimizerSpec, SweepSpec


def all_trials(spec: SweepSpec) -> tuple[Trial, ...]:
    """Return the trials of a study, by optimizer, batch size, seed, lr and damping, in that order.

    Args:
        spec: The study.

    Returns:
        One trial for each point of the grid and each seed.

    Example:
        >>> from scaling_sweep.spec import SweepSpec
        >>> spec = SweepSpec.model_validate({
        ...     "name": "tiny", "task": "digits_mlp", "seeds": 2, "horizon": {"steps": 30},
        ...     "parameters": {"optimizer": {"values": ["sgd"]},
        ...                    "batch_size": {"values": [1, 8]}, "lr": {"values": [0.1, 1]}}})
        >>> [(trial.batch_size, trial.seed, trial.lr) for trial in all_trials(spec)][:3]
        [(1, 0, 0.1), (1, 0, 1.0), (1, 1, 0.1)]
    """
    make = TrialMaker.of(spec).make
    return tuple(
        make(optimizer, batch_size, lr, seed, damping)
        for optimizer in spec.optimizers
        for batch_size in spec.batch_sizes
        for seed in range(spec.seeds)
        for lr in spec.lrs_for(optimizer)
        for damping in spec.dampings_for(optimizer)
    )


@dataclass(frozen=True)
class TrialMaker:
    """What all trials of a study share, worked out once: a study has thousands of them.

    Attributes: as of `Trial`.
    """

    task: str
    method: str
    start: str
    horizon: str
    sampling: str
    sweep_seed: int
    recipe: str

    @classmethod
    def of(cls, spec: SweepSpec) -> "TrialMaker":
        """Return the maker of a study's trials."""
        return cls(
            task=spec.task.label,
            method=spec.method.label,
            start=spec.start_label,
            horizon=spec.horizon.label,
            sampling=spec.sampling,
            sweep_seed=spec.sweep_seed,
            recipe=spec.recipe.label,
        )

    def make(
        self,
        optimizer: OptimizerSpec,
        batch_size: int,
        lr: float,
        seed: int,
        damping: float | None = None,
    ) -> Trial:
        """Return one trial of the study, on its grid or off it.

        Args:
            optimizer: One of its optimizers.
            batch_size: Examples per step.
            lr: Learning rate.
            seed: The replicate.
            damping: Damping; None where it is not searched.

        Returns:
            The trial.
        """
        return Trial(
            task=self.task,
            method=self.method,
            optimizer=optimizer,
            batch_size=batch_size,
            lr=lr,
            seed=seed,
            start=self.start,
            horizon=self.horizon,
            sampling=self.sampling,
            sweep_seed=self.sweep_seed,
            damping=damping,
            recipe=self.recipe,
        )
