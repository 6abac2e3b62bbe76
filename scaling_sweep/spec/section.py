"""What every part of a sweep file shares: strict keys, strict scalars, errors that mend the mistake."""

import difflib
import json
import math
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Self

import yaml
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

# Words people bring from other tools, where the nearest spelling would be no help.
SYNONYMS = {
    "learning_rate": "lr",
    "learning_rates": "lr",
    "bs": "batch_size",
    "model": "task",
    "betas": "beta1",
    "steps_per_octave": "per_octave",
}


def mistake(message: str, *path: str | int) -> PydanticCustomError:
    """Build the error a validator raises.

    Args:
        message: What was wrong, what was given and what to write instead.
        path: Keys and indices from the section being validated down to the mistake.

    Returns:
        The error, to be raised.

    Example:
        >>> str(mistake("must be above 0, got -1", "lr", "min"))
        'must be above 0, got -1'
    """
    return PydanticCustomError("mistake", "{text}", {"text": message, "path": path})


def as_yaml(value: object, max_length: int = 60) -> str:
    """Write a value the way it could stand in a sweep file, cut short when it is long.

    Example:
        >>> as_yaml({"values": [1, 2]}), as_yaml(None), as_yaml("adam")
        ('{values: [1, 2]}', 'nothing', 'adam')
    """
    if value is None:
        return "nothing"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return f"{value:.1f}"
    text = yaml.safe_dump(value, default_flow_style=True, width=math.inf, allow_unicode=True)
    text = text.removesuffix("...\n").strip().replace("\n", " ")
    return text if len(text) <= max_length else f"{text[:max_length]}…"


def exact_text(value: float) -> str:
    """Write a number as briefly as possible without losing any of it.

    Example:
        >>> exact_text(0.95), exact_text(100000), exact_text(0.123456789)
        ('0.95', '100000', '0.123456789')
    """
    if isinstance(value, int):
        return str(value)
    brief = f"{value:g}"
    return brief if float(brief) == value else repr(value)


def call_text(name: str, args: Mapping[str, object]) -> str:
    """Write a name with its arguments, keys sorted: a label that loses nothing.

    Example:
        >>> call_text("digits_mlp", {"width": 256, "depth": 2})
        'digits_mlp(depth=2, width=256)'
    """
    if not args:
        return name
    written = (f"{key}={json.dumps(args[key], sort_keys=True)}" for key in sorted(args))
    return f"{name}({', '.join(written)})"


def nearest(word: object, known: Iterable[str]) -> str:
    """Say which known word was probably meant, and list them all when none is near.

    Example:
        >>> nearest("optimzer", ["optimizer", "lr"]), nearest("x", ["optimizer", "lr"])
        ('did you mean optimizer?', 'known are lr, optimizer')
    """
    choices = sorted(known)
    guess = SYNONYMS.get(str(word))
    close = [guess] if guess in choices else difflib.get_close_matches(str(word), choices, n=1)
    return f"did you mean {close[0]}?" if close else f"known are {', '.join(choices)}"


def _whole(value: object) -> object:
    """Accept 300 and 3e2, refuse true, '300' and 2.5."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise mistake(f"must be a whole number, got {as_yaml(value)}")
    return value


def _number(value: object) -> object:
    """Accept finite numbers, refuse true, 'text', .nan and .inf."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise mistake(f"must be a number, got {as_yaml(value)}; write for example 0.1 or 1e-3")
    try:
        if math.isfinite(value):
            return float(value)
    except OverflowError:  # a whole number beyond every float
        pass
    raise mistake(f"must be a finite number, got {as_yaml(value)}")


def _text(value: object) -> object:
    """Accept text only."""
    if not isinstance(value, str):
        raise mistake(
            f"must be text, got {as_yaml(value)}; put it in quotes if it is meant as text"
        )
    return value


Whole = Annotated[int, BeforeValidator(_whole)]
Number = Annotated[float, BeforeValidator(_number)]
Text = Annotated[str, BeforeValidator(_text)]


def listed(value: object) -> object:
    """Refuse what is not a list with at least one item, before its items are looked at."""
    if isinstance(value, list | tuple) and value:
        return value
    if isinstance(value, list | tuple):
        raise mistake("must have at least one value, got an empty list")
    raise mistake(f"must be a list, got {as_yaml(value)}; write [{as_yaml(value)}]")


def refuse_duplicates(values: Iterable[object], *path: str | int) -> None:
    """Refuse a value that was already given.

    Args:
        values: What was listed, in the file's order.
        path: Where the list stands, from the section being validated.

    Raises:
        PydanticCustomError: At the second of two equal values.
    """
    seen: list[object] = []
    for index, value in enumerate(values):
        if value in seen:
            raise mistake(f"{as_yaml(value)} is listed twice; delete one", *path, index)
        seen.append(value)


class Section(BaseModel):
    """A part of a sweep file: a mapping with known keys, immutable once read."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    @classmethod
    def expand(cls, given: object) -> object:
        """Turn a shorthand into the mapping it stands for; the default has no shorthand."""
        return given

    @classmethod
    def example(cls) -> dict[str, Any]:
        """Return a mapping that could stand in a file: required keys, or all if none is."""
        fields = {name: field for name, field in cls.model_fields.items() if field.examples}
        required = {name: field for name, field in fields.items() if field.is_required()}
        return {name: (field.examples or [None])[0] for name, field in (required or fields).items()}

    @classmethod
    def refuse_unknown(cls, key: str, value: object) -> None:
        """Refuse a key this section does not have, naming the one that was probably meant."""
        del value  # a subclass may say where the pair belongs
        raise mistake(f"unknown key; {nearest(key, cls.model_fields)}", key)

    @model_validator(mode="before")
    @classmethod
    def _check_keys(cls, given: object) -> object:
        """Check the mapping's shape with better words than the validator's own."""
        if isinstance(given, cls):
            return given
        given = cls.expand(given)
        if not isinstance(given, Mapping):
            example = as_yaml(cls.example(), max_length=200)
            raise mistake(f"must be a mapping, got {as_yaml(given)}; write for example {example}")
        for key, value in given.items():
            if key not in cls.model_fields:
                cls.refuse_unknown(key, value)
        for name, field in cls.model_fields.items():
            if field.is_required() and name not in given:
                example = as_yaml({name: (field.examples or ["…"])[0]}, max_length=200)[1:-1]
                raise mistake(f"missing; write for example `{example}`", name)
        return given


class Named(Section):
    """A name with arguments; a bare name stands for one without."""

    name: Annotated[
        Text,
        Field(
            pattern=r"^[A-Za-z_][\w.-]*(:[A-Za-z_][\w.]*)?$",
            examples=["digits_mlp"],
        ),
    ]
    """A built-in name, or `package.module:attribute` for one's own."""

    args: dict[str, Any] = Field(default={}, examples=[{"width": 256}])
    """Keyword arguments it is made with."""

    @classmethod
    def expand(cls, given: object) -> object:
        """Read a bare name."""
        return {"name": given} if isinstance(given, str) else given

    @classmethod
    def refuse_unknown(cls, key: str, value: object) -> None:
        """Point to `args`, where arguments belong."""
        raise mistake(f"unknown key; did you mean args: {as_yaml({key: value})}?", key)

    @model_validator(mode="after")
    def _check_args(self) -> Self:
        """Arguments must be plain data, so that they can be written into a trial's name."""
        json.dumps(self.args)
        return self

    @property
    def label(self) -> str:
        """The name with its arguments, keys sorted."""
        return call_text(self.name, self.args)

    def __hash__(self) -> int:
        """Hash by label: `args` is a dict."""
        return hash(self.label)
