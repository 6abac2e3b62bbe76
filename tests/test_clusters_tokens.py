"""Who is let in, and what is said before Ray is: tokens, addresses that are dead, the doctor."""

import json
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from scaling_sweep.cli import main
from scaling_sweep.clusters import checks, preflight
from scaling_sweep.clusters.checks import Health, examine
from scaling_sweep.clusters.preflight import check_cluster
from scaling_sweep.clusters.tokens import (
    TokenSource,
    default_path,
    is_private,
    secure_local,
    token_source,
    use_token,
    write_token,
)
from scaling_sweep.errors import UserError


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the test a home without tokens and an environment without Ray's variables."""
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def test_a_token_is_found_where_ray_looks(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variable before named file before default file, as in Ray's documentation."""
    assert token_source() is TokenSource.NONE
    write_token(default_path())
    assert token_source() is TokenSource.DEFAULT
    named = home / "named"
    named.write_text("b")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(named))
    assert token_source() is TokenSource.PATH
    monkeypatch.setenv("RAY_AUTH_TOKEN", "c")
    assert token_source() is TokenSource.VALUE
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    named.write_text(" \n")
    with pytest.raises(UserError, match="which is empty"):
        token_source()
    named.unlink()
    with pytest.raises(UserError, match="cannot be read: No such file"):
        token_source()


def test_a_token_there_is_sent_and_token_mode_without_one_refused(home: Path) -> None:
    """Ray would send none by itself, and abort where it is told to and has none."""
    environment = {"HOME": str(home)}
    assert use_token(environment) is TokenSource.NONE
    assert "RAY_AUTH_MODE" not in environment
    with pytest.raises(UserError, match="there is no token; put the cluster's token into"):
        use_token({**environment, "RAY_AUTH_MODE": "token"})
    write_token(default_path(environment))
    assert use_token(environment) is TokenSource.DEFAULT
    assert environment["RAY_AUTH_MODE"] == "token"
    disabled = {"HOME": str(home), "RAY_AUTH_MODE": "disabled"}
    use_token(disabled)
    assert disabled["RAY_AUTH_MODE"] == "disabled"


def test_a_ray_started_here_has_a_private_token(home: Path) -> None:
    """The file is made with mode 600 and kept; who switches authentication off gets none."""
    environment = {"HOME": str(home), "RAY_AUTH_MODE": "disabled"}
    secure_local(environment)
    assert not default_path(environment).exists()
    del environment["RAY_AUTH_MODE"]
    secure_local(environment)
    path = default_path(environment)

    assert is_private(path)
    assert path.parent.stat().st_mode & 0o777 == 0o700
    first = path.read_text()
    assert re.fullmatch("[0-9a-f]{64}", first)
    secure_local(environment)
    assert path.read_text() == first
    assert [file.name for file in path.parent.iterdir()] == ["auth_token"]


@pytest.fixture
def mute_port() -> Iterator[int]:
    """Return a port that takes connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_dead_address_is_one_line_at_once(home: Path) -> None:
    """Nothing listens: no Ray is imported, no minute is waited."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    begun = time.monotonic()
    for address in (f"127.0.0.1:{port}", f"ray://127.0.0.1:{port}"):
        with pytest.raises(UserError, match=f"^nothing answers at {address}: Connection refused"):
            check_cluster(address)

    assert time.monotonic() - begun < 2


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_what_is_no_ray_is_one_line_in_time(
    home: Path, mute_port: int, scheme: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A port that never answers is given up within 15 s."""
    assert preflight._CONNECT_TIMEOUT_S + preflight._ANSWER_TIMEOUT_S < 15
    if not scheme:  # who asks waits for ever; through `ray://` it gives up by itself
        monkeypatch.setattr(preflight, "_ANSWER_TIMEOUT_S", 3.0)
    begun = time.monotonic()
    with pytest.raises(
        UserError, match=r"does not answer as Ray does|needs Ray's client"
    ) as caught:
        check_cluster(f"{scheme}127.0.0.1:{mute_port}")

    assert time.monotonic() - begun < 15
    assert "\n" not in str(caught.value)


def test_the_doctor_finds_what_is_wrong(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each fault that is put in is a line with what to mend, and no secret is in any."""
    monkeypatch.setattr(checks, "_lines", lambda *command: [])
    good = {finding.name: finding for finding in examine(tmp_path / "not" / "there")}
    assert good["storage"].text == f"{tmp_path} can be written"
    assert good["Ray token"].health is Health.OK
    assert good["GPUs"].text == "none, packs train on the processor"

    monkeypatch.setattr(checks, "_lines", lambda *c: ["GPU 0: X"] if "-L" in c else ["0 "])
    monkeypatch.setattr(checks, "_NO_DISK", 2**70)
    monkeypatch.setattr(checks, "_LOW_MEMORY", 2**70)
    default_path().parent.mkdir(parents=True)
    default_path().write_text("my-token")
    default_path().chmod(0o644)
    monkeypatch.setenv("WANDB_API_KEY", "my-key")
    (tmp_path / "file").write_text("")
    bad = {finding.name: finding for finding in examine(tmp_path)}
    expected = {"GPUs": "problem", "disk": "problem", "memory": "note", "Ray token": "note"}
    assert {name: bad[name].health for name in expected} == expected
    assert bad["Ray token"].mend == f"chmod 600 {default_path()}"
    assert all(finding.mend for finding in bad.values() if finding.health is not Health.OK)
    assert not any("my-" in f"{finding}" for finding in bad.values())


def test_the_doctor_exits_1_with_a_problem(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines for people and JSON for programs say the same; a dead cluster is a problem."""
    monkeypatch.setattr(checks, "_lines", lambda *command: [])
    arguments = ["doctor", "--out", str(tmp_path), "--cluster", "127.0.0.1:1"]
    shown, listed = (CliRunner().invoke(main, arguments + more) for more in ([], ["--json"]))

    assert shown.exit_code == listed.exit_code == 1
    findings = json.loads(listed.stdout)
    assert [line.split()[0] for line in shown.stdout.splitlines()] == [
        finding["health"] for finding in findings
    ]
    assert findings[-1]["name"] == "cluster 127.0.0.1:1"
    assert findings[-1]["text"].startswith("nothing answers at")
    assert findings[-1]["mend"].startswith("is Ray running there?")


@pytest.mark.parametrize(("num_silent", "patience_s"), [(2, 60.0), (3, 0.0)])
def test_waiting_for_machines_outlasts_a_busy_head(
    monkeypatch: pytest.MonkeyPatch, num_silent: int, patience_s: float
) -> None:
    """A head that says nothing is asked again until the time is up, then it is one line."""
    answers = iter([*["silent"] * num_silent, "two"])

    def check(address: str) -> preflight.Answer:
        if next(answers) == "silent":
            raise preflight.SilentError("takes connections but does not answer")
        return preflight.Answer(2, TokenSource.NONE)

    monkeypatch.setattr(preflight, "check_cluster", check)
    monkeypatch.setattr(preflight.time, "sleep", lambda seconds: None)
    if patience_s:
        assert preflight.wait_for_nodes("node:6379", 2, patience_s) == 2
    else:
        with pytest.raises(UserError, match="does not answer"):
            preflight.wait_for_nodes("node:6379", 2, patience_s)
