"""A study run in the head: edges drawn from a plausible truth, packs that take estimated time.

Made to say beforehand what a search costs and how well it will know the exponent; nothing trains.
"""

import heapq
import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from analysis.criteria import Verdict
from scaling_sweep.planning.evidence import Measurement, measurement_of
from scaling_sweep.planning.following import FollowedSearch
from scaling_sweep.planning.searching import Search
from scaling_sweep.planning.trials import Pack, Trial

# Losses that a simulated trial shows: where it began, and where it ended.
_START, _LEARNED, _BLOWN = 2.3, 0.1, 9.0


@dataclass(frozen=True)
class SimulatedEdges:
    """A world in which the edges are known.

    Attributes:
        boldest: Median boldness where stability ends, as a function of B or B/lr.
        sigma: Standard deviation of the log edge between seeds, natural log.
        salt: Draws another world of the same kind.
        flipped: Share of the trials whose verdict is the wrong one.
    """

    boldest: Callable[[float], float]
    sigma: float = 0.15
    salt: int = 0
    flipped: float = 0.0

    def edge(self, trial: Trial) -> float:
        """Return the boldness at which the trial's unit ends to be stable."""
        lr = 1.0 if trial.damping is None else trial.lr
        rng = np.random.default_rng(
            [self.salt, trial.batch_size, trial.seed, round(1e6 * abs(math.log(lr)))]
        )
        return self.boldest(trial.batch_size / lr) * math.exp(self.sigma * rng.normal())

    def answer(self, trial: Trial) -> Measurement:
        """Return what training the trial would measure."""
        boldness = trial.lr if trial.damping is None else 1 / trial.damping
        diverged = boldness > self.edge(trial)
        if self.flipped:
            lots = np.random.default_rng([self.salt, int(trial.trial_id, 16)])
            diverged ^= lots.uniform() < self.flipped
        verdict = Verdict.DIVERGED if diverged else Verdict.STABLE
        return measurement_of(trial, verdict, _START, _BLOWN if diverged else _LEARNED)


@dataclass(frozen=True)
class Simulation:
    """A search that was followed to its end.

    Attributes:
        measured: What its trials say.
        num_packs: Packs.
        num_steps: Updates, summed over trials, if none diverges early.
        num_examples: Examples seen, summed over trials, if none diverges early.
        pack_time_s: Time of all packs one after the other, in seconds.
        wall_time_s: Time until the last pack has returned, in seconds.
    """

    measured: tuple[Measurement, ...]
    num_packs: int
    num_steps: int
    num_examples: int
    pack_time_s: float
    wall_time_s: float

    @property
    def num_trials(self) -> int:
        """Trials."""
        return len(self.measured)


def simulate_search(
    search: Search,
    answer: Callable[[Trial], Measurement],
    seconds: Callable[[Pack], float],
    num_workers: int = 1,
) -> Simulation:
    """Follow a search to its end as the driver does, each pack to the worker that is free first.

    Args:
        search: The study.
        answer: What training a trial would measure.
        seconds: What a pack takes.
        num_workers: Packs that train at the same time.

    Returns:
        What was asked for, and when it ended.
    """
    following = FollowedSearch(search) if search.learns else None
    waiting = deque(search.next_packs() if following is None else following.hand_out())
    found, packs = list[Measurement](), list[Pack]()
    flying: list[tuple[float, int, Pack]] = []
    now = 0.0
    while waiting or flying:
        while waiting and len(flying) < num_workers:
            pack = waiting.popleft()
            heapq.heappush(flying, (now + seconds(pack), len(packs), pack))
            packs.append(pack)
        now, _, back = heapq.heappop(flying)
        answers = [answer(trial) for trial in back.trials]
        found += answers
        if following is not None:
            following.hear(answers, back.trials)
            waiting += following.hand_out()
    return Simulation(
        measured=tuple(found),
        num_packs=len(packs),
        num_steps=sum(pack.num_steps * pack.num_trials for pack in packs),
        num_examples=sum(pack.num_examples for pack in packs),
        pack_time_s=sum(map(seconds, packs)),
        wall_time_s=now,
    )
