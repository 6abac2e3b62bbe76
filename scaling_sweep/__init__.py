"""Measure how the largest stable learning rate of a model grows with batch size.

Example:
    >>> import scaling_sweep
    >>> sweep = scaling_sweep.load_sweep("sweeps/smoke.yaml")
    >>> sweep.spec.name
    'smoke'
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scaling_sweep.api import fit, load_sweep, plan, predict, recommend, run
    from scaling_sweep.study import Study

__version__ = "0.1.0"
__all__ = ["Study", "fit", "load_sweep", "plan", "predict", "recommend", "run"]


def __getattr__(name: str) -> object:
    """Import what is asked for when it is asked for: the command line waits for none of it."""
    if name not in __all__:
        raise AttributeError(f"module 'scaling_sweep' has no attribute {name!r}")
    from scaling_sweep import api, study

    return getattr(study if name == "Study" else api, name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
