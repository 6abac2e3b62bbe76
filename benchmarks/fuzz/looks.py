"""How what is shown must look: lines on a terminal, and pages."""

import re

from benchmarks.fuzz.watch import FaultError

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def check_line(text: str) -> None:
    """Raise a FaultError unless a text is one printable line that says something."""
    if "\n" in text or "\r" in text:
        raise FaultError(f"an error of several lines: {text!r:.300}")
    if _CONTROL.search(text):
        raise FaultError(f"an error that moves a terminal's cursor: {text!r:.300}")
    if not 10 < len(text) < 3000:
        raise FaultError(f"an error of {len(text)} characters: {text!r:.300}")


def check_screen(text: str) -> None:
    """Raise a FaultError where a printed text holds an escape sequence."""
    if found := _CONTROL.search(text):
        raise FaultError(
            f"prints {found[0]!r}: {text[max(0, found.start() - 40) : found.end() + 40]!r}"
        )


def check_page(html: str) -> None:
    """Raise a FaultError where a string of the input became a part of the page."""
    if "<script" in html.lower() or re.search(r"<[^>]*\sonerror\s*=|<svg/onload", html):
        raise FaultError("an input became HTML")
