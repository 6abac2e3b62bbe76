"""Workers: what each of them is given, and the actor that trains one pack after another."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ray import tune

from scaling_sweep.spec import SweepSpec

if TYPE_CHECKING:
    from scaling_sweep.training.worker import PackWorker

# A worker that raises or dies is given two more chances: nodes get lost, bugs stay.
MAX_RETRIES = 2


@dataclass(frozen=True)
class WorkerOrder:
    """What every worker needs beside its pack.

    Attributes:
        spec: The sweep.
        search: Folders where a user's own task may lie.
        starts: The trained start of each seed as bytes; empty to begin at initialisation.
    """

    spec: SweepSpec
    search: tuple[str, ...]
    starts: Mapping[int, bytes]


class PackTrainable(tune.Trainable):  # type: ignore[misc]  # Ray is untyped
    """One actor: trains one pack a Tune trial, and is used again for the next."""

    def setup(self, config: dict[str, Any], order: WorkerOrder) -> None:
        """Take in what all packs share, once per actor."""
        self._worker = make_worker(order)
        self._worker.begin(config["parcel"].pack)

    def step(self) -> dict[str, Any]:
        """Train for about a second, so that the actor hears when it shall stop."""
        result = self._worker.advance()
        return {"done": False} if result is None else {"pack_result": result, "done": True}

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        """Take on the next pack."""
        self._worker.begin(new_config["parcel"].pack)
        return True

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        """Have nothing to save: a pack that is interrupted is planned anew."""

    def load_checkpoint(self, checkpoint: Any) -> None:  # noqa: ANN401
        """Have nothing to load."""


def make_worker(order: WorkerOrder) -> "PackWorker":
    """Build the task in this process, which keeps to the memory that it may take."""
    from scaling_sweep.memory_limit import limit_memory

    # Before torch is imported: what it and the data take counts too.
    limit_memory(order.spec.resources.memory_gib)
    from scaling_sweep.training.worker import PackWorker

    return PackWorker(order.spec, order.search, order.starts)
