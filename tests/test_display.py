"""What a run shows where no terminal redraws."""

from io import StringIO

from rich.console import Console

from scaling_sweep.display import TerminalDisplay
from scaling_sweep.rows import rows_of_result
from tests.run_cases import made_up_result, tiny_packs


def shown(num_packs: int, *, is_search: bool) -> list[str]:
    """Return the lines of a run whose packs all look alike."""
    text = StringIO()
    pack = tiny_packs()[0]
    with TerminalDisplay(Console(file=text, width=200), "tiny", is_search) as display:
        display.on_plan([pack] * (1 if is_search else num_packs), 0)
        for _ in range(num_packs):
            display.on_pack(pack, rows_of_result(made_up_result(pack)), 0.1)
    return text.getvalue().splitlines()


def test_a_grid_shows_its_share() -> None:
    """The last line says that all is done."""
    assert shown(4, is_search=False)[-1].startswith("100%  packs 4/4  trials 32/32, 16 diverged")


def test_a_search_shows_no_end_that_nobody_knows() -> None:
    """A line for every ten packs, with counts and without a share or the time left."""
    lines = shown(25, is_search=True)

    assert lines[0].startswith("8 trials in 1 packs to run to begin with; more as edges show")
    assert lines[1:] == [
        "packs 10  trials 80, 40 diverged",
        "packs 20  trials 160, 80 diverged",
    ]
