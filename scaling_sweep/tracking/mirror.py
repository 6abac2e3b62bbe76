"""The child process that mirrors a sweep: the only place that imports wandb."""

import hashlib
import os
import secrets
import shlex
import sys
import threading
import time
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from scaling_sweep.tracking.live_edges import LiveEdges
from scaling_sweep.tracking.messages import (
    Chart,
    Close,
    Findings,
    GroupRun,
    Message,
    Picture,
    Progress,
    Series,
    Table,
    read_messages,
)
from scaling_sweep.tracking.server import find_obstacle, find_project, first_line, quiet_settings

# What a server did not take although it was asked to, beside 0 for all well and 1 for an error.
NOT_SENT = 2
# The sweep's workers come first.
_NICENESS = 10
# W&B refuses longer names.
_MAX_NAME = 128
_ID_BYTES = 8


class Mirror:
    """Keeps one W&B run per group.

    Args:
        folder: The run folder; W&B's files go to ``wandb/`` in it.
        online: Whether to send to a server. Where that is impossible the runs are kept offline.
        finish_timeout_s: Most seconds that each run waits at the end for the server.
        tell: Shows one line to a person.

    Attributes:
        complete: Whether everything went where it was meant to go, so far.
    """

    def __init__(
        self, folder: Path, online: bool, finish_timeout_s: float, tell: Callable[[str], None]
    ) -> None:
        import wandb

        self._wandb = wandb
        self._folder = folder
        self._tell = tell
        self._runs: dict[str, Any] = {}
        self._live: dict[str, LiveEdges] = {}
        self._began_s = time.monotonic()
        self._online = online
        self._finish_timeout_s = finish_timeout_s
        self.complete = True
        if online and (obstacle := find_obstacle(wandb.setup().settings.base_url)):
            self._go_offline(obstacle)

    def take(self, message: Message) -> None:
        """Do what a message asks for."""
        match message:
            case GroupRun():
                self._open(message)
            case Progress():
                self._runs[message.group].log({**message.metrics, **self._edges_so_far(message)})
            case Findings():
                self._show(message)
            case Close():
                self._finish(message.exit_code)

    def _edges_so_far(self, progress: Progress) -> dict[str, Any]:
        """Return the edge table and chart where there is reason to show them again."""
        live = self._live.setdefault(progress.group, LiveEdges(progress.group, self._began_s))
        live.hear(progress.trials)
        found = live.look(time.monotonic())
        if found is None:
            return {}
        return {
            found.table.name: self._table(found.table),
            found.chart.name: self._chart(found.chart),
        }

    def _open(self, group: GroupRun) -> None:
        try:
            run = self._start(group)
        except self._wandb.Error as error:
            if not self._online:
                raise
            self._go_offline(first_line(error))
            run = self._start(group)
        run.define_metric("*", step_metric="packs_done")
        self._runs[group.group] = run

    def _go_offline(self, obstacle: str) -> None:
        self._online = self.complete = False
        self._tell(
            f"Weights & Biases online is not possible ({obstacle}): the run is mirrored offline."
        )

    def _start(self, group: GroupRun) -> Any:  # noqa: ANN401  # wandb is optional
        return self._wandb.init(
            mode="online" if self._online else "offline",
            project=find_project(),
            group=group.study[:_MAX_NAME],
            job_type="sweep",
            name=group.name[:_MAX_NAME],
            id=run_id(self._folder, group.group),
            config=dict(group.config),
            dir=str(self._folder.resolve()),
            # By default a second init returns the first run.
            reinit="create_new",
            settings=quiet_settings(self._wandb, self._finish_timeout_s),
        )

    def _show(self, findings: Findings) -> None:
        run = self._runs[findings.group]
        # First what matters most: tables and figures have to be uploaded, numbers do not.
        run.summary.update(dict(findings.summary))
        for series in findings.series:
            _trace(run, series)
        shown: dict[str, Any] = {}
        for table in findings.tables:
            shown[table.name] = self._table(table)
        for picture in findings.pictures:
            shown[picture.name] = self._image(picture)
        for chart in findings.charts:
            shown[chart.name] = self._chart(chart)
        if shown:
            run.log(shown)

    def _table(self, table: Table) -> Any:  # noqa: ANN401
        # A column may be empty here and filled there, and W&B would take the first for its type.
        rows = [list(row) for row in table.rows]
        return self._wandb.Table(columns=list(table.columns), data=rows, allow_mixed_types=True)

    def _image(self, picture: Picture) -> Any:  # noqa: ANN401
        from PIL import Image

        return self._wandb.Image(Image.open(BytesIO(picture.png)), caption=picture.caption)

    def _chart(self, chart: Chart) -> Any:  # noqa: ANN401
        return self._wandb.plot.line_series(
            xs=[list(line.x) for line in chart.lines],
            ys=[list(line.y) for line in chart.lines],
            keys=[line.label for line in chart.lines],
            title=chart.title,
            xname=chart.xname,
        )

    def _finish(self, exit_code: int) -> None:
        """Finish all runs at once: each waits for the server, and the parent waits for all."""
        problems: list[Exception] = []

        def finish(run: Any) -> None:  # noqa: ANN401
            try:
                run.finish(exit_code=exit_code)
            except Exception as error:  # raised again below: a thread has nobody to raise to
                problems.append(error)

        threads = [threading.Thread(target=finish, args=(run,)) for run in self._runs.values()]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for problem in problems:
            if not isinstance(problem, TimeoutError):
                raise problem
        self.complete = self.complete and not problems
        self._say_where(late=bool(problems))

    def _say_where(self, late: bool) -> None:
        place = shlex.quote(str(self._folder / "wandb"))
        if late:
            self._tell(
                f"Weights & Biases did not take everything within {self._finish_timeout_s:g} s; "
                f"send the rest with: wandb sync --include-online {place}/run-*"
            )
        elif self._online and self._runs:
            self._tell(f"Weights & Biases: {next(iter(self._runs.values())).project_url}")
        elif self._runs:
            self._tell(f"Weights & Biases, offline: send with: wandb sync {place}/offline-run-*")


def _trace(run: Any, series: Series) -> None:  # noqa: ANN401
    """Add a line to the history; its last point is no number of the run's summary."""
    run.define_metric(series.axis, hidden=True, summary="none")
    run.define_metric(series.name, step_metric=series.axis, summary="none")
    for x, y in zip(series.x, series.y, strict=True):
        run.log({series.axis: x, series.name: y})


def run_id(folder: Path, group: str) -> str:
    """Return the W&B id of a group: the same whenever this run folder is mirrored.

    Each session mirrors the whole run, earlier packs included, and so replaces what an earlier
    session sent: W&B documents that a run overrides one of the same id unless it resumes it (not
    tried against its server). Another folder with the same sweep is another run.

    Args:
        folder: The run folder; a file in its ``wandb/`` is the same for as long as it lives.
        group: The group's key as text.

    Returns:
        Letters and digits.
    """
    path = folder / "wandb" / "folder-id"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(secrets.token_hex(_ID_BYTES))
    text = f"{path.read_text()} {group}"
    return hashlib.blake2b(text.encode(), digest_size=_ID_BYTES).hexdigest()


def _take_over_streams() -> tuple[BinaryIO, BinaryIO]:
    """Return standard input and output for messages only.

    wandb starts a process that inherits them; it gets nothing to read and nowhere to write.
    """
    source, sink = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb", buffering=0)
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1, 2):
        os.dup2(nothing, stream)
    return source, sink


def main() -> None:
    """Mirror what comes in; arguments are the run folder, the mode and the time to finish in."""
    folder, mode, finish_timeout_s = Path(sys.argv[1]), sys.argv[2], float(sys.argv[3])
    os.nice(_NICENESS)
    source, sink = _take_over_streams()

    def tell(line: str) -> None:
        # Lines separate messages to people, so one message is one line.
        sink.write(" ".join(line.split()).encode(errors="replace") + b"\n")

    try:
        mirror = Mirror(folder, mode == "online", finish_timeout_s, tell)
        last: Message | None = None
        for message in read_messages(source):
            last = message
            mirror.take(message)
        if not isinstance(last, Close):
            mirror.take(Close(1))  # The sweep was killed.
    except Exception as error:  # whatever it is, a person gets one line
        tell(
            f"Weights & Biases stopped ({type(error).__name__}: {first_line(error)}); "
            "the run folder has everything."
        )
        sys.exit(1)
    sys.exit(0 if mirror.complete else NOT_SENT)


if __name__ == "__main__":
    main()
