"""How much memory of the device and how much RAM a job needs, and which setting `auto` means.

No torch: `confiner plan` says it before anything is loaded.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from confiner_cli.config.job import Job
from confiner_cli.costs.table import Cost, companions, costs, preview_of
from confiner_cli.experts.offload import POLICIES, QUICK, STAGE, OffloadPolicy

SPARE = 1.15
"""What the allocator and the kernels' workspaces take on top of what was counted."""
LIBRARIES = 0.6e9
"""Bytes that torch and the others take in RAM."""


def policy_of(job: Job, free: int | None, bytes_a_number: int = 2, batch: int = 1) -> OffloadPolicy:
    """What `memory=` and `frame_batch=` mean.

    `auto` is the first of high, balanced and low that fits; low where none does, and high where the
    need is not known.

    Args:
        job: what is to be made.
        free: bytes that the device has; None where there is nothing to be saved.
        bytes_a_number: of the precision that networks compute in.
        batch: how many samples go through the networks at once.
    """
    name = job.settings.memory
    if name == "auto":
        name = "high" if free is None else _first_that_fits(job, free, bytes_a_number, batch)
    policy = POLICIES[name]
    frame_batch = job.settings.frame_batch
    return policy if frame_batch is None else replace(policy, frame_batch=frame_batch)


def _first_that_fits(job: Job, free: int, bytes_a_number: int, batch: int) -> str:
    for name in POLICIES:
        need = peak_bytes(job, name, bytes_a_number, batch)
        if need is None or need <= free:
            return name
    return "low"


def peak_bytes(job: Job, name: str, bytes_a_number: int = 2, batch: int = 1) -> float | None:
    """Bytes that a job holds on the device at its peak with the memory setting `name`.

    None where an expert's network is not a known one. Arguments as in `policy_of`.
    """
    known = _networks(job)
    if known is None:
        return None
    resident = _resident_parameters(known.sizes, known.on_device(name), name)
    return SPARE * bytes_a_number * (resident + known.working(job, name, batch) / 2)


def ram_need(
    job: Job, name: str, bytes_a_number: int, on_cpu: bool, batch: int = 1
) -> RamNeed | None:
    """What a job needs of the machine's RAM with the memory setting `name`.

    On a CPU all its networks stay; beside a GPU those that have made room there.

    Args:
        job: what is to be made.
        name: of the memory setting.
        bytes_a_number: of the precision that networks compute in.
        on_cpu: whether they compute on the CPU.
        batch: how many samples go through the networks at once.

    Returns:
        None where an expert's network is not a known one.
    """
    known = _networks(job)
    if known is None:
        return None
    everything = sum(known.sizes.values()) + sum(known.others)
    if on_cpu:
        working = SPARE * bytes_a_number / 2 * known.working(job, name, batch)
        return RamNeed(bytes_a_number * everything, working)
    others = known.on_device(name)
    here = _resident_parameters(known.sizes, others, name)
    away = everything - (here if name != "low" else min(*known.sizes.values(), *others))
    return RamNeed(bytes_a_number * away, 0)


@dataclass(frozen=True)
class RamNeed:
    """Bytes of RAM.

    Attributes:
        weights: of the networks that are in it, in the precision that they compute in.
        working: of a pass through the largest of them.
    """

    weights: float
    working: float

    @property
    def total(self) -> float:
        """All of it, the libraries included."""
        return self.weights + self.working + LIBRARIES


@dataclass(frozen=True)
class _Networks:
    """The networks of a job: UNets by role, the text encoders and the decoders."""

    unets: Mapping[str, Cost]
    others: Sequence[int]
    vaes: Sequence[Cost]

    def on_device(self, name: str) -> Sequence[int]:
        """Those of the others that are ever on the device with a memory setting."""
        if not POLICIES[name].text_in_ram:
            return self.others
        return [size for size in self.others if 2 * size < QUICK]

    @property
    def sizes(self) -> dict[str, int]:
        return {role: cost.parameters for role, cost in self.unets.items()}

    def working(self, job: Job, name: str, batch: int) -> float:
        """Bytes of the largest pass, in 16 bits."""
        return max(_activation_bytes(job, self.unets, self.vaes, POLICIES[name], batch))


def _networks(job: Job) -> _Networks | None:
    table = costs()
    architectures = {role: job.experts[role].architecture or "" for role in job.asked}
    if not set(architectures.values()) <= set(table):
        return None
    beside: set[str] = set()
    for architecture in architectures.values():
        beside.update(companions(architecture))
    bringing = [job.experts[role] for role in dict.fromkeys(map(job.vae_role, job.asked))]
    vaes = [companions(expert.architecture or "")[1] for expert in bringing]
    beside.update(preview_of(expert.architecture or "") for expert in bringing if expert.preview)
    unets = {role: table[architecture] for role, architecture in architectures.items()}
    others = [table[row].parameters for row in beside]
    return _Networks(unets, others, [table[vae] for vae in dict.fromkeys(vaes)])


def _resident_parameters(networks: Mapping[str, int], others: Sequence[int], name: str) -> int:
    """Parameters that are on the device at once; `others` are text encoders and the VAE."""
    if name == "low":
        return max(*networks.values(), *others)
    if name == "high":
        return sum(networks.values()) + sum(others)
    stages: dict[str, int] = {}
    for role, size in networks.items():
        stages[STAGE[role]] = stages.get(STAGE[role], 0) + size
    return max(stages.values()) + sum(others)


def _activation_bytes(
    job: Job, networks: Mapping[str, Cost], vaes: Sequence[Cost], policy: OffloadPolicy, batch: int
) -> Iterator[float]:
    """Bytes of a pass of each network, in 16 bits."""
    timeline = job.timeline
    first = range(int(min(timeline.window_count, 3)))  # all others are as long as one of these
    window = max(len(timeline.refines(number)) for number in first)
    for role, cost in networks.items():
        frames = window if STAGE[role] == "refinement" else timeline.length
        if role == "spatial" and policy.frame_batch:
            frames = min(frames, policy.frame_batch)
        batched = policy.guidance_batched and job.settings.compile is False
        guided = job.guidance[role].scale != 1 and batched
        samples = batch * (2 if guided else 1)
        yield cost.activation_bytes(frames * samples, *job.size)
    for vae in vaes:  # whatever is encoded is decoded later, which takes more
        yield vae.activation_bytes(min(window, policy.decode_batch), *job.size)
