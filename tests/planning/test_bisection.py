"""The bisection planner against worlds whose edges are known."""

import math
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analysis.axes import AXES
from analysis.criteria import Verdict
from analysis.edges import find_edges
from scaling_sweep.planning import (
    PackLimits,
    Search,
    all_trials,
    check_extends,
    count_edges,
    describe_widening,
    measurement_of,
    plan_packs,
    read_measurements,
)
from scaling_sweep.planning.bracketing import stand
from scaling_sweep.planning.evidence import tabulate
from scaling_sweep.planning.expecting import list_parents
from scaling_sweep.planning.units import make_lattice
from scaling_sweep.spec import SweepSpec
from tests.planning.worlds import World, follow, resume, scattered

QUICK = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def study(
    resolution: float = 1.2, seeds: int = 3, sizes: object = (1, 4, 16, 64), **bisect: object
) -> SweepSpec:
    """Return a study that is searched by bisection from 1/64 to 4."""
    return SweepSpec.model_validate(
        {
            "name": "t",
            "task": "digits_mlp",
            "seeds": seeds,
            "horizon": {"steps": 30},
            "parameters": {
                "optimizer": {"values": ["sgd"]},
                "batch_size": {"values": sizes},
                "lr": {"min": 2**-6, "max": 4, "per_octave": 4},
            },
            "search": {"bisect": {"resolution": resolution, **bisect}},
        }
    )


def damped(**bisect: object) -> SweepSpec:
    """Return a study that searches the damping of Adam at two learning rates."""
    return SweepSpec.model_validate(
        {
            "name": "t",
            "task": "digits_mlp",
            "seeds": 3,
            "horizon": {"steps": 30},
            "parameters": {
                "optimizer": {"values": ["adam"]},
                "batch_size": {"values": [1, 4, 16, 64]},
                "lr": {"values": [0.1, 0.4]},
                "damping": {"min": 2**-9, "max": 1, "per_octave": 1},
            },
            "search": {"bisect": {"resolution": 1.2, **bisect}},
        }
    )


laws = st.builds(
    lambda top, bend, power: lambda b: top / (1 + (bend / b) ** power),
    top=st.floats(0.05, 3),
    bend=st.floats(0.5, 500),
    power=st.floats(0, 1),
)


@QUICK
@given(
    law=laws,
    sigma=st.sampled_from([0, 0.15, 0.5]),
    salt=st.integers(0, 99),
    resolution=st.sampled_from([1.05, 1.2, 2.0]),
)
def test_every_edge_is_bracketed_to_the_resolution_in_few_trials(
    law: object, sigma: float, salt: int, resolution: float
) -> None:
    """In a monotone world each bracket holds its true edge and is no wider than was asked."""
    spec, edge = study(resolution), scattered(law, sigma, salt)  # type: ignore[arg-type]

    run = follow(spec, World(edge))

    edges = find_edges(tabulate(run.found).assign(trial=1))
    assert len(edges) == 4 * 3
    by_unit = {(trial.batch_size, trial.seed): edge(trial) for trial in all_trials(spec)}
    for found in edges:
        true = by_unit[found.batch_size, found.seed]
        assert found.stable <= true <= found.diverged
        if found.stable > 0 and math.isfinite(found.diverged):
            assert found.diverged / found.stable <= resolution * (1 + 1e-9)
    # The grid of this resolution has as many points per unit as this, and more.
    points = 8 * spec.bisection.per_octave + 1  # type: ignore[union-attr]
    assert len(run.found) <= 12 * min(points, 6 + 2 * math.log2(points))


@QUICK
@given(
    salt=st.integers(0, 999),
    flipped=st.sampled_from([0, 0.05]),
    slow=st.sampled_from([0, 0.05]),
    stops=st.lists(st.integers(0, 12), max_size=3),
    sentinels=st.sampled_from([0, 0.5, 1.0]),
)
def test_any_interruption_and_any_order_of_return_ends_in_the_same_trials(
    salt: int, flipped: float, slow: float, stops: list[int], sentinels: float
) -> None:
    """Killed at will and resumed from its rows, the study asks for the same trials, each once."""
    spec = study(sentinels=sentinels)
    world = World(scattered(lambda b: 2 / (1 + 30 / b), 0.15, salt), slow, flipped, salt)
    expected = follow(spec, world)
    rng = np.random.default_rng(salt)

    rows: tuple = ()  # type: ignore[type-arg]
    for stop in [*stops, 10**6]:
        run = resume(Search(spec, PackLimits(), rows), world, rng, stop)
        ids = [item.trial_id for item in (*rows, *run.found)]
        assert len(ids) == len(set(ids))
        rows = (*rows, *run.found)

    assert {item.trial_id for item in rows} == expected.ids
    assert len(expected.ids) == len(expected.found)


@QUICK
@given(salt=st.integers(0, 999), flipped=st.sampled_from([0.05, 0.3]), probes=st.integers(1, 4))
def test_a_search_ends_whatever_its_trials_do(salt: int, flipped: float, probes: int) -> None:
    """Wrong verdicts cost trials, and never more than the lattice has."""
    spec = study(probes=probes, sentinels=1)
    world = World(scattered(lambda b: 0.02 * b, 0.3, salt), 0.0, flipped, salt)

    run = follow(spec, world)

    assert count_edges(spec, run.found).num_found == 12
    assert Search(spec, PackLimits(), tuple(run.found)).next_packs() == ()
    if flipped < 0.1:
        assert len(run.found) < 12 * 12


@pytest.mark.parametrize(("edge", "open_end"), [(1e9, "diverged"), (1e-9, "stable")])
def test_where_no_edge_is_in_reach_the_search_says_how_far_it_looked(
    edge: float, open_end: str
) -> None:
    """All stable or all diverged: a few steps out to the widened end, then a line, no loop."""
    spec = study(widen=4)
    run = follow(spec, World(lambda trial: edge))

    lrs = [item.lr for item in run.found]
    assert (max(lrs) == 16) if edge > 1 else (min(lrs) == 2**-8)
    assert len(run.found) <= 12 * 6
    assert all(
        getattr(found, open_end) in {0, math.inf} for found in find_edges(tabulate(run.found))
    )
    (line,) = describe_widening(spec, run.found)
    assert line.startswith("sgd: edges may lie beyond lr ")
    assert "\n" not in line


def test_a_range_that_may_not_be_widened_is_not() -> None:
    """With widen: 1 nothing outside of the range is tried."""
    run = follow(study(widen=1), World(lambda trial: 1e9))

    assert max(item.lr for item in run.found) == 4
    assert describe_widening(study(widen=1), run.found) == ()


@pytest.mark.parametrize("slow", [0.05, 0.3])
def test_trials_that_are_too_slow_do_not_look_like_an_edge(slow: float) -> None:
    """A criterion missed by slowness sends the search to bolder values, where the edge is."""
    world = World(scattered(lambda b: 0.8 + b / 100, 0.1, 5), slow)
    spec = study(sentinels=0)

    edges = find_edges(tabulate(follow(spec, world).found))

    assert len(edges) == 12
    assert all(1 < found.diverged / found.stable < 1.2 for found in edges if found.stable > 0)
    assert all(found.stable > 0.5 for found in edges)


def test_where_nothing_meets_the_criterion_there_is_no_edge_and_no_endless_search() -> None:
    """Too slow below what diverges: the units end, without an edge."""
    run = follow(study(), World(lambda trial: 0.3, slow=10))

    assert find_edges(tabulate(run.found)) == ()
    assert len(run.found) <= 12 * 16


def test_an_unstable_trial_that_lowered_its_loss_does_not_mislead_for_good() -> None:
    """With all stable values milder than a first probe that looks slow, they are found below it."""
    spec = study(seeds=1, sizes=(8,), sentinels=0)
    first = Search(spec).next_packs()[0].trials
    found = tuple(measurement_of(trial, Verdict.DIVERGED, 2.3, 2.2) for trial in first)

    run = resume(Search(spec, PackLimits(), found), World(lambda trial: 2**-5.6))

    (edge,) = find_edges(tabulate([*found, *run.found]))
    assert edge.stable < 2**-5.6 < edge.diverged


@QUICK
@given(salt=st.integers(0, 99))
def test_the_damping_axis_is_searched_from_its_other_end(salt: int) -> None:
    """The smallest stable damping is bracketed at every learning rate and batch size."""

    def boldest(trial: object) -> float:
        rng = np.random.default_rng([salt, trial.seed, trial.batch_size])  # type: ignore[attr-defined]
        return trial.batch_size / trial.lr * 0.7 * math.exp(0.1 * rng.normal())  # type: ignore[attr-defined]

    spec = damped()
    run = follow(spec, World(boldest))

    edges = find_edges(tabulate(run.found), AXES["damping"])
    assert len(edges) == 4 * 2 * 3
    true = {(t.batch_size, t.seed, t.lr): boldest(t) for t in all_trials(spec)}
    for found in edges:
        assert found.stable <= true[found.batch_size, found.seed, found.lr] <= found.diverged
        assert found.diverged / found.stable <= 1.2
    assert len(run.found) < 24 * 6


def test_a_unit_stands_where_the_analysis_would_put_its_edge() -> None:
    """On random verdicts and losses the search's bracket is that of `fit`, too slow trials too."""
    spec = study(seeds=1, sizes=(8,))
    lattice, trials = make_lattice(spec, spec.optimizers[0]), all_trials(spec)
    rng = np.random.default_rng(0)
    for _ in range(200):
        some = [trials[i] for i in rng.choice(len(trials), rng.integers(1, 7), replace=False)]
        found = [
            measurement_of(
                trial, Verdict(rng.choice(["stable", "diverged"])), 2.3, rng.choice([2.0, 3.0])
            )
            for trial in some
        ]
        standing = stand(tuple(found), lattice)
        edges = find_edges(tabulate(found))
        if not standing.met:
            assert edges == ()
            continue
        (edge,) = edges
        assert edge.stable == pytest.approx(2 ** (standing.low / 4))
        assert edge.diverged == pytest.approx(2 ** (standing.high / 4))


def test_sentinels_see_what_a_search_for_the_edge_does_not() -> None:
    """An island of stability above the edge is met by some units, and by none without sentinels."""

    class Island(World):
        def answer(self, trial):  # type: ignore[no-untyped-def]  # noqa: ANN001, ANN202
            inside = 1.2 < trial.lr / self.edge(trial) * 0.5 < 4
            return World(lambda other: 1e9 if inside else self.edge(other)).answer(trial)

    island = Island(scattered(lambda b: 0.01 * (b + 10), 0.1, 3))

    def num_misplaced(sentinels: float) -> int:
        spec = study(sentinels=sentinels, seeds=6)
        found = tabulate(follow(spec, island).found)
        return sum(edge.num_misplaced > 0 for edge in find_edges(found))

    assert num_misplaced(1) > num_misplaced(0)


def test_a_precision_adds_seeds_until_it_is_reached() -> None:
    """Seeds are added to all batch sizes alike; the interval's width ends it, or max_seeds."""
    sizes = tuple(2**i for i in range(10))
    world = World(scattered(lambda b: 0.004 * b**0.9, 0.15, 1))

    def num_seeds(precision: float) -> tuple[int, int]:
        spec = study(seeds=2, sizes=sizes, precision=precision, max_seeds=4)
        found = tabulate(follow(spec, world).found)
        counts = found.groupby("batch_size")["seed"].nunique()
        return int(counts.min()), int(counts.max())

    assert num_seeds(0.5) == (2, 2)
    assert num_seeds(0.001) == (4, 4)


def test_a_grid_that_becomes_a_bisection_uses_the_rows_it_has() -> None:
    """From a finished grid a bisection of its resolution asks for sentinels at most; and back."""
    bisected = study(1.2, sentinels=0)
    grid = bisected.model_copy(update={"search": "grid"})
    world = World(scattered(lambda b: 0.02 * b**0.7, 0.15, 8))
    rows = tuple(world.answer(trial) for trial in all_trials(grid))

    check_extends(grid, bisected)
    check_extends(bisected, grid)
    assert Search(bisected, PackLimits(), rows).next_packs() == ()
    searched = follow(bisected, world)
    rest = plan_packs(grid, searched.ids)
    missing = sum(pack.num_trials for pack in rest)
    assert missing == len(all_trials(grid)) - len(
        searched.ids & {t.trial_id for t in all_trials(grid)}
    )
    assert missing > 0.75 * len(all_trials(grid))


def test_a_grid_is_asked_once() -> None:
    """The same protocol: all packs at first, nothing more while they fly or when they are back."""
    grid = study().model_copy(update={"search": "grid"})
    search = Search(grid, PackLimits(max_trials_per_pack=50))

    packs = search.next_packs()

    assert packs == plan_packs(grid, max_trials_per_pack=50)
    assert search.next_packs((), [trial for pack in packs for trial in pack.trials]) == ()
    assert not search.learns


def test_failed_trials_are_not_asked_again_by_the_run_that_saw_them_fail() -> None:
    """A search goes around a trial that cannot be measured, and ends."""
    spec = study(seeds=1, sizes=(8,), sentinels=0)
    first = Search(spec).next_packs()[0].trials
    lost = tuple(measurement_of(trial, Verdict.FAILED) for trial in first)

    run = resume(Search(spec, PackLimits(), lost), World(lambda trial: 0.26))

    assert not run.ids & {item.trial_id for item in lost}
    (edge,) = find_edges(tabulate([*lost, *run.found]))
    assert edge.stable < 0.26 < edge.diverged < edge.stable * 1.5


def test_rows_of_a_run_tell_the_search_what_they_say() -> None:
    """Read from a table, a measurement is what it was made from; a failed pack's has no losses."""
    trial = all_trials(study())[0]
    made = measurement_of(trial, Verdict.STABLE, 2.3, 0.1)
    frame = tabulate([made]).assign(trial_id=made.trial_id, initial_loss=2.4)

    assert read_measurements(frame) == (made,)
    bare = frame.drop(columns=["start_loss", "final_loss", "damping"])
    (read,) = read_measurements(pd.DataFrame(bare))
    assert (read.start_loss, math.isnan(read.final_loss), read.damping) == (2.4, True, None)
    assert replace(read, start_loss=0.0, final_loss=0.0) == replace(
        made, start_loss=0.0, final_loss=0.0
    )


def test_every_place_waits_for_places_that_begin_before_it() -> None:
    """The order along the places has one root, no cycle, and few levels."""
    for num_places in range(1, 40):
        parents = list_parents(num_places)
        level: dict[int, int] = {}
        while len(level) < num_places:
            ready = [
                i for i in range(num_places) if i not in level and level.keys() >= set(parents[i])
            ]
            assert ready
            level |= {i: 1 + max((level[p] for p in parents[i]), default=0) for i in ready}
        assert [i for i in range(num_places) if not parents[i]] == [num_places // 2]
        assert max(level.values()) <= 4 + math.log2(num_places)
