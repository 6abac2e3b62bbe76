"""What tests of several rooms share: one real Ray for all that need one."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from scaling_sweep.clusters import Capacity


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
    def reuse(cluster: str, *, verbose: bool = False) -> "Iterator[Capacity]":
        yield one_ray

    monkeypatch.setattr(running, "connected", reuse)
