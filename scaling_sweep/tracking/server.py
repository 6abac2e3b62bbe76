"""How W&B's server is reached: its settings, whether it answers, and what its errors say."""

import os
import urllib.error
import urllib.request
from typing import Any

DEFAULT_PROJECT = "scaling-sweep"
# A healthy server answers the first request in well under a second (guess).
_PREFLIGHT_S = 3.0
# W&B's own default is 90 s; what waits here is only the mirror.
_INIT_TIMEOUT_S = 15.0
# W&B writes its log every 15 s by default; a mirror that is killed should not lose as much.
_FLUSH_INTERVAL_S = 1.0


def find_project() -> str:
    """Return the project that runs go to: what ``WANDB_PROJECT`` says, else ours."""
    return os.environ.get("WANDB_PROJECT", DEFAULT_PROJECT)


def find_obstacle(base_url: str) -> str | None:
    """Return why a server cannot be reached, None when anything at all answers.

    wandb would find out too, but only after many retries.

    Args:
        base_url: The server.

    Returns:
        One line.
    """
    try:
        with urllib.request.urlopen(base_url, timeout=_PREFLIGHT_S):
            return None
    except urllib.error.HTTPError:
        return None
    except urllib.error.URLError as error:
        if "certificate" in str(error.reason).lower():
            return None  # W&B has certificates of its own: let it try.
        return f"{base_url}: {first_line(error.reason)}"
    except (OSError, ValueError) as error:
        return f"{base_url}: {first_line(error)}"


def first_line(error: object) -> str:
    """Return the first line of an error, without the API key should it be quoted there.

    Args:
        error: What was raised.

    Returns:
        The line, or the error's kind where it has none.
    """
    text = (str(error).splitlines() or [type(error).__name__])[0]
    key = os.environ.get("WANDB_API_KEY")
    return text.replace(key, "***") if key else text


def quiet_settings(wandb: Any, finish_timeout_s: float) -> Any:  # noqa: ANN401
    """Return settings that keep W&B quiet and to the study's own data.

    Without them it would send host name, user name, command line and installed packages, and watch
    the load of this process, which says nothing about the sweep's.

    Args:
        wandb: The module.
        finish_timeout_s: Most seconds that a run waits at its end for the server.

    Returns:
        Its `Settings`.
    """
    wanted: dict[str, object] = {
        "silent": True,
        "console": "off",
        "init_timeout": _INIT_TIMEOUT_S,
        "finish_timeout": finish_timeout_s,
        "finish_timeout_raises": True,
        "x_transaction_log_flush_interval": _FLUSH_INTERVAL_S,
        "x_disable_meta": True,
        "x_disable_stats": True,
        "x_disable_machine_info": True,
        "x_save_requirements": False,
        "disable_git": True,
        "disable_code": True,
        "save_code": False,
        "label_disable": True,
    }
    # Older versions know fewer of them and refuse what they do not know.
    known = wandb.Settings.model_fields
    return wandb.Settings(**{name: value for name, value in wanted.items() if name in known})
