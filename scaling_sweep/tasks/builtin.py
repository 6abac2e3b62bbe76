"""The tasks that come with the tool, by name; nothing here needs torch."""

from dataclasses import dataclass


@dataclass(frozen=True)
class BuiltinTask:
    """Where one of our own tasks lives.

    Attributes:
        name: As the sweep file writes it.
        path: ``module:attribute`` of the function that builds it.
        description: One line for ``scaling-sweep tasks``.
    """

    name: str
    path: str
    description: str


BUILTIN_TASKS = (
    BuiltinTask(
        "digits_mlp",
        "scaling_sweep.tasks.digits:digits_mlp",
        "ReLU perceptron on 1,797 real 8×8 images of digits "
        "(width=128, depth=2, norm=none, dropout=0, validation=0)",
    ),
    BuiltinTask(
        "digits_cnn",
        "scaling_sweep.tasks.digits:digits_cnn",
        "small convolutional net on the same images "
        "(width=16, depth=2, norm=none, dropout=0, validation=0)",
    ),
    BuiltinTask(
        "least_squares",
        "scaling_sweep.tasks.least_squares:least_squares",
        "regression on fresh Gaussian inputs, edge known: 2B/(B + dim + 1) (dim=64)",
    ),
    BuiltinTask(
        "char_gpt",
        "scaling_sweep.tasks.language:char_gpt",
        "transformer on the characters of this Python's own sources, or of a text of yours "
        "(depth=2, width=64, num_heads=4, context=64, tied=false, text=PATH, validation=0)",
    ),
    BuiltinTask(
        "wine",
        "scaling_sweep.tasks.tables:wine",
        "classification of 178 wines, depth=0 is a linear model (width=64, depth=2, validation=0)",
    ),
    BuiltinTask(
        "breast_cancer",
        "scaling_sweep.tasks.tables:breast_cancer",
        "classification of 569 tumours (width=64, depth=2, validation=0)",
    ),
    BuiltinTask(
        "diabetes",
        "scaling_sweep.tasks.tables:diabetes",
        "regression on 442 patients, loss in variances of the target "
        "(width=64, depth=2, validation=0)",
    ),
    BuiltinTask(
        "vision",
        "scaling_sweep.tasks.vision:vision",
        "any classifier of torchvision on MNIST, CIFAR, SVHN, folders of images or noise "
        "(data=NAME, model=NAME, data_dir=FOLDER, download=true, validation=test); docs/tasks.md",
    ),
    BuiltinTask(
        "mnist_cnn",
        "scaling_sweep.tasks.vision:mnist_cnn",
        "two convolutions on 60,000 digits (width=32, batch_norm=false)",
    ),
    BuiltinTask(
        "cifar10_resnet18",
        "scaling_sweep.tasks.vision:cifar10_resnet18",
        "ResNet-18 for 32×32 on 50,000 images of 10 kinds",
    ),
    BuiltinTask(
        "cifar100_vgg16",
        "scaling_sweep.tasks.vision:cifar100_vgg16",
        "VGG-16 on 50,000 images of 100 kinds (batch_norm=false, dropout=0.5)",
    ),
    BuiltinTask(
        "cifar100_wrn",
        "scaling_sweep.tasks.vision:cifar100_wrn",
        "wide ResNet on the same (depth=28, widen=10, dropout=0)",
    ),
    BuiltinTask(
        "imagenet_resnet50",
        "scaling_sweep.tasks.vision:imagenet_resnet50",
        "ResNet-50 on ImageNet's photographs from folders (image_size=224, num_workers=8)",
    ),
)
