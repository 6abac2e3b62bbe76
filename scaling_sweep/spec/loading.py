"""From the text of a sweep file to a checked study, or one line that says what to mend."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError

from scaling_sweep.errors import UserError
from scaling_sweep.spec.grids import BatchSizeValues
from scaling_sweep.spec.models import SweepSpec
from scaling_sweep.spec.section import Section
from scaling_sweep.spec.source import KeyPath, Source, parse_source, read_source
from scaling_sweep.spec.wording import as_yaml, exact_text, nearest

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

S = TypeVar("S", bound=Section)


@dataclass(frozen=True)
class LoadedSweep:
    """A study together with the file it was read from.

    Attributes:
        spec: What is asked.
        source: The file's path, text and line numbers.
    """

    spec: SweepSpec
    source: Source

    @property
    def text(self) -> str:
        """The file's text, to be kept with the results."""
        return self.source.text

    @property
    def path(self) -> Path:
        """The file's path as the user wrote it."""
        return self.source.path

    def error(self, message: str, *path: str | int) -> UserError:
        """Build the one-line error for a mistake found later, at a key of the file.

        Args:
            message: What was wrong, what was given and what to write instead.
            path: Keys and indices from the top of the file.

        Returns:
            The error, to be raised.
        """
        return self.source.error(message, *path)


def load_sweep(path: Path | str) -> LoadedSweep:
    """Read and check a sweep file.

    Anything that cannot be meant is a `UserError`: one line with the file, the line, what was
    given and what to write instead.

    Args:
        path: The file.

    Returns:
        The study and its source.
    """
    return _check(read_source(Path(path)))


def parse_sweep(text: str, path: Path | str = "sweep.yaml") -> LoadedSweep:
    """Check the text of a sweep file, for example of one kept with a run.

    Args:
        text: The YAML text.
        path: Where it came from, for messages only.

    Returns:
        The study and its source.

    Example:
        >>> loaded = parse_sweep('''
        ... name: tiny
        ... task: digits_mlp
        ... parameters:
        ...   optimizer: {values: [sgd]}
        ...   batch_size: {min: 1, max: 64, per_octave: 1}
        ...   lr: {values: [1e-2, 1e-1]}
        ... seeds: 1
        ... horizon: {steps: 30}
        ... ''')
        >>> loaded.spec.batch_sizes
        (1, 2, 4, 8, 16, 32, 64)
    """
    return _check(parse_source(text, Path(str(path))))


def check_against_task(loaded: LoadedSweep, num_examples: int | None) -> None:
    """Refuse what only the task's data can tell to be wrong.

    The `UserError` names the line: epochs of data that never ends, or a batch drawn without
    replacement that is larger than the data.

    Args:
        loaded: The study.
        num_examples: Examples in the task's data; None when they are drawn fresh and never end.
    """
    spec = loaded.spec
    _check_warmup(loaded, num_examples)
    if num_examples is None:
        if spec.sampling == "epoch":
            reason = "this task draws every example fresh; write sampling: replacement"
            raise loaded.error(reason, "sampling")
        if spec.horizon.epochs is not None:
            reason = "this task draws every example fresh; write steps or examples instead"
            raise loaded.error(reason, "horizon", "epochs")
        return
    if spec.sampling == "replacement":
        return
    advice = f"the data has {num_examples} examples; write at most that, or sampling: replacement"
    if spec.batch_sizes[-1] > num_examples:
        message = f"a batch of {spec.batch_sizes[-1]} cannot be drawn without replacement, {advice}"
        raise loaded.error(message, *_largest_batch_path(spec))
    if not isinstance(spec.start, str) and spec.start.batch_size > num_examples:
        message = (
            f"a batch of {spec.start.batch_size} cannot be drawn without replacement, {advice}"
        )
        raise loaded.error(message, "start", "batch_size")


def _check_warmup(loaded: LoadedSweep, num_examples: int | None) -> None:
    """Refuse a warm-up that is counted in epochs that never end, or leaves nothing after it."""
    spec = loaded.spec
    schedule, horizon, place = spec.recipe.schedule, spec.horizon, ("recipe", "schedule", "warmup")
    if schedule.warmup is None:
        return
    if num_examples is None and schedule.warmup.epochs is not None:
        reason = "this task draws every example fresh; write steps or examples instead"
        raise loaded.error(reason, *place, "epochs")
    if num_examples is None and horizon.epochs is not None:
        return  # refused for the horizon
    for batch_size in spec.batch_sizes:
        num_steps = horizon.num_steps(batch_size, num_examples)
        if (num_warmup := schedule.num_warmup_steps(batch_size, num_examples)) >= num_steps:
            raise loaded.error(
                f"takes {num_warmup} steps at batch size {batch_size}, where the horizon has "
                f"{num_steps}; write a shorter one",
                *place,
            )


def _largest_batch_path(spec: SweepSpec) -> KeyPath:
    """Return where the largest batch size is written."""
    axis = spec.parameters.batch_size
    if isinstance(axis, BatchSizeValues):
        return ("parameters", "batch_size", "values", axis.values.index(max(axis.values)))
    return ("parameters", "batch_size", "max")


def _check(source: Source) -> LoadedSweep:
    """Return the checked study; a `UserError` reports the first mistake in the file's order."""
    return LoadedSweep(check_section(SweepSpec, source), source)


def check_section(section: type[S], source: Source) -> S:
    """Check a file against the section that describes it.

    Args:
        section: What the file should hold.
        source: The file as it was read.

    Returns:
        The section; a `UserError` reports the first mistake in the file's order.
    """
    try:
        return section.model_validate(source.data)
    except ValidationError as error:
        details = error.errors(include_url=False)
    details.sort(key=lambda detail: source.line_of(_path(detail)))
    others = len(details) - 1
    more = f" (and {others} more mistake{'s' if others > 1 else ''})" if others else ""
    raise source.error(_message(details[0]) + more, *_path(details[0]))


def _path(detail: "ErrorDetails") -> KeyPath:
    """Return where in the file a mistake is.

    Words in angle brackets are the names of alternatives, no keys of the file.
    """
    place = tuple(key for key in detail["loc"] if not str(key).startswith("<"))
    return (*place, *detail.get("ctx", {}).get("path", ()))


def _message(detail: "ErrorDetails") -> str:
    """Return a mistake in our words: the validator's own are for programmers."""
    context = detail.get("ctx", {})
    if detail["type"] == "mistake":
        return str(context["text"])
    got = as_yaml(detail["input"])
    match detail["type"]:
        case "greater_than":
            return f"must be above {exact_text(context['gt'])}, got {got}"
        case "greater_than_equal":
            return f"must be at least {exact_text(context['ge'])}, got {got}"
        case "less_than_equal":
            return f"must be at most {exact_text(context['le'])}, got {got}"
        case "literal_error":
            choices = re.findall(r"'(.*?)'", context["expected"])
            hint = nearest(detail["input"], choices)
            hint = hint if hint.startswith("did") else f"write {choices[0]}"
            return f"must be one of {', '.join(choices)}, got {got}; {hint}"
        case "string_pattern_mismatch":
            own = ", or package.module:attribute" if ":" in context["pattern"] else ""
            return f"must be a name of letters, digits, _ - and .{own}, got {got}"
        case "dict_type":
            return f"must be a mapping of keys to values, got {got}"
        case _:
            return f"{detail['msg'][0].lower()}{detail['msg'][1:]}, got {got}"
