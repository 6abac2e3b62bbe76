"""What is submitted: scripts, launcher files and steps, held against bash, Ray and themselves."""

import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from scaling_sweep.clusters.ray_up import RayUpCluster, plan_launch, secured
from scaling_sweep.clusters.slurm import SlurmCluster
from scaling_sweep.clusters.slurm_jobs import SlurmJob, check_end, follow
from scaling_sweep.clusters.submission import Command, Job, carry_out, show
from scaling_sweep.errors import UserError

EXAMPLES = Path(__file__).resolve().parent.parent / "sweeps" / "clusters"
JOB = Job("tiny", Path("/s/my sweep.yaml"), "", "runs/x", ("--no-fit",), "1121-020304")


@pytest.mark.parametrize("nodes", [1, 3])
def test_a_slurm_script_is_bash_with_the_options_of_the_file(nodes: int, tmp_path: Path) -> None:
    """Bash takes it, each field is an option of sbatch, and it waits for as many nodes."""
    cluster = SlurmCluster(
        kind="slurm",
        nodes=nodes,
        cpus=6,
        gpus=2,
        memory="16G",
        time="1-02:00:00",
        partition="gpu",
        account="me",
        extra=("--qos=high",),
        setup=("module load cuda",),
        venv="~/my venv",
    )
    script = cluster.script(JOB, Path("/logs/%j.log"), Path("/work dir"))
    checked = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True)
    options = [line.removeprefix("#SBATCH ") for line in script.splitlines() if "#SBATCH" in line]

    assert checked.returncode == 0, checked.stderr
    assert options == [
        "--job-name=sweep-tiny",
        f"--nodes={nodes}",
        "--ntasks-per-node=1",
        "--cpus-per-task=6",
        "--gres=gpu:2",
        "--mem=16G",
        "--time=1-02:00:00",
        "--partition=gpu",
        "--account=me",
        '--chdir="/work dir"',
        "--output=/logs/%j.log",
        "--open-mode=append",
        "--requeue",
        "--qos=high",
    ]
    driver = shlex.split(script.splitlines()[-1])
    assert driver[:5] == ["scaling-sweep", "run", "/s/my sweep.yaml", "--out", "/work dir/runs/x"]
    assert ("--nodes" in driver) == (nodes > 1)
    assert driver[-1] == "--no-fit"
    assert script.count("ray start --address") == (nodes > 1)
    assert script.index("module load cuda") < script.index("PATH=") < script.index("ray start")


def test_the_token_of_a_slurm_job_is_private_and_not_of_the_run(tmp_path: Path) -> None:
    """The lines that make it leave 64 hex digits in a file and folder for the owner alone."""
    script = SlurmCluster(kind="slurm").script(JOB, Path("/l"), Path("/w"))
    begin, end = script.index("token_folder="), script.index("head_node=")
    program = script[begin:end] + 'stat -c %a "$token_folder" "$RAY_AUTH_TOKEN_PATH"; cat "$_"\n'
    program = program.replace('cat "$_"', 'cat "$RAY_AUTH_TOKEN_PATH"')
    environment = {"HOME": str(tmp_path), "SLURM_JOB_ID": "7", "PATH": os.environ["PATH"]}
    done = subprocess.run(["bash", "-c", program], env=environment, text=True, capture_output=True)

    assert done.stderr == ""
    assert re.fullmatch(r"700\n600\n[0-9a-f]{64}", done.stdout)
    # Gone with the job.
    assert list((tmp_path / ".scaling-sweep").iterdir()) == []


def test_a_slurm_job_is_followed_to_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whole lines of the log are shown once; a requeued job is waited for; failure is an error."""
    states = iter(["PENDING", "RUNNING", "PREEMPTED", "PENDING", "RUNNING", "TIMEOUT"])
    written = iter(["", "one\ntw", "o\n", "", "three\n", "end\n"])
    job, said = SlurmJob("12", tmp_path / "log"), []

    def state(self: SlurmJob) -> str:
        with job.log.open("a") as log:
            log.write(next(written))
        return next(states)

    monkeypatch.setattr(SlurmJob, "state", state)
    last = follow(job, said.append, lambda seconds: None)

    assert [line for line in said if "Slurm job" not in line] == ["one", "two", "three", "end"]
    assert [line.split(": ")[1] for line in said if "Slurm job" in line] == [
        "pending",
        "preempted",
        "pending",
    ]
    with pytest.raises(UserError, match=r"ended as timeout.*raise time:"):
        check_end(job, last)
    check_end(job, "COMPLETED")


def launcher(tmp_path: Path, **changes: object) -> Path:
    """Write a launcher file for machines that are there already."""
    config = yaml.safe_load((EXAMPLES / "lab.launcher.yaml").read_text())
    path = tmp_path / "x.launcher.yaml"
    path.write_text(yaml.safe_dump({**config, **changes}))
    return path


def test_a_launched_ray_is_in_token_mode_on_every_node(tmp_path: Path) -> None:
    """Each start command is; the file holds where the token lies, and nothing else changes."""
    config = yaml.safe_load((EXAMPLES / "aws.launcher.yaml").read_text())
    made = secured(config, tmp_path / "token")

    starts = [*made["head_start_ray_commands"], *made["worker_start_ray_commands"]]
    assert [("RAY_AUTH_MODE=token" in line) for line in starts] == [False, True, False, True]
    assert list(made["file_mounts"].values()) == [str(tmp_path / "token")]
    for key in ("head_start_ray_commands", "worker_start_ray_commands", "file_mounts"):
        made.pop(key)
        config.pop(key, None)
    assert made == config


def test_a_launch_brings_up_runs_fetches_and_gives_back(tmp_path: Path) -> None:
    """The commands come in that order, and paths of the other side are not expanded on this one."""
    cluster = RayUpCluster(kind="ray-up", launcher="x", nodes=2, activate="source v/bin/activate")
    config = yaml.safe_load((EXAMPLES / "lab.launcher.yaml").read_text())
    steps = list(plan_launch(cluster, JOB, config, tmp_path).steps())
    commands = [step.words for step in steps if isinstance(step, Command)]

    verbs = ["up", "exec", "rsync-up", "exec", "rsync-down", "down"]
    assert [words[:2] for words in commands] == [("ray", verb) for verb in verbs]
    assert commands[2][3:] == ("/s/my sweep.yaml", "~/scaling-sweep/tiny/my sweep.yaml")
    assert commands[4][3:] == ("~/scaling-sweep/tiny/run/", "runs/x/")
    there = commands[3][3]
    assert there.startswith("source v/bin/activate; ")
    assert there.endswith(
        "scaling-sweep run ~/'scaling-sweep/tiny/my sweep.yaml' --out ~/scaling-sweep/tiny/run "
        "--cluster auto --nodes 2 --no-fit"
    )
    kept = cluster.model_copy(update={"down": False})
    assert plan_launch(kept, JOB, config, tmp_path).down == ()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_launcher_files_are_held_against_rays_own_validator(tmp_path: Path) -> None:
    """The shipped ones pass, also once secured; a typo is one line."""
    from scaling_sweep.clusters.ray_up import load_launcher

    for example in EXAMPLES.glob("*.launcher.yaml"):
        config = load_launcher(example)
        path = tmp_path / example.name
        path.write_text(yaml.safe_dump(secured(config, Path("/dev/null"))))
        load_launcher(path)
    for change in ({"cluster_nmae": "x"}, {"max_workers": "two"}, {"provider": {}}):
        with pytest.raises(UserError, match="Ray's launcher refuses it: ") as caught:
            load_launcher(launcher(tmp_path, **change))
        assert "\n" not in str(caught.value)
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(UserError, match="cannot be read"):
            load_launcher(path)


def test_steps_that_fail_stop_with_one_line(tmp_path: Path) -> None:
    """A command that is not installed, or fails, is said by name."""
    said: list[str] = []
    with pytest.raises(UserError, match="no-such-program is not installed"):
        carry_out([Command(("no-such-program",))], said.append)
    with pytest.raises(UserError, match="`false` failed with status 1"):
        carry_out([Command(("true",)), Command(("false",))], said.append)
    assert said == ["$ no-such-program", "$ true", "$ false"]
    assert show([Command(("a", "b c"))]) == "# $ a 'b c'"
