"""How much device memory a run needs with each memory setting, and which of them `memory=auto` means. No torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from confiner_cli.check import used_roles
from confiner_cli.costs import Cost, costs
from confiner_cli.experts.memory import MEMORY, STAGE, Memory
from confiner_cli.settings import Settings

SPARE = 1.15
"""What the allocator and the kernels' workspaces take on top of what was counted."""


def memory_of(settings: Settings, free: int | None, bytes_a_number: int = 2) -> Memory:
    """What `memory=` and `frame_batch=` mean, with so many bytes free; None where there is nothing to be saved.

    `auto` is the first of high, balanced and low that fits, low where none does, high where the need is not known.
    """
    name = settings.memory
    if name == "auto":
        name = "high"
        if free is not None:
            needs = {option: needed(settings, option, bytes_a_number) for option in MEMORY}
            name = next((option for option, need in needs.items() if need is None or need <= free), "low")
    memory = MEMORY[name]
    return memory if settings.frame_batch is None else replace(memory, frame_batch=settings.frame_batch)


def needed(settings: Settings, name: str, bytes_a_number: int = 2) -> float | None:
    """Bytes that a run holds on the device at its peak; None where an expert's network is not a known one."""
    roles, table = used_roles(settings.scheduler), costs()
    networks = {role: table.get(settings.expert(role).architecture or "") for role in roles}
    known = {role: cost for role, cost in networks.items() if cost is not None}
    if len(known) < len(roles):
        return None
    resident = _resident(known, name) * bytes_a_number
    working = max(_working(settings, known, MEMORY[name])) * bytes_a_number / 2
    return SPARE * (resident + working)


def _resident(networks: dict[str, Cost], name: str) -> int:
    """Parameters that are on the device at once."""
    sizes = {role: cost.parameters for role, cost in networks.items()}
    if name == "high":
        return sum(sizes.values())
    groups: dict[str, int] = {}
    for role, size in sizes.items():
        group = STAGE[role] if name == "balanced" else role
        groups[group] = groups.get(group, 0) + size
    return max(groups.values())


def _working(settings: Settings, networks: dict[str, Cost], memory: Memory) -> Iterator[float]:
    """Bytes of a pass of each network, in 16 bits; the VAE decodes while the others rest."""
    assert settings.num_frames is not None and settings.height is not None and settings.width is not None
    for role, cost in networks.items():
        frames = min(settings.num_frames, memory.frame_batch or settings.num_frames) if role == "spatial" else (
            settings.num_frames
        )  # fmt: skip
        together = settings.expert(role).guidance_scale != 1 and memory.guidance_together
        yield cost.activation_bytes(frames, settings.height, settings.width) * (2 if together else 1)
    vae = costs()["sd15_vae"]
    yield vae.activation_bytes(min(settings.num_frames, memory.decode_batch), settings.height, settings.width)
