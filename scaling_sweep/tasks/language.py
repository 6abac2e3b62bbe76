"""A small GPT that learns to continue a text, character by character."""

from torch import Tensor, nn
from torch.nn import functional

from scaling_sweep.tasks.metrics import accuracy
from scaling_sweep.tasks.sizes import check_at_least, check_share
from scaling_sweep.tasks.task import Batch, Task
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
    validation: float = 0.0,
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
        validation: Share of the text held out, in [0, 1): its end, in windows that do not overlap.
            The validation metric is accuracy, the share of next characters that are right.

    Returns:
        The task; its loss is the cross-entropy in nats per character, log(size of the
        vocabulary) at chance.

    Raises:
        ValueError: If a size is out of range, or the text too short.

    Example:
        >>> task = char_gpt(depth=1, width=8, num_heads=2, context=16, max_characters=5000)
        >>> task.num_examples, task.tokens_per_example
        (4984, 16)
        >>> task = char_gpt(context=16, max_characters=5000, validation=0.1)
        >>> task.num_examples, len(task.validation[0])
        (4484, 31)
    """
    sizes = {"depth": depth, "width": width, "num_heads": num_heads, "context": context}
    for name, value in sizes.items():
        check_at_least(name, value, 1)
    check_at_least("max_characters", max_characters, 2)
    if width % num_heads:
        raise ValueError(f"width must be a multiple of num_heads={num_heads}; got {width}.")
    if not isinstance(tied, bool):
        raise ValueError(f"tied must be true or false; got {tied!r}.")
    check_share("validation", validation)
    learned = load_text(text, max_characters)
    num_held = round(validation * len(learned.tokens))
    tokens, held = learned.tokens.tensor_split([len(learned.tokens) - num_held])
    for name, part in (("text", tokens), ("held-out text", held)):
        if len(part) <= context and (num_held or part is tokens):
            raise ValueError(
                f"The {name} has {len(part)} characters; it needs more than context={context}."
            )
    shape = TransformerShape(len(learned.vocabulary), context, depth, width, num_heads, tied)

    def make_model() -> nn.Module:
        return Transformer(shape)

    return Task(
        name="char_gpt",
        description=f"A transformer of {depth} blocks of width {width} on {learned.source}: "
        f"{len(learned.tokens):,} characters, {shape.num_tokens} different ones.",
        make_model=make_model,
        loss=next_token_loss,
        smoothed_loss=next_token_loss,
        inputs=tokens[:-1].unfold(0, context, 1),
        targets=tokens[1:].unfold(0, context, 1),
        tokens_per_example=context,
        validation=_windows_apart(held, context) if num_held else None,
        metric=accuracy if num_held else None,
    )


def _windows_apart(tokens: Tensor, context: int) -> Batch:
    """Return windows of a text that do not overlap, and each one's next characters."""
    return tokens[:-1].unfold(0, context, context), tokens[1:].unfold(0, context, context)


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
