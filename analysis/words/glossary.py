"""The words of the report, explained to a newcomer."""

from dataclasses import dataclass

from analysis.words.sentences import OUTCOME_MEANINGS


@dataclass(frozen=True)
class Entry:
    """A word of the glossary.

    Attributes:
        word: The word.
        meaning: What we mean by it.
    """

    word: str
    meaning: str


GLOSSARY = (
    Entry("batch size, B", "Examples whose gradients are averaged for one update."),
    Entry("learning rate", "How far one update moves the parameters along its direction."),
    Entry("trial", "One training run with one batch size, one learning rate and one seed."),
    Entry("seed", "A number that fixes the start and the order of the data: a repeat."),
    Entry("stable, diverged", "Whether a trial still learned at its learning rate; see above."),
    Entry("failed", "A trial that gave no measurement, for example because memory ran out."),
    Entry("edge", "The learning rate where stability ends, known up to the grid's step."),
    Entry("LR_max", "The largest stable learning rate at a batch size: its median edge."),
    Entry(
        "lr_opt",
        "The learning rate after which the loss was lowest at a batch size, interpolated between "
        "those that were run; not the same thing as the largest stable one.",
    ),
    Entry("law", "A formula for LR_max, or for lr_opt, as a function of B."),
    Entry(
        "exponent, slope",
        "The p in B^p at small batches. At 1 twice the batch allows twice the learning rate, at "
        "1/2 it allows 1.4 times as much, at 0 no more.",
    ),
    Entry(
        "critical batch size, B*",
        "Where a law bends: beyond it a larger batch hardly allows a larger learning rate.",
    ),
    Entry("saturating law", "Grows like B^p and levels off at a largest learning rate."),
    Entry("surge law", "Grows like B^p, peaks, and falls again."),
    Entry("power law", "Grows like B^p for ever."),
    Entry("95 % interval", "Made so that 95 of 100 such intervals would contain the true value."),
    *(
        Entry(outcome.value, f"In words: {meaning}.")
        for outcome, meaning in OUTCOME_MEANINGS.items()
    ),
)

DAMPING_GLOSSARY = (
    Entry(
        "damping",
        "What is added to a preconditioner before it divides the gradient: the ε of Adam, the λ "
        "of a damped Newton step. More of it makes smaller, safer steps.",
    ),
    Entry(
        "damping_min",
        "The smallest stable damping at a batch size and learning rate: its median edge.",
    ),
    Entry(
        "lr/B",
        "Learning rate over batch size. That damping_min grows in proportion to it is a claim, "
        "tested here; its exponent is the p in (lr/B)^p where noise rules, at large lr/B.",
    ),
    Entry(
        "law in B",
        "A law that levels off in the batch size alone: damping_min stays like lr^p there.",
    ),
)
"""Words that only a report on dampings needs."""

THEORY_GLOSSARY = (
    Entry(
        "curvature, Hessian",
        "How fast the slope of the loss changes as the parameters move; the Hessian holds it for "
        "every direction. Where it is large, steps must be small.",
    ),
    Entry(
        "largest eigenvalue, λ₁",
        "Curvature in the steepest direction. Plain gradient descent on all the data overshoots "
        "there beyond a learning rate of 2/λ₁.",
    ),
    Entry(
        "Gauss–Newton matrix",
        "The part of the Hessian that is never negative; some theories want it in its place.",
    ),
    Entry(
        "gradient noise scale",
        "The batch size at which a batch's gradient is as much noise as signal.",
    ),
    Entry(
        "r.m.s. log error",
        "Typical size of ln(measured/predicted): 0.1 is off by 10 %, 0.7 by a factor of 2.",
    ),
    Entry(
        "upper bound, lower bound",
        "A theory that says what LR_max cannot exceed, or what it at least is; a measurement on "
        "the wrong side speaks against its assumptions.",
    ),
)
"""Words that only a report with curvature needs."""
