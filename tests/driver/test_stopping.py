"""A run in a process of its own that is stopped, or begun a second time."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from scaling_sweep.store import RunFolder
from tests.driver.cases import Study, assert_same_rows

pytestmark = [pytest.mark.ray, pytest.mark.slow]

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 180


def command(study: Study) -> list[str]:
    """Return the command line of a run."""
    program = "from scaling_sweep.cli import main; main(prog_name='scaling-sweep')"
    arguments = ["run", str(study.path), "--out", str(study.out), "--no-fit"]
    return [sys.executable, "-c", program, *arguments]


def environment() -> dict[str, str]:
    """Return this process's environment, with our code importable."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}


@contextmanager
def begun(study: Study, *before: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a study in a process of its own up to where only the pack that waits is left.

    Until then it has shown the plan and progress, and nothing of Ray's own.
    Words before the command wrap it, as a script's shell would.
    """
    waiting = study.tell("wait")
    # Into files: workers that outlive a killed driver would keep a pipe open.
    with study.told("stdout").open("w") as stdout, study.told("stderr").open("w") as stderr:
        process = subprocess.Popen(
            [*before, *command(study)],
            stdout=stdout,
            stderr=stderr,
            env=environment(),
            start_new_session=True,
        )
    # The first look at the task happens in the driver, at the smallest batch size: no waiting.
    study.told("driver.pid").write_text(str(process.pid))
    try:
        deadline = time.monotonic() + PATIENCE_S
        while len(list((study.out / "parts").glob("*.parquet"))) < 2:
            assert process.poll() is None, study.told("stderr").read_text()
            assert time.monotonic() < deadline, "no packs finished"
            time.sleep(0.05)
        first, *others = study.told("stdout").read_text().splitlines() or [""]
        assert first in {"", "18 trials in 3 packs to run."}
        assert all(re.match(r" *\d+%  packs ", line) for line in others), others
        assert study.told("stderr").read_text() == ""
        yield process
    finally:
        waiting.unlink(missing_ok=True)
        if process.poll() is None:
            process.kill()
        process.wait()


def run_to_the_end(study: Study) -> subprocess.CompletedProcess[str]:
    """Run a study in a process of its own."""
    return subprocess.run(
        command(study), capture_output=True, text=True, env=environment(), timeout=PATIENCE_S
    )


def finished_parts(study: Study) -> dict[Path, bytes]:
    """Return the files of the packs that are stored."""
    return {part: part.read_bytes() for part in (study.out / "parts").glob("*.parquet")}


@pytest.mark.alone
def test_ctrl_c_stops_soon_and_says_how_to_go_on(study: Study) -> None:
    """As from a terminal, to all processes: status 130 within 10 s, and the line to type next.

    Another run of the folder was turned away with one line before, and disturbed nothing.
    """
    with begun(study) as process:
        second = run_to_the_end(study)
        pressed = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)
        process.wait(timeout=60)
        assert time.monotonic() - pressed < 10

    assert (second.returncode, second.stdout) == (1, "")
    assert second.stderr.splitlines() == [
        f"Error: {study.out} is in use by another run; wait for it, or write another --out"
    ]
    stdout, stderr = (study.told(name).read_text() for name in ("stdout", "stderr"))
    assert process.returncode == 130, (stdout, stderr)
    assert f"Go on with: scaling-sweep run {study.path} --out {study.out}" in stdout
    assert "Traceback" not in stderr
    assert len(finished_parts(study)) == 2
    # Going on from here is going on after a kill, which tests/test_drill.py does.
    expected = study.expected().query("batch_size < 64").dropna(axis="columns", how="all")
    assert_same_rows(RunFolder(study.out).read_rows(), expected)


@pytest.mark.alone
def test_a_polite_kill_stops_a_run_in_the_background(study: Study) -> None:
    """SIGTERM ends a run as Ctrl-C does, where a script's shell has it ignore SIGINT too."""
    with begun(study, "sh", "-c", "trap '' INT; exec \"$@\"", "sh") as process:
        asked = time.monotonic()
        process.terminate()
        process.wait(timeout=60)
        assert time.monotonic() - asked < 10

    assert process.returncode == 130, study.told("stderr").read_text()
    assert "Stopped, what is finished is kept." in study.told("stdout").read_text()
    assert len(finished_parts(study)) == 2
