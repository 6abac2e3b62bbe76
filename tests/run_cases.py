"""A small study on disk and results made up for it, for the tests around a run."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from scaling_sweep.planning import Pack, plan_packs
from scaling_sweep.rows import PackRows
from scaling_sweep.spec import LoadedSweep, parse_sweep
from scaling_sweep.training.records import PackResult, TrialRecord

NUM_EXAMPLES = 1797
SWEEP = """\
# Does it run?
name: tiny
task: {name: digits_mlp, args: {width: 4}}
parameters:
  optimizer: {values: [sgd]}
  batch_size: {values: [16, 64]}
  lr: {values: [0.01, 0.1, 1.0, 100.0]}
seeds: 2
horizon: {steps: 12}
"""


def tiny_sweep(replacements: Mapping[str, str] | None = None) -> LoadedSweep:
    """Return the study above, with parts of its text replaced."""
    text = SWEEP
    for old, new in (replacements or {}).items():
        assert text.count(old) == 1, old
        text = text.replace(old, new)
    return parse_sweep(text, Path("tiny.yaml"))


def damped_sweep() -> LoadedSweep:
    """Return a study that searches the damping of Adam at two learning rates."""
    return tiny_sweep(
        {
            "[sgd]": "[adam]",
            "  lr: {values: [0.01, 0.1, 1.0, 100.0]}": (
                "  lr: {values: [0.1, 1.0]}\n  damping: {values: [0.01, 1.0]}"
            ),
        }
    )


def tiny_packs(sweep: LoadedSweep | None = None) -> tuple[Pack, ...]:
    """Return the packs of a study: one per batch size."""
    return plan_packs((sweep or tiny_sweep()).spec, num_examples=NUM_EXAMPLES)


def made_up_result(pack: Pack) -> PackResult:
    """Return what a pack could have left behind: lr above 0.5 diverged, above 10 with NaN."""
    records = []
    for place, trial in enumerate(pack.trials):
        stable, blown = trial.lr < 0.5, trial.lr > 10
        loss = float("inf") if blown else 0.1 * (place + 1) if stable else 3.0
        records.append(
            TrialRecord(
                trial_id=trial.trial_id,
                verdict="stable" if stable else "diverged",
                reason="made up",
                steps_run=8 if blown else 12,
                initial_loss=2.3,
                start_loss=2.3,
                final_loss=loss,
                min_loss=loss,
                peak_loss=float("inf") if blown else 4.0,
                first_nonfinite_step=5 if blown else None,
                wall_time_s=0.25,
                curve_steps=(4, 8, 12),
                curve_losses=(2.0, loss, loss),
            )
        )
    return PackResult(pack, tuple(records), NUM_EXAMPLES, "cpu", "vmap", 0.25 * len(records))


class Silent:
    """A display that remembers instead of showing.

    Attributes:
        planned: Packs to run and trials there already, for each plan.
        finished: Ids of the packs that came in.
        warned: Warnings.
    """

    def __init__(self) -> None:
        self.planned: list[tuple[int, int]] = []
        self.finished: list[str] = []
        self.warned: list[str] = []

    def on_plan(self, packs: Sequence[Pack], num_done: int) -> None:
        """Remember the plan."""
        self.planned.append((len(packs), num_done))

    def on_stage(self, text: str) -> None:
        """Say nothing."""

    def on_pack(self, pack: Pack, rows: PackRows, wall_time_s: float) -> None:
        """Remember the pack."""
        self.finished.append(pack.pack_id)

    def on_warning(self, text: str) -> None:
        """Remember the warning."""
        self.warned.append(text)
