"""Doing with Ray's launcher what `ray_up` renders: up, run, fetch, down."""

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from scaling_sweep.clusters.ray_up import Launch, RayUpCluster, load_launcher, plan_launch
from scaling_sweep.clusters.submission import Command, Job, Say, Step, carry_out
from scaling_sweep.clusters.tokens import private_folder, write_token
from scaling_sweep.errors import UserError


def launch_of(cluster: RayUpCluster, path: Path | None, name: str, job: Job) -> Launch:
    """Read the launcher file and plan the run.

    Args:
        cluster: The cluster file.
        path: Where it lies; the launcher file is named from its folder.
        name: What it is called.
        job: The run.

    Returns:
        The steps; nothing is done yet.

    Raises:
        UserError: If Ray would refuse the launcher file.
    """
    launcher = (path.parent if path else Path()) / cluster.launcher
    return plan_launch(cluster, job, load_launcher(launcher), private_folder() / "ray-up" / name)


def token_file(name: str) -> Path:
    """Return where the token of a launched cluster lies.

    Args:
        name: What the cluster is called.

    Returns:
        A path in our private folder.
    """
    return private_folder() / "ray-up" / name / "token"


def run_launch(launch: Launch, token: Path, job: Job, say: Say) -> None:
    """Bring the machines up, run, fetch what there is, and give the machines back.

    Args:
        launch: The steps.
        token: Where the token lies; made when it is not there, because machines that are still up
            have the old one.
        job: The run.
        say: Shows one line.

    Raises:
        UserError: If the machines do not start or the run fails; what it finished is fetched.
    """
    if not token.exists():
        write_token(token)
    if not job.is_url:
        Path(job.out).mkdir(parents=True, exist_ok=True)
    try:
        carry_out(_with_our_ray(launch.up), say)
        carry_out(_with_our_ray(launch.run), say)
    finally:
        with suppress(UserError):
            carry_out(_with_our_ray(launch.fetch), say)
        # Machines that nobody uses cost money: also after a failure, also after Ctrl-C.
        carry_out(_with_our_ray(launch.down), say)


def _with_our_ray(steps: Iterable[Step]) -> Iterator[Step]:
    """Take the ray that is installed beside this Python, not any other on the PATH."""
    ray = Path(sys.executable).with_name("ray")
    for step in steps:
        ours = isinstance(step, Command) and step.words[0] == "ray" and os.access(ray, os.X_OK)
        yield Command((str(ray), *step.words[1:]), step.stdin) if ours else step  # type: ignore[union-attr]
