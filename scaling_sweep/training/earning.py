"""Whether compiling pays: a process compiles once compiled steps could have saved what that costs.

Nobody knows how many packs will come; a search decides on the way. Waiting until the price has been
lost makes the loss at most twice what it is for somebody who knows (the ski-rental problem).
"""

from collections.abc import Hashable

# Seconds of a processor that compiling takes where torch's cache on disk is empty, as on a new
# machine (measured for two optimizers of the digits MLP, 10 to 26 s, LOG 2026-11-21).
PRICE_S = 20.0


class Earnings:
    """What compiled steps could have saved so far in this process, for each kind of step.

    Args:
        price_s: Seconds that compiling takes.

    Example:
        >>> earnings = Earnings(price_s=10)
        >>> earnings.pays("sgd", 6.0), earnings.pays("sgd", 6.0), earnings.pays("adam", 6.0)
        (False, True, False)
        >>> earnings.give_up("sgd")
        >>> earnings.pays("sgd", 100.0)
        False
    """

    def __init__(self, price_s: float = PRICE_S) -> None:
        self._price_s = price_s
        self._lost_s: dict[Hashable, float] = {}
        self._hopeless: set[Hashable] = set()

    def pays(self, kind: Hashable, seconds: float) -> bool:
        """Add what the next pack could save, and tell whether it is time to compile.

        Args:
            kind: What has a compiled step of its own.
            seconds: That compiled steps might save it.

        Returns:
            Whether to use the compiled step, and so to compile it where that was not done yet.
        """
        self._lost_s[kind] = self._lost_s.get(kind, 0.0) + seconds
        return kind not in self._hopeless and self._lost_s[kind] >= self._price_s

    def give_up(self, kind: Hashable) -> None:
        """Never compile this kind again: it failed."""
        self._hopeless.add(kind)
