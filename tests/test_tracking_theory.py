"""Theory in W&B: the numbers of real offline runs against formulas and against the report."""

import json
import re
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pytest

from analysis.groups import fit_results
from analysis.results import Results
from analysis.summaries import Fit, GroupFit
from analysis.tables import normalize_table
from analysis.theory import THEORIES
from analysis.theory.beside import compare_theories
from analysis.words.theory import theory_claim
from scaling_sweep.planning import Pack, plan_packs
from scaling_sweep.rows import rows_of_failure
from scaling_sweep.spec import SweepSpec
from scaling_sweep.tracking import open_tracker
from scaling_sweep.tracking.cells import plain_key
from scaling_sweep.tracking.dashboard import Subject, render_json
from scaling_sweep.tracking.findings import find_findings
from tests.analysis.curvature_cases import TOP, make_table
from tests.wandb_files import RunFile, read_runs

SPEC = SweepSpec.model_validate(
    {
        "name": "tiny",
        "task": "digits_mlp",
        "seeds": 3,
        "horizon": {"steps": 30},
        "parameters": {
            "optimizer": {"values": ["sgd", "adam"]},
            "batch_size": {"min": 1, "max": 64, "per_octave": 1},
            "lr": {"min": 0.01, "max": 10, "per_octave": 2},
        },
    }
)
CURVATURE = make_table()
# Offline nothing waits for a network; a busy machine may still take its time.
PATIENCE_S = 120.0


def _rows(pack: Pack) -> pd.DataFrame:
    """Return made-up rows with LR_max = 0.03 B, seeds 25 % apart."""
    frame = rows_of_failure(pack, "").results
    stable = frame["lr"] < 0.03 * pack.batch_size * 1.25 ** frame["seed"]
    verdict = stable.map({True: "stable", False: "diverged"})
    return frame.assign(verdict=verdict, initial_loss=2.0, steps_run=3, wall_time_s=0.1)


@pytest.fixture(scope="module")
def fitted() -> tuple[Fit, Results]:
    """Return a fit of made-up rows."""
    frame = pd.concat([_rows(pack) for pack in plan_packs(SPEC)], ignore_index=True)
    results = Results(normalize_table(frame, "x", {}, own=True).frame, "x")
    return fit_results(results), results


@dataclass(frozen=True)
class _Mirrored:
    """One group and what W&B has of it."""

    group: GroupFit
    run: RunFile


@pytest.fixture(scope="module")
def mirrored(
    fitted: tuple[Fit, Results], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, _Mirrored]:
    """Mirror a sweep with measured curvature offline, and read it back by optimizer."""
    (fit, results), folder, said = fitted, tmp_path_factory.mktemp("run"), list[str]()
    tracker = open_tracker("offline", SPEC, folder, "name: tiny", said.append)
    tracker.on_plan(plan_packs(SPEC), results.frame.iloc[:0])
    tracker.on_fit(fit, results, None, CURVATURE)
    tracker.close(timeout_s=PATIENCE_S)
    runs = read_runs(folder)
    assert len(said) == 1
    return {
        group.key.optimizer: _Mirrored(group, runs[group.key.optimizer]) for group in fit.groups
    }


def test_a_theory_is_drawn_over_the_measured_edge(mirrored: dict[str, _Mirrored]) -> None:
    """The chart has the measured edges and, for the edge of stability, 2/λ at every B."""
    run, group = mirrored["sgd"].run, mirrored["sgd"].group
    points = run.table("charts/theory_table")
    at = TOP[run.summary["theory_best_point"]]
    flat = points[points["lineKey"] == "edge of stability"]
    measured = points[points["lineKey"] == "measured"]

    assert (10 ** flat["lineVal"]).tolist() == pytest.approx([2 / at] * len(flat))
    assert (flat["step"].min(), flat["step"].max()) == (
        measured["step"].min(),
        measured["step"].max(),
    )
    inside = [edge for edge in group.edges if edge.censored == "none"]
    assert (2 ** measured["step"]).tolist() == pytest.approx([e.batch_size for e in inside])
    assert (10 ** measured["lineVal"]).tolist() == pytest.approx([e.median for e in inside])


def test_the_curves_are_there_at_every_point(mirrored: dict[str, _Mirrored]) -> None:
    """The edge of stability falls with the curvature of each point."""
    curves = mirrored["sgd"].run.table("tables/theory_curves")
    flat = curves[curves["theory"] == "edge of stability"].groupby("point")["lr_max"]

    assert flat.min().to_dict() == pytest.approx({point: 2 / top for point, top in TOP.items()})
    assert flat.max().to_dict() == pytest.approx(flat.min().to_dict())


def test_log_ratios_add_up_to_the_errors_in_the_summary(mirrored: dict[str, _Mirrored]) -> None:
    """Root-mean-square logarithms of two tables' columns are what runs are compared by."""
    run = mirrored["sgd"].run
    ratios, edges = run.table("tables/theory_ratios"), run.table("tables/edges")
    lr_max = edges.set_index("batch_size")["lr_max"]
    summary = run.summary
    keys = [key for key in summary if key.startswith("theory/") and key.endswith("/log_error")]

    errors = {
        f"theory/{plain_key(theory)}/{plain_key(point)}/log_error": np.sqrt(
            np.mean(np.log(lr_max[rows["batch_size"]].to_numpy() / rows["predicted"]) ** 2)
        )
        for (point, theory), rows in ratios.groupby(["point", "theory"])
    }

    assert len(keys) == len(errors) > 15
    assert {key: summary[key] for key in keys} == pytest.approx(errors)
    assert np.exp(ratios["log_ratio"]).tolist() == pytest.approx(
        (ratios["measured"] / ratios["predicted"]).tolist()
    )
    assert summary["theory_best_log_error"] == pytest.approx(min(errors.values()))


def test_exponents_are_told_apart_by_theory(mirrored: dict[str, _Mirrored]) -> None:
    """A flat theory has exponent 0, one that is linear in noise 1, whatever was measured."""
    summary = mirrored["sgd"].run.summary

    assert summary["theory/edge_of_stability/init/exponent"] == 0
    assert summary["theory/baik_silverstein_ggn/100_steps/exponent"] == 1


def test_the_sentence_is_that_of_the_report(mirrored: dict[str, _Mirrored]) -> None:
    """Which theory explains the model best is said in the same words, and in a key of its own."""
    comparison = compare_theories(mirrored["sgd"].group, CURVATURE)
    summary, theories = mirrored["sgd"].run.summary, mirrored["sgd"].run.table("tables/theories")
    best = theories.loc[theories["log_error"].idxmin()]

    assert summary["theory_sentence"].startswith(theory_claim(comparison))
    assert (summary["theory_best"], summary["theory_best_point"]) == (
        best["theory"],
        best["point"],
    )
    assert set(theories["point"]) == set(TOP)


def test_theory_and_densities_are_pictures(mirrored: dict[str, _Mirrored]) -> None:
    """The report's two figures of curvature are there as PNG files."""
    media = mirrored["sgd"].run.folder / "files" / "media" / "images" / "figures"

    assert {"theory", "densities"} <= {path.name.split("_")[0] for path in media.iterdir()}


def test_without_curvature_there_is_no_theory(fitted: tuple[Fit, Results]) -> None:
    """A sweep whose curvature was not measured has none of these keys and tables."""
    for findings in find_findings(*fitted, None):
        assert not [key for key in findings.summary if key.startswith("theory")]
        assert not [table.name for table in findings.tables if "theor" in table.name]


def test_every_line_of_a_group_is_drawn_in_a_panel(fitted: tuple[Fit, Results]) -> None:
    """What a dashboard asks for is there, and no measured edge, law or theory is left out."""
    text = render_json(Subject("", "p", SPEC.name))
    patterns = [
        re.compile(json.loads(f'"{p}"')) for p in re.findall(r'"metricRegex": "(.*)"', text)
    ]
    media = set(re.findall(r'"figures/(\w+)"', text))
    tables = set(re.findall(r'"tables/(\w+)"', text))
    columns = set(re.findall(r'"summary:(\w+)"', text))

    for findings in find_findings(*fitted, None, CURVATURE):
        lines = {series.name for series in findings.series}
        assert len(patterns) >= 2
        assert not [name for name in lines if not any(p.match(name) for p in patterns)]
        assert all(any(p.match(name) for name in lines) for p in patterns)
        assert {series.axis for series in findings.series} == {"curves/batch_size"}
        assert media <= {picture.name.removeprefix("figures/") for picture in findings.pictures}
        assert tables <= {table.name.removeprefix("tables/") for table in findings.tables}
        assert columns <= set(findings.summary)


def test_silence_is_said(fitted: tuple[Fit, Results]) -> None:
    """Curvature of another task is not compared, and the summary says so."""
    other = replace(CURVATURE, facts=replace(CURVATURE.facts, task="another"))

    for findings in find_findings(*fitted, None, other):
        assert findings.summary["theory_sentence"] == (
            "Curvature was measured on another, not on digits_mlp."
        )
        assert not [key for key in findings.summary if key.startswith("theory/")]


def test_every_theory_has_a_key_of_its_own(mirrored: dict[str, _Mirrored]) -> None:
    """Names become different keys of plain letters, so that columns do not run into each other."""
    names = {
        name for one in mirrored.values() for name in one.run.table("tables/theories")["theory"]
    }
    keys = {plain_key(name) for name in names}

    assert len(THEORIES) > len(names) > 5
    assert len(keys) == len(names)
    assert all(key.isascii() and key.replace("_", "").isalnum() for key in keys)
