"""Left to itself the tool compiles once that could have paid, and only if it is faster then."""

from collections.abc import Mapping

import pytest
from torch import Tensor

from scaling_sweep.training import choosing
from scaling_sweep.training.compiled import CompiledEngine
from scaling_sweep.training.copies import Copies
from scaling_sweep.training.earning import Earnings
from scaling_sweep.training.recording import Playback
from tests.training.cases import make_spec, net_task, train_only

STEPS = 24


def stacked_step(
    engine: CompiledEngine,
    copies: Copies,
    inputs: Tensor,
    targets: Tensor,
    noise_seeds: list[int],
    number: int = 0,
) -> Tensor:
    """Take the step that a compiled graph would take, without compiling."""
    return engine._stacked.step(copies, inputs, targets, noise_seeds, number)


def failing_step(*args: object) -> Tensor:
    """Fail as where there is no C++ compiler."""
    raise RuntimeError("InvalidCxxCompiler: No working C++ compiler found")


def set_clock(monkeypatch: pytest.MonkeyPatch, seconds: Mapping[str, float]) -> None:
    """Let probes find those seconds a copy and step."""
    monkeypatch.setattr(
        choosing._Probe, "seconds_per_copy", lambda probe: seconds[probe._engine.name]
    )


def engines(packs: int) -> list[str]:
    """Train packs of one task and return what trained each."""
    task, spec = net_task(), make_spec(engine="auto", steps=STEPS)
    return [train_only(spec, task).engine for _ in range(packs)]


@pytest.mark.parametrize(
    ("compiled_s", "expected"), [(0.5, "compile"), (0.95, "vmap"), (1.5, "vmap")]
)
def test_it_compiles_once_its_price_was_lost_if_that_is_faster(
    compiled_s: float, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four copies might save a third of 4 s a step: the third pack reaches the price."""
    monkeypatch.setattr(choosing, "_EARNINGS", Earnings(price_s=2.5 * 4 * STEPS / 3))
    monkeypatch.setattr(CompiledEngine, "step", stacked_step)
    set_clock(monkeypatch, {"vmap": 1.0, "loop": 2.0, "compile": compiled_s})
    assert engines(4) == ["vmap", "vmap", expected, expected]


def test_what_does_not_compile_is_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody asked for a compiler, so its absence is no error and not looked into again."""
    tried = []

    def step(*args: object) -> Tensor:
        tried.append(1)
        return failing_step(*args)

    monkeypatch.setattr(choosing, "_EARNINGS", Earnings(price_s=0.0))
    monkeypatch.setattr(CompiledEngine, "step", step)
    set_clock(monkeypatch, {"vmap": 1.0, "loop": 2.0, "compile": 0.5})
    assert engines(3) == ["vmap"] * 3
    assert len(tried) == 1


def test_products_cannot_be_spared(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pack whose time is all matrix products never compiles, however long it takes."""
    monkeypatch.setattr(choosing, "_EARNINGS", Earnings(price_s=1.0))
    monkeypatch.setattr(CompiledEngine, "step", failing_step)
    monkeypatch.setattr(Playback, "seconds_of_products", 4.0)
    set_clock(monkeypatch, {"vmap": 1.0, "loop": 2.0, "compile": 0.5})
    assert engines(3) == ["vmap"] * 3
