"""What curvature.parquet can say: its columns, and every quantity with its unit and its use."""

from enum import StrEnum

from analysis.columns import Column

CURVATURE_VERSION = 1


class Matrix(StrEnum):
    """Whose eigenvalues a number speaks of, in the words of ``scaling_sweep.curvature``."""

    NEITHER = ""
    HESSIAN = "Hessian"
    GGN = "generalised Gauss-Newton"


class Quantity(StrEnum):
    """What one number says, normalised to one example wherever a batch could matter."""

    NUM_PARAMETERS = "number of parameters"
    LOSS = "loss, mean over the data"
    TOP = "largest eigenvalue"
    BOTTOM = "smallest eigenvalue"
    TRACE = "sum of eigenvalues"
    FROBENIUS_SQ = "sum of squared eigenvalues"
    SAMPLE_FROBENIUS_SQ = "sum of squared eigenvalues, mean over single examples"
    NOISE = "spread between single examples along random directions"
    TOP_VARIANCE = "variance between single examples along the top eigenvector"
    TOP_PRODUCT_SQ = "squared product with the top eigenvector, mean over single examples"
    MAX_SAMPLE_TOP = "largest eigenvalue of any single example"
    BATCH_TOP = "largest eigenvalue, mean over batches"
    BATCH_SHARPNESS = "curvature along a batch's own gradient, mean over batches"
    GRADIENT_SHARPNESS = "curvature along the gradient"
    GRADIENT_NORM_SQ = "squared norm of the gradient"
    GRADIENT_VARIANCE = "variance of gradients between single examples"
    NOISE_SCALE = "gradient noise scale"
    TWO_BATCH_NOISE_SCALE = "gradient noise scale from pairs of batches"
    PRECONDITIONED_TOP = "largest eigenvalue, preconditioned by the optimizer"
    BATCH_PRECONDITIONED_TOP = "largest eigenvalue, preconditioned, mean over batches"
    DENSITY = "density of eigenvalues"

    @property
    def unit(self) -> str:
        """Unit of the number, empty for a count.

        Example:
            >>> Quantity.TOP.unit, Quantity.NOISE_SCALE.unit
            ('loss/parameter²', 'examples')
        """
        return _UNITS.get(self, _CURVATURE)


_CURVATURE = "loss/parameter²"
_UNITS = {
    Quantity.NUM_PARAMETERS: "",
    Quantity.LOSS: "loss",
    Quantity.FROBENIUS_SQ: "loss²/parameter⁴",
    Quantity.SAMPLE_FROBENIUS_SQ: "loss²/parameter⁴",
    Quantity.NOISE: "loss²/parameter⁴",
    Quantity.TOP_VARIANCE: "loss²/parameter⁴",
    Quantity.TOP_PRODUCT_SQ: "loss²/parameter⁴",
    Quantity.GRADIENT_NORM_SQ: "loss²/parameter²",
    Quantity.GRADIENT_VARIANCE: "loss²/parameter²",
    Quantity.NOISE_SCALE: "examples",
    Quantity.TWO_BATCH_NOISE_SCALE: "examples",
    Quantity.PRECONDITIONED_TOP: "1/learning rate",
    Quantity.BATCH_PRECONDITIONED_TOP: "1/learning rate",
}

MATRIX_FIELDS = {
    "hessian_top": Quantity.TOP,
    "hessian_noise": Quantity.NOISE,
    "top_direction_variance": Quantity.TOP_VARIANCE,
    "top_direction_product_sq": Quantity.TOP_PRODUCT_SQ,
    "trace_hessian": Quantity.TRACE,
    "frobenius_sq": Quantity.FROBENIUS_SQ,
    "mean_sample_frobenius_sq": Quantity.SAMPLE_FROBENIUS_SQ,
    "max_sample_top": Quantity.MAX_SAMPLE_TOP,
}
"""Inputs of theory that speak of one matrix, the Hessian or what stands for it."""

GGN_FIELDS = {"ggn_top": Quantity.TOP, "trace_ggn": Quantity.TRACE}
"""Inputs that are the Gauss-Newton matrix's own."""

PLAIN_FIELDS = {
    "gradient_noise_scale": Quantity.NOISE_SCALE,
    "gradient_sharpness": Quantity.GRADIENT_SHARPNESS,
}
"""Inputs that no choice of matrix changes."""

CURVE_FIELDS = {
    "batch_sharpness": Quantity.BATCH_SHARPNESS,
    "batch_preconditioned_top": Quantity.BATCH_PRECONDITIONED_TOP,
}
"""Inputs over batch sizes; ``batch_hessian_top`` beside them depends on the matrix."""

WORDS = {
    "num_parameters": "the number of parameters",
    "preconditioned_sharpness": Quantity.PRECONDITIONED_TOP.value,
    "state_batch_size": "the batch size of the optimizer's state",
    "batch_hessian_top": Quantity.BATCH_TOP.value,
    **{name: value.value for name, value in (MATRIX_FIELDS | PLAIN_FIELDS | CURVE_FIELDS).items()},
    **{name: f"{value} of the Gauss-Newton matrix" for name, value in GGN_FIELDS.items()},
}
"""Inputs of theory in words, for readers."""

CURVATURE_COLUMNS: tuple[Column, ...] = (
    Column("point", "string", "", "Where it was measured: init, or how far trained."),
    Column("step", "int64", "steps", "Training steps before the point; orders the points."),
    Column("seed", "int64", "", "Replicate, as in the table of trials."),
    Column("optimizer", "string", "", "Whom it concerns, as in the table of trials; empty: all."),
    Column("matrix", "string", "", "Hessian, generalised Gauss-Newton, or empty."),
    Column("quantity", "string", "", "What the number says, in words."),
    Column(
        "batch_size",
        "float64",
        "examples",
        "Of batch means and optimizer states, as if drawn with replacement; else empty.",
    ),
    Column("value", "float64", "see unit", "The number; empty for a density."),
    Column("stderr", "float64", "see unit", "Its standard error: 0 exact, empty unknown."),
    Column("unit", "string", "", "Unit of value and stderr."),
    Column("nodes", "list of float64", "loss/parameter²", "Eigenvalues of a density, else empty."),
    Column("weights", "list of float64", "", "Share of each node; they sum to 1."),
)
