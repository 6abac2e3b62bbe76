"""The console that commands print to: strings of a table are shown there, never obeyed."""

from dataclasses import dataclass
from typing import IO

from rich.console import Console, ConsoleOptions, ConsoleRenderable, RenderHook, RenderResult
from rich.segment import Segment

from analysis.words.plain_text import neutralize


@dataclass(frozen=True)
class _Neutral:
    """Anything to be printed, without what a terminal would obey in its text."""

    inner: ConsoleRenderable

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self.inner, options):
            # A segment's style is ours, its text may be a stranger's.
            yield segment if segment.control else Segment(neutralize(segment.text), segment.style)


class _Neutralizer(RenderHook):
    """Puts every renderable through `_Neutral`."""

    def process_renderables(self, renderables: list[ConsoleRenderable]) -> list[ConsoleRenderable]:
        """Return the renderables made harmless."""
        return [_Neutral(renderable) for renderable in renderables]


def plain_console(file: IO[str] | None = None) -> Console:
    r"""Return a console for tables that may hold any string.

    Args:
        file: Where to; standard output unless given.

    Returns:
        The console.

    Example:
        >>> import io
        >>> screen = io.StringIO()
        >>> plain_console(screen).print("[bold]sgd\x1b[2J[/]")
        >>> screen.getvalue()
        'sgd�[2J\n'
    """
    console = Console(file=file, highlight=False)
    console.push_render_hook(_Neutralizer())
    return console
