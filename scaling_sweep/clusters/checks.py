"""What `scaling-sweep doctor` looks at: what a run needs, and what to mend where it is missing."""

import netrc
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlparse

from scaling_sweep.clusters.tokens import MODE, PATH, TokenSource, default_path, is_private
from scaling_sweep.clusters.tokens import token_source as source_of
from scaling_sweep.errors import UserError

_GIB = 2**30
# Guesses: a study's parts and tables take some MiB, Ray's logs and spilled objects the rest.
_LOW_DISK, _NO_DISK = 5 * _GIB, 1 * _GIB
# A worker that has imported torch takes 0.3 to 0.6 GiB (measured), and there is one per core.
_LOW_MEMORY, _NO_MEMORY = 4 * _GIB, 1 * _GIB


class Health(StrEnum):
    """How a thing is."""

    OK = "ok"
    NOTE = "note"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Finding:
    """One line of the doctor's.

    Attributes:
        name: What was looked at.
        health: How it is.
        text: What was found; nothing secret.
        mend: What to do, empty when all is well.
    """

    name: str
    health: Health
    text: str
    mend: str = ""


def examine(out: Path) -> Iterator[Finding]:
    """Look at this machine.

    Args:
        out: Where run folders go.

    Yields:
        Findings, the quick ones first.
    """
    checks: tuple[Callable[[], Finding], ...] = (
        _python,
        *(lambda name=name: _package(name) for name in ("torch", "ray")),
        _token,
        lambda: _storage(out),
        lambda: _disk("disk", out),
        lambda: _disk("Ray's disk", Path(tempfile.gettempdir())),
        _memory,
        _wandb,
        _gpus,
    )
    for check in checks:
        yield check()


def _python() -> Finding:
    return Finding("Python", Health.OK, f"{platform.python_version()} at {sys.executable}")


def _package(name: str) -> Finding:
    try:
        return Finding(name, Health.OK, version(name))
    except PackageNotFoundError:
        mend = "pip install 'scaling-sweep[train]'"
        return Finding(name, Health.PROBLEM, "not installed", mend)


def _token() -> Finding:
    name = "Ray token"
    try:
        source = source_of()
    except UserError as error:
        return Finding(name, Health.PROBLEM, *_halves(str(error)))
    if os.environ.get(MODE, "").lower() == "disabled":
        text = "RAY_AUTH_MODE=disabled: anyone who reaches the Ray of a run can run code as you"
        return Finding(name, Health.NOTE, text, "unset RAY_AUTH_MODE")
    if source is TokenSource.NONE:
        return Finding(name, Health.OK, "none yet; a run on this machine makes one")
    if source is TokenSource.VALUE:
        mend = "put it into ~/.ray/auth_token (mode 600) and unset the variable"
        return Finding(name, Health.NOTE, f"from {source}, which other programs see", mend)
    path = Path(os.environ[PATH]) if source is TokenSource.PATH else default_path()
    if not is_private(path):
        return Finding(name, Health.NOTE, f"{path} is open to others", f"chmod 600 {path}")
    return Finding(name, Health.OK, f"from {source}")


def _halves(line: str) -> tuple[str, str]:
    """Split one of our error lines into what is wrong and what to do."""
    found, _, mend = line.partition("; ")
    return found, mend


def _existing(path: Path) -> Path:
    """Return a folder, or the nearest above it that is there."""
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path


def _storage(out: Path) -> Finding:
    place = _existing(out)
    try:
        with tempfile.NamedTemporaryFile(dir=place, prefix=".scaling-sweep-"):
            return Finding("storage", Health.OK, f"{place} can be written")
    except OSError as error:
        mend = "write another --out, or make it writable"
        return Finding("storage", Health.PROBLEM, f"{place}: {error.strerror}", mend)


def _disk(name: str, path: Path) -> Finding:
    usage = shutil.disk_usage(_existing(path))
    text = f"{usage.free / _GIB:.1f} GiB free at {path}"
    if usage.free < _NO_DISK:
        return Finding(name, Health.PROBLEM, text, "make space")
    # Ray stops placing objects on a disk that is 95 % full.
    if usage.free < _LOW_DISK or usage.free < 0.05 * usage.total:
        return Finding(name, Health.NOTE, text, "make space before a long run")
    return Finding(name, Health.OK, text)


def _memory() -> Finding:
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        fields = dict(line.split(":", 1) for line in lines)
        free = int(fields["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return Finding("memory", Health.NOTE, "cannot be told here", "look yourself")
    text = f"{free / _GIB:.1f} GiB available"
    if free < _NO_MEMORY:
        return Finding("memory", Health.PROBLEM, text, "end what uses it")
    if free < _LOW_MEMORY:
        return Finding("memory", Health.NOTE, text, "run fewer packs at a time: resources.cpus")
    return Finding("memory", Health.OK, text)


def _wandb() -> Finding:
    if find_spec("wandb") is None:
        mend = "for --wandb: pip install 'scaling-sweep[wandb]'"
        return Finding("W&B", Health.NOTE, "not installed", mend)
    if os.environ.get("WANDB_API_KEY"):
        return Finding("W&B", Health.OK, f"{version('wandb')}, key from WANDB_API_KEY")
    server = os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")
    host = urlparse(server).hostname or server
    try:
        known = netrc.netrc(os.environ.get("NETRC")).authenticators(host)
    except (OSError, netrc.NetrcParseError):
        known = None
    if known:
        return Finding("W&B", Health.OK, f"{version('wandb')}, logged in to {host}")
    mend = "for --wandb online: wandb login"
    return Finding("W&B", Health.NOTE, f"{version('wandb')}, not logged in to {host}", mend)


_ASK_TORCH = "import torch; print(torch.cuda.device_count(), torch.version.cuda or '')"


def _gpus() -> Finding:
    """Compare the driver's list with what torch can use, in a process that cannot harm this one."""
    seen = _lines("nvidia-smi", "-L")
    usable = _lines(sys.executable, "-c", _ASK_TORCH)
    count = int(usable[-1].split()[0]) if usable else 0
    if count:
        return Finding("GPUs", Health.OK, f"{count}: {seen[0].split(' (')[0] if seen else 'CUDA'}")
    if seen:
        text = f"{len(seen)} there, none that torch can use"
        mend = "install a torch built for this driver, or unset CUDA_VISIBLE_DEVICES"
        return Finding("GPUs", Health.PROBLEM, text, mend)
    return Finding("GPUs", Health.OK, "none, packs train on the processor")


def _lines(*command: str) -> list[str]:
    """Return what a command printed; nothing if it failed or is not there."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    except (OSError, subprocess.TimeoutExpired):
        return []
    return done.stdout.splitlines() if done.returncode == 0 else []
