"""What plan says of a task whose examples are many tokens."""

import pytest

from scaling_sweep.previewing import Preview


def preview_of(tokens_per_example: int) -> str:
    """Return a plan as people read it."""
    return Preview(
        name="p",
        optimizers=("sgd",),
        batch_sizes=(2, 64),
        searched="lr",
        num_lrs=(3,),
        dampings=None,
        num_seeds=1,
        num_done=0,
        num_packs=1,
        num_trials=6,
        num_steps=600,
        num_examples=19_800,
        num_workers=1,
        wall_time_s=1.0,
        trials_per_pack=3,
        search="grid",
        forecasts=(),
        price=None,
        on_gpus=False,
        tokens_per_example=tokens_per_example,
    ).text()


@pytest.mark.parametrize(("tokens", "line"), [(1, None), (32, "64, 2,048 (32 in an example)")])
def test_batch_sizes_are_shown_in_tokens_where_examples_are_many(
    tokens: int, line: str | None
) -> None:
    """A batch of B sequences is B times as many tokens; nothing is said of plain examples."""
    lines = [row for row in preview_of(tokens).splitlines() if row.startswith("in tokens")]

    assert [row.removeprefix("in tokens").strip() for row in lines] == ([line] if line else [])
