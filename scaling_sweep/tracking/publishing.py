"""A run folder mirrored to Weights & Biases after the run: finished, interrupted or offline."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from scaling_sweep.errors import UserError
from scaling_sweep.store import RunFolder
from scaling_sweep.tracking.tracker import Mode, WandbTracker

if TYPE_CHECKING:
    import pandas as pd

    from scaling_sweep.planning import Pack
    from scaling_sweep.spec import SweepSpec
    from scaling_sweep.study import Study

# A person waits for nothing else here, and pictures take a while over a slow line (guess).
_PATIENCE_S = 300.0
# W&B gives up before we do, so that it says itself what is missing.
_FINISH_TIMEOUT_S = 240.0


@dataclass(frozen=True)
class _Finished:
    """What a run folder has, and what it lacks.

    Attributes:
        study: Its table, fitted.
        missing: Packs that would still have to run; none where that is not known.
        curves: The file of loss curves.
    """

    study: "Study"
    missing: "tuple[Pack, ...]"
    curves: Path


def publish_run(run: Path, mode: str, project: str | None, say: Callable[[str], None]) -> bool:
    """Mirror a run folder to Weights & Biases, as if it had been watched while it ran.

    Every group's W&B run has the id that it had, or would have had, in a mirrored run of this
    folder: publishing again replaces and doubles nothing.

    Args:
        run: The folder, for example ``runs/digits``.
        mode: ``offline`` or ``online``.
        project: W&B's project; None leaves it to ``WANDB_PROJECT`` and to our default.
        say: Shows one line to a person.

    Returns:
        Whether everything was taken. If not, what is missing has been said.

    Raises:
        UserError: If the folder holds no run or no trial yet, is in use or cannot be written, or
            wandb is not installed.
    """
    from scaling_sweep.spec import parse_sweep
    from scaling_sweep.tracking.launching import local_side, make_outbox

    if find_spec("wandb") is None:
        raise UserError("wandb is not installed; write: pip install 'scaling-sweep[wandb]'")
    folder = RunFolder(run)
    if not folder.sweep.exists():
        raise UserError(f"{run} holds no run (no sweep.yaml); name a folder such as runs/digits")
    text = folder.sweep.read_text()
    spec = parse_sweep(text, folder.sweep).spec
    with folder.opened(), _finished(folder, spec, text) as found:
        beside = local_side(run)
        before = _offline_folders(beside)
        outbox = make_outbox(run, mode, say, _FINISH_TIMEOUT_S, project)
        tracker = WandbTracker(outbox, spec, text, say, Mode(mode))
        study = found.study
        tracker.on_plan(found.missing, study.results.frame)
        tracker.on_fit(study.fit, study.results, found.curves, study.curvature)
        # What lacks trials is closed as W&B closes a run that was stopped.
        taken = tracker.close(exit_code=int(bool(found.missing)), timeout_s=_PATIENCE_S)
        if taken:
            _drop_superseded(before, _offline_folders(beside))
    return taken


@contextmanager
def _finished(folder: RunFolder, spec: "SweepSpec", text: str) -> "Iterator[_Finished]":
    """Put the parts of a folder together elsewhere, so that nothing in it changes."""
    from scaling_sweep.opening import open_study

    rows = folder.read_rows()
    if rows.empty and folder.results.exists():
        study = open_study(folder.path)
        yield _Finished(study, (), folder.curves)
        return
    if rows.empty:
        raise UserError(f"{folder.path} has no finished trial yet; nothing to publish")
    with TemporaryDirectory(prefix="scaling-sweep-") as scratch:
        whole = RunFolder(Path(scratch))
        if folder.curvature.exists():
            whole.curvature.write_bytes(folder.curvature.read_bytes())
        whole.assemble(text, {}, rows)
        study = open_study(whole.path)
        yield _Finished(study, _missing(spec, study.results.frame), whole.curves)


def _missing(spec: "SweepSpec", rows: "pd.DataFrame") -> "tuple[Pack, ...]":
    """Return the packs of a grid that have no measurement; a search decides as it goes."""
    from analysis.criteria import Verdict
    from scaling_sweep.planning import plan_packs

    if spec.bisection is not None:
        return ()
    done = rows.loc[rows["verdict"] != str(Verdict.FAILED), "trial_id"]
    sizes = [] if "num_examples" not in rows else rows["num_examples"].dropna().tolist()
    return plan_packs(spec, set(done), num_examples=int(sizes[0]) if sizes else None)


def _offline_folders(run: Path) -> set[Path]:
    # A folder from somebody else may hold a link to one's own: nothing is removed through it.
    return set() if (run / "wandb").is_symlink() else set((run / "wandb").glob("offline-run-*"))


def _drop_superseded(before: set[Path], after: set[Path]) -> None:
    """Remove offline runs that have just been written again: `wandb sync` would send both.

    W&B names such a folder ``offline-run-<time>-<id>``.
    """
    written = {path.name.rpartition("-")[2] for path in after - before}
    for path in before:
        if path.name.rpartition("-")[2] in written and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
