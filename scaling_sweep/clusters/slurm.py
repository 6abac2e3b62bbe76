"""Slurm: a cluster file of kind `slurm`, and the batch script made from it."""

import shlex
import sys
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from scaling_sweep.clusters.submission import Job
from scaling_sweep.clusters.worker_environment import exports
from scaling_sweep.spec.section import TEXT, WHOLE, Section, refuse
from scaling_sweep.spec.wording import as_yaml

_Count = Annotated[int, Field(ge=1, le=100_000), WHOLE]


def _one_line(value: str) -> str:
    """Return text without line breaks, which would begin a line of the script."""
    if not value.strip() or not value.isprintable():
        refuse(f"must be one line of text, got {as_yaml(value)}")
    return value


def _directive(value: str) -> str:
    """Return an option of sbatch."""
    if not value.startswith("-"):
        refuse(f"must be an option of sbatch, got {as_yaml(value)}; write for example --qos=high")
    return value


_Line = Annotated[str, TEXT, AfterValidator(_one_line)]
_Word = Annotated[str, Field(pattern=r"^[\w.,:@+-]+$"), TEXT]


class SlurmCluster(Section):
    """A cluster file of kind `slurm`: what a job asks for and how Ray starts in it.

    Login and compute nodes must see the working folder, the Python environment and the home
    folder under the same paths.

    Example:
        >>> SlurmCluster(kind="slurm", nodes=2, time="1:00:00").nodes
        2
    """

    kind: Literal["slurm"] = Field(examples=["slurm"])
    """Says which kind of file this is."""

    nodes: _Count = 1
    """Machines."""

    cpus: _Count = 4
    """Cores on each."""

    gpus: Annotated[int, Field(ge=0, le=64), WHOLE] = 0
    """GPUs on each."""

    memory: _Word | None = Field(None, examples=["16G"])
    """Memory on each; without it, the partition's default."""

    time: _Word | None = Field(None, examples=["4:00:00"])
    """Time limit as sbatch writes it; without it, the partition's."""

    partition: _Word | None = Field(None, examples=["gpu"])
    """Partition; without it, the site's default."""

    account: _Word | None = None
    """Account to charge."""

    extra: tuple[Annotated[_Line, AfterValidator(_directive)], ...] = Field(
        (), examples=[["--qos=high"]]
    )
    """Further options of sbatch."""

    setup: tuple[_Line, ...] = Field((), examples=[["module load cuda"]])
    """Lines of shell before Ray starts; what they export reaches all nodes."""

    venv: _Line | None = None
    """Python environment with scaling-sweep; without it, the one that submits."""

    token_folder: _Line = "~/.scaling-sweep"
    """A folder that all nodes share and nobody else reads, for the job's Ray token."""

    def script(self, job: Job, log: Path, folder: Path) -> str:
        """Return the batch script.

        Args:
            job: The run.
            log: Where Slurm shall write what the job prints.
            folder: The working folder on all nodes.

        Returns:
            A bash script with no secret in it: the token is made by the job itself.
        """
        bin_folder = f"{self.venv}/bin" if self.venv else str(Path(sys.executable).parent)
        run = job.command(str(job.sweep), _absolute(job, folder), _ADDRESS, self.nodes)
        return _SCRIPT.format(
            directives="\n".join(f"#SBATCH {line}" for line in self._directives(job, log, folder)),
            path=_shell_path(bin_folder),
            setup="".join(f"{line}\n" for line in self.setup),
            exports=exports(),
            token_folder=_shell_path(self.token_folder),
            cpus=self.cpus,
            gpus=self.gpus,
            workers=_WORKERS.format(others=self.nodes - 1) if self.nodes > 1 else "",
            run=" ".join(
                _ADDRESS_QUOTED if word == _ADDRESS else shlex.quote(word) for word in run
            ),
        )

    def _directives(self, job: Job, log: Path, folder: Path) -> list[str]:
        """Return the options of sbatch; what preempts the job puts it back into the queue."""
        given = {
            "job-name": job.name,
            "nodes": self.nodes,
            "ntasks-per-node": 1,
            "cpus-per-task": self.cpus,
            "gres": f"gpu:{self.gpus}" if self.gpus else None,
            "mem": self.memory,
            "time": self.time,
            "partition": self.partition,
            "account": self.account,
            "chdir": _escaped(folder),
            "output": _escaped(log),
            "open-mode": "append",
        }
        lines = [f"--{name}={value}" for name, value in given.items() if value is not None]
        return [*lines, "--requeue", *self.extra]


def _absolute(job: Job, folder: Path) -> str:
    return job.out if job.is_url else str(folder / job.out)


def _escaped(path: Path) -> str:
    """Return a path as sbatch reads it; the j of a log's %j stays what Slurm fills in."""
    return f'"{path}"' if " " in str(path) else str(path)


def _shell_path(path: str) -> str:
    """Quote a path but let the shell fill in a leading ~."""
    if path == "~" or path.startswith("~/"):
        return '"$HOME"' + shlex.quote(path[1:])
    return shlex.quote(path)


_ADDRESS = "$address"
_ADDRESS_QUOTED = '"$address"'
# The first node runs Ray's head and the driver. Ports and folders are the job's own, because
# nodes may be shared with other jobs. Worker ports of 0 let the system choose free ones.
_SCRIPT = """\
#!/bin/bash
{directives}
# Made by `scaling-sweep run`: one Ray for this job, the driver beside its head.
set -u
{setup}export PATH={path}:$PATH
{exports}

# The token lets this job's nodes, and nobody else, talk to its Ray.
token_folder={token_folder}/slurm-$SLURM_JOB_ID
trap 'rm -rf "$token_folder" "/tmp/ray-$SLURM_JOB_ID"' EXIT
(umask 077 && mkdir -p "$token_folder" &&
  head -c 32 /dev/urandom | od -An -v -tx1 | tr -d ' \\n' > "$token_folder/token") || exit 1
unset RAY_AUTH_TOKEN RAY_ADDRESS
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=$token_folder/token

head_node=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
head_ip=$(hostname -I | cut -d ' ' -f 1)
port=$((20000 + SLURM_JOB_ID % 10000))
address=$head_ip:$port
on_each=(--num-cpus={cpus} --num-gpus={gpus} --min-worker-port=0 --max-worker-port=0
  --dashboard-agent-listen-port=0 --disable-usage-stats --block)
on_head=(--port=$port --node-ip-address="$head_ip" --temp-dir="/tmp/ray-$SLURM_JOB_ID"
  --include-dashboard=false)
python -c 'import grpc' 2> /dev/null && on_head+=(--ray-client-server-port=$((port + 10000)))

echo "Slurm job $SLURM_JOB_ID on $SLURM_JOB_NODELIST, restart ${{SLURM_RESTART_COUNT:-0}}"
srun --overlap --nodes=1 --ntasks=1 --nodelist="$head_node" \\
  ray start --head "${{on_head[@]}}" "${{on_each[@]}}" > "$token_folder/head.log" 2>&1 &
head=$!
until (exec 3<> "/dev/tcp/$head_ip/$port") 2> /dev/null; do
  kill -0 $head 2> /dev/null || {{ cat "$token_folder/head.log"; exit 1; }}
  sleep 0.5
done
{workers}srun --overlap --nodes=1 --ntasks=1 --nodelist="$head_node" \\
  {run}
"""
_WORKERS = """\
srun --overlap --nodes={others} --ntasks={others} --exclude="$head_node" \\
  ray start --address="$address" "${{on_each[@]}}" > "$token_folder/workers.log" 2>&1 &
"""
