"""Steps played back: torch's operations of a step, recorded once and called without their layers.

Most of a small model's stacked step is not arithmetic: module calls, vmap and autograd find out at
every step anew which operations there are. As long as shapes and layout in memory stay, so do the
operations. One step is therefore recorded below all these layers, and later ones call what was
recorded. Same operations, same rounding: a recording is used only after it gave, bit for bit, what
the usual step gave on the next batch.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map

from scaling_sweep.training.copies import Copies
from scaling_sweep.training.products import PRODUCTS

# Moves copies in place and returns their losses before.
Step = Callable[[Copies, Tensor, Tensor], Tensor]
_Layout = tuple[tuple[torch.Size, tuple[int, ...], torch.dtype], ...]
# Recording takes as long as some 20 steps gain. A pack's first shape is that of its probe and
# mostly stays; after copies were let go, more may follow at the next look (guesses).
_STEADY_AT_FIRST, _STEADY_LATER = 3, 16
# A recording holds all that its step computes until it is done; where that is much, arithmetic
# takes longer than what would be saved (guess).
_MOST_BYTES = 2**27
# What no engine spares.
_ARITHMETIC = PRODUCTS | {torch.ops.aten.convolution, torch.ops.aten.convolution_backward}


class Playback:
    """Takes steps the usual way until their shapes are steady, then plays a recording back.

    Args:
        step: The usual way. Must do the same operations whenever shapes and layout are the same.

    Example:
        >>> def step(copies, inputs, targets):
        ...     copies.params["w"].sub_(inputs.mean(1))
        ...     return targets.sum(1)
        >>> playback = Playback(step)
        >>> copies = Copies({"w": torch.zeros(2)}, {}, {}, torch.ones(2))
        >>> for _ in range(6):
        ...     losses = playback.take(copies, torch.ones(2, 3), torch.ones(2, 3))
        >>> playback.is_playing, copies.params["w"], losses
        (True, tensor([-6., -6.]), tensor([3., 3.]))
    """

    def __init__(self, step: Step) -> None:
        self._step = step
        self._layout: _Layout | None = None
        self._patience = _STEADY_AT_FIRST
        self._num_steady = 0
        self._recording: Recording | None = None
        self._is_hopeless = False
        self.is_playing = False

    @property
    def seconds_of_products(self) -> float | None:
        """Processor time of matrix products and convolutions in a step; None if not recorded."""
        return None if self._recording is None else self._recording.seconds_of_products

    def take(self, copies: Copies, inputs: Tensor, targets: Tensor) -> Tensor:
        """Move every copy once, in place, and return its loss before the move.

        Args:
            copies: The models.
            inputs: Shape ``[num_copies, batch_size, ...]``.
            targets: Shape ``[num_copies, batch_size, ...]``.

        Returns:
            Shape ``[num_copies]``.
        """
        if self._is_hopeless:
            return self._step(copies, inputs, targets)
        self._look_at(_layout(_tensors(copies, inputs, targets)))
        if self._recording is not None and self.is_playing:
            return self._recording.play(copies, inputs, targets)
        if self._recording is not None:
            return self._compare(self._recording, copies, inputs, targets)
        if self._num_steady < self._patience:
            return self._step(copies, inputs, targets)
        losses, self._recording = record(self._step, copies, inputs, targets)
        self._is_hopeless = self._recording is None
        return losses

    def _look_at(self, layout: _Layout) -> None:
        """Begin anew where shapes or layout are others than before."""
        self._num_steady += 1
        if layout != self._layout:
            if self._recording is not None:
                self._patience = _STEADY_LATER
            self._layout, self._num_steady, self._recording = layout, 1, None
            self.is_playing = False

    def _compare(
        self, recording: "Recording", copies: Copies, inputs: Tensor, targets: Tensor
    ) -> Tensor:
        """Take the usual step, play the recorded one on a twin, and trust it if both agree."""
        twin = copies.select(torch.arange(len(copies), device=copies.lr.device))
        played = recording.play(twin, inputs, targets)
        losses = self._step(copies, inputs, targets)
        pairs = zip(_owned(copies), _owned(twin), strict=True)
        self.is_playing = _is_same(losses, played) and all(_is_same(*pair) for pair in pairs)
        self._is_hopeless = not self.is_playing
        return losses


class Recording:
    """The operations of one step, for tensors of the same shapes and layout.

    Args:
        graph: Takes ``_tensors`` of a step, returns losses and new buffers.
        constants: What the step reads beside.
        seconds_of_products: Processor time of its matrix products and convolutions, on a CPU.
    """

    def __init__(
        self, graph: fx.Graph, constants: nn.Module, seconds_of_products: float = 0.0
    ) -> None:
        # Not a GraphModule: torch keeps the source of each for good, and there may be thousands.
        code = graph.python_code("self")
        names = dict(code.globals)
        exec(compile(code.src, "<recorded step>", "exec"), names)
        self._call = partial(names["forward"], constants)
        self.seconds_of_products = seconds_of_products

    def play(self, copies: Copies, inputs: Tensor, targets: Tensor) -> Tensor:
        """Move every copy once, in place, and return its loss before the move."""
        with torch.no_grad():
            losses, *buffers = self._call(*_tensors(copies, inputs, targets))
        copies.buffers.update(zip(copies.buffers, buffers, strict=True))
        found: Tensor = losses
        return found


def record(
    step: Step, copies: Copies, inputs: Tensor, targets: Tensor
) -> tuple[Tensor, Recording | None]:
    """Take a step and record it.

    Args:
        step: The usual way.
        copies: The models, moved.
        inputs: Shape ``[num_copies, batch_size, ...]``.
        targets: Shape ``[num_copies, batch_size, ...]``.

    Returns:
        The losses, shape ``[num_copies]``, and the recording; None where the step does what cannot
        be recorded, or too much.
    """
    recorder = _Recorder(_tensors(copies, inputs, targets))
    with recorder:
        losses = step(copies, inputs, targets)
    return losses, recorder.finish([losses, *copies.buffers.values()])


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Writes down every operation on tensors, as it is done."""

    def __init__(self, given: Sequence[Tensor]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._graph, self._constants = fx.Graph(), nn.Module()
        self._nodes: dict[int, fx.Node] = {}
        self._places: dict[object, fx.Node] = {}
        self._kept: list[Tensor] = []  # so that neither ids nor memory are used again
        self._num_bytes, self._seconds_of_products = 0, 0.0
        for place, tensor in enumerate(given):
            self._know(tensor, self._graph.placeholder(f"given_{place}"))
        self._is_lost = len(self._nodes) < len(given)  # which of the two is meant?

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        # Else torch 2.15 imports its compiler at the first operation: more than a second.
        return False

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> object:
        begin = time.thread_time()
        found = func(*args, **(kwargs or {}))
        if func.overloadpacket in _ARITHMETIC:
            self._seconds_of_products += time.thread_time() - begin
        if not self._is_lost:
            self._note(func, args, kwargs or {}, found)
        return found

    def finish(self, results: Sequence[Tensor]) -> Recording | None:
        """Return the recording of a step with those results."""
        nodes = [self._find(result) for result in results]
        self._kept.clear()
        if self._is_lost or None in nodes:
            return None
        self._graph.output(tuple(nodes))
        return Recording(self._graph, self._constants, self._seconds_of_products)

    def _note(
        self,
        func: Any,  # noqa: ANN401
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        found: object,
    ) -> None:
        if isinstance(found, Tensor) and not func._schema.is_mutable:
            same = args and isinstance(args[0], Tensor) and _place(args[0]) == _place(found)
            if same:  # `detach`, or a view that changes nothing
                self._know(found, self._node(args[0]))
                return
        try:
            node = self._graph.call_function(
                func, *tree_map(self._node_or_value, (args, dict(kwargs)))
            )
        except NotImplementedError:  # an argument that has no place in a graph
            self._is_lost = True
            return
        for tensor, part in _parts(self._graph, found, node):
            if id(tensor) not in self._nodes:  # what is changed in place is known
                self._know(tensor, part)
        if self._num_bytes > _MOST_BYTES:
            self._is_lost = True
            self._kept.clear()

    def _know(self, tensor: Tensor, node: fx.Node) -> None:
        self._nodes[id(tensor)] = node
        self._places.setdefault(_place(tensor), node)
        self._kept.append(tensor)
        if node.op == "call_function" and tensor._base is None:
            self._num_bytes += tensor.numel() * tensor.itemsize

    def _find(self, tensor: Tensor) -> fx.Node | None:
        # Autograd saves outputs as other objects on the same memory, which nothing else has taken.
        return self._nodes.get(id(tensor), self._places.get(_place(tensor)))

    def _node(self, tensor: Tensor) -> fx.Node:
        node = self._find(tensor)
        if node is None:
            name = f"constant_{len(self._nodes)}"
            setattr(self._constants, name, tensor)
            node = self._graph.get_attr(name)
            self._know(tensor, node)
        return node

    def _node_or_value(self, value: object) -> object:
        return self._node(value) if isinstance(value, Tensor) else value


def _parts(graph: fx.Graph, found: object, node: fx.Node) -> Iterator[tuple[Tensor, fx.Node]]:
    """Yield every tensor that an operation returns, with the node that stands for it."""
    if isinstance(found, Tensor):
        yield found, node
    elif isinstance(found, list | tuple):
        for place, part in enumerate(found):
            if isinstance(part, Tensor):
                yield part, graph.call_function(_item, (node, place))


def _item(values: Sequence[Tensor], place: int) -> Tensor:
    return values[place]


def _tensors(copies: Copies, inputs: Tensor, targets: Tensor) -> list[Tensor]:
    return [*_owned(copies), copies.lr, inputs, targets]


def _owned(copies: Copies) -> Iterator[Tensor]:
    """Yield what a step changes."""
    for values in (copies.params, copies.buffers, *copies.state.values()):
        yield from values.values()


def _layout(tensors: Sequence[Tensor]) -> _Layout:
    return tuple((tensor.shape, tensor.stride(), tensor.dtype) for tensor in tensors)


def _place(tensor: Tensor) -> object:
    return tensor.data_ptr(), tensor.shape, tensor.stride(), tensor.dtype


def _is_same(one: Tensor, other: Tensor) -> bool:
    """Tell whether two tensors are equal, NaN where the other is NaN."""
    return bool(torch.equal(one, other) or ((one == other) | (one.isnan() & other.isnan())).all())
