"""What tests of several rooms share: one real Ray for all that need one."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from scaling_sweep.clusters import Capacity


# Files whose tests take longest of those that start no Ray.
LONGEST = ("test_compiled.py", "test_vision.py", "test_damping.py", "test_memory.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that processes that share the tests end together."""

    def rank(item: pytest.Item) -> int:
        return 0 if item.get_closest_marker("ray") else 1 if item.path.name in LONGEST else 2

    items.sort(key=lambda item: (rank(item), str(item.path)))


@pytest.fixture(scope="session", autouse=True)
def _heed_interrupts() -> None:
    """Let programs that tests start heed Ctrl-C, which tests in the background would ignore."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _restored_environment() -> Iterator[None]:
    """Leave no test the variables that one before it has set for Ray and its workers."""
    before = dict(os.environ)
    yield
    for name in os.environ.keys() - before.keys():
        del os.environ[name]
    os.environ.update(before)


@pytest.fixture(scope="session")
def one_ray() -> "Iterator[Capacity]":
    """Start one Ray for all tests of this process."""
    from scaling_sweep.clusters import connected
    from scaling_sweep.clusters.worker_environment import WORKER_ENVIRONMENT

    with connected("local") as capacity:
        # Ray's processes have them by now, and programs that tests start shall not.
        for name in WORKER_ENVIRONMENT:
            os.environ.pop(name, None)
        yield capacity


@pytest.fixture
def _on_one_ray(one_ray: "Capacity", monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every run of a test take that Ray instead of starting its own."""
    _lead_to(one_ray, monkeypatch)


@pytest.fixture
def _on_one_worker(_on_one_ray: None, one_ray: "Capacity", monkeypatch: pytest.MonkeyPatch) -> None:
    """The same, with packs one after another: each worker takes 3 s of a core to start."""
    _lead_to(replace(one_ray, cpus=1.0), monkeypatch)


def _lead_to(capacity: "Capacity", monkeypatch: pytest.MonkeyPatch) -> None:
    """Let runs find Ray there, with so much room."""
    from scaling_sweep import running

    @contextmanager
    def reuse(cluster: str, **_: object) -> "Iterator[Capacity]":
        yield capacity

    monkeypatch.setattr(running, "connected", reuse)
