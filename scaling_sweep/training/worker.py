"""What lives in a worker process: the task, built once, and the device it trains on."""

from collections.abc import Mapping, Sequence

import torch

from scaling_sweep.planning import Pack
from scaling_sweep.spec import SweepSpec
from scaling_sweep.tasks.loading import load_task
from scaling_sweep.training.pack import train_gradually
from scaling_sweep.training.records import PackResult
from scaling_sweep.training.starts import dump_point, parse_point, train_starts


class PackWorker:
    """Trains packs of one sweep, one after the other.

    Args:
        spec: The sweep.
        search: Folders where a user's own task may lie.
        starts: The trained start of each seed, from ``train_starts``; empty to begin at
            initialisation.
    """

    def __init__(
        self, spec: SweepSpec, search: tuple[str, ...], starts: Mapping[int, bytes]
    ) -> None:
        torch.set_num_threads(max(1, int(spec.resources.cpus)))
        self._spec = spec
        self._task = load_task(spec.task.name, spec.task.args, search)
        self._starts = {seed: parse_point(data) for seed, data in starts.items()}
        use_gpu = spec.resources.gpus > 0 and torch.cuda.is_available()
        self._device = torch.device("cuda" if use_gpu else "cpu")

    def begin(self, pack: Pack) -> None:
        """Take on a pack, in place of the one before."""
        self._training = train_gradually(
            pack, self._spec, self._task, self._starts or None, self._device
        )

    def advance(self) -> PackResult | None:
        """Train for about a second; return the result when the pack is finished."""
        try:
            next(self._training)
        except StopIteration as finished:
            result: PackResult = finished.value
            return result
        return None

    def train_starts(self, seeds: Sequence[int]) -> dict[int, bytes]:
        """Train the starts of some seeds and return them as bytes."""
        points = train_starts(self._spec, self._task, seeds, self._device)
        return {seed: dump_point(point) for seed, point in points.items()}
