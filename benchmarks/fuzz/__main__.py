"""Feed ten thousand inputs and print what became of them.

python -m benchmarks.fuzz [--examples 10000] [--seed 0] [--only sweep] [--keep FOLDER]
"""

import argparse
from pathlib import Path

from benchmarks.fuzz.feeding import feed_many
from benchmarks.fuzz.rooms import ROOMS


def main() -> int:
    """Feed all rooms and print the table; return how many have a fault."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--examples", type=int, default=10_000, help="inputs altogether")
    parser.add_argument("--seed", type=int, default=0, help="makes the same inputs again")
    parser.add_argument("--only", default="", help="a word of the one room to feed")
    parser.add_argument("--keep", type=Path, help="folder for the inputs that show a fault")
    options = parser.parse_args()
    head = f"{'input':24}{'inputs':>8}{'a result':>10}{'one line':>10}{'faults':>8}{'s':>8}"
    print(head, flush=True)
    faults = []
    for room in (room for room in ROOMS if options.only in room.name):
        num = round(options.examples * room.share)
        tally = feed_many(room, num, options.seed, options.keep)
        faults += [f"{count} x {room.name}: {text}" for text, count in tally.faults.items()]
        num_fed = tally.results + tally.lines + tally.num_faults
        print(
            f"{room.name:24}{num_fed:8}{tally.results:10}{tally.lines:10}{tally.num_faults:8}"
            f"{tally.seconds:8.0f}",
            flush=True,
        )
    print("\n".join(faults))
    return len(faults)


if __name__ == "__main__":
    raise SystemExit(main())
