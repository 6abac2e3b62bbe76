"""Whether the cluster a word means would take a run now, without running anything."""

import shutil
from collections.abc import Iterator
from pathlib import Path

from scaling_sweep.clusters.checks import Finding, Health
from scaling_sweep.clusters.connecting import running_address
from scaling_sweep.clusters.kuberay import KubeRayCluster
from scaling_sweep.clusters.preflight import CLIENT, check_cluster
from scaling_sweep.clusters.ray_up import load_launcher
from scaling_sweep.clusters.slurm import SlurmCluster
from scaling_sweep.clusters.submission import Job, output_of
from scaling_sweep.clusters.words import Place, Site, find_cluster
from scaling_sweep.errors import UserError


def examine_cluster(word: str) -> Iterator[Finding]:
    """Look at a cluster.

    Args:
        word: What ``CLUSTER=`` named.

    Yields:
        Findings.
    """
    try:
        place = find_cluster(word)
        text = _place(place) if isinstance(place, Place) else _site(place)
    except UserError as error:
        found, _, mend = str(error).partition("; ")
        yield Finding(f"cluster {word}", Health.PROBLEM, found, mend or _mend(found))
        return
    yield Finding(f"cluster {word}", Health.OK, text)


def _mend(found: str) -> str:
    """Return what to do about a program that failed and gave no advice."""
    if "sbatch" in found:
        return "do this where sbatch works, such as the cluster's login node; or mend its file"
    if "kubectl" in found:
        return "see whether `kubectl config current-context` is the cluster that is meant"
    return ""


def _place(place: Place) -> str:
    if place.word == "local":
        return "Ray starts on this machine"
    address = running_address() if place.word == "auto" else place.word
    answer = check_cluster(address)
    if address.startswith(CLIENT):
        return f"{address} answers and takes our token"
    machines = "1 machine" if answer.num_nodes == 1 else f"{answer.num_nodes} machines"
    return f"{address} answers, {machines}"


def _site(site: Site) -> str:
    if isinstance(site.cluster, SlurmCluster):
        return _slurm(site.cluster)
    if isinstance(site.cluster, KubeRayCluster):
        return _kuberay(site.cluster)
    load_launcher((site.path.parent if site.path else Path()) / site.cluster.launcher)
    if shutil.which("rsync") is None or shutil.which("ssh") is None:
        raise UserError("Ray's launcher needs ssh and rsync, which are not here; install them")
    return "Ray's validator takes the launcher file; whether the machines start is not tried"


def _slurm(cluster: SlurmCluster) -> str:
    """Ask Slurm when it would start such a job; nothing is submitted."""
    job = Job("doctor", Path.cwd() / "x.yaml", "", "runs/doctor", (), "0")
    script = cluster.script(job, Path("/dev/null"), Path.cwd())
    output_of("sbatch", "--test-only", stdin=script)
    return f"Slurm would take a job of {cluster.nodes} machines"


def _kuberay(cluster: KubeRayCluster) -> str:
    where = ("--namespace", cluster.namespace) if cluster.namespace else ()
    for resource in ("rayjobs.ray.io", "secrets", "configmaps"):
        answer = output_of(
            "kubectl", *where, "--request-timeout=10s", "auth", "can-i", "create", resource
        )
        if answer.splitlines()[-1:] != ["yes"]:
            raise UserError(f"kubectl may not create {resource}; ask for the right to")
    output_of(
        "kubectl", "--request-timeout=10s", "api-resources", "--api-group=ray.io", "--no-headers"
    )
    if cluster.claim is not None:
        output_of("kubectl", *where, "--request-timeout=10s", "get", "pvc", cluster.claim)
    return "Kubernetes answers, and RayJobs may be made"
