"""What `run` does where the cluster is not this machine: show it, or submit, follow and cancel."""

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

if TYPE_CHECKING:
    from scaling_sweep.clusters import Place, Site
    from scaling_sweep.clusters.submission import Job
    from scaling_sweep.spec import LoadedSweep

# A guess: machines of one job start within seconds of each other, those of a cloud in minutes.
_NODES_TIMEOUT_S = 300.0

OnInterrupt = Literal["ask", "cancel", "keep"]


@dataclass(frozen=True)
class _Handle:
    """A job that was submitted, and how it is ended.

    Attributes:
        name: What it is called, for example ``Slurm job 12``.
        by_hand: The command that ends it.
        ended: What has become of it then.
        cancel: Ends it.
    """

    name: str
    by_hand: str
    ended: str
    cancel: Callable[[], object]

    @contextmanager
    def cancelled_by_interrupt(self, on_interrupt: OnInterrupt) -> Iterator[None]:
        """Let Ctrl-C end the command, and the job too where that is wanted."""
        try:
            yield
        except KeyboardInterrupt:
            if _shall_cancel(self.name, on_interrupt):
                self.cancel()
                click.echo(f"{self.name} is {self.ended}, what it finished is kept.")
            else:
                click.echo(f"{self.name} goes on; cancel: {self.by_hand}")
            raise SystemExit(130) from None


def make_job(loaded: "LoadedSweep", out: str | None, options: tuple[str, ...]) -> "Job":
    """Return the run as it is handed to a cluster.

    Args:
        loaded: The sweep file.
        out: The run folder as given.
        options: Further options of ``run``.

    Returns:
        The job.
    """
    from datetime import UTC, datetime

    from scaling_sweep.clusters.submission import Job
    from scaling_sweep.running import default_folder

    folder = out or str(default_folder(loaded.spec))
    stamp = datetime.now(UTC).strftime("%m%d-%H%M%S")
    return Job(loaded.spec.name, loaded.path.resolve(), loaded.text, folder, options, stamp)


def show_run(place: "Place | Site", job: "Job") -> None:
    """Print exactly what would be run or submitted, and do nothing.

    Args:
        place: Where.
        job: The run.
    """
    from scaling_sweep.clusters import Place
    from scaling_sweep.clusters.kuberay import KubeRayCluster
    from scaling_sweep.clusters.kuberay_jobs import steps
    from scaling_sweep.clusters.ray_up import RayUpCluster
    from scaling_sweep.clusters.ray_up_jobs import launch_of
    from scaling_sweep.clusters.slurm_jobs import log_folder
    from scaling_sweep.clusters.submission import show

    if isinstance(place, Place):
        click.echo(f"# {_where(place.word)}; the driver runs here and writes {job.out}")
        click.echo(f"# What it would train: scaling-sweep plan {job.sweep}")
        return
    if isinstance(place.cluster, KubeRayCluster):
        click.echo(show(steps(place.cluster, job)))
    elif isinstance(place.cluster, RayUpCluster):
        click.echo(show(launch_of(place.cluster, place.path, place.name, job).steps()))
    else:
        logs = log_folder(job, Path.cwd())
        click.echo(place.cluster.script(job, logs / "%j.log", Path.cwd()), nl=False)
        click.echo(f"# $ sbatch --parsable {logs / job.stamp}.sh")


def _where(word: str) -> str:
    if word == "local":
        return "Ray starts on this machine"
    if word == "auto":
        return "Ray is the one that RAY_ADDRESS names, or that runs on this machine"
    return f"Ray is reached at {word}"


def wait_for(place: "Place", num_nodes: int) -> None:
    """Wait until a running Ray has its machines, and say so when some are late.

    Args:
        place: Where it runs.
        num_nodes: How many there should be.
    """
    from scaling_sweep.clusters.connecting import running_address
    from scaling_sweep.clusters.preflight import CLIENT, wait_for_nodes

    if place.word == "local" or place.word.startswith(CLIENT):
        return
    address = running_address() if place.word == "auto" else place.word
    found = wait_for_nodes(address, num_nodes, _NODES_TIMEOUT_S)
    if found < num_nodes:
        click.echo(f"{found} of {num_nodes} machines are there; going on with them.")


def submit_run(site: "Site", job: "Job", follow: bool, on_interrupt: OnInterrupt) -> None:
    """Submit a run, and follow it unless asked not to.

    Args:
        site: Where.
        job: The run.
        follow: Whether to wait for its end.
        on_interrupt: What Ctrl-C does to the job.
    """
    from scaling_sweep.clusters.kuberay import KubeRayCluster
    from scaling_sweep.clusters.ray_up import RayUpCluster

    if isinstance(site.cluster, RayUpCluster):
        _launch(site, job)
    elif isinstance(site.cluster, KubeRayCluster):
        _apply(site.cluster, job, follow, on_interrupt)
    else:
        _sbatch(site.cluster, job, follow, on_interrupt)


def _sbatch(cluster: object, job: "Job", follow: bool, on_interrupt: OnInterrupt) -> None:
    from scaling_sweep.clusters import slurm_jobs
    from scaling_sweep.clusters.slurm import SlurmCluster

    assert isinstance(cluster, SlurmCluster)
    submitted = slurm_jobs.submit(cluster, job, Path.cwd())
    number = submitted.job_id
    handle = _Handle(f"Slurm job {number}", f"scancel {number}", "cancelled", submitted.cancel)
    click.echo(f"{handle.name}; its log: {submitted.log}; cancel: {handle.by_hand}")
    if follow:
        with handle.cancelled_by_interrupt(on_interrupt):
            state = slurm_jobs.follow(submitted, click.echo)
        slurm_jobs.check_end(submitted, state)


def _apply(cluster: object, job: "Job", follow: bool, on_interrupt: OnInterrupt) -> None:
    from scaling_sweep.clusters import kuberay_jobs
    from scaling_sweep.clusters.kuberay import KubeRayCluster, resource_name

    assert isinstance(cluster, KubeRayCluster)
    applied = kuberay_jobs.apply(cluster, job)
    name = resource_name(job)
    handle = _Handle(f"RayJob {name}", f"kubectl delete rayjob {name}", "deleted", applied.cancel)
    click.echo(f"{handle.name}; cancel: {handle.by_hand}")
    if follow:
        with handle.cancelled_by_interrupt(on_interrupt):
            state = kuberay_jobs.follow(applied, click.echo)
        kuberay_jobs.check_end(applied, state)


def _launch(site: "Site", job: "Job") -> None:
    from scaling_sweep.clusters.ray_up import RayUpCluster
    from scaling_sweep.clusters.ray_up_jobs import launch_of, run_launch, token_file

    assert isinstance(site.cluster, RayUpCluster)
    launch = launch_of(site.cluster, site.path, site.name, job)
    # A polite kill gives the machines back too, as Ctrl-C does.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        run_launch(launch, token_file(site.name), job, click.echo)
    except KeyboardInterrupt:
        click.echo("Stopped; what was finished is fetched, run again to go on.")
        raise SystemExit(130) from None


def _shall_cancel(what: str, on_interrupt: OnInterrupt) -> bool:
    """Return whether Ctrl-C ends the job too; without a terminal nobody can be asked."""
    if on_interrupt != "ask":
        return on_interrupt == "cancel"
    if not sys.stdin.isatty():
        return False
    try:
        return click.confirm(f"\nCancel {what} too?", default=False)
    except (click.Abort, KeyboardInterrupt):
        return False
