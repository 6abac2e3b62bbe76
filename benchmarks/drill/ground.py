"""Where drills take place: a scratch folder, and undisturbed runs to compare with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.drill.study import Study


@dataclass(frozen=True)
class Ground:
    """A scratch folder with a short path, because Ray's sockets lie in it.

    Attributes:
        folder: The folder.
        num_kills: How often the driver is killed.
    """

    folder: Path
    num_kills: int = 30
    _undisturbed: dict[int, Study] = field(default_factory=dict)

    def study(
        self,
        name: str,
        num_packs: int = 6,
        *,
        resources: str = "cpus: 1",
        variables: Mapping[str, str] | None = None,
        options: tuple[str, ...] = (),
    ) -> Study:
        """Return a new sweep.

        Args:
            name: Of its folder.
            num_packs: Its packs.
            resources: What its file says under that word.
            variables: Further environment variables.
            options: Further options of ``run``.

        Returns:
            The sweep; its Ray keeps its files in a folder of its own.
        """
        ray = self.folder / f"r{len(list(self.folder.iterdir()))}"
        ray.mkdir()
        given = {"RAY_TMPDIR": str(ray), **(variables or {})}
        return Study(self.folder / name, num_packs, resources, given, options)

    def undisturbed(self, num_packs: int = 6) -> Study:
        """Return a sweep of that size that has run undisturbed."""
        if num_packs not in self._undisturbed:
            study = self.study(f"undisturbed-{num_packs}", num_packs)
            study.finish()
            self._undisturbed[num_packs] = study
        return self._undisturbed[num_packs]
