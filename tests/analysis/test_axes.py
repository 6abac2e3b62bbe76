"""The axis that is searched: boldness, the variable of the laws, and the laws of both together."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.axes import DAMPING_AXIS, LR_AXIS, AxisName
from analysis.edge_summaries import Censoring, Place
from analysis.edges import find_edges, find_median_edges
from analysis.fitting.joint_laws import BentInBatch, Tilted, Wanted, find_joint_law, list_laws
from analysis.fitting.laws import LAWS, Power, Saturating, Surge
from analysis.slow import find_too_slow

POSITIVE = st.floats(1e-6, 1e6)
LOG_B = np.log([1.0, 8.0, 64.0, 512.0])
LOG_LR = np.log([0.1, 0.4, 0.1, 0.4])


@settings(max_examples=30, derandomize=True, deadline=None)
@given(POSITIVE)
def test_boldness_is_its_own_inverse(value: float) -> None:
    """What is turned into boldness and back is what it was, to 15 digits."""
    for axis in (LR_AXIS, DAMPING_AXIS):
        assert axis.show(float(axis.bold(value))) == pytest.approx(value, rel=1e-14)


def test_open_ends_of_a_damping_change_sides() -> None:
    """Boldness 0 is an endless damping, endless boldness none; the censored side is mirrored."""
    assert DAMPING_AXIS.show_interval((0.0, np.inf)) == (0.0, np.inf)
    assert DAMPING_AXIS.show(0.0) == np.inf
    assert Censoring.LEFT.seen_on(DAMPING_AXIS) is Censoring.RIGHT
    assert Censoring.LEFT.seen_on(LR_AXIS) is Censoring.LEFT
    assert Censoring.NONE.seen_on(DAMPING_AXIS) is Censoring.NONE


def make_trials(value: str, stable: list[bool]) -> pd.DataFrame:
    """Write one row per value 1, 2, 4, … of a column."""
    return pd.DataFrame(
        {
            "batch_size": 8,
            "lr": 0.1,
            "seed": 0,
            value: 2.0 ** np.arange(len(stable)),
            "verdict": np.where(stable, "stable", "diverged"),
        }
    )


@settings(max_examples=30, derandomize=True, deadline=None)
@given(st.lists(st.booleans(), min_size=1, max_size=8))
def test_a_damping_is_bracketed_as_the_mirrored_learning_rate(stable: list[bool]) -> None:
    """The bracket of dampings is that of learning rates 1/damping, with the same misplaced ones."""
    dampings = make_trials("damping", stable)
    mirrored = dampings.assign(lr=1 / dampings["damping"])

    slow = find_too_slow(dampings, DAMPING_AXIS).tolist()
    assert slow == find_too_slow(mirrored).tolist()
    found, expected = find_edges(dampings, DAMPING_AXIS), find_edges(mirrored)
    assert [(e.stable, e.diverged, e.num_misplaced) for e in found] == [
        (e.stable, e.diverged, e.num_misplaced) for e in expected
    ]
    assert [e.place for e in found] == [Place(8, 0.1)] * len(expected)


def test_edges_of_two_learning_rates_are_apart() -> None:
    """Every (batch size, learning rate, seed) has a bracket, every pair a median edge."""
    one = make_trials("damping", [False, True, True])
    other = make_trials("damping", [False, False, True]).assign(lr=0.4)
    edges = find_edges(pd.concat([other, one]), DAMPING_AXIS)

    assert [(e.lr, 1 / e.diverged, 1 / e.stable) for e in edges] == [(0.1, 1, 2), (0.4, 2, 4)]
    assert [e.lr for e in find_median_edges(edges)] == [0.1, 0.4]


def test_too_large_a_damping_is_too_slow() -> None:
    """A damping above the largest stable one misses the criterion by slowness."""
    trials = make_trials("damping", [False, False, True, False])

    assert find_too_slow(trials, DAMPING_AXIS).tolist() == [False, False, False, True]


def test_a_bend_in_b_keeps_the_edge_proportional_to_lr() -> None:
    """Adam with a large eps is SGD at lr/eps: the smallest eps is lr over SGD's law, at every B."""
    theta = np.array([1.0, np.log(2 / 30), np.log(30)])
    law = BentInBatch(Saturating(), LOG_LR)

    boldness = np.exp(law.predict(theta[None], LOG_B - LOG_LR)[0])

    sgd = 2 / (1 + 30 / np.exp(LOG_B))
    assert 1 / boldness == pytest.approx(np.exp(LOG_LR) / sgd)


@pytest.mark.parametrize("base", LAWS)
@pytest.mark.parametrize("wanted", Wanted)
@pytest.mark.parametrize("bent", [False, True])
def test_gradients_of_joint_laws_are_finite_differences(
    base: Power | Saturating | Surge, wanted: Wanted, bent: bool
) -> None:
    """Every parameter's derivative agrees with a central difference."""
    law = Tilted(BentInBatch(base, LOG_LR) if bent else base, LOG_LR, wanted)
    theta = np.array([0.8, -1.0, 3.0, 0.4])[: base.num_parameters].tolist()
    theta = np.array([*theta, 0.3])
    log_x, step = LOG_B - LOG_LR, 1e-6

    gradient = law.gradient(theta[None], log_x)[0]

    for place in range(theta.size):
        aside = step * np.eye(theta.size)[place]
        above, below = (law.predict((theta + s * aside)[None], log_x)[0] for s in (1, -1))
        assert gradient[:, place] == pytest.approx((above - below) / (2 * step), abs=1e-6)


def test_a_tilted_law_says_the_same_in_all_its_parameters() -> None:
    """Exponents of B and lr, or their difference, in front: the same law."""
    b, lr = 0.9, 1.2
    log_x = LOG_B - LOG_LR
    expected = b * LOG_B - lr * LOG_LR
    for wanted, theta in (
        (Wanted.BATCH_SIZE, [b, 0.0, lr - b]),
        (Wanted.LR, [lr, 0.0, lr - b]),
        (Wanted.DIFFERENCE, [lr - b, 0.0, b]),
    ):
        law = Tilted(Power(), LOG_LR, wanted)
        assert law.predict(np.array([theta]), log_x)[0] == pytest.approx(expected)
        low, high = law.bounds(log_x)
        assert np.all((low <= theta) & (theta <= high))
        assert low.size == law.shapes(log_x).shape[1] == law.num_parameters


def test_bends_in_b_need_several_learning_rates_and_batch_sizes() -> None:
    """With one learning rate a bend in B and one in lr/B are the same."""
    assert list_laws(np.zeros(4), 4) == LAWS
    assert [law.name for law in list_laws(LOG_LR, 3)] == ["power", "saturating", "surge"]
    assert find_joint_law("surge in B", LOG_LR).num_parameters == 4
    assert AxisName("damping") is AxisName.DAMPING
