"""Float32 products of a pack's matrices by oneDNN, where torch's usual library is slow.

torch gives them to MKL, which takes no AVX-512 on processors of AMD and makes half of what oneDNN
makes on one of them (measured, LOG 2026-11-21). It asks oneDNN only when told that products may
be rounded to bf16. oneDNN takes that leave where a processor has AMX, and nowhere else in its
releases up to 3.13 (seen in its own log of what it runs); so it is given on processors without
AMX, and after whole numbers of 13 bits, which bf16 cannot hold, were multiplied exactly.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

PRODUCTS = frozenset(
    getattr(torch.ops.aten, name)
    for name in ("mm", "addmm", "bmm", "baddbmm", "mv", "addmv", "dot")
)
# torch leaves a product to MKL up to this size, all copies together (its source, Matmul.cpp). One
# copy alone must be above it, or rounding would depend on the number of copies.
_LEAST_PRODUCT = 16**3
# Below this, oneDNN's code for a new shape, about 1 ms each, is not earned back in hundreds of
# steps (measured for the digits MLP at B = 8, which is just above).
_LEAST_STEP = 2**19


class StackedProducts:
    """Sees in a pack's first step which products it takes; oneDNN has the later ones if it pays.

    That first step should be one on scratch, because it rounds as MKL does.

    Example:
        >>> products = StackedProducts()
        >>> with products.of_stack(2, torch.device("cpu")):
        ...     _ = torch.bmm(torch.ones(2, 3, 3), torch.ones(2, 3, 3))
        >>> products.go_to_onednn  # too small
        False
    """

    def __init__(self) -> None:
        self.go_to_onednn: bool | None = None

    @contextmanager
    def of_stack(self, num_copies: int, device: torch.device) -> Iterator[None]:
        """Compute a step of stacked copies.

        Args:
            num_copies: In the stack.
            device: Where; only a CPU has a choice.
        """
        if self.go_to_onednn is None:
            seen = _Sizes()
            with seen if device.type == "cpu" and is_onednn_faster() else nullcontext():
                yield
            self.go_to_onednn = _pays([size / num_copies for size in seen.sizes])
        else:
            with self.chosen():
                yield

    def chosen(self) -> AbstractContextManager[None]:
        """Return a context with what was chosen; MKL before anything was."""
        return _by_onednn() if self.go_to_onednn else nullcontext()


@cache
def is_onednn_faster() -> bool:
    """Tell whether this processor's float32 products should go to oneDNN.

    Known of AMD's Zen 5 only, whose AVX-512 is full width; of AMD's processors those have
    VP2INTERSECT and older ones have not.

    Returns:
        Whether they are computed faster there, and in full precision.

    Example:
        >>> is_onednn_faster() in (True, False)
        True
    """
    has: Mapping[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
    return (
        str(has.get("cpu_name", "")).startswith("AMD")
        and has.get("avx512_vp2intersect") is True
        and not any(value for name, value in has.items() if name.startswith("amx"))
        and _is_exact()
    )


def _is_exact() -> bool:
    """Multiply numbers of 13 bits by signs, which float32 does without rounding."""
    numbers = (torch.arange(2 * 64 * 64.0) % 4096 + 4096).view(2, 64, 64)
    signs = 1 - 2 * (torch.arange(2 * 64 * 64.0) % 7 > 2).float().view(2, 64, 64)
    pairs = (numbers, signs), (signs, numbers), (numbers[0], signs[0])
    multiply: Callable[[Tensor, Tensor], Tensor] = torch.matmul
    with _by_onednn():
        found = [multiply(one, other) for one, other in pairs]
    exact = [multiply(one.double(), other.double()) for one, other in pairs]
    return all(torch.equal(x.double(), y) for x, y in zip(found, exact, strict=True))


def _pays(sizes: list[float]) -> bool:
    return bool(sizes) and min(sizes) > _LEAST_PRODUCT and sum(sizes) >= _LEAST_STEP


@contextmanager
def _by_onednn() -> Iterator[None]:
    """Let torch give float32 products to oneDNN, and set things back afterwards."""
    setting: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = setting.fp32_precision
    setting.fp32_precision = "bf16"
    try:
        yield
    finally:
        setting.fp32_precision = before


class _Sizes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes the multiplications of every float32 product, all copies together."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.sizes: list[int] = []

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
        if func.overloadpacket in PRODUCTS:
            first, second = args[-2:]
            if first.dtype == torch.float32:
                num_columns = second.shape[-1] if second.dim() > 1 else 1
                self.sizes.append(first.numel() * num_columns)
        return func(*args, **(kwargs or {}))
