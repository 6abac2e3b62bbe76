"""From a sweep file to predictions: measured once, kept, and right where the answer is known."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from analysis.curvature_table import Matrix, Quantity, read_curvature
from analysis.theory import Conditions, gaussian_curve
from scaling_sweep import measuring
from scaling_sweep.cli import main
from scaling_sweep.curvature_plan import MeasuringJob, plan_measuring, recipe_id
from scaling_sweep.errors import UserError
from scaling_sweep.measuring import choose_options
from scaling_sweep.predicting import SweepPrediction, predict_sweep
from scaling_sweep.spec import LoadedSweep, parse_sweep
from scaling_sweep.tasks.loading import load_task
from tests.run_cases import SWEEP

SECTION = """\
curvature:
  points: [init, 5]
  seeds: 2
  num_batches: 4
  probes: 2
  num_examples: 200
  noise_examples: 8
  max_products: 8
"""
KNOWN = """\
# What is known exactly?
name: known
task: {name: least_squares, args: {dim: 32}}
parameters:
  optimizer: {values: [sgd]}
  batch_size: {min: 1, max: 512, per_octave: 1}
  lr: {values: [0.1]}
seeds: 2
horizon: {steps: 10}
curvature: {points: [init], seeds: 1, num_examples: 20000, noise_examples: 4096}
"""


def tiny(text: str = SWEEP + SECTION, **replacements: str) -> LoadedSweep:
    """Return a small study with a section for curvature, parts of its text replaced."""
    for old, new in replacements.items():
        text = text.replace(old, new)
    return parse_sweep(text, Path("tiny.yaml"))


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> SweepPrediction:
    """Return the prediction for a tiny study with SGD and Adam."""
    return predict_sweep(tiny(sgd="sgd, adam"), tmp_path_factory.mktemp("run"))


def test_every_point_and_seed_is_measured_and_kept(found: SweepPrediction) -> None:
    """curvature.parquet reads back as the table that was predicted from."""
    table = read_curvature(found.path)

    assert found.num_new == 4
    assert table.points == ("init", "5 steps")
    assert table.seeds == (0, 1)
    assert table.optimizers == ("adam",)
    assert table.facts == found.table.facts
    assert table.facts.num_examples == 200
    assert len(table.numbers) == len(found.table.numbers)
    assert {row.matrix for row in table.spectra} == {Matrix.HESSIAN, Matrix.GGN}


def test_training_lowers_the_loss_between_the_points(found: SweepPrediction) -> None:
    """The short training's own learning rate trains: the second point lies lower."""
    losses = {
        (row.seed, row.point): row.value
        for row in found.table.numbers
        if row.quantity is Quantity.LOSS
    }

    assert all(losses[seed, "5 steps"] < losses[seed, "init"] for seed in (0, 1))


def test_both_optimizers_are_predicted(found: SweepPrediction) -> None:
    """SGD and Adam each have curves at both points, none of the other's."""
    sgd, adam = found.optimizers

    assert [at.point for at in sgd.points] == ["init", "5 steps"]
    names = {curve.name for at in adam.points for curve in at.prediction.curves}
    assert "Adam, surge" in names
    assert "measured λ₁ of batches" in names
    assert "Ma–Bassily–Belkin" in {curve.name for curve in sgd.points[1].prediction.curves}


def test_what_is_there_is_not_measured_again(found: SweepPrediction) -> None:
    """A second call reads; another recipe measures anew, more points only what is new."""
    again = predict_sweep(tiny(sgd="sgd, adam"), found.path.parent)
    longer = predict_sweep(
        tiny(sgd="sgd, adam", **{"[init, 5]": "[init, 3, 5]"}), found.path.parent
    )

    assert again.num_new == 0
    assert again.table.facts == found.table.facts
    assert longer.num_new == 2
    assert longer.table.points == ("init", "3 steps", "5 steps")


def test_the_recipe_knows_what_a_measurement_depends_on() -> None:
    """Points before the last and seeds do not change it; what is measured and how does."""
    same = tiny(**{"[init, 5]": "[5]", "seeds: 2\n  num": "seeds: 1\n  num"})
    others = [
        tiny(**{"probes: 2": "probes: 3"}),
        tiny(**{"[init, 5]": "[init, 6]"}),
        tiny(**{"values: [16, 64]": "values: [16, 32]"}),
        tiny(sgd="sgd, adam"),
        tiny(**{"width: 4": "width: 5"}),
    ]

    assert recipe_id(same.spec) == recipe_id(tiny().spec)
    assert len({recipe_id(sweep.spec) for sweep in [tiny(), *others]}) == 6


def test_a_larger_budget_of_time_measures_what_a_smaller_one_cut_off(tmp_path: Path) -> None:
    """What there was no time for is named and kept away; it is measured once there is time."""

    def run(budget: str) -> SweepPrediction:
        section = SECTION.replace("[init, 5]", "[init]") + budget
        return predict_sweep(tiny(SWEEP + section), tmp_path)

    short = run("  max_seconds: 1.0e-9\n")
    again = run("  max_seconds: 1.0e-9\n")
    whole = run("")

    assert (short.num_new, again.num_new, whole.num_new) == (2, 0, 2)
    assert short.table.facts.cut_at_s == 1e-9
    assert short.table.facts.notes[0].startswith("left out after 1e-09 s: gradient, ends of the")
    assert {row.quantity for row in short.table.numbers} == {Quantity.LOSS, Quantity.NUM_PARAMETERS}
    assert whole.table.facts.notes == () or "left out" not in " ".join(whole.table.facts.notes)
    assert run("  max_seconds: 1.0e-9\n").num_new == 0


def test_without_a_section_the_defaults_are_planned() -> None:
    """Three points, and never more seeds than the sweep has."""
    jobs = plan_measuring(tiny(SWEEP.replace("seeds: 2", "seeds: 1")).spec)

    assert jobs == tuple(MeasuringJob(step, 0) for step in (0, 100, 300))


def test_without_replacement_batches_are_smaller_than_the_data() -> None:
    """All of the data at once has no noise, so it is not drawn."""
    sweep = tiny(SWEEP + SECTION + "sampling: epoch\n", **{"[16, 64]": "[16, 64, 1797]"})
    whole = tiny(sweep.text, **{"num_examples: 200": "num_examples: 5000"})
    task = load_task(sweep.spec.task.name, sweep.spec.task.args)

    options = choose_options(whole.spec, task)

    assert not options.replacement
    assert options.batch_sizes == (16, 64)


def test_batches_of_a_part_of_the_data_are_as_noisy_as_those_of_all(tmp_path: Path) -> None:
    """Drawn with replacement at B/(1 − B/N) of the whole, they cover every batch size."""
    sweep = tiny(SWEEP + SECTION + "sampling: epoch\n", **{"[16, 64]": "[1, 16, 512]"})
    task = load_task(sweep.spec.task.name, sweep.spec.task.args)

    options = choose_options(sweep.spec, task)

    assert options.replacement
    assert options.batch_sizes == (1, 16, 717)
    found = predict_sweep(tiny(sweep.text, **{"[init, 5]": "[init]"}), tmp_path)
    [at] = found.optimizers[0].points
    [curve] = [c for c in at.prediction.curves if c.name == "measured λ₁ of batches"]
    assert np.isfinite(curve.lr_max).all()


def test_a_short_training_that_diverges_is_one_line(tmp_path: Path) -> None:
    """The error says what to lower."""
    section = SECTION + "  training: {lr: 1.0e+12}\n"

    with pytest.raises(
        UserError, match=r"curvature: training with lr 1e\+12 raised .* lower its lr"
    ):
        predict_sweep(tiny(SWEEP + section), tmp_path)


def test_a_learning_rate_that_is_found_is_halved_until_the_loss_falls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Begun far above the edge, the short training still reaches its point."""
    sweep = tiny(**{"[init, 5]": "[init, 20]"})
    monkeypatch.setattr(measuring, "_RATE_SHARE", 16.0)
    monkeypatch.setattr(measuring, "_NUM_RATES", 1)
    with pytest.raises(UserError, match=r"raised the loss|diverged"):
        predict_sweep(sweep, tmp_path / "once")
    monkeypatch.setattr(measuring, "_NUM_RATES", 8)

    found = predict_sweep(sweep, tmp_path / "often")

    assert found.table.points == ("init", "20 steps")


def test_least_squares_is_predicted_within_5_percent(tmp_path: Path) -> None:
    """From curvature measured on samples, the edge 2B/(B + d + 1) comes out at every B."""
    found = predict_sweep(parse_sweep(KNOWN), tmp_path)
    sizes = np.array(found.batch_sizes, dtype=float)

    [at] = found.optimizers[0].points
    curves = {curve.name: curve for curve in at.prediction.curves}

    exact = gaussian_curve(np.ones(32), Conditions(sizes)).lr_max
    for name in ("mean-square bound, traces", "mean-square bound, top and bulk"):
        assert np.abs(curves[name].lr_max / exact - 1).max() < 0.05


def test_the_command_prints_tables_and_json(found: SweepPrediction, tmp_path: Path) -> None:
    """People read theories, marks and reasons; programs the same numbers, never NaN."""
    sweep = tmp_path / "tiny.yaml"
    sweep.write_text((SWEEP + SECTION).replace("sgd", "sgd, adam"))
    arguments = ["predict", str(sweep), "--out", str(found.path.parent)]

    shown = CliRunner().invoke(main, arguments)
    printed = CliRunner().invoke(main, [*arguments, "--json"])

    assert shown.exit_code == 0, shown.output
    assert "Adam" in shown.output
    assert "gradient noise scale" in shown.output
    assert "curvature.parquet" in shown.output
    read = json.loads(printed.stdout)
    assert [entry["optimizer"] for entry in read["optimizers"]] == ["sgd", "adam"]
    [first, *_] = read["optimizers"][0]["points"][0]["theories"]
    assert [entry["batch_size"] for entry in first["lr_max"]] == [16, 64]
    assert read["num_measured"] == 0
