"""Tests of online mirrors whose server is silent, closed, or wants a login; all on this machine."""

import http.server
import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from scaling_sweep.planning import plan_packs
from scaling_sweep.rows import rows_of_failure
from scaling_sweep.spec import SweepSpec
from scaling_sweep.tracking import open_tracker
from scaling_sweep.tracking.tracker import PATIENCE_S, Mode

pytest.importorskip("wandb")

SPEC = SweepSpec.model_validate(
    {
        "name": "tiny",
        "task": "digits_mlp",
        "seeds": 1,
        "horizon": {"steps": 30},
        "parameters": {
            "optimizer": {"values": ["sgd"]},
            "batch_size": {"values": [4]},
            "lr": {"values": [0.1]},
        },
    }
)
# W&B asks for 40 letters; nobody has this key.
FAKE_KEY = "0" * 40
# What a killed child and its threads may take beyond the time allowed (a busy machine).
SLACK_S = 3.0


class _Answers(http.server.BaseHTTPRequestHandler):
    """A server that lets W&B begin as many runs as ``num_runs`` says and is silent otherwise."""

    over = threading.Event()
    num_runs = 0

    def do_GET(self) -> None:
        """Say that there is no such page."""
        self.send_error(404)

    def do_POST(self) -> None:
        """Accept a new run, or say nothing until the test is over."""
        request = self.rfile.read(int(self.headers["Content-Length"]))
        if b"upsertBucket" not in request or _Answers.num_runs == 0:
            _Answers.over.wait()
            return
        _Answers.num_runs -= 1
        project = {"id": "p", "name": "project", "entity": {"id": "e", "name": "entity"}}
        bucket = {"id": "r", "name": "run", "displayName": "run", "project": project}
        answer = json.dumps({"data": {"upsertBucket": {"bucket": bucket, "inserted": True}}})
        self.send_response(200)
        self.end_headers()
        self.wfile.write(answer.encode())

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Keep quiet."""


@pytest.fixture(autouse=True)
def _nobodys_account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the tester's own W&B account and proxies out."""
    for name in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "WANDB_ENTITY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("WANDB_CONFIG_DIR", str(tmp_path / "account"))
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def silent_server() -> Iterator[str]:
    """A server that takes connections and never answers."""
    # The system accepts for us as long as the backlog has room.
    with socket.create_server(("127.0.0.1", 0), backlog=64) as server:
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def half_server() -> Iterator[str]:
    """A server that looks well and hangs when W&B begins."""
    _Answers.over.clear()
    _Answers.num_runs = 0
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answers) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        _Answers.over.set()
        server.shutdown()
        thread.join()


def _mirror(folder: Path, timeout_s: float) -> tuple[list[str], float]:
    """Mirror one pack online and return what was said and how long closing took."""
    said: list[str] = []
    (pack,) = plan_packs(SPEC)
    tracker = open_tracker("online", SPEC, folder, "", said.append)
    tracker.on_pack(pack, rows_of_failure(pack, "x"), 1.0)
    began = time.monotonic()
    tracker.close(timeout_s=timeout_s)
    return said, time.monotonic() - began


def _offline_runs(folder: Path) -> int:
    return len(list((folder / "wandb").glob("offline-run-*/*.wandb")))


def test_a_silent_server_does_not_hold_the_end_of_the_sweep(
    silent_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing takes the time it may take, and not W&B's own minutes."""
    monkeypatch.setenv("WANDB_BASE_URL", silent_server)
    monkeypatch.setenv("WANDB_API_KEY", FAKE_KEY)

    said, took_s = _mirror(tmp_path, timeout_s=0.2)

    assert took_s < 0.2 + SLACK_S
    assert len(said) == 1
    assert "did not finish within 0.2 s" in said[0]


def test_without_a_login_the_run_is_mirrored_offline(
    half_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody is asked for a key; one line says what is missing, the next where the run lies."""
    monkeypatch.setenv("WANDB_BASE_URL", half_server)

    said, _ = _mirror(tmp_path, timeout_s=120.0)

    assert ["No API key" in line for line in said] == [True, False]
    assert "wandb sync" in said[1]
    assert _offline_runs(tmp_path) == 1


@pytest.mark.slow
@pytest.mark.parametrize("listening", [True, False])
def test_an_unreachable_server_is_said_once_and_nothing_is_lost(
    listening: bool, silent_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether connections hang or are refused, the run is written offline."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nobody = f"http://127.0.0.1:{closed.getsockname()[1]}"
    monkeypatch.setenv("WANDB_BASE_URL", silent_server if listening else nobody)
    monkeypatch.setenv("WANDB_API_KEY", FAKE_KEY)

    said, _ = _mirror(tmp_path, timeout_s=120.0)

    assert ["online is not possible" in line for line in said] == [True, False]
    assert _offline_runs(tmp_path) == 1
    assert FAKE_KEY not in " ".join(said)


@pytest.mark.slow
@pytest.mark.alone
def test_a_server_that_hangs_when_w_and_b_begins_costs_no_more_than_5_s(
    half_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The default patience holds also where the first look said that all is well."""
    monkeypatch.setenv("WANDB_BASE_URL", half_server)
    monkeypatch.setenv("WANDB_API_KEY", FAKE_KEY)

    said, took_s = _mirror(tmp_path, timeout_s=PATIENCE_S[Mode.ONLINE])

    assert PATIENCE_S[Mode.ONLINE] == 5.0
    assert took_s < 5.0 + SLACK_S
    assert ["did not finish within 5 s" in line for line in said] == [True]


@pytest.mark.slow
@pytest.mark.alone
def test_an_outage_in_mid_sweep_costs_no_more_than_5_s_and_nothing_is_lost(
    half_server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the server did not take lies on disk, and the line says how to send it."""
    monkeypatch.setenv("WANDB_BASE_URL", half_server)
    monkeypatch.setenv("WANDB_API_KEY", FAKE_KEY)
    monkeypatch.setattr(_Answers, "num_runs", 1)

    said, took_s = _mirror(tmp_path, timeout_s=PATIENCE_S[Mode.ONLINE] + SLACK_S)

    assert took_s < 5.0 + 2 * SLACK_S
    assert len(said) == 1
    assert f"wandb sync --include-online {tmp_path}/wandb/run-*" in said[0]
    assert len(list((tmp_path / "wandb").glob("run-*/*.wandb"))) == 1
