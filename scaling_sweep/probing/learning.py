"""Looks at model and loss: the first loss against chance, gradients, repeats."""

import math

import torch
from torch import Tensor, nn

from scaling_sweep.probing.findings import Finding, Level
from scaling_sweep.probing.subject import Subject, take_step
from scaling_sweep.spec import Stability
from scaling_sweep.training.engines import LoopEngine
from scaling_sweep.training.randomness import forked_generators

# An untrained model this much above chance is not near it any more (a guess; a default
# initialisation of a ReLU perceptron is within a tenth).
_NEAR_CHANCE = 1.25
# Relative; a mean over twice the examples rounds otherwise.
_SAME = 1e-3
_NUM_STEPS = 3
_MAX_NAMES = 3


def look_at_loss(subject: Subject) -> tuple[Finding, ...]:
    """Say what the loss of the untrained model is: a scalar, finite, a mean, near chance."""
    inputs, targets = subject.batch()
    model = subject.model()
    model.train()
    with torch.no_grad(), forked_generators():
        outputs = model(inputs)
        loss = subject.task.loss(outputs, targets)
    if not isinstance(loss, Tensor):
        return (_bad_loss(f"it is a {type(loss).__name__}", "return a scalar tensor"),)
    if loss.dim():
        advice = "return the mean over the batch, a scalar"
        return (_bad_loss(f"it has shape {list(loss.shape)}", advice),)
    if not torch.isfinite(loss):
        advice = "it must be finite before training: look for log(0) or a division by zero"
        return (_bad_loss(f"it is {loss.item()} at initialisation", advice),)
    return (_compare_with_chance(subject, loss.item(), outputs, targets), *_look_at_mean(subject))


def _bad_loss(text: str, advice: str) -> Finding:
    return Finding("loss", Level.PROBLEM, text, advice)


def _compare_with_chance(
    subject: Subject, loss: float, outputs: object, targets: Tensor
) -> Finding:
    """Hold the first loss against that of a model that has learned nothing."""
    here = f"scalar, {loss:.4g} at initialisation"
    found = _chance(subject, outputs, targets)
    if found is None:
        return Finding("loss", Level.OK, f"{here}; chance is not known for these outputs")
    chance, words = found
    text = f"{here}; {words} is {chance:.4g}"
    if not math.isfinite(chance) or chance <= 0:
        return Finding("loss", Level.OK, text)
    lower = f"a max_loss_ratio below {chance / loss:.2g}"
    passes = _passes_chance(subject.spec.stability, loss, chance)
    if passes:
        text += "; a model that learns nothing comes down to that and would count as stable"
    if loss > _NEAR_CHANCE * chance:
        advice = "verdicts compare with this: smaller last weights or standardised data mend it"
        return Finding("loss", Level.NOTE, text, f"{advice}, or {lower}" if passes else advice)
    if passes:
        return Finding("loss", Level.NOTE, text, f"write {lower}")
    if loss * _NEAR_CHANCE < chance:
        advice = "is the model trained already?"
        return Finding("loss", Level.NOTE, text, advice)
    return Finding("loss", Level.OK, text)


def _passes_chance(stability: Stability, loss: float, chance: float) -> bool:
    """Say whether a criterion that asks for learning is met by chance."""
    ratio = stability.max_loss_ratio
    return stability.measure == "final" and ratio < 1 and chance <= ratio * loss


def _chance(subject: Subject, outputs: object, targets: Tensor) -> tuple[float, str] | None:
    """Return the loss of a model without knowledge, and what that is called."""
    if not isinstance(outputs, Tensor) or not outputs.is_floating_point():
        return None
    if not targets.is_floating_point() and outputs.dim() == targets.dim() + 1:
        last = outputs.shape[:-1] == targets.shape  # else classes come second, as in pictures
        num_classes = outputs.shape[-1] if last else outputs.shape[1]
        chance = float(subject.task.loss(torch.zeros_like(outputs), targets))
        if math.isclose(chance, math.log(num_classes), rel_tol=_SAME):
            return chance, f"chance, log {num_classes},"
        return chance, f"the loss of equal outputs for {num_classes} classes"
    if targets.is_floating_point() and outputs.shape == targets.shape:
        mean = targets.mean(0, keepdim=True).expand_as(outputs)
        return float(subject.task.loss(mean, targets)), "predicting the batch's mean"
    return None


def _look_at_mean(subject: Subject) -> tuple[Finding, ...]:
    """Say whether the loss is a mean: a batch twice in a row has the same one."""
    inputs, targets = subject.batch()
    model = subject.model()
    once = subject.evaluate(model, inputs, targets)
    if once != subject.evaluate(model, inputs, targets):
        text = "the model draws random numbers in evaluation too"
        advice = "leave that to training (self.training); they are fixed in evaluation here"
        return (Finding("evaluation", Level.NOTE, text, advice),)
    twice = subject.evaluate(model, torch.cat([inputs] * 2), torch.cat([targets] * 2))
    if math.isclose(once, twice, rel_tol=_SAME, abs_tol=1e-6):
        return (Finding("mean", Level.OK, "the loss is a mean over the batch"),)
    text = f"a batch twice over has {twice / once:.3g} times the loss"
    if math.isclose(twice, 2 * once, rel_tol=_SAME):
        advice = "return the mean over the batch, not the sum: lr would grow with the batch size"
        return (Finding("mean", Level.PROBLEM, text, advice),)
    advice = "a mean has the same; is the loss normalised by something else?"
    return (Finding("mean", Level.NOTE, text, advice),)


def look_at_gradients(subject: Subject) -> tuple[Finding, ...]:
    """Say whether every parameter gets a finite gradient."""
    model, (inputs, targets) = subject.model(), subject.batch()
    model.train()
    frozen = [name for name, param in model.named_parameters() if not param.requires_grad]
    with forked_generators():
        loss = subject.task.loss(model(inputs), targets)
        if loss.requires_grad:
            loss.backward()  # type: ignore[no-untyped-call]
    findings = [_judge_gradients(model)]
    if frozen:
        text = f"{_names(frozen)} say requires_grad=False and stay as they begin"
        findings.append(Finding("frozen", Level.OK, text))
    return tuple(findings)


def _judge_gradients(model: nn.Module) -> Finding:
    named = {name: param for name, param in model.named_parameters() if param.requires_grad}
    number = sum(param.numel() for param in named.values())
    if not named:
        return Finding(
            "gradients", Level.PROBLEM, "the model has no parameters to train", "give it some"
        )
    broken = [n for n, p in named.items() if p.grad is not None and not p.grad.isfinite().all()]
    if broken:
        advice = "they must be finite before training: look for sqrt(0), log(0), 0/0"
        return Finding("gradients", Level.PROBLEM, f"not finite in {_names(broken)}", advice)
    unused = [name for name, param in named.items() if param.grad is None]
    still = [n for n, p in named.items() if p.grad is not None and not p.grad.any()]
    if len(unused) + len(still) == len(named):
        text = "no parameter gets one"
        advice = "is the loss computed from detached outputs?"
        return Finding("gradients", Level.PROBLEM, text, advice)
    text = f"finite; {number:,} parameters in {len(named)} tensors"
    if unused or still:
        text += f", none in {_names(unused + still)}"
        advice = "they stay as they begin, but for weight decay: unused, or behind dead units?"
        return Finding("gradients", Level.NOTE, text, advice)
    return Finding("gradients", Level.OK, text)


def look_at_repeats(subject: Subject) -> tuple[Finding, ...]:
    """Say whether a seed's model and its first steps come out the same again."""
    if not _same_weights(subject.model(0), subject.model(0)):
        text = "the same seed builds other weights the second time"
        advice = "draw them from torch's global generator in make_model, not from one of your own"
        return (Finding("repeats", Level.PROBLEM, text, advice),)
    first, again = _train(subject), _train(subject)
    if not torch.equal(first, again):
        text = f"{_NUM_STEPS} steps from the same seed end at other weights the second time"
        advice = "does forward draw from a generator of its own? Draw from torch's global one"
        return (Finding("repeats", Level.PROBLEM, text, advice),)
    if _same_weights(subject.model(0), subject.model(1)):
        text = "every seed begins at the same weights"
        advice = "build a new model in make_model each time, and do not seed there"
        return (Finding("repeats", Level.NOTE, text, advice),)
    return (Finding("repeats", Level.OK, "same seed, same weights and same first steps"),)


def _same_weights(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.parameters(), other.parameters(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def _train(subject: Subject) -> Tensor:
    """Return the weights of one copy after a few steps, as one vector."""
    engine = LoopEngine(subject.model(), subject.task, subject.rule())
    copies, batches = subject.copies(1), subject.batches([0])
    copies.lr.fill_(1e-3)  # large enough to see a difference
    for _ in range(_NUM_STEPS):
        take_step(engine, copies, batches.draw([0]))
    return torch.cat([value.flatten() for value in copies.params.values()])


def _names(names: list[str]) -> str:
    more = len(names) - _MAX_NAMES
    return ", ".join(names[:_MAX_NAMES]) + (f" and {more} more" if more > 0 else "")
