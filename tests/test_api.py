"""The commands as functions, held against the command line."""

import json
from pathlib import Path

import pandas as pd
import pytest
from click.testing import CliRunner

import scaling_sweep
from analysis.errors import AnalysisError
from analysis.results import write_results
from scaling_sweep.cli import main
from scaling_sweep.errors import UserError
from tests.analysis.report_cases import simulate_trials

SWEEP = {
    "name": "tiny",
    "task": "digits_mlp",
    "parameters": {
        "optimizer": {"values": ["sgd"]},
        "batch_size": {"values": [8, 64]},
        "lr": {"min": 0.01, "max": 8, "per_octave": 1},
    },
    "seeds": 2,
    "horizon": {"steps": 20},
}


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a table of trials in a folder of its own."""
    path = tmp_path_factory.mktemp("run") / "results.parquet"
    write_results(simulate_trials(), path, sweep_text="", environment={})
    return path


def test_a_fit_in_python_is_the_fit_of_the_command_line(table: Path, tmp_path: Path) -> None:
    """`fit` and `save` write the fit.json that the command writes."""
    shown = CliRunner().invoke(main, ["fit", str(table), "--out", str(tmp_path / "b"), "--json"])

    report = scaling_sweep.fit(table).save(tmp_path / "a")

    assert report.exists()
    assert json.loads((tmp_path / "a" / "fit.json").read_text()) == json.loads(shown.output)


def test_a_run_folder_stands_for_its_table(table: Path) -> None:
    """A folder is fitted as the results.parquet in it, and saved there."""
    assert scaling_sweep.fit(table.parent).fit.groups == scaling_sweep.fit(table).fit.groups
    assert scaling_sweep.fit(table.parent).save() == table.with_name("report.html")


def test_a_table_in_memory_is_fitted_and_has_no_folder(table: Path) -> None:
    """A frame gives the same laws; where to save it must be said."""
    frame = pd.read_parquet(table)

    study = scaling_sweep.fit(frame)

    stored = scaling_sweep.fit(table)
    assert [g.exponent for g in study.groups] == [g.exponent for g in stored.groups]
    with pytest.raises(UserError, match="lies in no folder; write one"):
        study.save()


def test_a_study_reads_as_its_headlines(table: Path) -> None:
    """Text and HTML name each group's exponent; HTML holds a picture for each."""
    study = scaling_sweep.fit(table)

    text, html = repr(study), study._repr_html_()

    for group in study.groups:
        assert group.exponent is not None
        assert f"{group.exponent:.2f}" in text
    assert html.count("<img") == len(study.groups)


def test_html_escapes_what_a_table_says(table: Path) -> None:
    """A task's name cannot write into a notebook."""
    frame = pd.read_parquet(table).assign(task="<script>alert(1)</script>")
    two = pd.concat([frame, frame.assign(task="other")])

    assert "<script>" not in scaling_sweep.fit(two)._repr_html_()


def test_edges_and_exponents_are_tables(table: Path) -> None:
    """A study's tables hold what the groups hold."""
    study = scaling_sweep.fit(table)
    name = study.groups[0].key.optimizer

    edges, exponents = study.edges(name), study.exponents()

    assert edges["lr_max"].tolist() == [edge.median for edge in study.group(name).edges]
    assert exponents["exponent"].tolist() == [group.exponent for group in study.groups]


def test_pictures_are_matplotlib_figures(table: Path) -> None:
    """Every picture of a group can be saved and has a caption."""
    study = scaling_sweep.fit(table)

    pictures = list(study.pictures(study.groups[0].key.optimizer))

    assert pictures[0].name == "edges"
    assert all(picture.caption and picture.figure.axes for picture in pictures)


def test_recommending_in_python_is_recommending_on_the_command_line(table: Path) -> None:
    """The same learning rate comes out."""
    optimizer = scaling_sweep.fit(table).groups[0].key.optimizer
    arguments = ["recommend", str(table), "-b", "32", "-o", optimizer, "--json"]

    advice = scaling_sweep.recommend(table, 32, optimizer)

    assert advice.lr == json.loads(CliRunner().invoke(main, arguments).output)["lr"]


def test_a_sweep_may_be_given_as_a_mapping() -> None:
    """What would stand in the file is checked as the file would be."""
    sweep = scaling_sweep.load_sweep(SWEEP)

    assert sweep.spec.batch_sizes == (8, 64)
    assert scaling_sweep.load_sweep(sweep) is sweep
    with pytest.raises(UserError, match=r"seedz.*seeds"):
        scaling_sweep.load_sweep({**SWEEP, "seedz": 3})


def test_mistakes_are_one_line(tmp_path: Path) -> None:
    """A criterion that means nothing and a table that is not there say what to write."""
    with pytest.raises(UserError, match=r"write final:0\.5"):
        scaling_sweep.fit(simulate_trials(), criterion="half")
    with pytest.raises(AnalysisError, match="does not exist"):
        scaling_sweep.fit(tmp_path / "nothing.parquet")


def test_a_cluster_that_takes_whole_runs_is_one_line(tmp_path: Path) -> None:
    """`run` submits nothing: it says how to, before it makes or imports anything."""
    with pytest.raises(UserError, match=r"^slurm takes whole runs; submit one with `scaling"):
        scaling_sweep.run(SWEEP, tmp_path / "run", cluster="slurm")
    assert not (tmp_path / "run").exists()


def test_a_plan_in_python_counts_what_would_run(tmp_path: Path) -> None:
    """Two batch sizes, ten learning rates (2^-6 to 2^3) and two seeds are forty trials."""
    assert scaling_sweep.plan(SWEEP, tmp_path).num_trials == 2 * 10 * 2


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.usefixtures("_on_one_worker")
def test_a_sweep_is_run_resumed_and_fitted_from_python(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Run twice, the second adds nothing; the outcome is fitted as it is."""
    outcome = scaling_sweep.run(SWEEP, tmp_path, progress=False)
    again = scaling_sweep.run(SWEEP, tmp_path, progress=False)

    assert (len(outcome.rows), again.num_new) == (40, 0)
    assert scaling_sweep.fit(outcome).groups[0].key.optimizer == "sgd"
    assert capsys.readouterr().out == ""


def test_an_unknown_name_is_an_attribute_error() -> None:
    """The package has what it says, and nothing else."""
    assert set(scaling_sweep.__all__) <= set(dir(scaling_sweep))
    with pytest.raises(AttributeError, match="has no attribute 'fitt'"):
        scaling_sweep.fitt  # noqa: B018
