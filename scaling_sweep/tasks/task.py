"""A task: what is trained, on what data, and by which loss."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset, default_collate

Batch: TypeAlias = tuple[Tensor, Tensor]
Stream: TypeAlias = Callable[[torch.Generator, int], Batch]
Collate: TypeAlias = Callable[[list[Any]], Batch]
ExactLoss: TypeAlias = Callable[[Mapping[str, Tensor]], Tensor]
SmoothedLoss: TypeAlias = Callable[[Any, Any, float], Tensor]
Transform: TypeAlias = Callable[[Tensor, Tensor, torch.Generator | None], Batch]


@dataclass(frozen=True)
class Task:
    """What is trained: a model, its data and its loss.

    The data come in one of three forms: two tensors, a map-style dataset of
    ``(input, target)`` pairs, or a stream that draws fresh samples.

    Attributes:
        name: Short name, part of the group key.
        description: One line for people.
        make_model: Builds the untrained model; draws its weights from torch's global generator,
            which the caller seeds.
        loss: ``loss(outputs, targets)``, the mean loss of a batch as a scalar tensor, in nats or
            the task's own unit.
        inputs: Shape ``[num_examples, ...]``; None unless the data are tensors.
        targets: Shape ``[num_examples, ...]``; None unless the data are tensors.
        dataset: Map-style dataset of pairs; None unless the data are a dataset.
        collate: Puts a list of the dataset's items together to inputs and targets, each of shape
            ``[num_items, ...]``; the shape must depend on the number of items only, so pad items
            of differing length to a fixed one.
        stream: ``stream(generator, batch_size)`` draws a fresh batch; None for finite data.
        exact_loss: The loss over the whole population as a function of the weights of one
            model by name, where it is known; evaluation then uses it instead of an evaluation set.
        transform: ``transform(inputs, targets, generator)`` turns a batch as it is stored,
            ``[batch_size, ...]`` and already on the device, into what model and loss take. The
            generator, on the CPU, is the trial's own; it is None where nothing may be drawn:
            in evaluation. None leaves batches as they are.
        num_workers: Processes that look up a dataset's items; 0 does it in the training one. The
            batches are the same for any number.
        tokens_per_example: Tokens in one example where the loss is a mean over tokens, so that
            batch sizes can be read in tokens too; 1 otherwise.
        smoothed_loss: ``smoothed_loss(outputs, targets, label_smoothing)``, the loss with a share
            of the target spread over all classes; needed only for a sweep's ``label_smoothing``,
            and not where ``loss`` is torch's ``cross_entropy``, which has it.
        validation: Held-out inputs and targets, each ``[num_examples, ...]``, or a map-style
            dataset of such pairs, as ``transform`` takes them; None without. They are looked at
            once, when a trial has ended; 4,096 fixed ones where there are more.
        metric: ``metric(outputs, targets)``, a mean over the examples as a scalar, of the
            validation data; None without. ``scaling_sweep.tasks.metrics`` has accuracy.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> x = torch.randn(32, 3)
        >>> task = Task("line", "A line.", lambda: nn.Linear(3, 1), nn.functional.mse_loss,
        ...             inputs=x, targets=x.sum(1, keepdim=True))
        >>> task.num_examples
        32
    """

    name: str
    description: str
    make_model: Callable[[], nn.Module]
    loss: Callable[[Any, Any], Tensor]
    inputs: Tensor | None = None
    targets: Tensor | None = None
    dataset: Dataset[Any] | None = None
    stream: Stream | None = None
    exact_loss: ExactLoss | None = None
    collate: Collate = default_collate
    transform: Transform | None = None
    num_workers: int = 0
    tokens_per_example: int = 1
    smoothed_loss: SmoothedLoss | None = None
    validation: Batch | Dataset[Any] | None = None
    metric: Callable[[Any, Any], Tensor] | None = None

    def __post_init__(self) -> None:
        """Check that the data come in exactly one form."""
        if (self.inputs is None) != (self.targets is None):
            raise ValueError(f"Task {self.name!r} must give both inputs and targets, or neither.")
        forms = [self.inputs is not None, self.dataset is not None, self.stream is not None]
        if sum(forms) != 1:
            raise ValueError(
                f"Task {self.name!r} must give its data in one form (inputs and targets, "
                f"a dataset, or a stream), got {sum(forms)}."
            )
        if self.stream is not None and self.transform is not None:
            raise ValueError(
                f"Task {self.name!r} has a stream and a transform; let the stream return what the "
                "model takes."
            )
        if self.metric is not None and self.validation is None:
            raise ValueError(
                f"Task {self.name!r} has a metric but no validation data to take it on; "
                "give validation=(inputs, targets), or a dataset."
            )
        if self.inputs is None or self.targets is None:
            return
        if len(self.inputs) != len(self.targets):
            raise ValueError(
                f"Task {self.name!r} has {len(self.inputs)} inputs "
                f"but {len(self.targets)} targets; give one target for each input."
            )

    @property
    def num_examples(self) -> int | None:
        """Size of the training set; None for a stream, which never ends."""
        if self.inputs is not None:
            return len(self.inputs)
        if self.dataset is not None:
            return len(self.dataset)  # type: ignore[arg-type]  # map-style datasets have a length
        return None

    def loss_with(self, label_smoothing: float) -> Callable[[Any, Any], Tensor]:
        """Return the loss with a share of the target spread over all classes.

        Args:
            label_smoothing: The share, in [0, 1); 0 gives ``loss`` itself.

        Returns:
            The mean loss of a batch as a function of outputs and targets.

        Raises:
            ValueError: If the task's loss knows no label smoothing.
        """
        if label_smoothing == 0:
            return self.loss
        if self.smoothed_loss is not None:
            smoothed = self.smoothed_loss
            return lambda outputs, targets: smoothed(outputs, targets, label_smoothing)
        if self.loss is nn.functional.cross_entropy:
            return partial(nn.functional.cross_entropy, label_smoothing=label_smoothing)
        raise ValueError(
            f"the loss of task {self.name!r} knows no label smoothing; delete it, or give the "
            "Task a smoothed_loss(outputs, targets, label_smoothing)"
        )

    def prepare(
        self, inputs: Tensor, targets: Tensor, generator: torch.Generator | None = None
    ) -> Batch:
        """Turn a stored batch into what model and loss take, by ``transform`` if there is one.

        Args:
            inputs: Shape ``[batch_size, ...]``, as stored.
            targets: Shape ``[batch_size, ...]``, as stored.
            generator: The trial's own, on the CPU; None to draw nothing, as evaluation does.

        Returns:
            Inputs and targets.
        """
        if self.transform is None:
            return inputs, targets
        return self.transform(inputs, targets, generator)
