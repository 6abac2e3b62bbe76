"""Sweeps on a real Ray of two nodes with token authentication, on ports of its own."""

import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest

from analysis.results import read_results
from scaling_sweep.clusters.preflight import check_cluster
from scaling_sweep.errors import UserError
from scaling_sweep.planning import plan_packs
from scaling_sweep.rows import rows_of_result
from scaling_sweep.spec import load_sweep
from scaling_sweep.tasks.loading import load_task
from scaling_sweep.training.pack import train_pack
from tests.ray_nodes import VARIABLES, TwoNodes, call, two_nodes

pytestmark = [pytest.mark.ray, pytest.mark.slow]

SWEEP = """\
# Does it run?
name: tiny
task: noted_task:task
parameters:
  optimizer: {values: [sgd]}
  batch_size: {values: [4, 8, 16, 32]}
  lr: {values: [0.01, 0.1, 1.0e+10]}
seeds: 2
horizon: {steps: 40}
engine: vmap
"""
# Notes on which node a worker trains, and stays there long enough for the other to get some.
TASK = '''
"""A task that notes where it is trained."""

import time
from pathlib import Path

import ray
import torch
from torch import nn

from scaling_sweep.tasks.task import Task


def task():
    # The driver looks at the task before it reaches Ray.
    if ray.is_initialized():
        time.sleep(1)
        node = ray.get_runtime_context().get_node_id()
        (Path(__file__).parent / f"node-{node}").touch()
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn(100, 4, generator=generator)
    return Task("own", "Notes.", lambda: nn.Linear(4, 1), nn.functional.mse_loss,
                inputs=inputs, targets=inputs.sum(1, keepdim=True))
'''


# Stands before a task: its module is not there on the node that is not the head.
ABSENT = """
import os
if os.environ.get("TESTED_NODE") == "second":
    raise ModuleNotFoundError("No module named 'absent'")
"""


@pytest.fixture(scope="module", name="two_nodes")
def _two_nodes() -> Iterator[TwoNodes]:
    """Start one Ray for all tests of this file."""
    with two_nodes() as nodes:
        yield nodes


def command(folder: Path, *words: object, **variables: object) -> subprocess.CompletedProcess[str]:
    """Call the command line in a process of its own, with a home of its own."""
    program = "from scaling_sweep.cli import main; main(prog_name='scaling-sweep')"
    return call(folder, program, *words, **variables)


def address_of(nodes: TwoNodes, scheme: str) -> str:
    """Return how to reach the Ray; skip where its client is missing."""
    if scheme == "host:port":
        return nodes.address
    pytest.importorskip("grpc", reason="not installed: grpcio (pip install 'ray[client]')")
    return nodes.client


def expected(folder: Path) -> pd.DataFrame:
    """Return the rows of the sweep, trained in this process without Ray."""
    spec = load_sweep(folder / "x.yaml").spec
    task = load_task(spec.task.name, spec.task.args, (str(folder),))
    packs = plan_packs(spec, num_examples=task.num_examples)
    return pd.concat([rows_of_result(train_pack(pack, spec, task)).results for pack in packs])


def assert_quiet(stdout: str) -> None:
    """Assert that only the plan, progress and the outcome were shown, and nothing of Ray's own."""
    first, *others, last = stdout.splitlines()
    assert first == "24 trials in 4 packs to run."
    assert last.startswith("24 trials in ")
    assert all(re.match(r" *\d+%  packs ", line) for line in others), stdout


@pytest.mark.parametrize("scheme", ["host:port", "ray://"])
def test_a_sweep_trains_on_both_nodes_with_the_token(
    two_nodes: TwoNodes, tmp_path: Path, scheme: str
) -> None:
    """Rows equal training right here, both nodes trained, and the token is in no file or line."""
    address = address_of(two_nodes, scheme)
    (tmp_path / "x.yaml").write_text(SWEEP)
    (tmp_path / "noted_task.py").write_text(TASK)
    done = command(
        tmp_path,
        *("run", "x.yaml", "--out", "out", "--cluster", address, "--nodes", 2, "--no-fit"),
        RAY_AUTH_TOKEN_PATH=two_nodes.token,
    )
    assert done.returncode == 0, done.stdout + done.stderr + two_nodes.client_servers()
    assert done.stderr == ""
    assert_quiet(done.stdout)

    assert len(list(tmp_path.glob("node-*"))) == 2
    table = read_results(tmp_path / "out" / "results.parquet").frame.set_index("trial_id")
    right = expected(tmp_path).set_index("trial_id")
    assert sorted(table.index) == sorted(right.index)
    assert (table["final_loss"] == right["final_loss"].loc[table.index]).sum() == table[
        "final_loss"
    ].notna().sum()
    token = two_nodes.token.read_text()
    assert token not in done.stdout + done.stderr
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not [path for path in files if token.encode() in path.read_bytes()]


def test_a_machine_without_the_task_is_one_line(two_nodes: TwoNodes, tmp_path: Path) -> None:
    """Where one of two machines cannot import the task, that is said before packs go there."""
    address = address_of(two_nodes, "ray://")
    (tmp_path / "x.yaml").write_text(SWEEP.replace("noted_task", "absent_task"))
    (tmp_path / "absent_task.py").write_text(ABSENT + TASK)
    done = command(
        tmp_path,
        *("run", "x.yaml", "--out", "out", "--cluster", address, "--nodes", 2),
        RAY_AUTH_TOKEN_PATH=two_nodes.token,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    (line,) = done.stderr.splitlines()
    assert re.match(r"Error: on the machine \S+: Task 'absent_task:task': cannot import", line)
    assert line.endswith("must lie under the same path on every machine.")
    assert not list(tmp_path.glob("out/parts/*.parquet"))


def test_a_token_in_rays_own_place_just_works(two_nodes: TwoNodes, tmp_path: Path) -> None:
    """With ~/.ray/auth_token and no variable set, the cluster answers with its two machines."""
    (tmp_path / "home" / ".ray").mkdir(parents=True)
    (tmp_path / "home" / ".ray" / "auth_token").write_text(two_nodes.token.read_text())
    (tmp_path / "home" / ".ray" / "auth_token").chmod(0o600)
    done = command(tmp_path, "doctor", "--cluster", two_nodes.address)

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{two_nodes.address} answers, 2 machines" in done.stdout
    assert re.search(r"^ok +Ray token: from the file ~/.ray/auth_token$", done.stdout, re.MULTILINE)
    assert two_nodes.token.read_text() not in done.stdout


@pytest.mark.parametrize("scheme", ["host:port", "ray://"])
@pytest.mark.parametrize("fault", ["missing", "wrong", "disabled", "empty"])
def test_a_bad_token_is_one_line_in_time(
    two_nodes: TwoNodes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: str, scheme: str
) -> None:
    """Within 15 s, without a traceback and without any token."""
    address = address_of(two_nodes, scheme)
    wrong = tmp_path / "wrong"
    wrong.write_text("" if fault == "empty" else "0" * 64)
    variables = {} if fault == "missing" else {"RAY_AUTH_TOKEN_PATH": str(wrong)}
    if fault == "disabled":
        variables = {"RAY_AUTH_MODE": "disabled", "RAY_AUTH_TOKEN_PATH": str(two_nodes.token)}
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name, value in {"HOME": str(tmp_path / "home"), **variables}.items():
        monkeypatch.setenv(name, value)
    expected = {
        "missing": "asks for a token, and there is none here; put the one",
        "wrong": "refuses the token from the file that RAY_AUTH_TOKEN_PATH names",
        "disabled": "asks for a token; unset RAY_AUTH_MODE=disabled",
        "empty": "which is empty; copy the token there",
    }
    begun = time.monotonic()
    with pytest.raises(UserError, match=expected[fault]) as caught:
        check_cluster(address)
    assert time.monotonic() - begun < 15
    said = str(caught.value)
    assert "\n" not in said
    assert not [token for token in ("0" * 64, two_nodes.token.read_text()) if token in said]


@pytest.mark.parametrize("scheme", ["host:port", "ray://"])
def test_a_run_without_the_token_says_that_line_and_no_more(
    two_nodes: TwoNodes, tmp_path: Path, scheme: str
) -> None:
    """The command ends with the one line, before it makes a folder."""
    (tmp_path / "x.yaml").write_text(SWEEP)
    (tmp_path / "noted_task.py").write_text(TASK)
    address = address_of(two_nodes, scheme)
    run = command(tmp_path, "run", "x.yaml", "--out", "out", "--cluster", address)

    assert (run.returncode, run.stdout) == (1, "")
    (line,) = run.stderr.splitlines()
    assert line.startswith(f"Error: the Ray cluster {address} asks for a token, and there is none")
