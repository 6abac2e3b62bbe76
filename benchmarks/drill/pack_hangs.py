"""Packs hang in ways that they cannot get out of by themselves."""

from benchmarks.drill.comparing import check_equal
from benchmarks.drill.ground import Ground
from benchmarks.drill.outcome import check

FAULT = "packs that hang: in Python, in foreign code that keeps the lock, stopped (SIGSTOP)"
DEMAND = "given up after `resources.pack_timeout` and two more tries, the sweep goes on"
_HOW = {2: "sleep", 3: "foreign", 5: "stop"}
_TIMEOUT_S = 5.0


def drill(ground: Ground) -> str:
    """Let three of six packs hang, then mend them.

    Args:
        ground: Where.

    Returns:
        Figures.
    """
    study = ground.study("pack-hangs", resources=f"cpus: 1, pack_timeout: {_TIMEOUT_S:g}")
    told = [study.tell(batch_size, how) for batch_size, how in _HOW.items()]
    study.finish()
    table = study.table()
    hung = table[table["batch_size"].isin(_HOW)]
    check(set(hung["verdict"]) == {"failed"}, "a pack that hung has a measurement")
    reasons = set(hung["reason"])
    check(all("resources.pack_timeout" in text for text in reasons), f"reasons: {reasons}")
    tries = {size: sum(one.batch_size == size for one in study.begun()) for size in _HOW}
    check(set(tries.values()) == {3}, f"tries by batch size: {tries}")
    num_rows = check_equal(study, ground.undisturbed(), without=tuple(_HOW))
    for file in told:
        file.unlink()
    study.finish()
    num_rows += check_equal(study, ground.undisturbed()) - num_rows
    return (
        f"3 packs of 6, each ended 3 times after {_TIMEOUT_S:g} s and failed with that reason; "
        f"mended, {num_rows} rows equal"
    )
