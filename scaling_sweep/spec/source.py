"""A YAML text as plain data that remembers the line of every key."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from scaling_sweep.errors import UserError
from scaling_sweep.spec.wording import as_yaml

# A sweep file has some dozen lines; a guess that leaves room for long lists of values.
_MAX_BYTES = 1_000_000
# The deepest sweep file has 6 levels; the arguments of a task may add some.
_MAX_DEPTH = 50

KeyPath = tuple[str | int, ...]


@dataclass(frozen=True)
class Source:
    """A sweep file as it was read.

    Attributes:
        path: Where the text came from, as the user wrote it.
        text: The text.
        data: Mappings, lists and scalars.
        lines: Line, from 1, of every key and list item by its path from the top.
    """

    path: Path
    text: str
    data: object
    lines: Mapping[KeyPath, int] = field(repr=False)

    def line_of(self, path: KeyPath) -> int:
        """Return the line of a key, or of the nearest section around it that is in the file."""
        while path and path not in self.lines:
            path = path[:-1]
        return self.lines.get(path, 1)

    def error(self, message: str, *path: str | int) -> UserError:
        """Build the one-line error for a mistake at a key.

        Args:
            message: What was wrong, what was given and what to write instead.
            path: Keys and indices from the top of the file.

        Returns:
            The error, to be raised.
        """
        where = dotted(path)
        return UserError(f"{self.path}:{self.line_of(path)}: {where and where + ': '}{message}")


def dotted(path: KeyPath) -> str:
    """Return a path as people write it.

    Example:
        >>> dotted(("parameters", "lr", "values", 2))
        'parameters.lr.values[2]'
    """
    return "".join(f"[{key}]" if isinstance(key, int) else f".{_plain(key)}" for key in path)[1:]


def _plain(key: str) -> str:
    """Return a key as it is, or quoted where it could break the line of a message."""
    return key if key.isprintable() and key.strip() else as_yaml(key)


def read_source(path: Path) -> Source:
    """Return a sweep file, read.

    Raises:
        UserError: If there is no such text file, or it is not YAML that a sweep can be.
    """
    if path.is_dir():
        raise UserError(f"{path}: is a directory; give the sweep file inside it")
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_BYTES + 1)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; give the path of a sweep file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from None
    if len(raw) > _MAX_BYTES:
        raise UserError(f"{path}: more than {_MAX_BYTES:,} bytes; give a sweep file in YAML")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise UserError(f"{path}: not UTF-8 text; give a sweep file in YAML") from None
    return parse_source(text, path)


def parse_source(text: str, path: Path) -> Source:
    """Return the text of a sweep file, parsed; `path` is for messages only.

    Raises:
        UserError: If it is not YAML, is empty, or uses what could hide a mistake.
    """
    loader = None
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
    except yaml.YAMLError as error:
        raise UserError(f"{path}:{_describe(error, text)}") from None
    finally:
        if loader is not None:
            loader.dispose()
    reader = _Reader(path)
    data = None if node is None else reader.read(node, ())
    if data is None:
        raise UserError(f"{path}:1: the file is empty; begin with name: and task:")
    return Source(path, text, data, reader.lines)


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader with the scalars of YAML 1.2 and without aliases.

    PyYAML follows YAML 1.1, where `1e-3` is text, `yes` a truth value, `1:30` the number 90 and
    `010` the number 8.
    """

    yaml_implicit_resolvers: dict[str, list[tuple[str, Any]]] = {}  # noqa: RUF012 (PyYAML's way)
    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        """Return the next node, refusing what could make a small file grow without end."""
        if self.check_event(yaml.AliasEvent):
            raise self._problem("aliases (*name) are not supported; write the value out")
        if self.depth >= _MAX_DEPTH:
            raise self._problem(f"nested more than {_MAX_DEPTH} levels deep")
        self.depth += 1
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def _problem(self, problem: str) -> yaml.MarkedYAMLError:
        """Return an error at the next event."""
        mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
        return yaml.MarkedYAMLError(problem=problem, problem_mark=mark)


for _tag, _pattern, _first in (
    ("null", r"(~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("bool", r"(true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("int", r"[-+]?[0-9][0-9_]*$", list("-+0123456789")),
    (
        "float",
        r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9_]*)?)([eE][-+]?[0-9]+)?$",
        list("-+.0123456789"),
    ),
    ("float", r"([-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$", list("-+.")),
):
    _Loader.add_implicit_resolver(f"tag:yaml.org,2002:{_tag}", re.compile(_pattern), _first)


def _describe(error: yaml.YAMLError, text: str) -> str:
    """Return where and why a text is not YAML, as `line: reason`."""
    if isinstance(error, yaml.reader.ReaderError):
        line = text.count("\n", 0, error.position) + 1
        return f"{line}: not a text file: character {error.character!r} is not allowed"
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    line = mark.line + 1 if mark else 1
    problem = " ".join(str(getattr(error, "problem", None) or error).split())
    if isinstance(error, yaml.composer.ComposerError) and "document" in problem:
        problem = "a second document begins; keep one study per file and delete the ---"
    if "'\\t'" in problem:
        problem = "a tab; indent with spaces"
    elif "mapping values are not allowed" in problem:
        problem += "; put a value with a colon in quotes, and one key on each line"
    return f"{line}: not a sweep file: {problem}"


class _Reader:
    """Walks a tree of nodes once, building data and remembering lines."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.lines: dict[KeyPath, int] = {}

    def read(self, node: yaml.Node, path: KeyPath) -> object:
        """Return the data of a node."""
        self.lines.setdefault(path, node.start_mark.line + 1)
        if isinstance(node, yaml.MappingNode) and node.tag.endswith(":map"):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode) and node.tag.endswith(":seq"):
            return [self.read(item, (*path, index)) for index, item in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, path)
        raise self._error(node, path, f"the tag {node.tag} is not supported; delete it")

    def _mapping(self, node: yaml.MappingNode, path: KeyPath) -> dict[str, object]:
        """Return a mapping, refusing keys that are given twice or are not text."""
        data: dict[str, object] = {}
        for key_node, value_node in node.value:
            key = self.read(key_node, (*path, "key"))
            self.lines.pop((*path, "key"), None)
            if not isinstance(key, str):
                raise self._error(key_node, path, f"a key must be text, got {as_yaml(key)}")
            here = (*path, key)
            if key in data:
                first = self.lines[here]
                message = f"given twice, first on line {first}; delete one"
                raise self._error(key_node, here, message)
            self.lines[here] = key_node.start_mark.line + 1
            data[key] = self.read(value_node, here)
        return data

    def _scalar(self, node: yaml.ScalarNode, path: KeyPath) -> object:
        """Return a scalar by its tag."""
        text = str(node.value)
        digits = text.replace("_", "")
        try:
            match node.tag.rpartition(":")[2]:
                case "str":
                    return text
                case "int":
                    return int(digits)
                case "float":
                    return float(digits.lower().replace(".inf", "inf").replace(".nan", "nan"))
                case "bool":
                    return {"true": True, "false": False}[text.lower()]
                case "null":
                    return None
        except (ValueError, KeyError):
            shown = as_yaml(text, 20)
            raise self._error(node, path, f"not a value that can be used: {shown}") from None
        raise self._error(node, path, f"the tag {node.tag} is not supported; delete it")

    def _error(self, node: yaml.Node, path: KeyPath, message: str) -> UserError:
        """Return an error at a node's line."""
        where = dotted(path)
        line = node.start_mark.line + 1
        return UserError(f"{self.path}:{line}: {where and where + ': '}{message}")
