"""Sweep files: those of the repository spoilt, values drawn from the schema, and nonsense."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from hypothesis import strategies as st
from hypothesis.strategies import DrawFn, SearchStrategy, composite

from benchmarks.fuzz.schema import sections
from benchmarks.fuzz.strings import nasty_text, plain, plain_data

SWEEPS = tuple(sorted((Path(__file__).parents[2] / "sweeps").glob("*.yaml")))


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


@composite
def drawn_sweeps(draw: DrawFn) -> bytes:
    """Draw a file of the repository with whole sections as the schema has them, or nearly."""
    data = yaml.safe_load(draw(st.sampled_from(SWEEPS)).read_text())
    for name in draw(st.lists(st.sampled_from(sorted(sections())), min_size=1, max_size=2)):
        data[name] = draw(sections()[name])
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
    drawn_sweeps(),
    mutated_sweeps(),
    torn_sweeps(),
    plain_data.map(lambda data: _dump(data).encode("utf-8", "surrogatepass")),
    bombs,
    st.binary(max_size=60),
)


sweep_texts = st.one_of(
    st.sampled_from(SWEEPS).map(lambda path: path.read_text().encode()),
    sweep_files,
    st.just(b"name: x\ncheck: {margin: -1}\n"),
    st.just(b"stability: {max_loss_ratio: 1.2.3}\n"),
    nasty_text.map(lambda text: plain(f"# {text}\nname: {text}\ncheck: {text}").encode()),
)
