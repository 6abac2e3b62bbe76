"""Arguments of our own tasks, by the names their functions have, with values of any kind."""

import inspect
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, composite

from benchmarks.fuzz.strings import NUMBERS, nasty_text, plain_data

# Tasks whose data come with their packages or are drawn: none asks for the network.
QUICK = ("digits_mlp", "digits_cnn", "least_squares", "wine", "breast_cancer", "diabetes")
# A number in between is not refused and not small: a task of 10^9 inputs is somebody's wish.
_MOST = 1_000
_values = st.one_of(
    st.sampled_from([n for n in NUMBERS if not isinstance(n, int) or abs(n) <= _MOST]),
    st.floats(allow_nan=True).filter(lambda number: not _MOST < abs(number) < float("inf")),
    st.integers(-_MOST, _MOST),
    nasty_text,
    plain_data.filter(lambda value: not isinstance(value, int | float)),
)


@composite
def tasks(draw: DrawFn) -> tuple[str, dict[str, Any]]:
    """Draw the name of a task and arguments for it, rarely one that it does not have."""
    from scaling_sweep.tasks.builtin import BUILTIN_TASKS
    from scaling_sweep.tasks.loading import load_task  # noqa: F401  # so that its imports are done

    paths = {task.name: task.path for task in BUILTIN_TASKS}
    name = draw(st.sampled_from(QUICK))
    module, _, attribute = paths[name].partition(":")
    maker = getattr(__import__(module, fromlist=[attribute]), attribute)
    known = st.sampled_from(sorted(inspect.signature(maker).parameters))
    names = draw(st.sets(st.one_of(known, known, known, nasty_text), min_size=1, max_size=2))
    return name, {key: draw(_values) for key in sorted(names)}
