"""One study for each test of the driver, and the one Ray to run it on."""

from collections.abc import Callable
from pathlib import Path

import pytest

from scaling_sweep.running import run_sweep
from tests.driver.cases import Study, write_study
from tests.run_cases import Silent


@pytest.fixture
def study(tmp_path: Path) -> Study:
    """Return a study of three packs whose task does as it is told."""
    return write_study(tmp_path)


@pytest.fixture
def run(_on_one_ray: None, study: Study) -> Callable[[], tuple[int, int]]:
    """Return a function that runs the study on the one Ray; it returns packs run, trials there."""

    def run_once() -> tuple[int, int]:
        display = Silent()
        assert run_sweep(study.load(), study.out, "local", display).complete
        (plan,) = display.planned
        assert len(display.finished) == plan[0]
        return plan

    return run_once
