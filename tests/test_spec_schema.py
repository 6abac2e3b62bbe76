"""The JSON Schema for editors: fresh, and of one mind with the loader."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from scaling_sweep.errors import UserError
from scaling_sweep.spec import load_sweep, parse_sweep
from scaling_sweep.spec.schema import schema_text

ROOT = Path(__file__).parent.parent
SWEEPS = sorted((ROOT / "sweeps").glob("*.yaml"))
VALIDATOR = jsonschema.Draft202012Validator(json.loads(schema_text()))


def minimal(**changes: object) -> dict[str, object]:
    """Return a small study as data, with changes at its top."""
    return {
        "name": "tiny",
        "task": "digits_mlp",
        "parameters": {
            "optimizer": {"values": ["sgd", {"name": "adam", "beta1": 0.95}]},
            "batch_size": {"values": [1, 8]},
            "lr": {"min": 0.1, "max": 1, "per_octave": 2},
        },
        "seeds": 1,
        "horizon": {"epochs": 0.5},
        **changes,
    }


def damped(damping: object) -> dict[str, object]:
    """Return the axes of a study that searches damping."""
    return {
        "optimizer": {"values": ["adam"]},
        "batch_size": {"values": [1, 8]},
        "lr": {"values": [0.1]},
        "damping": damping,
    }


def test_the_checked_in_schema_is_fresh() -> None:
    """The file editors use is the one the models give; `make docs` writes it."""
    checked_in = (ROOT / "docs" / "sweep.schema.json").read_text(encoding="utf-8")

    assert schema_text() == checked_in


def test_the_schema_is_a_schema() -> None:
    """An editor accepts it."""
    VALIDATOR.check_schema(VALIDATOR.schema)


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_every_sweep_of_ours_passes_both_the_schema_and_the_loader(path: Path) -> None:
    """Each study is named as its file, begins with its question, and is valid."""
    loaded = load_sweep(path)

    VALIDATOR.validate(yaml.safe_load(loaded.text.replace("e-", ".0e-")))
    assert loaded.spec.name == path.stem
    assert loaded.text.startswith("# ")
    assert "?" in loaded.text.partition("\nname:")[0]


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"task": {"name": "my_package.tasks:mine", "args": {"width": 256}}},
        {"start": {"steps": 9, "optimizer": "adam", "lr": 0.1, "batch_size": 4}},
        {"start": "init", "resources": {"gpus": 0.5, "max_trials_per_pack": None}},
        {"check": {"predicted": {"sgd": 1}, "margin": 0.05}, "horizon": {"steps": 30}},
        {"parameters": damped({"min": 1e-6, "max": 10, "per_octave": 4})},
        {"parameters": damped({"values": [0.1, 1]})},
        {"parameters": damped({"by_optimizer": {"adam": {"values": [0.1, 1]}}})},
        {"search": {"bisect": {}}},
        {"search": {"bisect": {"resolution": 1.05, "precision": 0.05, "widen": 1}}},
        {"curvature": {}},
        {"curvature": {"points": ["init", 100], "training": {"optimizer": "adam", "lr": 0.1}}},
    ],
)
def test_what_the_schema_accepts_the_loader_reads(changes: dict[str, object]) -> None:
    """Every spelling the contract allows is allowed by both."""
    VALIDATOR.validate(minimal(**changes))
    parse_sweep(yaml.safe_dump(minimal(**changes)))


@pytest.mark.parametrize(
    "changes",
    [
        {"sedes": 1},
        {"seeds": 0},
        {"seeds": "6"},
        {"seeds": True},
        {"name": "../x"},
        {"task": {"args": {}}},
        {"task": "a b"},
        {"horizon": {}},
        {"horizon": {"steps": 1, "epochs": 1}},
        {"horizon": {"steps": None}},
        {"start": "trained"},
        {"search": "bisect"},
        {"search": {"bisect": {"resolution": 1}}},
        {"search": {"grid": {}}},
        {"sampling": "epochs"},
        {"resources": {"cpus": 0}},
        {"parameters": damped({"values": [0]})},
        {"parameters": damped([0.1, 1])},
        {"parameters": damped({"min": 1e-6, "max": 10})},
        {"curvature": {"points": ["start"]}},
        {"curvature": {"points": []}},
        {"curvature": {"batch_sizes": 8}},
    ],
)
def test_what_the_loader_refuses_the_schema_refuses(changes: dict[str, object]) -> None:
    """An editor underlines what the loader would stop at."""
    assert not VALIDATOR.is_valid(minimal(**changes))
    with pytest.raises(UserError):
        parse_sweep(yaml.safe_dump(minimal(**changes)))
