"""What a report needs from a sweep file's text: its question, its name, its criterion.

The format belongs to the half that trains; here the text is only looked at, never checked.
"""

import re

from analysis.criteria import Criterion, Kind, Reference


def find_question(sweep_text: str) -> str:
    r"""Return the question of a study: the first paragraph of its sweep file, a comment.

    Args:
        sweep_text: The sweep file as given; may be empty.

    Returns:
        The comment up to a bare ``#`` or its end, without its signs, as one line; empty when the
        file does not begin with one.

    Example:
        >>> find_question("# Does LR_max grow\n# like B?\n#\n# Cost: 20 trials\nname: digits")
        'Does LR_max grow like B?'
    """
    lines: list[str] = []
    for line in sweep_text.lstrip("\ufeff\r\n ").splitlines():
        words = line.lstrip("#").strip()
        if not line.startswith("#") or (lines and not words):
            break
        lines.append(words)
    return " ".join(lines).strip()


def find_name(sweep_text: str) -> str:
    r"""Return the name of a study.

    Args:
        sweep_text: The sweep file as given; may be empty.

    Returns:
        The value of its top-level ``name``, empty when it has none.

    Example:
        >>> find_name("# A question\nname: 'digits'  # short\n")
        'digits'
    """
    found = re.search(r"^name:[ \t]*([^#\n]*)", sweep_text, re.MULTILINE)
    return found[1].strip().strip("'\"") if found else ""


def is_bisection(sweep_text: str) -> bool:
    r"""Say whether a sweep file closes in on edges instead of training a grid.

    Args:
        sweep_text: The sweep file as given; may be empty.

    Returns:
        Whether its top-level ``search`` speaks of ``bisect``.

    Example:
        >>> is_bisection("name: x\nsearch: {bisect: {}}\n"), is_bisection("search: grid\n")
        (True, False)
    """
    return re.search(r"^search:[^#\n]*(?:\n[ \t]+)*[^#\n]*\bbisect\b", sweep_text, re.M) is not None


def find_criterion(sweep_text: str) -> Criterion:
    r"""Return the criterion that a sweep file judges its trials by.

    Args:
        sweep_text: The sweep file as given.

    Returns:
        What its ``stability`` says; the default where it says nothing.

    Example:
        >>> find_criterion("name: x\nstability: {max_loss_ratio: 2, reference: start}\n").ratio
        2.0
        >>> str(find_criterion("stability:\n  measure: peak\n  max_loss_ratio: 4.0\nseeds: 2\n"))
        'peak:4'
    """
    block = re.search(r"^stability:.*\n?(?:[ \t]+.*\n?|[ \t]*#.*\n?)*", sweep_text, re.MULTILINE)
    text = re.sub(r"#.*", "", block[0]) if block else ""
    default = Criterion()
    ratio = re.search(
        r"\bmax_loss_ratio:\s*([0-9]+\.?[0-9]*(?:e[+-]?[0-9]{1,2})?)", text, re.IGNORECASE
    )
    kind = re.search(r"\bmeasure:\s*['\"]?(final|peak|finite)\b", text)
    reference = re.search(r"\breference:\s*['\"]?(initial|start)\b", text)
    return Criterion(
        kind=Kind(kind[1]) if kind else default.kind,
        ratio=float(ratio[1]) if ratio else default.ratio,
        reference=Reference(reference[1]) if reference else default.reference,
    )
