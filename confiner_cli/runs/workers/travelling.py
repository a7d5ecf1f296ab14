"""What goes between a run's driver and its workers: values that pickle, tensors as arrays.

Arrays and not tensors: torch would leave these in shared memory and send the name, which a killed
worker leaves behind, and another machine cannot read.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from typing import Any, TypeAlias

import torch
from torch import Tensor

from confiner_cli.config.job import Job
from confiner_cli.errors import ConfinerError
from confiner_cli.method.pipeline import Structure
from confiner_cli.runs.perform import Result
from confiner_cli.runs.ready import Ready
from confiner_cli.runs.tasks import Task

Packed: TypeAlias = Any
"""A `Result` with arrays in the place of tensors: float32 latents, or for each sample its frames,
uint8 `(frame, height, width, 3)`."""


@dataclass(frozen=True)
class Setup:
    """What a worker needs to know before its first task.

    Attributes:
        jobs: those that are made; they differ in their seeds alone.
        number: the worker's, from 0.
        threads: how many it computes with on the CPU.
        gpus: whether each worker has a GPU of its own: `cuda:NUMBER`.
    """

    jobs: tuple[Job, ...]
    number: int
    threads: int
    gpus: bool


@dataclass(frozen=True)
class Order:
    """A task to be done, with the results that it needs."""

    task: Task
    needed: Mapping[Task, Packed]


@dataclass(frozen=True)
class Answer:
    """A task's result, and what is to be told of it.

    Attributes:
        result: packed.
        seconds: that the worker was at it.
        events: for events.jsonl, with the facts of each.
        spent: as `Meter.costs_after` says it.
        messages: what libraries said meanwhile.
    """

    result: Packed
    seconds: float
    events: Sequence[tuple[str, Mapping[str, object]]]
    spent: Mapping[str, Any]
    messages: Sequence[str]


@dataclass(frozen=True)
class Failure:
    """What a worker failed of, where it did not die of it."""

    error: ConfinerError
    host: str


Message: TypeAlias = Setup | Order
Reply: TypeAlias = Ready | Answer | Failure


def packed(result: Result) -> Packed:
    """A result to be sent, on the CPU. Frames are decoded for it."""
    if isinstance(result, Structure):
        noises = {step: _array(eps) for step, eps in result.noises.items()}
        return replace(result, latents=_array(result.latents), noises=noises)
    if isinstance(result, Tensor):
        return _array(result)
    return [torch.stack(list(chain.from_iterable(parts))).numpy() for parts in result]


def unpacked(result: Packed, frames_at_once: int) -> Result:
    """A result that was sent; frames in parts of so many."""
    if isinstance(result, Structure):
        noises = {step: _tensor(eps) for step, eps in result.noises.items()}
        return replace(result, latents=_tensor(result.latents), noises=noises)
    if isinstance(result, list):
        return [list(torch.split(_tensor(frames), frames_at_once)) for frames in result]
    return _tensor(result)


def _array(latents: Tensor) -> Any:
    return latents.float().cpu().numpy()


def _tensor(array: Any) -> Tensor:
    """Ray lends arrays that cannot be written to; torch takes others only."""
    return torch.from_numpy(array if array.flags.writeable else array.copy())
