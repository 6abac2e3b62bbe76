"""Commands that are over in seconds, and then need no tidying up."""

import atexit
import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# Python looks through all objects after every 700 new ones, and torch alone brings a million that
# stay: a fifth of what `plan` took (measured, LOG 2026-11-21).
_RARELY = (100_000, 50, 1000)


@contextmanager
def rarely_collected() -> Iterator[None]:
    """Look for garbage seldom, and not once more when the process ends."""
    usual = gc.get_threshold()
    gc.set_threshold(*_RARELY)
    atexit.unregister(_leave_it)
    atexit.register(_leave_it)
    try:
        yield
    finally:
        gc.set_threshold(*usual)


def _leave_it() -> None:
    """Take no object apart that is there now; Triton's bindings would complain about theirs."""
    if "triton" not in sys.modules:
        gc.freeze()
