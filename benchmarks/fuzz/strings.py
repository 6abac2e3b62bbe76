"""Strings and numbers as an enemy would choose them."""

from hypothesis import strategies as st

MARK = "<script>alert(7)</script>"
"""What must nowhere stand unescaped in a page."""

# Names that climb, HTML, markup of the terminal library, escape sequences, odd Unicode, formats.
NASTY = (
    *(MARK, "<img src=x onerror=alert(7)>", "&amp;", '"><svg/onload=alert(7)>', "{{ 7 * 7 }}"),
    *("../x", "../../../../etc/passwd", "/etc/passwd", "~/x", "a\x00b", "..", ".", "", " "),
    *("[/bold]", "[red]x", "[link=http://x]x[/link]", "[", "\\[", "$x$", "$\\frac{", "%s", "{0}"),
    *("\x1b[2J", "\x1b]0;title\x07", "\x9b31m", "\r", "\n", "\t", "\x7f", "\u2028", "\x85"),
    *("\u202e", "\ufeff", "\u0301" * 30, "ß" * 200, "\U0001f4a5", "nan", "inf", "-0", "1e999"),
    *("stable", "diverged", "sgd", "adam(beta1=0.95)", "epoch", "os:system", "builtins:eval"),
)
NUMBERS = (
    *(0, -1, 1, 2**31, 2**63 - 1, 2**63, 2**64, -(2**63), 10**30, 10**400, True, None),
    *(0.0, -0.0, 1e-320, 1e-30, 1e308, float("inf"), float("-inf"), float("nan"), 0.1, 1.5),
)

nasty_text = st.one_of(
    st.sampled_from(NASTY),
    st.text(max_size=20),
    st.builds("{}{}".format, st.sampled_from(NASTY), st.sampled_from(NASTY)),
)
scalars = st.one_of(st.sampled_from(NUMBERS), nasty_text, st.integers(), st.floats())
plain_data = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(nasty_text, inner, max_size=4)
    ),
    max_leaves=8,
)


def plain(text: str) -> str:
    """Return what UTF-8 can hold of a text."""
    return text.encode("utf-8", "replace").decode()
