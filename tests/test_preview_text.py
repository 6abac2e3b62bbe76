"""What `plan` prints fits a terminal and says what a person would ask."""

from scaling_sweep.planning.forecasting import Precision, StudyForecast
from scaling_sweep.preview_text import format_count, format_forecasts, format_pairs

NAMES = ("as it is", "9 seeds", "bisection, as fine", "5 batch sizes")


def forecast(name: str, num: int, optimizers: tuple[str, ...]) -> StudyForecast:
    """Return a forecast with large numbers."""
    told = tuple(Precision(item, None if name == "9 seeds" else 0.0871) for item in optimizers)
    return StudyForecast(name, num, num // 40, 300 * num, 20_000 * num, 8.3 * num, 12, 36, told)


def test_the_table_fits_80_columns_however_many_optimizers_there_are() -> None:
    """One column for each way to run the study, one row for each optimizer."""
    optimizers = ("sgd", "newton(num_lanczos=5)", *(f"adam(beta1=0.{i})" for i in range(12)))
    ways = [forecast(name, 5_810, optimizers) for name in NAMES]

    lines = format_forecasts(ways, price=3, on_gpus=True).splitlines()

    assert max(map(len, lines)) <= 80
    rows = {line.split("  ")[0]: line.split() for line in lines}
    assert rows["trials"][1:] == ["5,810"] * 4
    assert rows["examples"][1:3] == ["116", "M"]
    assert rows["cost"][1:] == ["36.00"] * 4
    assert rows["± sgd"][2:] == ["0.087", "no", "fit", "0.087", "0.087"]
    assert sum(line.startswith("± adam") for line in lines) == 12


def test_without_gpus_no_column_of_zeros_is_shown() -> None:
    """A price is answered in words where packs ask for no GPU."""
    ways = [forecast(name, 100, ("sgd",)) for name in NAMES]

    assert "GPU hours" not in format_forecasts(ways, price=None, on_gpus=False)
    told = format_forecasts(ways, price=3, on_gpus=False)
    assert "packs ask for no GPU" in " ".join(told.split())
    assert format_forecasts([], price=3, on_gpus=True) == ""


def test_long_lists_are_folded_under_their_name() -> None:
    """Nothing is wider than 80 columns, and nothing is lost."""
    words = [f"adam(eps=1e-{i:02}): 12 from 0.1 to 9" for i in range(9)]
    lines = format_pairs([("seeds", "6"), ("dampings", ", ".join(words))]).splitlines()

    assert lines[0] == "seeds           6"
    assert max(map(len, lines)) <= 80
    assert all(line.startswith(" " * 16) for line in lines[2:])
    assert " ".join(line[16:] for line in lines[1:]) == ", ".join(words)


def test_counts_grow_with_what_they_count() -> None:
    """Short counts are exact, long ones rounded to three figures or so."""
    counts = [999, 99_999, 100_000, 1_234_567, 31_623_000, 123_373_800, 2_500_000_000]
    texts = [format_count(number) for number in counts]

    assert texts == ["999", "99,999", "0.1 M", "1.23 M", "31.6 M", "123 M", "2,500 M"]
    assert all(len(text) <= 7 for text in texts)
    assert len({*texts}) == len(texts)
