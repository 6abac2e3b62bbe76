"""A Hugging Face transformer from its configuration: nothing is downloaded."""

from torch import Tensor, nn
from transformers import GPT2Config, GPT2LMHeadModel

from scaling_sweep.tasks.language import next_token_loss
from scaling_sweep.tasks.task import Task
from scaling_sweep.tasks.text import load_text

CONTEXT = 32


class Logits(nn.Module):
    """What a task's model returns is what its loss takes: the logits alone."""

    def __init__(self, config: GPT2Config) -> None:
        super().__init__()
        self.model = GPT2LMHeadModel(config)

    def forward(self, tokens: Tensor) -> Tensor:
        """Return logits of each next token."""
        logits: Tensor = self.model(tokens, use_cache=False).logits
        return logits


def small_gpt2(width: int = 32, depth: int = 2) -> Task:
    """Build GPT-2 in small, without dropout, on the standard library's sources."""
    text = load_text(max_characters=200_000)
    config = GPT2Config(
        vocab_size=len(text.vocabulary),
        n_positions=CONTEXT,
        n_embd=width,
        n_layer=depth,
        n_head=2,
        resid_pdrop=0.0,
        embd_pdrop=0.0,
        attn_pdrop=0.0,
        bos_token_id=0,
        eos_token_id=0,
        attn_implementation="eager",
    )
    return Task(
        name="small_gpt2",
        description=f"Hugging Face's GPT-2, {depth} blocks of width {width}, on {text.source}.",
        make_model=lambda: Logits(config),
        loss=next_token_loss,
        inputs=text.tokens[:-1].unfold(0, CONTEXT, 1),
        targets=text.tokens[1:].unfold(0, CONTEXT, 1),
        tokens_per_example=CONTEXT,
    )
