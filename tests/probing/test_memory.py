"""Memory of a step: what is counted, and what is extrapolated from it."""

import pytest
import torch
from torch import nn

from scaling_sweep.planning import plan_packs
from scaling_sweep.probing.checkup import _stand_in
from scaling_sweep.probing.memory import _measure_step, device_memory, measure_memory
from scaling_sweep.probing.subject import Subject
from scaling_sweep.probing.tally import measure_peak
from scaling_sweep.spec import LoadedSweep, parse_sweep
from scaling_sweep.tasks.loading import load_task
from scaling_sweep.tasks.task import Task
from scaling_sweep.training import recording
from scaling_sweep.training.pack import train_pack

CPU = torch.device("cpu")


def subject(name: str) -> Subject:
    """Return a built-in task to look at."""
    return Subject(_stand_in(name, {}), load_task(name), CPU)


def sweep_of(name: str, num_lrs: int, batch_size: int, horizon: str = "{steps: 20}") -> LoadedSweep:
    """Return a sweep of two seeds under Adam, long enough to try engines."""
    return parse_sweep(
        f"""
name: memory
task: {name}
parameters:
  optimizer: {{values: [adam]}}
  batch_size: {{values: [{batch_size}]}}
  lr: {{values: {[1e-6 * 2**k for k in range(num_lrs)]}}}
seeds: 2
horizon: {horizon}
"""
    )


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


@pytest.fixture
def unrecorded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no step be recorded: the law leaves out what a recording holds for a moment."""
    monkeypatch.setattr(recording, "_MOST_BYTES", 0)


def measure_training(subject: Subject, num_copies: int, batch_size: int) -> int:
    """Return the peak of training a pack of two seeds from its first step to its evaluation."""
    spec = sweep_of(subject.task.name, num_copies // 2, batch_size).spec
    (pack,) = plan_packs(spec)

    def train() -> None:
        train_pack(pack, spec, subject.task)

    return measure_peak(train, subject.device)


@pytest.mark.usefixtures("unrecorded")
@pytest.mark.parametrize("name", ["digits_mlp", "digits_cnn"])
def test_small_steps_predict_what_training_larger_packs_takes(name: str) -> None:
    """Steps of one and two copies tell the peak of whole packs: at most half too much, 5 % less."""
    sweep = sweep_of(name, 1, 8)
    task = load_task(name)
    law = measure_memory(Subject(sweep, task, CPU), "vmap", 256)

    for num_copies, batch_size in ((6, 8), (4, 256)):
        measured = measure_training(Subject(sweep, task, CPU), num_copies, batch_size)
        assert 0.95 * measured < law.peak(num_copies, batch_size) < 1.5 * measured


def test_a_recording_takes_what_it_may_at_most() -> None:
    """A pack whose steps are recorded takes up to 128 MiB more than the law, and no more."""
    sweep = sweep_of("digits_mlp", 1, 256)
    subject = Subject(sweep, load_task("digits_mlp"), CPU)
    peak = measure_memory(subject, "vmap", 256).peak(4, 256)

    measured = measure_training(subject, 4, 256)

    assert peak < measured < peak + recording._MOST_BYTES


def wide_task() -> Task:
    """Return a linear regression on 64 examples of 8 KiB, so that inputs take most."""
    inputs = torch.randn(64, 2048, generator=torch.Generator().manual_seed(0))
    loss = nn.functional.mse_loss
    targets = inputs.mean(1, keepdim=True)
    return Task("wide", "W.", lambda: nn.Linear(2048, 1), loss, inputs=inputs, targets=targets)


@pytest.mark.usefixtures("unrecorded")
@pytest.mark.parametrize("engine", ["vmap", "loop"])
@pytest.mark.parametrize("num_lrs", [1, 2])
def test_inputs_of_a_batch_that_is_cut_are_counted(engine: str, num_lrs: int) -> None:
    """In portions of 16 the law still holds for batches of 256, whose inputs lie there whole."""
    few_steps = f"{{steps: 3}}\nengine: {engine}\nresources: {{micro_batch: 16}}"
    sweep = sweep_of("wide", num_lrs, 256, few_steps)
    task, (pack,) = wide_task(), plan_packs(sweep.spec)
    law = measure_memory(Subject(sweep, task, CPU), engine, 256)

    def train() -> None:
        train_pack(pack, sweep.spec, task)

    measured = measure_peak(train, CPU)
    assert 0.95 * measured < law.peak(pack.num_trials, 256, micro_batch=16) < 1.5 * measured
    assert law.peak(pack.num_trials, 16) < 0.5 * measured  # a whole batch of 16 takes far less


@pytest.mark.slow
def test_in_the_loop_engine_copies_share_activations() -> None:
    """Another copy costs its weights there, and its activations too when stacked."""
    task = subject("digits_cnn")
    loop, stacked = measure_memory(task, "loop"), measure_memory(task, "vmap")

    assert loop.per_copy_example < 0.3 * stacked.per_copy_example
    assert loop.fixed_per_example > 0.5 * stacked.per_copy_example


def test_on_a_gpu_the_allocator_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """The peak above what was there before, and what is free with what is held idle."""
    steps: list[str] = []
    for name, answer in {
        "synchronize": None,
        "reset_peak_memory_stats": None,
        "memory_allocated": 300,
        "max_memory_allocated": 1300,
        "memory_reserved": 500,
        "mem_get_info": (7000, 8000),
    }.items():
        monkeypatch.setattr(
            torch.cuda, name, lambda *_, name=name, a=answer: steps.append(name) or a
        )
    gpu = torch.device("cuda")

    assert measure_peak(lambda: steps.append("compute"), gpu) == 1000
    assert steps.index("reset_peak_memory_stats") < steps.index("compute")
    assert "synchronize" in steps[steps.index("compute") : steps.index("max_memory_allocated")]
    assert device_memory(gpu) == 7000 + 200


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu_small_steps_predict_larger_ones() -> None:
    """As on a CPU, with a fifth to spare for the workspaces of kernels."""
    task = Subject(sweep_of("digits_cnn", 1, 8), load_task("digits_cnn"), torch.device("cuda"))
    law = measure_memory(task, "vmap", 256)

    assert _measure_step(task, "vmap", 6, 128) < 1.2 * law.peak(6, 128)
