"""The arrows of the house, each proved in a process of its own or on the code itself."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from scaling_sweep.cli import COMMANDS

ROOT = Path(__file__).resolve().parent.parent
HEAVY = ("torch", "ray", "wandb")
LIGHT_MODULES = [
    "scaling_sweep",
    "scaling_sweep.cli",
    *(f"scaling_sweep.cli.{name.replace('-', '_')}" for name in COMMANDS),
    "scaling_sweep.starting",
    "scaling_sweep.probing.findings",
    "scaling_sweep.cli.predictions",
    "scaling_sweep.cli.showing",
    "scaling_sweep.cli.showing_theory",
    "scaling_sweep.spec",
    "scaling_sweep.planning",
    "scaling_sweep.stability",
    "scaling_sweep.store",
    "scaling_sweep.listing",
    "scaling_sweep.previewing",
    "scaling_sweep.progress",
    "scaling_sweep.watching",
    "scaling_sweep.serving.server",
    "scaling_sweep.tracking.publishing",
    "scaling_sweep.api",
    "scaling_sweep.study",
    "scaling_sweep.opening",
    "scaling_sweep.predicting",
    "scaling_sweep.curvature_plan",
    "scaling_sweep.curvature_rows",
    "scaling_sweep.curvature_store",
    "scaling_sweep.display",
    "scaling_sweep.environment",
    *(
        ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
        for path in sorted((ROOT / "analysis").rglob("*.py"))
    ),
]
# One edge per batch size, a power law: enough to fit.
TABLE = "batch_size,lr,seed,diverged\n" + "".join(
    f"{batch_size},{lr},{seed},{lr > 0.01 * batch_size * (1 + 0.05 * seed)}\n"
    for batch_size in (1, 2, 4, 8, 16)
    for lr in [0.005 * 2 ** (k / 2) for k in range(14)]
    for seed in range(3)
)


def loaded_after(program: str, *arguments: str) -> list[str]:
    """Run a program in a fresh process and return the heavy modules it left loaded."""
    report = f"\nimport sys; print('LOADED', *[n for n in {HEAVY} if n in sys.modules])"
    command = [sys.executable, "-c", program + report, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1].split()[1:]


@cache
def imports_of(path: Path) -> tuple[str, ...]:
    """Return every module that a file imports, anywhere in it."""
    return tuple(_find_imports(path))


def _find_imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield node.module or ""
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def importers(package: str, *folders: str) -> set[str]:
    """Return the files under folders that import a package."""
    return {
        str(path.relative_to(ROOT))
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
        if any(name == package or name.startswith(f"{package}.") for name in imports_of(path))
    }


def test_a_probe_that_finds_what_is_loaded() -> None:
    """The probe of these tests does see a heavy module when there is one."""
    program = "import sys, types; sys.modules['ray'] = types.ModuleType('ray')"

    assert loaded_after(program) == ["ray"]


def test_importing_the_light_half_loads_nothing_heavy() -> None:
    """The package, its commands, the planning and the analysis import without torch, ray, wandb.

    All in one process: what is not loaded after all of them was loaded by none.
    """
    program = "import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)"

    assert loaded_after(program, *LIGHT_MODULES) == []


def test_commands_that_train_nothing_load_nothing_heavy() -> None:
    """Help, version and list come without waiting for torch or ray: all, one after another."""
    program = (
        "import sys\nfrom scaling_sweep.cli import main\n"
        "for words in sys.argv[1:]: main(words.split(), standalone_mode=False)"
    )
    words = ["--help", "--version", "tasks", *(f"{name} --help" for name in COMMANDS)]

    assert loaded_after(program, *words) == []


def test_fit_and_recommend_load_nothing_heavy(tmp_path: Path) -> None:
    """A table is fitted, reported and asked for advice without torch, ray and wandb."""
    table = tmp_path / "table.csv"
    table.write_text(TABLE)
    program = (
        "import sys\nfrom scaling_sweep.cli import main\n"
        "main(['fit', sys.argv[1], '--figures', 'svg'], standalone_mode=False)\n"
        "main(['recommend', sys.argv[1], '-b', '8'], standalone_mode=False)"
    )

    assert loaded_after(program, str(table)) == []
    assert (tmp_path / "fit.json").exists()
    assert (tmp_path / "report.html").exists()


def test_the_analysis_imports_nothing_of_ours() -> None:
    """``analysis`` reads tables; it knows neither the tool that made them nor what it needs."""
    for package in ("scaling_sweep", *HEAVY):
        assert importers(package, "analysis") == set()


def test_ray_stays_in_its_rooms() -> None:
    """Ray is imported by the driver and the clusters only."""
    found = importers("ray", "scaling_sweep")
    rooms = ("scaling_sweep/driver/", "scaling_sweep/clusters/")

    assert {"scaling_sweep/driver/tuner.py", "scaling_sweep/clusters/connecting.py"} <= found
    assert {path for path in found if not path.startswith(rooms)} == set()


def test_wandb_stays_in_its_room() -> None:
    """W&B is imported by the tracking only."""
    found = importers("wandb", "scaling_sweep", "analysis")

    assert {path for path in found if not path.startswith("scaling_sweep/tracking")} == set()


def test_training_points_downwards_only() -> None:
    """What trains knows nothing of driver, store, command line or W&B; nor parts of the whole."""
    lower = ("training", "tasks", "optimizers", "methods", "curvature", "spec", "planning")
    folders = [
        f"scaling_sweep/{name}" for name in lower if (ROOT / "scaling_sweep" / name).exists()
    ]
    for package in ("ray", "wandb", "click", "rich"):
        assert importers(package, *folders) == set()
    for module in ("driver", "clusters", "store", "running", "cli", "tracking"):
        assert importers(f"scaling_sweep.{module}", *folders) == set()
    for module in ("training", "spec", "planning"):
        below = ("scaling_sweep/tasks", "scaling_sweep/optimizers", "scaling_sweep/methods")
        assert importers(f"scaling_sweep.{module}", *below) == set()


def test_planning_and_spec_are_pure() -> None:
    """What is asked and what comes next are decided without torch or files of results.

    Rows come in by one door; behind it planning knows no table.
    """
    rooms = ("scaling_sweep/spec", "scaling_sweep/planning")
    for package in (*HEAVY, "scaling_sweep.store", "scaling_sweep.training"):
        assert importers(package, *rooms) == set()
    assert importers("pandas", *rooms) == {"scaling_sweep/planning/evidence.py"}


def test_predictions_need_no_ray(tmp_path: Path) -> None:
    """Blocked from importing Ray and W&B, `predict` measures and predicts all the same."""
    sweep = tmp_path / "tiny.yaml"
    sweep.write_text(
        "name: tiny\ntask: {name: least_squares, args: {dim: 4}}\nparameters:\n"
        "  optimizer: {values: [sgd]}\n  batch_size: {values: [4]}\n  lr: {values: [0.1]}\n"
        "seeds: 1\nhorizon: {steps: 4}\ncurvature: {points: [init], num_examples: 50}\n"
    )
    program = (
        "import sys\nsys.modules['ray'] = sys.modules['wandb'] = None\n"
        "from scaling_sweep.cli import main\nmain(sys.argv[1:], standalone_mode=False)"
    )
    command = [sys.executable, "-c", program, "predict", str(sweep), "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)

    assert done.returncode == 0, done.stderr
    assert (tmp_path / "curvature.parquet").exists()


@pytest.mark.slow
def test_a_pack_trains_where_ray_and_wandb_are_not_installed() -> None:
    """Blocked from importing either, a process trains a pack all the same."""
    program = """
import sys
sys.modules["ray"] = sys.modules["wandb"] = None
from scaling_sweep.planning import plan_packs
from scaling_sweep.spec import parse_sweep
from scaling_sweep.training.worker import PackWorker
spec = parse_sweep('''
name: tiny
task: {name: least_squares, args: {dim: 4}}
parameters:
  optimizer: {values: [sgd]}
  batch_size: {values: [4]}
  lr: {values: [0.1, 10]}
seeds: 2
horizon: {steps: 40}
''').spec
(pack,) = plan_packs(spec)
worker = PackWorker(spec, (), {})
worker.begin(pack)
while (result := worker.advance()) is None:
    pass
print([record.verdict for record in result.records])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)

    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[0] == "['stable', 'diverged', 'stable', 'diverged']"
