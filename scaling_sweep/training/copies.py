"""The stacked copies of one model that a pack trains: row k of every tensor belongs to copy k."""

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from typing import TypeAlias

import torch
from torch import Tensor, nn

from scaling_sweep.optimizers.rule import DAMPING, VALUE, State, UpdateRule

Tensors: TypeAlias = dict[str, Tensor]

_CACHE_LINE = 64  # bytes


@dataclass(frozen=True)
class Point:
    """Where a trial begins: the weights of one model.

    Attributes:
        params: Trainable tensors by name.
        buffers: The others: parameters that are frozen, BatchNorm's running statistics.
        state: The optimizer's state at that point; None to begin with a fresh one.
    """

    params: Mapping[str, Tensor]
    buffers: Mapping[str, Tensor]
    state: State | None = None

    @classmethod
    def of(cls, model: nn.Module) -> "Point":
        """Copy the weights of a model; what has ``requires_grad=False`` stays as it is."""
        params: Tensors = {}
        others: Tensors = {}
        for name, param in model.named_parameters():
            (params if param.requires_grad else others)[name] = param.detach().clone()
        others |= {name: value.detach().clone() for name, value in model.named_buffers()}
        return cls(params, others)


@dataclass(frozen=True)
class Copies:
    """``num_copies`` models in one: their values are updated in place, their number is not.

    Attributes:
        params: Shape ``[num_copies, ...]`` each.
        buffers: Shape ``[num_copies, ...]`` each.
        state: The optimizer's moments, shape ``[num_copies, ...]`` each.
        lr: Shape ``[num_copies]``, learning rates.
    """

    params: Tensors
    buffers: Tensors
    state: dict[str, Tensors]
    lr: Tensor

    def __len__(self) -> int:
        """Return the number of copies."""
        return len(self.lr)

    def at_rate(self, factor: float) -> "Copies":
        """Return the same copies, tensors shared, with learning rates times a factor."""
        return replace(self, lr=self.lr * factor)

    def turn(self, names: Set[str]) -> None:
        """Lay matrices and their moments out in memory column by column; nothing else changes.

        Args:
            names: Of the parameters; those that lie so already stay.

        Example:
            >>> copies = Copies({"w": torch.ones(2, 3, 4)}, {}, {}, torch.ones(2))
            >>> copies.turn({"w"})
            >>> copies.params["w"].stride()
            (12, 1, 3)
        """
        for values in (self.params, *self.state.values()):
            for name in names & values.keys():
                if values[name].dim() == 3 and values[name].is_contiguous():
                    values[name] = values[name].mT.contiguous().mT

    def select(self, rows: Tensor) -> "Copies":
        """Return new copies with only those rows, shape ``[num_kept]``."""
        return Copies(
            _rows(self.params, rows),
            _rows(self.buffers, rows),
            {moment: _rows(values, rows) for moment, values in self.state.items()},
            self.lr[rows],
        )


def stack_points(
    points: Sequence[Point],
    lr: Sequence[float],
    rule: UpdateRule,
    device: torch.device,
    damping: Sequence[float] | None = None,
) -> Copies:
    """Stack one point per copy.

    Args:
        points: Length ``num_copies``; points may be the same object.
        lr: Length ``num_copies``, learning rates.
        rule: Gives the optimizer's first state where a point has none.
        device: Where to train.
        damping: Length ``num_copies``, in place of the rule's own; None leaves that.

    Returns:
        The copies.

    Raises:
        ValueError: If the rule has no damping to replace.
    """
    # A point's own state comes second: what is not in it begins as usual.
    states = [{**rule.init(point.params), **(point.state or {})} for point in points]
    stacked = {moment: _stack([state[moment] for state in states], device) for moment in states[0]}
    if damping is not None:
        if DAMPING not in stacked:
            raise ValueError("The update rule has no damping, so trials cannot have their own.")
        stacked[DAMPING] = {VALUE: stacked[DAMPING][VALUE].new_tensor(damping)}
    return Copies(
        _stack([point.params for point in points], device),
        _stack([point.buffers for point in points], device),
        stacked,
        torch.tensor(lr, dtype=torch.float32, device=device),
    )


def lie_turned(grads: Mapping[str, Tensor]) -> frozenset[str]:
    """Return the names of those gradients of stacked matrices that lie in whole lines of columns.

    Under vmap those of linear layers lie column by column. Adding one to weights that lie row by
    row takes 10 to 19 times as long (48 and 96 copies of 128 × 128, one thread, LOG 2026-11-21).
    Columns that are no whole lines of the cache are left out: MKL rounds them by where a copy lies
    in the stack (a test of the layout holds that whole lines are free of it).

    Args:
        grads: Shape ``[num_copies, ...]`` each.

    Returns:
        Names.
    """
    return frozenset(
        name
        for name, grad in grads.items()
        if grad.dim() == 3 and not grad.is_contiguous() and grad.mT.is_contiguous()
        if grad.shape[1] * grad.itemsize % _CACHE_LINE == 0
    )


def point_of(copies: Copies, row: int) -> Point:
    """Return one copy as a point on the CPU, with its optimizer state."""

    def own(values: Tensors) -> Tensors:
        return {
            name: value[row].cpu().clone(memory_format=torch.contiguous_format)
            for name, value in values.items()
        }

    moments = {moment: own(values) for moment, values in copies.state.items()}
    return Point(own(copies.params), own(copies.buffers), moments)


def _rows(values: Tensors, rows: Tensor) -> Tensors:
    def picked(value: Tensor) -> Tensor:
        # `index_select` would turn it back; a single row or column lies both ways and stays.
        if value.dim() == 3 and not value.is_contiguous() and value.mT.is_contiguous():
            return value.mT.index_select(0, rows).mT
        return value.index_select(0, rows)

    return {name: picked(value) for name, value in values.items()}


def _stack(values: Sequence[Mapping[str, Tensor]], device: torch.device) -> Tensors:
    return {name: torch.stack([value[name] for value in values]).to(device) for name in values[0]}
