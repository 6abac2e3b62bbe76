"""A command that is over in seconds looks for garbage seldom, and leaves Python as it was."""

import gc
import subprocess
import sys
from pathlib import Path

import pytest

from scaling_sweep.cli.brief import rarely_collected

ROOT = Path(__file__).resolve().parent.parent


def test_collecting_is_as_before_afterwards() -> None:
    """Within, thresholds are high; afterwards, after an error too, they are what they were."""
    usual = gc.get_threshold()
    with rarely_collected():
        assert gc.get_threshold()[0] > 10 * usual[0]
    assert gc.get_threshold() == usual

    def fail() -> None:
        with rarely_collected():
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert gc.get_threshold() == usual


def test_a_process_ends_without_a_word() -> None:
    """What is frozen at the end is let go in silence, and the exit status is the command's."""
    program = """
from scaling_sweep.cli.brief import rarely_collected
with rarely_collected():
    import numpy
    kept = [object() for _ in range(1000)]
raise SystemExit(3)
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)

    assert (done.returncode, done.stdout, done.stderr) == (3, "", "")
