"""What the fuzzer feeds: files, folders and strings as an enemy would make them."""

import io
import json
import os
import pickle
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import yaml
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy, composite

from analysis.curvature_columns import Matrix, Quantity
from analysis.curvature_summaries import ValueRow
from analysis.curvature_table import CurvatureFacts, CurvatureTable, write_curvature

SWEEPS = tuple(sorted((Path(__file__).parent.parent / "sweeps").glob("*.yaml")))

MARK = "<script>alert(7)</script>"
"""What must nowhere stand unescaped in a page."""

# Names that climb, HTML, markup of the terminal library, escape sequences, odd Unicode, formats.
NASTY = (
    *(MARK, "<img src=x onerror=alert(7)>", "&amp;", '"><svg/onload=alert(7)>', "{{ 7 * 7 }}"),
    *("../x", "../../../../etc/passwd", "/etc/passwd", "~/x", "a\x00b", "..", ".", "", " "),
    *("[/bold]", "[red]x", "[link=http://x]x[/link]", "[", "\\[", "$x$", "$\\frac{", "%s", "{0}"),
    *("\x1b[2J", "\x1b]0;title\x07", "\x9b31m", "\r", "\n", "\t", "\x7f", "\u2028", "\x85"),
    *("\u202e", "\ufeff", "\u0301" * 30, "ß" * 200, "\U0001f4a5", "nan", "inf", "-0", "1e999"),
    *("stable", "diverged", "sgd", "adam(beta1=0.95)", "epoch", "os:system", "builtins:eval"),
)
NUMBERS = (
    *(0, -1, 1, 2**31, 2**63 - 1, 2**63, 2**64, -(2**63), 10**30, 10**400, True, None),
    *(0.0, -0.0, 1e-320, 1e-30, 1e308, float("inf"), float("-inf"), float("nan"), 0.1, 1.5),
)

nasty_text = st.one_of(
    st.sampled_from(NASTY),
    st.text(max_size=20),
    st.builds("{}{}".format, st.sampled_from(NASTY), st.sampled_from(NASTY)),
)
scalars = st.one_of(st.sampled_from(NUMBERS), nasty_text, st.integers(), st.floats())
plain_data = st.recursive(
    scalars,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.dictionaries(nasty_text, inner, max_size=4)
    ),
    max_leaves=8,
)


def _places(data: object, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the paths of all keys and items of nested data."""
    items: Sequence[tuple[Any, Any]] = ()
    if isinstance(data, dict):
        items = list(data.items())
    elif isinstance(data, list):
        items = list(enumerate(data))
    return [p for key, value in items for p in ((*path, key), *_places(value, (*path, key)))]


def _set(data: object, path: tuple[Any, ...], value: object, rename: object = None) -> None:
    """Put a value at a path, or give the last key another name."""
    here: Any = data
    for key in path[:-1]:
        here = here[key]
    if isinstance(rename, str) and isinstance(here, dict):
        here[rename] = here.pop(path[-1])
    else:
        here[path[-1]] = value


def _dump(data: object) -> str:
    return yaml.safe_dump(data, allow_unicode=True, sort_keys=False, width=10**6)


@composite
def mutated_sweeps(draw: DrawFn) -> bytes:
    """Draw a file of the repository with values and keys exchanged."""
    data = yaml.safe_load(draw(st.sampled_from(SWEEPS)).read_text())
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(_places(data)))
        rename = draw(st.none() | st.none() | nasty_text)
        _set(data, path, draw(plain_data), rename)
    return _dump(data).encode("utf-8", "surrogatepass")


_RUN_ID = b"!!python/object/apply:os.system [id]"


@composite
def torn_sweeps(draw: DrawFn) -> bytes:
    """Draw a file of the repository with pieces cut out, doubled, or replaced by bytes."""
    data = draw(st.sampled_from(SWEEPS)).read_bytes()
    at = sorted(draw(st.lists(st.integers(0, len(data)), min_size=2, max_size=2)))
    piece = draw(
        st.one_of(
            st.binary(max_size=12),
            nasty_text.map(lambda text: text.encode("utf-8", "surrogatepass")),
            st.sampled_from([b"&a [*a]", b"*a", _RUN_ID, b"<<: ", b"!!int ", b"? ", b"---"]),
            st.just(data[at[0] : at[1]] * 2),
        )
    )
    return data[: at[0]] + piece + data[at[1] :]


def _nest(opening: str, depth: int) -> bytes:
    closing = {"[": "]", "{a: ": "}"}.get(opening, "")
    return f"name: x\ntask: {opening * depth}1{closing * depth}\n".encode()


def _laughs(levels: int) -> bytes:
    """Return a bomb: each level doubles the one before it by aliases."""
    lines = ["a0: &a0 [x, x]"]
    lines += [f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, levels)]
    return "\n".join(lines).encode()


bombs = st.one_of(
    st.builds(_nest, st.sampled_from(["[", "{a: ", "- "]), st.sampled_from([10, 60, 3000])),
    st.builds(_laughs, st.sampled_from([3, 40])),
    st.sampled_from([10**4, 10**5]).map(lambda n: b"name: " + b"9" * n),
    st.sampled_from([10**4, 2 * 10**6]).map(lambda n: b"#" * n),
    st.sampled_from([b"", b"\xff\xfe", b"\x00", b"[", b"a: !!binary x", b"<<: {a: 1}", b"a: &b 1"]),
)

sweep_files: SearchStrategy[bytes] = st.one_of(
    mutated_sweeps(),
    torn_sweeps(),
    plain_data.map(lambda data: _dump(data).encode("utf-8", "surrogatepass")),
    bombs,
    st.binary(max_size=60),
)


def study(num_seeds: int = 2, batch_sizes: Sequence[int] = (1, 2, 4, 8, 16)) -> pd.DataFrame:
    """Return a small table that can be fitted; a law takes at least 4 batch sizes."""
    return pd.DataFrame(
        [
            {
                "task": "t",
                "optimizer": "sgd",
                "batch_size": size,
                "lr": lr,
                "seed": seed,
                "verdict": "diverged" if lr > 0.03 * size * (1 + 0.2 * seed) else "stable",
                "reason": "",
                "initial_loss": 2.0,
                "final_loss": 3.0 if lr > 0.03 * size else abs(lr - 0.01 * size) + 0.1,
            }
            for size in batch_sizes
            for seed in range(num_seeds)
            for lr in (0.01 * 2**k for k in range(9))
        ]
    )


COLUMNS = tuple(study(1).columns)
OTHER_COLUMNS = (
    *("damping", "start", "horizon", "recipe", "sampling", "num_examples", "num_steps"),
    *("diverged", "start_loss", "peak_loss", "first_nonfinite_step", "trial_id", "x", MARK),
)


@composite
def tables(draw: DrawFn) -> pd.DataFrame:
    """Draw a table that can be fitted, then spoil some of its cells and columns."""
    # Without a law it is quick.
    sizes = draw(st.sampled_from([(1, 4)] * 7 + [(1, 2, 4, 8, 16)]))
    table = study(2, sizes).astype(object)
    for _ in range(draw(st.integers(1, 3))):
        name = draw(st.sampled_from(COLUMNS + OTHER_COLUMNS))
        match draw(st.sampled_from(["cell", "column", "drop", "double", "list", "cut", "text"])):
            case "cell" if name in table:
                table.loc[draw(st.integers(0, len(table) - 1)), name] = draw(scalars)
            case "column" | "cell":
                table[name] = draw(scalars)
            case "drop" if name in table:
                table = table.drop(columns=name)
            case "double" if name in table:
                table = pd.concat([table, table[[name]]], axis=1)
                break
            case "list":
                table[name] = [draw(st.lists(scalars, max_size=2))] * len(table)
            case "cut":
                table = table.head(draw(st.integers(0, 30))).reset_index(drop=True)
            case _:
                table[name] = [draw(nasty_text) for _ in range(2)] * (len(table) // 2) + [""] * (
                    len(table) % 2
                )
        if table.empty:
            break
    return table


def to_parquet(table: pd.DataFrame, metadata: Mapping[str, str | bytes]) -> bytes:
    """Return a table as a parquet file; what arrow cannot hold becomes text."""
    names = [str(name) for name in table.columns]
    columns = []
    for place in range(len(names)):
        values = table.iloc[:, place]
        try:
            columns.append(pa.array(values.tolist()))
        except (pa.ArrowException, OverflowError, TypeError, ValueError, UnicodeError):
            columns.append(pa.array([_plain(str(value)) for value in values]))
    buffer = io.BytesIO()
    whole = pa.Table.from_arrays(columns, names=[_plain(name) for name in names])
    pq.write_table(whole.replace_schema_metadata(dict(metadata)), buffer, compression="none")
    return buffer.getvalue()


sweep_texts = st.one_of(
    st.sampled_from(SWEEPS).map(lambda path: path.read_text().encode()),
    sweep_files,
    st.just(b"name: x\ncheck: {margin: -1}\n"),
    st.just(b"stability: {max_loss_ratio: 1.2.3}\n"),
    nasty_text.map(lambda text: _plain(f"# {text}\nname: {text}\ncheck: {text}").encode()),
)


@composite
def metadata(draw: DrawFn) -> dict[str, str | bytes]:
    """Draw the metadata of a parquet file: ours, another's, or nonsense."""
    entries: dict[str, SearchStrategy[Any]] = {
        "scaling_sweep.schema_version": st.sampled_from(["1", "2", "", "x", "١", "9" * 5000]),
        "scaling_sweep.sweep": sweep_texts,
        "scaling_sweep.environment": st.one_of(
            plain_data.map(lambda data: json.dumps(data)), nasty_text, st.just("[" * 10**5)
        ).map(lambda text: text.encode("utf-8", "replace")),
        "pandas": st.sampled_from(["{}", "[]", "x", '{"index_columns": [{"kind": "range"}]}']),
        "ARROW:schema": st.sampled_from(["", "AAAA", "x" * 50]),
    }
    chosen = draw(st.sets(st.sampled_from(sorted(entries)), max_size=3))
    return {name: draw(entries[name]) for name in sorted(chosen)}


def _tear(data: bytes, at: int, piece: bytes) -> bytes:
    at = at % (len(data) + 1)
    return data[:at] + piece + data[at + len(piece) :]


@composite
def parquet_files(draw: DrawFn) -> bytes:
    """Draw a parquet file: of a spoilt table, with metadata, perhaps torn, or no parquet at all."""
    data = to_parquet(draw(tables() | st.just(study(2, (1, 4)))), draw(metadata() | st.just({})))
    match draw(st.sampled_from(["whole", "whole", "whole", "torn", "cut", "pickle", "junk"])):
        case "torn":
            return _tear(data, draw(st.integers(0, 10**6)), draw(st.binary(min_size=1, max_size=8)))
        case "cut":
            return data[: draw(st.integers(0, len(data)))]
        case "pickle":
            return pickle.dumps(_Bomb())
        case "junk":
            return draw(st.binary(max_size=200))
    return data


class _Bomb:
    """An object that would run a command if it were unpickled."""

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("touch /tmp/scaling-sweep-fuzz-was-here",)


PICKLE = pickle.dumps(_Bomb(), protocol=2)  # the one that torch.load expects
"""A pickle that runs a command when it is loaded."""


@composite
def csv_files(draw: DrawFn) -> bytes:
    """Draw a CSV file of a spoilt table, perhaps torn, or no CSV at all."""
    text = draw(tables() | st.just(study(2, (1, 4)))).to_csv(index=False)
    data = str(text).encode("utf-8", "replace")
    if draw(st.booleans()):
        return data
    return _tear(data, draw(st.integers(0, 10**6)), draw(st.binary(min_size=1, max_size=8)))


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
        name: _tear(made[name], draw(st.integers(0, 10**6)), draw(st.binary(max_size=8)))
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
        ValueRow(_plain(point), 0, seed, quantity, 2.0 + seed, 0.1, Matrix.HESSIAN, owner)
        for seed in range(2)
        for quantity in quantities
        for owner in dict.fromkeys(("", _plain(optimizer)))
    )
    facts = CurvatureFacts(task=_plain(note), notes=(_plain(note),))
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "curvature.parquet"
        write_curvature(CurvatureTable(rows, (), facts), path)
        return path.read_bytes()


def _plain(text: str) -> str:
    """Return what UTF-8 can hold of a text."""
    return text.encode("utf-8", "replace").decode()


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
