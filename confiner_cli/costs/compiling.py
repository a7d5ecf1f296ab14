"""When compiling pays: what it takes once, and what each video then saves. No torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from confiner_cli.config.job import Job
from confiner_cli.costs.estimate import rows

EMBEDDED = ("tiny_control", "tiny_spatial", "tiny_temporal")
"""The architectures of the experts that it has been measured with."""
PLAIN_SPEED = 27e9
"""Operations a second of the embedded UNets that are not compiled."""


@dataclass(frozen=True)
class Measured:
    """What compiling one network takes and brings.

    Attributes:
        first: seconds, where nothing has been compiled before.
        later: seconds in another process, which finds it on disk.
        share: of the time that a UNet's pass takes without it.
    """

    first: float
    later: float
    share: float


MEASURED: Mapping[bool | str, Measured] = MappingProxyType({
    True: Measured(first=140, later=24, share=0.77), "regional": Measured(40, 10, share=1.0),
})  # fmt: skip
"""By `compile=`: with the embedded experts, on one core of an AMD EPYC
(`scripts/bench_networks.py --parts compile`). On a GPU it has not been measured."""


@dataclass(frozen=True)
class Compiling:
    """Seconds of compiling in a first and in a later process, and those that a video saves."""

    first: float
    later: float
    saved: float

    def pays_from(self, seconds: float) -> float:
        """How many videos have saved so many seconds."""
        return math.ceil(seconds / self.saved) if self.saved else math.inf


def compiling(job: Job) -> Compiling | None:
    """What `compile=` would take and bring on a CPU; None where that has not been measured.

    Raises:
        ConfinerError: the video has no end.
    """
    mode = job.settings.compile
    embedded = all(job.experts[role].architecture in EMBEDDED for role in job.asked)
    if mode is False or not embedded:
        return None
    measured = MEASURED[mode]
    flops = sum(row.flops or 0 for row in rows(job) if row.role in job.asked)
    return Compiling(
        first=len(job.asked) * measured.first,
        later=len(job.asked) * measured.later,
        saved=flops / PLAIN_SPEED * (1 - measured.share),
    )
