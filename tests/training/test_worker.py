"""A worker that trains a slice at a time, so that it can be told to stop."""

from dataclasses import replace

import pytest

from scaling_sweep.planning import plan_packs
from scaling_sweep.training import pack as pack_module
from scaling_sweep.training.pack import train_gradually, train_pack
from scaling_sweep.training.worker import PackWorker
from tests.run_cases import tiny_sweep
from tests.training.cases import by_trial, make_spec, net_task, only_pack


def test_training_in_slices_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Giving the word back after every step changes no number, and happens as often as it says."""
    task, spec = net_task(), make_spec(engine="vmap", steps=20)
    pack = only_pack(spec, task)
    expected = by_trial(train_pack(pack, spec, task))
    monkeypatch.setattr(pack_module, "_SLICE_S", -1.0)

    training, steps = train_gradually(pack, spec, task), []
    try:
        while True:
            steps.append(next(training))
    except StopIteration as finished:
        result = finished.value

    assert steps == list(range(1, 21))
    assert by_trial(result) == expected


def test_a_worker_trains_one_pack_after_the_other() -> None:
    """What a worker leaves behind depends on the pack alone, not on those it trained before."""
    sweep = tiny_sweep({"seeds: 2": "seeds: 2\nengine: vmap"})
    first, second = plan_packs(sweep.spec, num_examples=1797)
    found = []
    for order in ((first, second), (second, first)):
        worker, records = PackWorker(sweep.spec, (), {}), {}
        for pack in order:
            worker.begin(pack)
            while (result := worker.advance()) is None:
                pass
            assert result.pack == pack
            records |= by_trial(replace(result, wall_time_s=0.0))
        found.append(records)

    assert found[0] == found[1]
    assert len(found[0]) == 16
