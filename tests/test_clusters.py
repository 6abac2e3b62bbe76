"""CLUSTER= before anything is started: what a word and a file mean, and what --dry-run shows."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from scaling_sweep.cli import main
from scaling_sweep.clusters import Place, Site, connected, find_cluster
from scaling_sweep.clusters.slurm import SlurmCluster
from scaling_sweep.clusters.words import KINDS, load_cluster
from scaling_sweep.errors import UserError
from tests.run_cases import SWEEP

ROOT = Path(__file__).resolve().parent.parent
EXAMPLES = ROOT / "sweeps" / "clusters"


def run(*arguments: object) -> Result:
    """Call the command line in this process."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


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


def test_help_needs_no_ray() -> None:
    """The clusters' words, models and rendering are loaded without Ray."""
    program = (
        "import sys; sys.modules['ray'] = sys.modules['torch'] = None\n"
        "import scaling_sweep.clusters.site_checks, scaling_sweep.clusters.ray_up_jobs\n"
        "import scaling_sweep.clusters.kuberay_jobs, scaling_sweep.clusters.slurm_jobs\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_a_ray_that_does_not_start_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine too busy for Ray's own patience is said in a line, without a traceback."""
    import ray

    def give_up(**_: object) -> None:
        raise Exception("The current node timed out\nduring startup.")  # as Ray

    monkeypatch.setattr(ray, "init", give_up)
    expected = r"did not start.*timed out during startup\.; is it very"
    with pytest.raises(UserError, match=expected), connected("local"):
        pytest.fail("nothing was reached")
