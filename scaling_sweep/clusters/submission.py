"""What is done elsewhere, as text first: files to write and commands to run, to show or to do."""

import re
import shlex
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from scaling_sweep.clusters.tokens import write_private
from scaling_sweep.errors import UserError

Say = Callable[[str], None]
# A Kubernetes name: RayJob allows 47 characters (KubeRay's validation), the rest is for endings.
_MAX_NAME = 29


@dataclass(frozen=True)
class Job:
    """One ``scaling-sweep run`` to be carried out elsewhere.

    Attributes:
        study: The study's name.
        sweep: The sweep file, absolute.
        text: Its text.
        out: The run folder as the user named it, or a URL.
        options: Further options of ``run``, as ``--wandb offline``.
        stamp: Tells submissions of one study apart.
    """

    study: str
    sweep: Path
    text: str
    out: str
    options: tuple[str, ...]
    stamp: str

    @property
    def name(self) -> str:
        """The study's name as clusters allow it: small letters, digits and dashes."""
        plain = re.sub(r"[^a-z0-9]+", "-", self.study.lower()).strip("-")[:_MAX_NAME]
        return f"sweep-{plain}".rstrip("-")

    @property
    def is_url(self) -> bool:
        """Whether the run folder is a URL, which all machines see alike."""
        return "://" in self.out

    def command(self, sweep: str, out: str, cluster: str, num_nodes: int) -> tuple[str, ...]:
        """Return the command line of the driver, where the cluster is.

        Args:
            sweep: The sweep file as it is called there.
            out: The run folder as it is called there.
            cluster: The address there; may be a shell variable in double quotes' reach.
            num_nodes: Nodes to wait for before planning.

        Returns:
            Words; none of them is quoted.
        """
        nodes = ("--nodes", str(num_nodes)) if num_nodes > 1 else ()
        where = ("--cluster", cluster, *nodes)
        return ("scaling-sweep", "run", sweep, "--out", out, *where, *self.options)


@dataclass(frozen=True)
class PrivateFile:
    """A file that only its owner reads, because it names where a token lies.

    Attributes:
        path: Where.
        text: What it holds; no token.
    """

    path: Path
    text: str


@dataclass(frozen=True)
class Command:
    """A command, run without a shell.

    Attributes:
        words: Program and arguments; never a token.
        stdin: What it reads.
    """

    words: tuple[str, ...]
    stdin: str = ""

    def text(self) -> str:
        """Return the command as it would be typed."""
        return shlex.join(self.words)


@dataclass(frozen=True)
class Note:
    """Something that is done without being shown whole, such as making a token.

    Attributes:
        text: What is done.
    """

    text: str


Step = PrivateFile | Command | Note


def show(steps: Iterable[Step]) -> str:
    """Return steps as a person reads them; what is not a file's or input's text is a comment.

    Args:
        steps: In order.

    Returns:
        The text of ``--dry-run``.

    Example:
        >>> print(show([Note("make a token"), Command(("sbatch", "my job.sh"))]))
        # make a token
        # $ sbatch 'my job.sh'
    """
    parts = []
    for step in steps:
        match step:
            case Note(text):
                parts.append(f"# {text}")
            case PrivateFile(path, text):
                parts += [f"# file {path}, mode 600:", text.rstrip("\n")]
            case Command(_, stdin):
                parts.append(f"# $ {step.text()}" + (" <<'END'" if stdin else ""))
                parts += [stdin.rstrip("\n"), "# END"] if stdin else []
    return "\n".join(parts)


def carry_out(steps: Iterable[Step], say: Say) -> None:
    """Write the files and run the commands, output passed through.

    Args:
        steps: In order; notes are done elsewhere.
        say: Shows one line.

    Raises:
        UserError: If a file cannot be written or a command fails.
    """
    for step in steps:
        if isinstance(step, PrivateFile):
            write_private(step.path, step.text)
        elif isinstance(step, Command):
            say(f"$ {step.text()}")
            finished = run_command(step, capture=False)
            if finished.returncode:
                raise UserError(f"`{step.text()}` failed with status {finished.returncode}")


def run_command(command: Command, *, capture: bool = True) -> "subprocess.CompletedProcess[str]":
    """Run one command without a shell.

    Args:
        command: What to run.
        capture: Keep its output instead of passing it through.

    Returns:
        The finished process, whatever its status.

    Raises:
        UserError: If the program is not installed.
    """
    given = command.stdin or None
    nothing = subprocess.DEVNULL if given is None else None
    try:
        return subprocess.run(
            command.words, text=True, capture_output=capture, input=given, stdin=nothing
        )
    except FileNotFoundError:
        raise UserError(
            f"{command.words[0]} is not installed on this machine; go to one where it is, "
            "or see with --dry-run what would be done"
        ) from None


def output_of(*words: str, stdin: str = "") -> str:
    """Run a command and return what it printed.

    Args:
        words: Program and arguments.
        stdin: What it reads.

    Returns:
        Standard output, stripped.

    Raises:
        UserError: If it is not installed or fails; the last line it said is in the message.
    """
    finished = run_command(Command(words, stdin))
    if finished.returncode:
        said = [line for line in finished.stderr.splitlines() if line.strip()]
        raise UserError(f"`{shlex.join(words)}` failed: {said[-1] if said else 'no reason given'}")
    return finished.stdout.strip()
