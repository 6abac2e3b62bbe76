"""How a step is taken beside the optimizer: clipping, schedule, precision, norms, smoothing."""

import math
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from scaling_sweep.spec.section import NUMBER, Section, refuse
from scaling_sweep.spec.settings import Horizon
from scaling_sweep.spec.wording import exact_text

PLAIN = "plain"
"""The label of a recipe that changes nothing."""

Precision = Literal["fp32", "tf32", "bf16"]
BatchNorm = Literal["running", "batch", "frozen"]
_Share = Annotated[float, Field(ge=0, le=1), NUMBER]


class Schedule(Section):
    """A factor on the trial's learning rate, the same for all trials, by the step.

    Over W steps of warm-up it climbs in equal parts from 1/W to 1; over the D steps that remain
    it stays, or falls to ``final_share``, which it would reach at the step after the last one.

    Example:
        >>> schedule = Schedule.model_validate({"warmup": {"steps": 2}, "shape": "linear"})
        >>> schedule.factors(num_steps=6, num_warmup_steps=2)
        (0.5, 1.0, 1.0, 0.75, 0.5, 0.25)
    """

    shape: Literal["constant", "cosine", "linear"] = "constant"
    """What the learning rate does after the warm-up: it stays, or falls along half a cosine or a
    straight line to `final_share`."""

    warmup: Horizon | None = Field(None, examples=[{"steps": 50}])
    """How long the learning rate climbs: `{steps: 50}`, `{epochs: 0.5}` or `{examples: 10000}`,
    shorter than the horizon; null to begin with all of it."""

    final_share: _Share = 0.0
    """What is left of the learning rate in the end, as a share of the trial's own; for `cosine`
    and `linear`."""

    @classmethod
    def expand(cls, given: object) -> object:
        """Return the mapping a bare shape stands for."""
        return {"shape": given} if isinstance(given, str) else given

    @model_validator(mode="after")
    def _check_end(self) -> Self:
        """Return the schedule, refusing an end where nothing falls."""
        if self.shape == "constant" and self.final_share != 0:
            refuse(
                f"has no meaning with shape constant, got {exact_text(self.final_share)}; "
                "write shape: cosine or shape: linear, or delete it",
                "final_share",
            )
        return self

    @property
    def is_constant(self) -> bool:
        """Whether every step has all of the learning rate."""
        return self.shape == "constant" and self.warmup is None

    @property
    def label(self) -> str:
        """The schedule in words, for example `cosine to 0.1 after 50 steps`."""
        end = "" if self.shape == "constant" else f" to {exact_text(self.final_share)}"
        begin = "" if self.warmup is None else f" after {self.warmup.label}"
        return f"{self.shape}{end}{begin}"

    def num_warmup_steps(self, batch_size: int, num_examples: int | None) -> int:
        """Return the steps of warm-up, rounded up.

        Args:
            batch_size: Examples per step.
            num_examples: Examples in the data; None when they never end.

        Returns:
            Steps; 0 without warm-up.

        Raises:
            ValueError: If epochs are asked of data that never ends.
        """
        return 0 if self.warmup is None else self.warmup.num_steps(batch_size, num_examples)

    def factors(self, num_steps: int, num_warmup_steps: int = 0) -> tuple[float, ...]:
        """Return the factor on the learning rate of every step.

        Args:
            num_steps: Steps of the horizon.
            num_warmup_steps: Steps of warm-up among them.

        Returns:
            Length ``num_steps``, each from 0 to 1.
        """
        return tuple(self._factor(step, num_steps, num_warmup_steps) for step in range(num_steps))

    def _factor(self, step: int, num_steps: int, num_warmup_steps: int) -> float:
        if step < num_warmup_steps:
            return (step + 1) / num_warmup_steps
        if self.shape == "constant":
            return 1.0
        gone = (step - num_warmup_steps) / (num_steps - num_warmup_steps)
        left = 1 - gone if self.shape == "linear" else (1 + math.cos(math.pi * gone)) / 2
        return self.final_share + (1 - self.final_share) * left


class Recipe(Section):
    """What else a step does; without it, what the optimizer's own formula says.

    Trained starts (`start:`) are trained without it, so that studies of several recipes begin at
    the same points.

    Example:
        >>> Recipe().label, Recipe(clip_norm=1.0, precision="bf16").label
        ('plain', 'clip_norm=1, precision=bf16')
    """

    clip_norm: Annotated[float, Field(gt=0), NUMBER] | None = Field(None, examples=[1.0])
    """Largest norm of a gradient over all parameters of a model; a longer one is scaled down to
    it, before the optimizer sees it and before weight decay; null for none."""

    schedule: Schedule = Schedule()
    """A factor on the learning rate by the step; `lr` is the highest learning rate."""

    precision: Precision = "fp32"
    """Numbers of the forward and backward pass in training. `fp32` leaves them as torch has them
    (cuDNN's convolutions may then use TF32 on a GPU); `tf32` lets a GPU's matrix products use it,
    too; `bf16` runs the model under autocast. Weights, gradients, the optimizer's state, the loss
    function and all of evaluation stay in fp32."""

    batch_norm: BatchNorm = "running"
    """Statistics of BatchNorm layers: `running` normalises by the batch in training and by running
    statistics in evaluation; `batch` by the batch in evaluation too (there of up to 512
    examples); `frozen` by the running statistics of the start in both, which stay as they are."""

    label_smoothing: Annotated[float, Field(ge=0, lt=1), NUMBER] = 0.0
    """Share of the target that is spread over all classes in training; evaluation is without. For
    tasks whose loss knows it: cross-entropies."""

    weight_decay: Annotated[float, Field(ge=0), NUMBER] | None = None
    """In place of every optimizer's own `weight_decay`, decoupled or not as the optimizer has it;
    null leaves each with its own."""

    @property
    def label(self) -> str:
        """What differs from the defaults, in the order of the fields; `plain` for nothing."""
        usual = Recipe()
        parts = [
            f"{name}={_in_words(getattr(self, name))}"
            for name in type(self).model_fields
            if getattr(self, name) != getattr(usual, name)
        ]
        return ", ".join(parts) or PLAIN


def _in_words(value: object) -> str:
    if isinstance(value, Schedule):
        return value.label
    return exact_text(value) if isinstance(value, int | float) else str(value)
