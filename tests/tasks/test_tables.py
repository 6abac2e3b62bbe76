"""The shipped tables: standardised, and as hard as their closed-form solutions say."""

import math
from itertools import pairwise

import numpy as np
import pytest
import torch
from sklearn import datasets
from sklearn.linear_model import LinearRegression
from torch.nn import functional

from scaling_sweep.tasks.metrics import accuracy
from scaling_sweep.tasks.tables import breast_cancer, diabetes, wine
from scaling_sweep.tasks.task import Task
from tests.training.cases import make_spec, train_only

LOADERS = {
    wine: datasets.load_wine,
    breast_cancer: datasets.load_breast_cancer,
    diabetes: datasets.load_diabetes,
}


@pytest.mark.parametrize("make", list(LOADERS), ids=lambda make: make.__name__)
def test_columns_are_standardised(make: type[Task]) -> None:
    """Inputs are scikit-learn's columns, each moved and scaled to mean 0 and variance 1."""
    raw, task = LOADERS[make]().data, make()
    expected = torch.tensor((raw - raw.mean(0)) / raw.std(0)).float()

    assert task.inputs is not None
    torch.testing.assert_close(task.inputs, expected)


@pytest.mark.parametrize(("make", "num_classes"), [(wine, 3), (breast_cancer, 2)])
def test_classification_is_near_chance_before_training(make: type[Task], num_classes: int) -> None:
    """The loss is in nats: about the log of the number of classes."""
    torch.manual_seed(0)
    task = make()
    assert task.targets is not None
    loss = task.loss(task.make_model()(task.inputs), task.targets)

    assert int(task.targets.max()) == num_classes - 1
    assert loss.item() == pytest.approx(math.log(num_classes), abs=0.15)


@pytest.mark.parametrize("make", list(LOADERS), ids=lambda make: make.__name__)
def test_held_out_rows_are_standardised_by_the_others(make: type[Task]) -> None:
    """Training rows have mean 0 and variance 1; moved back, both parts are scikit-learn's rows."""
    raw, task, again = LOADERS[make]().data, make(validation=0.2), make(validation=0.2)
    assert task.validation is not None
    held = task.validation[0]
    together = torch.cat([task.inputs, held]).double()

    assert len(held) == round(0.2 * len(raw))
    assert torch.equal(held, again.validation[0])
    # Each raw column is a line through its standardised one, in some order of the rows.
    expected = np.sort((raw - raw.mean(0)) / raw.std(0), axis=0)
    found = ((together - together.mean(0)) / together.std(0, correction=0)).sort(0).values
    np.testing.assert_allclose(found.numpy(), expected, atol=1e-5)
    torch.testing.assert_close(task.inputs.mean(0), torch.zeros(raw.shape[1]), rtol=0, atol=1e-5)
    assert (task.metric is accuracy) == (make is not diabetes)


def test_a_trial_says_how_well_it_does_on_held_out_rows() -> None:
    """Trained to near its end, a linear model of the wines is right about nearly all others."""
    spec = make_spec(batch_sizes=[32], lrs=[0.3], steps=200, seeds=1)
    (record,) = train_only(spec, wine(depth=0, validation=0.3)).records

    assert record.validation_metric > 0.9
    assert record.validation_loss < 0.3


def test_the_mean_predicts_diabetes_with_loss_one() -> None:
    """The regression loss is in units of the target's variance."""
    targets = diabetes().targets
    assert targets is not None

    assert functional.mse_loss(torch.zeros_like(targets), targets).item() == pytest.approx(1)


def test_linear_diabetes_reaches_least_squares() -> None:
    """Trained by SGD at depth 0, the loss comes down to 1 - R² of scikit-learn's solution."""
    data = datasets.load_diabetes()
    best = 1 - LinearRegression().fit(data.data, data.target).score(data.data, data.target)
    spec = make_spec(batch_sizes=[442], lrs=[0.1], steps=300, sampling="epoch", seeds=1)
    (record,) = train_only(spec, diabetes(depth=0)).records

    assert best == pytest.approx(0.482, abs=5e-4)
    # Columns are nearly collinear: the last percent takes far longer.
    assert best <= record.final_loss < 1.02 * best


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_the_model_has_the_weights_its_arguments_say(depth: int) -> None:
    """The number of parameters is that of 13 → 5 × depth → 3, with biases."""
    sizes = [13, *[5] * depth, 3]
    expected = sum((a + 1) * b for a, b in pairwise(sizes))

    assert sum(p.numel() for p in wine(5, depth).make_model().parameters()) == expected


@pytest.mark.parametrize("args", [{"width": 0}, {"depth": -1}, {"depth": "2"}])
def test_impossible_sizes_are_refused(args: dict[str, object]) -> None:
    """A width or depth that is no size says which it is and what was given."""
    ((name, value),) = args.items()

    with pytest.raises(ValueError, match=f"{name} must be a whole number.*got {value!r}"):
        wine(**args)
