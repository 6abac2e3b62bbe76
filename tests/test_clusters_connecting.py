"""Asking a head again whose process for this client is not there."""

import importlib.util
from pathlib import Path

import pytest
import ray

from scaling_sweep.clusters import connecting
from scaling_sweep.clusters.connecting import Capacity, connected
from scaling_sweep.errors import UserError

pytestmark = pytest.mark.ray

DIED = "Initialization failure from server: RuntimeError: {}. See ray_client_server_23000.err"


@pytest.fixture(name="head")
def _head(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Stand in for a head: refuse once for every message in the list, then offer 2 cores."""
    refusals: list[str] = []

    def init(**_: object) -> None:
        if refusals:
            raise ConnectionAbortedError(refusals.pop())

    monkeypatch.setattr(ray, "init", init)
    monkeypatch.setattr(ray, "shutdown", lambda: None)
    monkeypatch.setattr(ray, "cluster_resources", lambda: {"CPU": 2.0})
    # Later tests shall not inherit them.
    monkeypatch.setattr(connecting, "_QUIET_ENVIRONMENT", {})
    monkeypatch.setattr(connecting, "WORKER_ENVIRONMENT", {})
    monkeypatch.setattr(connecting, "check_cluster", lambda address: None)
    return refusals


@pytest.mark.parametrize("words", connecting._SERVER_DIED)
def test_a_client_whose_server_died_asks_again(words: str, head: list[str]) -> None:
    """Twice refused, the third time taken."""
    head += [DIED.format(words)] * 2
    with connected("ray://head:10001") as capacity:
        assert capacity == Capacity(2.0, 0.0)


def test_a_head_that_never_can_is_said_in_a_line(head: list[str]) -> None:
    """After three tries, none of which is left out, the reason is given."""
    head += [DIED.format(connecting._SERVER_DIED[0])] * 4
    with (
        pytest.raises(UserError, match=r"cannot reach .*Starting Ray client server failed"),
        connected("ray://head:10001"),
    ):
        pass
    assert len(head) == 1


def test_another_refusal_is_final(head: list[str]) -> None:
    """What asking again cannot mend is not asked again."""
    head += [DIED.format("Failed to create runtime_env")] * 2
    with pytest.raises(UserError, match="runtime_env"), connected("ray://head:10001"):
        pass
    assert len(head) == 1


def test_these_are_rays_words() -> None:
    """Ray's own source says what we wait for; it fails when an update rewords it."""
    spec = importlib.util.find_spec("ray.util.client")
    assert spec is not None
    assert spec.origin is not None
    source = (Path(spec.origin).parent / "server" / "proxier.py").read_text()
    assert not [words for words in connecting._SERVER_DIED if words not in source]
