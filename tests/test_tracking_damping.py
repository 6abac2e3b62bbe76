"""What W&B is told of a group that searched the damping."""

import numpy as np
import pytest

from analysis.groups import fit_results
from analysis.results import Results
from analysis.simulate import Design, simulate_damping_table
from analysis.tables import normalize_table
from scaling_sweep.tracking.findings import chart_edges, find_findings


@pytest.fixture(scope="module")
def results() -> Results:
    """Return a table with damping = 0.3 lr/B at two learning rates."""
    rng = np.random.default_rng(0)
    table = simulate_damping_table(lambda lr, b: 0.3 * lr / b, (0.1, 0.4), Design(), rng)
    return Results(normalize_table(table, "x", {}).frame, "x")


def test_edges_are_sent_as_dampings(results: Results) -> None:
    """The table of edges has the learning rate and the smallest stable damping near the truth."""
    [findings] = find_findings(fit_results(results), results, None)

    edges = next(table for table in findings.tables if table.name == "tables/edges")
    rows = [dict(zip(edges.columns, row, strict=True)) for row in edges.rows]
    assert len(rows) == 20
    for row in rows:
        assert row["damping_min"] == pytest.approx(0.3 * row["lr"] / row["batch_size"], rel=0.3)
        assert row["damping_min_low"] < row["damping_min"] < row["damping_min_high"]
        assert row["damping_diverged"] < row["damping_stable"]
    trials = next(table for table in findings.tables if table.name == "tables/trials")
    assert "damping" in trials.columns


def test_the_chart_has_a_line_for_each_learning_rate(results: Results) -> None:
    """Measured lines over log2(lr/B) climb by about log10(2) per doubling."""
    [group] = fit_results(results).groups
    chart = chart_edges(group)

    measured = {line.label: line for line in chart.lines if line.label.startswith("measured")}
    assert list(measured) == ["measured, lr 0.1", "measured, lr 0.4"]
    assert "smallest stable damping against log2 of lr/B" in chart.title
    for line in measured.values():
        slope = np.polyfit(line.x, line.y, 1)[0]
        assert slope == pytest.approx(np.log10(2), rel=0.05)
