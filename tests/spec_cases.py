"""What the tests of sweep files share: the line that a text is refused with."""

import pytest

from scaling_sweep.errors import UserError
from scaling_sweep.spec import parse_sweep


def message_of(text: str) -> str:
    """Return the one line a sweep file's text is refused with, as the file x.yaml."""
    with pytest.raises(UserError) as caught:
        parse_sweep(text, "x.yaml")
    message = str(caught.value)
    assert "\n" not in message
    return message
