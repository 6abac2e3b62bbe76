"""A sweep of damping from its file to its rows: what is said before, meanwhile and after."""

from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from analysis.axes import AXES
from scaling_sweep.cli.predictions import prediction_json, show_prediction
from scaling_sweep.planning import all_trials
from scaling_sweep.predicting import SweepPrediction, predict_sweep
from scaling_sweep.previewing import preview
from scaling_sweep.progress import read_status
from scaling_sweep.rows import rows_of_result
from scaling_sweep.running import run_sweep
from scaling_sweep.spec import parse_sweep
from scaling_sweep.store import RunFolder
from tests.run_cases import Silent, damped_sweep, made_up_result, tiny_packs, tiny_sweep

SECTION = "curvature: {points: [init], seeds: 1, num_examples: 64, max_products: 20, probes: 2}\n"

# Far above the gradients, eps makes RMSprop SGD with learning rate lr/eps, and the edge of that is
# known: 2B / (B + d + 1).
KNOWN = """\
# Is the smallest stable damping lr (B + d + 1) / (2B)?
name: known
task: {name: least_squares, args: {dim: 32}}
parameters:
  optimizer: {values: [rmsprop]}
  batch_size: {values: [4, 64]}
  lr: {values: [1.0e+5, 1.6e+6]}
  damping: {min: 6.5e+4, max: 1.4e+7, per_octave: 1}
seeds: 2
horizon: {steps: 300}
stability: {max_loss_ratio: 1.0}
"""


def test_a_plan_says_which_axis_is_searched(tmp_path: Path) -> None:
    """Settings and searched values stand apart, and all of them are counted."""
    damped, plain = preview(damped_sweep(), tmp_path, 1), preview(tiny_sweep(), tmp_path, 1)

    assert damped.num_trials == 2 * 2 * 2 * 2
    assert f"searched        the {AXES['damping'].edge}" in damped.text()
    assert "learning rates  adam: 2\n" in damped.text()
    assert "dampings        adam: 2 from 0.01 to 1\n" in damped.text()
    assert f"searched        the {AXES['lr'].edge}" in plain.text()
    assert "dampings" not in plain.text()


def test_a_status_says_which_axis_is_searched(tmp_path: Path) -> None:
    """It is read from the folder, with the counts of all dampings."""
    folder = RunFolder(tmp_path)
    with folder.opened():
        folder.write_bytes(folder.sweep, damped_sweep().text.encode())
        folder.write_part(rows_of_result(made_up_result(tiny_packs(damped_sweep())[0])))

    status = read_status(tmp_path)

    assert (status.searched, status.num_trials, status.num_left) == ("damping", 16, 8)
    assert f"searched: the {AXES['damping'].edge}" in status.text()


def test_a_prediction_says_that_theory_speaks_of_another_axis(tmp_path: Path) -> None:
    """LR_max is predicted all the same; one line says that it is not what the sweep searches."""
    line = "This sweep searches the damping; theory speaks of the learning rate only"

    found = predict_sweep(parse_sweep(damped_sweep().text + SECTION), tmp_path)

    assert line in shown(found)
    assert line not in shown(replace(found, searched="lr"))
    assert "LR_max from curvature at init" in shown(found)
    assert prediction_json(found)["searched"] == "damping"


def shown(found: SweepPrediction) -> str:
    """Return what people see of a prediction."""
    text = StringIO()
    show_prediction(found, Console(file=text, width=200))
    return text.getvalue()


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.filterwarnings("ignore")  # Ray warns of its own future
@pytest.mark.usefixtures("_on_one_worker")
def test_the_damping_that_keeps_least_squares_stable_is_the_known_one(tmp_path: Path) -> None:
    """A trial on a real Ray is stable if and only if lr/eps is below the edge of SGD."""
    sweep = parse_sweep(KNOWN, tmp_path / "known.yaml")

    table = run_sweep(sweep, tmp_path / "run", "local", Silent()).rows

    assert len(table) == len(all_trials(sweep.spec)) == 2 * 2 * 8 * 2
    assert set(table["optimizer"]) == {"rmsprop"}
    edge = 2 * table["batch_size"] / (table["batch_size"] + 32 + 1)
    stable = table["lr"] / table["damping"] < edge
    assert table["verdict"].tolist() == stable.map({True: "stable", False: "diverged"}).tolist()
