"""The report: one HTML page that needs nothing from outside."""

import re
from base64 import b64encode
from collections.abc import Sequence
from pathlib import Path

import jinja2
import pandas as pd
from markupsafe import Markup, escape
from matplotlib.figure import Figure

from analysis.axes import AXES, DAMPING_AXIS, LR_AXIS, Axis
from analysis.criteria import Criterion
from analysis.curvature_table import CurvatureTable
from analysis.figures.album import draw_curvature, draw_overview
from analysis.figures.canvas import render_svg
from analysis.files.whole_files import write_whole
from analysis.report_views import collect_groups, list_facts
from analysis.results import Results
from analysis.summaries import Fit
from analysis.sweep_text import find_criterion, find_name, find_question
from analysis.words import damping as damping_words
from analysis.words import formatting, sentences
from analysis.words import laws as law_words
from analysis.words import optimal as optimal_words
from analysis.words import theory as theory_words
from analysis.words.glossary import DAMPING_GLOSSARY, GLOSSARY, THEORY_GLOSSARY, Entry

_TEMPLATES = Path(__file__).parent / "templates"


def write_report(
    fit: Fit,
    results: Results,
    curves: pd.DataFrame | None,
    path: Path,
    criterion: Criterion | None = None,
    curvature: CurvatureTable | None = None,
) -> None:
    """Write the report of a fit as one HTML page.

    Args:
        fit: What was found.
        results: The table it was found in.
        curves: The table of loss curves, None when there is none.
        path: Where to write; its folder exists.
        criterion: How the trials were judged again, None when by the table's own verdicts.
        curvature: Measured curvature of the task, None when there is none.
    """
    page = render_report(fit, results, curves, criterion, curvature)
    write_whole(path, page.encode("utf-8", "replace"))


def render_report(
    fit: Fit,
    results: Results,
    curves: pd.DataFrame | None,
    criterion: Criterion | None = None,
    curvature: CurvatureTable | None = None,
) -> str:
    """Make the page.

    Args:
        fit: What was found.
        results: The table it was found in.
        curves: The table of loss curves, None when there is none.
        criterion: How the trials were judged again, None when by the table's own verdicts.
        curvature: Measured curvature of the task, None when there is none.

    Returns:
        HTML. Every string from the table or the sweep file is escaped.
    """
    results = results.judged_by(criterion)
    axes = tuple(axis for name, axis in AXES.items() if name in {g.key.axis for g in fit.groups})
    axes = axes or (LR_AXIS,)
    page = _make_environment().get_template("report.html.j2")
    return page.render(
        title=find_name(results.sweep_text or "") or Path(results.source).stem,
        question=find_question(results.sweep_text or ""),
        groups=list(collect_groups(fit, results, curves, curvature)),
        overview=list(draw_overview(fit.groups)),
        curvature=curvature,
        curvature_pictures=list(draw_curvature(curvature)) if curvature else [],
        judged=sentences.describe_criterion(criterion or _find_judge(results)),
        results=results,
        facts=list(list_facts(results.environment)),
        style=Markup((_TEMPLATES / "report.css").read_text(encoding="utf-8")),
        sentences=sentences,
        damping_words=damping_words,
        law_words=law_words,
        theory_words=theory_words,
        optimal_words=optimal_words,
        axes=axes,
        glossary=_collect_glossary(axes, with_theory=curvature is not None),
    )


def _collect_glossary(axes: Sequence[Axis], *, with_theory: bool) -> tuple[Entry, ...]:
    """Return the words that a page uses."""
    damping = DAMPING_GLOSSARY if DAMPING_AXIS in axes else ()
    return (*GLOSSARY, *damping, *(THEORY_GLOSSARY if with_theory else ()))


def _make_environment() -> jinja2.Environment:
    """Return what turns the template into a page, escaping every string."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters |= {
        "raised": raise_exponents,
        "rate": formatting.format_rate,
        "number": formatting.format_number,
        "exponent": formatting.format_exponent,
        "interval": formatting.format_interval,
        "lr_interval": formatting.format_lr_interval,
        "join_words": formatting.join_words,
        "headline": sentences.headline,
        "data_uri": embed_figure,
    }
    return environment


def _find_judge(results: Results) -> Criterion | None:
    """Return what the trials were judged by, None when only its maker knows."""
    return None if results.sweep_text is None else find_criterion(results.sweep_text)


def embed_figure(figure: Figure) -> str:
    """Draw a figure into the address of an image.

    An image keeps its scripts and identifiers to itself, which SVG within the page would not.

    Args:
        figure: What to draw.

    Returns:
        A ``data:`` address.
    """
    return f"data:image/svg+xml;base64,{b64encode(render_svg(figure).encode()).decode()}"


def raise_exponents(text: str) -> Markup:
    """Escape a sentence, raise its exponents, and keep together what belongs together.

    Args:
        text: Plain text, whatever it holds.

    Returns:
        HTML in which ``B^0.85`` has become B with a superscript and no line breaks within
        ``[0.70, 0.93]`` or ``B = 40``.

    Example:
        >>> raise_exponents("<b> grew like B^0.85 up to")
        Markup('&lt;b&gt; grew like B<sup>0.85</sup> up to')
    """
    html = str(escape(text))
    html = re.sub(r"(\bB|\blr|\(lr/B\))\^([−-]?\d+(?:\.\d+)?|p)", r"\1<sup>\2</sup>", html)
    html = re.sub(r"(\[\S+,) (\S+\])", r"\1&nbsp;\2", html)
    return Markup(re.sub(r"\bB = (\d)", r"B&nbsp;=&nbsp;\1", html))
