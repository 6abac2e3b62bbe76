"""A fit as people see it in a Python session: a few lines of text, or HTML with the edges."""

import jinja2

from analysis.figures.edges import edge_figure
from analysis.report import embed_figure
from analysis.report_views import Badge, choose_badge
from analysis.summaries import Fit, GroupFit
from analysis.words import sentences
from analysis.words.formatting import group_title

# What a browser needs to show one group; every string is escaped.
_GROUPS = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(
    """<div>{% for group, title, badge, figure in groups %}
<h4>{{ title }} <small>{{ badge.text }}</small></h4>
<p>{{ sentences.headline(group) }}</p>
{% for warning in group.warnings %}<p><em>Warning: {{ warning }}</em></p>
{% endfor %}{% if figure %}<img alt="LR_max over batch size, {{ title }}" src="{{ figure }}">
{% endif %}{% endfor %}</div>"""
)


def describe_fit(fit: Fit) -> str:
    """Say what was found, a headline for each group.

    Args:
        fit: Of one table.

    Returns:
        A few lines of text.

    Example:
        >>> describe_fit(Fit("table.csv", ()))
        'Study of table.csv: no group of trials'
    """
    keys = [group.key for group in fit.groups]
    lines = [
        f"  {group_title(group.key, keys)}: {sentences.headline(group)}" for group in fit.groups
    ]
    return "\n".join([f"Study of {fit.source}: {_count(len(fit.groups))}", *lines])


def render_fit(fit: Fit) -> str:
    """Make what a notebook shows: headline, warnings and edges of each group.

    Args:
        fit: Of one table.

    Returns:
        A piece of HTML; every string from the table is escaped.
    """
    keys = [group.key for group in fit.groups]
    views = [_view(group, group_title(group.key, keys)) for group in fit.groups]
    return _GROUPS.render(groups=views, sentences=sentences)


def _view(group: GroupFit, title: str) -> tuple[GroupFit, str, Badge, str | None]:
    figure = embed_figure(edge_figure(group)) if group.edges else None
    return group, title, choose_badge(group), figure


def _count(number: int) -> str:
    return {0: "no group of trials", 1: "1 group"}.get(number, f"{number} groups")
