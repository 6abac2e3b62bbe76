"""A real Ray of two nodes on this machine, with token authentication, on ports of its own."""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from scaling_sweep.clusters.tokens import write_token

ROOT = Path(__file__).resolve().parent.parent
PATIENCE_S = 300
VARIABLES = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS")
WAIT = """
import sys
from scaling_sweep.clusters.preflight import wait_for_nodes
print(wait_for_nodes(sys.argv[1], 2, 120))
"""


@dataclass(frozen=True)
class TwoNodes:
    """A Ray of two nodes, each with one core.

    Attributes:
        address: Of its head.
        client: The same for Ray's client.
        token: The file that lets one in.
        second: The process of the node that is not the head.
    """

    address: str
    client: str
    token: Path
    second: "subprocess.Popen[bytes]"

    def client_servers(self) -> str:
        """Return the end of what the processes wrote that the head starts for clients."""
        logs = sorted(self.token.parent.glob("r/session_latest/logs/ray_client_server*.err"))
        return "".join(f"\n{log.name}: {log.read_text()[-2000:]}" for log in logs)


def free_port() -> int:
    """Return a port that nobody uses and Ray gives to no worker."""
    while True:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port > 20_000:
            return port


def environment(**more: object) -> dict[str, str]:
    """Return this process's environment without Ray's variables."""
    plain = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return {**plain, "PYTHONPATH": path, **{name: str(more[name]) for name in more}}


@contextmanager
def node(
    folder: Path, token: Path, port: int, *options: str
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run one Ray node until the block ends; begin it once the head's port answers."""
    words = ["start", "--block", "--disable-usage-stats", "--num-cpus=1", "--num-gpus=0"]
    words += ["--dashboard-agent-listen-port=0", "--min-worker-port=0", "--max-worker-port=0"]
    variables = environment(
        RAY_AUTH_MODE="token",
        RAY_AUTH_TOKEN_PATH=token,
        # How long the head waits for a client's process, dead ones too: 30 s by default, too short
        # where tests crowd. Whoever asks does so three times.
        RAY_CLIENT_SERVER_CHECK_CHANNEL_TIMEOUT_S=60,
        # What tells a task's module which of the two it is on.
        TESTED_NODE="head" if "--head" in options else "second",
    )
    written = folder / f"{len(list(folder.iterdir()))}.log"
    with written.open("w") as log:
        process = subprocess.Popen(
            [str(Path(sys.executable).with_name("ray")), *words, *options],
            env=variables,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not answers(port):
            assert process.poll() is None, written.read_text()[-2000:]
            assert time.monotonic() < deadline, written.read_text()[-2000:]
            time.sleep(0.2)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def two_nodes() -> Iterator[TwoNodes]:
    """Start a Ray of two nodes with one core each, and stop it afterwards.

    Yields:
        The cluster, both nodes there.
    """
    port, client = free_port(), free_port()
    # A short path: sockets lie in it.
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "logs").mkdir()
        write_token(folder / "token")
        address = f"127.0.0.1:{port}"
        head = [f"--port={port}", "--node-ip-address=127.0.0.1", f"--temp-dir={folder}/r"]
        head += ["--head", "--include-dashboard=false"]
        if find_spec("grpc") is not None:
            head.append(f"--ray-client-server-port={client}")
        logs, token = folder / "logs", folder / "token"
        with (
            node(logs, token, port, *head),
            node(logs, token, port, f"--address={address}") as second,
        ):
            joined = call(folder, WAIT, address, RAY_AUTH_TOKEN_PATH=token)
            assert joined.stdout == "2\n", joined.stderr
            while find_spec("grpc") is not None and not answers(client):
                time.sleep(0.2)
            yield TwoNodes(address, f"ray://127.0.0.1:{client}", token, second)


def answers(port: int) -> bool:
    """Return whether something listens."""
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def call(
    folder: Path, program: str, *words: object, **variables: object
) -> subprocess.CompletedProcess[str]:
    """Run a program in a process of its own, with a home of its own."""
    (folder / "home").mkdir(exist_ok=True)
    return subprocess.run(
        [sys.executable, "-c", program, *map(str, words)],
        cwd=folder,
        env=environment(HOME=folder / "home", **variables),
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
