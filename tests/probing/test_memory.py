"""Memory of a step: what is counted, and what is extrapolated from it."""

import pytest
import torch

from scaling_sweep.probing.checkup import _stand_in
from scaling_sweep.probing.memory import MemoryLaw, _measure_step, measure_memory, measure_peak
from scaling_sweep.probing.subject import Subject
from scaling_sweep.tasks.loading import load_task

CPU = torch.device("cpu")


def subject(name: str) -> Subject:
    """Return a built-in task to look at."""
    return Subject(_stand_in(name, {}), load_task(name), CPU)


def test_what_is_dropped_is_taken_off() -> None:
    """Two tensors one after the other count once, together twice."""

    def in_turn() -> None:
        for _ in range(5):
            torch.zeros(1000).add_(1)

    def together() -> None:
        _ = [torch.zeros(1000) for _ in range(5)]

    assert measure_peak(in_turn, CPU) < 3 * 4000
    assert measure_peak(together, CPU) == 5 * 4000


def test_views_count_once() -> None:
    """A view shares its memory with what it looks at."""

    def views() -> None:
        whole = torch.zeros(10, 100)
        _ = [whole[0], whole.T, whole.unfold(1, 10, 1)]

    assert measure_peak(views, CPU) == 4000


def test_a_step_of_a_linear_model_takes_what_can_be_counted() -> None:
    """Weights, gradients and both moments of Adam: at least four times the parameters."""
    task = subject("least_squares")

    assert _measure_step(task, "vmap", 8, 1) >= 4 * 8 * 64 * 4


def test_a_law_through_peaks_predicts_more_copies_and_larger_batches() -> None:
    """Steps of at most two copies tell the peak of a larger pack within 5 %."""
    task = subject("digits_cnn")
    law = measure_memory(task, "vmap")

    for num_copies, batch_size in ((6, 128), (3, 8)):
        measured = _measure_step(task, "vmap", num_copies, batch_size)
        assert law.peak(num_copies, batch_size) == pytest.approx(measured, rel=0.05)


@pytest.mark.slow
def test_in_the_loop_engine_copies_share_activations() -> None:
    """Another copy costs its weights there, and its activations too when stacked."""
    task = subject("digits_cnn")
    loop, stacked = measure_memory(task, "loop"), measure_memory(task, "vmap")

    assert loop.per_copy_example < 0.3 * stacked.per_copy_example
    assert loop.fixed_per_example > 0.5 * stacked.per_copy_example


def test_the_largest_that_fits_does_and_one_more_does_not() -> None:
    """The inverse of the law agrees with the law."""
    law = MemoryLaw(1000, 7, 300, 200, 11)
    room = 50_000
    copies, batch = law.most_copies(room, 20), law.largest_batch(room)

    assert law.peak(copies, 20) <= room < law.peak(copies + 1, 20)
    assert law.peak(1, batch) <= room < law.peak(1, batch + 1)
    assert law.largest_batch(500) == 0
