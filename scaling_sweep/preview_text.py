"""What `plan` has found, as people read it in 80 columns."""

import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scaling_sweep.planning import PackSize
    from scaling_sweep.planning.forecasting import StudyForecast

_HOUR_S, _MINUTE_S, _DAY_S = 3600, 60, 86_400
_WIDTH, _INDENT = 80, 16
_MANY = 100_000  # from here on a count is read as so many millions


def format_duration(seconds: float) -> str:
    """Write a duration with the unit a person would choose.

    Args:
        seconds: At least 0.

    Returns:
        A number and a unit.

    Example:
        >>> format_duration(42.4), format_duration(150), format_duration(9000), format_duration(4e5)
        ('42 s', '2.5 min', '2.5 h', '4.6 days')
    """
    if seconds < 2 * _MINUTE_S:
        return f"{seconds:.0f} s"
    if seconds < 2 * _HOUR_S:
        return f"{seconds / _MINUTE_S:.1f} min"
    if seconds < 2 * _DAY_S:
        return f"{seconds / _HOUR_S:.1f} h"
    return f"{seconds / _DAY_S:.1f} days"


def format_count(number: int) -> str:
    """Write a count in full while it is short, else in millions.

    Args:
        number: At least 0.

    Returns:
        A number, and its unit if it has one.

    Example:
        >>> format_count(5810), format_count(11_669_550), format_count(123_373_800)
        ('5,810', '11.7 M', '123 M')
    """
    if number < _MANY:
        return f"{number:,}"
    return f"{number / 1e6:,.0f} M" if number >= 1e8 else f"{number / 1e6:.3g} M"


def format_pairs(pairs: Iterable[tuple[str, str]]) -> str:
    """Write names and what they stand for, folded at 80 columns.

    Args:
        pairs: Names of at most 15 letters, and texts.

    Returns:
        Lines.

    Example:
        >>> print(format_pairs([("seeds", "6"), ("search", "grid")]))
        seeds           6
        search          grid
    """
    return "\n".join(
        textwrap.fill(
            text,
            _WIDTH,
            initial_indent=name.ljust(_INDENT),
            subsequent_indent=" " * _INDENT,
            break_long_words=False,
            break_on_hyphens=False,
        )
        for name, text in pairs
    )


@dataclass(frozen=True)
class PackMemory:
    """What memory lets the packs of a study be.

    Attributes:
        num_bytes: What a pack may take.
        basis: What the sizes rest on, in words.
        wanted: Copies that packs have where memory suffices.
        sizes: What fits, by optimizer and batch size.
    """

    num_bytes: int
    basis: str
    wanted: int
    sizes: "tuple[PackSize, ...]"


def format_memory(memory: PackMemory) -> str:
    """Write what memory lets packs be: at which batch sizes it bounds them, if at any.

    Args:
        memory: What was found.

    Returns:
        A clause.
    """
    least: dict[int, int] = {}
    for size in memory.sizes:
        least[size.batch_size] = min(size.most_copies, least.get(size.batch_size, memory.wanted))
    place = f"{memory.num_bytes / 2**30:.2g} GiB a pack; {memory.basis}"
    bounded = {size: most for size, most in least.items() if most < memory.wanted}
    if bounded:
        return f"{_bounds(bounded)} ({place})"
    copies = "1 copy" if memory.wanted == 1 else f"{memory.wanted} copies"
    return f"enough for {copies}, the most in a pack, at every B ({place})"


def _bounds(most: Mapping[int, int]) -> str:
    """Write the most copies at each of some batch sizes."""
    fitting = {size: number for size, number in most.items() if number}
    parts = [
        f"{number} {'copy' if number == 1 else 'copies'} at B = {size}"
        if not place
        else f"{number} at B = {size}"
        for place, (size, number) in enumerate(fitting.items())
    ]
    text = f"at most {', '.join(parts)}" if parts else ""
    lacking = [f"B = {size}" for size, number in most.items() if not number]
    if not lacking:
        return text
    advice = "write resources: {micro_batch: auto}"
    none = f"perhaps not one copy at {', '.join(lacking)}, {advice}"
    return f"{text}; {none}" if text else none


def format_forecasts(
    forecasts: "Sequence[StudyForecast]", price: float | None, *, on_gpus: bool
) -> str:
    """Write forecasts side by side: one column for each way to run the study.

    Args:
        forecasts: The study first, then its neighbours.
        price: Of one GPU hour; None when none was given.
        on_gpus: Whether packs ask for GPUs.

    Returns:
        A heading, a table and what its numbers mean; nothing without forecasts.
    """
    if not forecasts:
        return ""
    rows = [
        _row("", forecasts, lambda item: item.name),
        _row("trials", forecasts, lambda item: f"{item.num_trials:,}"),
        _row("packs", forecasts, lambda item: f"{item.num_packs:,}"),
        _row("examples", forecasts, lambda item: format_count(item.num_examples)),
        _row("time", forecasts, lambda item: format_duration(item.wall_time_s)),
    ]
    if on_gpus:
        rows.append(_row("GPU hours", forecasts, lambda item: f"{item.gpu_hours:.2g}"))
    if on_gpus and price is not None:
        rows.append(_row("cost", forecasts, lambda item: f"{item.cost or 0:.2f}"))
    rows += _precision_rows(forecasts)
    notes = (
        "± is half of the exponent's 95 % interval, were the truth a law that bends in the middle "
        "of the batch sizes and edges of seeds scattered by 0.15 in log."
    )
    if price is not None and not on_gpus:
        notes += " There is no cost: packs ask for no GPU (resources: {gpus: 1})."
    return "\n".join(
        [
            "The whole study, simulated from its first trial to its last, and its neighbours",
            "",
            *_aligned(rows),
            "",
            textwrap.fill(notes, _WIDTH),
        ]
    )


def _row(
    name: str,
    forecasts: "Sequence[StudyForecast]",
    text: "Callable[[StudyForecast], str]",
) -> tuple[str, ...]:
    return (name, *map(text, forecasts))


def _precision_rows(forecasts: "Sequence[StudyForecast]") -> list[tuple[str, ...]]:
    """Return one row for each optimizer's exponent."""
    told = [[one.half_width for one in item.precisions] for item in forecasts]
    return [
        (
            f"± {one.optimizer}",
            *("no fit" if half is None else f"{half:.2g}" for half in widths),
        )
        for one, widths in zip(forecasts[0].precisions, zip(*told, strict=True), strict=True)
    ]


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return lines: names to the left, numbers to the right, as far apart as 80 columns allow."""
    sizes = [max(map(len, column)) for column in zip(*rows, strict=True)]
    spare = (_WIDTH - sum(sizes)) // max(1, len(sizes) - 1)
    gap = " " * max(2, min(4, spare))
    return [
        gap.join(
            [row[0].ljust(sizes[0]), *(c.rjust(n) for c, n in zip(row[1:], sizes[1:], strict=True))]
        ).rstrip()
        for row in rows
    ]
