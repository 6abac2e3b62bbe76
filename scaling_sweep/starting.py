"""Write the files a task of one's own begins with: a module that runs as it is, and its sweep."""

import importlib.util
import keyword
import sys
from dataclasses import dataclass
from pathlib import Path

from scaling_sweep.errors import UserError

_SWEEP = """\
# How does the largest stable learning rate of my model grow with the batch size?
name: {name}
task: "{name}:make_task"             # or {{name: "{name}:make_task", args: {{width: 64}}}}
parameters:
  optimizer: {{values: [sgd]}}         # scaling-sweep tasks lists them
  batch_size: {{min: 1, max: 32, per_octave: 1}}
  lr: {{min: 0.01, max: 40, per_octave: 2}}   # wide enough for every edge
seeds: 3
horizon: {{steps: 150}}                # long enough that the loss can come down by that much:
stability: {{max_loss_ratio: 0.5}}     # stable means final loss at most half of the first one
"""


@dataclass(frozen=True)
class NewTask:
    """What was written.

    Attributes:
        module: The task.
        sweep: The sweep file beside it.
    """

    module: Path
    sweep: Path

    def text(self) -> str:
        """Return what to do next, as people read it."""
        return "\n".join(
            [
                f"Written: {self.module} and {self.sweep}. Both run as they are. Next:",
                f"  scaling-sweep check-task {self.sweep}",
                f"  scaling-sweep plan {self.sweep}",
                f"  scaling-sweep run {self.sweep}",
            ]
        )


def write_new_task(path: Path) -> NewTask:
    """Write a task's module and a sweep file beside it.

    Args:
        path: Of the module; must end in ``.py``. Nothing that exists is overwritten.

    Returns:
        The two files.

    Raises:
        UserError: If a file exists already, or nothing of that name could be imported.

    Example:
        >>> import tempfile
        >>> written = write_new_task(Path(tempfile.mkdtemp()) / "my_flowers.py")
        >>> written.sweep.name
        'my_flowers.yaml'
    """
    written = NewTask(path, path.with_suffix(".yaml"))
    name = path.stem
    if path.suffix != ".py" or not name.isidentifier() or keyword.iskeyword(name):
        raise UserError(f"{path} cannot be imported as a module; write for example my_task.py")
    for file in (written.module, written.sweep):
        if file.exists():
            raise UserError(f"{file} exists already; give another name, or move it away")
    if _is_taken(name):
        raise UserError(
            f"{name} is the name of an installed Python module, which would be imported instead "
            f"of {path}; write for example my_{name}.py"
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    written.module.write_text(_starter(), encoding="utf-8")
    written.sweep.write_text(_SWEEP.format(name=name), encoding="utf-8")
    return written


def _is_taken(name: str) -> bool:
    if name in sys.builtin_module_names or name in sys.stdlib_module_names:
        return True
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _starter() -> str:
    """Return the text of the task that new ones begin as, without importing torch."""
    spec = importlib.util.find_spec("scaling_sweep.tasks.starter")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).read_text(encoding="utf-8")
