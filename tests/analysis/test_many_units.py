"""What is computed for all units at once, held against what is computed one by one."""

import numpy as np
import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from analysis.edges import bracket_edge, find_edges
from analysis.optimal.bowls import find_bottom
from analysis.optimal.estimates import collect_bowl
from analysis.simulate_bowls import BowlDesign, simulate_bowls

VERDICTS = st.lists(st.sampled_from(["stable", "diverged"]), min_size=1, max_size=9)


@settings(max_examples=200, derandomize=True, deadline=None, database=None)
@given(st.lists(VERDICTS, min_size=1, max_size=5))
def test_edges_of_a_table_are_those_of_its_units(outcomes: list[list[str]]) -> None:
    """Any pattern of verdicts gives every seed the bracket that its own trials give alone."""
    rows = [
        {"batch_size": 8, "seed": seed, "lr": 2.0**place, "verdict": verdict}
        for seed, unit in enumerate(outcomes)
        # Without a stable trial, or with one above a diverged one, some are only too slow.
        for place, verdict in enumerate(["stable", *unit])
    ]
    found = find_edges(pd.DataFrame(rows).sample(frac=1, random_state=0))

    for edge, unit in zip(found, outcomes, strict=True):
        diverged = np.array([False, *(verdict == "diverged" for verdict in unit)])
        expected = bracket_edge(2.0 ** np.arange(diverged.size), diverged)
        assert (edge.stable, edge.diverged, edge.num_misplaced) == expected


def test_many_seeds_are_left_out_in_groups() -> None:
    """With 200 seeds the best learning rate keeps an interval that holds the truth, narrowly."""
    design = BowlDesign(batch_sizes=(8,), num_seeds=200)
    table = simulate_bowls(lambda b: 0.01 * b, design, np.random.default_rng(1))
    bottom = find_bottom(collect_bowl(table))

    # The interpolation is biased by up to 2 % (analysis/optimal/bowls.py), which 200 seeds can see.
    assert bottom.low - 0.02 < np.log(0.08) < bottom.high + 0.02
    assert bottom.high - bottom.low < 0.1
