"""A model of timm: a small vision transformer on the digits, weights never loaded."""

import timm
from sklearn.datasets import load_digits
from torch import nn, tensor

from scaling_sweep.tasks.task import Task


def timm_vit(width: int = 32, depth: int = 2) -> Task:
    """Build the task; any name that timm.list_models() gives can stand here."""
    digits = load_digits()

    def make_model() -> nn.Module:
        model: nn.Module = timm.create_model(
            "vit_tiny_patch16_224",
            pretrained=False,
            img_size=8,
            patch_size=2,
            in_chans=1,
            num_classes=10,
            embed_dim=width,
            depth=depth,
            num_heads=2,
        )
        return model

    return Task(
        name="timm_vit",
        description=f"timm's vision transformer, {depth} blocks of width {width}, on the digits.",
        make_model=make_model,
        loss=nn.functional.cross_entropy,
        inputs=tensor(digits.images).float().unsqueeze(1) / 8 - 1,
        targets=tensor(digits.target),
    )
