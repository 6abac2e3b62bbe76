"""Looks at whether copies of a model can be stacked, and whether curvature can be measured."""

import re
import warnings

import torch
from torch import Tensor
from torch.func import vmap

from scaling_sweep.curvature.objective import Curvature, Objective
from scaling_sweep.probing.findings import Finding, Level
from scaling_sweep.probing.subject import Subject, one_line, take_step
from scaling_sweep.training.choosing import ProbeBatch, is_random, why_not_vmap
from scaling_sweep.training.copies import Point
from scaling_sweep.training.engines import LoopEngine, VmapEngine

_NUM_COPIES = 2
# Two orders of summing in fp32 differ by less after one step (measured on the built-in tasks).
_SAME_STEP = 1e-4
# How torch 2.15 warns where vmap falls back to a loop over the copies.
_NO_RULE = re.compile(r"batching rule for aten::_*(\w+)")
_ALWAYS_LOOP = "the loop engine trains one copy after the other, with the same results"


def obstacle_of(subject: Subject) -> str | None:
    """Return what keeps the model from being stacked; None when nothing does."""
    inputs, targets = subject.batches([0, 1]).draw([0, 1])
    model = subject.model()
    random = is_random(model, subject.task, inputs[0], targets[0])
    stacked = VmapEngine(model, subject.task, subject.rule())
    batch = ProbeBatch(inputs, targets, num_steps=1)
    return why_not_vmap(stacked, subject.copies(_NUM_COPIES), batch, is_random=random)


def look_at_stacking(subject: Subject) -> tuple[Finding, ...]:
    """Say whether a pack moves in one call, and whether each copy then does what it does alone."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        obstacle = obstacle_of(subject)
        if obstacle is not None:
            text = f"no: {obstacle.split('. ')[0].rstrip('.')}"
            return (Finding("packs", Level.NOTE, text, _ALWAYS_LOOP),)
        difference = _compare_engines(subject)
    single = [found[1] for w in warned if (found := _NO_RULE.search(str(w.message)))]
    if difference < _SAME_STEP and single:
        text = f"copies train stacked, but {single[0]} takes them one after the other"
        advice = "write attention out, or turn the fused one off"
        return (Finding("packs", Level.NOTE, text, advice),)
    if difference < _SAME_STEP:
        return (Finding("packs", Level.OK, "copies train stacked, each as it does alone"),)
    text = f"stacked copies step {difference:.1g} otherwise than alone"
    advice = "does the model keep numbers beside parameters and buffers? Or write engine: loop"
    return (Finding("packs", Level.PROBLEM, text, advice),)


def _compare_engines(subject: Subject) -> float:
    """Return by how much losses and moves of two copies differ between the engines, relatively."""
    batch = subject.batches([0, 1]).draw([0, 1])
    model, task, rule = subject.model(), subject.task, subject.rule()
    outcomes = []
    stacked = VmapEngine(model, task, rule)
    for engine in (stacked, LoopEngine(model, task, rule, attention=stacked.attention)):
        copies = subject.copies(_NUM_COPIES)
        losses = take_step(engine, copies, (batch[0].clone(), batch[1]))
        outcomes.append([losses, *copies.params.values()])
    worst = 0.0
    for some, others in zip(*outcomes, strict=True):
        scale = others.abs().max().clamp_min(1e-12)
        worst = max(worst, float((some - others).abs().max() / scale))
    return worst


def look_at_curvature(subject: Subject) -> tuple[Finding, ...]:
    """Say whether Hessian products can be computed, as ``predict`` and ``curvature:`` need."""
    inputs, targets = subject.batch()
    point = Point.of(subject.model())
    try:
        products = _multiply(subject, point, inputs, targets)
    except Exception as error:
        advice = "predict and curvature: do not work with it; sweeps do"
        return (Finding("curvature", Level.NOTE, f"no: {one_line(error)}", advice),)
    if not products.isfinite().all():
        advice = "a kink such as sqrt(0) or norm(0)? predict needs finite second derivatives"
        return (Finding("curvature", Level.NOTE, "second derivatives are not finite", advice),)
    return (Finding("curvature", Level.OK, "second derivatives can be computed"),)


def _multiply(subject: Subject, point: Point, inputs: Tensor, targets: Tensor) -> Tensor:
    """Multiply the Hessian of a batch by some random vectors at once."""
    model, loss = subject.model(), subject.task.loss
    objective = Objective(model, loss, point.params, point.buffers, device=subject.device)
    inputs, targets = objective.to_like(inputs), objective.to_like(targets)

    def product(vector: Tensor) -> Tensor:
        return objective.product(Curvature.HESSIAN, vector, inputs, targets)

    probes = torch.ones(_NUM_COPIES, objective.size, device=subject.device)
    products: Tensor = vmap(product)(probes)
    return products
