"""Vision tasks: trained in both engines, on both kinds of data, under one label everywhere."""

from pathlib import Path

import pytest
import torch

from scaling_sweep.errors import UserError
from scaling_sweep.spec import TaskSpec
from scaling_sweep.tasks.loading import load_task
from scaling_sweep.tasks.metrics import accuracy
from scaling_sweep.tasks.task import Task
from scaling_sweep.tasks.vision import vision
from scaling_sweep.training.choosing import is_random
from scaling_sweep.training.pack import initial_model, train_pack
from tests.tasks.image_files import write_folder, write_mnist
from tests.training.cases import by_trial, make_spec, mixed_packs, only_pack, train_only

AUGMENT = ["RandomHorizontalFlip", {"RandomCrop": {"padding": 2}}]
SMALL_MODELS = ["cnn_bn", "shufflenet_v2_x0_5", "squeezenet1_1"]
LARGE_MODELS = [
    "resnet18",
    "densenet121",
    "mobilenet_v3_small",
    "vgg11_bn",
    "alexnet",
    "wrn_16_4",
]


def tiny(model: str, size: int = 16, **args: object) -> Task:
    """Return a model on a few images of noise."""
    return vision("fake", model, num_examples=24, image_size=size, num_classes=3, **args)


def check_training(model: str, size: int) -> None:
    """Train a model in the engines that take it, and compare verdicts and losses."""
    task = tiny(model, size)
    random = is_random(task.make_model(), task, *task.prepare(task.inputs[:4], task.targets[:4]))
    losses = []
    for engine in ("auto", "loop") if random else ("vmap", "loop"):
        spec = make_spec(
            batch_sizes=(4,),
            lrs=(0.001, 1e9),
            steps=2,
            seeds=1,
            engine=engine,
            stability={"max_loss_ratio": 2.0},
        )
        result = train_only(spec, task)
        assert result.engine == ("loop" if random else engine)
        # With a rate that throws the weights out of float32, the model cannot stay finite.
        assert [record.verdict for record in result.records] == ["stable", "diverged"]
        losses.append([result.records[0].initial_loss, result.records[0].final_loss])
    first, second = losses
    assert first == pytest.approx(second, rel=0.01)
    assert first[0] != first[1]


@pytest.mark.parametrize("model", SMALL_MODELS)
def test_models_train_in_the_engines_that_take_them(model: str) -> None:
    """BatchNorm packs, dropout goes to the loop by itself, and both engines judge alike."""
    check_training(model, 16)


@pytest.mark.slow
@pytest.mark.parametrize("model", LARGE_MODELS)
def test_larger_models_train_too(model: str) -> None:
    """The same for nets that take longer."""
    check_training(model, 32)


def test_vgg_without_dropout_packs() -> None:
    """A dropout of 0 draws nothing, so the stacked engine takes VGG."""
    spec = make_spec(batch_sizes=(4,), lrs=(0.01, 0.02), steps=1, seeds=1, engine="vmap")

    assert train_only(spec, tiny("vgg11", 32, model_args={"dropout": 0.0})).engine == "vmap"


@pytest.mark.parametrize("engine", ["vmap", "loop"])
def test_augmentation_belongs_to_the_seed(engine: str) -> None:
    """What is drawn to augment depends on neither mates, nor their number, nor the engine."""
    task = tiny("cnn", augment=AUGMENT)
    spec = make_spec(lrs=(0.01, 0.05, 0.2), steps=6, engine=engine)
    pack = only_pack(spec, task)
    expected = by_trial(train_only(spec, task))

    for mixed in mixed_packs(pack):
        for trial_id, record in by_trial(train_pack(mixed, spec, task)).items():
            assert record == expected[trial_id]
    plain = by_trial(train_only(spec, tiny("cnn")))
    for trial_id, record in plain.items():
        assert record.initial_loss == expected[trial_id].initial_loss  # evaluation draws nothing
        assert record.final_loss != expected[trial_id].final_loss


@pytest.mark.parametrize("num_workers", [0, 2])
def test_streamed_and_resident_images_train_alike(num_workers: int) -> None:
    """Looked up in order, by workers or not, a set leads where its tensors on the device do."""
    spec = make_spec(batch_sizes=(5,), lrs=(0.02, 0.1), steps=8, engine="vmap")
    resident = by_trial(train_only(spec, tiny("cnn", augment=AUGMENT)))
    streamed = tiny("cnn", augment=AUGMENT, streamed=True, num_workers=num_workers)

    assert streamed.dataset is not None
    assert by_trial(train_only(spec, streamed)) == resident


def test_a_folder_of_photographs_trains(tmp_path: Path) -> None:
    """PNGs on disk are looked up by workers, standardised on the way, and learnt."""
    write_folder(tmp_path / "birds")
    args = {"data": "image_folder", "folder": "birds", "model": "cnn", "image_size": 16}
    task = load_task("vision", {**args, "data_dir": str(tmp_path), "num_workers": 2})
    spec = make_spec(batch_sizes=(6,), lrs=(0.1,), steps=40, seeds=1)
    (record,) = train_only(spec, task).records

    assert record.final_loss < 0.8 * record.initial_loss


@pytest.mark.parametrize("streamed", [False, True])
def test_held_out_images_are_judged_as_they_are(streamed: bool) -> None:
    """A trial's accuracy is that of its whole held-out images, augmentation left out."""
    task = tiny("cnn", augment=AUGMENT, validation=0.25, streamed=streamed)
    spec = make_spec(lrs=(1e-12,), steps=2, seeds=1)
    (record,) = train_only(spec, task).records
    images, labels = task.prepare(*task.validation)
    outputs = initial_model(task, spec, 0).eval()(images)

    assert (task.num_examples, len(labels)) == (18, 6)
    assert record.validation_loss == pytest.approx(task.loss(outputs, labels).item(), rel=1e-5)
    right = sum(int(row.argmax()) == kind for row, kind in zip(outputs, labels, strict=True))
    assert record.validation_metric == pytest.approx(right / 6)


@pytest.mark.parametrize("name", ["mnist_cnn", "vision"])
def test_short_names_hold_the_test_part_out_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """`validation: test` reads the set's own test images."""
    write_mnist(tmp_path, "MNIST", monkeypatch)
    args = {} if name == "mnist_cnn" else {"data": "mnist", "model": "cnn"}
    where = {"data_dir": str(tmp_path), "download": True}
    task = load_task(name, {**args, **where, "validation": "test"})

    assert task.num_examples == 20
    assert len(task.validation[0]) == 4
    assert task.metric is accuracy


def test_short_names_are_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`mnist_cnn` is `vision` with MNIST and the plain net."""
    write_mnist(tmp_path, "MNIST", monkeypatch)
    task = load_task("mnist_cnn", {"data_dir": str(tmp_path), "download": True, "width": 4})
    images, _ = task.prepare(task.inputs, task.targets)

    assert task.num_examples == 20
    assert task.make_model()(images).shape == (20, 10)
    assert images.mean().item() == pytest.approx(0, abs=1e-3)
    assert images.std(correction=0).item() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("mnist_cnn", "MNIST"),
        ("cifar10_resnet18", "CIFAR10"),
        ("cifar100_vgg16", "CIFAR100"),
        ("cifar100_wrn", "CIFAR100"),
        ("imagenet_resnet50", "ImageNet"),
    ],
)
def test_short_names_say_what_is_missing(tmp_path: Path, name: str, title: str) -> None:
    """Without data each is one line that names the task, the set and the place."""
    with pytest.raises(UserError, match=f"Task '{name}': {title} is not in {tmp_path}"):
        load_task(name, {"data_dir": str(tmp_path)})


def test_where_data_lie_is_no_part_of_the_label() -> None:
    """Two machines that keep data in different places run the same study."""
    args = {"data": "cifar10", "model": "resnet18"}
    here = TaskSpec(name="vision", args=args)
    there = TaskSpec(
        name="vision", args={**args, "data_dir": "/data", "download": True, "num_workers": 4}
    )
    other = TaskSpec(name="vision", args={**args, "model": "resnet34"})

    assert here.label == there.label == 'vision(data="cifar10", model="resnet18")'
    assert other.label != here.label


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"num_examples": 0}, "num_examples must be a whole number, at least 1; got 0"),
        ({"num_workers": -1}, "num_workers must be a whole number, at least 0"),
        ({"image_size": "32"}, "image_size must be a whole number"),
        ({"num_classes": True}, "num_classes must be a whole number"),
        ({"download": "yes"}, "download must be true or false, got 'yes'"),
        ({"widht": 3}, "it takes: data, model, augment"),
    ],
)
def test_wrong_arguments_are_refused_in_one_line(args: dict[str, object], message: str) -> None:
    """What YAML lets pass is caught before anything is read."""
    with pytest.raises(UserError, match=message):
        load_task("vision", {"data": "fake", "model": "cnn", **args})


def test_evaluation_sees_whole_images_in_portions_of_a_size() -> None:
    """The loss of evaluation is that of all prepared images at once."""
    from scaling_sweep.optimizers.sgd import sgd
    from scaling_sweep.training.copies import Point, stack_points
    from scaling_sweep.training.engines import VmapEngine
    from scaling_sweep.training.evaluation import Evaluator

    task, cpu = tiny("cnn", augment=AUGMENT), torch.device("cpu")
    model = task.make_model()
    copies = stack_points([Point.of(model)], [0.0], sgd(), cpu)
    images, labels = task.prepare(task.inputs, task.targets)

    actual = Evaluator(task, 0, cpu).losses(copies, VmapEngine(model, task, sgd()))

    assert actual.item() == pytest.approx(task.loss(model(images), labels).item(), rel=1e-5)
