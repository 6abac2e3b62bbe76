"""Packs planned for the memory that there is: how many copies fit, and nothing else changes."""

import pytest

from scaling_sweep.planning import (
    Basis,
    MemoryLaw,
    MemoryRoom,
    Pack,
    PackLimits,
    Search,
    most_together,
    plan_packs,
)
from tests.planning.conftest import MakeStudy
from tests.planning.worlds import World, resume

# A copy takes 10 bytes and 1 more for each example, beside 100 whatever the pack.
LAW = MemoryLaw(100, 0, 12, 10, 1, 0)


def room(num_bytes: int, micro_batch: int | None = None) -> MemoryRoom:
    """Return room for packs of sgd and adam, which takes three times as much."""
    adam = MemoryLaw(100, 0, 36, 30, 3, 0)
    return MemoryRoom(num_bytes, {"sgd": LAW, "adam": adam}, Basis.MEASURED, micro_batch)


def test_the_largest_that_fits_does_and_one_more_does_not() -> None:
    """The inverse of the law agrees with the law, in copies and in examples."""
    law = MemoryLaw(1000, 7, 300, 200, 11, 2)
    space = 50_000
    copies, batch = law.most_copies(space, 20), law.largest_batch(space)

    assert law.peak(copies, 20) <= space < law.peak(copies + 1, 20)
    assert law.peak(1, batch) <= space < law.peak(1, batch + 1)
    assert law.largest_batch(500) == 0


def test_no_planned_pack_takes_more_than_there_is(study: MakeStudy) -> None:
    """Every pack of a grid fits by its own optimizer's law, and with one copy more would not."""
    spec, space = study(batch_sizes=[1, 8, 64]), room(1000)
    packs = plan_packs(spec, room=space)

    def peak(pack: Pack, more: int = 0) -> int:
        law = space.laws[pack.optimizer.label]
        return law.peak(pack.num_trials + more, pack.batch_size)

    assert {peak(pack) <= 1000 for pack in packs} == {True}
    assert len(packs) > len(plan_packs(spec))
    # Chunks are even, so only those of a group that was just filled show that none is too small.
    assert any(peak(pack, 1) > 1000 for pack in packs)


def test_the_trials_are_the_same_in_smaller_packs(study: MakeStudy) -> None:
    """Memory changes how trials are stacked, never which ones there are or what they are called."""
    spec = study(batch_sizes=[1, 8, 64])

    def names(packs: tuple[Pack, ...]) -> list[str]:
        return sorted(trial.trial_id for pack in packs for trial in pack.trials)

    assert names(plan_packs(spec, room=room(400))) == names(plan_packs(spec))


def test_where_there_is_room_packs_are_as_without_looking(study: MakeStudy) -> None:
    """A limit that nothing reaches leaves the plan as it was, pack by pack."""
    spec = study(batch_sizes=[1, 8, 64])

    assert plan_packs(spec, room=room(10**9)) == plan_packs(spec)


def test_a_trial_that_does_not_fit_is_planned_alone(study: MakeStudy) -> None:
    """Whoever is too large says so when it is trained, as one copy."""
    packs = plan_packs(study(batch_sizes=[64]), room=room(120))

    assert {pack.num_trials for pack in packs} == {1}


def test_portions_of_a_batch_count_where_a_batch_is_cut() -> None:
    """With micro-batches of 8 a batch of 64 has the activations of one of 8."""
    cut = room(1000, micro_batch=8)

    assert cut.most_copies("sgd", 64) == room(1000).most_copies("sgd", 8) == 900 // 18
    assert cut.most_copies("sgd", 4) == room(1000).most_copies("sgd", 4)


def test_inputs_count_for_the_whole_of_a_batch_that_is_cut() -> None:
    """Inputs of 2 bytes lie there for all 64 examples, activations of 20 for 8 of them."""
    law = MemoryLaw(fixed=100, fixed_per_example=0, least_per_copy=12, per_copy=10,
                    per_copy_example=20, drawn_per_example=2)  # fmt: skip
    cut = MemoryRoom(1000, {"sgd": law}, Basis.MEASURED, micro_batch=8)

    step = 10 + 8 * 20 + (64 - 8) * 2
    while_drawing = 10 + 3 * 64 * 2
    assert law.peak(1, 64, micro_batch=8) == 100 + max(step, while_drawing)
    assert cut.most_copies("sgd", 64) == 900 // while_drawing
    assert cut.most_copies("sgd", 16) == 900 // (10 + 8 * 20 + 8 * 2)
    assert law.most_copies(1000, 8, micro_batch=8) == law.most_copies(1000, 8)


@pytest.mark.parametrize("num_bytes", [150, 400, 10**9])
def test_a_search_asks_for_the_same_trials_in_smaller_packs(
    num_bytes: int, study: MakeStudy
) -> None:
    """A bisection under any limit ends with the same trials, in packs that fit."""
    grid = {"min": 2**-6, "max": 4, "per_octave": 4}
    spec = study(lrs=grid, search={"bisect": {"resolution": 1.2}}, seeds=6)
    world = World(lambda trial: 0.2)
    free = resume(Search(spec, PackLimits()), world)
    bound = resume(Search(spec, PackLimits(room=room(num_bytes))), world)

    assert {item.trial_id for item in bound.found} == {item.trial_id for item in free.found}
    most = room(num_bytes).most_copies
    assert all(
        pack.num_trials <= max(1, most(pack.optimizer.label, pack.batch_size))
        for pack in bound.packs
    )


def test_sizes_are_listed_by_optimizer_and_batch_size() -> None:
    """What a person is shown and what the metadata keep is what the planner uses."""
    sizes = room(1000).sizes([1, 64])

    assert [(size.optimizer, size.batch_size) for size in sizes] == [
        ("sgd", 1),
        ("sgd", 64),
        ("adam", 1),
        ("adam", 64),
    ]
    assert [size.most_copies for size in sizes] == [900 // 12, 900 // 74, 900 // 36, 900 // 222]
    assert room(1000).holds(4, [1, 64])
    assert not room(1000).holds(5, [1, 64])


def test_no_pack_is_expected_to_be_larger_than_its_group(study: MakeStudy) -> None:
    """On a grid the most that can train together is what a plan without limits has."""
    spec = study(batch_sizes=[8], seeds=3)
    largest = max(pack.num_trials for pack in plan_packs(spec))

    assert most_together(spec, 1000) == largest
    assert most_together(spec, 2) == 2
