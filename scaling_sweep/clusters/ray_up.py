"""Ray's own cluster launcher: a cluster file of kind `ray-up`, and the commands made from it."""

import logging
import shlex
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field

from scaling_sweep.clusters.submission import Command, Job, Note, PrivateFile, Step
from scaling_sweep.clusters.worker_environment import exports
from scaling_sweep.errors import UserError
from scaling_sweep.spec.section import TEXT, WHOLE, Section

# A place of its own on every node: a token of the user's stays where it is.
_REMOTE_TOKEN = "~/.scaling-sweep/ray-up-token"
_START = ("head_start_ray_commands", "worker_start_ray_commands")


class RayUpCluster(Section):
    """A cluster file of kind `ray-up`: machines that Ray's launcher starts for one run."""

    kind: Literal["ray-up"] = Field(examples=["ray-up"])
    """Says which kind of file this is."""

    launcher: Annotated[str, Field(min_length=1), TEXT] = Field(examples=["aws.launcher.yaml"])
    """Ray's cluster-launcher file, from this file's folder; it installs scaling-sweep[train]."""

    nodes: Annotated[int, Field(ge=1, le=10_000), WHOLE] = 1
    """Machines to wait for before packs are planned, the head included."""

    remote_folder: Annotated[str, Field(pattern=r"^[~\w./-]+$"), TEXT] = "~/scaling-sweep"
    """Folder on the head for the sweep file and the run folder."""

    activate: Annotated[str, TEXT] = Field("", examples=["source ~/venv/bin/activate"])
    """Shell before the command, where scaling-sweep is not on the head's PATH."""

    down: bool = True
    """Whether the machines are given back after the run."""


@dataclass(frozen=True)
class Launch:
    """The steps of a run on machines of its own.

    Attributes:
        up: Starts the machines.
        run: Brings the sweep file and runs it.
        fetch: Brings the run folder.
        down: Gives the machines back.
    """

    up: tuple[Step, ...]
    run: tuple[Step, ...]
    fetch: tuple[Step, ...]
    down: tuple[Step, ...]

    def steps(self) -> Iterator[Step]:
        """Yield all of them in order."""
        yield from (*self.up, *self.run, *self.fetch, *self.down)


def load_launcher(path: Path) -> dict[str, Any]:
    """Read a launcher file and let Ray's own validator look at it, offline.

    Args:
        path: Ray's cluster-launcher file.

    Returns:
        Its content as it was written.

    Raises:
        UserError: If it is not there, not YAML, or Ray would refuse it.
    """
    try:
        config = yaml.safe_load(path.read_text())
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; name it in launcher:") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not YAML: {' '.join(str(error).split())[:200]}") from None
    if not isinstance(config, dict):
        raise UserError(f"{path}: must be a mapping, Ray's cluster-launcher file")
    from ray.autoscaler._private.util import prepare_config, validate_config

    # It tells of its defaults.
    logging.getLogger("ray.autoscaler").setLevel(logging.ERROR)
    try:
        # Ray's own preparation, without which its validator refuses its own examples.
        prepared = prepare_config(deepcopy(config))
        prepared.setdefault("cluster_synced_files", [])
        validate_config(prepared)
    except Exception as error:  # the validator, the providers and YAML raise of all kinds
        reason = (getattr(error, "message", "") or str(error)).split("\n")[0][:300]
        raise UserError(f"{path}: Ray's launcher refuses it: {reason}") from None
    return config


def secured(config: dict[str, Any], token: Path) -> dict[str, Any]:
    """Return a launcher's content with token authentication on every node.

    Args:
        config: As `load_launcher` read it.
        token: The token's file on this machine.

    Returns:
        A copy whose nodes get the file and start Ray in token mode.
    """
    made = deepcopy(config)
    made["file_mounts"] = {**(made.get("file_mounts") or {}), _REMOTE_TOKEN: str(token)}
    begin = f"chmod 600 {_REMOTE_TOKEN}; {_ENVIRONMENT}; "
    for key in _START:
        if key in made:
            made[key] = [begin + line if "ray start" in line else line for line in made[key]]
    return made


_ENVIRONMENT = (
    "unset RAY_AUTH_TOKEN; export RAY_AUTH_MODE=token "
    f"RAY_AUTH_TOKEN_PATH=$HOME{_REMOTE_TOKEN[1:]}; {exports()}"
)


def plan_launch(cluster: RayUpCluster, job: Job, config: dict[str, Any], private: Path) -> Launch:
    """Return the steps of a run on machines of its own.

    Args:
        cluster: The cluster file.
        job: The run.
        config: As `load_launcher` read it.
        private: A folder that nobody else reads; the token's file is ``token`` in it.

    Returns:
        What is written and run, in order.
    """
    made = private / "launcher.yaml"
    text = yaml.safe_dump(secured(config, private / "token"), sort_keys=False, width=100)
    there = f"{cluster.remote_folder}/{job.study}"
    out = job.out if job.is_url else f"{there}/run"
    sweep = f"{there}/{job.sweep.name}"
    run = job.command(sweep, out, "auto", cluster.nodes)
    words = " ".join(map(_quoted, run))
    before = f"{cluster.activate}; " if cluster.activate else ""
    fetch = () if job.is_url else (_ray("rsync-down", made, f"{out}/", f"{job.out}/"),)
    return Launch(
        up=(
            Note(f"a new token goes into {private / 'token'}, mode 600, unseen"),
            PrivateFile(made, text),
            _ray("up", made, "--yes"),
        ),
        run=(
            _ray("exec", made, f"mkdir -p {_quoted(there)}"),
            _ray("rsync-up", made, str(job.sweep), sweep),
            _ray("exec", made, f"{before}{_ENVIRONMENT}; {words}"),
        ),
        fetch=fetch,
        down=(_ray("down", made, "--yes"),) if cluster.down else (),
    )


def _quoted(word: str) -> str:
    """Quote a word but leave a leading ~ to the shell over there."""
    return f"~/{shlex.quote(word[2:])}" if word.startswith("~/") else shlex.quote(word)


def _ray(verb: str, launcher: Path, *words: str) -> Command:
    return Command(("ray", verb, str(launcher), *words))
