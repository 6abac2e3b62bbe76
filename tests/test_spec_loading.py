"""Reading sweep files: the good one, and one line for every way to get it wrong."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scaling_sweep.errors import UserError
from scaling_sweep.spec import LoadedSweep, check_against_task, load_sweep, parse_sweep
from tests.spec_cases import message_of

GOOD = """\
# Line 1 is the question.
name: digits
task: digits_mlp
parameters:
  optimizer: {values: [sgd, adam]}
  batch_size: {min: 1, max: 512, per_octave: 1}
  lr: {min: 1.0e-3, max: 16, per_octave: 2}
seeds: 6
horizon: {steps: 300}
"""
LR = "{min: 1.0e-3, max: 16, per_octave: 2}"
OPTIMIZERS = "[sgd, adam]"


def with_change(old: str, new: str) -> str:
    """Return the good file with one thing changed."""
    assert GOOD.count(old) == 1
    return GOOD.replace(old, new)


def test_the_example_of_the_design_is_read() -> None:
    """The public example gives what it says, with defaults for what it leaves out."""
    spec = parse_sweep(GOOD).spec

    assert [optimizer.label for optimizer in spec.optimizers] == ["sgd", "adam"]
    assert spec.batch_sizes == (1, 2, 4, 8, 16, 32, 64, 128, 256, 512)
    assert spec.horizon.label == "300 steps"
    assert (spec.search, spec.sampling, spec.start, spec.engine) == (
        "grid",
        "replacement",
        "init",
        "auto",
    )
    assert spec.stability.max_loss_ratio == 0.5


def test_a_file_keeps_its_text_and_path(tmp_path: Path) -> None:
    """What was read can be kept with the results, byte for byte."""
    path = tmp_path / "x.yaml"
    path.write_text(GOOD, encoding="utf-8")

    loaded = load_sweep(path)

    assert (loaded.text, loaded.path) == (GOOD, path)
    assert loaded.spec == parse_sweep(GOOD, "elsewhere.yaml").spec


@pytest.mark.parametrize("number", ["1e-3", "1E-3", "+1e-3", ".001", "0.001", "1.0e-3", "0_0.001"])
def test_numbers_are_read_as_people_write_them(number: str) -> None:
    """YAML 1.1 takes 1e-3 for text; a sweep file takes it for the number."""
    spec = parse_sweep(with_change("1.0e-3", number)).spec

    assert spec.parameters.lr.min == 0.001


def test_whole_numbers_may_be_written_with_an_exponent() -> None:
    """A hundred thousand examples are 1e5."""
    spec = parse_sweep(with_change("{steps: 300}", "{examples: 1e5}")).spec

    assert spec.horizon.examples == 100_000


MISTAKES = [
    # what is changed, what it becomes, line, and what the message must say
    ("seeds: 6", "sedes: 6", 8, "sedes: unknown key; did you mean seeds?"),
    ("seeds: 6", "seeds: '6'", 8, "seeds: must be a whole number, got '6'"),
    ("seeds: 6", "seeds: 0", 8, "seeds: must be at least 1, got 0"),
    ("seeds: 6", "seeds: 2.5", 8, "must be a whole number, got 2.5"),
    ("seeds: 6", "seeds: true", 8, "must be a whole number, got true"),
    ("seeds: 6", "seeds:", 8, "must be a whole number, got nothing"),
    ("seeds: 6\n", "", 2, "seeds: missing; write for example `seeds: 6`"),
    ("seeds: 6", "seeds: 6\nseeds: 5", 9, "seeds: given twice, first on line 8"),
    ("seeds: 6", "seeds: " + "9" * 5000, 8, "not a value that can be used"),
    (
        "seeds: 6",
        "seeds: 6\nlearning_rate: 1",
        9,
        "belongs under parameters, as in `parameters: {l",
    ),
    (
        "seeds: 6",
        "seeds: 6\nsteps: 300",
        9,
        "it belongs under horizon, as in `horizon: {steps: 300",
    ),
    ("seeds: 6", "seeds: 6\n7: 300", 9, "a key must be text, got 7"),
    ("seeds: 6", 'seeds: 6\n"a\\nb": 1', 9, "unknown key"),
    (
        "min: 1.0e-3",
        "min: 0",
        7,
        "parameters.lr.min: must be above 0, got 0; write for example 0.1",
    ),
    ("min: 1.0e-3", "min: -1", 7, "must be above 0, got -1"),
    ("min: 1.0e-3", "min: .nan", 7, "must be a finite number, got .nan"),
    ("min: 1.0e-3", "min: nan", 7, "must be a number, got nan"),
    ("min: 1.0e-3", "min: 1e999", 7, "must be a finite number, got .inf"),
    ("min: 1.0e-3", "min: " + "9" * 400, 7, "must be a finite number"),
    ("min: 1.0e-3", "min: yes", 7, "must be a number, got 'yes'"),
    ("min: 1.0e-3", "min: true", 7, "must be a number, got true"),
    ("min: 1.0e-3", "min: 32", 7, "must not be above max, got 32 with max 16"),
    ("min: 1.0e-3", "min: 1e-40", 7, "must be at least 1e-30, got 1e-40"),
    ("min: 1.0e-3", "mni: 1", 7, "parameters.lr.mni: unknown key; did you mean min?"),
    ("min: 1.0e-3, ", "", 7, "parameters.lr.min: missing; write for example `min: 0.001`"),
    (LR, "yes", 7, "must be a mapping, got 'yes'"),
    (LR, "0.1", 7, "did you mean {values: [0.1]}?"),
    (LR, "[0.1, 1]", 7, "did you mean {values: [0.1, 1]}?"),
    (LR, "{values: []}", 7, "must have at least one value, got an empty list"),
    (LR, "{values: 3}", 7, "must be a list, got 3; write [3]"),
    (LR, "{values: [1e-1, 0.1]}", 7, "values[1]: 0.1 is listed twice"),
    (LR, "\n    values:\n    - 1\n    - -2", 10, "values[1]: must be above 0, got -2"),
    (LR, "{values: [0, -2, x]}", 7, "(and 2 more mistakes)"),
    (LR, "{min: 0.51, max: 0.7, per_octave: 2}", 7, "the nearest are 0.5 and 0.707"),
    (LR, "{min: 1, values: [1]}", 7, "values stands alone, got min, values"),
    (LR, "{by_optimizer: {sgd: {values: [1]}}}", 7, "no learning rates for adam; write for"),
    (LR, "{by_optimizer: {adma: {values: [1]}}}", 7, "did you mean adam?"),
    (LR, "{by_optimizer: {sgd: 3, adam: 4}}", 7, "by_optimizer.sgd: must be a mapping, got 3"),
    (LR, "{by_optimizer: [1]}", 7, "must be a mapping of keys to values, got [1]"),
    ("per_octave: 2", "per_octave: 1000", 7, "must be at most 64, got 1000"),
    ("per_octave: 2", "per_octave: 0", 7, "must be at least 1, got 0"),
    (
        "min: 1, max: 512",
        "min: 5, max: 7",
        6,
        "no 2^k lies between 5 and 7; the nearest are 4 and 8",
    ),
    ("max: 512", "max: 512.5", 6, "batch_size.max: must be a whole number, got 512.5"),
    ("max: 512", "max: 0", 6, "batch_size.max: must be at least 1, got 0"),
    ("max: 512", "max: 1e30", 6, "must be at most 1000000000, got 1000000000000000019884624838656"),
    (OPTIMIZERS, "[sgd, adma]", 5, "values[1]: unknown optimizer adma; did you mean adam?"),
    (OPTIMIZERS, "[adam, {name: adam, beta1: 0.9}]", 5, "adam is listed twice"),
    (
        OPTIMIZERS,
        "[{name: adam, betas: [0.9, 1]}]",
        5,
        "no such hyperparameter; did you mean beta1?",
    ),
    (OPTIMIZERS, "[{name: adam, beta1: 1}]", 5, "from 0 to below 1, got 1"),
    (OPTIMIZERS, "[{name: adam, beta1: true}]", 5, "must be a number, got true"),
    (OPTIMIZERS, "[{name: adam, eps: .inf}]", 5, "must be a finite number from 0 up, got .inf"),
    (OPTIMIZERS, "[{beta1: 0.9}]", 5, "values[0].name: missing; write for example `name: adam`"),
    (OPTIMIZERS, "[3]", 5, "must be a mapping, got 3; write for example {name: adam}"),
    ("{values: [sgd, adam]}", "sgd", 5, "got sgd; write for example {values: [sgd, adam]}"),
    (
        "{steps: 300}",
        "300",
        9,
        "horizon: must be a mapping, got 300; write for example {steps: 300}",
    ),
    (
        "{steps: 300}",
        "{steps: 3, epochs: 2}",
        9,
        "must be exactly one of steps, epochs or examples",
    ),
    ("{steps: 300}", "{}", 9, "must be exactly one of steps, epochs or examples, got none"),
    ("{steps: 300}", "{epochs: 0}", 9, "horizon.epochs: must be above 0, got 0"),
    ("seeds: 6", "sampling: epochs", 2, "seeds: missing"),
    ("seeds: 6", "seeds: 6\nsampling: epochs", 9, "got epochs; did you mean epoch?"),
    ("seeds: 6", "seeds: 6\nsearch: bisect", 9, "must be grid or a bisection, got bisect"),
    ("seeds: 6", "seeds: 6\nsearch: {bisect: {resolution: 1}}", 9, "resolution: must be at least"),
    ("seeds: 6", "seeds: 6\nsearch: {bisect: {width: 2}}", 9, "search.bisect.width: unknown key"),
    (
        "seeds: 6",
        "seeds: 6\nsearch: {bisect: {precision: 0.05, max_seeds: 4}}",
        9,
        "search.bisect.max_seeds: must be at least seeds, 6, got 4",
    ),
    ("seeds: 6", "seeds: 6\nstart: trained", 9, "start: must be init or a recipe, got trained"),
    ("seeds: 6", "seeds: 6\nstart:", 9, "start: must be init or a recipe, got nothing"),
    ("seeds: 6", "seeds: 6\nstart: {steps: 9}", 9, "start.optimizer: missing"),
    ("seeds: 6", "seeds: 6\nstability: 0.5", 9, "write for example {max_loss_ratio: 0.5}"),
    ("seeds: 6", "seeds: 6\nresources: {gpu: 1}", 9, "did you mean gpus?"),
    ("seeds: 6", "seeds: 6\ncheck: {predicted: {sdg: 1}}", 9, "did you mean sgd?"),
    (
        "seeds: 6",
        "seeds: 6\nmethod: {name: m, k: 3}",
        9,
        "method.k: unknown key; did you mean args",
    ),
    (
        "digits_mlp",
        "{name: x, width: 3}",
        3,
        "task.width: unknown key; did you mean args: {width: 3}?",
    ),
    ("digits_mlp", "{args: {width: 3}}", 3, "task.name: missing"),
    ("digits_mlp", "a b", 3, "or package.module:attribute, got a b"),
    ("digits_mlp", "{name: x, args: [1]}", 3, "task.args: must be a mapping of keys to values"),
    ("name: digits", "name: ../x", 2, "must be a name of letters, digits, _ - and ., got ../x"),
    ("name: digits", "name:", 2, "name: must be text, got nothing"),
    ("name: digits", "\tname: digits", 2, "a tab; indent with spaces"),
    ("name: digits", "name: a: b", 2, "put a value with a colon in quotes"),
    ("name: digits", "name: &a digits\nx: *a", 3, "aliases (*name) are not supported"),
    ("name: digits", "name: !!python/name:os.system x", 2, "is not supported; delete it"),
    ("name: digits", "name: " + "[" * 300, 2, "nested more than 50 levels deep"),
    ("name: digits", "name: 'digits", 10, "not a sweep file: found unexpected end of stream"),
    ("name: digits", "name: digits\n---", 3, "a second document begins"),
    ("name: digits", "name: dig\x07its", 2, "not a text file: character 7 is not allowed"),
]


@pytest.mark.parametrize(("old", "new", "line", "expected"), MISTAKES)
def test_a_mistake_is_one_line_with_its_place_and_its_mending(
    old: str, new: str, line: int, expected: str
) -> None:
    """Each mistake names the file, the line, what was given and what to write instead."""
    message = message_of(with_change(old, new))

    assert message.startswith(f"x.yaml:{line}: ")
    assert expected in message


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", ":1: the file is empty"),
        (b"# only a comment\n", ":1: the file is empty"),
        (b"---\n", ":1: the file is empty"),
        (b"- a\n- b\n", ":1: must be a mapping, got [a, b]"),
        (b"hello", ":1: must be a mapping, got hello"),
        (bytes(range(256)), ": not UTF-8 text"),
        ("name: x".encode("utf-16"), ": not UTF-8 text"),
        (b"PK\x03\x04 a zip file", ":1: not a text file"),
        (b"a" * 1_000_001, ": more than 1,000,000 bytes"),
    ],
)
def test_a_file_that_is_no_sweep_is_refused(tmp_path: Path, content: bytes, expected: str) -> None:
    """Empty, binary and foreign files get a line that says what they are not."""
    path = tmp_path / "x.yaml"
    path.write_bytes(content)

    with pytest.raises(UserError) as caught:
        load_sweep(path)

    assert str(caught.value).startswith(f"{path}{expected}")


def test_a_directory_and_a_missing_file_are_refused(tmp_path: Path) -> None:
    """A path that is no file says so."""
    with pytest.raises(UserError, match="is a directory"):
        load_sweep(tmp_path)
    with pytest.raises(UserError, match="no such file"):
        load_sweep(tmp_path / "none.yaml")


def test_a_file_from_another_editor_is_read(tmp_path: Path) -> None:
    """A byte-order mark and Windows line ends change nothing, line numbers included."""
    path = tmp_path / "x.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert load_sweep(path).spec == parse_sweep(GOOD).spec

    path.write_bytes(GOOD.replace("seeds: 6", "seeds: 0").replace("\n", "\r\n").encode())
    with pytest.raises(UserError, match=r":8: seeds: must be at least 1"):
        load_sweep(path)


def test_a_sweep_too_large_to_be_meant_is_refused_before_it_is_built() -> None:
    """A slip in a list of values does not fill the memory."""
    values = ", ".join(str(number) for number in range(1, 30_000))

    message = message_of(with_change(LR, f"{{values: [{values}]}}"))

    # 29,999 learning rates × 10 batch sizes × 6 seeds × 2 optimizers.
    assert "asks for 3,599,880 trials, more than 1,000,000" in message


@settings(max_examples=150, derandomize=True, deadline=None)
@given(junk=st.text(max_size=30), position=st.integers(0, len(GOOD)))
def test_no_text_brings_a_traceback(junk: str, position: int) -> None:
    """Junk anywhere in a file is either kept as text or refused in one line that names the file."""
    text = GOOD[:position] + junk + GOOD[position:]
    try:
        outcome = parse_sweep(text, "x.yaml").text
    except UserError as error:
        outcome = str(error)

    refused = outcome.startswith("x.yaml") and "\n" not in outcome
    assert outcome == text or refused


def loaded(change: str) -> LoadedSweep:
    """Return the good file with lines added."""
    return parse_sweep(GOOD + change, "x.yaml")


def test_a_batch_larger_than_the_data_is_refused_without_replacement() -> None:
    """The line of the largest batch size is named, whether it ends a range or stands in a list."""
    epoch = loaded("sampling: epoch\n")
    listed = parse_sweep(
        with_change(
            "{min: 1, max: 512, per_octave: 1}", "\n    values:\n    - 4\n    - 101\n    - 7"
        )
        + "sampling: epoch\n",
        "x.yaml",
    )

    with pytest.raises(UserError, match=r"^x.yaml:6: parameters.batch_size.max: a batch of 512"):
        check_against_task(epoch, 100)
    with pytest.raises(UserError, match=r"^x.yaml:9: parameters.batch_size.values\[1\]: .* of 101"):
        check_against_task(listed, 100)
    check_against_task(epoch, 512)
    check_against_task(loaded(""), 100)


def test_the_batch_of_the_start_must_fit_the_data_too() -> None:
    """A recipe draws without replacement when its sweep does."""
    recipe = "start: {steps: 9, optimizer: sgd, lr: 0.1, batch_size: 600}\nsampling: epoch\n"

    with pytest.raises(UserError, match=r"^x.yaml:10: start.batch_size: a batch of 600"):
        check_against_task(loaded(recipe), 512)


def test_epochs_of_data_that_never_ends_are_refused() -> None:
    """A task that draws fresh examples has no epochs, neither to sample nor to count."""
    horizon = parse_sweep(with_change("{steps: 300}", "{epochs: 3}"), "x.yaml")

    with pytest.raises(UserError, match=r"^x.yaml:9: horizon.epochs: this task draws"):
        check_against_task(horizon, None)
    with pytest.raises(UserError, match=r"^x.yaml:10: sampling: this task draws"):
        check_against_task(loaded("sampling: epoch\n"), None)
    check_against_task(horizon, 1797)


def test_reading_and_planning_need_no_heavy_library() -> None:
    """The pure half loads neither what trains nor what fits."""
    code = (
        "import sys, scaling_sweep.spec.schema, scaling_sweep.planning; "
        "heavy = {'torch', 'ray', 'wandb', 'pandas', 'numpy', 'scipy'} & set(sys.modules); "
        "sys.exit(', '.join(heavy) or 0)"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (0, "")
