"""Packs through ray://: Tune runs on the cluster, and every finished pack's rows come here.

Under Ray's client Tune would carry its callbacks away and run them over there, where the run
folder is not. So over there they only put rows into a mailbox, which is emptied here.
"""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import ray

from scaling_sweep.driver.collector import Watcher
from scaling_sweep.driver.tuner import train_here
from scaling_sweep.driver.workers import WorkerOrder
from scaling_sweep.planning import Pack, Search
from scaling_sweep.rows import PackRows

# A guess: rows are seen soon, and the network is left alone.
_LOOK_EVERY_S = 0.5


@dataclass(frozen=True)
class _Letter:
    """What is sent for one pack.

    Attributes:
        pack: The pack.
        rows: Its rows.
        wall_time_s: Seconds it took.
    """

    pack: Pack
    rows: PackRows
    wall_time_s: float


class _Mailbox:
    """An actor that keeps letters until they are taken."""

    def __init__(self) -> None:
        self._letters: deque[_Letter] = deque()

    def put(self, letter: _Letter) -> None:
        """Take one in."""
        self._letters.append(letter)

    def take(self) -> list[_Letter]:
        """Give all of them out, each once."""
        letters = list(self._letters)
        self._letters.clear()
        return letters


@dataclass(frozen=True)
class _Sender:
    """A watcher that tells the mailbox."""

    mailbox: Any

    def on_pack(self, pack: Pack, rows: PackRows, wall_time_s: float) -> None:
        """Send a pack's rows, and wait until they are safe from the end of this process."""
        ray.get(self.mailbox.put.remote(_Letter(pack, rows, wall_time_s)))


def _train_and_send(
    search: Search,
    order: WorkerOrder,
    at_once: int,
    mailbox: Any,  # noqa: ANN401
) -> bool:
    """Train packs beside the cluster; runs there."""
    return train_here(search, order, at_once, lambda rows: None, [_Sender(mailbox)])


def train_there(
    search: Search,
    order: WorkerOrder,
    at_once: int,
    store: Callable[[PackRows], None],
    watchers: Sequence[Watcher],
) -> bool:
    """Train packs on a cluster that is reached through Ray's client.

    Args:
        search: Says which packs to train; it goes there too, and is asked there.
        order: What workers need beside.
        at_once: Packs at the same time.
        store: Stores the rows of one pack, here.
        watchers: Told after each pack, here.

    Returns:
        Whether all packs were trained or given up; False when the run was interrupted.
    """
    mailbox = ray.remote(num_cpus=0)(_Mailbox).remote()
    train = ray.remote(num_cpus=0, max_retries=0)(_train_and_send)
    running = train.remote(search, order, at_once, mailbox)
    try:
        while True:
            ended, _ = ray.wait([running], timeout=_LOOK_EVERY_S)
            _empty(mailbox, store, watchers)
            if ended:
                return bool(ray.get(running))
    except KeyboardInterrupt:
        _empty(mailbox, store, watchers)
        return False
    finally:
        ray.cancel(running)


def _empty(mailbox: Any, store: Callable[[PackRows], None], watchers: Sequence[Watcher]) -> None:  # noqa: ANN401
    for letter in ray.get(mailbox.take.remote()):
        store(letter.rows)
        for watcher in watchers:
            watcher.on_pack(letter.pack, letter.rows, letter.wall_time_s)
