"""The character transformer: what it sees, what it may not see, and what curvature makes of it."""

import io
import math
import platform
import tokenize
from collections import Counter
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.func import functional_call, vmap
from torch.nn.functional import scaled_dot_product_attention

from scaling_sweep.curvature.objective import Curvature, Objective
from scaling_sweep.tasks.language import char_gpt, next_token_loss
from scaling_sweep.tasks.task import Task
from scaling_sweep.tasks.text import OTHER, STANDARD_MODULES, encode, load_text
from scaling_sweep.tasks.transformer import CausalAttention, Transformer, TransformerShape
from scaling_sweep.training.batches import move_windows


def tiny(**args: object) -> Task:
    """Return a task that fits a test."""
    sizes = {"depth": 1, "width": 8, "num_heads": 2, "context": 6, "max_characters": 400}
    return char_gpt(**{**sizes, **args})


def weights(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return detached parameters by name."""
    return {name: value.detach() for name, value in model.named_parameters()}


def test_the_text_is_python_that_names_its_version() -> None:
    """The default text is source code that tokenizes, and it says of which Python it is."""
    text = load_text()
    whole = text.decode(text.tokens)
    first = whole[: whole.index("\nimport", whole.index("\nclass "))]

    assert f"{len(STANDARD_MODULES)} modules of Python {platform.python_version()}" in text.source
    assert len(list(tokenize.generate_tokens(io.StringIO(first).readline))) > 100
    assert 500_000 < len(text.tokens) < 10_000_000


def test_the_text_is_the_same_every_time() -> None:
    """Two readings give the same numbers."""
    assert torch.equal(load_text().tokens, load_text().tokens)


def test_a_text_of_many_characters_keeps_the_frequent_ones() -> None:
    """Beyond 255 different characters the rarest share one token; the others survive."""
    frequent = "".join(chr(0x4E00 + i) for i in range(300)) * 2 + "ab" * 50
    text = encode(frequent, "test")
    kept = {char for char, _ in Counter(frequent).most_common(2)}
    shown = text.decode(text.tokens)

    assert len(text.vocabulary) == 256
    assert kept <= set(text.vocabulary)
    assert sum(a != b for a, b in zip(shown, frequent, strict=True)) == 2 * (302 - 255)
    assert set(shown) - set(frequent) == {OTHER}


def test_a_folder_of_ones_own_is_read_in_order(tmp_path: Path) -> None:
    """Text files are put together by path; other files are passed over."""
    (tmp_path / "b.txt").write_text("second")
    (tmp_path / "a.md").write_text("first")
    (tmp_path / "c.bin").write_bytes(b"\xff\x00")
    text = load_text(str(tmp_path))

    assert text.decode(text.tokens) == "first\nsecond"
    assert load_text(str(tmp_path / "b.txt")).source == "the text of b.txt"


def test_a_missing_text_is_named(tmp_path: Path) -> None:
    """A path without text says which and what would do."""
    with pytest.raises(ValueError, match=r"no file .*nowhere.*give the path of a text file"):
        load_text(str(tmp_path / "nowhere"))


def test_targets_are_the_inputs_one_later_and_nothing_is_written_out() -> None:
    """Window i holds characters i to i + context; all windows share the memory of one text."""
    task, text = tiny(), load_text(max_characters=400).tokens

    assert task.inputs is not None
    assert task.targets is not None
    assert len(task.inputs) == 394
    for i in (0, 7, 393):
        assert task.inputs[i].tolist() == text[i : i + 6].tolist()
        assert task.targets[i].tolist() == text[i + 1 : i + 7].tolist()
    assert task.inputs.untyped_storage().nbytes() == 400 * 8


def test_the_end_of_the_text_is_held_out() -> None:
    """Training sees no character of it; its windows follow each other without overlap."""
    task, text = tiny(validation=0.1), load_text(max_characters=400).tokens
    assert task.inputs is not None
    assert task.validation is not None
    held, targets = task.validation

    assert len(task.inputs) == 360 - 6
    assert task.targets[-1].tolist() == text[354:360].tolist()
    assert held.flatten().tolist() == text[360:396].tolist()  # 6 whole windows of 40 characters
    assert targets.flatten().tolist() == text[361:397].tolist()


def test_accuracy_of_a_text_is_the_share_of_characters() -> None:
    """A model that always says one character is right as often as that one comes."""
    task = tiny(validation=0.1)
    assert task.metric is not None
    held, targets = task.validation
    outputs = torch.zeros(*held.shape, 100)
    outputs[..., int(targets[0, 0])] = 1.0

    share = (targets == targets[0, 0]).double().mean().item()
    assert task.metric(outputs, targets).item() == pytest.approx(share)


def test_windows_move_between_devices_without_being_written_out() -> None:
    """On another device (here one without storage) windows are strided as they were."""
    windows = torch.arange(100).unfold(0, 10, 1)
    moved = move_windows(windows, torch.device("meta"))

    assert moved.shape == windows.shape
    assert moved.stride() == windows.stride()
    assert moved.untyped_storage().nbytes() == 100 * 8


def test_an_untrained_transformer_is_at_chance() -> None:
    """The loss is in nats per character: log of the vocabulary's size before training."""
    torch.manual_seed(0)
    task = char_gpt(max_characters=10_000)
    num_tokens = len(load_text(max_characters=10_000).vocabulary)
    loss = task.loss(task.make_model()(task.inputs[:32]), task.targets[:32])

    assert loss.item() == pytest.approx(math.log(num_tokens), abs=0.1)


def test_the_loss_is_the_mean_negative_log_probability() -> None:
    """It equals the average of -log softmax over all places, taken one by one."""
    logits, targets = torch.randn(3, 4, 5), torch.randint(5, (3, 4))
    probability = logits.double().exp() / logits.double().exp().sum(-1, keepdim=True)
    each = [-probability[i, j, targets[i, j]].log() for i in range(3) for j in range(4)]

    assert next_token_loss(logits, targets).item() == pytest.approx(sum(each).item() / 12, rel=1e-6)


def test_no_token_sees_a_later_one() -> None:
    """Changing the last token leaves the logits at all earlier places bitwise alone."""
    model = Transformer(TransformerShape(20, 6, depth=2, width=8, num_heads=2))
    tokens = torch.randint(20, (2, 6))
    changed = tokens.clone()
    changed[:, -1] = (changed[:, -1] + 1) % 20
    before, after = model(tokens), model(changed)

    assert torch.equal(before[:, :-1], after[:, :-1])
    assert not torch.equal(before[:, -1], after[:, -1])


def test_attention_is_torchs_own() -> None:
    """The written-out attention equals scaled_dot_product_attention with a causal mask."""
    layer, stream = CausalAttention(12, 3), torch.randn(2, 7, 12)
    heads = layer.project(stream).view(2, 7, 3, 3, 4).permute(2, 0, 3, 1, 4)
    expected = scaled_dot_product_attention(*heads, is_causal=True)
    expected = layer.output(expected.transpose(1, 2).reshape(2, 7, 12))

    torch.testing.assert_close(layer(stream), expected)


@pytest.mark.parametrize("tied", [False, True])
def test_the_transformer_has_the_weights_its_arguments_say(tied: bool) -> None:
    """12 width² and two norms in each block, embeddings, a last norm, and an output if untied."""
    shape = TransformerShape(50, 16, depth=3, width=8, num_heads=2, tied=tied)
    blocks = 3 * (12 * 8**2 + 2 * 2 * 8)
    expected = blocks + (50 + 16) * 8 + 2 * 8 + (0 if tied else 50 * 8)

    assert sum(param.numel() for param in Transformer(shape).parameters()) == expected


@pytest.mark.parametrize("tied", [False, True])
def test_stacked_transformers_have_the_gradients_of_each(tied: bool) -> None:
    """Under vmap every copy has the loss and the gradient it has alone."""
    task = tiny(tied=tied)
    assert task.inputs is not None
    assert task.targets is not None
    models = [task.make_model() for _ in range(3)]
    inputs, targets = task.inputs[:5], task.targets[:5]
    stacked = {
        name: torch.stack([weights(model)[name] for model in models]).requires_grad_()
        for name in weights(models[0])
    }
    losses = vmap(lambda p: task.loss(functional_call(models[0], p, (inputs,)), targets))(stacked)
    found = torch.autograd.grad(losses.sum(), list(stacked.values()))

    for row, model in enumerate(models):
        loss = task.loss(model(inputs), targets)
        expected = torch.autograd.grad(loss, list(model.parameters()))
        torch.testing.assert_close(losses[row], loss)
        for got, want in zip(found, expected, strict=True):
            torch.testing.assert_close(got[row], want, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("tied", [False, True])
def test_curvature_of_the_transformer_is_the_dense_hessian(tied: bool) -> None:
    """Hessian products, forward over reverse and vmapped, are the columns of the dense Hessian."""
    torch.manual_seed(1)
    task = tiny(tied=tied, width=4, context=4, max_characters=60)
    assert task.inputs is not None
    assert task.targets is not None
    model = task.make_model().double()
    inputs, targets = task.inputs[:4], task.targets[:4]
    objective = Objective(model, task.loss, weights(model), {}, dtype=torch.float64)
    dense = torch.autograd.functional.hessian(
        lambda point: objective.loss(point, inputs, targets), objective.vector, vectorize=True
    )
    probes = torch.randn(5, objective.size, dtype=torch.float64)
    products = vmap(lambda v: objective.product(Curvature.HESSIAN, v, inputs, targets))(probes)

    assert dense.abs().max() > 0.1
    torch.testing.assert_close(products, probes @ dense)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"depth": 0}, "depth must be a whole number, at least 1; got 0"),
        ({"width": 6, "num_heads": 4}, "width must be a multiple of num_heads=4; got 6"),
        ({"context": 2.5}, "context must be a whole number"),
        ({"tied": "yes"}, "tied must be true or false; got 'yes'"),
        ({"context": 400}, "The text has 400 characters; it needs more than context=400"),
        ({"validation": 0.01}, "held-out text has 4 characters; it needs more than context=6"),
        ({"validation": 1.5}, "validation must be a number from 0 to below 1; got 1.5"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else "",
)
def test_impossible_sizes_are_refused(args: dict[str, object], message: str) -> None:
    """A size that cannot be built says which it is and what was given."""
    with pytest.raises(ValueError, match=message):
        tiny(**args)
