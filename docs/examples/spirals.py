"""A task of one's own: tell two interleaved spirals apart."""

import math

import torch
from torch import nn

from scaling_sweep.tasks.task import Task


def spirals(num_points: int = 2000, width: int = 64) -> Task:
    """Build the task; the arguments can be set in the sweep file."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(num_points) % 2
    radius = torch.rand(num_points, generator=generator).sqrt()
    angle = 3 * math.pi * radius + math.pi * labels
    points = radius.unsqueeze(1) * torch.stack([angle.cos(), angle.sin()], dim=1)

    def make_model() -> nn.Module:
        return nn.Sequential(
            nn.Linear(2, width), nn.Tanh(), nn.Linear(width, width), nn.Tanh(), nn.Linear(width, 2)
        )

    return Task(
        name="spirals",
        description="Two interleaved spirals, a tanh perceptron.",
        make_model=make_model,
        loss=nn.functional.cross_entropy,
        inputs=3 * points,
        targets=labels,
    )
