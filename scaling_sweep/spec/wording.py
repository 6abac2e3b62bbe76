"""How values, names and corrections are written in messages and labels."""

import difflib
import json
import math
from collections.abc import Iterable, Mapping

import yaml

# Words people bring from other tools, where the nearest spelling would be no help.
SYNONYMS = {
    "learning_rate": "lr",
    "learning_rates": "lr",
    "bs": "batch_size",
    "model": "task",
    "betas": "beta1",
    "eps": "damping",
    "epsilon": "damping",
    "steps_per_octave": "per_octave",
}


def as_yaml(value: object, max_length: int = 60) -> str:
    """Return a value the way it could stand in a sweep file, cut short when it is long.

    Example:
        >>> as_yaml({"values": [1, 2]}), as_yaml(None), as_yaml("adam"), as_yaml(-1.0)
        ('{values: [1, 2]}', 'nothing', 'adam', '-1')
    """
    if value is None:
        return "nothing"
    if isinstance(value, float) and math.isfinite(value):
        return exact_text(value)
    if isinstance(value, list | str):
        value = value[: max_length + 1]  # a list of a million values takes seconds to write
    try:
        text = yaml.safe_dump(
            value, default_flow_style=True, width=math.inf, allow_unicode=True, sort_keys=False
        )
    except yaml.YAMLError:  # not plain data: a caller's object, no sweep file holds one
        text = repr(value)
    text = text.removesuffix("...\n").strip().replace("\n", " ")
    return text if len(text) <= max_length else f"{text[:max_length]}…"


def exact_text(value: float) -> str:
    """Return a number as briefly as it can be written without losing any of it.

    Example:
        >>> exact_text(0.95), exact_text(100000), exact_text(0.123456789)
        ('0.95', '100000', '0.123456789')
    """
    if isinstance(value, int):
        return str(value)
    brief = f"{value:g}"
    return brief if float(brief) == value else repr(value)


def call_text(name: str, args: Mapping[str, object]) -> str:
    """Return a name with its arguments, keys sorted: a label that loses nothing.

    Example:
        >>> call_text("digits_mlp", {"width": 256, "depth": 2})
        'digits_mlp(depth=2, width=256)'
    """
    if not args:
        return name
    written = (f"{key}={json.dumps(args[key], sort_keys=True)}" for key in sorted(args))
    return f"{name}({', '.join(written)})"


def nearest(word: object, known: Iterable[str]) -> str:
    """Return which known word was probably meant, or a list of all when none is near.

    Example:
        >>> nearest("optimzer", ["optimizer", "lr"]), nearest("x", ["optimizer", "lr"])
        ('did you mean optimizer?', 'known are lr, optimizer')
    """
    choices = sorted(known)
    guess = SYNONYMS.get(str(word))
    close = [guess] if guess in choices else difflib.get_close_matches(str(word), choices)
    # Letters in another order are the commonest slip: adma is adam, though nearer to adamax.
    close.sort(key=lambda choice: sorted(choice) != sorted(str(word)))
    return f"did you mean {close[0]}?" if close else f"known are {', '.join(choices)}"
