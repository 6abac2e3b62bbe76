"""The sweep file's JSON Schema, from which editors complete and check."""

import json

from scaling_sweep.spec.models import SweepSpec

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema_text() -> str:
    """Return the content of `docs/sweep.schema.json`, generated from the models.

    Example:
        >>> schema_text().splitlines()[1]
        '  "$schema": "https://json-schema.org/draft/2020-12/schema",'
    """
    schema = _tidy({"$schema": DIALECT, **SweepSpec.model_json_schema()})
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _tidy(schema: object) -> object:
    """Return a schema without the titles and null defaults that an editor would only repeat."""
    if isinstance(schema, list):
        return [_tidy(item) for item in schema]
    if isinstance(schema, str):
        return schema.partition("\n\nExample:")[0]  # for readers of Python, not of a sweep file
    if not isinstance(schema, dict):
        return schema
    return {key: _tidy(value) for key, value in schema.items() if not _is_dull(key, value)}


def _is_dull(key: str, value: object) -> bool:
    """Return whether an entry is a title that repeats its key, or a default that says nothing."""
    return (key == "title" and isinstance(value, str)) or (key == "default" and value is None)
