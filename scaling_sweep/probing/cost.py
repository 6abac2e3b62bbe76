"""Looks at what a step costs: time of each engine, memory, and the largest pack that fits."""

from dataclasses import dataclass

from scaling_sweep.memory_free import free_memory, usable
from scaling_sweep.planning import MemoryLaw
from scaling_sweep.probing.findings import Finding, Level
from scaling_sweep.probing.memory import device_memory, measure_memory
from scaling_sweep.probing.stacking import obstacle_of
from scaling_sweep.probing.subject import Subject
from scaling_sweep.training.choosing import ProbeBatch, time_step
from scaling_sweep.training.engines import Engine, LoopEngine, VmapEngine

# As many copies as a pack on a CPU has at least; enough to see what stacking brings.
_NUM_COPIES = 8
_UNITS = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))


@dataclass(frozen=True)
class _Timing:
    """Seconds of one step of one copy in a pack."""

    loop_s: float
    vmap_s: float | None

    @property
    def faster(self) -> str:
        """The engine that a sweep would probably take."""
        return "vmap" if self.vmap_s is not None and self.vmap_s <= self.loop_s else "loop"


def look_at_cost(subject: Subject) -> tuple[Finding, ...]:
    """Say what a step takes in time and memory, and what fits."""
    timing = _time_engines(subject)
    law = measure_memory(subject, timing.faster)
    return (_describe_time(subject, timing), *_describe_memory(subject, law))


def _time_engines(subject: Subject) -> _Timing:
    seeds = [row % 2 for row in range(_NUM_COPIES)]
    inputs, targets = subject.batches([0, 1]).draw(seeds)
    batch = ProbeBatch(inputs, targets, num_steps=10**6)
    model, task, rule = subject.model(), subject.task, subject.rule()

    def per_copy(engine: Engine) -> float:
        return time_step(engine, subject.copies(_NUM_COPIES), batch) / _NUM_COPIES

    stacks = obstacle_of(subject) is None
    return _Timing(
        loop_s=per_copy(LoopEngine(model, task, rule)),
        vmap_s=per_copy(VmapEngine(model, task, rule)) if stacks else None,
    )


def _describe_time(subject: Subject, timing: _Timing) -> Finding:
    optimizer = subject.spec.optimizers[-1].label
    text = f"{_milliseconds(timing.loop_s)} a step and copy, one after the other (loop)"
    if timing.vmap_s is not None:
        text += f", {_milliseconds(timing.vmap_s)} stacked (vmap)"
    text += f"; {_NUM_COPIES} copies, batch {subject.batch_size}, {optimizer}"
    return Finding("time", Level.OK, text)


def _describe_memory(subject: Subject, law: MemoryLaw) -> tuple[Finding, ...]:
    batch_size = subject.batch_size
    one, two = law.peak(1, batch_size), law.peak(2, batch_size)
    text = (
        f"{_bytes(one)} for one copy at batch {batch_size}, {_bytes(two - one)} for each more, "
        f"{_bytes(law.fixed_per_example + law.per_copy_example)} an example (estimate)"
    )
    found = Finding("memory", Level.OK, text)
    on_gpu = subject.device.type == "cuda"
    free = device_memory(subject.device) if on_gpu else free_memory()
    if free is None:
        return (found,)
    room = usable(free)
    copies, batch = law.most_copies(room, batch_size), law.largest_batch(room)
    if copies < 1 or batch < 1:
        text = f"not even one copy in {_bytes(room)} at batch {batch_size} (estimate)"
        advice = "a smaller model, or a machine with more memory"
        return (found, Finding("fits", Level.PROBLEM, text, advice))
    text = (
        f"in {_bytes(room)}: {_about(copies)} copies at batch {batch_size}, "
        f"or batch {_about(batch)} for one copy (estimate)"
    )
    return (found, _compare_with_sweep(subject, law, room, Finding("fits", Level.OK, text)))


def _compare_with_sweep(subject: Subject, law: MemoryLaw, room: int, found: Finding) -> Finding:
    """Say so where the sweep's own largest batch does not fit even once."""
    largest = subject.spec.batch_sizes[-1]
    if law.peak(1, largest) <= room:
        return found
    text = f"{found.text}; the sweep asks for batch {largest:,}, {_bytes(law.peak(1, largest))}"
    return Finding("fits", Level.NOTE, text, "lower the largest batch size")


def _milliseconds(seconds: float) -> str:
    return f"{1000 * seconds:.3g} ms"


def _about(number: int) -> str:
    """Write an estimated number with two figures, rounded down so that it still fits."""
    unit = 10 ** max(0, len(str(number)) - 2)
    return f"{number // unit * unit:,}"


def _bytes(number: int) -> str:
    """Write a number of bytes with the unit a person would choose."""
    for size, unit in _UNITS:
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number} B"
