"""The section `search`: every point of a grid, or edges closed in on by bisection."""

import math
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BeforeValidator, Discriminator, Field, Tag

from scaling_sweep.spec.section import NUMBER, WHOLE, Section, refuse
from scaling_sweep.spec.wording import as_yaml

# A guess: at 64 points per octave, 1 % apart, no edge is that sharp.
_FINEST = 2 ** (1 / 64)


class Bisection(Section):
    """How the edge of every (optimizer, batch size, seed) is closed in on.

    Probes lie on the lattice 2^(k/n) with the smallest n that reaches the resolution. The searched
    axis gives the range where the search begins; its `per_octave` is used by `grid` only.
    """

    resolution: Annotated[float, Field(ge=_FINEST, le=4), NUMBER] = Field(1.1, examples=[1.1])
    """Largest ratio of the two ends of a finished bracket. Finer than the spread between seeds
    (about 1.16 on digits) buys little."""

    widen: Annotated[float, Field(ge=1, le=1e6), NUMBER] = 16.0
    """Factor by which the search may leave the range, at either end, where edges turn out to lie
    beyond it; 1 never does."""

    sentinels: Annotated[float, Field(ge=0, le=1), NUMBER] = 0.25
    """Share of the (optimizer, batch size, seed) units, drawn by lot, that get one more trial a
    factor 2 to 8 away from their edge: a search that only looks near the edge sees no trial that
    is stable above it or diverges below it."""

    probes: Annotated[int, Field(ge=1, le=16), WHOLE] = 1
    """Trials of one unit in one pack. 1 needs the fewest examples; more need fewer packs one after
    the other, which pays where a pack is nearly empty and its cost is fixed (a GPU)."""

    precision: Annotated[float, Field(gt=0), NUMBER] | None = Field(None, examples=[0.05])
    """Add seeds, at all batch sizes, until half the width of the 95 % interval of the exponent is
    at most this; null stops at `seeds`. It looks at the width only, never at the verdict, which
    would be dishonest (false refutations in 12 to 16 %, measured by simulation)."""

    max_seeds: Annotated[int, Field(ge=1, le=10_000), WHOLE] = 24
    """Where `precision` gives up. Not used without it."""

    @property
    def per_octave(self) -> int:
        """Lattice points per factor of 2, the fewest that reach the resolution.

        Example:
            >>> Bisection(resolution=1.1).per_octave, Bisection(resolution=2).per_octave
            (8, 1)
        """
        # A millionth off a point, 2 ** 0.25 written as 1.189207, does not ask for the next one.
        return max(1, math.ceil(math.log(2) / math.log(self.resolution) - 1e-5))


class BisectSearch(Section):
    """A search by bisection."""

    bisect: Bisection = Field(examples=[{"resolution": 1.1}])
    """Its settings; `{}` takes the defaults."""


def _search_kind(given: object) -> str:
    """Return which spelling is meant; angle brackets as in the axes."""
    return "<grid>" if isinstance(given, str) else "<bisect>"


def _check_search(given: object) -> object:
    """Return the search as given, refusing what is neither `grid` nor a mapping."""
    if given != "grid" and not isinstance(given, Mapping | BisectSearch):
        refuse(
            f"must be grid or a bisection, got {as_yaml(given)}; "
            "write grid or {bisect: {resolution: 1.1}}"
        )
    return given


Search = Annotated[
    Annotated[Literal["grid"], Tag("<grid>")] | Annotated[BisectSearch, Tag("<bisect>")],
    Discriminator(_search_kind),
    BeforeValidator(_check_search),
]
