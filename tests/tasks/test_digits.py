"""The digits: standardised as they say, and models of the shapes they say."""

import math
from itertools import pairwise

import pytest
import torch
from sklearn.datasets import load_digits

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
