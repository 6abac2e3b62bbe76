"""Whether a Ray cluster answers and lets us in, found within seconds and said in one line.

Ray itself tries a dead address for minutes and a wrong token for 20 s, prints warnings from C++
past every redirection, and aborts the process in one case. So it is asked in a process of its own.
"""

import json
import os
import socket
import subprocess
import sys
import time
from dataclasses import dataclass

from scaling_sweep.clusters.tokens import MODE, TokenSource, use_token
from scaling_sweep.errors import UserError

_CONNECT_TIMEOUT_S = 2.0
# Importing Ray takes 0.5 to 3 s, the answer 0.01 s (measured, two cores); the rest is for busy
# machines. Together with the connection it stays under the 15 s that a person waits.
_ANSWER_TIMEOUT_S = 12.0
CLIENT = "ray://"

_ASK = """
import json, sys
from ray._raylet import GcsClient
client = GcsClient(address=sys.argv[1])
nodes = client.get_all_node_info().values()
print(json.dumps({"nodes": sum(node.state == 0 for node in nodes)}))
"""
_ASK_CLIENT = """
import json, sys
from ray._private.grpc_utils import init_grpc_channel
from ray.core.generated import ray_client_pb2 as messages, ray_client_pb2_grpc as services
import grpc
ask = services.RayletDriverStub(init_grpc_channel(sys.argv[1])).ClusterInfo
ping = messages.ClusterInfoRequest(type=messages.ClusterInfoType.PING)
try:
    ask(ping, timeout=5, metadata=[("client_id", "preflight")])
except grpc.RpcError as error:
    sys.exit(error.code().name)
print(json.dumps({"nodes": 0}))
"""


@dataclass(frozen=True)
class Answer:
    """What a cluster said.

    Attributes:
        num_nodes: Nodes alive; 0 where it cannot be asked, through ``ray://``.
        token: Where the token came from that was sent.
    """

    num_nodes: int
    token: TokenSource


class SilentError(UserError):
    """Something listens and says nothing: no Ray, or one that is very busy."""


def check_cluster(address: str) -> Answer:
    """Ask a cluster whether it is there and takes our token.

    Args:
        address: ``host:port`` of a running Ray, or ``ray://host:port``.

    Returns:
        What it said.

    Raises:
        UserError: If nothing answers, what answers is no Ray, or the token is missing or wrong;
            within 15 s.
        SilentError: If it takes the connection and says nothing.
    """
    token = use_token()
    bare = address.removeprefix(CLIENT)
    _check_port(address, bare)
    program = _ASK_CLIENT if address.startswith(CLIENT) else _ASK
    try:
        done = subprocess.run(
            [sys.executable, "-c", program, bare],
            capture_output=True,
            text=True,
            timeout=_ANSWER_TIMEOUT_S,
            env={**os.environ, "RAY_USAGE_STATS_ENABLED": "0"},
        )
    except subprocess.TimeoutExpired:
        raise SilentError(
            f"{address} takes connections but does not answer as Ray does; {_WHICH_PORT}"
        ) from None
    if done.returncode:
        raise UserError(_reason(address, token, done.stderr))
    return Answer(json.loads(done.stdout.splitlines()[-1])["nodes"], token)


_WHICH_PORT = (
    "write the port of `ray start --head` (6379 by default), or ray:// and the client's (10001)"
)


def _check_port(address: str, bare: str) -> None:
    """Fail within 2 s where nothing listens; Ray itself would try for minutes."""
    host, _, port = bare.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _CONNECT_TIMEOUT_S).close()
    except OSError as error:
        reason = error.strerror or str(error)
        raise UserError(
            f"nothing answers at {address}: {reason}; is Ray running there? "
            "Start it with `ray start --head`, or write CLUSTER=local"
        ) from None


def _reason(address: str, token: TokenSource, stderr: str) -> str:
    """Return one line for what a probe died of; nothing of the token is in it."""
    if "AuthenticationError" in stderr or "UNAUTHENTICATED" in stderr:
        if token is TokenSource.NONE:
            return (
                f"the Ray cluster {address} asks for a token, and there is none here; put the one "
                "that `ray get-auth-token` prints on its head into ~/.ray/auth_token (mode 600), "
                "or name its file in RAY_AUTH_TOKEN_PATH"
            )
        if os.environ.get(MODE, "").lower() == "disabled":
            return f"the Ray cluster {address} asks for a token; unset RAY_AUTH_MODE=disabled"
        return (
            f"the Ray cluster {address} refuses the token from {token}; take the one that "
            "`ray get-auth-token` prints on its head"
        )
    if "No module named 'grpc'" in stderr:
        return f"{address} needs Ray's client; pip install 'ray[client]', or write host:port"
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    return (
        f"{address} does not answer as Ray does ({lines[-1][:200] if lines else 'no reason'}); "
        + (_WHICH_PORT)
    )


def wait_for_nodes(address: str, num_nodes: int, timeout_s: float) -> int:
    """Wait until a cluster has so many nodes, for example those of a Slurm job.

    Args:
        address: ``host:port`` of a running Ray.
        num_nodes: Nodes to wait for.
        timeout_s: How long at most.

    Returns:
        How many there are.

    Raises:
        UserError: If there is no Ray, or it does not take our token.
        SilentError: If it says nothing all the time.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            found = check_cluster(address).num_nodes
        except SilentError:
            # Machines that all start at once are busy; there is time to ask again.
            if time.monotonic() > deadline:
                raise
        else:
            if found >= num_nodes or time.monotonic() > deadline:
                return found
        time.sleep(1)
