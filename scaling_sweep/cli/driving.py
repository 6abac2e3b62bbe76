"""What `run` does where this process drives the run: train, show, mirror, then fit."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from scaling_sweep.cli.console import plain_console

if TYPE_CHECKING:
    from rich.console import Console

    from scaling_sweep.running import RunOutcome
    from scaling_sweep.spec import LoadedSweep
    from scaling_sweep.tracking import Tracker


@dataclass(frozen=True)
class Drive:
    """A run as it was asked for.

    Attributes:
        loaded: The sweep file.
        out: The run folder as given, None for ``runs/<name>``.
        cluster: The word or address of the Ray to use.
        wandb_mode: ``off``, ``offline`` or ``online``.
        port: Where the run is shown in a browser, None for nowhere.
        fit: Whether to fit and report at the end.
        verbose: Whether Ray may speak.
    """

    loaded: "LoadedSweep"
    out: Path | None
    cluster: str
    wandb_mode: str
    port: int | None
    fit: bool
    verbose: bool


def drive_run(drive: Drive) -> None:
    """Train what is missing, then fit and report.

    Args:
        drive: The run.

    Raises:
        SystemExit: With 130, as a shell reports Ctrl-C, when the run was stopped.
    """
    from scaling_sweep.running import default_folder
    from scaling_sweep.serving import serving
    from scaling_sweep.tracking import open_tracker

    loaded, console = drive.loaded, plain_console()
    folder = drive.out or default_folder(loaded.spec)

    def say(line: str) -> None:
        console.print(line, markup=False, soft_wrap=True)

    with (
        serving(folder, drive.port, say),
        open_tracker(drive.wandb_mode, loaded.spec, folder, loaded.text, say) as tracker,
    ):
        outcome = _train(drive, folder, tracker, console)
        if outcome is not None:
            say(outcome.text())
        if outcome is None or not outcome.complete:
            again = f"scaling-sweep run {loaded.path}" + (
                f" --out {drive.out}" if drive.out else ""
            )
            say(f"Stopped, what is finished is kept. Go on with: {again}")
            raise SystemExit(130)
        if drive.fit:
            say(f"Report: {_report(outcome, tracker, console)}")


def _train(
    drive: Drive, folder: Path, tracker: "Tracker", console: "Console"
) -> "RunOutcome | None":
    """Return how training ended, None when it was stopped before it could say."""
    from scaling_sweep.display import TerminalDisplay
    from scaling_sweep.running import run_sweep

    spec = drive.loaded.spec
    try:
        with TerminalDisplay(console, spec.name, spec.bisection is not None) as display:
            return run_sweep(
                drive.loaded, folder, drive.cluster, display, tracker=tracker, verbose=drive.verbose
            )
    except KeyboardInterrupt:
        return None


def _report(outcome: "RunOutcome", tracker: "Tracker", console: "Console") -> Path:
    """Fit, print what came out, and return where the report lies."""
    from scaling_sweep.cli.showing import show_fit
    from scaling_sweep.cli.showing_theory import show_theory
    from scaling_sweep.opening import open_study

    study = open_study(outcome.folder.results)
    report = study.save()
    # Before it is printed: what is mirrored is sent in the meantime.
    tracker.on_fit(study.fit, study.results, outcome.folder.curves, study.curvature)
    show_fit(study.fit, console)
    if study.curvature is not None:
        show_theory(study.fit, study.curvature, console)
    return report
