"""Enter a context in the background while something else is done: Ray takes seconds to start."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TypeVar

Value = TypeVar("Value")


@contextmanager
def entered_ahead(
    make: Callable[[], AbstractContextManager[Value]], *, now: bool
) -> Iterator[Callable[[], Value]]:
    """Offer a context's value to whoever comes to need it.

    Args:
        make: Makes the context, in this thread. It is left at the end if it was entered.
        now: Whether to enter it at once, in a thread of its own; otherwise it is made and entered
            when it is asked for.

    Yields:
        A function that waits until the context is entered and returns its value, or raises what
        entering it raised. Where nobody asks, that is dropped.

    Example:
        >>> from contextlib import nullcontext
        >>> with entered_ahead(lambda: nullcontext("Ray"), now=True) as reach:
        ...     reach()
        'Ray'
    """
    # The thread outlives the context: Linux kills Ray's processes when the thread ends that started
    # them (PR_SET_PDEATHSIG).
    with ThreadPoolExecutor(1) as threads, ExitStack() as entered:
        if not now:
            yield lambda: entered.enter_context(make())
            return
        entering = threads.submit(entered.enter_context, make())
        try:
            yield entering.result
        finally:
            wait([entering])  # what is entered late is left too
