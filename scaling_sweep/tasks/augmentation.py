"""What becomes of a batch of stored images on the device: augmented, resized, standardised."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, TypeAlias

import torch
from torch import Tensor

from scaling_sweep.errors import UserError
from scaling_sweep.tasks.task import Batch

Augmentation: TypeAlias = Callable[[Tensor, torch.Generator], Tensor]

# They mix labels too, or join other transforms; an entry of the list names one transform.
_NOT_HERE = frozenset(
    {"CutMix", "MixUp", "Compose", "RandomApply", "RandomChoice", "RandomOrder", "Lambda"}
)


class ImageTransform:
    """Turns a batch of stored images, uint8, into what a model takes, where the batch lies.

    Args:
        augmentations: Applied one after the other, in training only.
        image_size: Height and width the model sees; None leaves them as stored.
        mean: Shape ``[channels]``, of pixels in [0, 1].
        std: Shape ``[channels]``, of pixels in [0, 1].

    Example:
        >>> standardise = ImageTransform((), None, torch.tensor([0.5]), torch.tensor([0.25]))
        >>> images = torch.full((2, 1, 4, 4), 255, dtype=torch.uint8)
        >>> standardise(images, torch.zeros(2), None)[0].mean()
        tensor(2.0000)
    """

    def __init__(
        self,
        augmentations: Sequence[Augmentation],
        image_size: int | None,
        mean: Tensor,
        std: Tensor,
    ) -> None:
        self._augmentations = tuple(augmentations)
        self._image_size = image_size
        # x/255 standardised in one multiplication and one addition.
        self._scale = (1 / (255 * std)).view(-1, 1, 1).float()
        self._shift = (-mean / std).view(-1, 1, 1).float()

    def __call__(self, inputs: Tensor, targets: Tensor, generator: torch.Generator | None) -> Batch:
        """Return the images ready for the model, and the labels as they are.

        Args:
            inputs: Shape ``[batch_size, channels, height, width]``, uint8.
            targets: Shape ``[batch_size]``.
            generator: The trial's own, on the CPU; None to leave augmentation out.

        Returns:
            Images of dtype float32, and labels.
        """
        if generator is not None:
            for augment in self._augmentations:
                inputs = augment(inputs, generator)
        if self._image_size is not None and inputs.shape[-2:] != 2 * (self._image_size,):
            from torchvision.transforms.v2 import functional

            inputs = functional.resize(inputs, [self._image_size] * 2, antialias=True)
        if self._scale.device != inputs.device:
            self._scale, self._shift = self._scale.to(inputs.device), self._shift.to(inputs.device)
        return torch.addcmul(self._shift, inputs.float(), self._scale), targets


class RandomFlip:
    """Mirrors each image of a batch with probability ``p``.

    Args:
        dim: The dimension that is mirrored: -1 left and right, -2 up and down.
        p: Probability.
    """

    def __init__(self, dim: int, p: float = 0.5) -> None:
        self._dim, self._p = dim, p

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return the images, shape ``[batch_size, channels, height, width]``."""
        flipped = torch.rand(len(images), generator=generator) < self._p
        return torch.where(_on(images, flipped).view(-1, 1, 1, 1), images.flip(self._dim), images)


class RandomPaddedCrop:
    """Pads a batch with black and cuts a window of the old size out of each image.

    The same distribution as torchvision's ``RandomCrop(size, padding)``, but all at once.

    Args:
        padding: Pixels added on every side.
    """

    def __init__(self, padding: int = 4) -> None:
        self._padding = padding

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return the images, shape ``[batch_size, channels, height, width]``."""
        num, channels, height, width = images.shape
        top, left = torch.randint(2 * self._padding + 1, (2, num, 1), generator=generator)
        rows = _on(images, top + torch.arange(height))[:, None, :, None]
        columns = _on(images, left + torch.arange(width))[:, None, None, :]
        padded = torch.nn.functional.pad(images, [self._padding] * 4)
        example = torch.arange(num, device=images.device).view(-1, 1, 1, 1)
        channel = torch.arange(channels, device=images.device).view(1, -1, 1, 1)
        return padded[example, channel, rows, columns]


class OneByOne:
    """Applies a transform of torchvision to each image alone, so that each gets its own draw.

    Args:
        transform: Draws from torch's global generators.
    """

    def __init__(self, transform: Callable[[Tensor], Tensor]) -> None:
        self._transform = transform

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Return the images, shape ``[batch_size, channels, height, width]``."""
        seed = int(torch.randint(2**62, (), generator=generator))
        with torch.random.fork_rng([images.device] if images.is_cuda else []):
            torch.manual_seed(seed)
            return torch.stack([self._transform(image) for image in images])


def make_augmentations(listed: Sequence[object], image_size: int) -> tuple[Augmentation, ...]:
    """Read the ``augment`` of a sweep file: names of ``torchvision.transforms.v2``, with arguments.

    ``RandomCrop`` (``padding``, 4 unless given) and the two flips work on whole batches; any
    other transform goes image by image. A transform that needs a size gets that of the images.

    Args:
        listed: Names, or mappings of a name to its arguments:
            ``[{RandomCrop: {padding: 4}}, RandomHorizontalFlip]``.
        image_size: Height and width of the stored images.

    Returns:
        What to apply, in order.

    Raises:
        UserError: If a name is none of torchvision's, or its arguments are wrong.

    Example:
        >>> len(make_augmentations(["RandomHorizontalFlip", {"RandomCrop": {"padding": 2}}], 32))
        2
    """
    if isinstance(listed, str) or not isinstance(listed, Sequence):
        raise UserError(f"augment must be a list, got {listed!r}; write augment: [{listed}]")
    return tuple(_make(*_named(entry), image_size) for entry in listed)


def _named(entry: object) -> tuple[str, dict[str, Any]]:
    if isinstance(entry, str):
        return entry, {}
    if isinstance(entry, Mapping) and len(entry) == 1:
        ((name, args),) = entry.items()
        if isinstance(args, Mapping):
            return str(name), dict(args)
    raise UserError(
        f"augment: {entry!r} is no transform; "
        "write a name, or {RandomCrop: {padding: 4}} for one with arguments"
    )


def _make(name: str, args: dict[str, Any], image_size: int) -> Augmentation:
    from torchvision.transforms import v2

    batched: dict[str, tuple[Callable[..., Augmentation], set[str]]] = {
        "RandomHorizontalFlip": (lambda **given: RandomFlip(-1, **given), {"p"}),
        "RandomVerticalFlip": (lambda **given: RandomFlip(-2, **given), {"p"}),
        "RandomCrop": (RandomPaddedCrop, {"padding"}),
    }
    if name in batched and set(args) <= batched[name][1]:
        return batched[name][0](**args)
    kind = getattr(v2, name, None)
    usable = inspect.isclass(kind) and issubclass(kind, v2.Transform) and name not in _NOT_HERE
    if kind is None or not usable:
        known = [word for word in dir(v2) if word.startswith("Random") and word not in _NOT_HERE]
        near = get_close_matches(name, known, n=1)
        raise UserError(
            f"augment: {name} is no transform of one image in torchvision.transforms.v2; "
            f"{f'did you mean {near[0]}?' if near else 'write for example RandomHorizontalFlip'}"
        )
    size = inspect.signature(kind).parameters.get("size")
    if size is not None and size.default is inspect.Parameter.empty:
        args = {"size": (image_size, image_size), **args}
    try:
        return OneByOne(kind(**args))
    except (TypeError, ValueError) as error:
        raise UserError(f"augment: {name}: {str(error).splitlines()[0]}") from error


def _on(images: Tensor, drawn: Tensor) -> Tensor:
    return drawn.to(images.device, non_blocking=True)
