"""The curvature a run folder holds: one part per point and seed, put together for theory."""

from pathlib import Path

from analysis.curvature_table import CurvatureTable, read_curvature
from analysis.errors import AnalysisError, StoreError
from scaling_sweep.curvature_plan import MeasuringJob, plan_measuring, recipe_id
from scaling_sweep.curvature_rows import join_tables
from scaling_sweep.spec import CurvatureSpec, SweepSpec
from scaling_sweep.store import RunFolder


class CurvatureStore:
    """What a run folder has of the curvature that a sweep file asks for.

    Args:
        folder: The run folder.
        spec: The sweep; its section ``curvature``, or the defaults.
    """

    def __init__(self, folder: RunFolder, spec: SweepSpec) -> None:
        self._folder, self._spec = folder, spec
        self._recipe = recipe_id(spec)

    def missing(self) -> tuple[MeasuringJob, ...]:
        """Return what is still to be measured, and what a shorter budget of time cut off."""
        return tuple(job for job in plan_measuring(self._spec) if self._wanted(self._read(job)))

    def _wanted(self, part: CurvatureTable | None) -> bool:
        """Return whether a stored part is missing, or lacks what there is time for now."""
        if part is None:
            return True
        section = self._spec.curvature or CurvatureSpec()
        cut_at_s, now = part.facts.cut_at_s, section.max_seconds
        return cut_at_s is not None and (now is None or now > cut_at_s)

    def write(self, job: MeasuringJob, table: CurvatureTable) -> None:
        """Store one point and seed, and put everything there is together.

        Args:
            job: Which point and seed.
            table: What was measured.

        Raises:
            UserError: If the folder cannot be written.
        """
        self._folder.write_curvature(table, self._path(job))
        self.assemble()

    def assemble(self) -> CurvatureTable:
        """Write curvature.parquet from the parts of this recipe.

        Returns:
            The whole table.

        Raises:
            UserError: If the folder cannot be written.
        """
        read = (self._read(job) for job in sorted(plan_measuring(self._spec)))
        table = join_tables([part for part in read if part is not None])
        self._folder.write_curvature(table, self._folder.curvature)
        return table

    def _path(self, job: MeasuringJob) -> Path:
        return self._folder.curvature_part(self._recipe, job.name)

    def _read(self, job: MeasuringJob) -> CurvatureTable | None:
        """Return a stored part; one that does not read, or is of another version, is not there."""
        try:
            return read_curvature(self._path(job))
        except StoreError:
            raise
        except AnalysisError:
            return None
