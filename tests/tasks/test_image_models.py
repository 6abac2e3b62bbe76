"""Classifiers by name: the sizes of the papers, stems that fit the images, errors in one line."""

import re
from typing import Any

import pytest
import torch
from torch import nn
from torchvision import models

from scaling_sweep.errors import UserError
from scaling_sweep.tasks.image_models import ImageShape, make_classifier, model_names, small_cnn
from scaling_sweep.tasks.wide_resnet import wide_resnet

SMALL = ImageShape(3, 32, 10)


def num_parameters(model: nn.Module) -> int:
    """Return the number of trainable numbers."""
    return sum(param.numel() for param in model.parameters())


def build(name: str, shape: ImageShape = SMALL, **args: Any) -> nn.Module:  # noqa: ANN401
    """Build a model without memory for its weights."""
    with torch.device("meta"):
        return make_classifier(name, shape, args)()


@pytest.mark.parametrize(
    ("depth", "widen", "millions"),
    [(40, 1, 0.6), (40, 2, 2.2), (40, 4, 8.9), (28, 10, 36.5), (22, 8, 17.2), (16, 8, 11.0)],
)
def test_wide_resnets_have_the_papers_sizes(depth: int, widen: int, millions: float) -> None:
    """Parameters in millions are those of table 4 of arXiv:1605.07146."""
    with torch.device("meta"):
        model = wide_resnet(depth, widen, num_classes=10)

    assert round(num_parameters(model) / 1e6, 1) == millions


def test_a_wide_resnet_has_as_many_layers_as_it_says() -> None:
    """Convolutions of 3 × 3 and the linear map, without shortcuts, count to the depth."""
    layers = [
        module
        for module in wide_resnet(16, 1, 10).modules()
        if isinstance(module, nn.Linear)
        or (isinstance(module, nn.Conv2d) and module.kernel_size == (3, 3))
    ]

    assert len(layers) == 16 - 2  # the paper's depth counts the shortcuts' convolutions of groups


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "vgg16_bn", "densenet121", "alexnet"])
def test_a_large_stem_is_torchvisions_own(name: str) -> None:
    """On 224 pixels a model is torchvision's, weight by weight, and draws the same numbers."""
    make = make_classifier(name, ImageShape(3, 224, 10), {})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        ours = make().state_dict()
        torch.manual_seed(0)
        theirs = models.get_model(name, weights=None, num_classes=10).state_dict()

    assert list(ours) == list(theirs)
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


@pytest.mark.parametrize(
    "name", ["resnet18", "wide_resnet50_2", "densenet121", "shufflenet_v2_x0_5"]
)
def test_a_small_stem_keeps_the_resolution(name: str) -> None:
    """On 32 pixels the first convolution is 3 × 3 with stride 1, and no max-pool follows."""
    model = build(name)
    first = next(module for module in model.modules() if isinstance(module, nn.Conv2d))

    assert (first.kernel_size, first.stride, first.padding) == ((3, 3), (1, 1), (1, 1))
    assert not any(isinstance(module, nn.MaxPool2d) for module in model.modules())
    assert build(name, SMALL).training


def test_resnet18_for_cifar_has_its_known_size() -> None:
    """With the small stem ResNet-18 has 11,173,962 parameters for 10 classes.

    As 11,689,512 of torchvision's, less its 7 × 7 stem and 1,000 classes.
    """
    expected = 11_689_512 - 64 * 3 * (49 - 9) - 513 * (1000 - 10)

    assert num_parameters(build("resnet18")) == expected == 11_173_962


@pytest.mark.parametrize("batch_norm", [False, True])
def test_small_vgg_has_one_place_before_its_classifier(batch_norm: bool) -> None:
    """The classifier maps 512 features through 512 and 512, with dropout as asked."""
    model = build("vgg16_bn" if batch_norm else "vgg16", dropout=0.25)
    sizes = [layer.in_features for layer in model.classifier if isinstance(layer, nn.Linear)]
    rates = [layer.p for layer in model.classifier if isinstance(layer, nn.Dropout)]

    assert sizes == [512, 512, 512]
    assert rates == [0.25, 0.25]
    assert any(isinstance(layer, nn.BatchNorm2d) for layer in model.modules()) == batch_norm


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v3_small", "vgg11", "vit_b_16", "cnn_bn"])
def test_one_channel_and_any_number_of_classes_are_taken(name: str) -> None:
    """Grey images give one output per class."""
    make = make_classifier(name, ImageShape(1, 32, 7), {})
    with torch.device("meta"):
        assert make().eval()(torch.empty(3, 1, 32, 32)).shape == (3, 7)


def families() -> list[str]:
    """Return one model of each family: names without the digits and letters that size them."""
    first = {re.split(r"_?\d|_[a-z]*$", name)[0]: name for name in reversed(model_names())}
    return sorted(first.values())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("size", "names", "refused"), [(32, model_names(), 2), (224, families(), 0)]
)
def test_every_classifier_of_torchvision_can_be_named(
    size: int, names: list[str], refused: int
) -> None:
    """All of them fit 32 pixels but for those that say they need more; these fit 224."""
    wrong = []
    for name in names:
        try:
            make_classifier(name, ImageShape(3, size, 10), {})
        except UserError as error:
            assert "write image_size: 224" in str(error)  # noqa: PT017
            wrong.append(name)

    assert len(wrong) == refused, wrong


@pytest.mark.parametrize("batch_norm", [False, True])
def test_the_plain_net_has_the_weights_its_arguments_say(batch_norm: bool) -> None:
    """Two convolutions of 3 × 3 to width and twice that, then a linear map of 7 × 7."""
    width, shape = 5, ImageShape(1, 28, 10)
    per_channel = 2 if batch_norm else 1  # scale and shift, or a bias
    convs = 9 * width + 9 * width * 2 * width + per_channel * 3 * width
    expected = convs + (49 * 2 * width + 1) * 10

    assert num_parameters(small_cnn(shape, width, batch_norm=batch_norm)) == expected


@pytest.mark.parametrize(
    ("name", "shape", "args", "message"),
    [
        ("resnet19", SMALL, {}, "unknown model 'resnet19'; did you mean resnet18"),
        ("zzz", SMALL, {}, "write for example resnet18"),
        ("wrn_27_10", SMALL, {}, "6 n \\+ 4 layers"),
        ("cnn", SMALL, {"depth": 6}, "halved depth times"),
        ("vgg16", ImageShape(3, 28, 10), {}, "write image_size: 32"),
        ("inception_v3", SMALL, {}, "write image_size: 224"),
        ("resnet18", SMALL, {"depth": 3}, "unexpected keyword argument 'depth'"),
    ],
)
def test_what_cannot_be_built_is_refused(
    name: str, shape: ImageShape, args: dict[str, object], message: str
) -> None:
    """A slip, or images that do not fit, are answered in one line before anything trains."""
    with pytest.raises(UserError, match=message) as caught:
        make_classifier(name, shape, args)

    assert "\n" not in str(caught.value)


def test_a_stem_can_be_demanded() -> None:
    """`large` keeps torchvision's stem on small images, an unknown word is refused."""
    make = make_classifier("resnet18", SMALL, {}, stem="large")
    with torch.device("meta"):
        assert make().conv1.kernel_size == (7, 7)
    with pytest.raises(UserError, match="stem must be one of auto, small, large, got 'tiny'"):
        make_classifier("resnet18", SMALL, {}, stem="tiny")
