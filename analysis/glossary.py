"""The words of the report, explained to a newcomer."""

from dataclasses import dataclass

from analysis.sentences import OUTCOME_MEANINGS


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
    Entry("law", "A formula for LR_max as a function of B."),
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
