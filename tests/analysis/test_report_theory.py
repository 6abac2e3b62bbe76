"""The page with curvature beside the table: what it adds, and that it stays as safe and alone."""

from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from analysis.curvature_table import read_curvature, write_curvature
from analysis.report import render_report, write_report
from analysis.results import Results
from analysis.summaries import Fit
from analysis.theory.beside import compare_theories
from analysis.words.theory import MARKS, describe_measurement, theory_claim, theory_sentence
from tests.analysis.curvature_cases import make_table
from tests.analysis.report_cases import make_group, simulate_trials
from tests.analysis.test_report import HOSTILE, SWEEP, Page

TABLE = make_table()
TRIALS = simulate_trials()
GROUP = make_group(TRIALS)
RESULTS = Results(TRIALS, "runs/digits/results.parquet", SWEEP, {"python": "3"})


def render(*groups: object, curvature: object = TABLE) -> str:
    """Render a report of these groups with curvature beside it."""
    return render_report(Fit("x", groups), RESULTS, None, curvature=curvature)


@cache
def page() -> str:
    """Render the usual group once for all tests."""
    return render(GROUP)


def test_without_curvature_the_page_is_as_before() -> None:
    """No curvature, no section, no figure and no word about it."""
    html = render(GROUP, curvature=None)

    assert html == render_report(Fit("x", (GROUP,)), RESULTS, None)
    assert "Theory beside" not in html
    assert "Gauss–Newton" not in html
    assert html.count("<figure>") == page().count("<figure>") - 2


def test_the_claim_stands_in_the_answer_and_in_its_section() -> None:
    """Which theory comes closest is said above the first figure, and again with the figure."""
    html = page()
    claim = theory_claim(compare_theories(GROUP, TABLE))
    before, _, after = html.partition("<figure>")

    assert claim in Page(before.rpartition("<section")[0]).text.replace("\xa0", " ")
    assert claim in after.replace("&nbsp;", " ")


def test_every_theory_has_its_row() -> None:
    """Name, error, basis, exponent and where it fails: as computed, none made to look better."""
    text = Page(page()).text.replace("\xa0", " ")
    place = compare_theories(GROUP, TABLE).nearest

    for found in place.agreements:
        mark = MARKS[found.curve.confidence]
        row = text.split(f"{found.curve.name} {mark}")[1]
        assert f"{found.log_error:.2f}" in row[:40]
        assert theory_sentence(found) in text
        assert found.curve.assumption in text
    assert "Not drawn:" in text


def test_a_theory_off_by_two_is_shown_as_off_by_two() -> None:
    """Half of what the edge of stability says: ratios 0.5, log error 0.69, nothing scaled."""
    top = 2 / 0.3
    table = make_table(points=("init",))
    table = replace(
        table,
        numbers=tuple(
            replace(row, value=top, stderr=0.0)
            for row in table.numbers
            if (row.quantity, row.matrix, row.seed) == ("largest eigenvalue", "Hessian", 0)
        ),
    )
    edges = [replace(e, median=0.15, median_ci=(0.14, 0.16)) for e in GROUP.edges]
    text = Page(render(replace(GROUP, edges=tuple(edges)), curvature=table)).text

    assert "edge of stability derived, upper bound 0.69 0.5 0.5 0.5 0.5 0.00" in text
    assert "off by a factor of 2 " in text


def test_points_of_training_stand_side_by_side() -> None:
    """With several points there is one column each; with one, no such table."""
    several = Page(page()).text
    one = Page(render(GROUP, curvature=make_table(points=("init",)))).text

    assert "curvature measured at init 100 steps 1000 steps" in several
    found = compare_theories(GROUP, TABLE)
    errors = [point.find("spiked Wigner").log_error for point in found.points]
    assert "spiked Wigner " + " ".join(f"{error:.2f}" for error in errors) in several
    assert "other points of training" not in one


def test_silence_is_said_in_the_section_only() -> None:
    """An optimizer that no theory knows gets the reason, no figure, and nothing in the answer."""
    lion = replace(GROUP, key=replace(GROUP.key, optimizer="lion"))
    html = render(lion)

    assert Page(html).text.count("No theory here speaks of lion.") == 1
    assert html.count("<figure>") == render(lion, curvature=None).count("<figure>") + 1


def test_the_measurement_is_described_once() -> None:
    """Policy, seeds and cost stand once for all groups, with the spectra and the new words."""
    adam = make_group(simulate_trials("adam"))
    text = Page(render(GROUP, adam)).text

    assert text.count(describe_measurement(TABLE)) == 1
    assert text.count("What batches see of the curvature.") == 1
    assert "gradient noise scale The batch size at which" in text


def test_strings_of_the_measurement_stay_text() -> None:
    """Markup or formulas in labels, tasks, policies and sources are shown, never obeyed."""
    evil = HOSTILE + r" $\undefined{$"
    table = replace(
        TABLE,
        numbers=tuple(replace(row, point=evil, step=0) for row in TABLE.numbers[:18]),
        spectra=tuple(replace(row, point=evil, step=0) for row in TABLE.spectra[:3]),
        facts=replace(TABLE.facts, task=evil, policy=evil),
        source=evil,
    )
    group = replace(GROUP, key=replace(GROUP.key, task=evil))
    for shown in (group, GROUP, replace(group, key=replace(group.key, optimizer=evil))):
        shown_page = Page(render(shown, curvature=table))
        assert "script" not in shown_page.tags
        assert shown_page.handlers == []
        assert all(address.startswith("data:") for address in shown_page.addresses)
        assert shown_page.text.count("<script>alert('x')</script>") >= 2


@pytest.mark.parametrize("num_sizes", [1, 2, 10])
def test_any_number_of_batch_sizes_has_a_page(num_sizes: int) -> None:
    """Few batch sizes shorten the table and break nothing."""
    group = replace(GROUP, edges=GROUP.edges[:num_sizes])
    html = render(group)

    assert f'colspan="{min(num_sizes, 4)}"' in html
    assert all(a.startswith("data:image/svg+xml;base64,") for a in Page(html).addresses)


def test_the_page_is_written_from_files(tmp_path: Path) -> None:
    """Measured, written, read and reported: the same page as from memory."""
    path = tmp_path / "curvature.parquet"
    write_curvature(TABLE, path)
    fit = Fit("x", (GROUP,))

    write_report(fit, RESULTS, None, tmp_path / "r.html", curvature=read_curvature(path))

    assert (tmp_path / "r.html").read_text(encoding="utf-8") == page()


def test_bands_that_nobody_knows_are_not_drawn() -> None:
    """A number of unknown error still gives a curve, and a mean over a single batch gives none."""
    table = make_table(seeds=1)
    unknown = replace(table, numbers=tuple(replace(row, stderr=np.nan) for row in table.numbers))
    text = Page(render(GROUP, curvature=unknown)).text

    assert "off by a factor of" in text
    assert "measured λ₁ of batches needs “largest eigenvalue, mean over batches”" in text
