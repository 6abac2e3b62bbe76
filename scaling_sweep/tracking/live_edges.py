"""The edges of a group while its sweep goes on, now and then, for W&B to show."""

from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from analysis.errors import AnalysisError
from scaling_sweep.tracking.messages import Chart, Outcome, Table

if TYPE_CHECKING:
    import pandas as pd

    from analysis.summaries import GroupFit

# Each table is a file that is sent: after half a minute a person looks again, and with a tenth
# more trials than before there are some 25 tables for each factor of ten (guesses).
LEAST_PAUSE_S = 30.0
LEAST_GROWTH = 1.1
# As W&B shows them at once; a sweep has some dozen batch sizes.
_MAX_EDGES = 500


@dataclass(frozen=True)
class EdgesSoFar:
    """The edges of one group, as a table and as a chart with log axes.

    Attributes:
        table: Under the name that the finished sweep's table replaces.
        chart: Likewise.
    """

    table: Table
    chart: Chart


class LiveEdges:
    """Gathers the trials of one group and says its edges when there is reason to.

    Args:
        group: Its name, for messages.
        began_s: When the mirror began, by the clock of `look`. A sweep that is over before the
            first pause is spared what is imported for this.
    """

    def __init__(self, group: str, began_s: float) -> None:
        self._group = group
        self._trials: dict[tuple[int, float, float | None, int], Outcome] = {}
        self._shown_at, self._num_shown = began_s, 0

    def hear(self, trials: Iterable[Outcome]) -> None:
        """Take in what became of some trials; a measurement replaces a failure."""
        for trial in trials:
            place = (trial.batch_size, trial.lr, trial.damping, trial.seed)
            if trial.verdict != "failed" or place not in self._trials:
                self._trials[place] = trial

    def look(self, now_s: float) -> EdgesSoFar | None:
        """Return the edges, or None where it is too early to show them again.

        Args:
            now_s: By any clock that only goes forward.

        Returns:
            The edges.
        """
        num_trials = len(self._trials)
        if now_s < self._shown_at + LEAST_PAUSE_S or num_trials < LEAST_GROWTH * self._num_shown:
            return None
        self._shown_at = now_s
        from scaling_sweep.tracking.findings import chart_edges
        from scaling_sweep.watching.edges import find_groups

        # The end of the sweep reports what is wrong with a table; on the way there is none then.
        with suppress(AnalysisError):
            for group in find_groups(self._frame()):
                if group.edges:
                    self._num_shown = num_trials
                    return EdgesSoFar(_table(group), chart_edges(group))
        return None

    def _frame(self) -> "pd.DataFrame":
        import pandas as pd

        from analysis.tables import normalize_table

        frame = pd.DataFrame([asdict(trial) for trial in self._trials.values()])
        return normalize_table(frame.dropna(axis="columns"), self._group, {}, own=True).frame


def _table(group: "GroupFit") -> Table:
    from analysis.axes import AxisName
    from scaling_sweep.tracking.cells import plain
    from scaling_sweep.watching.edges import list_edges

    symbol = "lr_max" if group.key.axis is AxisName.LR else "damping_min"
    held = () if group.key.axis is AxisName.LR else ("lr",)
    names = ("batch_size", *held, symbol, f"{symbol}_low", f"{symbol}_high")
    rows = [
        [
            *map(plain, (edge.batch_size, *((edge.lr,) if held else ()))),
            *map(plain, (edge.edge, edge.low, edge.high)),
            edge.censored,
            edge.num_seeds,
        ]
        for edge in list_edges((group,))
    ]
    return Table("tables/edges", (*names, "censored", "num_seeds"), rows[:_MAX_EDGES])
