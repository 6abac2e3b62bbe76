"""From the word in CLUSTER=… to a place where a run can go."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from scaling_sweep.clusters.kuberay import KubeRayCluster
from scaling_sweep.clusters.preflight import CLIENT
from scaling_sweep.clusters.ray_up import RayUpCluster
from scaling_sweep.clusters.slurm import SlurmCluster
from scaling_sweep.errors import UserError
from scaling_sweep.spec.loading import check_section
from scaling_sweep.spec.source import read_source
from scaling_sweep.spec.wording import as_yaml, nearest

FOLDER = Path("sweeps/clusters")
_ADDRESS = re.compile(r"(ray://)?(\[[0-9a-fA-F:]+\]|[\w.-]+):\d{1,5}")
KINDS: dict[str, type[SlurmCluster] | type[RayUpCluster] | type[KubeRayCluster]] = {
    "slurm": SlurmCluster,
    "ray-up": RayUpCluster,
    "kuberay": KubeRayCluster,
}


@dataclass(frozen=True)
class Place:
    """A Ray that this process reaches.

    Attributes:
        word: ``local``, ``auto``, ``host:port`` or ``ray://host:port``.
    """

    word: str


@dataclass(frozen=True)
class Site:
    """A cluster that a whole run is submitted to.

    Attributes:
        name: What it is called: the file's name without its ending.
        path: The file; None for ``slurm`` without a file.
        cluster: What the file says.
    """

    name: str
    path: Path | None
    cluster: SlurmCluster | RayUpCluster | KubeRayCluster


def find_cluster(word: str, folder: Path = FOLDER) -> Place | Site:
    """Return what a word means.

    Args:
        word: ``local``, ``auto``, ``host:port``, ``ray://host:port``, ``slurm``, a file, or the
            name of a file in ``folder`` without its ending.
        folder: Where files with bare names lie.

    Returns:
        A Ray to reach, or a cluster to submit to.

    Raises:
        UserError: If it means nothing; the nearest name is offered.

    Example:
        >>> find_cluster("node7:6379")
        Place(word='node7:6379')
    """
    if word in ("local", "auto"):
        return Place(word)
    if _ADDRESS.fullmatch(word):
        if int(word.rpartition(":")[2]) > 65535:
            raise UserError(f"{word}: a port is at most 65535; Ray's own is 6379")
        return Place(word)
    if word.startswith(CLIENT):
        raise UserError(f"{word}: write ray://host:port; the port of Ray's client is 10001")
    path = Path(word)
    if path.suffix in (".yaml", ".yml") or os.sep in word:
        return Site(path.stem, path, load_cluster(path))
    named = folder / f"{word}.yaml"
    if re.fullmatch(r"[\w.-]+", word) and named.exists():
        return Site(word, named, load_cluster(named))
    if word == "slurm":
        return Site(word, None, SlurmCluster(kind="slurm"))
    names = {"local", "auto", "slurm", *_names(folder)}
    raise UserError(
        f"unknown cluster {as_yaml(word)}; {nearest(word, names).rstrip('?')}, "
        "or write host:port of a running Ray, or a file"
    )


def _names(folder: Path) -> list[str]:
    """Return the names of cluster files; a second dot tells a launcher's file beside one."""
    return [path.stem for path in folder.glob("*.yaml") if "." not in path.stem]


def load_cluster(path: Path) -> SlurmCluster | RayUpCluster | KubeRayCluster:
    """Read and check a cluster file.

    Args:
        path: The file.

    Returns:
        What it says.

    Raises:
        UserError: One line with file, line, what was given and what to write instead.
    """
    try:
        source = read_source(path)
    except UserError as error:
        line = str(error).replace("begin with name: and task:", "begin with kind:")
        raise UserError(line.replace("sweep file", "cluster file")) from None
    given = source.data.get("kind") if isinstance(source.data, dict) else None
    if given is None:
        raise source.error(f"kind: missing; write kind: and one of {', '.join(KINDS)}")
    if not isinstance(given, str) or given not in KINDS:
        message = f"must be one of {', '.join(KINDS)}, got {as_yaml(given)}; "
        raise source.error(message + nearest(given, KINDS), "kind")
    return check_section(KINDS[given], source)
