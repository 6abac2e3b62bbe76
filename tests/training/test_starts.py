"""Trained starts: one per seed by a fixed recipe, shared, stored, and refused when they blow up."""

from collections.abc import Mapping

import pytest
import torch
from torch import Tensor, nn

from scaling_sweep.errors import UserError
from scaling_sweep.tasks.task import Task
from scaling_sweep.training.copies import Point
from scaling_sweep.training.randomness import derive_seed
from scaling_sweep.training.starts import dump_point, parse_point, train_starts
from tests.training.cases import (
    NUM_EXAMPLES,
    batchnorm_net,
    by_trial,
    dropout_net,
    make_spec,
    mixed_packs,
    net_task,
    only_pack,
    train_all,
    train_only,
)

RECIPE = {"steps": 30, "optimizer": "momentum", "lr": 0.02, "batch_size": 16}
both_engines = pytest.mark.parametrize("engine", ["vmap", "loop"])


def flat(point: Point) -> list[float]:
    """Return the weights of a point as one list."""
    return torch.cat([value.flatten() for value in point.params.values()]).tolist()


def train_recipe(task: Task, seed: int) -> tuple[nn.Module, torch.optim.Optimizer]:
    """Train the recipe for one seed as a textbook does."""
    with torch.random.fork_rng():
        torch.manual_seed(derive_seed(0, seed, "start"))
        model = task.make_model()
    generator = torch.Generator().manual_seed(derive_seed(0, seed, "start batches"))
    optimizer = torch.optim.SGD(model.parameters(), 0.02, momentum=0.9)
    for _ in range(30):
        index = torch.randint(NUM_EXAMPLES, (16,), generator=generator)
        optimizer.zero_grad()
        task.loss(model(task.inputs[index]), task.targets[index]).backward()
        optimizer.step()
    return model, optimizer


def continue_plainly(
    task: Task, model: nn.Module, optimizer: torch.optim.Optimizer, lr: float, seed: int
) -> float:
    """Train on with the batches of a trial at batch size 8, and return the final loss."""
    optimizer.param_groups[0]["lr"] = lr
    generator = torch.Generator().manual_seed(derive_seed(0, seed, 8, "batches"))
    for _ in range(24):
        index = torch.randint(NUM_EXAMPLES, (8,), generator=generator)
        optimizer.zero_grad()
        task.loss(model(task.inputs[index]), task.targets[index]).backward()
        optimizer.step()
    return task.loss(model(task.inputs), task.targets).item()


@both_engines
@pytest.mark.parametrize("make_model", [net_task().make_model, batchnorm_net])
def test_a_start_is_what_the_recipe_trains(engine: str, make_model: type[nn.Module]) -> None:
    """Weights, buffers and momentum equal those of a plain torch run of the recipe."""
    task = net_task(make_model)
    points = train_starts(make_spec(start=RECIPE, engine=engine), task, [0, 1])

    assert set(points) == {0, 1}
    for seed, point in points.items():
        model, optimizer = train_recipe(task, seed)
        expected = {name: value.detach() for name, value in model.named_parameters()}
        velocity = {
            name: optimizer.state[param]["momentum_buffer"]
            for name, param in model.named_parameters()
        }
        close = {"rtol": 1e-4, "atol": 1e-6}  # float32 over 30 steps
        torch.testing.assert_close(dict(point.params), expected, **close)
        torch.testing.assert_close(dict(point.buffers), dict(model.named_buffers()), **close)
        torch.testing.assert_close(dict(point.state["velocity"]), velocity, **close)


@both_engines
def test_trials_go_on_from_the_start_with_its_state_where_the_optimizer_is_its_own(
    engine: str,
) -> None:
    """Momentum trials keep the recipe's velocity; SGD trials and other momenta begin afresh."""
    task = net_task()
    own, other = "momentum", {"name": "momentum", "momentum": 0.5}
    spec = make_spec([own, "sgd", other], lrs=(0.01, 0.03), start=RECIPE, engine=engine)
    starts = train_starts(spec, task, [0, 1])

    for result in train_all(spec, task, starts=starts):
        for trial, record in zip(result.pack.trials, result.records, strict=True):
            model, optimizer = train_recipe(task, trial.seed)
            start_loss = task.loss(model(task.inputs), task.targets).item()
            if trial.optimizer.label != "momentum":
                momentum = trial.optimizer.hyperparameters.get("momentum", 0.0)
                optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=momentum)
            expected = continue_plainly(task, model, optimizer, trial.lr, trial.seed)

            assert record.start_loss == pytest.approx(start_loss, rel=1e-5)
            assert record.final_loss == pytest.approx(expected, rel=1e-4)
            assert record.start_loss < 0.5 * record.initial_loss


def test_all_trials_of_a_seed_begin_at_one_point() -> None:
    """One start loss per seed over all optimizers, batch sizes and lrs; initial losses as ever."""
    task = net_task()
    spec = make_spec(["sgd", "adam"], (1, 8, 32), start=RECIPE, steps=3, engine="loop")
    starts = train_starts(spec, task, [0, 1])
    results = train_all(spec, task, starts=starts)
    begun = train_all(make_spec(["sgd"], steps=1, engine="loop"), task)

    assert len({record.start_loss for record in by_trial(*results).values()}) == 2
    assert {record.initial_loss for record in by_trial(*results).values()} == {
        record.initial_loss for record in by_trial(*begun).values()
    }


def test_a_start_depends_on_nothing_but_recipe_and_seeds() -> None:
    """The sweep's axes leave it as it is; sweep seed, seed and recipe change it."""
    task = net_task()

    def start(
        seed: int = 0, recipe: Mapping[str, object] = RECIPE, **changes: object
    ) -> list[float]:
        spec = make_spec(start=recipe, engine="loop", **changes)
        return flat(train_starts(spec, task, [seed])[seed])

    expected = start()
    assert start(batch_sizes=(1,), lrs=(3.0,), optimizers=["adam"], steps=7) == expected
    assert start(seed=1) != expected
    assert start(sweep_seed=1) != expected
    assert start(recipe={**RECIPE, "steps": 29}) != expected
    assert start(recipe={**RECIPE, "batch_size": 8}) != expected


@both_engines
@pytest.mark.parametrize("make_model", [net_task().make_model, dropout_net])
def test_starts_trained_together_or_apart_are_the_same(
    engine: str, make_model: type[nn.Module]
) -> None:
    """More seeds may be added later: those trained before would come out the same."""
    if engine == "vmap" and make_model is dropout_net:
        engine = "auto"
    task, spec = net_task(make_model), make_spec(start=RECIPE, engine=engine)
    together = train_starts(spec, task, [0, 1, 2])
    pair = train_starts(spec, task, [2, 1])

    assert flat(pair[1]) == flat(together[1])
    assert flat(pair[2]) == flat(together[2])
    alone = train_starts(spec, task, [1])
    assert flat(alone[1]) == pytest.approx(flat(together[1]), rel=1e-4, abs=1e-6)


@both_engines
def test_a_trial_from_a_start_is_the_same_in_any_pack(engine: str) -> None:
    """The randomness contract holds from a trained point too."""
    task = net_task()
    spec = make_spec(["momentum"], lrs=(0.01, 0.03, 0.1), start=RECIPE, engine=engine)
    starts = train_starts(spec, task, [0, 1])
    pack = only_pack(spec, task)
    expected = by_trial(train_only(spec, task, starts=starts))
    from scaling_sweep.training.pack import train_pack

    for mixed in mixed_packs(pack):
        for trial_id, record in by_trial(train_pack(mixed, spec, task, starts)).items():
            assert record == expected[trial_id]


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "momentum"])
def test_a_point_survives_being_written(optimizer: str) -> None:
    """Written and read, a start is the same to the bit: weights, buffers and moments."""
    spec = make_spec(start={**RECIPE, "optimizer": optimizer})
    point = train_starts(spec, net_task(batchnorm_net), [0])[0]
    read = parse_point(dump_point(point))

    for actual, expected in (
        (read.params, point.params),
        (read.buffers, point.buffers),
        (read.state, point.state),
    ):
        torch.testing.assert_close(actual, expected, rtol=0, atol=0)


def test_a_point_that_holds_code_is_refused() -> None:
    """A start file is data: a pickle that would run something is not read, and one line says so."""
    import io
    import pickle

    buffer = io.BytesIO()
    torch.save({"params": {}, "buffers": {}, "state": print}, buffer)

    with pytest.raises(UserError, match="not one that this program wrote") as caught:
        parse_point(buffer.getvalue())
    assert isinstance(caught.value.__cause__, pickle.UnpicklingError)


@both_engines
def test_a_recipe_that_diverges_is_the_users_to_mend(engine: str) -> None:
    """A start that is not finite is refused in one line that says what to lower."""
    spec = make_spec(start={**RECIPE, "lr": 1e10}, engine=engine)

    with pytest.raises(UserError, match=r"start: the recipe diverged for seed 0 .*lower its lr"):
        train_starts(spec, net_task(lambda: nn.Linear(4, 1)), [0, 1])


def test_a_recipe_that_makes_things_worse_is_refused() -> None:
    """A finite but exploded start is no trained point either."""
    spec = make_spec(start={**RECIPE, "steps": 8, "lr": 3.0})

    with pytest.raises(UserError, match="start: the recipe diverged"):
        train_starts(spec, net_task(lambda: nn.Linear(4, 1)), [0])


def test_a_sweep_from_initialisation_has_no_starts() -> None:
    """Asking for them is a mistake of ours, not of the user."""
    with pytest.raises(ValueError, match="nothing to train"):
        train_starts(make_spec(), net_task(), [0])


def test_a_start_takes_epochs_where_the_sweep_does() -> None:
    """Sampling without replacement holds for the recipe too: an epoch of it sees each example."""
    from tests.training.cases import spied_task

    task, spy = spied_task()
    recipe = {"steps": 6, "optimizer": "sgd", "lr": 0.001, "batch_size": 16}
    train_starts(make_spec(start=recipe, sampling="epoch", engine="loop"), task, [0])

    seen: Tensor = torch.tensor(spy.seen).flatten()
    assert sorted(seen.tolist()) == list(range(NUM_EXAMPLES))
