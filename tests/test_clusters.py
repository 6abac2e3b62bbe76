"""CLUSTER= before anything is started: what a word means, what is rendered, what is never shown."""

import json
import os
import re
import shlex
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from scaling_sweep.cli import main
from scaling_sweep.clusters import Place, Site, checks, find_cluster
from scaling_sweep.clusters.checks import Health, examine
from scaling_sweep.clusters.preflight import check_cluster
from scaling_sweep.clusters.ray_up import RayUpCluster, plan_launch, secured
from scaling_sweep.clusters.slurm import SlurmCluster
from scaling_sweep.clusters.slurm_jobs import SlurmJob, check_end, follow
from scaling_sweep.clusters.submission import Command, Job, carry_out, show
from scaling_sweep.clusters.tokens import (
    TokenSource,
    default_path,
    is_private,
    secure_local,
    token_source,
    use_token,
    write_token,
)
from scaling_sweep.clusters.words import KINDS, load_cluster
from scaling_sweep.errors import UserError
from tests.run_cases import SWEEP

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "sweeps" / "clusters"
JOB = Job("tiny", Path("/s/my sweep.yaml"), "", "runs/x", ("--no-fit",), "1121-020304")


def run(*arguments: object) -> Result:
    """Call the command line in this process."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the test a home without tokens and an environment without Ray's variables."""
    for name in ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_ADDRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.mark.parametrize(
    "word",
    ["local", "auto", "node:6379", "10.0.0.1:6379", "[::1]:6379", "ray://h.example.org:10001"],
)
def test_a_ray_to_reach_is_a_word_or_an_address(word: str) -> None:
    """What names a Ray that this process reaches stays as it is."""
    assert find_cluster(word) == Place(word)


def test_a_bare_name_is_a_file_beside_the_sweeps(tmp_path: Path) -> None:
    """``x`` is x.yaml in the folder; a path is that file; slurm needs none."""
    (tmp_path / "big.yaml").write_text("kind: slurm\nnodes: 3\n")
    named, path = find_cluster("big", tmp_path), find_cluster(str(tmp_path / "big.yaml"), tmp_path)

    assert named == path == Site("big", tmp_path / "big.yaml", SlurmCluster(kind="slurm", nodes=3))
    assert find_cluster("slurm", tmp_path) == Site("slurm", None, SlurmCluster(kind="slurm"))
    (tmp_path / "slurm.yaml").write_text("kind: slurm\nnodes: 2\n")
    assert find_cluster("slurm", tmp_path).cluster.nodes == 2


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("slrum", "did you mean slurm"),
        ("bigg", "did you mean big,"),
        ("nothing-like-it", "known are auto, big, local, slurm"),
        ("host:99999", "a port is at most 65535"),
        ("ray://host", "write ray://host:port"),
        ("no/such.yaml", "no such file; give the path of a cluster file"),
        ("", "unknown cluster"),
        ("a b; rm -rf", "unknown cluster"),
    ],
)
def test_a_word_that_means_nothing_is_one_line(tmp_path: Path, word: str, expected: str) -> None:
    """A typo gets the nearest name; nothing is guessed silently."""
    (tmp_path / "big.yaml").write_text("kind: slurm\n")
    (tmp_path / "big.launcher.yaml").write_text("")
    with pytest.raises(UserError, match=re.escape(expected)) as caught:
        find_cluster(word, tmp_path)

    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "1: the file is empty; begin with kind:"),
        ("nodes: 2", "1: kind: missing; write kind: and one of slurm, ray-up, kuberay"),
        ("kind: slrum", "1: kind: must be one of slurm, ray-up, kuberay, got slrum; did you mean"),
        ("kind: [slurm]", "1: kind: must be one of"),
        ("kind: slurm\nnoeds: 2", "2: noeds: unknown key; did you mean nodes?"),
        ("kind: slurm\nnodes: 0", "2: nodes: must be at least 1, got 0"),
        ("kind: slurm\nnodes: two", "2: nodes: must be a whole number, got two"),
        ("kind: slurm\npartition: 'a; b'", "2: partition: must be a name"),
        ("kind: slurm\nextra: [qos=high]", "2: extra[0]: must be an option of sbatch"),
        ('kind: slurm\nextra: ["--a\\n#SBATCH --b"]', "2: extra[0]: must be one line of text"),
        ('kind: slurm\nsetup: ["a\\nb"]', "2: setup[0]: must be one line of text"),
        ("kind: kuberay", "1: image: missing; write for example"),
        ("kind: kuberay\nimage: i\nworkers: {cpu: 2}", "3: workers.cpu: unknown key"),
        ("kind: kuberay\nimage: i\nhead: {memory: 8 GB}", "3: head.memory: must"),
        ("kind: ray-up", "1: launcher: missing"),
        ("kind: slurm\nnodes: &a 2", "2"),
        ("kind: slurm\n\tnodes: 2", "2: not a cluster file: a tab; indent with spaces"),
    ],
)
def test_a_cluster_file_with_a_mistake_is_one_line(
    tmp_path: Path, text: str, expected: str
) -> None:
    """One line names the file, the line, the key, what was given and what to write."""
    path = tmp_path / "x.yaml"
    path.write_text(text)
    if "&a" in text:
        assert load_cluster(path) == SlurmCluster(kind="slurm", nodes=2)
        return
    with pytest.raises(UserError, match="^" + re.escape(f"{path}:{expected}")) as caught:
        load_cluster(path)

    assert "\n" not in str(caught.value)


def test_there_is_a_good_example_of_each_kind() -> None:
    """Every file in sweeps/clusters loads, begins with a comment, and each kind is there."""
    files = [path for path in EXAMPLES.glob("*.yaml") if "." not in path.stem]

    assert {load_cluster(path).kind for path in files} == set(KINDS)
    assert all(path.read_text().startswith("# ") for path in EXAMPLES.iterdir())


def commands_of(script: str) -> str:
    """Return a script without comments."""
    return "\n".join(line for line in script.splitlines() if not line.startswith("# "))


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


def test_a_token_is_found_where_ray_looks(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Variable before named file before default file, as in Ray's documentation."""
    assert token_source() is TokenSource.NONE
    write_token(default_path())
    assert token_source() is TokenSource.DEFAULT
    named = home / "named"
    named.write_text("b")
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(named))
    assert token_source() is TokenSource.PATH
    monkeypatch.setenv("RAY_AUTH_TOKEN", "c")
    assert token_source() is TokenSource.VALUE
    monkeypatch.delenv("RAY_AUTH_TOKEN")
    named.write_text(" \n")
    with pytest.raises(UserError, match="which is empty"):
        token_source()
    named.unlink()
    with pytest.raises(UserError, match="cannot be read: No such file"):
        token_source()


def test_a_token_there_is_sent_and_token_mode_without_one_refused(home: Path) -> None:
    """Ray would send none by itself, and abort where it is told to and has none."""
    environment = {"HOME": str(home)}
    assert use_token(environment) is TokenSource.NONE
    assert "RAY_AUTH_MODE" not in environment
    with pytest.raises(UserError, match="there is no token; put the cluster's token into"):
        use_token({**environment, "RAY_AUTH_MODE": "token"})
    write_token(default_path(environment))
    assert use_token(environment) is TokenSource.DEFAULT
    assert environment["RAY_AUTH_MODE"] == "token"
    disabled = {"HOME": str(home), "RAY_AUTH_MODE": "disabled"}
    use_token(disabled)
    assert disabled["RAY_AUTH_MODE"] == "disabled"


def test_a_ray_started_here_has_a_private_token(home: Path) -> None:
    """The file is made with mode 600 and kept; who switches authentication off gets none."""
    environment = {"HOME": str(home), "RAY_AUTH_MODE": "disabled"}
    secure_local(environment)
    assert not default_path(environment).exists()
    del environment["RAY_AUTH_MODE"]
    secure_local(environment)
    path = default_path(environment)

    assert is_private(path)
    assert path.parent.stat().st_mode & 0o777 == 0o700
    first = path.read_text()
    assert re.fullmatch("[0-9a-f]{64}", first)
    secure_local(environment)
    assert path.read_text() == first
    assert [file.name for file in path.parent.iterdir()] == ["auth_token"]


@pytest.fixture
def mute_port() -> Iterator[int]:
    """Return a port that takes connections and never says a word."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_dead_address_is_one_line_at_once(home: Path) -> None:
    """Nothing listens: no Ray is imported, no minute is waited."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    begun = time.monotonic()
    for address in (f"127.0.0.1:{port}", f"ray://127.0.0.1:{port}"):
        with pytest.raises(UserError, match=f"^nothing answers at {address}: Connection refused"):
            check_cluster(address)

    assert time.monotonic() - begun < 2


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_what_is_no_ray_is_one_line_in_time(home: Path, mute_port: int, scheme: str) -> None:
    """A port that never answers is given up within 15 s."""
    begun = time.monotonic()
    with pytest.raises(
        UserError, match=r"does not answer as Ray does|needs Ray's client"
    ) as caught:
        check_cluster(f"{scheme}127.0.0.1:{mute_port}")

    assert time.monotonic() - begun < 15
    assert "\n" not in str(caught.value)


def test_dry_run_submits_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is printed is the script; no folder is made, no program run."""
    (tmp_path / "x.yaml").write_text(SWEEP)
    monkeypatch.chdir(tmp_path)

    def forbidden(*_: object, **__: object) -> None:
        raise AssertionError("something was run")

    monkeypatch.setattr(subprocess, "run", forbidden)
    shown = run("run", "x.yaml", "--cluster", "slurm", "--dry-run", "--wandb", "offline")
    assert shown.exit_code == 0, shown.output
    assert shown.stdout.startswith("#!/bin/bash\n")
    assert shlex.split(shown.stdout.splitlines()[-2])[-2:] == ["--wandb", "offline"]
    assert shown.stdout.splitlines()[-1].startswith("# $ sbatch --parsable ")
    here = run("run", "x.yaml", "--dry-run")
    assert "Ray starts on this machine" in here.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["x.yaml"]


def test_a_cluster_without_its_program_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where sbatch or kubectl is not installed, the line says so and what to do instead."""
    (tmp_path / "x.yaml").write_text(SWEEP)
    (tmp_path / "k.yaml").write_text("kind: kuberay\nimage: i\nclaim: c\nray_version: 2.60.0\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    for cluster, program in (("slurm", "sbatch"), ("k.yaml", "kubectl")):
        result = run("run", "x.yaml", "--cluster", cluster)
        assert result.exit_code == 1
        assert result.stderr.startswith(f"Error: {program} is not installed")
        assert len(result.stderr.splitlines()) == 1


def test_the_doctor_finds_what_is_wrong(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each fault that is put in is a line with what to mend, and no secret is in any."""
    monkeypatch.setattr(checks, "_lines", lambda *command: [])
    good = {finding.name: finding for finding in examine(tmp_path / "not" / "there")}
    assert good["storage"].text == f"{tmp_path} can be written"
    assert good["Ray token"].health is Health.OK
    assert good["GPUs"].text == "none, packs train on the processor"

    monkeypatch.setattr(checks, "_lines", lambda *c: ["GPU 0: X"] if "-L" in c else ["0 "])
    monkeypatch.setattr(checks, "_NO_DISK", 2**70)
    monkeypatch.setattr(checks, "_LOW_MEMORY", 2**70)
    default_path().parent.mkdir(parents=True)
    default_path().write_text("my-token")
    default_path().chmod(0o644)
    monkeypatch.setenv("WANDB_API_KEY", "my-key")
    (tmp_path / "file").write_text("")
    bad = {finding.name: finding for finding in examine(tmp_path)}
    expected = {"GPUs": "problem", "disk": "problem", "memory": "note", "Ray token": "note"}
    assert {name: bad[name].health for name in expected} == expected
    assert bad["Ray token"].mend == f"chmod 600 {default_path()}"
    assert all(finding.mend for finding in bad.values() if finding.health is not Health.OK)
    assert not any("my-" in f"{finding}" for finding in bad.values())


def test_the_doctor_exits_1_with_a_problem(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lines for people and JSON for programs say the same; a dead cluster is a problem."""
    monkeypatch.setattr(checks, "_lines", lambda *command: [])
    arguments = ("doctor", "--out", tmp_path, "--cluster", "127.0.0.1:1")
    shown, listed = run(*arguments), run(*arguments, "--json")

    assert shown.exit_code == listed.exit_code == 1
    findings = json.loads(listed.stdout)
    assert [line.split()[0] for line in shown.stdout.splitlines()] == [
        finding["health"] for finding in findings
    ]
    assert findings[-1]["name"] == "cluster 127.0.0.1:1"
    assert findings[-1]["text"].startswith("nothing answers at")
    assert findings[-1]["mend"].startswith("is Ray running there?")


def test_help_needs_no_ray() -> None:
    """The clusters' words, models and rendering are loaded without Ray."""
    program = (
        "import sys; sys.modules['ray'] = sys.modules['torch'] = None\n"
        "import scaling_sweep.clusters.site_checks, scaling_sweep.clusters.ray_up_jobs\n"
        "import scaling_sweep.clusters.kuberay_jobs, scaling_sweep.clusters.slurm_jobs\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
