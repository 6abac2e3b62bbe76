"""The page: what it says, that it needs nothing from outside and lets nothing in."""

from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis.criteria import Criterion, Kind
from analysis.groups import fit_results
from analysis.report import render_report, write_report
from analysis.report_views import choose_badge, count_failures
from analysis.results import Results, read_results
from analysis.summaries import Check, Fit, Outcome
from analysis.sweep_text import find_criterion, find_name, find_question
from analysis.words.formatting import format_rate
from analysis.words.sentences import describe_criterion, headline
from tests.analysis.report_cases import make_group, refuse, simulate_curves, simulate_trials

HOSTILE = "<script>alert('x')</script><img src=//evil.example/x onerror=alert(1)>\"'&"
SWEEP = "# Does it grow\n# like B?\nname: digits\nstability: {max_loss_ratio: 0.5}\n"
TRIALS = simulate_trials()
GROUP = make_group(TRIALS)
VOID = {"meta", "img", "br", "link", "input", "hr"}


class Page(HTMLParser):
    """A page taken apart: its tags, the addresses it asks for, and what a reader sees."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.addresses: list[str] = []
        self.handlers: list[str] = []
        self.open: list[str] = []
        self.pieces: list[str] = []
        self.feed(html)
        self.close()
        self.text = " ".join("".join(self.pieces).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag and where it points."""
        self.tags.add(tag)
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name in {"src", "href", "action", "data", "srcset"}:
                self.addresses.append(value or "")
            if name.startswith("on"):
                self.handlers.append(name)

    def handle_endtag(self, tag: str) -> None:
        """Check that tags close in order."""
        assert self.open.pop() == tag
        if tag not in {"sup", "strong", "code"}:
            self.pieces.append(" ")

    def handle_data(self, data: str) -> None:
        """Collect text, but not the style sheet."""
        if "style" not in self.open:
            self.pieces.append(data)


def render(*groups: object, frame: pd.DataFrame = TRIALS, **changes: object) -> str:
    """Render a report of these groups."""
    results = replace(
        Results(frame, "runs/digits/results.parquet", SWEEP, {"python": "3"}), **changes
    )
    return render_report(Fit("x", groups), results, None)


def flatten(sentence: str) -> str:
    """Write a sentence as a page's text has it, its exponents raised."""
    return sentence.replace("B^", "B")


def test_the_answer_comes_first() -> None:
    """The headline of every group stands before the first figure, with its outcome."""
    adam = make_group(simulate_trials("adam"), check=Check(0.5, 0.1, Outcome.CONFIRMED, "Inside."))
    html = render(GROUP, adam)
    first, _, _ = html.partition("<figure>")

    text = Page(first.rpartition("<section")[0]).text
    for group in (GROUP, adam):
        assert flatten(headline(group)) in text
    assert "refuted" in text
    assert "confirmed" in text


def test_the_question_and_the_name_come_from_the_sweep_file() -> None:
    """Its leading comment and name head the page; without a sweep file the table's name does."""
    html = render(GROUP)

    assert "Does it grow like B?" in Page(html).text
    assert "<h1>digits</h1>" in html
    assert "<h1>results</h1>" in render(GROUP, sweep_text=None, environment=None)


def test_the_page_needs_nothing_from_outside() -> None:
    """Every address is data within the page; there are no scripts, links or imported styles."""
    curves = simulate_curves(TRIALS)
    html = render_report(Fit("x", (GROUP,)), Results(TRIALS, "x", SWEEP), curves)
    page = Page(html)

    assert len(page.addresses) == 3
    assert all(address.startswith("data:image/svg+xml;base64,") for address in page.addresses)
    assert not page.tags & {"script", "link", "iframe", "object", "embed", "base", "form"}
    assert "url(" not in html
    assert "@import" not in html
    assert "default-src 'none'" in html


def test_strings_of_others_stay_text() -> None:
    """Markup in any string of the table or the sweep file is shown, never obeyed."""
    frame = TRIALS.assign(
        task=HOSTILE,
        optimizer=HOSTILE,
        reason=HOSTILE,
        verdict=TRIALS["verdict"].mask(TRIALS["lr"] < 0.002, "failed"),
    )
    group = replace(
        GROUP,
        key=replace(GROUP.key, task=HOSTILE, optimizer=HOSTILE),
        num_failed=12,
        warnings=(HOSTILE,),
        check=Check(1.0, 0.1, Outcome.REFUTED, HOSTILE),
    )
    html = render(
        group,
        replace(refuse(group, HOSTILE), key=replace(group.key, task="other")),
        frame=frame,
        sweep_text=f"# {HOSTILE}\nname: {HOSTILE}\n</pre>{HOSTILE}",
        source=HOSTILE,
        environment={HOSTILE: {"gpu": HOSTILE}},
        warnings=(f"table: {HOSTILE}",),
    )
    page = Page(html)

    assert "script" not in page.tags
    assert page.handlers == []
    assert all(address.startswith("data:") for address in page.addresses)
    assert page.text.count("<script>alert('x')</script>") >= 10


def test_every_edge_has_its_row() -> None:
    """The table of LR_max holds each batch size with its numbers, censored ones marked."""
    text = Page(render(make_group(simulate_trials(rates=np.geomspace(0.3, 2, 7))))).text
    group = make_group(simulate_trials(rates=np.geomspace(0.3, 2, 7)))

    for edge in group.edges:
        assert f"{edge.batch_size} {format_rate(edge.median)} [" in text
    assert "edge below the grid" in text
    assert "edge above the grid" in text


def test_laws_are_compared_by_their_distance_to_the_best() -> None:
    """The table of laws has differences of AICc, and says which counts."""
    text = Page(render(fit_results(Results(TRIALS, "x")).groups[0])).text
    group = fit_results(Results(TRIALS, "x")).groups[0]

    power = next(law for law in group.laws if law.name == "power")
    assert f"power {power.aicc - group.laws[0].aicc:.3g} " in text
    assert f"B* = {group.laws[0].parameters['b_star']:.3g}" in text


def test_a_refusal_is_seen_before_any_figure() -> None:
    """A group without a law says why, prominently, and shows no exponent."""
    html = render(refuse(GROUP, "Every learning rate was stable: add larger ones."))
    before, _, _ = html.partition("<figure>")

    assert Page(before.rpartition("<section")[0]).text.count("add larger ones") == 1
    assert "Refused." in before
    assert "The laws compared" not in html


def test_warnings_are_shown_once() -> None:
    """A warning about the table that every group repeats is printed once."""
    group = replace(GROUP, warnings=("No seed column.", "Only 1 seed."))
    text = Page(render(group, group, warnings=("No seed column.",))).text

    assert text.count("No seed column.") == 1
    assert text.count("Only 1 seed.") == 2


def test_failures_are_counted_by_reason() -> None:
    """Reasons come with their trials and batch sizes, the most frequent first."""
    verdict = TRIALS["verdict"].mask(TRIALS["batch_size"] >= 256, "failed")
    reason = TRIALS["batch_size"].map({512: "out of memory", 256: None}).where(verdict == "failed")
    frame = TRIALS.assign(verdict=verdict, reason=reason)
    frame.loc[frame["lr"] > 8, "reason"] = frame["reason"].mask(verdict == "failed", "killed")

    failures = [(f.reason, f.num_trials, f.batch_sizes) for f in count_failures(frame)]

    high = int((frame["lr"] > 8).sum() / 10 / 6)
    assert failures == [
        ("no reason given", (28 - high) * 6, (256,)),
        ("out of memory", (28 - high) * 6, (512,)),
        ("killed", high * 12, (256, 512)),
    ]
    assert "out of memory" in Page(render(make_group(frame), frame=frame)).text


def test_the_page_says_how_trials_were_judged() -> None:
    """By the criterion asked for, else by the sweep file's, else by whoever made the table."""
    fit, results = Fit("x", (GROUP,)), Results(TRIALS, "x", SWEEP)
    asked = Criterion(Kind.FINAL, 0.3)

    assert describe_criterion(asked) in Page(render_report(fit, results, None, asked)).text
    assert describe_criterion(Criterion()) in Page(render_report(fit, results, None)).text
    foreign = replace(results, sweep_text=None)
    assert describe_criterion(None) in Page(render_report(fit, foreign, None)).text


def test_figures_show_the_verdicts_that_were_asked_for() -> None:
    """Judging the trials anew changes the grid of outcomes, not the table given."""
    results = Results(TRIALS, "x", SWEEP)
    before = results.frame["verdict"].copy()
    own = render_report(Fit("x", (GROUP,)), results, None)
    strict = render_report(Fit("x", (GROUP,)), results, None, Criterion(Kind.FINAL, 0.01))

    assert Page(own).addresses[0] == Page(strict).addresses[0]
    assert Page(own).addresses[1] != Page(strict).addresses[1]
    pd.testing.assert_series_equal(results.frame["verdict"], before)


@pytest.mark.parametrize(
    ("change", "text", "tone"),
    [
        ({}, "refuted", "bad"),
        ({"check": Check(1.0, 0.1, Outcome.CONFIRMED, "")}, "confirmed", "good"),
        ({"check": Check(None, 0.1, None, "")}, "no prediction", "none"),
        ({"laws": (), "law": None}, "refused", "none"),
    ],
)
def test_the_badge_is_the_outcome(change: dict[str, object], text: str, tone: str) -> None:
    """A group's badge says confirmed, refuted, refused or that nothing was predicted."""
    badge = choose_badge(replace(GROUP, **change))

    assert (badge.text, badge.tone) == (text, tone)


def test_a_table_without_trials_still_has_a_page() -> None:
    """A fit without groups is said, not crashed on."""
    assert "The table holds no trials." in Page(render(frame=TRIALS.iloc[:0])).text


def test_a_foreign_table_gets_a_report_from_end_to_end(tmp_path: Path) -> None:
    """A CSV with batch size, learning rate and outcome alone is read, fitted and reported."""
    path = tmp_path / "theirs.csv"
    theirs = TRIALS.assign(diverged=TRIALS["verdict"] == "diverged")
    theirs[["batch_size", "lr", "diverged"]].to_csv(path, index=False)
    results = read_results(path)
    fit = fit_results(results)

    write_report(fit, results, None, tmp_path / "report.html")

    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<h1>theirs</h1>" in html
    assert flatten(headline(fit.groups[0])) in Page(html).text
    assert len(html) < 3e6


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "final:0.5"),
        ("seeds: 2\n# stability: {max_loss_ratio: 9}\n", "final:0.5"),
        ("stability: {max_loss_ratio: 1.0}   # 9 would be worse\n", "final:1"),
        ("stability:\n  # a remark\n  reference: start\n  max_loss_ratio: 2\n", "final:2:start"),
        ("stability: {measure: finite}\nname: x\n", "finite"),
        ("stability: {}\nother: {max_loss_ratio: 3}\n", "final:0.5"),
    ],
)
def test_the_sweep_files_criterion_is_found(text: str, expected: str) -> None:
    """However the file writes its stability, comments and other keys aside, it is understood."""
    assert str(find_criterion(text)) == expected


def test_a_sweep_file_without_comment_or_name_has_neither() -> None:
    """Only a comment before everything else is the question, only a top-level name the name."""
    text = "task: {name: inner}\n# later\n"

    assert find_question(text) == ""
    assert find_name(text) == ""
    assert find_question("\n#\n#  One\n# more.\n#\n# Two.\nname: x") == "One more."
