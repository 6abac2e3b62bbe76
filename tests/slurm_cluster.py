"""A real Slurm of two nodes on this machine: its own folder, key and ports, for any user."""

import getpass
import os
import secrets
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol", "scancel")
# slurmctld and slurmd lie in sbin, which is not on everybody's PATH.
SEARCHED = f"{os.environ['PATH']}:/usr/sbin:/sbin"
_PATIENCE_S = 30

# A requeued job waits until its old credentials expire: 20 s here, two minutes by default.
# cons_tres shares a node's cores between jobs; linuxproc and no task plugin need no root.
_CONFIG = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket,cred_expire=20
CryptoType=crypto/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=5
MinJobAge=600
SchedulerParameters=batch_sched_delay=0,sched_interval=2
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
{nodes}
PartitionName=all Nodes=n[1-2] Default=YES MaxTime=INFINITE State=UP
"""


def missing_programs() -> list[str]:
    """Return what is not installed of Slurm and munge."""
    return [name for name in PROGRAMS if shutil.which(name, path=SEARCHED) is None]


@dataclass(frozen=True)
class PrivateSlurm:
    """A Slurm that runs.

    Attributes:
        environment: What lets Slurm's commands find it.
    """

    environment: dict[str, str]

    def ask(self, *words: str) -> str:
        """Run one of Slurm's commands and return what it printed."""
        return subprocess.run(
            words, env=self.environment, text=True, capture_output=True, check=True, timeout=30
        ).stdout


@contextmanager
def private_slurm(folder: Path) -> Iterator[PrivateSlurm]:
    """Start munged, slurmctld and two slurmd in a folder of their own, and stop them afterwards.

    Args:
        folder: An empty folder; its path must be short, sockets lie in it.

    Yields:
        The cluster, both nodes idle.
    """
    _configure(folder)
    environment = {**os.environ, "PATH": SEARCHED, "SLURM_CONF": str(folder / "slurm.conf")}
    munge = {name: folder / f"munge.{name}" for name in ("key", "socket", "pid", "log", "seed")}
    munge["key"].write_bytes(secrets.token_bytes(1024))
    munge["key"].chmod(0o600)
    files = [
        f"--{option}-file={munge[option]}" if option != "socket" else f"--socket={munge[option]}"
        for option in munge
    ]
    commands = [
        ["munged", "--foreground", "--force", "--num-threads=2", *files],
        ["slurmctld", "-D", "-c"],
        ["slurmd", "-D", "-N", "n1"],
        ["slurmd", "-D", "-N", "n2"],
    ]
    daemons: list[subprocess.Popen[bytes]] = []
    slurm = PrivateSlurm(environment)
    try:
        for command in commands:
            # slurmd writes to its log; a pipe nobody reads would stop it.
            daemons.append(
                subprocess.Popen(
                    command,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    start_new_session=True,
                )
            )
            if command[0] == "munged":
                _wait(munge["socket"].exists, folder)
        _wait(lambda: _num_idle(slurm) == 2, folder)
        yield slurm
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
        for daemon in daemons:
            try:
                daemon.wait(timeout=10)
            except subprocess.TimeoutExpired:
                daemon.kill()
                daemon.wait()


def _configure(folder: Path) -> None:
    ports = [_free_port() for _ in range(3)]
    host = socket.gethostname().split(".")[0]
    nodes = "\n".join(
        f"NodeName=n{index} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=4 State=UNKNOWN"
        for index, port in enumerate(ports[1:], start=1)
    )
    for name in ("state", "spool-n1", "spool-n2"):
        (folder / name).mkdir()
    (folder / "slurm.conf").write_text(
        _CONFIG.format(
            host=host, user=getpass.getuser(), folder=folder, nodes=nodes, controller_port=ports[0]
        )
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _num_idle(slurm: PrivateSlurm) -> int:
    try:
        return slurm.ask("sinfo", "-h", "-N", "-o", "%T").split().count("idle")
    except subprocess.CalledProcessError:
        return 0


def _wait(ready: object, folder: Path) -> None:
    assert callable(ready)
    deadline = time.monotonic() + _PATIENCE_S
    while not ready():
        logs = {log.name: log.read_text()[-500:] for log in folder.glob("*.log")}
        assert time.monotonic() < deadline, f"Slurm did not start: {logs}"
        time.sleep(0.2)
