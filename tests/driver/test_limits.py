"""Packs that hang or eat memory are given up with the reason, and the sweep goes on."""

from collections.abc import Callable

import pytest

from scaling_sweep.errors import UserError
from tests.driver.cases import Study, assert_same_rows

pytestmark = [
    pytest.mark.ray,
    pytest.mark.slow,
    pytest.mark.usefixtures("_on_one_worker", "_one_more_try"),
]


@pytest.fixture
def _one_more_try(monkeypatch: pytest.MonkeyPatch) -> None:
    """Try once again instead of twice; tests/driver/test_faults.py counts to three."""
    from scaling_sweep.driver import tuner

    monkeypatch.setattr(tuner, "MAX_RETRIES", 1)


def assert_only_64_failed(study: Study, reason: str) -> None:
    """Assert that the trials at batch size 64 failed for a reason, and all others were measured."""
    table, expected = study.table(), study.expected()
    failed = table[table["batch_size"] == 64]
    assert set(failed["verdict"]) == {"failed"}
    assert all(reason in text for text in failed["reason"]), set(failed["reason"])
    assert_same_rows(table[table["batch_size"] < 64], expected[expected["batch_size"] < 64])


def test_a_pack_that_hangs_is_given_up(run: Callable[[], tuple[int, int]], study: Study) -> None:
    """Each try is ended; its trials fail with the reason; once it no longer hangs, they train."""
    study.rewrite("engine: vmap", "engine: vmap\nresources: {pack_timeout: 3}")
    waiting = study.tell("wait")
    assert run() == (3, 0)
    waiting.unlink()

    assert_only_64_failed(study, "took longer than 3 s (resources.pack_timeout)")
    study.rewrite("pack_timeout: 3", "pack_timeout: 600")
    assert run() == (1, 12)
    assert_same_rows(study.table(), study.expected())


def test_a_pack_that_eats_memory_fails_alone(
    run: Callable[[], tuple[int, int]], study: Study
) -> None:
    """Its worker is refused more than it may take, and the machine and other packs keep theirs."""
    # Not less: where oneDNN has no room for its code, rows equal the expected to rounding only.
    study.rewrite("engine: vmap", "engine: vmap\nresources: {memory_gib: 2.5}")
    eating = study.tell("eat")
    assert run() == (3, 0)
    eating.unlink()

    assert_only_64_failed(study, "memory")


def test_a_start_that_eats_memory_is_one_line(
    run: Callable[[], tuple[int, int]], study: Study
) -> None:
    """The worker that trains the starts is refused memory, and whoever runs is told what to do."""
    study.rewrite(
        "engine: vmap",
        "engine: vmap\nresources: {memory_gib: 1.5}\n"
        "start: {steps: 5, optimizer: sgd, lr: 0.05, batch_size: 32}",
    )
    study.tell("eat", 32)

    with pytest.raises(UserError, match="start: out of memory with one copy at batch size 32"):
        run()
    assert not list(study.out.rglob("seed-*.pt"))
