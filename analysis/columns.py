"""The columns of results.parquet: names, types, units and meaning, in one place."""

from dataclasses import dataclass

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Column:
    """One column of the table.

    Attributes:
        name: What it is called.
        dtype: Its pandas type; only ``int64`` columns and the learning rate are never empty.
        unit: Unit of its numbers, empty for words.
        description: What it says, in one line.
        default: What a table without the column is taken to say; None leaves it empty.
    """

    name: str
    dtype: str
    unit: str
    description: str
    default: str | int | None = None

    @property
    def is_text(self) -> bool:
        """Whether the column holds words."""
        return self.dtype == "string"


COLUMNS: tuple[Column, ...] = (
    Column("trial_id", "string", "", "Identifier of the trial, unique in the table."),
    Column("pack_id", "string", "", "Identifier of the pack the trial was trained in."),
    Column("task", "string", "", "What is trained: model, data, loss.", "unknown"),
    Column("method", "string", "", "How a batch becomes a gradient.", "plain"),
    Column(
        "optimizer",
        "string",
        "",
        "How a gradient becomes a direction, with hyperparameters that are not default.",
        "unknown",
    ),
    Column("batch_size", "int64", "examples", "Examples per step."),
    Column("lr", "float64", "learning rate", "Factor of the direction in every step."),
    Column(
        "damping",
        "float64",
        "damping",
        "Damping of the preconditioner, searched for its smallest stable value; empty when it was "
        "not searched.",
    ),
    Column("seed", "int64", "", "Replicate: same start and same batches for all lr.", 0),
    Column("start", "string", "", "Where the trial begins: init, or a trained point.", "init"),
    Column("horizon", "string", "", "How long the trial trains, e.g. 300 steps.", "unknown"),
    Column("num_steps", "Int64", "steps", "Steps of the horizon at this batch size."),
    Column("steps_run", "Int64", "steps", "Steps really run; fewer when it diverged early."),
    Column("sampling", "string", "", "How batches are drawn: replacement or epoch.", "replacement"),
    Column(
        "recipe",
        "string",
        "",
        "What a step does beside the optimizer: clipping, schedule, precision and the like; plain "
        "for nothing.",
        "plain",
    ),
    Column("num_examples", "Int64", "examples", "Training examples; empty for fresh samples."),
    Column("verdict", "string", "", "stable, diverged (a measurement) or failed (none)."),
    Column("reason", "string", "", "Why the verdict is what it is."),
    Column(
        "initial_loss",
        "float64",
        "loss",
        "Loss of the untrained model on the evaluation set, BatchNorm by the batch's statistics.",
    ),
    Column("start_loss", "float64", "loss", "Loss where the trial began, same set."),
    Column("final_loss", "float64", "loss", "Loss after the last update, same set."),
    Column(
        "validation_loss",
        "float64",
        "loss",
        "Loss on held-out data after the last update; empty where the task has none.",
    ),
    Column(
        "validation_metric",
        "float64",
        "the metric's own",
        "The task's own measure on the same data, such as accuracy; empty where it has none.",
    ),
    Column("min_loss", "float64", "loss", "Lowest windowed training loss."),
    Column("peak_loss", "float64", "loss", "Highest windowed training loss."),
    Column("first_nonfinite_step", "Int64", "step", "First step with NaN or infinity, or empty."),
    Column("wall_time_s", "float64", "s", "Seconds the trial's pack took, shared evenly."),
    Column("device", "string", "", "What it ran on."),
    Column("engine", "string", "", "Which pack engine trained it."),
)

COLUMN_NAMES: tuple[str, ...] = tuple(column.name for column in COLUMNS)

GROUP_COLUMNS = ("task", "method", "optimizer", "start", "horizon", "recipe")
"""What the trials of one group share: the fields of :class:`analysis.summaries.GroupKey`."""

LOSS_COLUMNS = ("initial_loss", "start_loss", "final_loss", "peak_loss")
"""What a criterion looks at."""
