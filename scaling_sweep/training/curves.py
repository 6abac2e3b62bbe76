"""The training loss of every copy as it goes: what is kept of it, when it was last finite."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

# A loss of fewer examples is mostly noise (method.md: peaks at B = 1, 2 have no sharp edge).
MIN_WINDOW_EXAMPLES = 64
# Enough to draw a curve; 10,000 trials then take 5 MB.
MAX_CURVE_POINTS = 64


@dataclass(frozen=True)
class Curve:
    """What is kept of one trial's training loss.

    Attributes:
        steps: Steps taken by the end of each kept window, length ``num_points``.
        losses: Mean loss over each kept window, length ``num_points``; infinite when any loss in
            it was not finite.
        peak_loss: Largest window mean.
        min_loss: Smallest window mean.
        first_nonfinite_step: First step, counted from 0, whose loss was not finite; None if none.
    """

    steps: tuple[int, ...]
    losses: tuple[float, ...]
    peak_loss: float
    min_loss: float
    first_nonfinite_step: int | None


class CurveRecorder:
    """Follows the losses of a pack on its device, without waiting for it.

    Windows are consecutive runs of steps that hold at least 64 examples; a horizon shorter than
    one window is one window.

    Args:
        num_copies: Copies in the pack.
        batch_size: Examples per step.
        num_steps: The horizon.
        device: Where the losses come from.
    """

    def __init__(
        self, num_copies: int, batch_size: int, num_steps: int, device: torch.device
    ) -> None:
        self._window = min(math.ceil(MIN_WINDOW_EXAMPLES / batch_size), num_steps)
        num_windows = num_steps // self._window
        self._stride = math.ceil(num_windows / MAX_CURVE_POINTS)
        # Float64: the sum of finite float32 losses must not overflow.
        self._sum = torch.zeros(num_copies, dtype=torch.float64, device=device)
        self._peak = torch.full_like(self._sum, -math.inf)
        self._min = torch.full_like(self._sum, math.inf)
        self._first_nonfinite = torch.full((num_copies,), -1, device=device)
        self._points: list[tuple[int, Tensor]] = []
        self._num_steps = 0

    def add(self, losses: Tensor, live: Tensor) -> None:
        """Take in the losses of one step.

        Args:
            losses: Shape ``[num_live]``.
            live: Shape ``[num_live]``, which copies they belong to; the others count as not finite.
        """
        bad = ~torch.isfinite(losses)
        first = self._first_nonfinite[live]
        self._first_nonfinite[live] = torch.where(bad & (first < 0), self._num_steps, first)
        self._sum[live] += losses.double()
        self._num_steps += 1
        if self._num_steps % self._window == 0:
            self._close_window()

    def nonfinite(self) -> Tensor:
        """Return which copies have shown a loss that is not finite, shape ``[num_copies]``."""
        return self._first_nonfinite >= 0

    def _close_window(self) -> None:
        mean = torch.where(self.nonfinite(), math.inf, self._sum / self._window)
        self._peak = torch.maximum(self._peak, mean)
        self._min = torch.minimum(self._min, mean)
        self._sum.zero_()
        index = self._num_steps // self._window
        if index % self._stride == 0:
            self._points.append((self._num_steps, mean.clone()))

    def curves(self) -> list[Curve]:
        """Return what is kept, one curve per copy."""
        steps = tuple(step for step, _ in self._points)
        # A copy that stopped being finite between two windows peaked at infinity all the same.
        peak = torch.where(self.nonfinite(), math.inf, self._peak).tolist()
        losses = (
            torch.stack([mean for _, mean in self._points], dim=1).tolist()
            if self._points
            else [[] for _ in peak]
        )
        return [
            Curve(steps, tuple(row), high, low, None if first < 0 else first)
            for row, high, low, first in zip(
                losses, peak, self._min.tolist(), self._first_nonfinite.tolist(), strict=True
            )
        ]
