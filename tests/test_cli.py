"""The command line: what it lists, prints and refuses; nothing here starts Ray."""

import json
import re
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner, Result

from scaling_sweep import __version__, running
from scaling_sweep.cli import COMMANDS, main
from scaling_sweep.clusters import Capacity
from scaling_sweep.spec import OPTIMIZERS
from scaling_sweep.tasks.builtin import BUILTIN_TASKS
from tests.run_cases import SWEEP, made_up_result, tiny_packs, tiny_sweep


def run(*arguments: object) -> Result:
    """Call the command line in this process."""
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def refused(*arguments: object) -> str:
    """Return the one line a command is refused with."""
    result = run(*arguments)
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("Error: ")
    return lines[0].removeprefix("Error: ")


def trials(
    batch_sizes: tuple[int, ...] = (1, 2, 4, 8, 16, 32), num_seeds: int = 4, scale: float = 1.0
) -> pd.DataFrame:
    """Return a table whose edges grow like the batch size, with some scatter between seeds."""
    rng = np.random.default_rng(0)
    edges = {(b, s): 0.02 * b * np.exp(rng.normal(0, 0.1)) for b in batch_sizes for s in range(9)}
    rows = [
        {"batch_size": b, "lr": lr, "seed": s, "diverged": bool(lr > edges[b, s] * scale)}
        for b in batch_sizes
        for s in range(num_seeds)
        for lr in 0.005 * 2 ** (np.arange(20) / 2)
    ]
    return pd.DataFrame(rows)


def test_help_lists_every_command_with_its_summary() -> None:
    """The list that is shown without importing the commands is that of their own help."""
    shown = " ".join(run("--help").output.split())
    for name, summary in COMMANDS.items():
        assert f"{name} {summary}" in shown
        assert run(name, "--help").exit_code == 0


@pytest.mark.parametrize("name", COMMANDS)
def test_a_summary_is_the_beginning_of_its_commands_help(name: str) -> None:
    """The first sentence of a command's help is what the list says of it."""
    command = main.get_command(None, name)
    assert command is not None
    first = " ".join(command.help.split("\n\n")[0].split())

    # The list may stop where the sentence goes on after a colon or comma.
    assert re.match(re.escape(COMMANDS[name].removesuffix(".")) + "[.:,]", first)


@pytest.mark.parametrize("arguments", [[], *[[name] for name in COMMANDS]])
def test_every_help_shows_an_example(arguments: list[str]) -> None:
    """Each help holds a line to copy, of that very command."""
    shown = run(*arguments, "--help").output

    assert re.search(rf"^ +scaling-sweep {' '.join(arguments)}", shown, re.MULTILINE)


def test_the_version_is_that_of_the_package() -> None:
    """``--version`` says name and version."""
    assert run("--version").output == f"scaling-sweep, version {__version__}\n"


@pytest.mark.parametrize("name", ["rnu", "--halp"])
def test_bad_usage_exits_with_2(name: str) -> None:
    """A command or option there is not is bad usage."""
    result = run(name)

    assert result.exit_code == 2
    assert name in result.stderr


def test_tasks_lists_all_there_is() -> None:
    """Every task, optimizer and method has a line with a description."""
    shown = run("tasks").output
    for name in [*(task.name for task in BUILTIN_TASKS), *OPTIMIZERS, "plain"]:
        assert re.search(rf"^  {name} +\S", shown, re.MULTILINE), name


def test_tasks_are_listed_for_programs_too() -> None:
    """``--json`` gives the same names as the list for people."""
    listed = json.loads(run("tasks", "--json").output)

    assert list(listed) == ["tasks", "optimizers", "methods"]
    assert list(listed["tasks"]) == [task.name for task in BUILTIN_TASKS]
    assert list(listed["optimizers"]) == list(OPTIMIZERS)
    for optimizer, text in listed["optimizers"].items():
        for key, item in OPTIMIZERS[optimizer].items():
            assert f"{key}={item.default_text}" in text


@pytest.mark.parametrize("command", ["plan", "run"])
@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (None, "no such file"),
        (b"", "empty"),
        (b"\x80\x81\x82\x00", "text"),
        (SWEEP.replace("seeds: 2", "sedes: 2").encode(), "did you mean seeds"),
        (SWEEP.replace("[sgd]", "[sdg]").encode(), "sgd"),
        (SWEEP.replace("digits_mlp", "digits_mpl").encode(), "Did you mean digits_mlp?"),
        (SWEEP.replace("width: 4", "widht: 4").encode(), "it takes: width, depth"),
        (SWEEP.replace("{name: digits_mlp, args: {width: 4}}", "no.such:task").encode(), "import"),
    ],
    ids=["missing", "empty", "binary", "key", "optimizer", "task", "args", "import"],
)
def test_a_sweep_file_with_a_mistake_is_one_line(
    tmp_path: Path,
    command: str,
    content: bytes | None,
    expected: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whatever is wrong with a sweep file, one line names the file and what to mend."""
    # Ray starts while the task is looked at.
    monkeypatch.setattr(running, "connected", lambda *_, **__: nullcontext(Capacity(1, 0)))
    path = tmp_path / "x.yaml"
    if content is not None:
        path.write_bytes(content)
    message = refused(command, path, "--out", tmp_path / "out")

    assert str(path) in message
    assert expected.lower() in message.lower()


@pytest.mark.parametrize("command", ["plan", "run"])
def test_a_folder_is_no_sweep_file(tmp_path: Path, command: str) -> None:
    """Naming a folder where a sweep file belongs says so."""
    assert "folder" in refused(command, tmp_path) or "directory" in refused(command, tmp_path)


def test_plan_says_what_would_run(tmp_path: Path) -> None:
    """Packs, trials, steps and examples are those of the grid; nothing is run."""
    path = tmp_path / "tiny.yaml"
    path.write_text(SWEEP)
    plan = json.loads(run("plan", path, "--json", "--workers", 2, "--out", tmp_path / "o").stdout)

    assert (plan["num_packs"], plan["num_trials"], plan["num_done"]) == (2, 16, 0)
    assert plan["num_steps"] == 16 * 12
    assert plan["num_examples"] == 8 * 12 * (16 + 64)
    assert plan["wall_time_s"] > 0
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.yaml"]
    shown = run("plan", path, "--out", tmp_path / "o").stdout
    assert "16 to run, 0 there already" in shown


def test_a_run_in_a_folder_that_cannot_be_is_one_line(tmp_path: Path) -> None:
    """A file where the run folder should be is said before anything is trained."""
    (tmp_path / "tiny.yaml").write_text(SWEEP)
    (tmp_path / "out").write_text("in the way")

    message = refused("run", tmp_path / "tiny.yaml", "--out", tmp_path / "out")
    assert f"cannot write to {tmp_path / 'out'}" in message


@pytest.mark.parametrize("cluster", ["nowhere", "127.0.0.1:1"])
def test_a_cluster_that_is_not_there_is_one_line(tmp_path: Path, cluster: str) -> None:
    """A cluster that has no such name, or that nothing answers at, is said within seconds."""
    (tmp_path / "tiny.yaml").write_text(SWEEP)
    result = run("run", tmp_path / "tiny.yaml", "--out", tmp_path / "o", "--cluster", cluster)

    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1
    assert cluster in result.stderr


def test_a_finished_run_is_fitted_again_without_training(tmp_path: Path) -> None:
    """With all parts there, ``run`` trains nothing, writes table, fit and report, and says so."""
    from scaling_sweep.rows import rows_of_result
    from scaling_sweep.store import RunFolder

    (tmp_path / "tiny.yaml").write_text(SWEEP)
    folder = RunFolder(tmp_path / "out")
    with folder.opened():
        for pack in tiny_packs(tiny_sweep()):
            folder.write_part(rows_of_result(made_up_result(pack)))
    result = run("run", tmp_path / "tiny.yaml", "--out", folder.path)

    assert result.exit_code == 0, result.output
    assert "0 trials in 0 packs to run, 16 trials are there already" in result.stdout
    assert "8 stable, 8 diverged" in result.stdout
    assert (folder.path / "fit.json").exists()
    assert (folder.path / "report.html").exists()


def test_status_of_no_run_is_one_line(tmp_path: Path) -> None:
    """A folder without a run says what a run's folder is."""
    assert "holds no run" in refused("status", tmp_path)


def test_fit_writes_beside_the_table(tmp_path: Path) -> None:
    """A good table exits 0 with fit.json and report.html beside it, and an exponent printed."""
    trials().to_csv(tmp_path / "t.csv", index=False)
    result = run("fit", tmp_path / "t.csv")

    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "fit.json").read_text())["schema"] == 1
    assert "<html" in (tmp_path / "report.html").read_text()
    assert "exponent" in result.stdout


def test_fit_prints_what_it_wrote_for_programs(tmp_path: Path) -> None:
    """``--json`` prints fit.json, and the exponent of the made-up law is in its interval."""
    trials().to_csv(tmp_path / "t.csv", index=False)
    result = run("fit", tmp_path / "t.csv", "--out", tmp_path / "elsewhere", "--json")
    fit = json.loads(result.stdout)

    assert fit == json.loads((tmp_path / "elsewhere" / "fit.json").read_text())
    (group,) = fit["groups"]
    low, high = group["exponent_ci"]
    assert low <= 1.0 <= high


@pytest.mark.parametrize(
    ("name", "make", "expected"),
    [
        ("t.parquet", lambda path: None, "does not exist"),
        ("t.parquet", lambda path: path.mkdir(), "folder"),
        ("t.parquet", lambda path: path.write_bytes(b""), "cannot be read as parquet"),
        ("t.csv", lambda path: path.write_bytes(b""), "cannot be read as csv"),
        ("t.csv", lambda path: path.write_bytes(b"\x80\x81\x00"), "cannot be read as csv"),
        ("t.xlsx", lambda path: path.write_bytes(b"PK"), "neither .parquet nor .csv"),
        ("t.csv", lambda path: path.write_text("batch_size,lr,diverged\n"), "no rows"),
        (
            "t.csv",
            lambda path: trials().drop(columns="lr").to_csv(path, index=False),
            "has no column 'lr'",
        ),
        (
            "t.csv",
            lambda path: trials().drop(columns="diverged").to_csv(path, index=False),
            "does not say what diverged",
        ),
        (
            "t.csv",
            lambda path: (
                trials()
                .astype({"lr": object})
                .replace({"lr": {0.01: "fast"}})
                .to_csv(path, index=False)
            ),
            "must be a number",
        ),
        (
            "t.csv",
            lambda path: trials().assign(lr=-1.0).to_csv(path, index=False),
            "must be positive",
        ),
        (
            "t.csv",
            lambda path: trials().assign(diverged="maybe").to_csv(path, index=False),
            "must be true or false",
        ),
    ],
    ids=[
        "missing",
        "folder",
        "empty-parquet",
        "empty-csv",
        "binary-csv",
        "other-format",
        "no-rows",
        "no-lr",
        "no-outcome",
        "word-for-lr",
        "negative-lr",
        "maybe",
    ],
)
def test_a_table_that_is_none_is_one_line(
    tmp_path: Path, name: str, make: object, expected: str
) -> None:
    """Whatever is wrong with a table, one line names it and what to do; nothing is written."""
    path = tmp_path / name
    make(path)

    assert expected in refused("fit", path)
    assert not (tmp_path / "fit.json").exists()


def test_a_truncated_table_is_one_line(tmp_path: Path) -> None:
    """Half of a parquet file is no table."""
    path = tmp_path / "results.parquet"
    trials().to_parquet(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    assert "may be truncated" in refused("fit", path)


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        (trials(scale=1e-9), "Every learning rate diverged: add smaller ones"),
        (trials(scale=1e9), "Every learning rate was stable: add larger ones"),
        (trials(batch_sizes=(4, 8)), "Only 2 batch sizes"),
        (trials(batch_sizes=(4,)), "Only 1 batch size"),
    ],
    ids=["only-diverged", "none-diverged", "two-batch-sizes", "one-batch-size"],
)
def test_a_table_without_a_law_is_a_refusal_in_words(
    tmp_path: Path, table: pd.DataFrame, reason: str
) -> None:
    """No law is fitted where the data say nothing: the reason is printed, stored, and no advice.

    The table itself is good and its report is written, so ``fit`` exits 0; ``recommend`` has
    nothing to recommend and exits 1.
    """
    path = tmp_path / "t.csv"
    table.to_csv(path, index=False)
    result, advice = run("fit", path), run("recommend", path, "-b", 8)

    assert result.exit_code == 0, result.output
    assert reason in " ".join(result.stdout.split())
    (group,) = json.loads((tmp_path / "fit.json").read_text())["groups"]
    assert group["refused"].startswith(reason)
    assert group["exponent"] is None
    assert advice.exit_code == 1
    assert isinstance(advice.exception, SystemExit)
    assert reason in " ".join(advice.output.split())


def test_one_seed_is_fitted_with_a_warning(tmp_path: Path) -> None:
    """A single seed says nothing of scatter between seeds, and the fit says that."""
    path = tmp_path / "t.csv"
    trials(num_seeds=1).to_csv(path, index=False)
    result = run("fit", path)

    assert result.exit_code == 0, result.output
    (group,) = json.loads((tmp_path / "fit.json").read_text())["groups"]
    assert group["refused"] is None
    assert any(warning.startswith("Only 1 seed") for warning in group["warnings"])
    assert "Only 1 seed" in result.stdout


@pytest.mark.parametrize(
    ("option", "value"),
    [("--map", "lr"), ("--map", "=x"), ("--criterion", "final"), ("--criterion", "nonsense:1")],
)
def test_an_option_that_cannot_be_meant_is_bad_usage(
    tmp_path: Path, option: str, value: str
) -> None:
    """A malformed option says how it is written, with exit status 2."""
    result = run("fit", tmp_path / "t.csv", option, value)

    assert result.exit_code == 2
    assert value in result.stderr
