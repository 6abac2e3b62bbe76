"""The copies of a pack that still train; those that have diverged are let go."""

from dataclasses import dataclass

import torch
from torch import Tensor

from scaling_sweep.training.compaction import is_worth_dropping
from scaling_sweep.training.copies import Copies


@dataclass(frozen=True)
class Herd:
    """The copies that still train, and which trials of the pack they are.

    Attributes:
        copies: ``num_live`` stacked models.
        live: Shape ``[num_live]``, their places in the pack, on the device.
        rows: The same as a list, so that a GPU need not be asked at every step.
        steps_run: Shape ``[num_trials]``, filled in when a copy is let go.
    """

    copies: Copies
    live: Tensor
    rows: list[int]
    steps_run: Tensor

    @classmethod
    def of(cls, copies: Copies, num_steps: int) -> "Herd":
        """Begin with all copies of a pack.

        Args:
            copies: One for each trial.
            num_steps: How many steps each one takes unless it is let go.

        Returns:
            All of them, alive.
        """
        live = torch.arange(len(copies), device=copies.lr.device)
        return cls(copies, live, live.tolist(), torch.full((len(copies),), num_steps))

    def without(self, nonfinite: Tensor, step: int, num_steps: int) -> "Herd":
        """Let go of copies whose loss is no longer finite, when that saves time.

        Args:
            nonfinite: Shape ``[num_trials]``, whether a trial's loss has left the finite numbers.
            step: Steps taken.
            num_steps: Steps until the horizon.

        Returns:
            The copies that stay, or these.
        """
        dead = nonfinite[self.live]
        if not is_worth_dropping(int(dead.sum()), len(self.rows), num_steps - step):
            return self
        self.steps_run[self.live[dead].cpu()] = step
        kept = torch.nonzero(~dead).flatten()
        live = self.live[kept]
        return Herd(self.copies.select(kept), live, live.tolist(), self.steps_run)
