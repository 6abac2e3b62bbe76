"""What every part of a sweep file shares: strict keys, strict scalars, errors that mend."""

import math
from collections.abc import Hashable, Iterable, Mapping
from typing import Annotated, Any, NoReturn, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError

from scaling_sweep.spec.wording import as_yaml, call_text, nearest


def refuse(message: str, *path: str | int) -> NoReturn:
    """Raise the error of a validator.

    Args:
        message: What was wrong, what was given and what to write instead.
        path: Keys and indices from the section being validated down to the mistake.

    Raises:
        PydanticCustomError: Always; the validator collects it with its place.

    Example:
        >>> refuse("must be above 0, got -1", "lr", "min")
        Traceback (most recent call last):
        pydantic_core._pydantic_core.PydanticCustomError: must be above 0, got -1
    """
    raise PydanticCustomError("mistake", "{text}", {"text": message, "path": path})


def _whole(value: object) -> object:
    """Return 300 and 3e2 as 300, refuse true, '300' and 2.5."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        refuse(f"must be a whole number, got {as_yaml(value)}")
    return value


def _number(value: object) -> object:
    """Return finite numbers, refuse true, 'text', .nan and .inf."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        refuse(f"must be a number, got {as_yaml(value)}; write for example 0.1 or 1e-3")
    try:
        if math.isfinite(value):
            return float(value)
    except OverflowError:  # a whole number beyond every float
        pass
    refuse(f"must be a finite number, got {as_yaml(value)}")


def _text(value: object) -> object:
    """Return text, refuse anything else."""
    if not isinstance(value, str):
        refuse(f"must be text, got {as_yaml(value)}; put it in quotes if it is meant as text")
    return value


# Annotations; they come after a field's bounds, so that the JSON Schema has the bounds too.
WHOLE = BeforeValidator(_whole)
NUMBER = BeforeValidator(_number)
TEXT = BeforeValidator(_text)


def listed(value: object) -> object:
    """Return a list with at least one item, refuse anything else before its items are read."""
    if isinstance(value, list | tuple) and value:
        return value
    if isinstance(value, list | tuple):
        refuse("must have at least one value, got an empty list")
    refuse(f"must be a list, got {as_yaml(value)}; write [{as_yaml(value)}]")


def refuse_duplicates(values: Iterable[Hashable], *path: str | int) -> None:
    """Refuse the second of two equal values.

    Args:
        values: What was listed, in the file's order.
        path: Where the list stands, from the section being validated.
    """
    seen: set[Hashable] = set()
    for index, value in enumerate(values):
        if value in seen:
            refuse(f"{as_yaml(value)} is listed twice; delete one", *path, index)
        seen.add(value)


class Section(BaseModel):
    """A part of a sweep file: a mapping with known keys, immutable once read."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    @classmethod
    def expand(cls, given: object) -> object:
        """Return the mapping a shorthand stands for; by default there is no shorthand."""
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
        refuse(f"unknown key; {nearest(key, cls.model_fields)}", key)

    @model_validator(mode="before")
    @classmethod
    def _check_keys(cls, given: object) -> object:
        """Return the mapping after checking its keys, in better words than the validator's own."""
        if isinstance(given, cls):
            return given
        given = cls.expand(given)
        if not isinstance(given, Mapping):
            example = as_yaml(cls.example(), max_length=120)
            refuse(f"must be a mapping, got {as_yaml(given)}; write for example {example}")
        for key, value in given.items():
            if key not in cls.model_fields:
                cls.refuse_unknown(key, value)
        for name, field in cls.model_fields.items():
            if field.is_required() and name not in given:
                example = as_yaml({name: (field.examples or ["…"])[0]}, max_length=200)[1:-1]
                refuse(f"missing; write for example `{example}`", name)
        return given


class Named(Section):
    """A name with arguments; a bare name stands for one without."""

    name: Annotated[
        str,
        Field(pattern=r"^[A-Za-z_][\w.-]*(:[A-Za-z_][\w.]*)?$", examples=["digits_mlp"]),
        TEXT,
    ]
    """A built-in name, or `package.module:attribute` for one's own."""

    args: dict[str, Any] = Field(default={}, examples=[{"width": 256}])
    """Keyword arguments it is made with."""

    @model_validator(mode="after")
    def _check_names(self) -> Self:
        """Return the mapping, refusing what is no name of an argument: labels show them."""
        for name in self.args:
            if not name.isidentifier():
                refuse(
                    f"{as_yaml(name)} is no name of an argument; write for example width", "args"
                )
        return self

    @classmethod
    def expand(cls, given: object) -> object:
        """Return the mapping a bare name stands for."""
        return {"name": given} if isinstance(given, str) else given

    @classmethod
    def refuse_unknown(cls, key: str, value: object) -> None:
        """Point to `args`, where arguments belong."""
        refuse(f"unknown key; did you mean args: {as_yaml({key: value})}?", key)

    @property
    def label(self) -> str:
        """The name with its arguments, keys sorted."""
        return call_text(self.name, self.args)

    def __hash__(self) -> int:
        """Return a hash of the label: `args` is a dict."""
        return hash(self.label)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Return what a file may say: a bare name, or the mapping."""
        mapping = handler.resolve_ref_schema(handler(schema))
        return {"anyOf": [mapping["properties"]["name"], mapping]}
