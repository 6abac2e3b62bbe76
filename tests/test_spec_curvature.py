"""The section `curvature` of a sweep file: its defaults, and one line for every mistake."""

import pytest

from scaling_sweep.errors import UserError
from scaling_sweep.planning import check_extends
from scaling_sweep.spec import CurvatureSpec, SweepSpec, parse_sweep
from tests.run_cases import SWEEP
from tests.spec_cases import message_of

SECTION = """\
curvature:
  points: [init, 100]
  training:
    optimizer: sgd
    lr: 0.1
  batch_sizes: [1, 8]
  probes: 4
"""
FIRST_LINE = SWEEP.count("\n") + 1


def read(section: str = "") -> SweepSpec:
    """Return a small study with a section."""
    return parse_sweep(SWEEP + section, "x.yaml").spec


@pytest.mark.parametrize(
    ("old", "new", "line", "expected"),
    [
        ("[init, 100]", "init", 1, "must be a list, got init; write [init]"),
        ("[init, 100]", "[]", 1, "must have at least one value"),
        ("[init, 100]", "[start]", 1, "points[0]: must be init or a number of steps from 1 up"),
        ("[init, 100]", "[init, 0]", 1, "points[1]: must be init or a number of steps from 1 up"),
        ("[init, 100]", "[init, 2.5]", 1, "must be a whole number of steps, got 2.5"),
        ("[init, 100]", "[.inf]", 1, "must be init or a number of steps"),
        ("[init, 100]", "[true]", 1, "must be init or a number of steps"),
        ("[init, 100]", "[9, 9]", 1, "points[1]: 9 is listed twice; delete one"),
        ("optimizer: sgd", "optimizer: sdg", 3, "did you mean sgd?"),
        ("lr: 0.1", "lr: 0", 4, "must be above 0, got 0"),
        ("    lr: 0.1\n", "", 2, None),
        ("[1, 8]", "[1, 0]", 5, "batch_sizes[1]: must be at least 1, got 0"),
        ("[1, 8]", "[8, 8]", 5, "8 is listed twice"),
        ("probes: 4", "probe: 4", 6, "unknown key; did you mean probes?"),
        ("probes: 4", "probes: 1", 6, "must be at least 2, got 1"),
        ("probes: 4", "batchnorm: batch", 5, "write batchnorm: frozen"),
        ("probes: 4", "max_products: 2", 6, "must be at least 3, got 2"),
        ("probes: 4", "max_seconds: 0", 6, "must be above 0, got 0"),
    ],
)
def test_a_mistake_names_its_line(old: str, new: str, line: int, expected: str | None) -> None:
    """Each mistake is one line with its place, what was given and what to write instead."""
    text = SECTION.replace(old, new)
    assert text != SECTION

    if expected is None:
        assert read(text).curvature is not None
        return
    message = message_of(SWEEP + text)
    assert message.startswith(f"x.yaml:{FIRST_LINE + line}: curvature")
    assert expected in message


def test_only_sgd_finds_its_own_learning_rate() -> None:
    """A short training of another optimizer has to be given one."""
    with pytest.raises(UserError, match=r"curvature\.training\.lr: missing for adam"):
        read(SECTION.replace("optimizer: sgd", "optimizer: adam").replace("    lr: 0.1\n", ""))


def test_nothing_is_measured_without_the_section() -> None:
    """Absent is not measured; an empty mapping takes the defaults."""
    assert read().curvature is None
    assert read("curvature: {}\n").curvature == CurvatureSpec()


def test_points_are_steps_in_the_order_of_training() -> None:
    """`init` is step 0, wherever it stands."""
    assert CurvatureSpec(points=[300, "init", 1e2]).steps == (0, 100, 300)


def test_a_few_batch_sizes_of_the_sweep_are_measured() -> None:
    """Both ends of the sweep's are among them; those of the section come first."""
    swept = tuple(2**k for k in range(13))

    chosen = CurvatureSpec().choose_batch_sizes(swept)

    assert len(chosen) == 6
    assert (chosen[0], chosen[-1]) == (1, 4096)
    assert CurvatureSpec(batch_sizes=[64, 2]).choose_batch_sizes(swept) == (2, 64)
    assert CurvatureSpec(batchnorm="batch").choose_batch_sizes((1, 4)) == (2, 4)


def test_the_section_may_change_between_runs() -> None:
    """It defines no trial, so a run goes on whatever it says now."""
    check_extends(read(), read(SECTION))
    check_extends(read(SECTION), read("curvature: {points: [init, 7]}\n"))


def test_a_key_at_the_top_is_sent_to_its_section() -> None:
    """`points` beside the section is named as belonging under it."""
    with pytest.raises(UserError, match=r"it belongs under curvature"):
        read("points: [init]\n")
