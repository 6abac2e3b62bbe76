"""The tasks that come with the tool, by name; nothing here needs torch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class BuiltinTask:
    """Where one of our own tasks lives.

    Attributes:
        name: As the sweep file writes it.
        path: ``module:attribute`` of the function that builds it.
        description: One line for ``scaling-sweep tasks``.
    """

    name: str
    path: str
    description: str


BUILTIN_TASKS = (
    BuiltinTask(
        "digits_mlp",
        "scaling_sweep.tasks.digits:digits_mlp",
        "ReLU perceptron on 1,797 real 8×8 images of digits (width=128, depth=2)",
    ),
    BuiltinTask(
        "digits_cnn",
        "scaling_sweep.tasks.digits:digits_cnn",
        "small convolutional net on the same images (width=16, depth=2)",
    ),
    BuiltinTask(
        "least_squares",
        "scaling_sweep.tasks.least_squares:least_squares",
        "regression on fresh Gaussian inputs, edge known: 2B/(B + dim + 1) (dim=64)",
    ),
    BuiltinTask(
        "char_gpt",
        "scaling_sweep.tasks.language:char_gpt",
        "transformer on the characters of this Python's own sources, or of a text of yours "
        "(depth=2, width=64, num_heads=4, context=64, tied=false, text=PATH)",
    ),
    BuiltinTask(
        "wine",
        "scaling_sweep.tasks.tables:wine",
        "classification of 178 wines, depth=0 is a linear model (width=64, depth=2)",
    ),
    BuiltinTask(
        "breast_cancer",
        "scaling_sweep.tasks.tables:breast_cancer",
        "classification of 569 tumours (width=64, depth=2)",
    ),
    BuiltinTask(
        "diabetes",
        "scaling_sweep.tasks.tables:diabetes",
        "regression on 442 patients, loss in variances of the target (width=64, depth=2)",
    ),
)
