"""The randomness contract: what a trial's start and batches depend on, and what they do not."""

from dataclasses import replace

import pytest
import torch

from scaling_sweep.planning import Pack, plan_packs
from scaling_sweep.tasks.digits import digits_mlp
from scaling_sweep.training.pack import initial_model, make_batches, train_pack
from scaling_sweep.training.randomness import call_seeded, derive_seed, make_generator
from tests.training.cases import (
    NUM_EXAMPLES,
    SpyDataset,
    by_trial,
    features,
    make_spec,
    measurement,
    mixed_packs,
    net_task,
    only_pack,
    spied_task,
    train_all,
    train_only,
)

both_engines = pytest.mark.parametrize("engine", ["vmap", "loop"])
CPU = torch.device("cpu")


@both_engines
@pytest.mark.parametrize("sampling", ["replacement", "epoch"])
@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_a_trial_is_the_same_in_any_pack(engine: str, sampling: str, optimizer: str) -> None:
    """Other pack-mates, another size and another order leave every number as it was, to the bit."""
    spec = make_spec([optimizer], lrs=(0.01, 0.05, 0.2), seeds=3, engine=engine, sampling=sampling)
    task = net_task()
    pack = only_pack(spec, task)
    expected = by_trial(train_pack(pack, spec, task))

    for mixed in mixed_packs(pack):
        actual = by_trial(train_pack(mixed, spec, task))
        assert actual == {trial.trial_id: expected[trial.trial_id] for trial in mixed.trials}


@both_engines
def test_a_trial_is_the_same_alone(engine: str) -> None:
    """Alone a trial sees the same losses; stacked products of one may round otherwise."""
    spec, task = make_spec(lrs=(0.01, 0.05, 0.2), engine=engine), net_task()
    pack = only_pack(spec, task)
    expected = by_trial(train_pack(pack, spec, task))

    for trial in pack.trials:
        (alone,) = train_pack(Pack((trial,), pack.num_steps), spec, task).records
        together = expected[trial.trial_id]
        if engine == "loop":
            assert measurement(alone) == together
        assert alone.verdict == together.verdict
        assert alone.final_loss == pytest.approx(together.final_loss, rel=1e-5)
        assert alone.curve_losses == pytest.approx(together.curve_losses, rel=1e-5)


def test_both_engines_tell_the_same_story() -> None:
    """Same starts and batches: losses agree to rounding, verdicts entirely."""
    lrs = (1e-3, 0.05, 0.2, 50.0, 1e20)
    task = net_task()
    vmap, loop = (
        by_trial(train_only(make_spec(lrs=lrs, engine=engine), task)) for engine in ("vmap", "loop")
    )

    assert {record.verdict for record in vmap.values()} == {"stable", "diverged"}
    for trial_id, record in vmap.items():
        other = loop[trial_id]
        assert record.verdict == other.verdict
        assert record.initial_loss == pytest.approx(other.initial_loss, rel=1e-6)
        # Beyond the edge rounding grows with the loss; what matters there is that it blew up.
        if record.verdict == "stable" or record.final_loss < record.initial_loss:
            assert record.final_loss == pytest.approx(other.final_loss, rel=1e-5)
            assert record.peak_loss == pytest.approx(other.peak_loss, rel=1e-5)
            assert record.min_loss == pytest.approx(other.min_loss, rel=1e-5)


def test_trials_of_a_seed_share_their_data_at_every_lr() -> None:
    """At each step all learning rates of a seed train on the same examples, other seeds on others.

    The loss itself writes down which examples it was given.
    """
    task, spy = spied_task()
    spec = make_spec(lrs=(0.001, 0.01, 0.1), seeds=2, steps=10, engine="loop")
    train_only(spec, task)

    steps = [spy.seen[first : first + 6] for first in range(0, len(spy.seen), 6)]
    assert len(steps) == 10
    for first, *rest in steps:
        assert rest[:2] == [first] * 2
        assert rest[2] != first
        assert rest[3:] == [rest[2]] * 2


@both_engines
@pytest.mark.parametrize("sampling", ["replacement", "epoch"])
def test_batches_are_the_same_in_both_engines_and_forms_of_data(engine: str, sampling: str) -> None:
    """A dataset is asked, once per seed and step, for the examples that tensors would give."""
    inputs, targets = features()
    dataset = SpyDataset(inputs, targets)
    spec = make_spec(lrs=(0.001, 0.01), seeds=2, steps=20, engine=engine, sampling=sampling)
    tensors = net_task()
    result = train_only(spec, replace(tensors, inputs=None, targets=None, dataset=dataset))
    asked = torch.tensor(dataset.seen[-2 * 20 * 8 :]).view(20, 2, 8)

    batches = make_batches(tensors, spec, [0, 1], 8, CPU)
    for step in range(20):
        expected_inputs, expected_targets = batches.draw([0, 1])
        assert torch.equal(inputs[asked[step]], expected_inputs)
        assert torch.equal(targets[asked[step]], expected_targets)
    assert by_trial(result) == by_trial(train_only(spec, tensors))


def test_batches_depend_on_sweep_seed_seed_and_batch_size() -> None:
    """Each of the three changes the examples drawn; asking twice does not."""
    task = net_task()

    def first_inputs(sweep_seed: int, seed: int, batch_size: int) -> list[float]:
        spec = make_spec(sweep_seed=sweep_seed)
        return make_batches(task, spec, [seed], batch_size, CPU).draw([seed])[0].flatten().tolist()

    streams = [(0, 0, 8), (1, 0, 8), (0, 1, 8), (0, 0, 16)]
    drawn = [first_inputs(*stream) for stream in streams]

    assert drawn == [first_inputs(*stream) for stream in streams]
    assert len({tuple(batch[: 8 * 4]) for batch in drawn}) == len(streams)


def test_the_untrained_model_depends_on_sweep_seed_and_seed_only() -> None:
    """Optimizer, batch size, lr, horizon and sampling leave it as it is; either seed changes it."""
    task = net_task()

    def weights(seed: int, **changes: object) -> list[float]:
        model = initial_model(task, make_spec(**changes), seed)
        return torch.nn.utils.parameters_to_vector(model.parameters()).tolist()

    expected = weights(0)
    for changes in (
        {"optimizers": ["adam"]},
        {"batch_sizes": [1]},
        {"lrs": [7.0]},
        {"steps": 3},
        {"sampling": "epoch"},
    ):
        assert weights(0, **changes) == expected
    assert weights(1) != expected
    assert weights(0, sweep_seed=1) != expected
    assert weights(1, sweep_seed=1) != weights(1)


def test_the_initial_loss_of_a_seed_is_one_number_in_the_whole_sweep() -> None:
    """Whatever optimizer, batch size and lr: one initial loss per seed."""
    spec = make_spec(["sgd", "adam"], batch_sizes=(1, 8, 96), seeds=3, steps=2, engine="loop")
    task = net_task()
    packs = plan_packs(spec, num_examples=NUM_EXAMPLES)
    seeds = {trial.trial_id: trial.seed for pack in packs for trial in pack.trials}
    found: dict[int, set[float]] = {}
    for trial_id, record in by_trial(*train_all(spec, task)).items():
        found.setdefault(seeds[trial_id], set()).add(record.initial_loss)

    assert {len(losses) for losses in found.values()} == {1}
    assert len(set.union(*found.values())) == 3


@both_engines
def test_the_global_generator_neither_matters_nor_moves(engine: str) -> None:
    """Training gives the same whatever drew from torch before, and leaves its generator alone."""
    spec, task = make_spec(engine=engine), net_task()
    torch.manual_seed(1)
    first = by_trial(train_only(spec, task))
    torch.manual_seed(2)
    before = torch.get_rng_state()
    second = by_trial(train_only(spec, task))

    assert first == second
    assert torch.equal(torch.get_rng_state(), before)


def test_a_seed_that_is_left_out_changes_no_other_seed() -> None:
    """When all trials of a seed have diverged, the others' batches go on as they would have."""
    task, spec = net_task(), make_spec()
    all_along = make_batches(task, spec, [0, 1], 8, CPU)
    left = make_batches(task, spec, [0, 1], 8, CPU)
    for step in range(6):
        expected = all_along.draw([0, 1])[0][1]
        actual = left.draw([0, 1] if step < 3 else [1])[0][-1]
        assert torch.equal(actual, expected)


def test_streams_have_names_not_places() -> None:
    """A stream's numbers are those of its name on every machine: changing them is a new version."""
    # Golden numbers, from blake2b of the name; stored results were drawn from them.
    assert derive_seed(0, 0, "start") == 9_052_480_603_577_791_645
    assert derive_seed(0, 0, 8, "batches") == 1_719_828_855_423_644_389
    assert torch.randint(1000, (3,), generator=make_generator(0, 0, 8, "batches")).tolist() == [
        129,
        115,
        833,
    ]


def test_names_that_read_alike_are_different_streams() -> None:
    """Parts are kept apart: (1, 11) is not (11, 1), nor (111,)."""
    names = [(1, 11), (11, 1), (111,), (1, 1, 1), (1, "11", ""), ("", 1, 11)]

    assert len({derive_seed(*name) for name in names}) == len(names)


def test_calling_seeded_repeats_itself() -> None:
    """A function of the global generator becomes a function of the stream's name."""
    first, second, other = (
        call_seeded(lambda: torch.rand(3), *name) for name in [(0, 1), (0, 1), (0, 2)]
    )

    assert torch.equal(first, second)
    assert not torch.equal(first, other)


@pytest.mark.slow
def test_digits_are_the_same_in_any_pack() -> None:
    """The contract holds to the bit for the network of the main study too, through divergence."""
    task = digits_mlp()
    spec = make_spec(batch_sizes=(16,), lrs=(0.01, 0.3, 2.0, 1e10), seeds=3, steps=60)
    spec = spec.model_copy(update={"engine": "vmap"})
    pack = only_pack(spec, task)
    expected = by_trial(train_pack(pack, spec, task))

    assert {record.steps_run < 60 for record in expected.values()} == {True, False}
    for mixed in mixed_packs(pack):
        for trial_id, record in by_trial(train_pack(mixed, spec, task)).items():
            # How soon a dead copy is dropped depends on how many died, nothing else does.
            together = expected[trial_id]
            assert record.verdict == together.verdict
            assert record.final_loss == together.final_loss
            assert record.peak_loss == together.peak_loss
            assert record.first_nonfinite_step == together.first_nonfinite_step
