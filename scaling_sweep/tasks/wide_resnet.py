"""The wide residual networks for 32×32 images of Zagoruyko and Komodakis, arXiv:1605.07146."""

from torch import Tensor, nn

# Width of the first convolution, and of the three groups before they are widened (table 1).
_STEM_WIDTH, _GROUP_WIDTHS = 16, (16, 32, 64)


class WideBlock(nn.Module):
    """Two 3×3 convolutions, each after BatchNorm and ReLU, beside a shortcut.

    Args:
        num_inputs: Channels that come in.
        num_outputs: Channels that go out.
        stride: Of the first convolution; 2 halves the resolution.
        dropout: Share of activations set to 0 between the convolutions.
    """

    def __init__(self, num_inputs: int, num_outputs: int, stride: int, dropout: float) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(num_inputs)
        self.conv1 = nn.Conv2d(num_inputs, num_outputs, 3, stride, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(num_outputs)
        self.dropout = nn.Dropout(dropout) if dropout else nn.Identity()
        self.conv2 = nn.Conv2d(num_outputs, num_outputs, 3, 1, 1, bias=False)
        same = num_inputs == num_outputs and stride == 1
        self.shortcut = None if same else nn.Conv2d(num_inputs, num_outputs, 1, stride, bias=False)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the features, shape ``[batch_size, num_outputs, height, width]``."""
        # A shortcut that changes shape begins behind the first norm, as in the authors' code.
        active = self.norm1(inputs).relu()
        beside: Tensor = inputs if self.shortcut is None else self.shortcut(active)
        hidden = self.dropout(self.norm2(self.conv1(active)).relu())
        features: Tensor = self.conv2(hidden)
        return beside + features


def wide_resnet(
    depth: int, widen: int, num_classes: int, channels: int = 3, dropout: float = 0.0
) -> nn.Sequential:
    """Build WRN-depth-widen.

    Args:
        depth: Layers with weights: 6 n + 4, with n blocks in each of three groups.
        widen: Factor on the width of the groups.
        num_classes: Number of outputs.
        channels: Of the images.
        dropout: Share of activations set to 0 in each block.

    Returns:
        The untrained model, with weights by He's normal initialisation.

    Raises:
        ValueError: If depth is not 6 n + 4 or the network would have no width.

    Example:
        >>> model = wide_resnet(28, 10, num_classes=10)
        >>> f"{sum(param.numel() for param in model.parameters()) / 1e6:.1f} million"
        '36.5 million'
    """
    num_blocks, rest = divmod(depth - 4, 6)
    if rest or num_blocks < 1 or widen < 1:
        raise ValueError(
            f"a wide ResNet has 6 n + 4 layers and a width of 1 or more, got {depth} and {widen}; "
            "write for example wrn_28_10 or wrn_16_4"
        )
    layers: list[nn.Module] = [nn.Conv2d(channels, _STEM_WIDTH, 3, 1, 1, bias=False)]
    num_inputs = _STEM_WIDTH
    for group, width in enumerate(_GROUP_WIDTHS):
        for block in range(num_blocks):
            stride = 2 if group > 0 and block == 0 else 1
            layers.append(WideBlock(num_inputs, width * widen, stride, dropout))
            num_inputs = width * widen
    model = nn.Sequential(
        *layers,
        nn.BatchNorm2d(num_inputs),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(num_inputs, num_classes),
    )
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return model
