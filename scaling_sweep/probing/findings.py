"""What a look at a task found, in words; nothing here needs torch."""

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

# Columns of a terminal, and where the text of a finding begins in `Finding.line`.
_WIDTH, _INDENT = 100, 22


class Level(StrEnum):
    """How much a finding matters."""

    OK = "ok"
    NOTE = "note"  # worth knowing; the sweep works
    PROBLEM = "problem"  # the sweep would fail or mean nothing


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        topic: A word or two, such as ``gradients``.
        level: How much it matters.
        text: What was found, one line.
        advice: What to do about it; empty when there is nothing to do.
    """

    topic: str
    level: Level
    text: str
    advice: str = ""

    def line(self) -> str:
        """Return the finding as people read it.

        Example:
            >>> Finding("loss", Level.OK, "2.30 at initialisation").line()
            'ok       loss         2.30 at initialisation'
        """
        advice = f"; {self.advice}" if self.advice else ""
        return f"{self.level:<8} {self.topic:<12} {self.text}{advice}"


@dataclass(frozen=True)
class Checkup:
    """Everything found about one task.

    Attributes:
        task: Its name as it was given.
        description: The task's own.
        device: Where it was tried.
        findings: In the order they were looked for.
    """

    task: str
    description: str
    device: str
    findings: tuple[Finding, ...]

    @property
    def possible(self) -> bool:
        """Whether a sweep of this task can run and mean something."""
        return not _count(self.findings, Level.PROBLEM)

    def text(self) -> str:
        """Return the checkup as people read it."""
        problems, notes = (_count(self.findings, level) for level in (Level.PROBLEM, Level.NOTE))
        verdict = "a sweep can run" if self.possible else "mend the problems before a sweep"
        counts = f"{_plural(problems, 'problem')}, {_plural(notes, 'note')}"
        return "\n".join(
            [
                f"{self.task}: {self.description}",
                *(_fold(finding.line()) for finding in self.findings),
                f"{counts}: {verdict}.",
            ]
        )


def _fold(line: str) -> str:
    """Break a finding into lines of 100 columns, all under where its text begins."""
    return textwrap.fill(
        line,
        _WIDTH,
        subsequent_indent=" " * _INDENT,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _count(findings: Iterable[Finding], level: Level) -> int:
    return sum(finding.level is level for finding in findings)


def _plural(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"
