"""A pack takes more and more memory."""

from benchmarks.drill.comparing import check_equal
from benchmarks.drill.ground import Ground
from benchmarks.drill.outcome import ImpossibleError, check

FAULT = "a pack that eats memory without end"
DEMAND = "refused at `resources.memory_gib`, failed with that reason, the sweep goes on"
_BATCH_SIZE, _LIMIT_GIB = 3, 1.5


def drill(ground: Ground) -> str:
    """Let one of six packs eat, then mend it.

    Args:
        ground: Where.

    Returns:
        Figures.
    """
    import sys

    if sys.platform != "linux":
        raise ImpossibleError("memory is limited on Linux only")
    study = ground.study("pack-eats", resources=f"cpus: 1, memory_gib: {_LIMIT_GIB}")
    told = study.tell(_BATCH_SIZE, "eat")
    study.finish()
    table = study.table()
    eater = table[table["batch_size"] == _BATCH_SIZE]
    check(set(eater["verdict"]) == {"failed"}, "the pack that ate has a measurement")
    (reason,) = set(eater["reason"])
    check("memory" in reason, f"its reason: {reason}")
    check_equal(study, ground.undisturbed(), without=(_BATCH_SIZE,))
    told.unlink()
    study.finish()
    num_rows = check_equal(study, ground.undisturbed())
    # The allocator's own words stand in parentheses.
    return f'failed with "{reason.partition(" (")[0]}"; mended, {num_rows} rows equal'
