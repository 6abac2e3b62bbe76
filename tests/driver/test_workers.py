"""Workers of a sweep: how many of them train."""

from collections.abc import Callable

import pytest

from tests.driver.cases import Study, assert_same_rows

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

# Each worker notes that it trains; the second one takes longer to start than packs take to train,
# which take their time until it does.
SLOW = """
_task, _forward = task, Model.forward
begun = []


def task():
    if in_worker():
        (HERE / f"built-{os.getpid()}").touch()
        if len(list(HERE.glob("built-*"))) > 1:
            time.sleep(2)
    return _task()


def forward(self, inputs):
    if in_worker() and len(inputs) not in begun:
        begun.append(len(inputs))
        (HERE / f"trained-{os.getpid()}").touch()
        if len(list(HERE.glob("trained-*"))) == 1:
            time.sleep(0.3)
    return _forward(self, inputs)


Model.forward = forward
"""


def test_a_worker_that_starts_slowly_is_waited_for(
    run: Callable[[], tuple[int, int]], study: Study
) -> None:
    """While one trains pack after pack, another that takes its time to start is let start."""
    study.rewrite("[8, 16, 64]", str(list(range(2, 42))))
    study.rewrite("steps: 20", "steps: 5")
    module = next(study.path.parent.glob("task_*.py"))
    module.write_text(module.read_text() + SLOW)

    assert run() == (40, 0)

    assert len(list(study.path.parent.glob("trained-*"))) == 2
    assert_same_rows(study.table(), study.expected())
