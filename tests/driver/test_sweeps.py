"""Sweeps on a real local Ray, end to end: each trial once, with the rows of training without."""

from collections.abc import Callable

import pandas as pd
import pytest
import torch

from analysis.edges import find_edges
from analysis.results import read_results
from scaling_sweep import running
from scaling_sweep.errors import UserError
from scaling_sweep.planning import PackLimits, Search, read_measurements
from scaling_sweep.rows import rows_of_result
from scaling_sweep.running import run_sweep
from scaling_sweep.tasks.loading import load_task
from scaling_sweep.training.pack import train_pack
from tests.driver.cases import Study, assert_same_rows
from tests.run_cases import Silent

# Ray warns of its own future; what it says is not ours to mend.
pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


def test_a_sweep_runs_from_file_to_table_once(
    run: Callable[[], tuple[int, int]], study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What came through Ray equals training right here; again, nothing starts; changed, refused.

    The metadata say how many copies fit into memory, and still do when nothing is left to train.
    With a batch size and a seed more only the new trials run, and all else stays to the last bit.
    """
    assert run() == (3, 0)

    decided = study.memory()
    assert decided["basis"] == "a guess from one forward pass"
    assert len(decided["packs"]) == 3
    table = study.table()
    assert_same_rows(table, study.expected())
    assert set(table["verdict"]) == {"stable", "diverged"}
    assert len(pd.read_parquet(study.out / "curves.parquet")) == 18

    def no_ray(cluster: str, **_: object) -> None:
        raise AssertionError("Ray was started for nothing")

    with monkeypatch.context() as patched:
        patched.setattr(running, "connected", no_ray)
        assert run() == (0, 18)
        assert study.table().equals(table)
        assert study.memory() == decided
        stored = read_results(study.out / "results.parquet", {}).environment
        assert stored is not None
        assert stored["memory"] == decided

        study.rewrite("steps: 20", "steps: 30")
        with pytest.raises(UserError, match=r"^horizon was 20 steps, now 30 steps"):
            run()
        assert study.table().equals(table)

    before = {part.name: part.read_bytes() for part in (study.out / "parts").iterdir()}
    study.rewrite("steps: 30", "steps: 20")
    study.rewrite("[8, 16, 64]", "[8, 16, 32, 64]")
    study.rewrite("seeds: 2", "seeds: 3")
    # 3 lrs × (3 new seeds at the new size; 1 new seed at each of the others).
    assert run() == (4, 18)
    after = {part.name: part.read_bytes() for part in (study.out / "parts").iterdir()}
    assert before.items() <= after.items()
    assert len(after) == 7
    assert_same_rows(study.table(), study.expected())


@pytest.mark.usefixtures("_on_one_ray")
def test_a_bisection_asks_as_packs_return_and_is_finished_once(study: Study) -> None:
    """On Ray the search asks for the trials it asks for in this process; again, for none."""
    study.rewrite("lr: {values: [0.01, 0.1, 1.0e+10]}", "lr: {min: 0.02, max: 4, per_octave: 2}")
    study.rewrite("engine: vmap", "engine: vmap\nsearch: {bisect: {resolution: 1.5}}")
    torch.set_num_threads(1)
    spec = study.load().spec
    task = load_task(spec.task.name, spec.task.args, (str(study.path.parent),))
    search, here = Search(spec, PackLimits(task.num_examples)), []
    while packs := search.next_packs(read_measurements(pd.concat(here)) if here else ()):
        here += [rows_of_result(train_pack(pack, spec, task)).results for pack in packs]

    assert run_sweep(study.load(), study.out, "local", Silent()).complete

    assert_same_rows(study.table(), pd.concat(here))
    edges = find_edges(study.table())
    assert len(edges) == 6
    assert all(1 < edge.diverged / edge.stable <= 1.5 for edge in edges)
    again = Silent()
    assert run_sweep(study.load(), study.out, "local", again).complete
    assert again.planned == [(0, len(study.table()))]


@pytest.mark.usefixtures("_on_one_worker")
def test_trained_starts_are_made_once_and_shared(
    run: Callable[[], tuple[int, int]], study: Study
) -> None:
    """Trials begin where the recipe ends; more seeds add their starts and keep the others."""
    study.rewrite(
        "engine: vmap",
        "engine: vmap\nstart: {steps: 30, optimizer: sgd, lr: 0.05, batch_size: 16}",
    )
    run()
    starts = {path: path.read_bytes() for path in study.out.rglob("seed-*.pt")}
    assert len(starts) == 2
    assert_same_rows(study.table(), study.expected())
    assert (study.table()["start_loss"] < 0.5 * study.table()["initial_loss"]).all()

    study.rewrite("seeds: 2", "seeds: 3")
    assert run() == (3, 18)
    after = {path: path.read_bytes() for path in study.out.rglob("seed-*.pt")}
    assert starts.items() <= after.items()
    assert len(after) == 3


def test_a_start_that_diverges_is_one_line(
    run: Callable[[], tuple[int, int]], study: Study
) -> None:
    """A recipe that blows up is said once, not once per trial, and leaves no start behind."""
    study.rewrite(
        "engine: vmap",
        "engine: vmap\nstart: {steps: 30, optimizer: sgd, lr: 1.0e+10, batch_size: 16}",
    )

    with pytest.raises(UserError, match="start: the recipe diverged for seed 0"):
        run()
    assert not list(study.out.rglob("seed-*.pt"))


def test_a_pack_larger_than_the_cluster_is_one_line(
    run: Callable[[], tuple[int, int]], study: Study
) -> None:
    """Asking for more cores than there are is said, not waited for."""
    study.rewrite("engine: vmap", "engine: vmap\nresources: {cpus: 1000}")

    with pytest.raises(UserError, match="a pack asks for 1000 CPUs"):
        run()
