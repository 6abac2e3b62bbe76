"""Classification of images: any set torchvision reads, by any classifier it has."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch import nn
from torch.nn import functional

from scaling_sweep.errors import UserError
from scaling_sweep.tasks.augmentation import ImageTransform, make_augmentations
from scaling_sweep.tasks.image_models import ImageShape, make_classifier
from scaling_sweep.tasks.images import ImageRequest, Images, load_images
from scaling_sweep.tasks.metrics import accuracy
from scaling_sweep.tasks.task import Task


def vision(
    data: str,
    model: str,
    *,
    augment: Sequence[object] = (),
    image_size: int | None = None,
    num_examples: int | None = None,
    model_args: Mapping[str, Any] | None = None,
    stem: str = "auto",
    folder: str | None = None,
    num_classes: int = 10,
    channels: int = 3,
    streamed: bool | None = None,
    validation: float | str = 0.0,
    num_workers: int = 0,
    data_dir: str | None = None,
    download: bool = False,
) -> Task:
    """Build a classifier of torchvision on images that torchvision reads.

    Small sets live on the device as bytes; batches are gathered by index, then augmented and
    standardised there. Folders are looked up by ``num_workers`` processes in the same order.

    Args:
        data: ``mnist``, ``fashion_mnist``, ``cifar10``, ``cifar100``, ``svhn``, ``imagenet``,
            ``image_folder`` or ``fake`` (noise with random labels, from nowhere).
        model: A classifier of ``torchvision.models``, ``wrn_28_10`` and its like, ``cnn`` or
            ``cnn_bn``; weights are never loaded.
        augment: Transforms of ``torchvision.transforms.v2`` by name, or ``{name: {arguments}}``;
            in training only.
        image_size: Height and width that the model sees; the set's own unless given.
        num_examples: Take a fixed random part of the set; all of it unless given.
        model_args: Keyword arguments of the model's builder.
        stem: ``small`` to begin as nets for 32×32 images do, ``large`` as torchvision's; ``auto``
            is small up to 64 pixels.
        folder: For ``image_folder``: the folder in ``data_dir`` with one folder per class.
        num_classes: Of ``fake``.
        channels: Of ``fake``.
        streamed: Look images up as they are needed, which folders do unless told otherwise.
        validation: What is held out: ``test`` for the set's own test part (ImageNet's photographs
            for validation), or a share of the images, the same ones always. The validation metric
            is accuracy.
        num_workers: Processes that look images up; the batches are the same for any number.
        data_dir: Where data lie, torchvision's root; ``$SCALING_SWEEP_DATA`` or ``data`` unless
            given. No part of the task's label, nor are ``download`` and ``num_workers``.
        download: Fetch the set if it is missing.

    Returns:
        The task; its loss is the cross-entropy in nats, log num_classes at chance.

    Raises:
        UserError: If data or model are unknown, missing or do not fit together; one line.

    Example:
        >>> task = vision("fake", "cnn", num_examples=20, image_size=8, num_classes=3)
        >>> task.num_examples, task.make_model()(task.prepare(task.inputs, task.targets)[0]).shape
        (20, torch.Size([20, 3]))
    """
    request = ImageRequest(
        data,
        data_dir,
        download,
        folder,
        image_size,
        num_examples,
        num_classes,
        channels,
        streamed,
        validation,
    )
    _check(request, num_workers)
    images = load_images(request)
    size = image_size or images.size
    shape = ImageShape(images.channels, size, images.num_classes)
    make_model = make_classifier(model, shape, model_args or {}, stem)
    drawn = make_augmentations(augment, images.size)
    transform = ImageTransform(drawn, size, images.mean, images.std)
    kind = f"{images.num_classes} kinds of {data} images ({images.channels}×{size}×{size})"
    return _classify(
        f"{data}_{model}", f"{model} on {kind}.", make_model, images, transform, num_workers
    )


def mnist_cnn(
    width: int = 32,
    batch_norm: bool = False,
    num_examples: int | None = None,
    validation: float | str = 0.0,
    data_dir: str | None = None,
    download: bool = False,
) -> Task:
    """Build a net of two convolutions on MNIST: ``vision`` with ``mnist`` and ``cnn``."""
    return vision(
        "mnist",
        "cnn_bn" if batch_norm else "cnn",
        model_args={"width": width},
        num_examples=num_examples,
        validation=validation,
        data_dir=data_dir,
        download=download,
    )


def cifar10_resnet18(
    augment: Sequence[object] = (),
    validation: float | str = 0.0,
    data_dir: str | None = None,
    download: bool = False,
) -> Task:
    """Build ResNet-18 with a stem for 32×32 images on CIFAR-10."""
    return vision(
        "cifar10",
        "resnet18",
        augment=augment,
        validation=validation,
        data_dir=data_dir,
        download=download,
    )


def cifar100_vgg16(
    batch_norm: bool = False,
    dropout: float = 0.5,
    augment: Sequence[object] = (),
    validation: float | str = 0.0,
    data_dir: str | None = None,
    download: bool = False,
) -> Task:
    """Build VGG-16, with BatchNorm or without, on CIFAR-100."""
    return vision(
        "cifar100",
        "vgg16_bn" if batch_norm else "vgg16",
        augment=augment,
        model_args={"dropout": dropout},
        validation=validation,
        data_dir=data_dir,
        download=download,
    )


def cifar100_wrn(
    depth: int = 28,
    widen: int = 10,
    dropout: float = 0.0,
    augment: Sequence[object] = (),
    validation: float | str = 0.0,
    data_dir: str | None = None,
    download: bool = False,
) -> Task:
    """Build a wide ResNet on CIFAR-100, WRN-28-10 unless told otherwise."""
    return vision(
        "cifar100",
        f"wrn_{depth}_{widen}",
        augment=augment,
        model_args={"dropout": dropout},
        validation=validation,
        data_dir=data_dir,
        download=download,
    )


def imagenet_resnet50(
    image_size: int = 224,
    augment: Sequence[object] = (),
    zero_init_residual: bool = True,
    validation: float | str = 0.0,
    num_workers: int = 8,
    data_dir: str | None = None,
) -> Task:
    """Build ResNet-50 on ImageNet's photographs, streamed from a folder per class."""
    # The last BatchNorm of each block begins at 0, as in arXiv:1706.02677: every block begins as
    # the identity, and the untrained network at chance (2.3 nats among 10 classes; without, 2.6).
    return vision(
        "imagenet",
        "resnet50",
        augment=augment,
        image_size=image_size,
        model_args={"zero_init_residual": zero_init_residual},
        validation=validation,
        num_workers=num_workers,
        data_dir=data_dir,
    )


def _classify(
    name: str,
    description: str,
    make_model: Callable[[], nn.Module],
    images: Images,
    transform: ImageTransform,
    num_workers: int,
) -> Task:
    """Return the task of telling images apart."""
    return Task(
        name=name,
        description=description,
        make_model=make_model,
        loss=functional.cross_entropy,
        inputs=images.inputs,
        targets=images.targets,
        dataset=images.dataset,
        transform=transform,
        num_workers=num_workers,
        validation=images.validation,
        metric=None if images.validation is None else accuracy,
    )


def _check(request: ImageRequest, num_workers: int) -> None:
    """Refuse what YAML lets pass but no size can be."""
    sizes = {
        "image_size": (request.image_size, 1),
        "num_examples": (request.num_examples, 1),
        "num_classes": (request.num_classes, 2),
        "channels": (request.channels, 1),
        "num_workers": (num_workers, 0),
    }
    for name, (value, least) in sizes.items():
        wrong = not isinstance(value, int) or isinstance(value, bool) or value < least
        if value is not None and wrong:
            raise UserError(f"{name} must be a whole number, at least {least}; got {value!r}")
    for name, switch in {"download": request.download, "streamed": request.streamed}.items():
        if switch not in {True, False, None}:
            raise UserError(f"{name} must be true or false, got {switch!r}")
