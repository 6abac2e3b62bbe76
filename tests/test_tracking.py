"""Tests of what a run tells its mirror, and of a mirror that hangs, dies or is not there."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd
import pytest

from scaling_sweep.planning import Pack, plan_packs
from scaling_sweep.rows import PackRows, rows_of_failure
from scaling_sweep.spec import SweepSpec
from scaling_sweep.tracking import Mode, open_tracker
from scaling_sweep.tracking.launching import mirror_environment
from scaling_sweep.tracking.messages import Close, GroupRun, Message, Progress
from scaling_sweep.tracking.outbox import Outbox
from scaling_sweep.tracking.tracker import WandbTracker

SPEC = SweepSpec.model_validate(
    {
        "name": "tiny",
        "task": "digits_mlp",
        "seeds": 2,
        "horizon": {"steps": 30},
        "parameters": {
            "optimizer": {"values": ["sgd", "adam"]},
            "batch_size": {"values": [4, 16]},
            "lr": {"values": [0.1, 0.2, 0.4]},
        },
    }
)
PACKS = plan_packs(SPEC)
# A child that reads nothing, so that the pipe fills, and ends only when it is killed.
DEAF = (sys.executable, "-c", "import signal; signal.pause()")


class _Recorder(Outbox):
    """Keeps messages instead of sending them."""

    def __init__(self) -> None:
        super().__init__((), {}, print)
        self.messages: list[Message] = []

    def send(self, message: Message) -> None:
        """Keep a message."""
        self.messages.append(message)


def rows_of(pack: Pack, verdicts: Sequence[str]) -> PackRows:
    """Return rows of a pack with these verdicts, repeated as often as needed."""
    rows = rows_of_failure(pack, "")
    repeated = [verdicts[i % len(verdicts)] for i in range(pack.num_trials)]
    measured = rows.results.assign(verdict=repeated, wall_time_s=0.5)
    return PackRows(rows.pack_id, measured, rows.curves)


def _recorded() -> tuple[WandbTracker, list[Message], list[str]]:
    outbox, said = _Recorder(), list[str]()
    return (
        WandbTracker(outbox, SPEC, "name: tiny", said.append, Mode.OFFLINE),
        outbox.messages,
        said,
    )


def _progress(messages: Sequence[Message]) -> list[Progress]:
    return [message for message in messages if isinstance(message, Progress)]


@pytest.fixture
def said() -> list[str]:
    """What a person was told."""
    return []


@pytest.fixture
def outbox(said: list[str]) -> Iterator[Outbox]:
    """An outbox for three messages to a child that hangs."""
    made = Outbox(DEAF, {}, said.append, max_waiting=3)
    yield made
    made.close(0, 0.0)


def test_every_group_has_one_run_with_the_fields_of_the_sweep() -> None:
    """Each optimizer gets one W&B run, however many packs it has, and its config has the grid."""
    tracker, messages, _ = _recorded()

    tracker.on_plan(PACKS, pd.DataFrame(columns=rows_of(PACKS[0], ["stable"]).results.columns))
    for pack in PACKS:
        tracker.on_pack(pack, rows_of(pack, ["stable"]), 1.0)

    runs = [message for message in messages if isinstance(message, GroupRun)]
    assert {"sgd", "adam"} == {str(run.config["optimizer"]) for run in runs}
    assert [run.config["batch_sizes"] for run in runs] == [[4, 16]] * 2
    assert [run.config["lrs"] for run in runs] == [[0.1, 0.2, 0.4]] * 2
    assert [run.config["sweep_file"] for run in runs] == ["name: tiny"] * 2


def test_progress_counts_what_the_packs_say() -> None:
    """The last point of each group's history has the counts of all its packs."""
    tracker, messages, _ = _recorded()

    for pack in PACKS:
        tracker.on_pack(pack, rows_of(pack, ["stable", "diverged", "failed"]), 2.0)

    last = _progress(messages)[-1].metrics
    assert (last["packs_done"], last["trials_done"]) == (2, 12)
    counts = (last["trials_stable"], last["trials_diverged"], last["trials_failed"])
    assert counts == (4, 4, 4)
    assert (
        last["pack/fraction_stable"],
        last["pack/num_trials"],
        last["pack/wall_time_s"],
    ) == (0.5, 6, 2.0)


def test_a_resumed_run_repeats_what_was_there_and_goes_on_counting() -> None:
    """After a resume the history begins with the packs of the earlier run."""
    one, two = (pack for pack in PACKS if pack.optimizer.name == "sgd")
    tracker, messages, _ = _recorded()

    tracker.on_plan([two], rows_of(one, ["stable", "diverged"]).results)
    tracker.on_pack(two, rows_of(two, ["stable"]), 1.0)

    earlier, live = (progress.metrics for progress in _progress(messages))
    assert (one.batch_size, 6, 0.5) == (
        earlier["pack/batch_size"],
        earlier["trials_done"],
        earlier["fraction_done"],
    )
    assert (live["trials_done"], live["trials_stable"], live["fraction_done"]) == (12, 9, 1.0)


def test_an_error_of_ours_is_said_once_and_ends_the_mirror_only() -> None:
    """A watcher must not raise, not even on rows that lack a column."""
    tracker, messages, said = _recorded()
    broken = PackRows("x", pd.DataFrame(), pd.DataFrame())

    for pack in PACKS:
        tracker.on_pack(pack, broken, 1.0)

    assert (messages, len(said)) == ([], 1)
    assert "the sweep goes on" in said[0]


def test_a_full_queue_drops_and_says_so_once(outbox: Outbox, said: list[str]) -> None:
    """What does not fit is dropped at once, counted, and told at the end."""
    # Far more than a pipe holds, so the first message already blocks the thread that writes.
    for _ in range(50):
        outbox.offer(Progress("x" * 1_000_000, {}))

    outbox.close(0, 0.01)

    (line,) = (line for line in said if "too slow" in line)
    # Three wait and one is being written; the writer may have taken it before or after the third.
    assert any(f": {num} packs are missing" in line for num in (46, 47))


def test_closing_is_bounded_when_the_mirror_hangs(outbox: Outbox, said: list[str]) -> None:
    """A child that never ends is left behind when its time is up."""
    outbox.send(Progress("x", {}))
    began = time.monotonic()

    outbox.close(0, 0.05)

    assert time.monotonic() - began < 2.0
    assert ["did not finish within 0.05 s" in line for line in said] == [True]


def test_ctrl_c_while_closing_ends_the_wait(
    outbox: Outbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second Ctrl-C is not made to wait, and leaves no process."""
    outbox.send(Progress("x", {}))
    process = _process_of(outbox)

    def interrupt(_: object, deadline: float) -> bool:
        if deadline > time.monotonic() + 30:
            raise KeyboardInterrupt
        return process.wait(10) != 0

    monkeypatch.setattr("scaling_sweep.tracking.outbox._wait", interrupt)
    with pytest.raises(KeyboardInterrupt):
        outbox.close(0, 60.0)

    assert process.returncode == -signal.SIGKILL


def _process_of(outbox: Outbox) -> "subprocess.Popen[bytes]":
    """Return the child once the background thread has started it."""
    while outbox._process is None:
        time.sleep(0)
    return outbox._process


def test_a_mirror_that_dies_is_reported_with_its_exit_code(said: list[str]) -> None:
    """A child that ends without a word is not mistaken for one that is done."""
    outbox = Outbox((sys.executable, "-c", "raise SystemExit(3)"), {}, said.append)

    outbox.send(Progress("x", {}))
    outbox.close(0, 60.0)

    assert said == ["Weights & Biases stopped with exit code 3; the run folder has everything."]


def test_a_mirror_that_cannot_start_is_said(said: list[str], tmp_path: Path) -> None:
    """A missing interpreter costs a line, not the sweep."""
    outbox = Outbox((str(tmp_path / "nothing"),), {}, said.append)

    outbox.send(Progress("x", {}))
    outbox.close(0, 60.0)

    assert len(said) == 1
    assert "could not be started" in said[0]


def test_what_the_mirror_says_reaches_a_person(said: list[str]) -> None:
    """Lines of the child are shown, whatever bytes they hold."""
    speak = r"import sys; sys.stdout.buffer.write(b'[bold]\xff\n')"
    outbox = Outbox((sys.executable, "-c", speak), {}, said.append)

    outbox.send(Progress("x", {}))
    outbox.close(0, 60.0)

    assert said == ["[bold]\N{REPLACEMENT CHARACTER}"]


def test_nothing_starts_before_the_run_does(said: list[str]) -> None:
    """A run that is refused leaves no process and no word of W&B."""
    outbox = Outbox(DEAF, {}, said.append)

    outbox.close(1, 60.0)

    assert (outbox._process, said) == (None, [])


def test_without_wandb_the_sweep_goes_on(
    said: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where wandb is not installed, one line says how to get it."""
    monkeypatch.setitem(sys.modules, "wandb", None)

    with open_tracker("offline", SPEC, tmp_path, "", said.append) as tracker:
        tracker.on_pack(PACKS[0], rows_of(PACKS[0], ["stable"]), 1.0)

    assert len(said) == 1
    assert "pip install 'scaling-sweep[wandb]'" in said[0]
    assert list(tmp_path.iterdir()) == []


def test_tracking_does_not_load_wandb() -> None:
    """Neither the import nor an open tracker brings wandb, ray or torch into the driver."""
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from scaling_sweep.tracking import open_tracker\n"
        "open_tracker('online', None, Path('x'), '', print)\n"
        "print({'wandb', 'ray', 'torch', 'pandas'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


def test_the_mirror_is_not_taken_for_another_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Variables of one particular W&B run stay out, the user's account goes in."""
    monkeypatch.setenv("WANDB_RUN_ID", "another")
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setenv("WANDB_ENTITY", "team")

    environment = mirror_environment(tmp_path)

    assert {"WANDB_RUN_ID", "WANDB_MODE"}.isdisjoint(environment)
    assert environment["WANDB_ENTITY"] == "team"


def test_messages_end_with_close() -> None:
    """Nothing is read after the last message."""
    from io import BytesIO

    from scaling_sweep.tracking.messages import read_messages, write_message

    pipe = BytesIO()
    for message in (Progress("x", {"a": 1}), Close(0), Progress("y", {})):
        write_message(pipe, message)
    pipe.seek(0)
    assert [Progress("x", {"a": 1}), Close(0)] == list(read_messages(pipe))
