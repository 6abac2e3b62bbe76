"""Ray's authentication token: found, made and handed on without ever being shown.

A token is read from where Ray reads it and from nowhere else. It lives in files of mode 600 or in
a Kubernetes secret, never in a run folder, an argument of a command, a log or a message.
"""

import os
import secrets
from collections.abc import Mapping, MutableMapping
from enum import StrEnum
from pathlib import Path

from scaling_sweep.errors import UserError

# Ray's own names and its order (docs.ray.io, "Ray token authentication").
MODE, VALUE, PATH = "RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"
_NUM_BYTES = 32
_PRIVATE = 0o077


class TokenSource(StrEnum):
    """Where Ray would take a token from; the values are for people."""

    VALUE = "the environment variable RAY_AUTH_TOKEN"
    PATH = "the file that RAY_AUTH_TOKEN_PATH names"
    DEFAULT = "the file ~/.ray/auth_token"
    NONE = "nowhere"


def token_source(environment: Mapping[str, str] = os.environ) -> TokenSource:
    """Return where a token lies, without reading more than whether it is empty.

    Args:
        environment: Environment variables.

    Returns:
        The first place, in Ray's order, that holds a token.

    Raises:
        UserError: If a file is named that is not there, unreadable or empty: Ray would abort.

    Example:
        >>> token_source({"RAY_AUTH_TOKEN": "secret"}).value
        'the environment variable RAY_AUTH_TOKEN'
    """
    if environment.get(VALUE, "").strip():
        return TokenSource.VALUE
    named = environment.get(PATH, "")
    if named:
        try:
            empty = not Path(named).read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = getattr(error, "strerror", None) or "it is not text"
            raise UserError(
                f"RAY_AUTH_TOKEN_PATH names {named}, which cannot be read: {reason}; "
                "copy the cluster's token there, or unset the variable"
            ) from None
        if empty:
            raise UserError(f"RAY_AUTH_TOKEN_PATH names {named}, which is empty; {_HOW_TO_GET}")
        return TokenSource.PATH
    try:
        held = default_path(environment).read_text().strip()
    except (OSError, UnicodeDecodeError):
        held = ""
    return TokenSource.DEFAULT if held else TokenSource.NONE


_HOW_TO_GET = "copy the token there that `ray get-auth-token` prints on the cluster's head"


def default_path(environment: Mapping[str, str] = os.environ) -> Path:
    """Return Ray's own place for a token."""
    home = environment.get("HOME")
    return (Path(home) if home else Path.home()) / ".ray" / "auth_token"


def use_token(environment: MutableMapping[str, str] = os.environ) -> TokenSource:
    """Let Ray send the token there is: by itself, only the head of a cluster looks for one.

    Must run before Ray is imported. A cluster that asks for none ignores what is sent (tried with
    Ray 2.60). Token mode without any token would abort the process inside Ray.

    Args:
        environment: Environment variables; ``RAY_AUTH_MODE`` is set in them.

    Returns:
        Where the token is taken from.

    Raises:
        UserError: If token mode is asked for and there is no token.
    """
    source = token_source(environment)
    mode = environment.get(MODE, "").lower()
    if mode == "token" and source is TokenSource.NONE:
        raise UserError(
            "RAY_AUTH_MODE=token, and there is no token; "
            f"put the cluster's token into {default_path(environment)} (mode 600), or name its "
            "file in RAY_AUTH_TOKEN_PATH"
        )
    if not mode and source is not TokenSource.NONE:
        environment[MODE] = "token"
    return source


def secure_local(environment: MutableMapping[str, str] = os.environ) -> None:
    """Have a token for a Ray that is started here, in a file that only its owner can read.

    Ray itself would write the file readable for all.

    Args:
        environment: Environment variables; ``RAY_AUTH_MODE`` is set in them unless it is there.
    """
    if environment.get(MODE, "token").lower() != "token":
        return
    environment[MODE] = "token"
    if token_source(environment) is TokenSource.NONE:
        write_token(default_path(environment))


def write_token(path: Path) -> None:
    """Write a new random token into a file of mode 600, in a folder for its owner alone.

    Args:
        path: The file; a token that is there is replaced.

    Raises:
        UserError: If it cannot be written.
    """
    write_private(path, secrets.token_hex(_NUM_BYTES))


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all.

    Args:
        path: The file; its folder is made with mode 700 when it is not there.
        text: What it shall hold.

    Raises:
        UserError: If it cannot be written.
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        beside.replace(path)
    except OSError as error:
        beside.unlink(missing_ok=True)
        raise UserError(
            f"cannot write {path}: {error.strerror}; make its folder writable"
        ) from None


def is_private(path: Path) -> bool:
    """Return whether nobody but its owner can read a file."""
    return not path.stat().st_mode & _PRIVATE


def private_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return our folder for tokens of clusters that we start; never inside a run folder."""
    home = environment.get("HOME")
    return (Path(home) if home else Path.home()) / ".scaling-sweep"
