"""Classifiers of images by name: torchvision's, fitted to the images, and a few it has not."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import torch
from torch import nn

from scaling_sweep.errors import UserError
from scaling_sweep.tasks.wide_resnet import wide_resnet

# Up to this height and width torchvision's stems, made for 224, leave next to nothing: 32 become
# 1 before the last stage of a ResNet. CIFAR, SVHN, MNIST and 64×64 ImageNet count as small.
SMALL_IMAGE = 64
# What a ViT's patch of 16 at 224 is at 32, about; the usual choice there.
_SMALL_PATCH = 4
# Units of VGG's two hidden layers, where 4,096 would hold more weights than all convolutions
# (as in the VGGs for CIFAR that are in use; torchvision's width is for 7×7 features).
_SMALL_VGG_WIDTH = 512
_WIDE_RESNET = re.compile(r"wrn_(\d+)_(\d+)")
_OWN = ("cnn", "cnn_bn", "wrn_28_10", "wrn_16_4")
# They halve their images too often for 32 pixels (Inception), or cut them into sevenths (MaxViT).
_LARGE_ONLY = ("inception", "maxvit")
_STEMS = ("auto", "small", "large")


@dataclass(frozen=True)
class ImageShape:
    """What a classifier takes and gives.

    Attributes:
        channels: 1 or 3.
        size: Height and width.
        num_classes: Number of labels.
    """

    channels: int
    size: int
    num_classes: int


@dataclass(frozen=True)
class SmallStem:
    """How a family begins on small images.

    Attributes:
        families: What the names of its models begin with.
        kernel_size: Of the first convolution.
        stride: Of the first convolution.
        pools: The max-pools at the beginning, which go.
    """

    families: tuple[str, ...]
    kernel_size: int = 3
    stride: int = 1
    pools: tuple[str, ...] = ()


# The first follows the ResNet paper's nets for CIFAR (arXiv:1512.03385, 4.2), the others it.
# VGG begins at full resolution as it is; ConvNeXt and Swin keep their 4×4 patches.
SMALL_STEMS = (
    SmallStem(("resnet", "resnext", "wide_resnet", "shufflenet"), pools=("maxpool",)),
    SmallStem(("densenet",), pools=("features.pool0",)),
    SmallStem(("googlenet",), pools=("maxpool1",)),
    SmallStem(("mobilenet", "mnasnet", "efficientnet", "regnet", "squeezenet")),
    SmallStem(("alexnet",), stride=2),
)


def make_classifier(
    name: str, shape: ImageShape, args: Mapping[str, Any], stem: str = "auto"
) -> Callable[[], nn.Module]:
    """Return what builds a classifier, after a dry run that needs neither memory nor time.

    Args:
        name: One of ``torchvision.models``, ``wrn_DEPTH_WIDTH``, ``cnn`` or ``cnn_bn``. Weights
            are never loaded.
        shape: What it takes and gives.
        args: Keyword arguments of that model's builder, such as ``dropout``.
        stem: How it begins: ``small`` for images of about 32 pixels, ``large`` as torchvision
            has it, ``auto`` by the images.

    Returns:
        A function that builds the model, drawing from torch's global generator.

    Raises:
        UserError: If there is no such model, it does not take the arguments or the images.

    Example:
        >>> make = make_classifier("resnet18", ImageShape(3, 32, 10), {})
        >>> make().conv1
        Conv2d(3, 64, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), bias=False)
    """
    if stem not in _STEMS:
        raise UserError(f"stem must be one of {', '.join(_STEMS)}, got {stem!r}")
    small = stem == "small" or (stem == "auto" and shape.size <= SMALL_IMAGE)
    build = _builder(name, shape, dict(args))

    def make_model() -> nn.Module:
        return fit_to_images(build(), name, shape, small=small)

    _try_out(name, make_model, shape)
    return make_model


def model_names() -> list[str]:
    """Return the names of the classifiers, torchvision's and examples of the others."""
    from torchvision import models

    return [*models.list_models(module=models), *_OWN]


def fit_to_images(model: nn.Module, name: str, shape: ImageShape, *, small: bool) -> nn.Module:
    """Change where a model of torchvision begins, so that it takes such images.

    Args:
        model: As torchvision builds it; changed in place.
        name: Its name there.
        shape: The images.
        small: Whether it shall begin as nets for 32×32 images do.

    Returns:
        The model.
    """
    if name.startswith(_OWN[:2]) or _WIDE_RESNET.fullmatch(name):
        return model
    if small:
        for stem in SMALL_STEMS:
            if name.startswith(stem.families):
                _begin_small(model, stem)
        if name.startswith("vgg"):
            _shrink_vgg(model)
        elif name.startswith("alexnet"):
            _shrink_alexnet(model)
        elif name.startswith("vit"):
            _shrink_patches(model, shape)
    place, conv = _first_conv(model)
    if conv.in_channels != shape.channels:
        model.set_submodule(place, _like(conv, in_channels=shape.channels))
    return model


def small_cnn(
    shape: ImageShape, width: int = 32, depth: int = 2, *, batch_norm: bool = False
) -> nn.Sequential:
    """Build a plain net: 3×3 convolutions, each before a ReLU and a 2×2 max-pool, and a linear map.

    Args:
        shape: What it takes and gives.
        width: Channels of the first convolution; they double from one to the next.
        depth: Number of convolutions.
        batch_norm: Whether BatchNorm follows each.

    Returns:
        The untrained model.

    Raises:
        ValueError: If width or depth is no size for such images.

    Example:
        >>> small_cnn(ImageShape(1, 28, 10))[-1]
        Linear(in_features=3136, out_features=10, bias=True)
    """
    if width < 1 or depth < 1 or shape.size >> depth < 1:
        raise ValueError(
            f"width and depth must be 1 or more, and {shape.size} pixels be halved depth times; "
            f"got width {width}, depth {depth}"
        )
    layers: list[nn.Module] = []
    num_inputs = shape.channels
    for layer in range(depth):
        num_outputs = width * 2**layer
        layers.append(nn.Conv2d(num_inputs, num_outputs, 3, padding=1, bias=not batch_norm))
        layers += [nn.BatchNorm2d(num_outputs)] if batch_norm else []
        layers += [nn.ReLU(), nn.MaxPool2d(2)]
        num_inputs = num_outputs
    num_features = num_inputs * (shape.size >> depth) ** 2
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(num_features, shape.num_classes))


def _builder(name: str, shape: ImageShape, args: dict[str, Any]) -> Callable[[], nn.Module]:
    """Return what builds a model before its stem is looked at."""
    wide = _WIDE_RESNET.fullmatch(name)
    if wide:
        depth, widen = int(wide[1]), int(wide[2])
        return lambda: wide_resnet(depth, widen, shape.num_classes, shape.channels, **args)
    if name in {"cnn", "cnn_bn"}:
        return lambda: small_cnn(shape, batch_norm=name == "cnn_bn", **args)
    from torchvision import models

    names = model_names()
    if name not in names:
        near = get_close_matches(name, names, n=1)
        hint = f"did you mean {near[0]}?" if near else "write for example resnet18, vgg16_bn or cnn"
        raise UserError(f"unknown model {name!r}; {hint}")
    if name in {"googlenet", "inception_v3"}:
        # The second and third loss are for 299×299; init_weights spares a warning.
        args = {"aux_logits": False, "init_weights": True, **args}
    if name.startswith("vit") and shape.size > SMALL_IMAGE:
        args = {"image_size": shape.size, **args}
    if name.startswith("maxvit"):
        args = {"input_size": (shape.size, shape.size), **args}
    return lambda: models.get_model(name, weights=None, num_classes=shape.num_classes, **args)


def _try_out(name: str, make_model: Callable[[], nn.Module], shape: ImageShape) -> None:
    """Build the model and run it once without memory, so that a mistake costs no training."""
    try:
        with torch.device("meta"), torch.no_grad():
            images = torch.empty(2, shape.channels, shape.size, shape.size)
            outputs = make_model().eval()(images)
    except NotImplementedError:  # RegNet looks into its own tensors as it is built
        return
    except (RuntimeError, TypeError, ValueError, AssertionError) as error:
        reason = str(error).strip().splitlines() or [type(error).__name__]
        larger = 32 if shape.size < 32 and not name.startswith(_LARGE_ONLY) else 224
        raise UserError(
            f"model {name} cannot be built for {shape.channels}×{shape.size}×{shape.size} images "
            f"({reason[0][:200]}); check model_args, or write image_size: {larger} to enlarge them"
        ) from error
    if outputs.shape != (2, shape.num_classes):
        raise UserError(f"model {name} gives {list(outputs.shape)[1:]}, not one number per class")


def _begin_small(model: nn.Module, stem: SmallStem) -> None:
    place, conv = _first_conv(model)
    padding = stem.kernel_size // 2
    model.set_submodule(
        place, _like(conv, kernel_size=stem.kernel_size, stride=stem.stride, padding=padding)
    )
    for pool in stem.pools:
        model.set_submodule(pool, nn.Identity())


def _first_conv(model: nn.Module) -> tuple[str, nn.Conv2d]:
    return next(
        (name, module) for name, module in model.named_modules() if isinstance(module, nn.Conv2d)
    )


def _like(conv: nn.Conv2d, **changes: Any) -> nn.Conv2d:  # noqa: ANN401
    """Return a convolution like another but for some arguments, initialised by He's rule."""
    args: dict[str, Any] = {
        "in_channels": conv.in_channels,
        "out_channels": conv.out_channels,
        "kernel_size": conv.kernel_size,
        "stride": conv.stride,
        "padding": conv.padding,
        "bias": conv.bias is not None,
    }
    made = nn.Conv2d(**{**args, **changes})
    nn.init.kaiming_normal_(made.weight, mode="fan_out", nonlinearity="relu")
    if made.bias is not None:
        nn.init.zeros_(made.bias)
    return made


def _shrink_vgg(model: nn.Module) -> None:
    """Let the classifier take 512 features of one place, not 7 × 7 copies of them."""
    old = model.classifier
    assert isinstance(old, nn.Sequential)
    last = old[-1]
    assert isinstance(last, nn.Linear)
    width, num_classes = _SMALL_VGG_WIDTH, last.out_features
    sizes = {0: (512, width), 3: (width, width), 6: (width, num_classes)}
    layers = [_linear(*sizes[i]) if i in sizes else layer for i, layer in enumerate(old)]
    model.avgpool, model.classifier = nn.AdaptiveAvgPool2d(1), nn.Sequential(*layers)


def _shrink_alexnet(model: nn.Module) -> None:
    """Let the classifier take the 256 features of one place, not of 6 × 6."""
    classifier = model.classifier
    assert isinstance(classifier, nn.Sequential)
    hidden = classifier[1]
    assert isinstance(hidden, nn.Linear)
    model.avgpool = nn.AdaptiveAvgPool2d(1)
    classifier[1] = _linear(256, hidden.out_features)


def _linear(num_inputs: int, num_outputs: int) -> nn.Linear:
    """Return a linear map with He's initialisation, which VGG's own 0.01 is at its own width."""
    made = nn.Linear(num_inputs, num_outputs)
    nn.init.kaiming_normal_(made.weight, nonlinearity="relu")
    nn.init.zeros_(made.bias)
    return made


def _shrink_patches(model: Any, shape: ImageShape) -> None:  # noqa: ANN401
    """Give a ViT patches of 4 × 4 and a position for each."""
    num_tokens = (shape.size // _SMALL_PATCH) ** 2 + 1
    conv = nn.Conv2d(shape.channels, model.hidden_dim, _SMALL_PATCH, _SMALL_PATCH)
    nn.init.trunc_normal_(conv.weight, std=conv.weight[0].numel() ** -0.5)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    positions = nn.Parameter(torch.empty(1, num_tokens, model.hidden_dim).normal_(std=0.02))
    model.conv_proj, model.encoder.pos_embedding = conv, positions
    model.patch_size, model.image_size, model.seq_length = _SMALL_PATCH, shape.size, num_tokens
