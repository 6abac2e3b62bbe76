"""A small decoder-only transformer in plain tensor operations, so that it stacks and bends.

Attention is written out: torch's fused kernels fall back to one call per copy under ``vmap`` and
have no forward derivative, which curvature needs.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

# Standard deviation of the initial weights, and of those that write into the residual stream
# divided by sqrt(2 depth): Radford et al. 2019 (GPT-2), section 2.3 and its released code.
_INITIAL_STD = 0.02
# Width of the perceptron in each block, in widths of the model (Vaswani et al. 2017, 2048 / 512).
_EXPANSION = 4


@dataclass(frozen=True)
class TransformerShape:
    """The sizes of a decoder-only transformer.

    Attributes:
        num_tokens: Size of the vocabulary.
        context: Longest input, in tokens.
        depth: Number of blocks.
        width: Size of the residual stream.
        num_heads: Attention heads of each block; divides the width.
        tied: Whether the output layer is the embedding of the tokens.
    """

    num_tokens: int
    context: int
    depth: int
    width: int
    num_heads: int
    tied: bool = False


class Transformer(nn.Module):
    """A pre-norm decoder with learned positions, as GPT-2 but without biases and dropout.

    Args:
        shape: Its sizes.

    Example:
        >>> model = Transformer(TransformerShape(50, context=8, depth=1, width=16, num_heads=2))
        >>> model(torch.zeros(3, 5, dtype=torch.int64)).shape
        torch.Size([3, 5, 50])
    """

    def __init__(self, shape: TransformerShape) -> None:
        super().__init__()
        self.tokens = nn.Embedding(shape.num_tokens, shape.width)
        self.positions = nn.Embedding(shape.context, shape.width)
        self.blocks = nn.ModuleList(_Block(shape) for _ in range(shape.depth))
        self.norm = nn.LayerNorm(shape.width)
        self.output = nn.Linear(shape.width, shape.num_tokens, bias=False)
        if shape.tied:
            self.output.weight = self.tokens.weight
        self._initialise(shape)

    def _initialise(self, shape: TransformerShape) -> None:
        for name, param in self.named_parameters():
            if "norm" in name:
                continue
            writes = name.endswith(("attention.output.weight", "contract.weight"))
            std = _INITIAL_STD / math.sqrt(2 * shape.depth) if writes else _INITIAL_STD
            nn.init.normal_(param, std=std)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits of each next token, shape ``[batch_size, length, num_tokens]``.

        Args:
            tokens: Shape ``[batch_size, length]``, whole numbers; at most ``context`` long.
        """
        places = torch.arange(tokens.shape[1], device=tokens.device)
        stream: Tensor = self.tokens(tokens) + self.positions(places)
        for block in self.blocks:
            stream = block(stream)
        logits: Tensor = self.output(self.norm(stream))
        return logits


class _Block(nn.Module):
    """Attention, then a perceptron, each added to the stream."""

    def __init__(self, shape: TransformerShape) -> None:
        super().__init__()
        hidden = _EXPANSION * shape.width
        self.attention_norm = nn.LayerNorm(shape.width)
        self.attention = CausalAttention(shape.width, shape.num_heads)
        self.mlp_norm = nn.LayerNorm(shape.width)
        self.expand = nn.Linear(shape.width, hidden, bias=False)
        self.contract = nn.Linear(hidden, shape.width, bias=False)

    def forward(self, stream: Tensor) -> Tensor:
        """Return the stream after the block, its shape kept."""
        stream = stream + self.attention(self.attention_norm(stream))
        hidden = functional.gelu(self.expand(self.mlp_norm(stream)))
        written: Tensor = stream + self.contract(hidden)
        return written


class CausalAttention(nn.Module):
    """Multi-head self-attention in which no token sees a later one.

    ``softmax(Q Kᵀ / sqrt(width of a head) + mask) V`` for each head (Vaswani et al. 2017, eq. 1).

    Args:
        width: Size of the residual stream.
        num_heads: Divides the width.

    Example:
        >>> CausalAttention(8, 2)(torch.zeros(3, 5, 8)).shape
        torch.Size([3, 5, 8])
    """

    def __init__(self, width: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.project = nn.Linear(width, 3 * width, bias=False)
        self.output = nn.Linear(width, width, bias=False)

    def forward(self, stream: Tensor) -> Tensor:
        """Return what each token gathered, shape ``[batch_size, length, width]``."""
        batch_size, length, width = stream.shape
        projected = self.project(stream).view(batch_size, length, 3, self.num_heads, -1)
        query, key, value = projected.permute(2, 0, 3, 1, 4)
        scores = query @ key.mT / math.sqrt(width // self.num_heads)
        later = torch.ones(length, length, dtype=torch.bool, device=stream.device).triu(1)
        weights = scores.masked_fill(later, -math.inf).softmax(-1)
        gathered = (weights @ value).transpose(1, 2).reshape(batch_size, length, width)
        written: Tensor = self.output(gathered)
        return written
