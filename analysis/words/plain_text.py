"""Strings of unknown origin made harmless for a terminal."""

import unicodedata

# Control, format and surrogate characters, line and paragraph separators: what a terminal obeys
# or what turns the reading direction.
_OBEYED = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})
# A guess: the longest message of ours has some 300 characters.
_MAX_LINE = 1000


def neutralize(text: str) -> str:
    r"""Replace every character that a terminal would obey, but not line breaks.

    Args:
        text: Anything.

    Returns:
        As many characters, all of them to be seen.

    Example:
        >>> neutralize("lost\x1b[2J\n")
        'lost�[2J\n'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        letter if letter == "\n" or unicodedata.category(letter) not in _OBEYED else "\ufffd"
        for letter in text
    )


def plain_line(text: str) -> str:
    r"""Return a message as one line that a terminal can only show.

    Args:
        text: Anything.

    Returns:
        Its words on one line, cut short where it is longer than any message of ours.

    Example:
        >>> plain_line("a table\n  named \x1b[2J")
        'a table named �[2J'
    """
    line = neutralize(" ".join(text.split()))
    return line if len(line) <= _MAX_LINE else f"{line[:_MAX_LINE]}…"
