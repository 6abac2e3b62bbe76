"""How the mirror's process is started: its command and its environment."""

import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path

import scaling_sweep
from analysis.files.places import as_remote
from analysis.files.whole_files import write_whole
from scaling_sweep.tracking.outbox import Outbox, inherited_environment

# What speaks of one particular W&B run, or of how this process would use W&B itself.
_NOT_FOR_THE_MIRROR = (
    "WANDB_CONSOLE",
    "WANDB_DIR",
    "WANDB_DISABLED",
    "WANDB_JOB_TYPE",
    "WANDB_MODE",
    "WANDB_NAME",
    "WANDB_RESUME",
    "WANDB_RUN_GROUP",
    "WANDB_RUN_ID",
    "WANDB_SERVICE",
    "WANDB_SWEEP_ID",
    "WANDB_SWEEP_PARAM_PATH",
)


# Below the 5 s that a sweep waits at its end, so that W&B's log on disk is closed in order.
_FINISH_TIMEOUT_S = 3.5


def make_outbox(
    folder: Path,
    mode: str,
    say: Callable[[str], None],
    finish_timeout_s: float = _FINISH_TIMEOUT_S,
    project: str | None = None,
) -> Outbox:
    """Return an outbox to a mirror; the process starts with the first message.

    Args:
        folder: The run folder.
        mode: ``offline`` or ``online``.
        say: Shows one line to a person.
        finish_timeout_s: Most seconds that W&B may take to send the rest when all is said.
        project: W&B's project; None leaves it to ``WANDB_PROJECT`` and to our default.

    Returns:
        The outbox.
    """
    package = Path(scaling_sweep.__file__).resolve().parent.parent
    # `-m` would put the working directory first, where people keep wandb folders of their own.
    start = (
        "import sys; sys.path.append(sys.argv.pop()); "
        "from scaling_sweep.tracking.mirror import main; main()"
    )
    folder = local_side(folder)
    arguments = [str(folder), mode, str(finish_timeout_s), str(package)]
    named = {} if project is None else {"WANDB_PROJECT": project}
    environment = {**mirror_environment(folder.resolve()), **named}
    return Outbox([sys.executable, "-P", "-c", start, *arguments], environment, say)


def local_side(folder: Path) -> Path:
    """Return where W&B's files of a run folder lie: in it, or beside local runs for a URL.

    Args:
        folder: The run folder.

    Returns:
        A folder of this machine; that of a URL has the run's identity in it, so that the runs of
        a folder in a store have the same ids from whichever machine they are mirrored.
    """
    if as_remote(folder) is None:
        return folder
    identity = hashlib.blake2b(str(folder).encode(), digest_size=8).hexdigest()
    local = Path("runs") / f"{folder.name}-{identity[:8]}"
    (local / "wandb").mkdir(parents=True, exist_ok=True)
    write_whole(local / "wandb" / "folder-id", identity.encode())
    return local


def mirror_environment(folder: Path) -> dict[str, str]:
    """Return the mirror's environment: the user's W&B account, our folders, no chatter."""
    own = {
        "WANDB_SILENT": "true",
        "WANDB_CACHE_DIR": str(folder / "wandb" / "cache"),
        "WANDB_DATA_DIR": str(folder / "wandb" / "data"),
    }
    # Errors of W&B's own are reported to its makers unless somebody says no; offline means no.
    own["WANDB_ERROR_REPORTING"] = os.environ.get("WANDB_ERROR_REPORTING", "false")
    return inherited_environment(_NOT_FOR_THE_MIRROR, own)
