"""A search followed from pack to pack, and one that adds seeds until it is precise enough."""

import math
import random

import pytest

from analysis.groups import fit_results
from analysis.results import Results
from analysis.tables import normalize_table
from scaling_sweep.planning import Measurement, Search, count_edges
from scaling_sweep.planning.evidence import tabulate
from scaling_sweep.planning.following import FollowedSearch
from scaling_sweep.planning.searching import measure_precision
from scaling_sweep.planning.simulating import SimulatedEdges, simulate_search
from scaling_sweep.spec import SweepSpec
from tests.planning.worlds import World, follow, scattered

SIZES = tuple(2**i for i in range(10))


def study(*optimizers: str, seeds: int = 2, **bisect: object) -> SweepSpec:
    """Return a study of ten batch sizes, its edges a factor 2^(1/4) sharp."""
    return SweepSpec.model_validate(
        {
            "name": "t",
            "task": "digits_mlp",
            "seeds": seeds,
            "horizon": {"steps": 30},
            "parameters": {
                "optimizer": {"values": optimizers or ("sgd",)},
                "batch_size": {"values": SIZES},
                "lr": {"min": 2**-6, "max": 4, "per_octave": 4},
            },
            "search": {"bisect": {"resolution": 1.19, "widen": 16, **bisect}},
        }
    )


def half_width(measured: list[Measurement]) -> float:
    """Return the half-width that `fit` finds."""
    table = normalize_table(tabulate(measured), "x", {}).frame
    (group,) = fit_results(Results(table, "x")).groups
    assert group.exponent_ci is not None
    return (group.exponent_ci[1] - group.exponent_ci[0]) / 2


@pytest.mark.parametrize("salt", range(4))
def test_a_followed_search_asks_for_what_all_that_is_known_asks_for(salt: int) -> None:
    """After every pack, in any order, with wrong verdicts: the packs of the pure function."""
    spec = study("sgd", "adam", sentinels=0.5, probes=1 + salt % 2, precision=0.5, max_seeds=3)
    world = World(scattered(lambda b: 0.004 * b**0.9, 0.2, salt), 0.0, 0.05 * (salt % 2), salt)
    following, rng = FollowedSearch(Search(spec)), random.Random(salt)
    flying, found = list(following.hand_out()), []
    assert tuple(flying) == Search(spec).next_packs()
    while flying:
        pack = flying.pop(rng.randrange(len(flying)))
        answers = [world.answer(trial) for trial in pack.trials]
        found += answers
        away = [trial for other in flying for trial in other.trials]
        following.hear(answers, pack.trials)
        packs = following.hand_out()
        assert packs == Search(spec).next_packs(found, away)
        flying += packs

    edges = count_edges(spec, found)
    assert edges.num_found == edges.num_wanted >= 2 * 10 * 2


def test_the_precision_is_that_of_fit() -> None:
    """Half of the interval that `fit` reports for the same trials, though less is worked out."""
    world = SimulatedEdges(lambda size: 1.1 / (1 + 30 / size))
    done = simulate_search(Search(study(seeds=5)), world.answer, lambda pack: 1.0)

    assert measure_precision(done.measured) == half_width([*done.measured])


def test_seeds_are_added_until_the_interval_is_narrow_and_no_longer() -> None:
    """The interval is as narrow as was asked, and was not before the last seeds came."""
    world = World(scattered(lambda b: 1.1 / (1 + 30 / b), 0.15, 1))
    found = follow(study(precision=0.08, seeds=4), world).found

    num_seeds = 1 + max(item.seed for item in found)
    assert num_seeds > 4
    assert half_width(found) <= 0.08
    before = next(n for n in range(num_seeds) if n + max(1, n // 4) >= num_seeds)
    assert half_width([item for item in found if item.seed < before]) > 0.08


def test_whether_a_prediction_holds_does_not_matter_to_when_it_stops() -> None:
    """The same edges under an optimizer that should have slope 1 and one that should have 1/2."""
    world = World(scattered(lambda b: 1.1 / (1 + 30 / b), 0.15, 3))

    def asked(optimizer: str) -> set[tuple[int, float, int]]:
        spec = study(optimizer, precision=0.12, sentinels=0)
        return {(m.batch_size, m.lr, m.seed) for m in follow(spec, world).found}

    assert asked("sgd") == asked("adam")


@pytest.mark.slow
def test_an_interval_that_was_waited_for_covers_the_truth_as_often_as_it_says() -> None:
    """With seeds added until ±0.1, at least 11 of 12 simulated truths are covered."""
    covered = 0
    for salt in range(12):
        world = SimulatedEdges(lambda size: 1.1 / (1 + 30 / size), salt=salt)
        search = Search(study(precision=0.1, seeds=4, max_seeds=64))
        done = simulate_search(search, world.answer, lambda pack: 1.0)
        table = normalize_table(tabulate(done.measured), "x", {}).frame
        (group,) = fit_results(Results(table, "x")).groups
        low, high = group.exponent_ci or (math.nan, math.nan)
        assert high - low <= 0.2
        covered += low <= 1 <= high
    assert covered >= 11
