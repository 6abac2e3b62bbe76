"""Doing with kubectl what `kuberay` renders: apply, follow, delete."""

import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from scaling_sweep.clusters.kuberay import KubeRayCluster, resource_name, secret_name
from scaling_sweep.clusters.submission import Command, Job, Note, Say, Step, output_of
from scaling_sweep.errors import UserError

_POLL_S = 5.0
_ENDED = {"Complete", "Failed"}


@dataclass(frozen=True)
class AppliedJob:
    """A RayJob that was applied.

    Attributes:
        cluster: The cluster file.
        job: The run.
    """

    cluster: KubeRayCluster
    job: Job

    def state(self) -> str:
        """Return KubeRay's word for where the job is; empty before it has one."""
        return output_of(
            *_kubectl(self.cluster), "get", "rayjob", resource_name(self.job),
            "--output", "jsonpath={.status.jobDeploymentStatus}",
        )  # fmt: skip

    def cancel(self) -> None:
        """Delete the RayJob with its pods, the secret and the ConfigMap; the claim stays."""
        for kind, name in (
            ("rayjob", resource_name(self.job)),
            ("configmap", resource_name(self.job)),
            ("secret", secret_name(self.job)),
        ):
            output_of(*_kubectl(self.cluster), "delete", kind, name, "--ignore-not-found")


def steps(cluster: KubeRayCluster, job: Job) -> Iterator[Step]:
    """Yield what `apply` does, for ``--dry-run``; the token is neither made nor shown.

    Args:
        cluster: The cluster file.
        job: The run.

    Yields:
        Notes and the command with the manifest.

    Raises:
        UserError: If there is nowhere to write the run folder to.
    """
    if cluster.claim is None and not job.is_url:
        raise UserError("claim: missing; name a persistent volume claim, or give --out as a URL")
    apply = " ".join((*_kubectl(cluster), "apply", "-f", "-"))
    yield Note(f"a new token goes into the secret {secret_name(job)} through `{apply}`, unseen")
    yield Command((*_kubectl(cluster), "apply", "-f", "-"), cluster.manifest(job))


def apply(cluster: KubeRayCluster, job: Job) -> AppliedJob:
    """Make the secret, then the RayJob.

    Args:
        cluster: The cluster file.
        job: The run.

    Returns:
        The job.

    Raises:
        UserError: If kubectl is not installed or the cluster refuses.
    """
    planned = list(steps(cluster, job))
    applied = AppliedJob(cluster, job)
    output_of(
        *_kubectl(cluster), "apply", "-f", "-",
        stdin=cluster.secret(job, secrets.token_hex(32)),
    )  # fmt: skip
    try:
        for step in planned:
            if isinstance(step, Command):
                output_of(*step.words, stdin=step.stdin)
    except UserError:
        applied.cancel()
        raise
    return applied


def follow(job: AppliedJob, say: Say, pause: Callable[[float], None] = time.sleep) -> str:
    """Say how the job goes until it ends.

    Args:
        job: The job.
        say: Shows one line.
        pause: Waits some seconds.

    Returns:
        The last state.
    """
    before = ""
    while True:
        state = job.state()
        if state and state != before:
            say(f"RayJob {resource_name(job.job)}: {state}")
        if state in _ENDED:
            return state
        before = state
        pause(_POLL_S)


def check_end(job: AppliedJob, state: str) -> None:
    """Refuse to call a job finished that was not.

    Args:
        job: The job.
        state: Its last state.

    Raises:
        UserError: If it did not complete.
    """
    if state != "Complete":
        name = resource_name(job.job)
        logs = " ".join((*_kubectl(job.cluster), "logs", f"job/{name}"))
        raise UserError(f"RayJob {name} failed; `{logs}` shows why, run again to go on")


def _kubectl(cluster: KubeRayCluster) -> tuple[str, ...]:
    return ("kubectl", "--namespace", cluster.namespace) if cluster.namespace else ("kubectl",)
