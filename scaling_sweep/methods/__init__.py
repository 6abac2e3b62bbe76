"""How a batch becomes a gradient: each method turns the task's objective into its own."""

from dataclasses import dataclass


@dataclass(frozen=True)
class MethodInfo:
    """A method as ``scaling-sweep tasks`` lists it.

    Attributes:
        name: As the sweep file writes it.
        description: One line for people.
    """

    name: str
    description: str


METHODS = (MethodInfo("plain", "the gradient of the mean loss of the batch, as it is"),)
