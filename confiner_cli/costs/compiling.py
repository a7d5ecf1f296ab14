"""When compiling pays: what it takes once, and what each video then saves. No torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from confiner_cli.config.job import Job
from confiner_cli.costs.estimate import rows

WHOLE = True
PLAIN_SPEED = 45e9
"""Operations a second of networks that are not compiled."""


@dataclass(frozen=True)
class Measured:
    """What compiling one network takes and brings.

    Attributes:
        first: seconds, where nothing has been compiled before.
        later: seconds in another process, which finds it on disk.
        share: of the time that a pass takes without it.
    """

    first: float
    later: float
    share: float


MEASURED: Mapping[bool | str, Measured] = MappingProxyType({
    True: Measured(first=120, later=20, share=0.8), "regional": Measured(60, 14, share=1.0),
})  # fmt: skip
"""By `compile=`: with the embedded experts, on one core of an AMD EPYC
(`scripts/bench_networks.py --parts compile`). On a GPU it has not been measured."""


@dataclass(frozen=True)
class Compiling:
    """Seconds of compiling in a first and in a later process, and what a video saves, if known."""

    first: float
    later: float
    saved: float | None

    def pays_from(self, seconds: float) -> float:
        """How many videos have saved so many seconds."""
        return math.ceil(seconds / self.saved) if self.saved else math.inf


def compiling(job: Job) -> Compiling | None:
    """What `compile=` would take and bring on a CPU; None where nothing is compiled.

    Raises:
        ConfinerError: the video has no end.
    """
    mode = job.settings.compile
    if mode is False:
        return None
    measured, found = MEASURED[mode], list(rows(job))
    count = len(job.asked) + (mode is WHOLE)  # the VAE's decoder has no blocks that are compiled
    flops = [row.flops for row in found if mode is WHOLE or row.role != "vae"]
    known = [each for each in flops if each is not None]
    saved = None
    if len(known) == len(flops):
        saved = sum(known) / PLAIN_SPEED * (1 - measured.share)
    return Compiling(count * measured.first, count * measured.later, saved)
