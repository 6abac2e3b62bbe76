"""What is kept of a loss curve, against a recomputation from all losses."""

import math

import numpy as np
import pytest
import torch

from scaling_sweep.training.curves import MAX_CURVE_POINTS, Curve, CurveRecorder

SHAPES = [
    (1, 300),  # 4 windows of 64 steps, 44 left over
    (1, 10_000),  # 156 windows, thinned
    (3, 100),  # windows of 22 steps: 66 examples
    (64, 50),  # a window a step
    (63, 50),
    (512, 1000),
    (1, 10),  # shorter than a window
    (16, 4),  # exactly one window
    (16, 3),
    (2, 1),
]


def record(losses: np.ndarray, batch_size: int) -> list[Curve]:
    """Return the curves of losses of shape ``[num_steps, num_copies]``."""
    recorder = CurveRecorder(losses.shape[1], batch_size, losses.shape[0], torch.device("cpu"))
    live = torch.arange(losses.shape[1])
    for row in torch.tensor(losses, dtype=torch.float32):
        recorder.add(row, live)
    return recorder.curves()


def window_means(losses: np.ndarray, batch_size: int) -> tuple[int, np.ndarray]:
    """Return steps per window, and the mean loss over each whole window of one copy."""
    steps = 1
    while steps * batch_size < 64 and steps < len(losses):
        steps += 1
    return steps, np.array(
        [losses[i : i + steps].mean() for i in range(0, len(losses) - steps + 1, steps)]
    )


@pytest.mark.parametrize(("batch_size", "num_steps"), SHAPES)
def test_peak_and_minimum_are_those_of_windows_of_64_examples(
    batch_size: int, num_steps: int
) -> None:
    """Largest and smallest window mean equal a recomputation from all losses."""
    losses = np.random.default_rng(0).gamma(1.0, size=(num_steps, 3)).astype(np.float32)

    for copy, curve in enumerate(record(losses, batch_size)):
        steps, means = window_means(losses[:, copy].astype(float), batch_size)
        assert steps * batch_size >= 64 or steps == num_steps
        assert curve.peak_loss == pytest.approx(means.max(), rel=1e-12)
        assert curve.min_loss == pytest.approx(means.min(), rel=1e-12)
        assert curve.first_nonfinite_step is None


@pytest.mark.parametrize(("batch_size", "num_steps"), SHAPES)
def test_a_kept_curve_has_few_points_that_are_window_means(batch_size: int, num_steps: int) -> None:
    """At most 64 points, evenly spaced to the end, each a window mean at the window's last step."""
    losses = np.random.default_rng(1).gamma(1.0, size=(num_steps, 2)).astype(np.float32)

    for copy, curve in enumerate(record(losses, batch_size)):
        steps, means = window_means(losses[:, copy].astype(float), batch_size)
        assert 1 <= len(curve.steps) == len(curve.losses) <= MAX_CURVE_POINTS == 64
        assert len(curve.steps) >= min(len(means), 32)
        assert len(set(np.diff(curve.steps))) <= 1
        assert num_steps - curve.steps[-1] < 2 * steps * math.ceil(len(means) / 64)
        expected = [means[step // steps - 1] for step in curve.steps]
        assert all(step % steps == 0 for step in curve.steps)
        assert curve.losses == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("at", [0, 5, 99])
def test_the_first_loss_that_is_not_finite_is_remembered(bad: float, at: int) -> None:
    """From that step on the curve is infinite, the minimum is of what came before."""
    losses = np.random.default_rng(2).gamma(1.0, size=(100, 2)).astype(np.float32)
    losses[at, 1] = bad
    losses[at + 1 :, 1] = 0.0  # a loss that recovers is still a loss that was lost
    healthy, sick = record(losses, batch_size=16)

    _, means = window_means(losses[:, 0].astype(float), 16)
    assert healthy.first_nonfinite_step is None
    assert healthy.peak_loss == pytest.approx(means.max())
    assert sick.first_nonfinite_step == at
    assert sick.peak_loss == math.inf
    before = window_means(losses[:, 1].astype(float), 16)[1][: at // 4]
    assert sick.min_loss == pytest.approx(before.min() if at >= 4 else math.inf)
    assert [loss == math.inf for loss in sick.losses] == [step > at for step in sick.steps]


def test_huge_losses_do_not_overflow_their_window() -> None:
    """The mean of finite float32 losses is finite: only a loss that is not finite ends a trial."""
    losses = np.full((4, 1), 3e38, dtype=np.float32)
    (curve,) = record(losses, batch_size=16)

    assert curve.peak_loss == pytest.approx(3e38)
    assert curve.first_nonfinite_step is None


def test_a_copy_that_was_dropped_leaves_the_others_curves_alone() -> None:
    """Losses of live copies reach their own curves when others have gone."""
    losses = np.random.default_rng(3).gamma(1.0, size=(20, 3)).astype(np.float32)
    losses[4, 1] = math.nan
    recorder = CurveRecorder(3, 64, 20, torch.device("cpu"))
    for step, row in enumerate(torch.tensor(losses)):
        live = torch.tensor([0, 1, 2] if step < 8 else [0, 2])
        recorder.add(row[live], live)
    first, gone, last = recorder.curves()

    assert first.losses == pytest.approx(losses[:, 0].tolist())
    assert last.losses == pytest.approx(losses[:, 2].tolist())
    assert gone.first_nonfinite_step == 4
    assert gone.losses[4:] == (math.inf,) * 16
