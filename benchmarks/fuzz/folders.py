"""Run folders as somebody else may have left them: foreign parts, curvature, and links."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, composite

from analysis.curvature_columns import Matrix, Quantity
from analysis.curvature_summaries import ValueRow
from analysis.curvature_table import CurvatureFacts, CurvatureTable, write_curvature
from benchmarks.fuzz.strings import nasty_text, plain
from benchmarks.fuzz.sweeps import SWEEPS, sweep_files
from benchmarks.fuzz.tables import PICKLE, parquet_files, study, tear, to_parquet


@composite
def beside(draw: DrawFn) -> dict[str, bytes]:
    """Draw the files beside a table: curvature and curves, well made with any strings, or torn."""
    made = {
        "curvature.parquet": curvature_file(draw(nasty_text), draw(nasty_text), draw(nasty_text)),
        "curves.parquet": to_parquet(draw(curves()), {}),
    }
    chosen = draw(st.sets(st.sampled_from(sorted(made)), min_size=1))
    torn = draw(st.booleans())
    return {
        name: tear(made[name], draw(st.integers(0, 10**6)), draw(st.binary(max_size=8)))
        if torn
        else made[name]
        for name in sorted(chosen)
    }


@composite
def curves(draw: DrawFn) -> pd.DataFrame:
    """Draw loss curves, some of them with steps or losses that cannot be."""
    numbers = st.lists(st.sampled_from([0, 1, 2, -1, 2**31, 2**40]), max_size=3)
    losses = st.lists(st.floats(width=32) | st.none(), max_size=3)
    rows = draw(st.lists(st.tuples(nasty_text, numbers, losses), max_size=3))
    names = ["trial_id", "step", "loss"]
    return pd.DataFrame(rows, columns=draw(st.permutations(names)))


def curvature_file(point: str, optimizer: str, note: str) -> bytes:
    """Return a table of curvature with any strings, otherwise well made."""
    quantities = (Quantity.TOP, Quantity.TRACE, Quantity.FROBENIUS_SQ, Quantity.NUM_PARAMETERS)
    rows = tuple(
        ValueRow(plain(point), 0, seed, quantity, 2.0 + seed, 0.1, Matrix.HESSIAN, owner)
        for seed in range(2)
        for quantity in quantities
        for owner in dict.fromkeys(("", plain(optimizer)))
    )
    facts = CurvatureFacts(task=plain(note), notes=(plain(note),))
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "curvature.parquet"
        write_curvature(CurvatureTable(rows, (), facts), path)
        return path.read_bytes()


LINKED = (
    *("environment.json", "results.parquet", "curves.parquet", "fit.json", "report.html", ".lock"),
    *(".fit.json.tmp", "parts", "starts", "curvature", "figures", "sweep.yaml"),
)
"""What may be a link in a run folder that somebody else made."""


@composite
def folders(draw: DrawFn) -> dict[str, bytes | None]:
    """Draw a run folder: file contents by name; None makes the name a link that leads out."""
    linked = draw(st.sets(st.sampled_from(LINKED), max_size=2))
    files: dict[str, bytes | None] = dict.fromkeys(sorted(linked))
    if "sweep.yaml" not in files:
        smoke = next(path for path in SWEEPS if path.stem == "smoke").read_bytes()
        files["sweep.yaml"] = draw(st.one_of(st.just(smoke), st.just(smoke), sweep_files))
    if "parts" not in files:
        for number in range(draw(st.integers(0, 2))):
            name = draw(st.sampled_from([f"{number}.parquet", "[x].parquet", "\x1b[2J.parquet"]))
            files[f"parts/{name}"] = draw(parquet_files() | st.just(PICKLE) | parts())
    for name in draw(st.sets(st.sampled_from(["x", "parts/.x.tmp", "pack.pkl"]), max_size=2)):
        if name.partition("/")[0] not in linked:
            files[name] = PICKLE
    return files


@composite
def parts(draw: DrawFn) -> bytes:
    """Draw a part as a pack leaves it, with any strings."""
    text = draw(nasty_text)
    table = study(1).assign(
        trial_id=[f"{text}{row}" for row in range(len(study(1)))],
        pack_id=draw(nasty_text),
        optimizer=draw(nasty_text),
        reason=draw(nasty_text),
        verdict=draw(st.sampled_from(["failed", "stable", "odd"])),
        curve_step=pd.Series([[1, 2]] * len(study(1))),
        curve_loss=pd.Series([[1.0, 0.5]] * len(study(1))),
    )
    return to_parquet(table, {})


def make_folder(files: Mapping[str, bytes | None], folder: Path, outside: Path) -> None:
    """Write a drawn run folder; its links lead to a folder beside it."""
    outside.mkdir()
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content is not None:
            path.write_bytes(content)
            continue
        target = outside / name
        if "." in name:
            target.write_bytes(b"precious")
        else:
            target.mkdir()
        path.symlink_to(target)


def snapshot(folder: Path) -> dict[str, bytes | None]:
    """Return every file below a folder with its content, folders as None."""
    found = sorted(folder.rglob("*")) if folder.exists() else []
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in found
    }
