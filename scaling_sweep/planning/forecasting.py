"""What a study will cost and how well it will know the exponent, and what neighbours of it would.

The study is simulated against plausible edges: a saturating law with the predicted exponent that
bends in the middle of the batch sizes and lies in the middle of the searched range, and edges that
scatter between seeds by 0.15 in log as they do on digits. A guess about the world, said as one:
where the law bends later, or seeds agree better, the interval will be narrower.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from statistics import median

from analysis.axes import AxisName
from analysis.checks import predict_exponent
from scaling_sweep.planning.cost import StepTime, StepTimes, SweepCost, estimate_cost
from scaling_sweep.planning.searching import PackLimits, Search, measure_precision
from scaling_sweep.planning.simulating import SimulatedEdges, Simulation, simulate_search
from scaling_sweep.planning.units import list_places, make_lattice
from scaling_sweep.spec import BatchSizeValues, Bisection, BisectSearch, OptimizerSpec, SweepSpec
from scaling_sweep.spec.axes import PositiveByOptimizer
from scaling_sweep.spec.grids import PositiveRange

# Two worlds for each way: a person waits, and how wide intervals are differs more between plausible
# truths than between the worlds of one (a guess).
_REPEATS = 2
# Above so many edges one world must do: it takes seconds, and says more by itself (a guess).
_MANY_EDGES = 150
_SECONDS_PER_HOUR = 3600


@dataclass(frozen=True)
class Precision:
    """How well one exponent is expected to be known.

    Attributes:
        optimizer: Label.
        half_width: Half of the 95 % interval of the exponent, median over simulations; None where
            no law could be fitted in most of them.
    """

    optimizer: str
    half_width: float | None


@dataclass(frozen=True)
class StudyForecast:
    """What one way to run a study would cost and tell, from its first trial to its last.

    Attributes:
        name: The way, in words.
        num_trials: Trials.
        num_packs: Packs.
        num_steps: Updates, if no trial diverges early.
        num_examples: Examples seen, if no trial diverges early.
        wall_time_s: Time until the last pack has returned.
        gpu_hours: GPU hours, 0 where packs ask for no GPU.
        cost: At the price given; None without one.
        precisions: Of each optimizer's exponent.
    """

    name: str
    num_trials: int
    num_packs: int
    num_steps: int
    num_examples: int
    wall_time_s: float
    gpu_hours: float
    cost: float | None
    precisions: tuple[Precision, ...]


@dataclass(frozen=True)
class Prices:
    """What things take and cost.

    Attributes:
        clock: Time of a pack.
        num_workers: Packs at a time.
        price: Of one GPU hour, in any currency; None when it does not matter.
    """

    clock: StepTime | StepTimes
    num_workers: int = 1
    price: float | None = None


def forecast_study(
    spec: SweepSpec, limits: PackLimits, prices: Prices, repeats: int | None = None
) -> tuple[StudyForecast, ...]:
    """Simulate a study and its neighbours: more seeds, finer steps, fewer batch sizes.

    Args:
        spec: The study.
        limits: What packs have to fit.
        prices: What they take.
        repeats: Worlds to simulate for each; by default fewer for large studies.

    Returns:
        The study as it is, then its neighbours.
    """
    edges = spec.seeds * sum(len(list_places(spec, item)) for item in spec.optimizers)
    worlds = repeats or (1 if edges > _MANY_EDGES else _REPEATS)
    simulated: list[_Simulated] = []
    return tuple(
        _forecast(name, other, limits, prices, _follow(other, limits, prices, worlds, simulated))
        for name, other in _neighbours(spec)
    )


@dataclass(frozen=True)
class _Simulated:
    """A search that was simulated, and what came out in each world."""

    search: SweepSpec
    worlds: list[Simulation]


def _follow(
    spec: SweepSpec, limits: PackLimits, prices: Prices, repeats: int, simulated: list[_Simulated]
) -> list[Simulation]:
    """Simulate a study in a few worlds; a grid and the bisection that is as fine only once."""
    search = _as_search(spec)
    for known in simulated:
        if known.search == search:
            return known.worlds
    worlds = [_simulate(search, limits, prices, salt) for salt in range(repeats)]
    simulated.append(_Simulated(search, worlds))
    return worlds


def _as_search(spec: SweepSpec) -> SweepSpec:
    """Return a study as it is simulated: a grid by the bisection that ends in the same brackets."""
    if spec.bisection is not None:
        return spec
    return spec.model_copy(update={"search": as_bisection(spec)})


def _neighbours(spec: SweepSpec) -> Iterator[tuple[str, SweepSpec]]:
    """Yield the study and what else one could ask for, in words and as studies."""
    yield "as it is", spec
    yield from _more_seeds(spec)
    bisect = spec.bisection
    if bisect is None:
        yield "bisection, as fine", spec.model_copy(update={"search": as_bisection(spec)})
    elif bisect.per_octave < 32:
        finer = bisect.model_copy(update={"resolution": 2 ** (0.5 / bisect.per_octave)})
        name = f"resolution {finer.resolution:.3g}"
        yield name, spec.model_copy(update={"search": BisectSearch(bisect=finer)})
    if len(spec.batch_sizes) >= 8:  # the laws need 4 or 5 of them
        fewer = BatchSizeValues(values=spec.batch_sizes[::2])
        parameters = spec.parameters.model_copy(update={"batch_size": fewer})
        name = f"{len(fewer.values)} batch sizes"
        yield name, spec.model_copy(update={"parameters": parameters})


def _more_seeds(spec: SweepSpec) -> Iterator[tuple[str, SweepSpec]]:
    if spec.bisection is None or spec.bisection.precision is None:
        more = math.ceil(1.5 * spec.seeds)
        yield f"{more} seeds", spec.model_copy(update={"seeds": more})


def as_bisection(spec: SweepSpec) -> BisectSearch:
    """Return the bisection that is as fine as a grid is.

    Args:
        spec: A study on a grid.

    Returns:
        The search, with the defaults beside its resolution.
    """
    axis = spec.parameters.lr if spec.parameters.damping is None else spec.parameters.damping
    grids = axis.by_optimizer.values() if isinstance(axis, PositiveByOptimizer) else (axis,)
    steps = max(grid.per_octave if isinstance(grid, PositiveRange) else 1 for grid in grids)
    return BisectSearch(bisect=Bisection(resolution=2 ** (1 / steps)))


def _forecast(
    name: str, spec: SweepSpec, limits: PackLimits, prices: Prices, worlds: list[Simulation]
) -> StudyForecast:
    """Take the medians of what came out in a few worlds."""
    precisions = tuple(
        Precision(item.label, _half_width(item.label, worlds)) for item in spec.optimizers
    )
    cost = _cost(spec, limits, prices, worlds)
    gpu_hours = cost.pack_time_s * spec.resources.gpus / _SECONDS_PER_HOUR
    return StudyForecast(
        name=name,
        num_trials=cost.num_trials,
        num_packs=cost.num_packs,
        num_steps=cost.num_steps,
        num_examples=cost.num_examples,
        wall_time_s=cost.wall_time_s,
        gpu_hours=gpu_hours,
        cost=None if prices.price is None else gpu_hours * prices.price,
        precisions=precisions,
    )


def _cost(
    spec: SweepSpec, limits: PackLimits, prices: Prices, worlds: list[Simulation]
) -> SweepCost:
    """Return what the study costs: a grid exactly, a search as the median over the worlds."""
    if spec.bisection is None:
        packs = Search(spec, limits).next_packs()
        return estimate_cost(packs, prices.clock, prices.num_workers)
    return SweepCost(
        num_packs=round(_middle(worlds, lambda w: w.num_packs)),
        num_trials=round(_middle(worlds, lambda w: w.num_trials)),
        num_steps=round(_middle(worlds, lambda w: w.num_steps)),
        num_examples=round(_middle(worlds, lambda w: w.num_examples)),
        pack_time_s=_middle(worlds, lambda w: w.pack_time_s),
        wall_time_s=_middle(worlds, lambda w: w.wall_time_s),
    )


def _middle(worlds: list[Simulation], number: Callable[[Simulation], float]) -> float:
    return float(median(number(world) for world in worlds))


def _half_width(optimizer: str, worlds: list[Simulation]) -> float | None:
    """Return the median half-width, None where most worlds have none."""
    widths = []
    for world in worlds:
        told = tuple(item for item in world.measured if item.optimizer == optimizer)
        width = measure_precision(told)
        widths.append(math.inf if width is None else width)
    middle = median(widths)
    return middle if math.isfinite(middle) else None


def _simulate(spec: SweepSpec, limits: PackLimits, prices: Prices, salt: int) -> Simulation:
    """Run a search in one world."""
    edges: Mapping[str, SimulatedEdges] = {
        item.label: SimulatedEdges(_plausible(spec, item, salt), salt=salt)
        for item in spec.optimizers
    }
    return simulate_search(
        Search(spec, limits),
        lambda trial: edges[trial.optimizer.label].answer(trial),
        prices.clock.seconds,
        prices.num_workers,
    )


def _plausible(spec: SweepSpec, optimizer: OptimizerSpec, salt: int) -> Callable[[float], float]:
    """Return a law that bends in the middle of the places and spans the middle of the range."""
    axis = AxisName(spec.parameters.searched)
    p = predict_exponent(optimizer.label, spec.check.predicted, axis) or 1.0
    places = [math.exp2(place.coordinate) for place in list_places(spec, optimizer)]
    bend = math.sqrt(places[0] * places[-1])

    def shape(variable: float) -> float:
        return 1 / (1 + math.pow(bend / variable, p))

    lattice = make_lattice(spec, optimizer)
    middle = math.exp2((lattice.first + lattice.last) / 2 / lattice.per_octave)
    # A third of a step further in each world: a law that keeps step with the lattice is a fluke.
    level = middle / math.sqrt(shape(places[0]) * shape(places[-1]))
    level *= math.exp2(salt / 3 / lattice.per_octave)
    return lambda variable: level * shape(variable)
