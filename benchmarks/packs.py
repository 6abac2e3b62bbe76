"""Processor time a step of a pack takes, against JAX, hand-written products, and one at a time.

96 copies of the digits MLP under plain SGD, one thread, in one process: the stacked engine, the
compiled one, JAX's ``jit(scan(vmap))``, the same written out in ``torch.bmm``, and the loop
engine, in milliseconds of processor time, compiling left out. The share of the peak holds the
multiplications of a step against a large matrix product measured beside it. Aims: no slower than
JAX anywhere, half of the peak at B = 512.

    python -m benchmarks.packs [--batch-sizes 8 32 128 512] [--repeats 10]

JAX comes with ``pip install 'scaling-sweep[bench]'``; without it its column is empty.
"""

import argparse
import importlib.util
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from benchmarks.timing import ROOT
from scaling_sweep.optimizers.sgd import sgd
from scaling_sweep.tasks.digits import digits_mlp
from scaling_sweep.training.choosing import ProbeBatch, choose_engine
from scaling_sweep.training.copies import Copies, Point, stack_points

NUM_COPIES = 96
LR = 1e-3
# Steps of one call, so that JAX's scan has something to scan over.
NUM_STEPS = 5
# A product of this size shows the peak on a CPU (a guess; larger ones were no faster).
PEAK_SIZE = 1024


@dataclass(frozen=True)
class Work:
    """The same steps for everybody.

    Attributes:
        copies: Where they begin.
        inputs: Shape ``[NUM_STEPS, NUM_COPIES, batch_size, 64]``.
        targets: Shape ``[NUM_STEPS, NUM_COPIES, batch_size]``.
    """

    copies: Copies
    inputs: Tensor
    targets: Tensor

    @property
    def num_multiplications(self) -> float:
        """Of one step: forward, and back to all weights and to all inputs but the first's."""
        weights = [w for w in self.copies.params.values() if w.dim() == 3]
        sizes = [float(w[0].numel()) for w in weights]
        return NUM_COPIES * self.inputs.shape[2] * (3 * sum(sizes) - sizes[0])


Trainer = Callable[[Work], Callable[[], object]]


def make_work(batch_size: int) -> Work:
    """Draw the batches."""
    task = digits_mlp()
    assert task.inputs is not None
    assert task.targets is not None
    torch.manual_seed(0)
    index = torch.randint(len(task.inputs), (NUM_STEPS, NUM_COPIES, batch_size))
    point = Point.of(task.make_model())
    copies = stack_points([point] * NUM_COPIES, [LR] * NUM_COPIES, sgd(), torch.device("cpu"))
    return Work(copies, task.inputs[index], task.targets[index])


def by_engine(name: str) -> Trainer:
    """Return the trainer that is one of our engines."""
    task, rule = digits_mlp(), sgd()  # of all batch sizes, because a graph is kept by them

    def prepare(work: Work) -> Callable[[], object]:
        copies = work.copies.select(torch.arange(NUM_COPIES))
        batch = ProbeBatch(work.inputs[0], work.targets[0], NUM_STEPS)
        engine = choose_engine(name, task.make_model(), task, rule, copies, batch)
        return lambda: [
            engine.step(copies, inputs, targets, [])
            for inputs, targets in zip(work.inputs, work.targets, strict=True)
        ]

    return prepare


def by_hand(work: Work) -> Callable[[], object]:
    """Prepare forward, backward and update written out in batched products."""
    params = {name: value.clone() for name, value in work.copies.params.items()}
    weights = [value for value in params.values() if value.dim() == 3]
    biases = [value for value in params.values() if value.dim() == 2]

    def step(inputs: Tensor, targets: Tensor) -> None:
        layers = [inputs]
        for place, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
            sums = torch.baddbmm(bias.unsqueeze(1), layers[-1], weight.transpose(1, 2))
            layers.append(sums.relu_() if place < len(weights) - 1 else sums)
        back = layers[-1].softmax(-1)
        back.scatter_add_(2, targets.unsqueeze(2), torch.full_like(back[..., :1], -1.0))
        back /= inputs.shape[1]
        for place in reversed(range(len(weights))):
            weight, layer = weights[place], layers[place]
            into = torch.bmm(back, weight).mul_(layer > 0) if place else back
            weight.baddbmm_(back.transpose(1, 2), layer, alpha=-LR)
            biases[place].sub_(back.sum(1), alpha=LR)
            back = into

    def train() -> None:
        for batch in zip(work.inputs, work.targets, strict=True):
            step(*batch)

    return train


def by_jax(work: Work) -> Callable[[], object]:
    """Prepare vmap over copies, scan over steps, compiled as a whole."""
    import jax
    import jax.numpy as jnp

    values = [jnp.asarray(value.numpy()) for value in work.copies.params.values()]
    inputs, targets = jnp.asarray(work.inputs.numpy()), jnp.asarray(work.targets.numpy())

    def loss(params: list[jax.Array], x: jax.Array, y: jax.Array) -> jax.Array:
        for place in range(0, len(params), 2):
            x = x @ params[place].T + params[place + 1]
            x = jax.nn.relu(x) if place < len(params) - 2 else x
        logs = jax.nn.log_softmax(x)
        return -jnp.take_along_axis(logs, y[:, None], axis=1).mean()

    moved = jax.vmap(jax.grad(loss))

    def step(
        params: list[jax.Array], batch: tuple[jax.Array, jax.Array]
    ) -> tuple[list[jax.Array], None]:
        grads = moved(params, *batch)
        return [p - LR * g for p, g in zip(params, grads, strict=True)], None

    train = jax.jit(lambda params: jax.lax.scan(step, params, (inputs, targets))[0])
    return lambda: jax.block_until_ready(train(values))


def time_all(work: Work, trainers: dict[str, Trainer], repeats: int) -> dict[str, float]:
    """Return the seconds of a step of each, taken in turn; the fastest of all counts."""
    calls = {name: trainer(work) for name, trainer in trainers.items()}
    for call in calls.values():
        call()  # compiles, and warms up
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(repeats):
        for name, call in calls.items():
            begin = time.process_time()  # of all threads: JAX has its own
            call()
            best[name] = min(best[name], (time.process_time() - begin) / NUM_STEPS)
    return best


def peak_rate(repeats: int) -> float:
    """Return multiplications per second of a large matrix product, by the faster library.

    torch multiplies fp32 by MKL, which on some processors of AMD makes half of what oneDNN does.
    """
    some = torch.randn(PEAK_SIZE, PEAK_SIZE)
    products: list[Callable[[], Tensor]] = [lambda: some @ some]
    if torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        linear = torch.ops.mkldnn._linear_pointwise
        products.append(lambda: linear(some, some, None, "none", [], ""))
    best = float("inf")
    for product in products:
        product()
        for _ in range(repeats):
            begin = time.process_time()
            product()
            best = min(best, time.process_time() - begin)
    return PEAK_SIZE**3 / best


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[8, 32, 128, 512])
    parser.add_argument("--repeats", type=int, default=10)
    options = parser.parse_args()
    torch.set_num_threads(1)
    trainers: dict[str, Trainer] = {name: by_engine(name) for name in ("vmap", "compile", "loop")}
    trainers["bmm"] = by_hand
    if importlib.util.find_spec("jax") is not None:
        trainers["jax"] = by_jax
    else:
        print("no column for JAX: it is not installed (pip install 'scaling-sweep[bench]')")
    print(f"{NUM_COPIES} copies of digits_mlp, SGD, one thread, ms per step of the pack")
    print(f"{'B':>5} " + " ".join(f"{name:>9}" for name in trainers), end="")
    print(f" {'jax/vmap':>9} {'jax/comp':>9} {'peak':>6} {'peak comp':>9}", flush=True)
    for batch_size in options.batch_sizes:
        work = make_work(batch_size)
        found, peak = time_all(work, trainers, options.repeats), peak_rate(options.repeats)
        jax = found.get("jax", float("nan"))
        shares = [work.num_multiplications / found[name] / peak for name in ("vmap", "compile")]
        print(f"{batch_size:5d} " + " ".join(f"{1e3 * t:9.2f}" for t in found.values()), end="")
        print(
            f" {jax / found['vmap']:9.2f} {jax / found['compile']:9.2f} "
            f"{shares[0]:6.0%} {shares[1]:9.0%}",
            flush=True,
        )


def restart_like_a_worker() -> None:
    """Begin again as workers do: with their allocator, and JAX on one thread too."""
    import sys

    from scaling_sweep.clusters.worker_environment import WORKER_ENVIRONMENT

    own = {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"}
    wanted = {**WORKER_ENVIRONMENT, **own}
    if any(os.environ.get(name) != value for name, value in wanted.items()):
        command = [sys.executable, "-m", "benchmarks.packs", *sys.argv[1:]]
        os.chdir(ROOT)
        os.execve(sys.executable, command, {**os.environ, **wanted})


if __name__ == "__main__":
    restart_like_a_worker()
    main()
