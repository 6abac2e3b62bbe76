"""What a recipe does within one step: loss, precision, clipping, and BatchNorm's statistics.

The engines ask a treatment at each place where a recipe may differ; the plain one adds nothing
there, not even a call of torch.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import _BatchNorm
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_map

from scaling_sweep.optimizers.making import make_rule
from scaling_sweep.optimizers.rule import UpdateRule
from scaling_sweep.spec import OptimizerSpec
from scaling_sweep.spec.recipe import BatchNorm, Precision, Recipe
from scaling_sweep.tasks.task import Task

Loss = Callable[[Any, Any], Tensor]
# What autocast computes in bf16, as models call it (torch's documentation of autocast).
_PRODUCTS = frozenset(
    {
        *(functional.linear, functional.bilinear, functional.scaled_dot_product_attention),
        *(torch.conv1d, torch.conv2d, torch.conv3d),
        *(torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d),
        *(torch.matmul, torch.mm, torch.bmm, torch.addmm, torch.baddbmm),
        *(Tensor.matmul, Tensor.__matmul__, Tensor.__rmatmul__, Tensor.mm, Tensor.bmm),
    }
)
# As `torch.nn.utils.clip_grad_norm_` has it, so that a gradient of nought stays one.
_CLIP_EPS = 1e-6


@dataclass(frozen=True)
class Treatment:
    """What differs from plain training within a step; the fields of ``Recipe`` that matter there.

    Attributes:
        clip_norm: Largest norm of a copy's gradient; None for none.
        precision: ``fp32``, ``tf32`` or ``bf16``, in training.
        batch_norm: ``running``, ``batch`` or ``frozen``.
        label_smoothing: Share of the target spread over all classes, in training.
        weight_decay: In place of the optimizer's own; None leaves that.
        micro_batch: Examples of each copy that are computed at once; None for whole batches.

    Example:
        >>> Treatment.of(Recipe(clip_norm=1.0)).clip_norm
        1.0
    """

    clip_norm: float | None = None
    precision: Precision = "fp32"
    batch_norm: BatchNorm = "running"
    label_smoothing: float = 0.0
    weight_decay: float | None = None
    micro_batch: int | None = None

    @classmethod
    def of(
        cls, recipe: Recipe, micro_batch: int | None = None, batch_size: int | None = None
    ) -> "Treatment":
        """Pick from a sweep file's recipe what matters within a step.

        Args:
            recipe: What a step does beside the optimizer.
            micro_batch: Examples computed at once; None for whole batches.
            batch_size: Examples of a batch, which a larger micro-batch does not cut.

        Returns:
            The treatment.
        """
        whole = micro_batch is None or (batch_size is not None and batch_size <= micro_batch)
        return cls(
            recipe.clip_norm,
            recipe.precision,
            recipe.batch_norm,
            recipe.label_smoothing,
            recipe.weight_decay,
            None if whole else micro_batch,
        )

    def rule(self, optimizer: OptimizerSpec) -> UpdateRule:
        """Return an optimizer's update rule, with the recipe's weight decay where it has one."""
        given: dict[str, float | str] = dict(optimizer.hyperparameters)
        if self.weight_decay is not None:
            given["weight_decay"] = self.weight_decay
        return make_rule(optimizer.name, given)

    def training_loss(self, task: Task) -> Loss:
        """Return the loss that is trained.

        Raises:
            ValueError: If the task's loss knows no label smoothing.
        """
        return task.loss_with(self.label_smoothing)

    def set_mode(self, model: nn.Module, *, training: bool) -> None:
        """Put a model in training or evaluation mode, its BatchNorm layers in their own."""
        model.train(training)
        if self.batch_norm == "running":
            return
        for layer in batch_norms(model):
            layer.train(self.batch_norm == "batch")

    def computing(self, device: torch.device) -> AbstractContextManager[None]:
        """Return a context for the forward and backward pass of training."""
        return _tf32() if self.precision == "tf32" and device.type == "cuda" else nullcontext()

    def outputs(self, compute: Callable[[], Any], device: torch.device) -> Any:  # noqa: ANN401
        """Compute a model's outputs for training; whatever the precision, they come in fp32.

        Args:
            compute: The forward pass.
            device: Where it computes.

        Returns:
            What the model returns.
        """
        if self.precision != "bf16":
            return compute()
        # Without the cache of cast weights: they change between steps, and differ between copies.
        autocast = torch.autocast(device.type, torch.bfloat16, cache_enabled=False)
        with autocast, _CastBeforeStacking():
            outputs = compute()
        return tree_map(_widened, outputs)

    def portions(
        self, inputs: Tensor, targets: Tensor, dim: int
    ) -> Iterator[tuple[Tensor, Tensor, float]]:
        """Cut a batch into what is computed at once.

        Args:
            inputs: With the batch in dimension ``dim``.
            targets: The same.
            dim: 1 where copies are stacked, 0 for one copy.

        Yields:
            Inputs, targets, and their share of the batch: the shares' sum of mean losses is the
            mean loss, and of gradients the gradient.

        Example:
            >>> batch = torch.arange(5.0)
            >>> [share for _, _, share in Treatment(micro_batch=2).portions(batch, batch, 0)]
            [0.4, 0.4, 0.2]
        """
        size = inputs.shape[dim]
        most = self.micro_batch or size
        parts = zip(torch.split(inputs, most, dim), torch.split(targets, most, dim), strict=True)
        for some, labels in parts:
            yield some, labels, some.shape[dim] / size

    def clip(self, grads: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Scale each copy's gradient down to the largest norm, over all its parameters.

        Args:
            grads: Shape ``[num_copies, ...]`` each.

        Returns:
            The same shapes; the very same gradients without ``clip_norm``. A norm that is not
            finite makes what it scales NaN or 0, as torch's own clipping does.

        Example:
            >>> grads = {"w": torch.tensor([[3.0, 4.0], [0.3, 0.4]])}
            >>> Treatment(clip_norm=1.0).clip(grads)["w"]
            tensor([[0.6000, 0.8000],
                    [0.3000, 0.4000]])
        """
        if self.clip_norm is None:
            return grads
        squares = [grad.flatten(1).square().sum(1) for grad in grads.values()]
        norm = torch.stack(squares).sum(0).sqrt()
        scale = (self.clip_norm / (norm + _CLIP_EPS)).clamp(max=1.0)
        return {
            name: grad * scale.view(-1, *[1] * (grad.dim() - 1)).to(grad.dtype)
            for name, grad in grads.items()
        }


PLAIN_TREATMENT = Treatment()


def batch_norms(model: nn.Module) -> tuple[nn.Module, ...]:
    """Return the BatchNorm layers of a model, of any dimension."""
    return tuple(layer for layer in model.modules() if isinstance(layer, _BatchNorm))


def why_not_treated(recipe: Recipe, task: Task, model: nn.Module) -> tuple[str, str] | None:
    """Say which field of a recipe a task or its model cannot follow, and why.

    Args:
        recipe: What is asked.
        task: The task.
        model: One of its models.

    Returns:
        The field and a sentence; None when all can be done.
    """
    if recipe.label_smoothing:
        try:
            task.loss_with(recipe.label_smoothing)
        except ValueError as error:
            return "label_smoothing", str(error)
    if recipe.batch_norm == "running":
        return None
    layers = batch_norms(model)
    if not layers:
        reason = f"the model of task {task.name!r} has no BatchNorm layer; delete it"
        return "batch_norm", reason
    if recipe.batch_norm == "frozen" and any(layer.running_mean is None for layer in layers):
        return "batch_norm", (
            f"a BatchNorm layer of task {task.name!r} has no running statistics to freeze; "
            "write batch_norm: batch"
        )
    return None


class _CastBeforeStacking(TorchFunctionMode):
    """Casts the operands of products as autocast does, but before vmap takes them apart.

    vmap comes first, and makes of a linear layer a product and a sum, of a convolution something
    that autocast does not know: the sum, or all of it, would stay in fp32 in one engine only.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: object,
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        if func in _PRODUCTS:
            args, kwargs = tree_map(_narrowed, (args, dict(kwargs or {})))
        return func(*args, **(kwargs or {}))


def _narrowed(operand: object) -> object:
    """Return a tensor of fp32 in bf16, anything else as it is."""
    if isinstance(operand, Tensor) and operand.dtype == torch.float32:
        return operand.to(torch.bfloat16)
    return operand


def _widened(output: object) -> object:
    """Return a tensor of small floats in fp32, anything else as it is."""
    small = isinstance(output, Tensor) and output.dtype in (torch.bfloat16, torch.float16)
    return output.float() if small else output  # type: ignore[attr-defined]


@contextmanager
def _tf32() -> Iterator[None]:
    """Let a GPU's matrix products and convolutions use TF32, and set things back afterwards."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    try:
        with torch.backends.cudnn.flags(allow_tf32=True):
            yield
    finally:
        torch.set_float32_matmul_precision(before)
