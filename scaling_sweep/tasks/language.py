"""A small GPT that learns to continue a text, character by character."""

from torch import Tensor, nn
from torch.nn import functional

from scaling_sweep.tasks.sizes import check_at_least
from scaling_sweep.tasks.task import Task
from scaling_sweep.tasks.text import MAX_CHARACTERS, load_text
from scaling_sweep.tasks.transformer import Transformer, TransformerShape


def char_gpt(
    depth: int = 2,
    width: int = 64,
    num_heads: int = 4,
    context: int = 64,
    tied: bool = False,
    text: str | None = None,
    max_characters: int = MAX_CHARACTERS,
) -> Task:
    """Build a decoder-only transformer that predicts each next character.

    An example is a window of ``context`` characters that may begin anywhere in the text, so a
    batch of B is ``B × context`` tokens. Windows overlap in memory: they are gathered by index
    and never written out. An epoch visits every beginning once, and so every character
    ``context`` times; a horizon in steps says more.

    Args:
        depth: Number of blocks, at least 1.
        width: Size of the residual stream, a multiple of ``num_heads``.
        num_heads: Attention heads of each block, at least 1.
        context: Characters in an example, at least 1.
        tied: Whether the output layer is the embedding of the characters.
        text: Path of a text file, or of a folder of them; by default the sources of modules of
            the standard library of the Python that runs, which differ from version to version.
        max_characters: How much of the text is used, from its beginning.

    Returns:
        The task; its loss is the cross-entropy in nats per character, log(size of the
        vocabulary) at chance.

    Raises:
        ValueError: If a size is out of range, or the text too short.

    Example:
        >>> task = char_gpt(depth=1, width=8, num_heads=2, context=16, max_characters=5000)
        >>> task.num_examples, task.tokens_per_example
        (4984, 16)
    """
    sizes = {"depth": depth, "width": width, "num_heads": num_heads, "context": context}
    for name, value in sizes.items():
        check_at_least(name, value, 1)
    check_at_least("max_characters", max_characters, 2)
    if width % num_heads:
        raise ValueError(f"width must be a multiple of num_heads={num_heads}; got {width}.")
    if not isinstance(tied, bool):
        raise ValueError(f"tied must be true or false; got {tied!r}.")
    learned = load_text(text, max_characters)
    num_characters = len(learned.tokens)
    if num_characters <= context:
        raise ValueError(
            f"The text has {num_characters} characters; it needs more than context={context}."
        )
    shape = TransformerShape(len(learned.vocabulary), context, depth, width, num_heads, tied)

    def make_model() -> nn.Module:
        return Transformer(shape)

    return Task(
        name="char_gpt",
        description=f"A transformer of {depth} blocks of width {width} on {learned.source}: "
        f"{num_characters:,} characters, {shape.num_tokens} different ones.",
        make_model=make_model,
        loss=next_token_loss,
        smoothed_loss=next_token_loss,
        inputs=learned.tokens[:-1].unfold(0, context, 1),
        targets=learned.tokens[1:].unfold(0, context, 1),
        tokens_per_example=context,
    )


def next_token_loss(logits: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """Return the mean cross-entropy in nats per token.

    Args:
        logits: Shape ``[batch_size, length, num_tokens]``.
        targets: Shape ``[batch_size, length]``, whole numbers.
        label_smoothing: Share of the target spread over all tokens, in [0, 1).

    Returns:
        A scalar.

    Example:
        >>> import torch
        >>> next_token_loss(torch.zeros(2, 3, 10), torch.zeros(2, 3, dtype=torch.int64))
        tensor(2.3026)
    """
    return functional.cross_entropy(
        logits.flatten(0, 1), targets.flatten(), label_smoothing=label_smoothing
    )
