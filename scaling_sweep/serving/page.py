"""The live page as text: what a snapshot of a run looks like in a browser."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import jinja2

from analysis.axes import AXES
from analysis.errors import AnalysisError
from analysis.figures.canvas import render_svg
from analysis.figures.edges import edge_figure
from analysis.figures.outcomes import outcome_figure
from analysis.grouping import select_trials
from analysis.summaries import GroupFit, GroupKey
from analysis.sweep_text import find_question
from analysis.words.formatting import format_number, group_title
from scaling_sweep.errors import UserError
from scaling_sweep.previewing import format_duration
from scaling_sweep.watching import RunReader, RunView
from scaling_sweep.watching.edges import EdgeSoFar
from scaling_sweep.watching.reader import Snapshot
from scaling_sweep.watching.view import describe_edge

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Drawing takes a second of processor time where there are several groups, counting a tenth of it.
# With so many times as much rest between two, each takes a tenth of one processor (guess: little).
_LEAST_PAUSE_S = 1.0
_REST_PER_WORK = 9.0


class State(StrEnum):
    """How a run is doing, in a word."""

    WAITING = "waiting for the run to begin"
    RUNNING = "running"
    QUIET = "nothing stored for a while"
    COMPLETE = "complete"
    UNREADABLE = "cannot be read"


_TONES = {
    State.WAITING: "none",
    State.RUNNING: "good",
    State.QUIET: "open",
    State.COMPLETE: "good",
    State.UNREADABLE: "bad",
}


@dataclass(frozen=True)
class Drawing:
    """A figure as a browser takes it.

    Attributes:
        title: What it shows, also for those who cannot see it.
        source: A data URI; as an image, an SVG runs no script.
    """

    title: str
    source: str


@dataclass(frozen=True)
class GroupPanel:
    """One group on the page.

    Attributes:
        title: Its name.
        drawings: Its figures.
        edges: Its edges so far.
    """

    title: str
    drawings: tuple[Drawing, ...]
    edges: tuple[EdgeSoFar, ...]


class _Pause:
    """Says when something costly may be done again, by the processor time that it took before."""

    def __init__(self) -> None:
        self._over_at = 0.0

    @property
    def over(self) -> bool:
        """Whether there was rest enough."""
        return time.monotonic() >= self._over_at

    @contextmanager
    def after(self) -> Iterator[None]:
        """Measure what is done in the block, and rest after it."""
        # Of this thread, not by the clock: a sweep beside us must not make the page lazy.
        began = time.thread_time()
        try:
            yield
        finally:
            rest = max(_LEAST_PAUSE_S, _REST_PER_WORK * (time.thread_time() - began))
            self._over_at = time.monotonic() + rest


@dataclass(frozen=True)
class _Drawn:
    """Figures of a group, and what they were drawn from."""

    of: object
    drawings: tuple[Drawing, ...]


@dataclass
class LivePage:
    """Makes the page of one run folder, and not more often than a machine at work can bear.

    Attributes:
        run: The folder.
    """

    run: Path
    _reader: RunReader = field(init=False)
    _drawn: dict[GroupKey, _Drawn] = field(init=False, default_factory=dict)
    _text: str = field(init=False, default="")
    _json: str = field(init=False, default="{}")
    _looking: _Pause = field(init=False, default_factory=_Pause)
    _drawing: _Pause = field(init=False, default_factory=_Pause)

    def __post_init__(self) -> None:
        """Begin to read."""
        self._reader = RunReader(self.run)

    def whole(self) -> str:
        """Return the page as it is loaded first."""
        return (
            _templates().get_template("page.html.j2").render(live=self.live(), name=self.run.name)
        )

    def live(self) -> str:
        """Return the part of the page that changes. Every string from the folder is escaped."""
        self._look()
        return self._text

    def status_json(self) -> str:
        """Return what ``status --json`` prints."""
        self._look()
        return self._json

    def _look(self) -> None:
        if not self._looking.over:
            return
        try:
            with self._looking.after():
                snapshot = self._reader.look()
                view = snapshot.view(time.time())
            self._draw_groups(snapshot)
            self._text, self._json = self._render(snapshot, view), view.json()
        except (UserError, AnalysisError) as problem:
            state = State.UNREADABLE if _is_there(self.run) else State.WAITING
            self._text = self._render_problem(state, str(problem))
            self._json = "{}"

    def _render(self, snapshot: Snapshot, view: RunView) -> str:
        state = _state_of(view)
        return (
            _templates()
            .get_template("live.html.j2")
            .render(
                state=state,
                tone=_TONES[state],
                view=view,
                status=view.status,
                question=find_question(snapshot.text),
                edge_name=AXES[view.status.searched].edge,
                panels=list(self._panels(snapshot, view)),
                problem=None,
                now=time.strftime("%H:%M:%S"),
            )
        )

    def _render_problem(self, state: State, problem: str) -> str:
        return (
            _templates()
            .get_template("live.html.j2")
            .render(
                state=state,
                tone=_TONES[state],
                view=None,
                name=self.run.name,
                problem=problem if state is State.UNREADABLE else None,
                now=time.strftime("%H:%M:%S"),
            )
        )

    def _draw_groups(self, snapshot: Snapshot) -> None:
        """Draw what changed, where there was rest enough since; a new group at once."""
        # What has the same edges and as many trials looks the same.
        now = {g: (g.num_trials, g.num_failed, g.seed_edges) for g in snapshot.groups}
        rested, drawn = self._drawing.over, self._drawn
        changed = [
            group
            for group, of in now.items()
            if group.key not in drawn or (rested and drawn[group.key].of != of)
        ]
        if changed:
            with self._drawing.after():
                for group in changed:
                    drawn[group.key] = _Drawn(now[group], tuple(_draw(group, snapshot)))

    def _panels(self, snapshot: Snapshot, view: RunView) -> Iterator[GroupPanel]:
        keys = [group.key for group in snapshot.groups]
        for key in keys:
            title = group_title(key, keys)
            edges = tuple(edge for edge in view.edges_so_far if edge.group == title)
            yield GroupPanel(title, self._drawn[key].drawings, edges)


def _is_there(run: Path) -> bool:
    """Return whether there is a run; a store that does not answer may well have one."""
    try:
        return (run / "sweep.yaml").exists()
    except AnalysisError:
        return True


def _state_of(view: RunView) -> State:
    if view.complete:
        return State.COMPLETE
    if view.pace is None:
        return State.WAITING
    return State.QUIET if view.pace.stalled else State.RUNNING


def _draw(group: GroupFit, snapshot: Snapshot) -> "list[Drawing]":
    trials = select_trials(snapshot.trials, group.key)
    figures = [("Every trial so far", outcome_figure(trials, group))]
    if group.edges:
        figures.insert(0, (f"The {group.axis.edge} so far", edge_figure(group)))
    return [Drawing(title, _embed(figure)) for title, figure in figures]


def _embed(figure: "Figure") -> str:
    # Not as base64, which compresses badly: the page goes through a tunnel every two seconds.
    return f"data:image/svg+xml,{quote(render_svg(figure))}"


@cache
def _templates() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("scaling_sweep.serving", "templates"),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    filters: dict[str, Any] = {
        "duration": format_duration,
        "edge": describe_edge,
        "number": format_number,
    }
    environment.filters.update(filters)
    return environment


def style_sheet() -> str:
    """Return the page's style: that of the report, and what only the live page has."""
    report = files("analysis").joinpath("templates/report.css").read_text(encoding="utf-8")
    return report + _read("live.css")


def script() -> str:
    """Return the page's script, which asks for the changing part again and again."""
    return _read("live.js")


def _read(name: str) -> str:
    return files("scaling_sweep.serving").joinpath(f"templates/{name}").read_text(encoding="utf-8")
