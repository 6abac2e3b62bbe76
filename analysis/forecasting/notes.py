"""What every recommendation asks and tells: is it possible, is it far from what was measured."""

from analysis.errors import AnalysisError
from analysis.summaries import Band, GroupFit
from analysis.words.formatting import format_number


def require_drawable(group: GroupFit, batch_size: int) -> None:
    """Refuse a batch that is larger than the data it is drawn from.

    Args:
        group: Any group.
        batch_size: Examples per step.

    Raises:
        AnalysisError: If batches are drawn without replacement and there are fewer examples.
    """
    if group.num_examples is not None and batch_size > group.num_examples:
        raise AnalysisError(
            f"A batch of {batch_size} cannot be drawn without replacement from the "
            f"{group.num_examples} examples there are; ask for at most {group.num_examples}."
        )


def read_first(band: Band) -> tuple[float, float, float]:
    """Read the edge and its interval at the only batch size of a band.

    Args:
        band: Of one batch size.

    Returns:
        The edge, the lower and the upper end, in boldness.
    """
    return float(band.median[0]), float(band.low[0]), float(band.high[0])


def name_setting(group: GroupFit) -> str:
    """Say where a recommendation was measured.

    Args:
        group: Any group.

    Returns:
        The beginning of a sentence.
    """
    key = group.key
    recipe = "" if key.recipe == "plain" else f"recipe {key.recipe}"
    setting = [text for text in (key.horizon, f"start {key.start}", recipe) if text]
    return f"Measured for {', '.join(setting)}"


def note_range(group: GroupFit, batch_size: int) -> list[str]:
    """Say when a batch size lies beyond the measured ones.

    Args:
        group: A group with edges.
        batch_size: Examples per step.

    Returns:
        One sentence, or none.
    """
    smallest, largest = group.edges[0].batch_size, group.edges[-1].batch_size
    if batch_size > largest:
        factor, side = batch_size / largest, f"above the largest batch size measured ({largest})"
    elif batch_size < smallest:
        factor, side = smallest / batch_size, f"below the smallest batch size measured ({smallest})"
    else:
        return []
    return [
        f"B = {batch_size} is an extrapolation: {format_number(factor, 2)} times {side}; the "
        "interval covers the fitted laws only, not a law that changes there."
    ]
