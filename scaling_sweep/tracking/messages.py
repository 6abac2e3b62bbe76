"""What the sweep tells its mirror: the messages and how they cross the pipe between the two."""

import pickle
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import IO

Cell = str | int | float | bool | None
"""What a table or a summary may hold: plain values, None where nothing is known."""


@dataclass(frozen=True)
class GroupRun:
    """Asks for the W&B run of one (task, method, optimizer, start, horizon) group.

    Attributes:
        group: What later messages call the group: its key as text, unique in the study.
        name: What people see.
        study: Name of the sweep; W&B shows the runs of a study together.
        config: The sweep's fields, JSON-able.
    """

    group: str
    name: str
    study: str
    config: Mapping[str, object]


@dataclass(frozen=True)
class Outcome:
    """What became of one trial.

    Attributes:
        batch_size: Examples per step.
        lr: Its learning rate.
        damping: Its damping, None where that is not searched.
        seed: Its replicate.
        verdict: ``stable``, ``diverged`` or ``failed``.
    """

    batch_size: int
    lr: float
    damping: float | None
    seed: int
    verdict: str


@dataclass(frozen=True)
class Progress:
    """Says that a pack of a group is finished, and how far the group is.

    Attributes:
        group: Which group.
        metrics: Numbers by name, one point of W&B's history.
        trials: What became of the pack's trials, for the edges so far.
    """

    group: str
    metrics: Mapping[str, Cell]
    trials: Sequence[Outcome] = ()


@dataclass(frozen=True)
class Table:
    """A table to show and to plot again.

    Attributes:
        name: Key in W&B.
        columns: Names.
        rows: One sequence of cells each.
    """

    name: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]


@dataclass(frozen=True)
class Picture:
    """A drawn figure.

    Attributes:
        name: Key in W&B.
        png: The file's bytes.
        caption: How to read it.
    """

    name: str
    png: bytes
    caption: str


@dataclass(frozen=True)
class Line:
    """One line of a chart.

    Attributes:
        label: What it shows.
        x: Horizontal values.
        y: Vertical values, as many.
    """

    label: str
    x: Sequence[float]
    y: Sequence[float]


@dataclass(frozen=True)
class Chart:
    """Lines that W&B draws itself, so that people can change the drawing.

    Attributes:
        name: Key in W&B.
        title: Says both axes.
        xname: Label of the horizontal axis.
        lines: What is drawn.
    """

    name: str
    title: str
    xname: str
    lines: Sequence[Line]


@dataclass(frozen=True)
class Series:
    """A line as points of W&B's history, which its own panels draw on logarithmic axes too.

    Attributes:
        axis: Key of the horizontal axis.
        name: Key of what is drawn over it.
        x: Horizontal values.
        y: Vertical values, as many.
    """

    axis: str
    name: str
    x: Sequence[float]
    y: Sequence[float]


@dataclass(frozen=True)
class Findings:
    """What the fit of one group says.

    Attributes:
        group: Which group.
        summary: Values by name, for comparing runs.
        tables: Outcomes, edges, loss curves.
        pictures: The report's figures.
        charts: The edge plot once more, as W&B draws it from a table, on straight axes.
        series: The same lines as points of the history, for panels with logarithmic axes.
    """

    group: str
    summary: Mapping[str, Cell]
    tables: Sequence[Table]
    pictures: Sequence[Picture]
    charts: Sequence[Chart]
    series: Sequence[Series] = ()


@dataclass(frozen=True)
class Close:
    """Says that nothing comes after.

    Attributes:
        exit_code: 0 when the sweep ended as it should.
    """

    exit_code: int


Message = GroupRun | Progress | Findings | Close


def write_message(stream: IO[bytes], message: Message) -> None:
    """Write one message.

    Pickle is safe here and nowhere else: both ends of this pipe are one program.
    """
    pickle.dump(message, stream)
    stream.flush()


def read_messages(stream: IO[bytes]) -> Iterator[Message]:
    """Read messages until the last one or until the other side is gone.

    Args:
        stream: The reading end of the pipe.

    Yields:
        Messages in the order they were written.

    Example:
        >>> from io import BytesIO
        >>> pipe = BytesIO()
        >>> write_message(pipe, Close(0)); _ = pipe.seek(0)
        >>> list(read_messages(pipe))
        [Close(exit_code=0)]
    """
    while True:
        try:
            message: Message = pickle.load(stream)
        except EOFError:
            return
        yield message
        if isinstance(message, Close):
            return
