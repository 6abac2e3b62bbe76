"""What a run tells Weights & Biases: progress as packs finish, and the fit at the end."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from scaling_sweep.tracking.messages import Cell, GroupRun, Outcome, Progress
from scaling_sweep.tracking.outbox import Outbox

if TYPE_CHECKING:
    import pandas as pd

    from analysis.curvature_table import CurvatureTable
    from analysis.results import Results
    from analysis.summaries import Fit, GroupKey
    from scaling_sweep.planning import Pack
    from scaling_sweep.rows import PackRows
    from scaling_sweep.spec import SweepSpec


class Mode(StrEnum):
    """Where a run is mirrored to."""

    OFF = "off"
    OFFLINE = "offline"
    ONLINE = "online"


# A network may hang, so 5 s and no more. Offline only a disk can, and half a second is usual.
PATIENCE_S: Mapping[Mode, float] = {Mode.ONLINE: 5.0, Mode.OFFLINE: 20.0}


class Tracker:
    """Mirrors nothing: what the other tracker does, and what ``off`` means.

    A tracker is a watcher of the driver: its methods take microseconds and never raise.
    """

    def __enter__(self) -> Self:
        """Begin."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close; a run that was interrupted or failed is shown as such."""
        self.close(exit_code=0 if kind is None else 1)

    def on_plan(self, packs: "Sequence[Pack]", rows: "pd.DataFrame") -> None:
        """Hear what will run, and of the rows that earlier runs left."""

    def on_pack(self, pack: "Pack", rows: "PackRows", wall_time_s: float) -> None:
        """Hear that a pack's rows are stored."""

    def on_fit(
        self,
        fit: "Fit",
        results: "Results",
        curves: Path | None = None,
        curvature: "CurvatureTable | None" = None,
    ) -> None:
        """Hear what the finished table says.

        Args:
            fit: Of the table.
            results: The table.
            curves: The file of loss curves, None when there is none.
            curvature: Measured curvature, None when there is none.
        """

    def close(self, exit_code: int = 0, timeout_s: float | None = None) -> bool:
        """Finish, within ``timeout_s`` seconds or what the mode allows.

        Returns:
            Whether everything was taken.
        """
        return True


def open_tracker(
    mode: str, spec: "SweepSpec", folder: Path, sweep_text: str, say: Callable[[str], None]
) -> Tracker:
    """Return a tracker for a run; nothing starts before it hears of the run.

    Args:
        mode: ``off``, ``offline`` or ``online``.
        spec: The sweep.
        folder: The run folder; W&B's files go to ``wandb/`` in it.
        sweep_text: The sweep file's text.
        say: Shows one line to a person. Called from other threads too, and the line may hold
            anything, so it must not be read as markup.

    Returns:
        A context manager that is closed when the sweep is over.

    Raises:
        ValueError: If there is no such mode.

    Example:
        >>> from scaling_sweep.spec import SweepSpec
        >>> spec = SweepSpec.model_validate({
        ...     "name": "tiny", "task": "digits_mlp", "seeds": 2, "horizon": {"steps": 30},
        ...     "parameters": {"optimizer": {"values": ["sgd"]},
        ...                    "batch_size": {"values": [1, 8]}, "lr": {"values": [0.1, 1]}}})
        >>> with open_tracker("off", spec, Path("runs/tiny"), "name: tiny", print) as tracker:
        ...     type(tracker).__name__
        'Tracker'
    """
    chosen = Mode(mode)
    if chosen is Mode.OFF:
        return Tracker()
    if find_spec("wandb") is None:
        say(
            "Weights & Biases is not installed; the sweep goes on without. To mirror it: "
            "pip install 'scaling-sweep[wandb]'"
        )
        return Tracker()
    from scaling_sweep.tracking.launching import make_outbox

    return WandbTracker(make_outbox(folder, chosen.value, say), spec, sweep_text, say, chosen)


class WandbTracker(Tracker):
    """Mirrors a run.

    Args:
        outbox: Takes the messages.
        spec: The sweep.
        sweep_text: The sweep file's text.
        say: Shows one line to a person.
        mode: ``offline`` or ``online``.
    """

    def __init__(
        self,
        outbox: Outbox,
        spec: "SweepSpec",
        sweep_text: str,
        say: Callable[[str], None],
        mode: Mode,
    ) -> None:
        self._outbox = outbox
        self._spec = spec
        self._sweep_text = sweep_text
        self._say = say
        self._patience_s = PATIENCE_S[mode]
        self._counts: dict[GroupKey, Counter[str]] = {}
        self._broken = False

    def on_plan(self, packs: "Sequence[Pack]", rows: "pd.DataFrame") -> None:
        """Open the groups' runs, and repeat what earlier runs of this folder found."""
        self._try(lambda: self._plan(packs, rows))

    def on_pack(self, pack: "Pack", rows: "PackRows", wall_time_s: float) -> None:
        """Add one point to the history of the pack's group."""
        self._try(
            lambda: self._outbox.offer(
                self._progress(_key_of(pack), pack.batch_size, rows.results, wall_time_s)
            )
        )

    def on_fit(
        self,
        fit: "Fit",
        results: "Results",
        curves: Path | None = None,
        curvature: "CurvatureTable | None" = None,
    ) -> None:
        """Send tables, figures and the summary of every group, theory beside them."""
        self._try(lambda: self._fit(fit, results, curves, curvature))

    def close(self, exit_code: int = 0, timeout_s: float | None = None) -> bool:
        """Finish the W&B runs, or leave W&B behind when that takes too long."""
        # After Ctrl-C a person waits for the prompt.
        patience_s = min(PATIENCE_S.values()) if exit_code else self._patience_s
        taken = self._outbox.close(exit_code, patience_s if timeout_s is None else timeout_s)
        return taken and not self._broken

    def _try(self, act: Callable[[], None]) -> None:
        """Do something that may fail without the sweep."""
        if self._broken:
            return
        try:
            act()
        except Exception as error:  # a mirror must not end what it mirrors
            self._broken = True
            self._say(
                f"Weights & Biases stopped ({type(error).__name__}: {error}); the sweep goes on."
            )

    def _plan(self, packs: "Sequence[Pack]", rows: "pd.DataFrame") -> None:
        from analysis.criteria import Verdict
        from analysis.groups import split_groups

        # Failed trials are tried again, and count when they are.
        earlier = rows[rows["verdict"] != str(Verdict.FAILED)]
        old = []
        for key, of_group in split_groups(earlier):
            for (batch_size, _), of_pack in of_group.groupby(["batch_size", "pack_id"]):
                self._tally(key)["planned"] += len(of_pack)
                old.append((key, int(str(batch_size)), of_pack))
        for pack in packs:
            self._tally(_key_of(pack))["planned"] += pack.num_trials
        for key, batch_size, of_pack in old:
            seconds = float(of_pack["wall_time_s"].sum())
            self._outbox.send(self._progress(key, batch_size, of_pack, seconds))

    def _fit(
        self,
        fit: "Fit",
        results: "Results",
        curves: Path | None,
        curvature: "CurvatureTable | None",
    ) -> None:
        from scaling_sweep.tracking.findings import find_findings

        for group in fit.groups:
            self._tally(group.key)
        for findings in find_findings(fit, results, curves, curvature):
            self._outbox.send(findings)

    def _progress(
        self, key: "GroupKey", batch_size: int, rows: "pd.DataFrame", wall_time_s: float
    ) -> Progress:
        """Count a finished pack and return its point of the history."""
        verdicts = rows["verdict"].tolist()
        tally, here = self._tally(key), Counter(verdicts)
        tally.update({"packs": 1, "trials": len(verdicts), **here})
        measured = here["stable"] + here["diverged"]
        metrics: dict[str, Cell] = {
            "packs_done": tally["packs"],
            "trials_done": tally["trials"],
            "trials_stable": tally["stable"],
            "trials_diverged": tally["diverged"],
            "trials_failed": tally["failed"],
            "pack/batch_size": batch_size,
            "pack/num_trials": len(verdicts),
            "pack/num_diverged": here["diverged"],
            "pack/num_failed": here["failed"],
            "pack/wall_time_s": wall_time_s,
        }
        if measured:
            metrics["pack/fraction_stable"] = here["stable"] / measured
        if tally["planned"]:
            metrics["fraction_done"] = tally["trials"] / tally["planned"]
        return Progress(str(key), metrics, _outcomes(rows))

    def _tally(self, key: "GroupKey") -> Counter[str]:
        """Return the counts of a group, whose run is opened when it is new."""
        if key not in self._counts:
            self._counts[key] = Counter()
            self._outbox.send(self._describe(key))
        return self._counts[key]

    def _describe(self, key: "GroupKey") -> GroupRun:
        from dataclasses import asdict

        spec = self._spec
        optimizer = next((one for one in spec.optimizers if one.label == key.optimizer), None)
        config: dict[str, object] = {
            **asdict(key),
            "study": spec.name,
            "batch_sizes": list(spec.batch_sizes),
            "lrs": [] if optimizer is None else list(spec.lrs_for(optimizer)),
            "sampling": spec.sampling,
            "num_seeds": spec.seeds,
            "sweep": spec.model_dump(mode="json"),
            "sweep_file": self._sweep_text,
        }
        parts = [key.optimizer, key.task, key.method, f"from {key.start}", key.horizon]
        name = " · ".join(parts if key.recipe == "plain" else [*parts, key.recipe])
        return GroupRun(str(key), name, spec.name, config)


def _outcomes(rows: "pd.DataFrame") -> tuple[Outcome, ...]:
    """Return what became of the trials in some rows."""
    num_rows = len(rows)
    damping = rows["damping"].tolist() if "damping" in rows else [None] * num_rows
    known = [None if value is None or value != value else value for value in damping]
    columns = (rows[name].tolist() for name in ("batch_size", "lr"))
    return tuple(map(Outcome, *columns, known, rows["seed"].tolist(), rows["verdict"].tolist()))


def _key_of(pack: "Pack") -> "GroupKey":
    """Return the group a pack belongs to."""
    from analysis.axes import AxisName
    from analysis.summaries import GroupKey

    trial = pack.trials[0]
    axis = AxisName.LR if trial.damping is None else AxisName.DAMPING
    shared = trial.task, trial.method, trial.optimizer.label, trial.start, trial.horizon
    return GroupKey(*shared, axis, trial.recipe)
