"""Tests of dashboards as code: built, loaded again and saved without a server."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from scaling_sweep.cli import main
from scaling_sweep.tracking import saving
from scaling_sweep.tracking.dashboard import Subject, build_report, build_workspace
from scaling_sweep.tracking.panels import load
from tests.run_cases import SWEEP, damped_sweep

pytest.importorskip("wandb_workspaces")

SUBJECT = Subject("team", "edges", "tiny", "Does it run?", SWEEP)
# The library forgets these when it loads what it has written.
FORGOTTEN = {"id", "__id__", "layout", "width"}


def _run(folder: Path, text: str = SWEEP) -> Path:
    folder.mkdir()
    (folder / "sweep.yaml").write_text(text)
    return folder


def _dashboard(*arguments: object) -> tuple[int, str]:
    done = CliRunner().invoke(main, ["dashboard", *map(str, arguments)])
    return done.exit_code, done.output


def _shown(*arguments: object) -> dict[str, Any]:
    """Return what would be saved."""
    status, said = _dashboard(*arguments, "--json")
    assert status == 0, said
    models: dict[str, Any] = json.loads(said)
    return models


def _plain(model: Any) -> Any:  # noqa: ANN401
    return _without(json.loads(model.model_dump_json(by_alias=True, exclude_none=True)))


def _without(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, dict):
        return {key: _without(item) for key, item in value.items() if key not in FORGOTTEN}
    return [_without(item) for item in value] if isinstance(value, list) else value


def _panels(workspace: dict[str, Any]) -> list[dict[str, Any]]:
    sections = workspace["spec"]["section"]["panelBankConfig"]["sections"]
    return [panel for section in sections for panel in section["panels"]]


def test_a_workspace_survives_being_loaded_again() -> None:
    """The library reads from its own model what was put in."""
    model = build_workspace(SUBJECT)._to_model()

    again = load("workspaces").Workspace._from_model(model)._to_model()

    assert _plain(again) == _plain(model)


def test_a_report_survives_being_loaded_again() -> None:
    """Text, panels and the sweep file come back, and building it asks for no login."""
    model = build_report(SUBJECT)._to_model()

    again = load("reports.v2").Report._from_model(model)._to_model()

    assert _plain(again) == _plain(model)


def test_edges_stand_on_logarithmic_axes(tmp_path: Path) -> None:
    """Both lines of edges and of theories are drawn over B, log against log."""
    panels = _panels(_shown(_run(tmp_path / "tiny"))["workspace"])

    drawn = [panel["config"] for panel in panels if "metricRegex" in panel["config"]]
    assert [(one["xAxis"], one["xLogScale"], one["yLogScale"]) for one in drawn] == [
        ("curves/batch_size", True, True)
    ] * 2


def test_a_damping_stands_over_the_ratio(tmp_path: Path) -> None:
    """Where the damping was searched its edges are drawn over lr/B and named as such."""
    panels = _panels(_shown(_run(tmp_path / "tiny", damped_sweep().text))["workspace"])

    drawn = [panel["config"] for panel in panels if "metricRegex" in panel["config"]]
    assert {one["xAxis"] for one in drawn} == {"curves/lr_b"}
    assert {one["yAxisTitle"] for one in drawn} == {"smallest stable damping"}


def test_a_study_sees_its_own_runs_only(tmp_path: Path) -> None:
    """Workspace and report filter by W&B's group, the study's name; a project shows all."""
    study, project = _shown(_run(tmp_path / "tiny")), _shown("team/edges")

    (runs,) = study["workspace"]["spec"]["section"]["runSets"]
    (rule,) = runs["filters"]["filters"]
    assert (rule["key"]["name"], rule["op"], rule["value"]) == ("group", "=", "tiny")
    (every,) = project["workspace"]["spec"]["section"]["runSets"]
    assert every["filters"]["filters"] == []
    assert (project["workspace"]["entity"], project["workspace"]["project"]) == ("team", "edges")


def test_exponents_are_columns_of_the_runs_table(tmp_path: Path) -> None:
    """Exponent, interval, prediction and outcome are pinned, in this order."""
    (runs,) = _shown(_run(tmp_path / "tiny"))["workspace"]["spec"]["section"]["runSets"]

    pinned = [name for name in runs["runFeed"]["columnOrder"] if name.startswith("summary:")]
    assert pinned[:5] == [
        "summary:exponent",
        "summary:exponent_low",
        "summary:exponent_high",
        "summary:predicted_exponent",
        "summary:check",
    ]


def test_no_two_panels_lie_on_each_other(tmp_path: Path) -> None:
    """The cells of the grid are taken once, and none lies outside its 24 columns."""
    sections = _shown(_run(tmp_path / "tiny"))["workspace"]["spec"]["section"]
    for section in sections["panelBankConfig"]["sections"]:
        cells = [
            (x, y)
            for panel in section["panels"]
            for x in range(panel["layout"]["x"], panel["layout"]["x"] + panel["layout"]["w"])
            for y in range(panel["layout"]["y"], panel["layout"]["y"] + panel["layout"]["h"])
        ]
        assert len(cells) == len(set(cells))
        assert max(x for x, _ in cells) < 24


def test_the_report_ends_with_the_sweep_file(tmp_path: Path) -> None:
    """Who reads the report can run the study again."""
    report = _shown(_run(tmp_path / "tiny"))["report"]

    assert report["displayName"] == "Scaling of tiny"
    assert json.dumps(SWEEP)[1:-1] in json.dumps(report["spec"]["blocks"])


@pytest.mark.parametrize("name", ["a/b/c", "/edges", "team/", ""])
def test_what_is_neither_a_run_nor_a_project_is_refused(name: str) -> None:
    """One line says what to write instead."""
    status, said = _dashboard(name, "--json")

    assert (status, "write for example" in said) == (1, True)


def test_without_a_server_nothing_is_saved_in_seconds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line says so, and how to see the dashboard all the same."""
    monkeypatch.setattr(saving, "find_obstacle", lambda _: "nobody answers")

    status, said = _dashboard(_run(tmp_path / "tiny"))

    assert status == 1
    assert "nobody answers" in said
    assert "--json" in said


class _Api:
    """A login that knows one report."""

    default_entity = "team"

    class client:  # noqa: N801  # the library's name
        app_url = "https://wandb.example"

    def reports(self, path: str, name: str) -> list[Any]:
        """Return the report that was saved before."""
        return [type("Saved", (), {"id": f"report of {path}: {name}"})]

    def projects(self, entity: str) -> list[Any]:
        """Return the only project."""
        return [type("Project", (), {"name": "edges"})]


def test_saving_again_takes_the_place_of_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both are sent under the ids that the server has for the study."""
    sent = list[dict[str, Any]]()
    workspaces, reports = load("workspaces.internal"), load("reports.v2.interface")

    def answer(_: object, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        if "allViews" in query:
            assert variables["viewName"] == f"nw-{SUBJECT.name}-v"
            node = {"id": "workspace before", "displayName": "", "spec": '{"version": 5}'}
            return {"project": {"allViews": {"edges": [{"node": node}]}}}
        sent.append(variables)
        view = {**variables, "createdAt": None, "updatedAt": None, "project": {"name": "edges"}}
        return {"upsertView": {"view": {**view, "id": variables.get("id")}}}

    monkeypatch.setattr(saving, "find_obstacle", lambda _: None)
    monkeypatch.setattr("wandb.Api", _Api)
    monkeypatch.setattr(workspaces, "execute_graphql", answer)
    monkeypatch.setattr(reports, "execute_graphql", answer)
    monkeypatch.setattr(workspaces, "validate_spec_version", lambda *_, **__: None)

    status, said = _dashboard(_run(tmp_path / "tiny"), "--project", "edges")

    assert status == 0, said
    assert [one["id"] for one in sent] == [
        "workspace before",
        "report of team/edges: Scaling of tiny",
    ]
    assert {one["entityName"] for one in sent} == {"team"}
    assert said.count("https://wandb.example/team/edges") >= 2
