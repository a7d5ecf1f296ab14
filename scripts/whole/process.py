"""A `confiner` process that writes down what it was doing.

`bench.py` starts it, as `python process.py SPAWNED OUT words...`. SPAWNED is when it did, by the
monotonic clock, which all processes share.
"""

from __future__ import annotations

import time

STARTED = time.monotonic()  # before anything else is imported

import json  # noqa: E402
import sys  # noqa: E402
from contextlib import suppress  # noqa: E402
from pathlib import Path  # noqa: E402

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from whole.split import Split  # noqa: E402
from whole.watch import IMPORTS, watched  # noqa: E402

START = "Python's start and end"


def main() -> None:
    spawned, out, *words = sys.argv[1:]
    sys.argv = ["confiner", *words]
    with watched() as split, suppress(SystemExit):
        with split.doing(IMPORTS):
            from confiner_cli.cli import entry
        entry()
    write(Path(out), split, STARTED - float(spawned))


def write(path: Path, split: Split, start: float) -> None:
    """What the parent reads: the seconds, and when there was nothing left but to end."""
    seconds = {START: start, **split.seconds}
    facts = {"seconds": seconds, "calls": split.calls, "over": time.monotonic()}
    path.write_text(json.dumps(facts), encoding="utf-8")


if __name__ == "__main__":
    main()
