"""Memory where packs will train, as Ray and a worker say it."""

from pathlib import Path

import pytest
import torch

from scaling_sweep.driver.memory import free_of_workers, look_at_gpu
from scaling_sweep.spec import Resources
from scaling_sweep.training.preflight import inspect_task, load_sweep_task, search_folders
from tests.driver.cases import Study

pytestmark = [pytest.mark.ray, pytest.mark.slow]


def machine_memory() -> int:
    """Return all main memory there is, as the kernel says."""
    (line,) = [x for x in Path("/proc/meminfo").read_text().splitlines() if "MemTotal" in x]
    return int(line.split()[1]) * 1024


@pytest.mark.usefixtures("_on_one_ray")
def test_each_worker_has_its_share_of_a_machine() -> None:
    """Ray tells how much; two cores a pack have twice as much as one, none more than there is."""
    one, two = free_of_workers(Resources(cpus=1)), free_of_workers(Resources(cpus=2))

    assert one is not None
    assert two is not None
    assert two == pytest.approx(2 * one, abs=1)
    assert 0 < two <= machine_memory()


@pytest.mark.usefixtures("_on_one_ray")
@pytest.mark.skipif(torch.cuda.is_available(), reason="the answer is another where there is a GPU")
def test_a_worker_without_a_gpu_has_nothing_to_say(study: Study) -> None:
    """The question reaches a worker, which finds the task, and packs stay as they are."""
    sweep = study.load()
    facts = inspect_task(sweep, load_sweep_task(sweep))

    assert look_at_gpu(sweep, facts, search_folders(sweep)) is None
