"""Which packs Tune is given, in what order they may return, and when there are no more."""

import random
from uuid import uuid4

import pytest

from scaling_sweep.driver.searcher import PackSearcher
from scaling_sweep.planning import Pack, PackLimits, Search, read_measurements
from scaling_sweep.rows import rows_of_result
from tests.run_cases import NUM_EXAMPLES, made_up_result, tiny_sweep

pytestmark = pytest.mark.ray

LIMITS = PackLimits(NUM_EXAMPLES)
BISECTION = {
    "{values: [0.01, 0.1, 1.0, 100.0]}": "{min: 0.01, max: 4, per_octave: 2}",
    "[sgd]": "[sgd, adam]",
    "seeds: 2": "seeds: 3\nsearch: {bisect: {resolution: 1.5}}",
}


def take(searcher: PackSearcher) -> list[tuple[str, Pack]]:
    """Take all packs that are to be had now, each with its trial's name."""
    taken: list[tuple[str, Pack]] = []
    while isinstance(config := searcher.suggest(name := uuid4().hex), dict):
        taken.append((name, config["parcel"].pack))
    return taken


@pytest.mark.parametrize("salt", range(3))
def test_a_bisection_is_given_what_the_pure_search_asks_for(salt: int) -> None:
    """In whatever order packs return, two at once now and then, and then it is finished."""
    search, rng = Search(tiny_sweep(BISECTION).spec, LIMITS), random.Random(salt)
    searcher, found, flying = PackSearcher(search), [], []
    while True:
        away = [trial for _, pack in flying for trial in pack.trials]
        expected = search.next_packs(found, away)
        new = take(searcher)
        assert tuple(pack for _, pack in new) == expected
        flying += new
        if not flying:
            break
        assert not searcher.is_done
        assert searcher.suggest("later") is None
        for _ in range(min(len(flying), rng.randint(1, 2))):
            trial_id, pack = flying.pop(rng.randrange(len(flying)))
            assert searcher.take_back(trial_id) == pack
            rows = rows_of_result(made_up_result(pack))
            found += read_measurements(rows.results)
            searcher.hear(pack, rows)

    assert searcher.is_done
    assert searcher.suggest("more") == "FINISHED"
    assert len(found) > 2 * 2 * 3


@pytest.mark.parametrize("changes", [{}, BISECTION], ids=["grid", "bisection"])
def test_a_lost_pack_ends_the_run_unfinished(changes: dict[str, str]) -> None:
    """A pack that said nothing is not asked for again, and the run is not called complete."""
    searcher = PackSearcher(Search(tiny_sweep(changes).spec, LIMITS))
    for name, pack in take(searcher):
        assert searcher.take_back(name) == pack
        searcher.lose()

    assert searcher.suggest("again") == "FINISHED"
    assert not searcher.is_done
