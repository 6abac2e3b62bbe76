"""Doing with Slurm what `slurm` renders: submit, follow the log, cancel."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from scaling_sweep.clusters.slurm import SlurmCluster
from scaling_sweep.clusters.submission import Job, Say, output_of
from scaling_sweep.errors import UserError

# A guess: quick enough for a person who watches, and no load for the controller.
_POLL_S = 2.0
# Slurm's words for a job that may still run; what is requeued is PENDING again.
_ALIVE = {
    "PENDING", "CONFIGURING", "RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING",
    "STAGE_OUT", "RESIZING", "REQUEUED", "REQUEUE_HOLD", "REQUEUE_FED", "SPECIAL_EXIT",
    "PREEMPTED", "RESV_DEL_HOLD",
}  # fmt: skip


@dataclass(frozen=True)
class SlurmJob:
    """A job that was submitted.

    Attributes:
        job_id: Slurm's number of it.
        log: What it prints.
    """

    job_id: str
    log: Path

    def state(self) -> str:
        """Return Slurm's word for where the job is, such as PENDING or COMPLETED.

        Returns:
            The word; UNKNOWN once Slurm has forgotten the job.

        Raises:
            UserError: If Slurm is not installed.
        """
        try:
            record = output_of("scontrol", "--oneliner", "show", "job", self.job_id)
        except UserError as error:
            if "not installed" in str(error):
                raise
            return "UNKNOWN"
        fields = dict(pair.split("=", 1) for pair in record.split() if "=" in pair)
        return fields.get("JobState", "UNKNOWN")

    def cancel(self) -> None:
        """Let Slurm end the job; what it finished is kept."""
        output_of("scancel", self.job_id)


def log_folder(job: Job, folder: Path) -> Path:
    """Return where scripts and logs of a study's jobs lie: in its run folder unless that is a URL.

    Args:
        job: The run.
        folder: The working folder.

    Returns:
        An absolute path.
    """
    return (folder / "runs" / job.study if job.is_url else folder / job.out) / "slurm"


def submit(cluster: SlurmCluster, job: Job, folder: Path) -> SlurmJob:
    """Write the script and hand it to sbatch.

    Args:
        cluster: What to ask for.
        job: The run.
        folder: The working folder.

    Returns:
        The job.

    Raises:
        UserError: If sbatch is not installed or refuses.
    """
    logs = log_folder(job, folder)
    script = logs / f"{job.stamp}.sh"
    try:
        logs.mkdir(parents=True, exist_ok=True)
        script.write_text(cluster.script(job, logs / "%j.log", folder))
    except OSError as error:
        raise UserError(f"cannot write {script}: {error.strerror}; write another --out") from None
    # --parsable prints the number, and the cluster's name after a semicolon where there are many.
    number = output_of("sbatch", "--parsable", str(script)).partition(";")[0]
    return SlurmJob(number, logs / f"{number}.log")


def follow(job: SlurmJob, say: Say, pause: Callable[[float], None] = time.sleep) -> str:
    """Pass the job's log through until the job ends.

    Args:
        job: The job.
        say: Shows one line.
        pause: Waits some seconds.

    Returns:
        The last state.
    """
    position, before = 0, ""
    while True:
        state = job.state()
        position = _pass_on(job.log, position, say)
        if state not in _ALIVE:
            return state
        if state != before and state != "RUNNING":
            say(f"Slurm job {job.job_id}: {state.lower()}")
        before = state
        pause(_POLL_S)


def _pass_on(log: Path, position: int, say: Say) -> int:
    """Show whole lines that are new in a file; return how far it was read."""
    if not log.exists():
        return position
    with log.open("rb") as file:
        file.seek(position)
        text = file.read()
    whole = text[: text.rfind(b"\n") + 1]
    for line in whole.decode(errors="replace").splitlines():
        say(line)
    return position + len(whole)


def check_end(job: SlurmJob, state: str) -> None:
    """Refuse to call a job finished that was not.

    Args:
        job: The job.
        state: Its last state.

    Raises:
        UserError: If it did not complete.
    """
    if state == "UNKNOWN":
        raise UserError(
            f"Slurm has forgotten job {job.job_id}; its log says how it ended: {job.log}"
        )
    if state != "COMPLETED":
        advice = "; raise time: in the cluster file, or run again to go on"
        raise UserError(
            f"Slurm job {job.job_id} ended as {state.lower()}; its log: {job.log}"
            + (advice if state == "TIMEOUT" else "")
        )
