"""Values drawn from the sweep file's own schema, so that a new field is fuzzed once it is there."""

from collections.abc import Mapping
from functools import cache
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from benchmarks.fuzz.strings import nasty_text, plain_data, scalars

# A whole section with several values that cannot be is refused for the first of them.
_ONE_WILD_IN = 12

Node = Mapping[str, Any]


@cache
def sections() -> dict[str, SearchStrategy[Any]]:
    """Return, by its name, a strategy for each top-level field of a sweep file."""
    from scaling_sweep.spec import SweepSpec

    schema = SweepSpec.model_json_schema()
    return {
        name: _values(node, schema.get("$defs", {})) for name, node in schema["properties"].items()
    }


def _values(node: Node, definitions: Mapping[str, Node]) -> SearchStrategy[Any]:
    """Return values that a node of the schema takes, at its bounds and a little beside them."""
    if "$ref" in node:
        return _values(definitions[node["$ref"].rpartition("/")[2]], definitions)
    for several in ("anyOf", "oneOf"):
        if several in node:
            return st.one_of(*(_values(one, definitions) for one in node[several]))
    if "properties" in node:
        return _objects(node, definitions)
    right, wild = _right(node, definitions), st.one_of(scalars, plain_data)
    return st.integers(1, _ONE_WILD_IN).flatmap(lambda n: wild if n == _ONE_WILD_IN else right)


def _objects(node: Node, definitions: Mapping[str, Node]) -> SearchStrategy[Any]:
    """Return mappings with the required keys, some of the others, and rarely a strange one."""
    fields = {name: _values(one, definitions) for name, one in node["properties"].items()}
    needed = {name: fields.pop(name) for name in node.get("required", ())}
    strange: SearchStrategy[dict[str, Any]] = st.just({}) | st.dictionaries(
        nasty_text, scalars, max_size=1
    )
    return st.builds(
        lambda own, more: own | more, st.fixed_dictionaries(needed, optional=fields), strange
    )


def _right(node: Node, definitions: Mapping[str, Node]) -> SearchStrategy[Any]:
    """Return values of the right kind."""
    if "enum" in node or "const" in node:
        return st.sampled_from(node.get("enum") or [node["const"]])
    examples = [st.sampled_from(node["examples"])] if node.get("examples") else []
    match node.get("type"):
        case "integer" | "number" as kind:
            words = ("minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum")
            bounds = [node[word] for word in words if word in node]
            near = [bound + step for bound in (*bounds, 0) for step in (-1, 0, 1)]
            floats = st.floats(0, 10) if kind == "number" else st.integers(0, 10)
            return st.one_of(*examples, st.sampled_from(near), floats)
        case "boolean":
            return st.booleans()
        case "array":
            items = _values(node.get("items", {"type": "number"}), definitions)
            return st.one_of(*examples, st.lists(items, max_size=4))
        case "object":
            inner = node.get("additionalProperties")
            value = _values(inner, definitions) if isinstance(inner, Mapping) else plain_data
            return st.one_of(*examples, st.dictionaries(nasty_text, value, max_size=2))
        case "null":
            return st.none()
    return st.one_of(*examples, nasty_text)
