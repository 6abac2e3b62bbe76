"""What the documentation shows is what the code does."""

import math
import re
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from docs.generate import render_pages
from scaling_sweep.cli import COMMANDS, main
from scaling_sweep.planning import plan_packs
from scaling_sweep.spec import load_sweep, parse_sweep
from scaling_sweep.training.pack import train_pack
from scaling_sweep.training.preflight import inspect_task, load_sweep_task

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("path", list(render_pages()), ids=lambda path: path.name)
def test_generated_pages_are_not_stale(path: Path) -> None:
    """Every generated page is what the code would write now; `make docs` mends it."""
    assert path.read_text() == render_pages()[path]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_shows_an_example_in_its_help(name: str) -> None:
    """The help of each command holds a line that can be typed."""
    shown = CliRunner().invoke(main, [name, "--help"]).output
    assert re.search(rf"^ +scaling-sweep {name} ?\S*", shown, re.MULTILINE)


def test_the_own_task_page_quotes_its_example() -> None:
    """Each line of code on the page about one's own task stands in the example it names."""
    page = (ROOT / "docs/own_task.md").read_text()
    [block] = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    example = (ROOT / "docs/examples/spirals.py").read_text()
    quoted = [line.split("#")[0].strip() for line in block.splitlines()]
    missing = [line for line in quoted if line and line != "..." and line not in example]
    assert missing == []
    [snippet] = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    sweep = load_sweep(ROOT / "docs/examples/spirals.yaml").spec
    assert yaml.safe_load(snippet)["task"] == sweep.task.model_dump()


def test_the_own_task_example_trains() -> None:
    """The example's task is found beside its sweep file and learns at some rates."""
    sweep = load_sweep(ROOT / "docs/examples/spirals.yaml")
    task = load_sweep_task(sweep)
    pack, *_ = plan_packs(sweep.spec, num_examples=task.num_examples)
    records = train_pack(replace(pack, num_steps=60), sweep.spec, task).records

    assert inspect_task(sweep, task).initial_loss == pytest.approx(math.log(2), rel=0.2)
    assert len(records) == pack.num_trials
    assert min(record.final_loss / record.initial_loss for record in records) < 0.98


def test_the_sweep_file_in_the_readme_loads() -> None:
    """What the README shows as a sweep file is one."""
    [block] = re.findall(r"```yaml\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    spec = parse_sweep(block).spec

    assert [optimizer.label for optimizer in spec.optimizers] == ["sgd", "adam(beta2=0.99)"]
    assert len(spec.batch_sizes) == 10


def test_every_sweep_says_its_question_first() -> None:
    """Each study in sweeps/ begins with a comment that ends in a question mark somewhere."""
    for path in [*(ROOT / "sweeps").glob("*.yaml"), ROOT / "docs/examples/spirals.yaml"]:
        comment = re.match(r"(#.*\n)+", path.read_text())
        assert comment is not None, path.name
        assert "?" in comment[0], path.name
