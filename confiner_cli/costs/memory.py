"""How much device memory a run needs with each memory setting, and which of them `memory=auto` means. No torch."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from confiner_cli.config.method_options import timeline_of
from confiner_cli.config.roles import used_roles
from confiner_cli.config.schema import Settings
from confiner_cli.costs.table import Cost, companions, costs
from confiner_cli.experts.offload import MEMORY, STAGE, Memory

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
            name = next(
                (option for option, need in needs.items() if need is None or need <= free), "low"
            )
    memory = MEMORY[name]
    return (
        memory
        if settings.frame_batch is None
        else replace(memory, frame_batch=settings.frame_batch)
    )


def needed(settings: Settings, name: str, bytes_a_number: int = 2) -> float | None:
    """Bytes that a run holds on the device at its peak; None where an expert's network is not a known one."""
    roles, table = used_roles(settings), costs()
    architectures = {role: settings.expert(role).architecture or "" for role in roles}
    if not set(architectures.values()) <= set(table):
        return None
    beside = {row for architecture in architectures.values() for row in companions(architecture)}
    networks = {role: table[architecture] for role, architecture in architectures.items()}
    sizes = {role: cost.parameters for role, cost in networks.items()}
    resident = _resident(sizes, [table[row].parameters for row in beside], name) * bytes_a_number
    vae = table[companions(settings.expert("spatial").architecture or "")[1]]
    working = max(_working(settings, networks, vae, MEMORY[name])) * bytes_a_number / 2
    return SPARE * (resident + working)


def _resident(networks: dict[str, int], others: list[int], name: str) -> int:
    """Parameters that are on the device at once; `others` are text encoders and the VAE."""
    if name == "low":
        return max(*networks.values(), *others)
    if name == "high":
        return sum(networks.values()) + sum(others)
    stages: dict[str, int] = {}
    for role, size in networks.items():
        stages[STAGE[role]] = stages.get(STAGE[role], 0) + size
    return max(stages.values()) + sum(others)


def _working(
    settings: Settings, networks: dict[str, Cost], vae: Cost, memory: Memory
) -> Iterator[float]:
    """Bytes of a pass of each network, in 16 bits."""
    timeline = timeline_of(settings)
    window = max(
        len(timeline.refines(number)) for number in range(int(min(timeline.window_count, 3)))
    )
    for role, cost in networks.items():
        passed = window if STAGE[role] == "refinement" else timeline.length
        batch = memory.frame_batch if role == "spatial" and memory.frame_batch else passed
        together = settings.expert(role).guidance_scale != 1 and memory.guidance_together
        frames = min(passed, batch) * (2 if together else 1)
        yield cost.activation_bytes(frames, *settings.size)
    yield vae.activation_bytes(min(window, memory.decode_batch), *settings.size)
