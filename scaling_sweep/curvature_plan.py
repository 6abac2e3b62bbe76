"""Which points and seeds a sweep's curvature is measured at, and which are still missing."""

import hashlib
import json
from dataclasses import dataclass

from scaling_sweep.planning import start_id
from scaling_sweep.spec import CurvatureSpec, SweepSpec


@dataclass(frozen=True, order=True)
class MeasuringJob:
    """One point under one seed: what is measured in one go.

    Attributes:
        step: Steps of the short training before the point; 0 where trials begin.
        seed: Replicate.
    """

    step: int
    seed: int

    @property
    def name(self) -> str:
        """The job as part of a file's name."""
        return f"step-{self.step}.seed-{self.seed}"


def plan_measuring(spec: SweepSpec) -> tuple[MeasuringJob, ...]:
    """Return every point under every seed, points in the order of training.

    Args:
        spec: The sweep; its section ``curvature``, or the defaults.

    Returns:
        The jobs, seed 0 of every point first.

    Example:
        >>> spec = SweepSpec.model_validate({
        ...     "name": "tiny", "task": "digits_mlp", "seeds": 1, "horizon": {"steps": 30},
        ...     "curvature": {"points": ["init", 100]},
        ...     "parameters": {"optimizer": {"values": ["sgd"]},
        ...                    "batch_size": {"values": [8]}, "lr": {"values": [0.1]}}})
        >>> [job.name for job in plan_measuring(spec)]
        ['step-0.seed-0', 'step-100.seed-0']
    """
    section = spec.curvature or CurvatureSpec()
    seeds = range(min(section.seeds, spec.seeds))
    return tuple(MeasuringJob(step, seed) for seed in seeds for step in section.steps)


def recipe_id(spec: SweepSpec) -> str:
    """Return what a measurement depends on, beside its point and its seed, as a short word.

    Args:
        spec: The sweep.

    Returns:
        The same word for files that would measure the same.
    """
    section = spec.curvature or CurvatureSpec()
    parts = {
        "section": section.model_dump(exclude={"points", "seeds", "max_seconds"}),
        # A learning rate that is found, not given, has to be stable up to the last point.
        "longest": section.steps[-1] if section.training.lr is None else None,
        "batch_sizes": section.choose_batch_sizes(spec.batch_sizes),
        "optimizers": [optimizer.label for optimizer in spec.optimizers],
        "where": start_id(spec),
    }
    text = json.dumps(parts, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=6).hexdigest()


def point_label(spec: SweepSpec, step: int) -> str:
    """Say where a point lies.

    Args:
        spec: The sweep.
        step: Steps of the short training before the point.

    Returns:
        ``init``, or ``start`` where trials begin at a trained point; then how far trained.
    """
    if spec.start == "init":
        return f"{step} steps" if step else "init"
    return f"start + {step} steps" if step else "start"
