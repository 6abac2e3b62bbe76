"""The digits: standardised as they say, and models of the shapes they say."""

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

from scaling_sweep.tasks import digits
from scaling_sweep.tasks.digits import digits_cnn, digits_mlp
from scaling_sweep.tasks.task import Task


def test_constants_are_the_moments_of_all_pixels() -> None:
    """Mean and standard deviation in the code are those of scikit-learn's own array."""
    pixels = load_digits().data

    assert pixels.mean() == pytest.approx(digits.PIXEL_MEAN, abs=5e-5)
    assert pixels.std() == pytest.approx(digits.PIXEL_STD, abs=5e-5)


@pytest.mark.parametrize("make", [digits_mlp, digits_cnn])
def test_inputs_are_standardised_images(make: type[Task]) -> None:
    """The images are scikit-learn's, moved and scaled to mean 0 and variance 1."""
    raw, task = load_digits(), make()
    expected = torch.tensor((raw.data - raw.data.mean()) / raw.data.std())

    assert task.inputs is not None
    assert task.targets is not None
    # The constants are rounded to 5 figures.
    torch.testing.assert_close(task.inputs.flatten(1).double(), expected, rtol=0, atol=1e-4)
    assert task.targets.tolist() == raw.target.tolist()


@pytest.mark.parametrize("width", [1, 7])
@pytest.mark.parametrize("depth", [0, 1, 3])
def test_the_perceptron_has_the_weights_its_arguments_say(width: int, depth: int) -> None:
    """The number of parameters is that of 64 → width × depth → 10, with biases."""
    sizes = [64, *[width] * depth, 10]
    expected = sum((inputs + 1) * outputs for inputs, outputs in pairwise(sizes))
    task = digits_mlp(width, depth)
    model = task.make_model()

    assert sum(param.numel() for param in model.parameters()) == expected
    assert model(task.inputs[:5]).shape == (5, 10)


@pytest.mark.parametrize("width", [1, 5])
@pytest.mark.parametrize("depth", [1, 2, 4])
def test_the_cnn_has_the_weights_its_arguments_say(width: int, depth: int) -> None:
    """Depth convolutions of 3 × 3, then 2 × 2 × width features to 10 classes, with biases."""
    expected = width * (9 + 1) + (depth - 1) * width * (9 * width + 1) + (4 * width + 1) * 10
    task = digits_cnn(width, depth)
    model = task.make_model()

    assert sum(param.numel() for param in model.parameters()) == expected
    assert model(task.inputs[:5]).shape == (5, 10)


@pytest.mark.parametrize("make", [digits_mlp, digits_cnn])
def test_an_untrained_model_is_near_chance(make: type[Task]) -> None:
    """The loss is in nats: about log 10 before training."""
    torch.manual_seed(0)
    task = make()
    loss = task.loss(task.make_model()(task.inputs), task.targets)

    # Logits of the first forward pass spread by some tenths; their effect is second order.
    assert loss.item() == pytest.approx(math.log(10), abs=0.1)


@pytest.mark.parametrize(
    ("make", "args"),
    [
        (digits_mlp, {"width": 0}),
        (digits_mlp, {"width": 2.5}),
        (digits_mlp, {"width": True}),
        (digits_mlp, {"depth": -1}),
        (digits_cnn, {"width": 0}),
        (digits_cnn, {"depth": 0}),
        (digits_cnn, {"depth": "2"}),
    ],
)
def test_impossible_sizes_are_refused(make: type[Task], args: dict[str, object]) -> None:
    """A width or depth that is no size says which it is and what was given."""
    ((name, value),) = args.items()

    with pytest.raises(ValueError, match=f"{name} must be a whole number.*got {value!r}"):
        make(**args)


@pytest.mark.parametrize("make", [digits_mlp, digits_cnn])
@pytest.mark.parametrize(
    ("norm", "kinds"),
    [
        ("none", ()),
        ("batch", (nn.BatchNorm1d, nn.BatchNorm2d)),
        ("layer", (nn.LayerNorm, nn.GroupNorm)),
        ("group", (nn.GroupNorm,)),
    ],
)
def test_a_norm_stands_before_each_relu(
    make: Callable[..., Task], norm: str, kinds: tuple[type[nn.Module], ...]
) -> None:
    """It normalises as it says, and the other weights are those drawn without it."""
    models = []
    for args in ({}, {"norm": norm}):
        torch.manual_seed(0)
        models.append(make(width=12, depth=2, **args).make_model())
    plain, normed = ([m for m in model if not isinstance(m, nn.ReLU)] for model in models)
    layers = list(models[1])
    norms = [layer for layer in layers if kinds and isinstance(layer, kinds)]
    assert len(norms) == (2 if kinds else 0)
    for place, layer in enumerate(layers):
        if kinds and isinstance(layer, nn.ReLU):
            assert isinstance(layers[place - 1], kinds)
    rest = [layer for layer in normed if layer not in norms]
    for one, other in zip(plain, rest, strict=True):
        for weight, same in zip(one.parameters(), other.parameters(), strict=True):
            assert torch.equal(weight, same)
    if norm in {"layer", "group"}:
        inputs = make().inputs
        assert inputs is not None
        # Groups of 12 channels: the greatest divisor of both 8 and 12 is 4; layer norm is one.
        hidden = models[1][:2](inputs[:6]).flatten(1)
        groups = hidden.view(6, 4 if norm == "group" else 1, -1)
        torch.testing.assert_close(groups.mean(2), torch.zeros(groups.shape[:2]), rtol=0, atol=1e-5)


@pytest.mark.parametrize("make", [digits_mlp, digits_cnn])
def test_dropout_drops_the_share_it_says_in_training_only(make: Callable[..., Task]) -> None:
    """The layers say the share; without it there are none."""
    found = [layer for layer in make(dropout=0.3).make_model() if isinstance(layer, nn.Dropout)]
    assert {layer.p for layer in found} == {0.3}
    assert not any(isinstance(layer, nn.Dropout) for layer in make().make_model())


@pytest.mark.parametrize("make", [digits_mlp, digits_cnn])
def test_held_out_images_are_in_one_place_only(make: Callable[..., Task]) -> None:
    """Training and validation together are all images, each once, and always the same ones."""
    whole, task, again = make(), make(validation=0.2), make(validation=0.2)
    assert whole.validation is None
    assert whole.metric is None
    assert task.validation is not None
    assert again.validation is not None
    assert task.metric is not None
    held, labels = task.validation
    assert len(held) == len(labels) == 359
    assert torch.equal(held, again.validation[0])

    def rows(images: torch.Tensor) -> list[bytes]:
        return [image.numpy().tobytes() for image in images]

    assert task.inputs is not None
    assert whole.inputs is not None
    assert sorted(rows(task.inputs) + rows(held)) == sorted(rows(whole.inputs))
    by_image = dict(zip(rows(whole.inputs), whole.targets.tolist(), strict=True))
    assert [by_image[row] for row in rows(held)] == labels.tolist()


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"norm": "instance"}, "norm must be one of none, batch, layer, group; got 'instance'"),
        ({"dropout": 1.0}, "dropout must be a number from 0 to below 1; got 1.0"),
        ({"validation": -0.1}, "validation must be a number from 0 to below 1; got -0.1"),
        ({"validation": True}, "validation must be a number from 0 to below 1; got True"),
    ],
)
def test_impossible_words_and_shares_are_refused(args: dict[str, object], message: str) -> None:
    """Both tasks say what may be written."""
    for make in (digits_mlp, digits_cnn):
        with pytest.raises(ValueError, match=message):
            make(**args)


def test_digits_are_the_same_without_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """The file that scikit-learn brings holds what its own function returns."""
    from_file = digits._read_digits()
    monkeypatch.setattr(digits.Path, "exists", lambda path: False)

    assert (from_file == digits._read_digits()).all()
