"""How OpenMP's threads wait for each other: decided before torch is loaded, which brings OpenMP.

By default they spin, each on a core that it takes for its own. Beside one busy program a core is
not: a thread that spins has used up its time when there is work, and all others wait for it. Such a
run takes about eight times as long (docs/benchmarks.md). Threads that sleep take a moment to wake,
and nothing else.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping

CHOSEN_BY = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "KMP_BLOCKTIME")
"""What a person says it with: to OpenMP, to GNU's and to LLVM's own."""


def wait_asleep(environment: MutableMapping[str, str] = os.environ) -> None:
    """Let threads sleep while they wait, unless a person has said how; processes inherit it.

    It is the command's to call, as its first step. Where torch is loaded it has no effect.
    """
    if not any(environment.get(name) for name in CHOSEN_BY):
        environment["OMP_WAIT_POLICY"] = "PASSIVE"
