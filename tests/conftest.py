"""What tests of several rooms share: one real Ray for all that need one."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from scaling_sweep.clusters import Capacity


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that processes that share the tests end together."""
    items.sort(key=lambda item: item.get_closest_marker("ray") is None)


@pytest.fixture(scope="session", autouse=True)
def _heed_interrupts() -> None:
    """Let programs that tests start heed Ctrl-C, which tests in the background would ignore."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def one_ray() -> "Iterator[Capacity]":
    """Start one Ray for all tests of this process."""
    from scaling_sweep.clusters import connected

    with connected("local") as capacity:
        yield capacity


@pytest.fixture
def _on_one_ray(one_ray: "Capacity", monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every run of a test take that Ray instead of starting its own."""
    from scaling_sweep import running

    @contextmanager
    def reuse(cluster: str, **_: object) -> "Iterator[Capacity]":
        yield one_ray

    monkeypatch.setattr(running, "connected", reuse)
