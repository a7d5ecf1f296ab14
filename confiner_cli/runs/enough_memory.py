"""Whether a job's networks fit into RAM, asked before one is loaded: else the system kills it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from math import prod
from pathlib import Path

import torch

from confiner_cli.config.job import Job
from confiner_cli.costs.available import Available, available
from confiner_cli.costs.memory import RamNeed, peak_bytes, ram_need
from confiner_cli.errors import ConfinerError
from confiner_cli.experts.device import free_memory, whole_memory
from confiner_cli.experts.families import family_named
from confiner_cli.experts.loading import components_of
from confiner_cli.experts.preview import PREVIEW
from confiner_cli.progress import amount
from confiner_cli.weights.select import read_header

STORED = {torch.float32: "F32", torch.float16: "F16", torch.bfloat16: "BF16"}
"""How safetensors files call the precisions that networks compute in."""
HALF = 2
"""Bytes of a number in 16 bits."""


def check_memory(
    job: Job, device: torch.device, dtype: torch.dtype, memory: str, batch: int
) -> tuple[str, ...]:
    """Hold what a job needs of the machine's RAM against what there is.

    Args:
        job: what is to be made.
        device: where networks compute.
        dtype: what they compute in.
        memory: the memory setting, `high`, `balanced` or `low`.
        batch: how many samples go through them at once.

    Returns:
        A notice where it may not be enough, or nothing.

    Raises:
        ConfinerError: it cannot be enough.
    """
    on_cpu = device.type == "cpu"
    need = ram_need(job, memory, dtype.itemsize, on_cpu, batch)
    if need is None:
        return ()
    files = weight_files(job, device, dtype)
    mapped = mapped_bytes(files, dtype) if on_cpu else 0
    half = ram_need(job, memory, HALF, on_cpu, batch) if on_cpu else None
    numbers = _numbers_in(files)
    need = _at_most(need, dtype.itemsize * numbers)
    half = None if half is None or dtype.itemsize <= HALF else _at_most(half, HALF * numbers)
    return judged(need, mapped, available(), half)


def check_gpu(job: Job, device: torch.device, dtype: torch.dtype, batch: int) -> None:
    """Refuse with `memory=auto` a GPU that has room for a job, but that others hold too much of.

    Such as another job of a sweep: what both need would be known when one of them is out of memory.
    Arguments as in `check_memory`.

    Raises:
        ConfinerError: it is so.
    """
    free, whole = free_memory(device), whole_memory(device)
    need = peak_bytes(job, "low", dtype.itemsize, batch)
    if job.settings.memory != "auto" or None in (free, whole, need):
        return
    assert free is not None and whole is not None and need is not None
    if free < need <= whole:
        raise ConfinerError(
            f"other processes hold {amount(whole - free)} of this GPU's {amount(whole)}: the "
            f"{amount(free)} that are left are too little, {amount(int(need))} are needed",
            "give each job a GPU of its own (hydra/launcher=slurm or ray does), or end the others: "
            "nvidia-smi lists them; memory=low tries it all the same",
        )


def _at_most(need: RamNeed, weights: float) -> RamNeed:
    """The need of networks that are smaller than the published ones whose place they take."""
    return replace(need, weights=min(need.weights, weights))


def _numbers_in(files: Iterable[Path]) -> float:
    """How many numbers weights are; infinite where a file does not say."""
    total = 0
    for path in files:
        if path.suffix != ".safetensors":
            return math.inf
        total += sum(prod(tensor.shape) for tensor in read_header(path).values())
    return total


def judged(need: RamNeed, mapped: int, free: Available, half: RamNeed | None) -> tuple[str, ...]:
    """As `check_memory`.

    Args:
        need: what the job needs.
        mapped: how much of its weights stays in the files, of which the system drops pages.
        free: what there is.
        half: what it would need in 16 bits, where it is to be made in 32.
    """
    least = need.weights - min(mapped, need.weights)
    wanted = need.weights + need.working
    room = min(free.memory, free.addresses)
    if least > free.with_swap or need.weights > free.addresses:
        raise ConfinerError(
            f"there is not enough memory (RAM): the networks take {amount(int(need.weights))}, "
            f"{amount(int(room))} are free",
            f"end other programs, or raise the limit (the container's, ulimit -v)"
            f"{_in_half(half, room)}; `confiner plan` says what other settings need",
        )
    if wanted > room:
        return (
            f"memory (RAM) may be too small: about {amount(int(wanted))} are needed, "
            f"{amount(int(room))} are free{_in_half(half, room)}",
        )
    return ()


def _in_half(half: RamNeed | None, room: float) -> str:
    if half is None or half.weights + half.working > room:
        return ""
    return f"; dtype=bf16 takes {amount(int(half.weights + half.working))}"


def weight_files(job: Job, device: torch.device, dtype: torch.dtype) -> set[Path]:
    """The files of all networks of a job.

    Raises:
        ConfinerError: one is missing or damaged.
    """
    found: set[Path] = set()
    for role in job.asked:
        spec = job.experts[role]
        components = components_of(role, spec, device, dtype)
        for files in family_named(spec.family).sources(components).values():
            found |= {path for path in files if path.suffix != ".json"}
        found |= set(components.files("text_encoder"))
    for role in dict.fromkeys(map(job.vae_role, job.asked)):
        components = components_of(role, job.experts[role], device, dtype)
        found |= set(components.files("vae"))
        if job.experts[role].preview:
            found |= set(components.files(PREVIEW))
    return found


def mapped_bytes(files: Iterable[Path], dtype: torch.dtype) -> int:
    """How many bytes of weights a CPU computes with where they are in the files."""
    return sum(_mapped(path, dtype) for path in files)


def _mapped(path: Path, dtype: torch.dtype) -> int:
    if path.suffix != ".safetensors":
        return path.stat().st_size  # a pickle: it does not say, so none of it is counted
    return sum(_sizes(path, dtype))


def _sizes(path: Path, dtype: torch.dtype) -> Iterator[int]:
    for tensor in read_header(path).values():
        if tensor.dtype == STORED[dtype]:
            yield prod(tensor.shape) * dtype.itemsize
